// Gated recurrent unit as first published (Cho et al., 2014): reset before the recurrent product, which makes it two products a
// step.
//
//   z = σ(a_z)   r = σ(a_r)   q = r⊙h   n = τ(W_n x + b_n + R_n q)   h' = (1−z)⊙n + z⊙h
//   a = W x + b + R h
#pragma once

#include "rekur/detail/cells/cell_info.hpp"
#include "rekur/detail/compiler.hpp"

namespace rekur::cells {

struct GruResetBefore {
  enum Slot { n, z, r, q };

  static constexpr CellInfo info{.name = "gru_reset_before",
                                 .gates = 3,
                                 .states = 1,
                                 .slots = 4,
                                 .state_slot = -1,
                                 .x_first = n,
                                 .x_count = 3,
                                 .phases = 2,
                                 .phase = {{.first = z, .count = 2, .input_slot = -1}, {.first = n, .count = 1, .input_slot = q}},
                                 .kernel_block = {2, 0, 1, -1},
                                 .recurrent_bias = false};

  template <class V, class F>
  static REKUR_INLINE void forward(PhaseTag<0>, const F& fn, const V* in, const V* rec, const V*, V* state, V* slot) {
    slot[z] = fn.gate(in[z] + rec[z]);
    slot[r] = fn.gate(in[r] + rec[r]);
    slot[q] = slot[r] * state[0];
  }

  template <class V, class F>
  static REKUR_INLINE void forward(PhaseTag<1>, const F& fn, const V* in, const V* rec, const V*, V* state, V* slot) {
    slot[n] = fn.candidate(in[n] + rec[n]);
    state[0] = slot[n] + slot[z] * (state[0] - slot[n]);
  }

  // Before the gradient passes R_n: everything but r, whose gradient comes through q.
  template <class V, class F>
  static REKUR_INLINE void backward(PhaseTag<1>, const F& fn, const V&, const V* previous, const V*, V* d, V* slot) {
    const V vn = slot[n], vz = slot[z];
    slot[z] = d[0] * (previous[0] - vn) * fn.gate_slope(vz);
    slot[n] = (d[0] - d[0] * vz) * fn.candidate_slope(vn);
    d[0] = d[0] * vz;
  }

  template <class V, class F>
  static REKUR_INLINE void backward(PhaseTag<0>, const F& fn, const V& dq, const V* previous, const V*, V* d, V* slot) {
    const V vr = slot[r];
    slot[r] = dq * previous[0] * fn.gate_slope(vr);
    d[0] = d[0] + dq * vr;
  }
};

}  // namespace rekur::cells
