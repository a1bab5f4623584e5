// Whole models as test_static_model.cpp sees them: compiled in static_model_probe.cpp, once for each of several instruction sets.
#pragma once

namespace rekur::test {

struct StaticModelProbe {
  const char* isa;  // the engine's that is compiled alike
  // One sequence from its beginning: inputs of one number a step.
  void (*amp)(const float* x, float* y, int steps);
  void (*forecaster)(const float* x, float* y, int steps);
};

}  // namespace rekur::test
