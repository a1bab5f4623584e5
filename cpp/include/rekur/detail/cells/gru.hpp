// Gated recurrent unit (Cho et al., 2014), reset after the recurrent product (as in cuDNN, PyTorch, Keras's default).
//
//   z = σ(a_z)   r = σ(a_r)   q = R_n h + b_Rn   n = τ(W_n x + b_n + r⊙q)   h' = (1−z)⊙n + z⊙h
//   a = W x + b + R h + b_R
#pragma once

#include "rekur/detail/cells/cell_info.hpp"
#include "rekur/detail/compiler.hpp"

namespace rekur::cells {

struct Gru {
  enum Slot { n, z, r, q };

  static constexpr CellInfo info{.name = "gru",
                                 .gates = 3,
                                 .states = 1,
                                 .slots = 4,
                                 .state_slot = -1,
                                 .x_first = n,
                                 .x_count = 3,
                                 .phases = 1,
                                 .phase = {{.first = z, .count = 3, .input_slot = -1}},
                                 .kernel_block = {2, 0, 1, 2},
                                 .recurrent_bias = true};

  template <class V, class F>
  static REKUR_INLINE void forward(PhaseTag<0>, const F& fn, const V* in, const V* rec, const V*, V* state, V* slot) {
    slot[z] = fn.gate(in[z] + rec[z]);
    slot[r] = fn.gate(in[r] + rec[r]);
    slot[q] = rec[q];
    slot[n] = fn.candidate(in[n] + slot[r] * slot[q]);
    state[0] = slot[n] + slot[z] * (state[0] - slot[n]);
  }

  template <class V, class F>
  static REKUR_INLINE void backward(PhaseTag<0>, const F& fn, const V&, const V* previous, const V*, V* d, V* slot) {
    const V vn = slot[n], vz = slot[z], vr = slot[r], vq = slot[q];
    slot[z] = d[0] * (previous[0] - vn) * fn.gate_slope(vz);
    slot[n] = (d[0] - d[0] * vz) * fn.candidate_slope(vn);
    slot[r] = slot[n] * vq * fn.gate_slope(vr);
    slot[q] = slot[n] * vr;
    d[0] = d[0] * vz;
  }
};

}  // namespace rekur::cells
