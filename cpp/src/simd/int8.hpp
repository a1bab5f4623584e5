// Products of eight bits: rows of x that become integers as they come, weights that were before; sums are of integers and exact, so
// their order, and with it the instruction set, changes nothing. Included by the ISA units only.
//
//   row       x[k] = s (q[k] - z),  q in [0, 255]:  s = (high - low) / 255 of the row's own range, which includes 0;  0 is q = z
//   column    w[k] = t p[k],  p in [-127, 127]:  t = int8_scale(largest |w|)
//   y = bias + (s t) Σ_k (q[k] - z) p[k]
//
// In memory, a row (int8_row_floats): s, z as an integer, two floats unused, then groups of numbers. A vector of columns
// (simd::int8_column_floats): t, Σ p as integers, the bias, then lines: a group of numbers a lane.
#pragma once

#include "simd/aarch64.hpp"
#include "simd/amx.hpp"

#if REKUR_INT8

#include "rekur/detail/int8.hpp"

namespace rekur {
namespace {

inline constexpr Index kRowHead = 4;                     // floats
inline constexpr Index kColumnHead = 3 * Index{kWidth};  // floats

REKUR_INLINE IVec load_int(const float* p) { return (IVec)load(p); }

REKUR_INLINE IVec broadcast_int(const void* p) {
  std::int32_t four;
  REKUR_COPY(&four, p, sizeof four);
  return set1i(four);
}

// --- dot products ---

// Each lane of `sums` gets those of the numbers of its group, of one row.
struct OneRow {
  static constexpr int kRows = 1;
  static constexpr bool kHoldsRows = false;  // whether a tile holds its rows and reads one vector of weights after the other
  using Sums = IVec;
  REKUR_INLINE static Sums start(IVec sums, IVec) { return sums; }
  REKUR_INLINE static IVec of_row(int, Sums sums) { return sums; }
};

// Four numbers a lane, of an instruction that multiplies and adds them: q as it is (x86), or less 128 (ARM).
struct Quads : OneRow {
  static constexpr Index kGroup = 4, kBytes = 4;  // of a row: numbers, and bytes that hold them
#if REKUR_VEC_BYTES == 64
  static constexpr bool kHere = true;
  REKUR_INLINE static IVec add(IVec sums, IVec row, IVec weights) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(row), "v"(weights));
    return sums;
  }
#elif REKUR_VEC_BYTES == 32
  static constexpr bool kHere = true;
  REKUR_INLINE static IVec add(IVec sums, IVec row, IVec weights) {
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sums) : "x"(row), "x"(weights));
    return sums;
  }
#elif defined(__aarch64__)
  static constexpr bool kHere = true;
  REKUR_INLINE static IVec add(IVec sums, IVec row, IVec weights) { return sdot(sums, row, weights); }
#else
  static constexpr bool kHere = false;
  static IVec add(IVec sums, IVec, IVec) { return sums; }
#endif
#if defined(__aarch64__)
  static constexpr std::int32_t kLess = 128;
#else
  static constexpr std::int32_t kLess = 0;
#endif
  static constexpr bool kCentred = false, kAddsApart = false;

  REKUR_INLINE static IVec row(const char* group, const char*) { return broadcast_int(group); }
  REKUR_INLINE static IVec weights(const float* line) { return load_int(line); }
};

#if defined(__aarch64__)

// Eight numbers, less 128, of two rows times two columns, of an instruction that adds their four sums. A vector of columns has two
// such lines, and a row that is alone is its own second one.
struct Eights {
  static constexpr Index kGroup = 8, kBytes = 8;
  static constexpr std::int32_t kLess = 128;
  static constexpr bool kCentred = false, kAddsApart = false, kHoldsRows = true;
  static constexpr int kRows = 2;

  struct Sums {
    IVec left, right;  // of two columns each: those of the first row, those of the second
  };
  using Weights = Sums;

  REKUR_INLINE static Sums start(IVec first, IVec second) {
    return {REKUR_SHUFFLE(first, second, 0, 1, 4, 5), REKUR_SHUFFLE(first, second, 2, 3, 6, 7)};
  }
  REKUR_INLINE static IVec of_row(int row, Sums sums) {
    return row == 0 ? REKUR_SHUFFLE(sums.left, sums.right, 0, 1, 4, 5) : REKUR_SHUFFLE(sums.left, sums.right, 2, 3, 6, 7);
  }
  REKUR_INLINE static IVec row(const char* group, const char* second) {
    typedef std::int64_t Two REKUR_VECTOR(REKUR_VEC_BYTES);
    Two both;
    REKUR_COPY(&both[0], group, 8);
    REKUR_COPY(&both[1], second, 8);
    return (IVec)both;
  }
  REKUR_INLINE static Weights weights(const float* line) {
    __asm__ volatile("" ::: "memory");  // g++ would read those of all vectors at once, and keep sums in memory meanwhile
    return {load_int(line), load_int(line + kWidth)};
  }
  REKUR_INLINE static Sums add(Sums sums, IVec rows, Weights weights) {
    return {smmla(sums.left, rows, weights.left), smmla(sums.right, rows, weights.right)};
  }
};

#endif

#if defined(__ARM_NEON)

// Two numbers a lane, less 128, whose products fit in sixteen bits.
struct Pairs : OneRow {
  static constexpr Index kGroup = 2, kBytes = 2;
  static constexpr std::int32_t kLess = 128;
  static constexpr bool kCentred = false, kAddsApart = false;

  REKUR_INLINE static int8x8_t row(const char* group, const char*) {
    std::int16_t two;
    REKUR_COPY(&two, group, sizeof two);
    return vreinterpret_s8_s16(vdup_n_s16(two));
  }
  REKUR_INLINE static int8x8_t weights(const float* line) { return vld1_s8(reinterpret_cast<const std::int8_t*>(line)); }
  REKUR_INLINE static IVec add(IVec sums, int8x8_t row, int8x8_t weights) {
    return (IVec)vpadalq_s16((int32x4_t)sums, vmull_s8(row, weights));
  }
};

#elif defined(__riscv_vector)

// Two numbers a lane, widened to sixteen bits, each by an instruction that widens its product and adds it. A row holds q - z.
struct Pairs : OneRow {
  static constexpr Index kGroup = 2, kBytes = 4;
  static constexpr std::int32_t kLess = 0;
  static constexpr bool kCentred = true, kAddsApart = false, kHoldsRows = true;
  typedef std::int16_t Shorts REKUR_VECTOR(REKUR_VEC_BYTES / 2);

  struct Row {
    std::int16_t first, second;
  };
  struct Weights {
    Shorts first, second;
  };

  REKUR_INLINE static Row row(const char* group, const char*) {
    Row row;
    REKUR_COPY(&row, reinterpret_cast<const std::int16_t*>(group), sizeof row);
    return row;
  }
  REKUR_INLINE static Weights weights(const float* line) {
    Shorts both;
    REKUR_COPY(&both, line, sizeof both);
    return {(Shorts)(both << 8) >> 8, both >> 8};
  }
  REKUR_INLINE static IVec add(IVec sums, Row row, Weights weights) {
    sums += REKUR_CONVERT_VECTOR(weights.first, IVec) * set1i(row.first);
    return sums + REKUR_CONVERT_VECTOR(weights.second, IVec) * set1i(row.second);
  }
};

#else

// Two numbers a lane, both widened to sixteen bits: what was not saturated there is not anywhere. A row holds q - z.
struct Pairs : OneRow {
  static constexpr Index kGroup = 2, kBytes = 4;
  static constexpr std::int32_t kLess = 0;
  static constexpr bool kCentred = true, kAddsApart = true;

  REKUR_INLINE static IVec row(const char* group, const char*) { return broadcast_int(group); }
  REKUR_INLINE static IVec weights(const float* line) {
#if REKUR_VEC_BYTES == 64
    return (IVec)_mm512_maskz_cvtepi8_epi16((__mmask32)-1, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(line)));
#elif REKUR_VEC_BYTES == 32
    return (IVec)_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(line)));
#elif defined(__SSE2__)
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(line));
    return (IVec)_mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
#else
    typedef std::int8_t Bytes REKUR_VECTOR(REKUR_VEC_BYTES / 2);
    typedef std::int16_t Shorts REKUR_VECTOR(REKUR_VEC_BYTES);
    Bytes bytes;
    REKUR_COPY(&bytes, line, sizeof bytes);
    return (IVec)REKUR_CONVERT_VECTOR(bytes, Shorts);
#endif
  }
  REKUR_INLINE static IVec add(IVec sums, IVec row, IVec weights) {
#if REKUR_VEC_BYTES == 64
    return sums + (IVec)_mm512_maskz_madd_epi16((__mmask16)-1, (__m512i)row, (__m512i)weights);
#elif REKUR_VEC_BYTES == 32
    return sums + (IVec)_mm256_madd_epi16((__m256i)row, (__m256i)weights);
#elif defined(__SSE2__)
    return sums + (IVec)_mm_madd_epi16((__m128i)row, (__m128i)weights);
#else
    return sums + ((row << 16) >> 16) * ((weights << 16) >> 16) + (row >> 16) * (weights >> 16);
#endif
  }
};

#endif

// --- rows ---

constexpr Index groups_of(Index group, Index K) { return (K + group - 1) / group; }

// As simd/pack.hpp has them.
constexpr Index int8_row_floats(Index K) { return (kRowHead + (K + 15) / 16 * 8 + 15) / 16 * 16; }
constexpr Index int8_column_floats(Index K) { return kColumnHead + (K + 7) / 8 * 2 * kWidth; }

template <class D>
REKUR_INLINE void put_numbers(char* to, IVec numbers) {
  if constexpr (D::kBytes == 2 * D::kGroup) {
    typedef std::int16_t Shorts REKUR_VECTOR(REKUR_VEC_BYTES / 2);
    const Shorts shorts = REKUR_CONVERT_VECTOR(numbers, Shorts);
    REKUR_COPY(to, &shorts, sizeof shorts);
  } else {
    typedef std::int8_t Bytes REKUR_VECTOR(REKUR_VEC_BYTES / 4);
    const Bytes bytes = REKUR_CONVERT_VECTOR(numbers, Bytes);
    REKUR_COPY(to, &bytes, sizeof bytes);
  }
}

// A row that is not finite has a scale that is NaN, and gives NaN everywhere.
template <class D>
void narrow_row(Index K, const float* x, float* to) {
  const RowRounding rounding = row_rounding(K, x);
  const std::int32_t less = D::kCentred ? rounding.zero_point : D::kLess;
  const float head[kRowHead] = {rounding.scale, 0, 0, 0};
  REKUR_COPY(to, head, sizeof head);
  const std::int32_t kept_zero = rounding.zero_point - less;
  REKUR_COPY(to + 1, &kept_zero, sizeof kept_zero);
  char* const numbers = reinterpret_cast<char*>(to + kRowHead);
  const IVec subtracted = set1i(less);
  const Index size = D::kBytes / D::kGroup;
  each_number(rounding, K, x, [&](Index k, IVec q) REKUR_INLINED { put_numbers<D>(numbers + k * size, q - subtracted); });
}

// The zero point of a row, less what its numbers are less.
REKUR_INLINE std::int32_t zero_of(const float* row) {
  std::int32_t zero;
  REKUR_COPY(&zero, row + 1, sizeof zero);
  return zero;
}

// --- tiles ---

REKUR_INLINE Vec int8_result(IVec sum, Vec column_scale, Vec bias, float row_scale) {
  return bias + REKUR_CONVERT_VECTOR(sum, Vec) * (column_scale * set1(row_scale));
}

// out[m][v] = bias + s t (Σ …) for NV vectors of columns, which stand `stride` floats apart.
template <class D, int MR, int NV>
REKUR_NOINLINE void int8_tile(Index groups, ConstRows rows, const float* w, Index stride, float* out, Index row_vectors) {
  constexpr int R = (MR + D::kRows - 1) / D::kRows;
  typename D::Sums acc[R][NV];
  const char *a[R], *second[R];
  REKUR_UNROLL
  for (int r = 0; r < R; ++r) {
    const float* const one = rows[r * D::kRows];
    const float* const other = rows[r * D::kRows + D::kRows - 1 < MR ? r * D::kRows + D::kRows - 1 : r * D::kRows];
    const IVec z = set1i(-zero_of(one)), other_z = set1i(-zero_of(other));
    a[r] = reinterpret_cast<const char*>(one + kRowHead);
    second[r] = reinterpret_cast<const char*>(other + kRowHead);
    REKUR_UNROLL
    for (int v = 0; v < NV; ++v) {
      const IVec sums = load_int(w + v * stride + kWidth);
      acc[r][v] = D::start(sums * z, sums * other_z);
    }
  }
  constexpr Index line = kWidth * D::kGroup / 4;
  const float* b = w + kColumnHead;
  for (Index i = 0; i < groups; ++i, b += line) {
    if constexpr (NV <= MR && !D::kHoldsRows) {
      decltype(D::weights(b)) weights[NV];
      REKUR_UNROLL
      for (int v = 0; v < NV; ++v) weights[v] = D::weights(b + v * stride);
      REKUR_UNROLL
      for (int r = 0; r < R; ++r) {
        const auto row = D::row(a[r] + i * D::kBytes, second[r] + i * D::kBytes);
        REKUR_UNROLL
        for (int v = 0; v < NV; ++v) acc[r][v] = D::add(acc[r][v], row, weights[v]);
      }
    } else {
      decltype(D::row(a[0], a[0])) row[R];
      REKUR_UNROLL
      for (int r = 0; r < R; ++r) row[r] = D::row(a[r] + i * D::kBytes, second[r] + i * D::kBytes);
      REKUR_UNROLL
      for (int v = 0; v < NV; ++v) {
        const auto weights = D::weights(b + v * stride);
        REKUR_UNROLL
        for (int r = 0; r < R; ++r) acc[r][v] = D::add(acc[r][v], row[r], weights);
      }
    }
  }
  REKUR_UNROLL
  for (int v = 0; v < NV; ++v) {
    const Vec t = load(w + v * stride), bias = load(w + v * stride + 2 * kWidth);
    REKUR_UNROLL
    for (int m = 0; m < MR; ++m)
      store(out + (m * row_vectors + v) * kWidth, int8_result(D::of_row(m % D::kRows, acc[m / D::kRows][v]), t, bias, rows[m][0]));
  }
}

using Int8Tile = void (*)(Index, ConstRows, const float*, Index, float*, Index);

inline constexpr int kInt8Rows = 6;
// Where a product stands in a register of its own before it is added, twelve sums leave too few of sixteen for three or four rows.
template <class D>
constexpr int int8_vectors(int rows) {
  const int summed = (rows + D::kRows - 1) / D::kRows * D::kRows;
  const int most = (kRegisters == 32 ? 24 : D::kAddsApart && (rows == 3 || rows == 4) ? 8 : 12) / summed;
  return rows == 1 ? 12 : most > 8 ? 8 : most;
}
// Tiles have 1 to 4 vectors or 8; of a single row, where ten sums under way take no longer than one, also 6, 9 and 12.
constexpr bool int8_tile_is(int rows, int vectors) {
  return vectors <= 4 || vectors == 8 || (rows == 1 && (vectors == 6 || vectors == 9 || vectors == 12));
}
// The largest of at most so many.
template <class D>
constexpr int int8_vectors_at_once(int rows, Index vectors) {
  int n = int8_vectors<D>(rows);
  while (n > vectors || !int8_tile_is(rows, n)) --n;
  return n;
}

template <class D>
struct Int8Tiles {
  Int8Tile tile[kInt8Rows][12] = {};

  constexpr Int8Tiles() { add<kInt8Rows, 1>(); }

 private:
  template <int MR, int NV>
  constexpr void add() {
    if constexpr (int8_tile_is(MR, NV)) tile[MR - 1][NV - 1] = int8_tile<D, MR, NV>;
    if constexpr (NV < int8_vectors<D>(MR))
      add<MR, NV + 1>();
    else if constexpr (MR > 1)
      add<MR - 1, 1>();
  }
};

template <class D>
inline constexpr Int8Tiles<D> kInt8Tiles;

// `vectors` side by side, of up to two tiles of rows.
template <class D>
void int8_vectors_of(int rows, Index vectors, Index K, ConstRows a, const float* w, float* out) {
  const Index groups = groups_of(D::kGroup, K), stride = int8_column_floats(K);
  if (rows > kInt8Rows) {
    const int half = rows / 2;
    int8_vectors_of<D>(half, vectors, K, a, w, out);
    return int8_vectors_of<D>(rows - half, vectors, K, a + half, w, out + half * vectors * kWidth);
  }
  for (Index v = 0, n; v < vectors; v += n) {
    n = int8_vectors_at_once<D>(rows, vectors - v);
    kInt8Tiles<D>.tile[rows - 1][n - 1](groups, a, w + v * stride, stride, out + v * kWidth, vectors);
  }
}

// f(D) of the dot products that take such groups.
template <class F>
REKUR_INLINE void with_dots(Index group, const F& f) {
#if defined(__aarch64__)
  if (numbers_of(group) == Eights::kGroup) return f(Eights{});
#endif
  if constexpr (Quads::kHere)
    if (numbers_of(group) == Quads::kGroup) return f(Quads{});
  f(Pairs{});
}

REKUR_INLINE void int8_product(Index group, int rows, Index vectors, Index K, ConstRows a, const float* w, float* out) {
  with_dots(group, [&](auto dots) REKUR_INLINED { int8_vectors_of<decltype(dots)>(rows, vectors, K, a, w, out); });
}

inline void narrow(Index group, Index M, Index K, ConstRows x, Index offset, float* to, Index stride) {
  with_dots(group, [&](auto dots) REKUR_INLINED {
    for (Index m = 0; m < M; ++m) narrow_row<decltype(dots)>(K, x[m] + offset, to + m * stride);
  });
}

#if REKUR_AMX && REKUR_VEC_BYTES == 64
// Whether AMX is quicker than so many instructions. Measured on a Xeon (Emerald Rapids), counted in them: a pair of tiles takes as
// long as 43, a vector of results 6, what a vector of columns begins and ends with 11, the setting of tiles 240.
REKUR_INLINE bool amx_pays(Index group, Index rows, Index vectors, Index K) {
  if (!by_amx(group)) return false;
  const Index lines = groups_of(Quads::kGroup, K);
  const Index tiles = (rows + kAmxRows - 1) / kAmxRows * ((lines + kAmxLines - 1) / kAmxLines);
  return rows * vectors * lines > 240 + vectors * (43 * tiles + 6 * rows + 11);
}

// put(m, v, result) for the sums of `rows` rows and NV vectors of columns that AMX has left at `sums`.
template <int NV, class Put>
REKUR_INLINE void int8_results(Index rows, ConstRows a, const float* w, Index w_stride, const float* sums, Index sums_stride,
                               const Put& put) {
  Vec t[NV], bias[NV];
  IVec column_sum[NV];
  REKUR_UNROLL
  for (int v = 0; v < NV; ++v) {
    const float* const head = w + v * w_stride;
    t[v] = load(head), column_sum[v] = load_int(head + kWidth), bias[v] = load(head + 2 * kWidth);
  }
  for (Index m = 0; m < rows; ++m, sums += sums_stride) {
    const IVec z = set1i(zero_of(a[m]));
    REKUR_UNROLL
    for (int v = 0; v < NV; ++v) put(m, v, int8_result(load_int(sums + v * kWidth) - column_sum[v] * z, t[v], bias[v], a[m][0]));
  }
}

// The product, for which tiles have been set, of 1 to 32 rows and as many vectors as amx_vectors_at_once says, or fewer. `sums`:
// room.
template <class Put>
REKUR_INLINE void int8_product_by_amx(Index rows, Index vectors, Index K, ConstRows a, const float* w, float* sums,
                                      Index sums_stride, const Put& put) {
  const Index stride = int8_column_floats(K);
  const float* b[kAmxVectors];
  for (Index v = 0; v < vectors; ++v) b[v] = w + v * stride + kColumnHead;
  amx_sums<AmxInt8>({.a = a, .a_offset = kRowHead, .b = b, .b_stride = kWidth, .lines = groups_of(Quads::kGroup, K)}, rows, vectors,
                    sums, sums_stride);
  switch (vectors) {
    case 1:
      return int8_results<1>(rows, a, w, stride, sums, sums_stride, put);
    case 2:
      return int8_results<2>(rows, a, w, stride, sums, sums_stride, put);
    case 3:
      return int8_results<3>(rows, a, w, stride, sums, sums_stride, put);
    default:
      return int8_results<4>(rows, a, w, stride, sums, sums_stride, put);
  }
}

inline void gemm_int8_by_amx(Index M, Index N, Index K, ConstRows a, const float* b_packed, Rows c, Index c_offset) {
  amx_begin(M);
  const AmxRowTiles rows(M);
  const Index most = amx_vectors_at_once(M), stride = int8_column_floats(K);
  alignas(64) float sums[kAmxRows * kAmxVectors * kWidth];
  for (Index n = 0; n < N; n += most * kWidth) {
    const Index left = (N - n + kWidth - 1) / kWidth, vectors = left < most ? left : most;
    for (Index tile = 0; tile < rows.count; ++tile) {
      const Index m0 = rows.begin(tile);
      const auto put = [&](Index m, int v, Vec y)
                           REKUR_INLINED { store_partial(c[m0 + m] + c_offset + n + v * kWidth, y, lanes(n + v * kWidth, N)); };
      int8_product_by_amx(rows.begin(tile + 1) - m0, vectors, K, a + m0, b_packed + n / kWidth * stride, sums, most * kWidth, put);
    }
  }
  amx_end();
}
#endif

// As gemm (gemm.hpp); the rows of A as `narrow` made them.
inline void gemm_int8(Index group, Index M, Index N, Index K, ConstRows a, const float* b_packed, Rows c, Index c_offset) {
  if (M == 0) return;
#if REKUR_AMX && REKUR_VEC_BYTES == 64
  if (amx_pays(group, M, (N + kWidth - 1) / kWidth, K)) return gemm_int8_by_amx(M, N, K, a, b_packed, c, c_offset);
#endif
  const Index most = int8_vectors<Quads>(M < kInt8Rows ? static_cast<int>(M) : kInt8Rows);
  const Index stride = int8_column_floats(K);
  const Index tiles = (M + kInt8Rows - 1) / kInt8Rows;
  alignas(64) float out[(kRegisters == 32 ? 24 : 12) * kWidth];
  for (Index n = 0; n < N; n += most * kWidth) {
    const Index left = (N - n + kWidth - 1) / kWidth, vectors = left < most ? left : most;
    for (Index tile = 0; tile < tiles; ++tile) {
      const Index m0 = tile * M / tiles;
      const int rows = static_cast<int>((tile + 1) * M / tiles - m0);
      int8_product(group, rows, vectors, K, a + m0, b_packed + n / kWidth * stride, out);
      for (int m = 0; m < rows; ++m)
        for (Index v = 0; v < vectors; ++v)
          store_partial(c[m0 + m] + c_offset + n + v * kWidth, load(out + (m * vectors + v) * kWidth), lanes(n + v * kWidth, N));
    }
  }
}

}  // namespace
}  // namespace rekur

#endif
