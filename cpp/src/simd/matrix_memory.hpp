// States that are matrices, through the steps of a sequence. Included by the ISA units only.
//
// A sweep knows all that a state will be added and multiplied by, so a block of it, kRowBlock rows by NV vectors of lanes, goes
// through all steps of a call in registers: two or three operations a vector and step, which is the arithmetic itself. A form by
// chunks, with products inside and between them, would do more of it and would tie the bits to where chunks begin.
#pragma once

#include "simd/matrix_kernels.hpp"
#include "simd/pointwise.hpp"
#include "simd/vec.hpp"

namespace rekur {
namespace {

inline constexpr int kRowBlock = kRegisters == 32 ? 8 : 4;
inline constexpr int kLaneVectors = 2;

static_assert(simd::kMatrixPad % kRowBlock == 0 && simd::kMatrixPad % kWidth == 0);

template <int NV>
struct Lanes {
  Vec v[NV];

  REKUR_INLINE static Lanes load_at(const float* p) {
    Lanes l;
    REKUR_UNROLL
    for (int i = 0; i < NV; ++i) l.v[i] = load(p + i * kWidth);
    return l;
  }
  REKUR_INLINE static Lanes zeros() {
    Lanes l;
    REKUR_UNROLL
    for (int i = 0; i < NV; ++i) l.v[i] = zero();
    return l;
  }
  REKUR_INLINE void store_at(float* p) const {
    REKUR_UNROLL
    for (int i = 0; i < NV; ++i) store(p + i * kWidth, v[i]);
  }
  // this += s l
  REKUR_INLINE void add(Vec s, const Lanes& l) {
    REKUR_UNROLL
    for (int i = 0; i < NV; ++i) v[i] = fma(s, l.v[i], v[i]);
  }
  REKUR_INLINE void multiply(Vec s) {
    REKUR_UNROLL
    for (int i = 0; i < NV; ++i) v[i] *= s;
  }
  REKUR_INLINE void multiply(const Lanes& l) {
    REKUR_UNROLL
    for (int i = 0; i < NV; ++i) v[i] *= l.v[i];
  }
};

// --- sweeps ---

// Rows [row, row + kRowBlock) and NV vectors of lanes from `lane` on. The first block of rows begins the sums of the outputs, the
// others go on with them: each is summed in ascending order of the rows.
template <int NV, simd::Decay D, bool Backwards, bool Extra>
REKUR_NOINLINE void sweep_block(const simd::MatrixSweep& s, Index row, Index lane) {
  using simd::Decay;
  Lanes<NV> state[kRowBlock];
  float* const at = s.state + row * s.lanes + lane;
  REKUR_UNROLL
  for (int r = 0; r < kRowBlock; ++r) state[r] = Lanes<NV>::load_at(at + r * s.lanes);

  for (Index i = 0; i < s.count; ++i) {
    const Index t = Backwards ? s.count - 1 - i : i;
    const float* const x = s.x.data + t * s.x.stride + row;
    const float* const z = s.z.data + t * s.z.stride + row;
    const Lanes<NV> y = Lanes<NV>::load_at(s.y.data + t * s.y.stride + lane);
    float* const to = s.out.data + t * s.out.stride + lane;
    Lanes<NV> out = row == 0 ? Lanes<NV>::zeros() : Lanes<NV>::load_at(to);
    const float* const a = D == Decay::none ? nullptr : s.a.data + t * s.a.stride;
    Lanes<NV> by_lane;
    if constexpr (D == Decay::lanes) by_lane = Lanes<NV>::load_at(a + lane);
    const auto decay = [&](int r) {
      if constexpr (D == Decay::one) state[r].multiply(set1(a[0]));
      if constexpr (D == Decay::rows) state[r].multiply(set1(a[row + r]));
      if constexpr (D == Decay::lanes) state[r].multiply(by_lane);
    };
    if constexpr (!Extra) {
      REKUR_UNROLL
      for (int r = 0; r < kRowBlock; ++r) {
        if (!Backwards) decay(r);
        state[r].add(set1(x[r]), y);
        out.add(set1(z[r]), state[r]);
        if (Backwards) decay(r);
      }
    } else if constexpr (!Backwards) {
      const float* const early = s.early.data + t * s.early.stride + row;
      float* const early_to = s.early_out.data + t * s.early_out.stride + lane;
      Lanes<NV> early_out = row == 0 ? Lanes<NV>::zeros() : Lanes<NV>::load_at(early_to);
      REKUR_UNROLL
      for (int r = 0; r < kRowBlock; ++r) {
        decay(r);
        early_out.add(set1(early[r]), state[r]);
        state[r].add(set1(x[r]), y);
        out.add(set1(z[r]), state[r]);
      }
      early_out.store_at(early_to);
    } else {
      const float* const x2 = s.x2.data + t * s.x2.stride + row;
      const Lanes<NV> y2 = Lanes<NV>::load_at(s.y2.data + t * s.y2.stride + lane);
      REKUR_UNROLL
      for (int r = 0; r < kRowBlock; ++r) {
        state[r].add(set1(x[r]), y);
        out.add(set1(z[r]), state[r]);
        state[r].add(set1(x2[r]), y2);
        decay(r);
      }
    }
    out.store_at(to);
  }
  REKUR_UNROLL
  for (int r = 0; r < kRowBlock; ++r) state[r].store_at(at + r * s.lanes);
}

template <simd::Decay D, bool Backwards, bool Extra>
void sweep_of(const simd::MatrixSweep& s) {
  constexpr Index kBlock = Index{kLaneVectors} * kWidth;
  Index lane = 0;
  for (; lane + kBlock <= s.lanes; lane += kBlock)
    for (Index row = 0; row < s.rows; row += kRowBlock) sweep_block<kLaneVectors, D, Backwards, Extra>(s, row, lane);
  for (; lane < s.lanes; lane += kWidth)
    for (Index row = 0; row < s.rows; row += kRowBlock) sweep_block<1, D, Backwards, Extra>(s, row, lane);
}

template <bool Backwards>
void sweep_towards(const simd::MatrixSweep& s) {
  using simd::Decay;
#if REKUR_TRAINING
  if (s.early.data != nullptr || s.x2.data != nullptr)
    return s.decay == Decay::none ? sweep_of<Decay::none, Backwards, true>(s) : sweep_of<Decay::one, Backwards, true>(s);
  if (s.decay == Decay::lanes) return sweep_of<Decay::lanes, Backwards, false>(s);
#endif
  switch (s.decay) {
    case Decay::one:
      return sweep_of<Decay::one, Backwards, false>(s);
    case Decay::rows:
      return sweep_of<Decay::rows, Backwards, false>(s);
    default:
      return sweep_of<Decay::none, Backwards, false>(s);
  }
}

inline void matrix_sweep(const simd::MatrixSweep& s) {
#if REKUR_TRAINING
  if (s.backwards) return sweep_towards<true>(s);
#endif
  sweep_towards<false>(s);
}

// --- the delta rule ---

// A step's pass over the state: S + before addendᵀ, which is what the step before it adds (where there is one), its decay,
// backwards S + q vᵀ, and the sums at_k and forward at_q.
template <int NV, bool Decays, bool Backwards, bool Pending>
REKUR_INLINE void delta_pass(Index rows, float* state, Index stride, const float* before, const Lanes<NV>& addend, Vec a,
                             const float* k, const float* q, const Lanes<NV>& v, Lanes<NV>& at_k, Lanes<NV>& at_q) {
  for (Index r = 0; r < rows; ++r, state += stride) {
    Lanes<NV> row = Lanes<NV>::load_at(state);
    if constexpr (Pending) row.add(set1(before[r]), addend);
    if constexpr (Decays && (Pending || !Backwards)) row.multiply(a);
    if constexpr (Backwards) row.add(set1(q[r]), v);
    at_k.add(set1(k[r]), row);
    if constexpr (!Backwards) at_q.add(set1(q[r]), row);
    row.store_at(state);
  }
}

// What a step adds to the state depends on all of its rows, so it is added while the next step passes over them.
template <int NV, bool Decays, bool Backwards>
REKUR_NOINLINE void delta_lanes(const simd::MatrixDelta& s, Index lane) {
  float* const state = s.state + lane;
  Lanes<NV> addend = Lanes<NV>::zeros();
  const float* before = nullptr;
  float before_a = 1.0f;
  for (Index i = 0; i < s.count; ++i) {
    const Index t = Backwards ? s.count - 1 - i : i;
    const float* const k = s.k.data + t * s.k.stride;
    const float* const q = s.q.data + t * s.q.stride;
    const Lanes<NV> v = Lanes<NV>::load_at(s.v.data + t * s.v.stride + lane);
    const float now = Decays ? s.a.data[t * s.a.stride] : 1.0f;
    const Vec a = set1(Backwards ? before_a : now);
    Lanes<NV> at_k = Lanes<NV>::zeros(), at_q = Lanes<NV>::zeros();
    if (before != nullptr)
      delta_pass<NV, Decays, Backwards, true>(s.rows, state, s.lanes, before, addend, a, k, q, v, at_k, at_q);
    else
      delta_pass<NV, Decays, Backwards, false>(s.rows, state, s.lanes, before, addend, a, k, q, v, at_k, at_q);

    const Vec beta = set1(s.beta.data[t * s.beta.stride]);
    REKUR_UNROLL
    for (int j = 0; j < NV; ++j) {
      const Vec r = Backwards ? at_k.v[j] : v.v[j] - at_k.v[j];
      store(s.r.data + t * s.r.stride + lane + j * kWidth, r);
      addend.v[j] = Backwards ? -(beta * r) : beta * r;
    }
    if constexpr (!Backwards) {
      RowSum sum;
      by_sixteens(simd::matrix_padded(s.rows),
                  [&](Index r, Index, int j) REKUR_INLINED { sum.s[j] = fma(load(k + r), load(q + r), sum.s[j]); });
      at_q.add(set1(sum.total()), addend);
      at_q.store_at(s.out.data + t * s.out.stride + lane);
    }
    before = k;
    before_a = now;
  }
  if (before == nullptr) return;
  for (Index r = 0; r < s.rows; ++r) {
    Lanes<NV> row = Lanes<NV>::load_at(state + r * s.lanes);
    row.add(set1(before[r]), addend);
    if constexpr (Decays && Backwards) row.multiply(set1(before_a));
    row.store_at(state + r * s.lanes);
  }
}

template <bool Decays, bool Backwards>
void delta_of(const simd::MatrixDelta& s) {
  Index lane = 0;
  if constexpr (kRegisters == 32)
    for (; lane + 4 * kWidth <= s.lanes; lane += 4 * kWidth) delta_lanes<4, Decays, Backwards>(s, lane);
  for (; lane + 2 * kWidth <= s.lanes; lane += 2 * kWidth) delta_lanes<2, Decays, Backwards>(s, lane);
  for (; lane < s.lanes; lane += kWidth) delta_lanes<1, Decays, Backwards>(s, lane);
}

inline void matrix_delta(const simd::MatrixDelta& s) {
  const bool decays = s.decay != simd::Decay::none;
#if REKUR_TRAINING
  if (s.backwards) return decays ? delta_of<true, true>(s) : delta_of<false, true>(s);
#endif
  decays ? delta_of<true, false>(s) : delta_of<false, false>(s);
}

// --- gates ---

REKUR_INLINE Vec silu(Vec x) { return x * sigmoid(x); }

REKUR_INLINE Vec silu_slope(Vec x) {
  const Vec s = sigmoid(x);
  return s * fma(x, set1(1.0f) - s, set1(1.0f));
}

// σ(x)^s = e^(-s ln(1 + e^-x))
REKUR_INLINE Vec decay_of(Vec x, float s) { return exp(set1(-s) * softplus(-x)); }

inline constexpr float kUnitEpsilon = 1e-6f;

// 1 / √(|silu x|² + ε)
inline float unit_inverse(const float* x, Index n) {
  RowSum sum;
  by_sixteens(n, [&](Index i, Index count, int j) REKUR_INLINED {
    const Vec u = silu(load_partial(x + i, count));
    sum.s[j] = fma(u, u, sum.s[j]);
  });
  return 1.0f / sqrt(set1(sum.total() + kUnitEpsilon))[0];
}

template <class F>
REKUR_INLINE void pack_rows(const simd::MatrixPack& p, const F& f) {
  const Index padded = simd::matrix_padded(p.n);
  for (Index t = 0; t < p.count; ++t) {
    const float* const from = p.from.data + t * p.from.stride;
    float* const to = p.to.data + t * p.to.stride;
    const auto value = f(from);
    Index i = 0;
    for (; i < p.n; i += kWidth) {
      const Index count = lanes(i, p.n);
      store(to + i, first_lanes(value(load_partial(from + i, count)), count));
    }
    for (; i < padded; i += kWidth) store(to + i, zero());
  }
}

inline void matrix_pack(const simd::MatrixPack& p) {
  using simd::MatrixGate;
  const float s = p.s;
  switch (p.gate) {
    case MatrixGate::scale:
      return pack_rows(p, [s](const float*) { return [s](Vec x) { return set1(s) * x; }; });
    case MatrixGate::silu:
      return pack_rows(p, [](const float*) { return [](Vec x) { return silu(x); }; });
    case MatrixGate::decay:
      return pack_rows(p, [s](const float*) { return [s](Vec x) { return decay_of(x, s); }; });
    case MatrixGate::sigmoid:
      return pack_rows(p, [](const float*) { return [](Vec x) { return sigmoid(x); }; });
    case MatrixGate::log_sigmoid:
      return pack_rows(p, [](const float*) { return [](Vec x) { return -softplus(-x); }; });
    case MatrixGate::exp:
      return pack_rows(p, [s](const float*) { return [s](Vec x) { return exp(set1(s) * x); }; });
    case MatrixGate::unit:
      return pack_rows(p, [&](const float* from) {
        const Vec by = set1(s * unit_inverse(from, p.n));
        return [by](Vec x) { return by * silu(x); };
      });
  }
}

// What a norm takes from its numbers and what it multiplies them by.
struct Norm {
  float mean, inverse;

  Norm(const float* o, Index n, simd::MatrixNormForm form) : mean(0) {
    const float size = static_cast<float>(n);
    if (form.centre) {
      RowSum sum;
      by_sixteens(n, [&](Index i, Index count, int j) REKUR_INLINED { sum.s[j] += load_partial(o + i, count); });
      mean = sum.total() / size;
    }
    RowSum squares;
    by_sixteens(n, [&](Index i, Index count, int j) REKUR_INLINED {
      const Vec v = first_lanes(load_partial(o + i, count) - set1(mean), count);
      squares.s[j] = fma(v, v, squares.s[j]);
    });
    inverse = 1.0f / sqrt(set1(squares.total() / size + form.epsilon))[0];
  }
  REKUR_INLINE Vec operator()(Vec o) const { return (o - set1(mean)) * set1(inverse); }
};

inline void matrix_norm(const simd::MatrixNorm& p) {
  for (Index c = 0; c < p.count; ++c) {
    const float* const o = p.o.data + c * p.o.stride;
    const float* const z = p.z.data ? p.z.data + c * p.z.stride : nullptr;
    const float* const gamma = p.gamma.data + c * p.gamma.stride;
    float* const y = p.y.data + c * p.y.stride;
    const Norm norm(o, p.n, p.form);
    for (Index i = 0; i < p.n; i += kWidth) {
      const Index count = lanes(i, p.n);
      Vec v = norm(load_partial(o + i, count)) * load_partial(gamma + i, count);
      if (z) {
        const Vec gate = load_partial(z + i, count);
        v *= p.form.sigmoid ? sigmoid(gate) : silu(gate);
      }
      store_partial(y + i, v, count);
    }
  }
}

inline void matrix_scale_steps(Index count, Index n, simd::Steps by, simd::Steps from, simd::StepsOut to) {
  for (Index t = 0; t < count; ++t) scale(by.data[t * by.stride], from.data + t * from.stride, to.data + t * to.stride, n);
}

#if REKUR_TRAINING

inline void matrix_unpack(const simd::MatrixUnpack& p) {
  using simd::MatrixGate;
  const float s = p.s;
  for (Index t = 0; t < p.count; ++t) {
    const float* const from = p.from.data + t * p.from.stride;
    const float* const d = p.d.data + t * p.d.stride;
    float* const out = p.out.data + t * p.out.stride;
    // Of y = s u / |u|: s (d - y (y · d) / s²) / |u|; with ε in the root the same, |u| being the root.
    Vec inverse = zero(), along = zero();
    if (p.gate == MatrixGate::unit) {
      const float by = unit_inverse(from, p.n);
      RowSum dots;
      by_sixteens(p.n, [&](Index i, Index count, int j) REKUR_INLINED {
        dots.s[j] = fma(silu(load_partial(from + i, count)), load_partial(d + i, count), dots.s[j]);
      });
      inverse = set1(s * by);
      along = set1(s * by * by * by * dots.total());
    }
    for (Index i = 0; i < p.n; i += kWidth) {
      const Index count = lanes(i, p.n);
      const Vec x = load_partial(from + i, count), g = load_partial(d + i, count);
      Vec y = g * set1(s);
      if (p.gate == MatrixGate::silu) y = g * silu_slope(x);
      if (p.gate == MatrixGate::decay) y = g * set1(s) * sigmoid(-x);
      if (p.gate == MatrixGate::sigmoid) y = g * sigmoid(x) * sigmoid(-x);
      if (p.gate == MatrixGate::unit) y = (g * inverse - silu(x) * along) * silu_slope(x);
      store_partial(out + i, y, count);
    }
  }
}

inline void matrix_norm_backward(const simd::MatrixNormBackward& p) {
  for (Index c = 0; c < p.count; ++c) {
    const float* const o = p.o.data + c * p.o.stride;
    const float* const z = p.z.data ? p.z.data + c * p.z.stride : nullptr;
    const float* const gamma = p.gamma.data + c * p.gamma.stride;
    const float* const d = p.d.data + c * p.d.stride;
    float* const d_o = p.d_o.data + c * p.d_o.stride;
    float* const d_z = z ? p.d_z.data + c * p.d_z.stride : nullptr;
    float* const d_gamma = p.d_gamma.data ? p.d_gamma.data + c * p.d_gamma.stride : nullptr;
    const Norm norm(o, p.n, p.form);
    RowSum dots, sums;
    by_sixteens(p.n, [&](Index i, Index count, int j) REKUR_INLINED {
      const Vec normal = first_lanes(norm(load_partial(o + i, count)), count), by = load_partial(gamma + i, count);
      Vec g = load_partial(d + i, count);
      if (z) {
        const Vec gate = load_partial(z + i, count);
        const Vec s = sigmoid(gate), slope = p.form.sigmoid ? s * (set1(1.0f) - s) : silu_slope(gate);
        store_partial(d_z + i, g * normal * by * slope, count);
        g *= p.form.sigmoid ? s : gate * s;
      }
      if (d_gamma) store_partial(d_gamma + i, fma(g, normal, load_partial(d_gamma + i, count)), count);
      g *= by;
      dots.s[j] = fma(g, normal, dots.s[j]);
      sums.s[j] += g;
      store_partial(d_o + i, g, count);
    });
    const float size = static_cast<float>(p.n);
    const Vec along = set1(dots.total() / size), mean = set1(p.form.centre ? sums.total() / size : 0.0f);
    for (Index i = 0; i < p.n; i += kWidth) {
      const Index count = lanes(i, p.n);
      const Vec normal = norm(load_partial(o + i, count));
      store_partial(d_o + i, (load_partial(d_o + i, count) - mean - normal * along) * set1(norm.inverse), count);
    }
  }
}

// Kahan's sums: a decay's gradient is what remains of many terms that take each other's place.
inline void matrix_decay_gradient(const simd::MatrixDecayGradient& p) {
  float *const sum = p.sum, *const rest = sum + simd::matrix_padded(p.n);
  for (Index t = p.count - 1; t >= 0; --t) {
    const float* const early = p.early.data ? p.early.data + t * p.early.stride : nullptr;
    const float *const q = p.q.data + t * p.q.stride, *const dq = p.dq.data + t * p.dq.stride, *const k = p.k.data + t * p.k.stride;
    float *const g = p.g.data + t * p.g.stride, *const out = p.out.data + t * p.out.stride;
    RowSum total;
    by_sixteens(p.n, [&](Index i, Index count, int j) REKUR_INLINED {
      const Vec at = load_partial(g + i, count), before = early ? load_partial(early + i, count) : zero();
      const Vec term = fma(load_partial(q + i, count), load_partial(dq + i, count), -(load_partial(k + i, count) * (at + before)));
      const Vec old = load(sum + i), addend = term - load(rest + i), now = old + addend;
      store(rest + i, (now - old) - addend);
      store(sum + i, now);
      store_partial(g + i, at - before, count);
      if (!p.one) store_partial(out + i, now, count);
      total.s[j] += now;
    });
    if (p.one) out[0] = total.total();
  }
}

inline void matrix_dot_steps(Index count, Index n, simd::Steps a, simd::Steps b, simd::StepsOut to) {
  for (Index t = 0; t < count; ++t) {
    const float *const x = a.data + t * a.stride, *const y = b.data + t * b.stride;
    RowSum sum;
    by_sixteens(n, [&](Index i, Index rest, int j)
                       REKUR_INLINED { sum.s[j] = fma(load_partial(x + i, rest), load_partial(y + i, rest), sum.s[j]); });
    to.data[t * to.stride] = sum.total();
  }
}

#endif

constexpr simd::MatrixKernels make_matrix_kernels() {
  return {
      .sweep = matrix_sweep,
      .delta = matrix_delta,
      .pack = matrix_pack,
      .norm = matrix_norm,
      .scale_steps = matrix_scale_steps,
#if REKUR_TRAINING
      .unpack = matrix_unpack,
      .norm_backward = matrix_norm_backward,
      .decay_gradient = matrix_decay_gradient,
      .dot_steps = matrix_dot_steps,
#endif
  };
}

}  // namespace
}  // namespace rekur
