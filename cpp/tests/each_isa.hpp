// Runs a check on every instruction set of this machine.
#pragma once

#include <doctest/doctest.h>

#include <string>

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

// Whether the instruction set in use takes denormals for zeros whatever the mode: NEON does on 32-bit ARM.
inline bool always_flushes() {
#if defined(__arm__)
  return current_isa() == "neon";
#else
  return false;
#endif
}

}  // namespace rekur::test
