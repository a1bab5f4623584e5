// Products of eight bits of layers that are written out, for static_steps.hpp, by the names of those of floats.
namespace rekur {
namespace REKUR_SIMD_NAMESPACE {

// [K, Row]: the numbers [(K + 3) / 4][Row][4], and of each column what they are worth and their sum.
struct Int8Matrix {
  const std::int8_t* numbers;
  const float* scales;
  const std::int32_t* sums;
};

inline constexpr int kInt8Sums = kRegisters == 32 ? 24 : 8;  // the rest holds a row's group, and weights as they are taken apart

// to[v] = bias + … of NV vectors of columns, place(v) is where a vector's columns stand in a row.
template <int NV, int Row, int K, class Place>
REKUR_INLINE void int8_product(const Int8Row<K>& row, const Int8Matrix& w, const float* bias, Vec* to, const Place& place) {
  constexpr int groups = int8_groups(K);
  IVec acc[NV];
  int8_start<NV>(row, w.sums, acc, place);
  REKUR_UNROLL_FOUR
  for (int i = 0; i < groups; ++i) {
    const Int8Dots::Group group = Int8Dots::group(row.numbers + 4 * i);
    REKUR_UNROLL
    for (int v = 0; v < NV; ++v) acc[v] = Int8Dots::add(acc[v], group, load_group(w.numbers + 4 * (i * Row + place(v))));
  }
  REKUR_UNROLL
  for (int v = 0; v < NV; ++v) to[v] = int8_sum(row, acc[v], load(w.scales + place(v)), bias ? load(bias + place(v)) : zero());
}

template <class C, int First, int Row, int K>
REKUR_INLINE void product_passes(const Int8Row<K>& row, const Int8Matrix& w, const float* bias, float* to) {
  constexpr int left = C::kCount - First, passes = (left + kInt8Sums - 1) / kInt8Sums, now = (left + passes - 1) / passes;
  Vec sum[now];
  int8_product<now, Row>(row, w, bias, sum, [](int v) REKUR_INLINED { return C::from(First + v); });
  REKUR_UNROLL
  for (int v = 0; v < now; ++v) store(to + C::to(First + v), sum[v]);
  if constexpr (left > now) product_passes<C, First + now, Row>(row, w, bias, to);
}

template <int K, int Row, int N, int... Column>
REKUR_INLINE void product(const Int8Row<K>& row, const Int8Matrix& w, const float* bias, float* to) {
  product_passes<Columns<N, Column...>, 0, Row>(row, w, bias, to);
}

template <int K, int Row, int... Column, int N>
REKUR_INLINE void panel_sums(Panels<N>, const Int8Row<K>& row, const Int8Matrix& w, const float* bias, int i, Vec* sum) {
  constexpr int blocks = sizeof...(Column), first[blocks] = {Column...};
  int8_product<blocks * N, Row>(row, w, bias, sum, [&](int v) REKUR_INLINED { return first[v / N] + i + v % N * kWidth; });
}

// Sums of integers are one in any order.
template <int K, int Row, int... Column, int N>
REKUR_INLINE void step_sums(Panels<N> panels, const Int8Row<K>& row, const Int8Matrix& w, const float* bias, int i, Vec* sum) {
  panel_sums<K, Row, Column...>(panels, row, w, bias, i, sum);
}

template <int K, int Row, int N, int... Column>
REKUR_INLINE void step_product(const Int8Row<K>& row, const Int8Matrix& w, const float* bias, float* to) {
  product<K, Row, N, Column...>(row, w, bias, to);
}

// Rows of a table, [Rows][N] and a scale a column.
template <int Rows, int N>
REKUR_INLINE void embedding(const std::int32_t* id, const std::int8_t* table, const float* scales, float* y) {
  const bool known = *id >= 0 && *id < Rows;
  for (int i = 0; i < N; ++i) y[i] = known ? static_cast<float>(table[*id * N + i]) * scales[i] : REKUR_NAN;
}

}  // namespace REKUR_SIMD_NAMESPACE
}  // namespace rekur
