// A step backward: the cell's equations over the record of a step. Included only by the ISA units.
#pragma once

#include "kernels/functions.hpp"
#include "kernels/steps.hpp"
#include "simd/vec.hpp"

namespace rekur {
namespace {

using kernels::StepBackward;

template <class Cell, int P, class F>
void backward_step(const StepBackward& s) {
  constexpr cells::CellInfo info = Cell::info;
  constexpr bool last = P == info.phases - 1;
  const F f(*s.activations);
  for (Index m = 0; m < s.rows; ++m) {
    for (Index u = s.begin; u < s.end; u += kWidth) {
      const Index n = lanes(u, s.H);
      float* record = s.tape[m] + u;
      if (s.tape_ahead) {
#pragma GCC unroll 5
        for (int k = 0; k < info.slots; ++k) REKUR_PREFETCH(s.tape_ahead[m] + u + k * s.Hp, 1);
        REKUR_PREFETCH(s.dy_ahead[m] + u);
        REKUR_PREFETCH(s.h_ahead[m] + u);
        if constexpr (info.states > 1) REKUR_PREFETCH(s.c_ahead[m] + u);
      }
      Vec slot[cells::kMaxSlots], previous[cells::kMaxStates], d[cells::kMaxStates];
#pragma GCC unroll 5
      for (int k = 0; k < info.slots; ++k) slot[k] = load(record + k * s.Hp);
      previous[0] = load_partial(s.h_previous[m] + u, n);
      d[0] = load(s.dh + m * s.Hp + u);
      if constexpr (last)
        if (s.dy) d[0] = d[0] + load_partial(s.dy[m] + u, n);
      if constexpr (info.states > 1) {
        previous[1] = load_partial(s.c_previous[m] + u, n);
        d[1] = load(s.dc + m * s.Hp + u);
      }
      Vec peephole[cells::kMaxPeepholes];
      load_peephole<Cell>(s.peephole, s.Hp, u, peephole);
      Vec dq{};
      if constexpr (!last) dq = load(s.d_product + m * s.Hp + u);
      Cell::backward(cells::PhaseTag<P>{}, f, dq, previous, peephole, d, slot);
      // Units that do not exist get no gradient, whatever the input was (an infinite one leaves NaN in their gates).
      store(s.dh + m * s.Hp + u, first_lanes(d[0], n));
      if constexpr (info.states > 1) store(s.dc + m * s.Hp + u, first_lanes(d[1], n));
#pragma GCC unroll 5
      for (int k = 0; k < info.slots; ++k)
        if (k != info.state_slot) store(record + k * s.Hp, first_lanes(slot[k], n));
    }
  }
}

}  // namespace
}  // namespace rekur
