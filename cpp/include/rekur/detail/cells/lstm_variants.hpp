// The LSTM whose gates look at the cell state (peepholes: Gers & Schmidhuber, 2000), the one whose forget gate is what the input
// gate leaves (coupled gates: Greff et al., 2017, "CIFG"), and both at once.
//
//   i = σ(aᵢ + pᵢ⊙c)   f = σ(a_f + p_f⊙c)   g = τ(a_g)   c' = f⊙c + i⊙g   o = σ(aₒ + pₒ⊙c')   h' = o⊙φ(c')
//   coupled: f = 1 − i, and neither a_f nor p_f exists                      a = W x + R h + b
#pragma once

#include "rekur/detail/cells/cell_info.hpp"
#include "rekur/detail/compiler.hpp"

namespace rekur::cells {

template <bool Peepholes, bool Coupled>
struct LstmVariant {
  static_assert(Peepholes || Coupled, "that one is Lstm");
  static constexpr bool rare = true;              // compiled for any functions alone, which inline the usual ones too
  enum Slot { i, f, g = Coupled ? 1 : 2, o, c };  // coupled: there is no f
  enum Look { look_i, look_f, look_o = Coupled ? 1 : 2 };

  static constexpr CellInfo info{
      .name = !Peepholes ? "lstm_coupled"
              : Coupled  ? "lstm_peephole_coupled"
                         : "lstm_peephole",
      .gates = c,
      .states = 2,
      .slots = c + 1,
      .state_slot = c,
      .x_first = i,
      .x_count = c,
      .phases = 1,
      .phase = {{.first = i, .count = c, .input_slot = -1}},
      .kernel_block = {0, 1, 2, Coupled ? -1 : 3, -1},
      .recurrent_bias = false,
      .peepholes = Peepholes ? look_o + 1 : 0,
      .peephole = {{.slot = i, .new_c = false}, {.slot = Coupled ? o : f, .new_c = Coupled}, {.slot = o, .new_c = true}},
      .forget_gate = Coupled ? -1 : f};

  template <class V, class F>
  static REKUR_INLINE void forward(PhaseTag<0>, const F& fn, const V* in, const V* rec, const V* p, V* state, V* slot) {
    const V before = state[1];
    slot[i] = fn.gate(in[i] + rec[i] + seen(p, look_i, before));
    if constexpr (!Coupled) slot[f] = fn.gate(in[f] + rec[f] + seen(p, look_f, before));
    slot[g] = fn.candidate(in[g] + rec[g]);
    state[1] = slot[c] = forget(slot) * before + slot[i] * slot[g];
    slot[o] = fn.gate(in[o] + rec[o] + seen(p, look_o, slot[c]));
    state[0] = slot[o] * fn.output(slot[c]);
  }

  template <class V, class F>
  static REKUR_INLINE void backward(PhaseTag<0>, const F& fn, const V&, const V* previous, const V* p, V* d, V* slot) {
    const V vi = slot[i], vf = forget(slot), vg = slot[g], vo = slot[o];
    const V phi = fn.output(slot[c]);
    slot[o] = d[0] * phi * fn.gate_slope(vo);
    const V dc = d[1] + d[0] * vo * fn.output_slope(phi) + seen(p, look_o, slot[o]);
    slot[i] = dc * (Coupled ? vg - previous[1] : vg) * fn.gate_slope(vi);
    slot[g] = dc * vi * fn.candidate_slope(vg);
    d[1] = dc * vf + seen(p, look_i, slot[i]);
    if constexpr (!Coupled) {
      slot[f] = dc * previous[1] * fn.gate_slope(vf);
      d[1] = d[1] + seen(p, look_f, slot[f]);
    }
    d[0] = V{};
  }

 private:
  // p⊙v; forward v is the c that a gate sees, backward the gate's gradient on its way to that c.
  template <class V>
  static REKUR_INLINE V seen(const V* p, Look row, const V& v) {
    if constexpr (Peepholes) return p[row] * v;
    return V{};
  }

  template <class V>
  static REKUR_INLINE V forget(const V* slot) {
    if constexpr (Coupled) return V{} + 1.0f - slot[i];
    return slot[f];
  }
};

using LstmPeephole = LstmVariant<true, false>;
using LstmCoupled = LstmVariant<false, true>;
using LstmPeepholeCoupled = LstmVariant<true, true>;

}  // namespace rekur::cells
