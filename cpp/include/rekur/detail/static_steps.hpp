// What the step of a whole model written out in C++ is made of (`rekur export-cpp --static`): layers as functions of sizes known to
// the compiler, on weights that are constants. The exporter puts this text, and that of vec.hpp, math.hpp, activation.hpp and
// simd/functions.hpp, into the header it writes. C++17, and nothing of the standard library but <cstdint>.
//
// Arrays begin on lines' borders and hold whole vectors: what stands past their last number is anything, is computed along, and
// goes into nothing. Weights are as a spec has them; behind the last of them stand as many zeros as a vector may read too far.
// The order of every sum is the engine's (docs/architecture.md, "Numbers"), and so are the bits, where this is compiled for the
// engine's instruction set.
//
// Matrices are floats or, of a model in sixteen bits, uint16_t, for which the header then has a `load` of its own.
namespace rekur {
namespace REKUR_SIMD_NAMESPACE {

// Floats that n take up in whole lines, whatever the instruction set.
constexpr int lines(int n) { return (n + 15) / 16 * 16; }

constexpr int vectors(int n) { return (n + kWidth - 1) / kWidth; }

// v where it goes into a reduction of n numbers, of which it holds those from i on.
template <int N>
REKUR_INLINE Vec within(Vec v, int i, float neutral) {
  if (i + kWidth <= N) return v;
  IVec index;
  for (int lane = 0; lane < kWidth; ++lane) index[lane] = lane;
  return select(index < N - i, v, set1(neutral));
}

template <int N>
REKUR_INLINE void copy(const float* from, float* to) {
  for (int i = 0; i < N; ++i) to[i] = from[i];
}

// Rows of N numbers, From floats apart, to rows To apart.
template <int Rows, int N, int From, int To>
REKUR_INLINE void copy_rows(const float* from, float* to) {
  for (int r = 0; r < Rows; ++r) copy<N>(from + r * From, to + r * To);
}

template <int N>
REKUR_INLINE void fill(float value, float* to) {
  for (int i = 0; i < N; i += kWidth) store(to + i, set1(value));
}

// y = f(x), y = f(a, b)
template <int N, class F>
REKUR_INLINE void map(const float* x, float* y, const F& f) {
  for (int i = 0; i < N; i += kWidth) store(y + i, f(load(x + i)));
}

template <int N, class F>
REKUR_INLINE void map(const float* a, const float* b, float* y, const F& f) {
  for (int i = 0; i < N; i += kWidth) store(y + i, f(load(a + i), load(b + i)));
}

// --- products ---

// Columns of a row of weights, some blocks of N side by side or apart, as vectors: where vector v of them stands.
template <int N, int... Column>
struct Columns {
  static constexpr int kBlocks = sizeof...(Column), kOfBlock = vectors(N), kCount = kBlocks * kOfBlock;
  static constexpr int kFirst[kBlocks] = {Column...};
  static constexpr int from(int v) { return kFirst[v / kOfBlock] + v % kOfBlock * kWidth; }
  static constexpr int to(int v) { return v / kOfBlock * lines(N) + v % kOfBlock * kWidth; }
};

inline constexpr int kSums = kRegisters == 32 ? 24 : 12;  // the rest holds a broadcast, and weights where they must

// The sums of NV vectors of columns from the First on.
template <class C, int First, int NV, int K, int Row, class W>
REKUR_INLINE void product_pass(const float* a, const W* w, const float* bias, float* to) {
  Vec sum[NV];
  REKUR_UNROLL
  for (int v = 0; v < NV; ++v) sum[v] = bias ? load(bias + C::from(First + v)) : zero();
  REKUR_UNROLL_FOUR
  for (int k = 0; k < K; ++k) {
    const Vec x = set1(a[k]);
    REKUR_UNROLL
    for (int v = 0; v < NV; ++v) sum[v] = fma(x, load(w + k * Row + C::from(First + v)), sum[v]);
  }
  REKUR_UNROLL
  for (int v = 0; v < NV; ++v) store(to + C::to(First + v), sum[v]);
}

template <class C, int First, int K, int Row, class W>
REKUR_INLINE void product_passes(const float* a, const W* w, const float* bias, float* to) {
  constexpr int left = C::kCount - First, passes = (left + kSums - 1) / kSums, now = (left + passes - 1) / passes;
  product_pass<C, First, now, K, Row>(a, w, bias, to);
  if constexpr (left > now) product_passes<C, First + now, K, Row>(a, w, bias, to);
}

// to[block] = bias[column] + Σ_k a[k] w[k][column …], k ascending, one accumulator each; w [K, Row], bias [Row] or null. A block's
// place is lines(N) floats.
template <int K, int Row, int N, int... Column, class W>
REKUR_INLINE void product(const float* a, const W* w, const float* bias, float* to) {
  product_passes<Columns<N, Column...>, 0, K, Row>(a, w, bias, to);
}

// The same of few outputs (detail/few_outputs.hpp); w [N, lines(K)].
template <int K, int N>
REKUR_INLINE void dots(const float* a, const float* w, const float* bias, float* to) {
  Vec sums = zero();
  REKUR_UNROLL
  for (int n = 0; n < N; ++n) sums[n] = dot_by_sixteens(K, a, w + n * lines(K), bias ? bias + n : nullptr);
  store(to, sums);
}

// --- panels of a cell ---

// Panels, vectors of units, whose products and equations go together: as many as `Blocks` sums each leave in registers.
template <int H, int Blocks>
struct PanelGroups {
  static constexpr int most = kSums / Blocks > 1 ? kSums / Blocks : 1, passes = (vectors(H) + most - 1) / most;
  static constexpr int count = (vectors(H) + passes - 1) / passes, full = vectors(H) / count, rest = vectors(H) % count;
  static constexpr bool one = passes == 1;
};

template <int N>
struct Panels {
  static constexpr int count = N;
};

// f(panels, first unit) for all groups.
template <class Groups, class F>
REKUR_INLINE void each_group(const F& f) {
  for (int i = 0; i < Groups::full; ++i) f(Panels<Groups::count>{}, i * Groups::count * kWidth);
  if constexpr (Groups::rest > 0) f(Panels<Groups::rest>{}, Groups::full * Groups::count * kWidth);
}

// sum[block · N + panel] = bias[column] + Σ_k a[k] w[k][column …] for the panels from unit i on; as `product`.
template <int K, int Row, int... Column, int N, class W>
REKUR_INLINE void panel_sums(Panels<N>, const float* a, const W* w, const float* bias, int i, Vec* sum) {
  constexpr int blocks = sizeof...(Column), first[blocks] = {Column...};
  REKUR_UNROLL
  for (int b = 0; b < blocks; ++b) {
    REKUR_UNROLL
    for (int p = 0; p < N; ++p) sum[b * N + p] = bias ? load(bias + first[b] + i + p * kWidth) : zero();
  }
  REKUR_UNROLL_FOUR
  for (int k = 0; k < K; ++k) {
    const Vec x = set1(a[k]);
    REKUR_UNROLL
    for (int b = 0; b < blocks; ++b) {
      REKUR_UNROLL
      for (int p = 0; p < N; ++p) sum[b * N + p] = fma(x, load(w + k * Row + first[b] + i + p * kWidth), sum[b * N + p]);
    }
  }
}

// Products of a step, which may be two sums (first_sum).
template <int K, int Row, int... Column, int N, class W>
REKUR_INLINE void step_sums(Panels<N> panels, const float* a, const W* w, const float* bias, int i, Vec* sum) {
  constexpr int first = first_sum(K);
  panel_sums<first, Row, Column...>(panels, a, w, bias, i, sum);
  if constexpr (first < K) {
    constexpr int count = sizeof...(Column) * N;
    Vec second[count];
    panel_sums<K - first, Row, Column...>(panels, a + first, w + first * Row, nullptr, i, second);
    REKUR_UNROLL
    for (int n = 0; n < count; ++n) sum[n] += second[n];
  }
}

template <int K, int Row, int N, int... Column, class W>
REKUR_INLINE void step_product(const float* a, const W* w, const float* bias, float* to) {
  constexpr int first = first_sum(K);
  product<first, Row, N, Column...>(a, w, bias, to);
  if constexpr (first < K) {
    alignas(64) float second[sizeof...(Column) * lines(N)];
    product<K - first, Row, N, Column...>(a + first, w + first * Row, nullptr, second);
    for (int block = 0; block < static_cast<int>(sizeof...(Column)); ++block) {
      float* const own = to + block * lines(N);
      map<N>(own, second + block * lines(N), own, [](Vec u, Vec v) REKUR_INLINED { return u + v; });
    }
  }
}

// Each channel by itself: y = bias + Σ_k x[k] w[k], rows of `Stride` numbers of x.
template <int Taps, int N, class W>
REKUR_INLINE void depthwise(const float* x, const W* w, const float* bias, float* y) {
  for (int i = 0; i < N; i += kWidth) {
    Vec sum = bias ? load(bias + i) : zero();
    for (int k = 0; k < Taps; ++k) sum = fma(load(x + k * lines(N) + i), load(w + k * N + i), sum);
    store(y + i, sum);
  }
}

// --- layers ---

template <ActivationKind K, int N>
REKUR_INLINE void activate(float alpha, float beta, const float* x, float* y) {
  map<N>(x, y, [=](Vec v) REKUR_INLINED { return activation<K>({K, alpha, beta}, v); });
}

template <int N>
REKUR_INLINE void softmax(const float* x, float* y) {
  Vec best = set1(-REKUR_INFINITY);
  for (int i = 0; i < N; i += kWidth) best = at_least(best, within<N>(load(x + i), i, -REKUR_INFINITY));
  float largest = best[0];
  for (int lane = 1; lane < kWidth; ++lane) largest = best[lane] > largest ? best[lane] : largest;
  RowSum total;
  by_sixteens(N, [&](Index i, Index, int j) REKUR_INLINED {
    const Vec e = within<N>(exp(load(x + i) - set1(largest)), static_cast<int>(i), 0.0f);
    store(y + i, e);
    total.s[j] += e;
  });
  const float sum = total.total();
  map<N>(y, y, [=](Vec e) REKUR_INLINED { return e / set1(sum); });
}

template <int N>
REKUR_INLINE void affine(const float* x, const float* scale, const float* offset, float* y) {
  for (int i = 0; i < N; i += kWidth) store(y + i, fma(load(x + i), load(scale + i), load(offset + i)));
}

// As in the engine (simd/normalization.hpp): the second pass sums differences from the first pass's mean.
template <int N>
REKUR_INLINE void layer_norm(const float* x, const float* gamma, const float* beta, float epsilon, float* y) {
  constexpr float size = static_cast<float>(N);
  RowSum sum;
  by_sixteens(N, [&](Index i, Index, int j) REKUR_INLINED { sum.s[j] += within<N>(load(x + i), static_cast<int>(i), 0.0f); });
  const float shift = sum.total() / size;
  RowSum differences, squares;
  by_sixteens(N, [&](Index i, Index, int j) REKUR_INLINED {
    const Vec d = within<N>(load(x + i) - set1(shift), static_cast<int>(i), 0.0f);
    differences.s[j] += d;
    squares.s[j] = fma(d, d, squares.s[j]);
  });
  const float rest = differences.total() / size;
  float variance = squares.total() / size - rest * rest;
  if (variance < 0) variance = 0;  // by rounding; a NaN stays
  const Vec deviation = sqrt(set1(variance + epsilon));
  const Vec inverse = set1(1.0f / deviation[0]);
  for (int i = 0; i < N; i += kWidth) {
    const Vec normal = ((load(x + i) - set1(shift)) - set1(rest)) * inverse;
    store(y + i, fma(normal, gamma ? load(gamma + i) : set1(1.0f), beta ? load(beta + i) : zero()));
  }
}

// Step 0: one alpha for all.
template <int N, int Step>
REKUR_INLINE void prelu(const float* x, const float* alpha, float* y) {
  map<N>(x, y, [](Vec v) REKUR_INLINED { return v; });
  for (int i = 0; i < N; ++i) y[i] = x[i] > 0 ? x[i] : x[i] * alpha[i * Step];
}

// An id out of range gives NaN.
template <int Rows, int N, class W>
REKUR_INLINE void embedding(const std::int32_t* id, const W* table, float* y) {
  const bool known = *id >= 0 && *id < Rows;
  for (int i = 0; i < N; i += kWidth) store(y + i, known ? load(table + *id * N + i) : set1(REKUR_NAN));
}

// 1 and x, or 0 and zeros where all of x is `value`.
template <int N>
REKUR_INLINE float masking(float value, const float* x, float* y) {
  bool there = false;
  for (int i = 0; i < N; ++i) there = there || x[i] != value;
  for (int i = 0; i < N; ++i) y[i] = there ? x[i] : 0.0f;
  return there ? 1.0f : 0.0f;
}

// --- steps that are over ---

// The window of the last Span steps of N numbers: the present one goes in at its end.
template <int Span, int N>
REKUR_INLINE void enter(const float* x, float* window) {
  for (int i = 0; i < N; ++i) window[(Span - 1) * N + i] = x[i];
}

// … and the oldest one out.
template <int Span, int N>
REKUR_INLINE void leave(float* window) {
  for (int i = 0; i < (Span - 1) * N; ++i) window[i] = window[N + i];
}

// Every Dilation-th step of a window, Taps of them, each channel repeated.
template <int Taps, int Dilation, int N, int Multiplier, int Stride>
REKUR_INLINE void taps(const float* window, float* to) {
  for (int k = 0; k < Taps; ++k)
    for (int i = 0; i < N * Multiplier; ++i) to[k * Stride + i] = window[k * Dilation * N + i / Multiplier];
}

}  // namespace REKUR_SIMD_NAMESPACE
}  // namespace rekur
