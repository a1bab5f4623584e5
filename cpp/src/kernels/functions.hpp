// What a cell (detail/cells) is given beside sums and states. Its functions: sigmoid and tanh themselves, or any activations with
// or without clip; its weights a unit.
// Included only by the ISA units.
#pragma once

#include "rekur/detail/cells/cell_info.hpp"
#include "simd/vec.hpp"

namespace rekur {
namespace {

struct StandardFunctions {
  explicit StandardFunctions(const cells::Activations&) {}
  REKUR_INLINE Vec gate(Vec v) const { return sigmoid(v); }
  REKUR_INLINE Vec candidate(Vec v) const { return tanh(v); }
  REKUR_INLINE Vec output(Vec v) const { return tanh(v); }
  REKUR_INLINE Vec gate_slope(Vec y) const { return y - y * y; }
  REKUR_INLINE Vec candidate_slope(Vec y) const { return set1(1.0f) - y * y; }
  REKUR_INLINE Vec output_slope(Vec y) const { return set1(1.0f) - y * y; }
};

// An activation f of clamped values. The usual ones of its place are inlined, the others called by their address: with all twelve
// inlined in every cell, these kernels were half the library.
template <ActivationKind... Usual>
class GivenFunction {
 public:
  GivenFunction(Activation f, float clip) : f_(f), clip_(clip), clips_(clip < REKUR_INFINITY), value_(function_of(f.kind)) {}

  REKUR_INLINE Vec operator()(Vec v) const {
    Vec y;
    if (REKUR_EXPECT(!clips_ && (is<Usual>(v, y) || ...), 1)) return y;
    return value_(at_most(at_least(v, set1(-clip_)), set1(clip_)), f_.alpha, f_.beta);
  }

 private:
  template <ActivationKind K>
  REKUR_INLINE bool is(Vec v, Vec& y) const {
    if (f_.kind == K) y = activation<K>(f_, v);
    return f_.kind == K;
  }

  Activation f_;
  float clip_;
  bool clips_;
  VectorFunction value_;
};

// f' by the output y. What the clamp makes of anything beyond it has no slope; it is known by the output, which then is f(±clip) to
// the bit.
template <ActivationKind... Usual>
class GivenSlope {
 public:
  GivenSlope(Activation f, float clip) : f_(f), clips_(clip < REKUR_INFINITY), slope_(slope_of(f.kind)) {
    if (!clips_) return;
    const GivenFunction<> value(f, clip);
    low_ = value(set1(-clip));
    high_ = value(set1(clip));
  }

  REKUR_INLINE Vec operator()(Vec y) const {
    Vec d;
    if (REKUR_EXPECT(!(is<Usual>(y, d) || ...), 0)) d = slope_(y, f_.alpha, f_.beta);
    return clips_ ? select((y == low_) | (y == high_), zero(), d) : d;
  }

 private:
  template <ActivationKind K>
  REKUR_INLINE bool is(Vec y, Vec& d) const {
    if (f_.kind == K) d = activation_slope<K>(f_, y);
    return f_.kind == K;
  }

  Activation f_;
  bool clips_;
  VectorFunction slope_;
  Vec low_{}, high_{};
};

#if REKUR_COMPACT_KERNELS
template <template <ActivationKind...> class Of>
using Gate = Of<>;
template <template <ActivationKind...> class Of>
using Content = Of<>;
#else
template <template <ActivationKind...> class Of>
using Gate = Of<ActivationKind::sigmoid>;
template <template <ActivationKind...> class Of>
using Content = Of<ActivationKind::tanh, ActivationKind::relu>;
#endif

// Any activations, with or without `clip`.
struct GivenFunctions {
  explicit GivenFunctions(const cells::Activations& f)
      : gate(f.gate, f.clip), candidate(f.candidate, f.clip), output(f.output, REKUR_INFINITY) {}
  Gate<GivenFunction> gate;
  Content<GivenFunction> candidate, output;
};

struct GivenSlopes {
  explicit GivenSlopes(const cells::Activations& f)
      : output(f.output, REKUR_INFINITY),
        gate_slope(f.gate, f.clip),
        candidate_slope(f.candidate, f.clip),
        output_slope(f.output, REKUR_INFINITY) {}
  Content<GivenFunction> output;
  Gate<GivenSlope> gate_slope;
  Content<GivenSlope> candidate_slope, output_slope;
};

// --- and its weights a unit ---

// The peephole weights of a vector of units.
template <class Cell>
REKUR_INLINE void load_peephole(const float* peephole, Index Hp, Index u, Vec* out) {
#pragma GCC unroll 4
  for (int k = 0; k < Cell::info.peepholes; ++k) out[k] = load(peephole + k * Hp + u);
}

}  // namespace
}  // namespace rekur
