// Fixed-size layers as test_static.cpp sees them: compiled in static_probe.cpp, once for each of several instruction sets.
#pragma once

#include <cstddef>

#include "rekur/weight_type.hpp"

namespace rekur::test {

struct StaticCase {
  const char* type;     // of the spec
  const char* options;  // further keys of the spec: ", \"peepholes\": true"
  int in, hidden;
  std::size_t size;  // bytes of the layer, aligned to 64
  WeightType weights;
  void (*make)(void* place);
  void (*set_weights)(void* layer, const float* kernel, const float* recurrent_kernel, const float* bias, const float* peephole);
  const float* (*step)(void* layer, const float* x);
  const float* (*h)(const void* layer);
  const float* (*c)(const void* layer);  // null: no such state
  void (*set_state)(void* layer, const float* h, const float* c);
  void (*reset)(void* layer);
};

struct StaticProbe {
  const char* name;
  bool fused;           // has a fused multiply-add
  bool (*available)();  // on this machine
  const StaticCase* cases;
  int count;
};

}  // namespace rekur::test
