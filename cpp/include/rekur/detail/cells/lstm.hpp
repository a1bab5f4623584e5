// Long short-term memory (Hochreiter & Schmidhuber, 1997; forget gate: Gers et al., 2000).
//
//   i = σ(aᵢ)   f = σ(a_f)   g = τ(a_g)   o = σ(aₒ)        a = W x + R h + b
//   c' = f⊙c + i⊙g            h' = o⊙φ(c')                 τ, φ: tanh unless told otherwise
#pragma once

#include "rekur/detail/cells/cell_info.hpp"
#include "rekur/detail/compiler.hpp"

namespace rekur::cells {

struct Lstm {
  enum Slot { i, f, g, o, c };

  static constexpr CellInfo info{.name = "lstm",
                                 .gates = 4,
                                 .states = 2,
                                 .slots = 5,
                                 .state_slot = c,
                                 .x_first = i,
                                 .x_count = 4,
                                 .phases = 1,
                                 .phase = {{.first = i, .count = 4, .input_slot = -1}},
                                 .kernel_block = {0, 1, 2, 3},
                                 .recurrent_bias = false,
                                 .forget_gate = f};

  template <class V, class F>
  static REKUR_INLINE void forward(PhaseTag<0>, const F& fn, const V* in, const V* rec, const V*, V* state, V* slot) {
    slot[i] = fn.gate(in[i] + rec[i]);
    slot[f] = fn.gate(in[f] + rec[f]);
    slot[g] = fn.candidate(in[g] + rec[g]);
    slot[o] = fn.gate(in[o] + rec[o]);
    state[1] = slot[c] = slot[f] * state[1] + slot[i] * slot[g];
    state[0] = slot[o] * fn.output(slot[c]);
  }

  template <class V, class F>
  static REKUR_INLINE void backward(PhaseTag<0>, const F& fn, const V&, const V* previous, const V*, V* d, V* slot) {
    const V vi = slot[i], vf = slot[f], vg = slot[g], vo = slot[o];
    const V phi = fn.output(slot[c]);
    const V dc = d[1] + d[0] * vo * fn.output_slope(phi);
    slot[i] = dc * vg * fn.gate_slope(vi);
    slot[f] = dc * previous[1] * fn.gate_slope(vf);
    slot[g] = dc * vi * fn.candidate_slope(vg);
    slot[o] = d[0] * phi * fn.gate_slope(vo);
    d[1] = dc * vf;
    d[0] = V{};
  }
};

}  // namespace rekur::cells
