// What tests of kernels share: a check run on every instruction set of this machine, numbers.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "isa/dispatch.hpp"
#include "rekur/runtime.hpp"

namespace rekur::test {

template <class Check>
void each_isa(const Check& check) {
  struct Restore {
    std::string before = current_isa();
    ~Restore() { set_isa(before); }
  } restore;
  for (const std::string& name : available_isas()) {
    set_isa(name);
    INFO("instruction set " << name);
    check(isa::kernels());
  }
}

// Numbers in [-1, 1), the same on every machine.
inline std::vector<float> noise(Index n, std::uint32_t seed) {
  std::vector<float> x(static_cast<std::size_t>(n));
  std::uint32_t state = seed * 2654435761u + 1;
  for (float& v : x) {
    state = state * 1664525u + 1013904223u;
    v = static_cast<float>(static_cast<std::int32_t>(state)) * 0x1p-31f;
  }
  return x;
}

// Whether the instruction set in use takes denormals for zeros whatever the mode: NEON does on 32-bit ARM.
inline bool always_flushes() {
#if defined(__arm__)
  return current_isa() == "neon";
#else
  return false;
#endif
}

}  // namespace rekur::test
