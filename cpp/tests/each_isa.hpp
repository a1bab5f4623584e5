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

}  // namespace rekur::test
