// The kernels of kernels/gates.hpp. Included only by the ISA units.
#pragma once

#include "kernels/functions.hpp"
#include "kernels/gates.hpp"
#include "rekur/detail/cells/lstm.hpp"

namespace rekur {
namespace {

inline void gates_forward(const kernels::GatesForward& s) {
  using cells::Lstm;
  const GivenFunctions f(*s.activations);
  for (Index row = 0; row < s.rows; ++row) {
    float* const gates = s.gates + row * 4 * s.units;
    for (Index u = 0; u < s.units; u += kWidth) {
      const Index n = lanes(u, s.units), at = row * s.units + u;
      const Vec none[4] = {zero(), zero(), zero(), zero()};
      Vec sums[4], slot[5], state[2] = {zero(), load_partial(s.c_before + at, n)};
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g) sums[g] = load_partial(gates + g * s.units + u, n);
      Lstm::forward(cells::PhaseTag<0>{}, f, sums, none, static_cast<const Vec*>(nullptr), state, slot);
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g) store_partial(gates + g * s.units + u, slot[g], n);
      store_partial(s.c + at, state[1], n);
      store_partial(s.h + at, state[0], n);
    }
  }
}

#if REKUR_TRAINING
inline void gates_backward(const kernels::GatesBackward& s) {
  using cells::Lstm;
  const GivenSlopes f(*s.activations);
  for (Index row = 0; row < s.rows; ++row) {
    float* const gates = s.gates + row * 4 * s.units;
    for (Index u = 0; u < s.units; u += kWidth) {
      const Index n = lanes(u, s.units), at = row * s.units + u;
      const Vec previous[2] = {zero(), load_partial(s.c_before + at, n)};
      Vec slot[5], d[2] = {load_partial(s.dh + at, n), load_partial(s.dc + at, n)};
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g) slot[g] = load_partial(gates + g * s.units + u, n);
      slot[Lstm::c] = load_partial(s.c + at, n);
      Lstm::backward(cells::PhaseTag<0>{}, f, zero(), previous, static_cast<const Vec*>(nullptr), d, slot);
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g) store_partial(gates + g * s.units + u, slot[g], n);
      store_partial(s.dc + at, d[1], n);
    }
  }
}
#endif

constexpr kernels::GateKernels make_gate_kernels() {
  return {.forward = gates_forward,
#if REKUR_TRAINING
          .backward = gates_backward
#endif
  };
}

}  // namespace
}  // namespace rekur
