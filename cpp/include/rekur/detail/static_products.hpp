// Products of fixed-size layers: rows, matrices and their sums, for one width of vector. Part of static_width.hpp, which has what
// this needs: it has no guard.

namespace rekur {
namespace REKUR_SIMD_NAMESPACE {

template <int N>
REKUR_INLINE void start(const float* bias, Vec* sum) {
  REKUR_UNROLL
  for (int n = 0; n < N; ++n) sum[n] = bias ? load(bias + n * kWidth) : zero();
}

template <WeightType>
struct RowsOf {
  using W = FloatRows;
};
template <>
struct RowsOf<WeightType::bf16> {
  using W = Bf16Rows;
};
template <>
struct RowsOf<WeightType::fp16> {
  using W = Fp16Rows;
};

// One row: sum[n] += a w[n].
template <class W, int N>
REKUR_INLINE void add_row(float a, const float* w, int i, Vec* sum) {
  const Vec x = set1(a);
  REKUR_UNROLL
  for (int n = 0; n < N; ++n) sum[n] = fma(x, W::row(w + n * kWidth, i), sum[n]);
}

// A pair of them, column by column: both rows of one at a time take few registers.
template <class W, int N>
REKUR_INLINE void add_pair(const float* a, const float* w, Vec* sum) {
  const Vec x = set1(a[0]), y = set1(a[1]);
  REKUR_UNROLL
  for (int n = 0; n < N; ++n) sum[n] = fma(y, W::row(w + n * kWidth, 1), fma(x, W::row(w + n * kWidth, 0), sum[n]));
}

// sum[n] += Σ_k a[k] w[k][n] over Begin <= k < End, ascending, one accumulator each. w: [K][N] vectors, or pairs of rows.
template <class W, int Begin, int End, int N>
REKUR_INLINE void accumulate(const float* a, const float* w, Vec* sum) {
  constexpr int K = End - Begin, kBlock = N * K <= 64 && K <= 32 ? K : K < 4 ? K : 4;
  if constexpr (K > 0 && W::kTogether == 1) {
    for (int k = Begin; k + kBlock <= End; k += kBlock) {
      REKUR_UNROLL
      for (int j = 0; j < kBlock; ++j) add_row<W, N>(a[k + j], w + (k + j) * N * kWidth, 0, sum);
    }
    REKUR_UNROLL
    for (int k = End - K % kBlock; k < End; ++k) add_row<W, N>(a[k], w + k * N * kWidth, 0, sum);
  } else if constexpr (K > 0) {
    constexpr int first = Begin + Begin % 2, last = End - End % 2;
    if constexpr (first > Begin) add_row<W, N>(a[Begin], w + Begin / 2 * N * kWidth, 1, sum);
    for (int k = first; k < last; k += 2) add_pair<W, N>(a + k, w + k / 2 * N * kWidth, sum);
    if constexpr (last < End && last >= first) add_row<W, N>(a[last], w + last / 2 * N * kWidth, 0, sum);
  }
}

// Two such sums side by side: two chains hide more of the latency than one.
template <class W, int K, int NA, int NB>
REKUR_INLINE void accumulate_both(const float* a, const float* v, Vec* sum_a, const float* b, const float* w, Vec* sum_b) {
  constexpr int T = W::kTogether, full = K / T, kBlock = T == 1 && K % 2 == 0 ? 2 : 1;
  for (int line = 0; line < full; line += kBlock) {
    REKUR_UNROLL
    for (int j = 0; j < kBlock; ++j) {
      REKUR_UNROLL
      for (int i = 0; i < T; ++i) {
        add_row<W, NA>(a[(line + j) * T + i], v + (line + j) * NA * kWidth, i, sum_a);
        add_row<W, NB>(b[(line + j) * T + i], w + (line + j) * NB * kWidth, i, sum_b);
      }
    }
  }
  if constexpr (full * T < K) {
    add_row<W, NA>(a[K - 1], v + full * NA * kWidth, 0, sum_a);
    add_row<W, NB>(b[K - 1], w + full * NB * kWidth, 0, sum_b);
  }
}

// Rows of a matrix that stand together, in as many bytes as one of floats.
constexpr int together(WeightType type) { return type == WeightType::float32 ? 1 : type == WeightType::int8 ? 4 : 2; }

// A matrix [K][…] whose columns are `Slots` blocks of `Units` each, cut into passes of a few panels (a panel: a vector of units of
// all slots), so that the sums of a pass stay in registers: [pass][K][panel][slot][width].
// Rows of sixteen bits stand in pairs, as weights.hpp says, of eight bits in fours, as static_int8.hpp does.
template <int K, int Slots, int Units, int PassPanels, WeightType Type = WeightType::float32>
struct Panels {
  static constexpr int kPanels = (Units + kWidth - 1) / kWidth, kLines = (K + together(Type) - 1) / together(Type);
  alignas(64) float data[static_cast<std::size_t>(kLines) * kPanels * (Slots > 0 ? Slots : 1) * kWidth];

  const float* pass(int first_panel) const { return data + first_panel * kLines * Slots * kWidth; }

  // Columns that no unit has are never written: they stay zero.
  void set(int k, int slot, int unit, float x) {
    const int lane = unit % kWidth;
    float* const vector = data + vector_of(k, slot, unit);
    if constexpr (Type == WeightType::float32) {
      vector[lane] = x;
    } else {
      const std::uint16_t half = Type == WeightType::bf16 ? detail::bf16_of(x) : detail::fp16_of(x);
      const int at = Type == WeightType::bf16 ? 2 * lane + k % 2 : k % 2 * kWidth + lane;
      REKUR_COPY(reinterpret_cast<char*>(vector) + at * static_cast<int>(sizeof half), &half, sizeof half);
    }
  }
  void set(int k, int slot, int unit, std::int8_t number)
    requires(Type == WeightType::int8)
  {
    REKUR_COPY(reinterpret_cast<char*>(data + vector_of(k, slot, unit)) + 4 * (unit % kWidth) + k % 4, &number, 1);
  }
  // An integer in place of a float.
  void set_bits(int slot, int unit, std::int32_t x) { REKUR_COPY(data + vector_of(0, slot, unit) + unit % kWidth, &x, sizeof x); }

 private:
  static int vector_of(int k, int slot, int unit) {
    const int panel = unit / kWidth, first = panel / PassPanels * PassPanels;
    const int taken = kPanels - first < PassPanels ? kPanels - first : PassPanels;
    return ((first * kLines + k / together(Type) * taken + panel - first) * Slots + slot) * kWidth;
  }
};

// A weight as it is given, or as one of sixteen bits of the layer's type.
template <WeightType Type>
REKUR_INLINE float given(float x) {
  return x;
}
template <WeightType Type>
REKUR_INLINE float given(std::uint16_t half) {
  return Type == WeightType::bf16 ? detail::float_of_bf16(half) : detail::float_of_fp16(half);
}

// --- matrices of a layer, whatever their type ---

// What a layer of a type has a matrix [K, N] in: of eight bits the large ones alone.
constexpr WeightType kept_in(WeightType type, int K, int N) {
  return type == WeightType::int8 && !detail::takes_int8(K, N) ? WeightType::float32 : type;
}

// A column's numbers as they are given, and their scale.
template <WeightType Type, class T>
struct GivenMatrix {
  const T* numbers;
  int columns;

  template <class To, class Kept>
  void put(int K, int column, int slot, int unit, To& to, Kept&) const {
    for (int k = 0; k < K; ++k) to.set(k, slot, unit, given<Type>(numbers[k * columns + column]));
  }
};
template <>
struct GivenMatrix<WeightType::int8, float> {
  const float* numbers;
  int columns;

  template <class To, class Kept>
  void put(int K, int column, int slot, int unit, To& to, Kept& scales) const {
    float largest = 0;
    for (int k = 0; k < K; ++k) {
      const float x = numbers[k * columns + column], magnitude = x < 0 ? -x : x;
      if (magnitude > largest || magnitude != magnitude) largest = magnitude;  // a NaN stays
    }
    const float scale = detail::int8_scale(largest), kept = scale - scale == 0 ? scale : scale - scale;
    scales.put(K, slot, unit, kept, to, [&](int k) { return detail::int8_of(numbers[k * columns + column], kept); });
  }
};
template <>
struct GivenMatrix<WeightType::int8, std::int8_t> {
  const std::int8_t* numbers;
  int columns;
  const float* scale;

  template <class To, class Kept>
  void put(int K, int column, int slot, int unit, To& to, Kept& scales) const {
    scales.put(K, slot, unit, scale[column], to, [&](int k) { return int{numbers[k * columns + column]}; });
  }
};

template <WeightType Type>
GivenMatrix<Type, float> matrix_of(const float* numbers, int columns) {
  return {numbers, columns};
}
template <WeightType Type>
GivenMatrix<Type, std::uint16_t> matrix_of(const std::uint16_t* numbers, int columns) {
  return {numbers, columns};
}
template <WeightType Type>
GivenMatrix<Type, std::int8_t> matrix_of(const Int8Weights& given, int columns) {
  return {given.numbers, columns, given.scales};
}

// Of columns of eight bits: what their numbers are worth, and their sums.
template <int Slots, int Units, int PassPanels, WeightType Type>
struct Scales {};
template <int Slots, int Units, int PassPanels>
struct Scales<Slots, Units, PassPanels, WeightType::int8> {
  Panels<1, Slots, Units, PassPanels> worth, sums;

  template <class To, class Number>
  void put(int K, int slot, int unit, float scale, To& to, const Number& number) {
    std::int32_t sum = 0;
    for (int k = 0; k < K; ++k) {
      const int q = number(k);
      sum += q;
      to.set(k, slot, unit, static_cast<std::int8_t>(q));
    }
    worth.set(0, slot, unit, scale);
    sums.set_bits(slot, unit, sum);
  }
};

// A row as products with such a matrix read it.
template <int K, WeightType Type>
struct RowOf {
  const float* x;
  explicit RowOf(const float* from) : x(from) {}
};
template <int K>
struct RowOf<K, WeightType::int8> : Int8Row<K> {
  using Int8Row<K>::Int8Row;
};

// sum[n] = bias[n] + Σ_k a[k] w[k][n] of the NP panels of a pass, N vectors in all.
template <int K, int Slots, int NP, WeightType Type, int Units, int PassPanels>
REKUR_INLINE void pass_sums(const RowOf<K, Type>& a, const Panels<K, Slots, Units, PassPanels, Type>& w,
                            const Scales<Slots, Units, PassPanels, Type>& scales, int panel, const float* bias, Vec* sum) {
  constexpr int N = NP * Slots;
  if constexpr (Type == WeightType::int8) {
    const char* const numbers = reinterpret_cast<const char*>(w.pass(panel));
    const float* const worth = scales.worth.pass(panel);
    IVec acc[N];
    int8_start<N>(a, reinterpret_cast<const std::int32_t*>(scales.sums.pass(panel)), acc,
                  [](int v) REKUR_INLINED { return v * kWidth; });
    for (int i = 0; i < int8_groups(K); ++i) {
      const Int8Dots::Group group = Int8Dots::group(a.numbers + 4 * i);
      REKUR_UNROLL
      for (int n = 0; n < N; ++n) acc[n] = Int8Dots::add(acc[n], group, load_group(numbers + 4 * kWidth * (i * N + n)));
    }
    REKUR_UNROLL
    for (int n = 0; n < N; ++n) sum[n] = int8_sum(a, acc[n], load(worth + n * kWidth), bias ? load(bias + n * kWidth) : zero());
  } else {
    start<N>(bias, sum);
    accumulate<typename RowsOf<Type>::W, 0, K, N>(a.x, w.pass(panel), sum);
  }
}

// The same of a recurrent product, which may be two sums (first_sum).
template <int K, int Slots, int NP, WeightType Type, int Units, int PassPanels>
REKUR_INLINE void recurrent_pass_sums(const RowOf<K, Type>& a, const Panels<K, Slots, Units, PassPanels, Type>& w,
                                      const Scales<Slots, Units, PassPanels, Type>& scales, int panel, const float* bias,
                                      Vec* sum) {
  constexpr int N = NP * Slots, first = static_cast<int>(first_sum(K));
  if constexpr (first == K || Type == WeightType::int8) {
    pass_sums<K, Slots, NP>(a, w, scales, panel, bias, sum);
  } else {
    using W = typename RowsOf<Type>::W;
    const float *const at = w.pass(panel), *const behind = at + first / W::kTogether * N * kWidth;
    Vec second[N];
    start<N>(bias, sum);
    start<N>(nullptr, second);
    if constexpr (K == 2 * first && 2 * N + 2 <= kRegisters) {
      accumulate_both<W, first, N, N>(a.x, at, sum, a.x + first, behind, second);
    } else {
      accumulate<W, 0, first, N>(a.x, at, sum);
      accumulate<W, 0, K - first, N>(a.x + first, behind, second);
    }
    REKUR_UNROLL
    for (int n = 0; n < N; ++n) sum[n] += second[n];
  }
}

inline constexpr int kStaticSums = kRegisters == 32 ? 24 : 12;  // the rest holds a broadcast, and weights where they must
// Of weights beyond the first-level cache: two units, four cycles, enough to hide the latency of fma. Of narrow vectors a pass is
// short, and three gates' sums of two panels would be too few.
inline constexpr int kStreamedSums = kRegisters == 32 ? 8 : 12;
inline constexpr int kNearBytes = REKUR_STATIC_NEAR;  // what a first-level cache holds besides other things

// Panels of a pass: as many as `sums` hold, dealt out evenly.
constexpr int pass_panels(int panels, int slots, int sums) {
  const int most = sums / slots < 1 ? 1 : sums / slots;
  const int passes = (panels + most - 1) / most;
  return (panels + passes - 1) / passes;
}

}  // namespace REKUR_SIMD_NAMESPACE
}  // namespace rekur
