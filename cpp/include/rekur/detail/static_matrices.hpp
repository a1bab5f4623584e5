// Layers whose state is a matrix, for static_steps.hpp: one step of SelectiveSSM, of GatedLinearAttention and of MLSTM. Sums run in
// the order of simd/selective_scan.hpp and simd/matrix_memory.hpp. A state's rows stand lines(columns) floats apart.
namespace rekur {
namespace REKUR_SIMD_NAMESPACE {

REKUR_INLINE Vec silu(Vec x) { return x * sigmoid(x); }

// --- SelectiveSSM ---

// u = silu(bias + Σ_j w[j] x of the last Taps steps), of which `before` has those that are over; then the present one is the
// latest.
template <int Taps, int E, class W>
REKUR_INLINE void convolve(const float* x, const W* w, const float* bias, float* before, float* u) {
  for (int i = 0; i < E; i += kWidth) {
    Vec v = bias ? load(bias + i) : zero();
    for (int j = 0; j < Taps; ++j) v = fma(load(w + j * E + i), load(j + 1 < Taps ? before + j * lines(E) + i : x + i), v);
    store(u + i, silu(v));
  }
  for (int j = 0; j + 2 < Taps; ++j) copy<E>(before + (j + 1) * lines(E), before + j * lines(E));
  if constexpr (Taps > 1) copy<E>(x, before + (Taps - 2) * lines(E));
}

// h[n] ← e^(d a[n]) h[n] + d u b[n], y = (Σ_n c[n] h[n] + skip u) silu(z), d = softplus(dt), channel by channel.
template <int E, int N>
REKUR_INLINE void selective_scan(const float* a, const float* skip, float* h, const float* u, const float* dt, const float* z,
                                 const float* b, const float* c, float* y) {
  for (int i = 0; i < E; i += kWidth) {
    const Vec x = load(u + i), d = softplus(load(dt + i)), dx = d * x;
    Vec sum = zero();
    for (int n = 0; n < N; ++n) {
      const Vec now = fma(exp(d * load(a + n * E + i)), load(h + n * lines(E) + i), dx * set1(b[n]));
      store(h + n * lines(E) + i, now);
      sum = fma(set1(c[n]), now, sum);
    }
    store(y + i, fma(load(skip + i), x, sum) * silu(load(z + i)));
  }
}

// --- heads ---

enum class MatrixRule : std::uint8_t { linear, gated, delta, gated_delta, mlstm };

// f of N numbers, filled up with zeros.
template <int N, class F>
REKUR_INLINE void pack(const float* from, float* to, const F& f) {
  for (int i = 0; i < lines(N); i += kWidth) store(to + i, i < N ? within<N>(f(load(from + i)), i, 0.0f) : zero());
}

// s u / √(|u|² + 1e-6), u = silu x
template <int N>
REKUR_INLINE void pack_unit(const float* from, float s, float* to) {
  RowSum sum;
  by_sixteens(N, [&](Index i, Index, int j) REKUR_INLINED {
    const Vec u = within<N>(silu(load(from + i)), static_cast<int>(i), 0.0f);
    sum.s[j] = fma(u, u, sum.s[j]);
  });
  const float inverse = 1.0f / sqrt(set1(sum.total() + 1e-6f))[0];
  const Vec by = set1(s * inverse);
  pack<N>(from, to, [=](Vec x) REKUR_INLINED { return by * silu(x); });
}

// σ(x)^s
REKUR_INLINE Vec decay_of(Vec x, float s) { return exp(set1(-s) * softplus(-x)); }

// S ← a S + x yᵀ, out = Sᵀ z; a: a number a row, or one. What fills the rows up is computed once, as rows of zeros would be.
template <int K, int L, bool Rows>
REKUR_INLINE void sweep(float* state, const float* a, const float* x, const float* y, const float* z, float* out) {
  for (int i = 0; i < L; i += kWidth) {
    const Vec by = load(y + i);
    Vec sum = zero();
    for (int r = 0; r < K; ++r) {
      Vec row = load(state + r * lines(L) + i);
      if (a) row *= set1(a[Rows ? r : 0]);
      row = fma(set1(x[r]), by, row);
      sum = fma(set1(z[r]), row, sum);
      store(state + r * lines(L) + i, row);
    }
    if constexpr (K % 16 != 0) sum = fma(zero(), fma(zero(), by, zero()), sum);
    store(out + i, sum);
  }
}

// S ← a S, S ← S + k (β (v - Sᵀ k))ᵀ, out = Sᵀ q
template <int K, int L>
REKUR_INLINE void delta(float* state, const float* a, float beta, const float* k, const float* q, const float* v, float* out) {
  RowSum dots;
  by_sixteens(lines(K), [&](Index r, Index, int j) REKUR_INLINED { dots.s[j] = fma(load(k + r), load(q + r), dots.s[j]); });
  const Vec dot = set1(dots.total());
  for (int i = 0; i < L; i += kWidth) {
    Vec at_k = zero(), at_q = zero();
    for (int r = 0; r < K; ++r) {
      Vec row = load(state + r * lines(L) + i);
      if (a) row *= set1(*a);
      at_k = fma(set1(k[r]), row, at_k);
      at_q = fma(set1(q[r]), row, at_q);
      store(state + r * lines(L) + i, row);
    }
    const Vec added = set1(beta) * (load(v + i) - at_k);
    store(out + i, fma(dot, added, at_q));
    for (int r = 0; r < K; ++r) {
      float* const row = state + r * lines(L) + i;
      store(row, fma(set1(k[r]), added, load(row)));
    }
  }
}

// A head's step, from the numbers q, k, v, a, b of the projection to o.
template <MatrixRule R, int K, int V>
REKUR_INLINE void matrix_head(float query_scale, float key_scale, float decay_power, const float* from_q, const float* from_k,
                              const float* from_v, const float* from_a, const float* from_b, float* state, float* m, float* o) {
  constexpr bool deltas = R == MatrixRule::delta || R == MatrixRule::gated_delta, mlstm = R == MatrixRule::mlstm;
  constexpr int L = V + (mlstm ? 1 : 0);
  alignas(64) float q[lines(K)], k[lines(K)], v[lines(L)], out[lines(L)];
  const auto scaled = [](float s) { return [s](Vec x) REKUR_INLINED { return set1(s) * x; }; };
  if constexpr (deltas) {
    pack_unit<K>(from_q, query_scale, q);
    pack_unit<K>(from_k, key_scale, k);
    pack<V>(from_v, v, [](Vec x) REKUR_INLINED { return silu(x); });
    const float beta = sigmoid(set1(*from_b))[0], a = R == MatrixRule::gated_delta ? decay_of(set1(*from_a), decay_power)[0] : 1.0f;
    delta<K, L>(state, R == MatrixRule::gated_delta ? &a : nullptr, beta, k, q, v, out);
  } else {
    pack<K>(from_q, q, scaled(query_scale));
    pack<K>(from_k, k, scaled(key_scale));
    fill<L>(0.0f, v);
    pack<V>(from_v, v, scaled(1.0f));
    if constexpr (R == MatrixRule::gated) {
      alignas(64) float a[lines(K)];
      pack<K>(from_a, a, [=](Vec x) REKUR_INLINED { return decay_of(x, decay_power); });
      sweep<K, L, true>(state, a, k, v, q, out);
    } else if constexpr (mlstm) {
      v[V] = 1.0f;
      const float input = *from_b, kept = (-softplus(-set1(*from_a)))[0] + *m;
      *m = kept < input ? input : kept;
      const float a = exp(set1(1.0f) * set1(kept - *m))[0], b = exp(set1(1.0f) * set1(input - *m))[0];
      const float bound = exp(set1(1.0f) * set1(-*m))[0];
      map<K>(k, k, scaled(b));
      sweep<K, L, false>(state, &a, k, v, q, out);
      const float normalizer = REKUR_ABS(out[V]), most = normalizer < bound ? bound : normalizer;
      map<V>(out, out, scaled(1.0f / (most < REKUR_FLOAT_MIN ? REKUR_FLOAT_MIN : most)));
    } else {
      sweep<K, L, false>(state, nullptr, k, v, q, out);
    }
  }
  copy<V>(out, o);
}

// y = gamma ⊙ (o - mean) / √(mean (o - mean)² + epsilon) ⊙ gate(z) of a head; Centre: with a mean and σ, else neither and silu.
template <int V, bool Centre>
REKUR_INLINE void matrix_norm(float epsilon, const float* gamma, const float* o, const float* z, float* y) {
  constexpr float size = static_cast<float>(V);
  float mean = 0;
  if constexpr (Centre) {
    RowSum sum;
    by_sixteens(V, [&](Index i, Index, int j) REKUR_INLINED { sum.s[j] += within<V>(load(o + i), static_cast<int>(i), 0.0f); });
    mean = sum.total() / size;
  }
  RowSum squares;
  by_sixteens(V, [&](Index i, Index, int j) REKUR_INLINED {
    const Vec v = within<V>(load(o + i) - set1(mean), static_cast<int>(i), 0.0f);
    squares.s[j] = fma(v, v, squares.s[j]);
  });
  const float inverse = 1.0f / sqrt(set1(squares.total() / size + epsilon))[0];
  alignas(64) float out[lines(V)];
  for (int i = 0; i < V; i += kWidth) {
    Vec v = (load(o + i) - set1(mean)) * set1(inverse) * load(gamma + i);
    if (z) v *= Centre ? sigmoid(load(z + i)) : silu(load(z + i));
    store(out + i, v);
  }
  copy<V>(out, y);
}

}  // namespace REKUR_SIMD_NAMESPACE
}  // namespace rekur
