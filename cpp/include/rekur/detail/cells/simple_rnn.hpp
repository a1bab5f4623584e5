// Simple recurrent network (Elman, 1990).   h' = f(W x + R h + b)
#pragma once

#include "rekur/detail/cells/cell_info.hpp"
#include "rekur/detail/compiler.hpp"

namespace rekur::cells {

struct SimpleRnn {
  enum Slot { a };

  static constexpr CellInfo info{.name = "simple_rnn",
                                 .gates = 1,
                                 .states = 1,
                                 .slots = 1,
                                 .state_slot = -1,
                                 .x_first = a,
                                 .x_count = 1,
                                 .phases = 1,
                                 .phase = {{.first = a, .count = 1, .input_slot = -1}},
                                 .kernel_block = {0},
                                 .recurrent_bias = false};

  template <class V, class F>
  static REKUR_INLINE void forward(PhaseTag<0>, const F& f, const V* in, const V* rec, const V*, V* state, V* slot) {
    state[0] = slot[a] = f.candidate(in[a] + rec[a]);
  }

  template <class V, class F>
  static REKUR_INLINE void backward(PhaseTag<0>, const F& f, const V&, const V*, const V*, V* d, V* slot) {
    slot[a] = d[0] * f.candidate_slope(slot[a]);
    d[0] = V{};
  }
};

}  // namespace rekur::cells
