// C += Aᵀ B: sums over the rows of A and B, which may stand anywhere; the gradients of weights. Included by the ISA units only.
//
// Rows are far apart, often by a multiple of 4 KiB, and then a column of them falls into a few sets of the cache. So both sides are
// copied, a block of rows at a time: strips of B for the second-level cache, a few tiles' columns of A for the first.
#pragma once

#include "simd/gemm.hpp"
#include "simd/transpose.hpp"

namespace rekur {
namespace {

inline constexpr Index kBlockTn = 128;                                         // rows summed at a time
inline constexpr Index kStripRows = 4 * kBlockTn;                              // rows of all strips together: 128 KiB on AVX-512
inline constexpr Index kColumnsTn = Index{8} * kTileRows;                      // columns of A copied at a time
inline constexpr Index kWorkTn = kStripRows * kPanel + kBlockTn * kColumnsTn;  // floats of both copies

// Columns of A and the strip of B are dense: kColumnsTn and NV vectors a row.
template <class W, int MR, int NV>
REKUR_NOINLINE void gemm_tn_tile(Index K, const float* a, const float* strip, float* c, Index ldc, Index tail, bool accumulate) {
  Vec acc[MR][NV];
  REKUR_UNROLL
  for (int m = 0; m < MR; ++m) {
    REKUR_UNROLL
    for (int v = 0; v < NV; ++v) {
      const float* from = c + m * ldc + v * kWidth;
      acc[m][v] = !accumulate ? zero() : v + 1 < NV ? load(from) : load_partial(from, tail);
    }
  }
  for (Index k = 0; k < K; ++k) {
    Vec row[NV];
    REKUR_UNROLL
    for (int v = 0; v < NV; ++v) row[v] = load(strip + v * kWidth);
    REKUR_UNROLL
    for (int m = 0; m < MR; ++m) {
      const Vec s = set1(a[m]);
      REKUR_UNROLL
      for (int v = 0; v < NV; ++v) acc[m][v] = W::add(s, row[v], acc[m][v]);
    }
    a += kColumnsTn;
    strip += NV * kWidth;
  }
  REKUR_UNROLL
  for (int m = 0; m < MR; ++m) {
    float* out = c + m * ldc;
    REKUR_UNROLL
    for (int v = 0; v + 1 < NV; ++v) store(out + v * kWidth, acc[m][v]);
    store_partial(out + (NV - 1) * kWidth, acc[m][NV - 1], tail);
  }
}

using GemmTnTile = void (*)(Index, const float*, const float*, float*, Index, Index, bool);

template <class W, int MR, int NV>
constexpr GemmTnTile gemm_tn_tile_of() {
  if constexpr (has_tile(MR)) return gemm_tn_tile<W, MR, NV>;
  return nullptr;
}

template <class W, int NV>
inline constexpr GemmTnTile kGemmTnTiles[kTileRows] = {gemm_tn_tile_of<W, 1, NV>(), gemm_tn_tile_of<W, 2, NV>(),
                                                       gemm_tn_tile_of<W, 3, NV>(), gemm_tn_tile_of<W, 4, NV>(),
                                                       gemm_tn_tile_of<W, 5, NV>(), gemm_tn_tile_of<W, 6, NV>()};

template <class W>
const GemmTnTile* gemm_tn_tiles(Index vectors) {
  if constexpr (kPanelVectors == 4) {
    if (vectors == 4) return kGemmTnTiles<W, 4>;
    if (vectors == 3) return kGemmTnTiles<W, 3>;
  }
  return vectors == 2 ? kGemmTnTiles<W, 2> : kGemmTnTiles<W, 1>;
}

// What a copied side holds: floats as they stand, floats rounded to bf16, or floats of rows of bf16.
enum class Side : std::uint8_t { floats, rounded, narrow };

template <Side S>
REKUR_INLINE Vec side_of(const float* row, Index at, Index n) {
#if REKUR_BF16
  if constexpr (S == Side::narrow) return (Vec)widened_bf16(row + at / 2);
  if constexpr (S == Side::rounded) return (Vec)bf16_halves(load_partial(row + at, n));
#endif
  return n == kWidth ? load(row + at) : load_partial(row + at, n);
}

// A line of floats, or of twice as many numbers.
template <bool Narrow>
REKUR_INLINE void fetch_row(const float* row, Index offset, Index begin, Index end) {
  for (Index n = begin; n < end; n += Narrow ? 32 : 16) REKUR_PREFETCH(row + (offset + n) / (Narrow ? 2 : 1));
}

// Columns [n0, n1) of `rows` rows, one strip of a panel's width after the other.
template <Side S = Side::floats>
void copy_strips(Index rows, ConstRows b, Index b_offset, Index n0, Index n1, float* strips) {
  for (Index k = 0; k < rows; ++k) {
    if (k + 8 < rows) fetch_row<S == Side::narrow>(b[k + 8], b_offset, n0, n1);
    for (Index n = n0; n < n1; n += kPanel) {
      const Index vectors = vectors_in(n, n1), last = n + (vectors - 1) * kWidth;
      float* to = strips + (n - n0) * rows + k * vectors * kWidth;
      for (Index v = 0; v + 1 < vectors; ++v) store(to + v * kWidth, side_of<S>(b[k], b_offset + n + v * kWidth, kWidth));
      store(to + (vectors - 1) * kWidth, side_of<S>(b[k], b_offset + last, lanes(last, n1)));
    }
  }
}

template <Side S = Side::floats>
void copy_columns(Index rows, ConstRows a, Index offset, Index count, float* to) {
  for (Index k = 0; k < rows; ++k, to += kColumnsTn) {
    if (k + 8 < rows) fetch_row<S == Side::narrow>(a[k + 8], offset, 0, count);
    for (Index i = 0; i < count; i += kWidth) {
      const Index n = lanes(i, count);
      store_partial(to + i, side_of<S>(a[k], offset + i, n), n);
    }
  }
}

#if REKUR_BF16
// The same in pairs of rows, rounded to bf16; where there is no second one, zeros.
template <bool Narrow>
REKUR_INLINE Vec pair_of_rows(Index rows, ConstRows x, Index k, Index offset, Index n) {
  if constexpr (Narrow) {
    const UVec first = widened_bf16(x[k] + offset / 2);
    return (Vec)(k + 1 < rows ? first | (widened_bf16(x[k + 1] + offset / 2) >> 16) : first);
  }
  return bf16_pairs(load_partial(x[k] + offset, n), k + 1 < rows ? load_partial(x[k + 1] + offset, n) : zero());
}

template <bool Narrow>
void copy_strip_pairs(Index rows, ConstRows b, Index b_offset, Index n0, Index n1, float* strips) {
  const Index pairs = (rows + 1) / 2;
  for (Index k = 0; k < rows; k += 2) {
    for (Index next = k + 8; next < k + 10 && next < rows; ++next) fetch_row<Narrow>(b[next], b_offset, n0, n1);
    for (Index n = n0; n < n1; n += kPanel) {
      const Index vectors = vectors_in(n, n1);
      float* const to = strips + (n - n0) * pairs + k / 2 * vectors * kWidth;
      for (Index v = 0; v < vectors; ++v)
        store(to + v * kWidth, pair_of_rows<Narrow>(rows, b, k, b_offset + n + v * kWidth, lanes(n + v * kWidth, n1)));
    }
  }
}

template <bool Narrow>
void copy_column_pairs(Index rows, ConstRows a, Index offset, Index count, float* to) {
  for (Index k = 0; k < rows; k += 2, to += kColumnsTn) {
    for (Index next = k + 8; next < k + 10 && next < rows; ++next) fetch_row<Narrow>(a[next], offset, 0, count);
    for (Index i = 0; i < count; i += kWidth) {
      const Index n = lanes(i, count);
      store_partial(to + i, pair_of_rows<Narrow>(rows, a, k, offset + i, n), n);
    }
  }
}
#endif

// The rows that a few columns of A are summed over.
struct AllRows {
  struct Range {
    Index first, last;
  };
  Range operator()(Index, Index, Index rows) const { return {0, rows}; }
};

// rows_of(m, m_end, K): outside this range of the K rows the columns [m, m_end) of A are zeros, and are left out.
// W: FloatRows, which may be rounded to bf16 on the way, or of pairs of rows in bf16, which are left out for all columns alike.
template <class W = FloatRows, bool Rounds = false, class RowsOf>
REKUR_INLINE void gemm_tn_of(Index M, Index N, Index K, ConstRows a, Index a_offset, ConstRows b, Index b_offset, float* c,
                             Index ldc, bool accumulate, float* work, const RowsOf& rows_of,
                             [[maybe_unused]] simd::NarrowSides narrow = {}) {
  float* const strips = work;
  float* const columns = work + kStripRows * kPanel;
  if (K == 0 && !accumulate)
    for (Index m = 0; m < M; ++m)
      for (Index n = 0; n < N; ++n) c[m * ldc + n] = 0.0f;
  for (Index k0 = 0; k0 < K; k0 += kBlockTn) {
    constexpr Index together = std::is_same_v<W, FloatRows> ? 1 : 2;
    const Index rows = smaller(kBlockTn, K - k0), lines = (rows + together - 1) / together;
    const Index block = kStripRows / lines * kPanel;
    for (Index n0 = 0; n0 < N; n0 += block) {
      const Index n1 = smaller(N, n0 + block);
      if constexpr (together == 1 && !Rounds) copy_strips(rows, b + k0, b_offset, n0, n1, strips);
#if REKUR_BF16
      if constexpr (Rounds)
        (narrow.b ? copy_strips<Side::narrow> : copy_strips<Side::rounded>)(rows, b + k0, b_offset, n0, n1, strips);
      if constexpr (together == 2)
        (narrow.b ? copy_strip_pairs<true> : copy_strip_pairs<false>)(rows, b + k0, b_offset, n0, n1, strips);
#endif
      for (Index m0 = 0; m0 < M; m0 += kColumnsTn) {
        const Index count = smaller(kColumnsTn, M - m0);
        if constexpr (together == 1 && !Rounds) copy_columns(rows, a + k0, a_offset + m0, count, columns);
#if REKUR_BF16
        if constexpr (Rounds)
          (narrow.a ? copy_columns<Side::narrow> : copy_columns<Side::rounded>)(rows, a + k0, a_offset + m0, count, columns);
        if constexpr (together == 2)
          (narrow.a ? copy_column_pairs<true> : copy_column_pairs<false>)(rows, a + k0, a_offset + m0, count, columns);
#endif
        const RowTiles tiles(count);
        for (Index t = 0, m = 0; t < tiles.count; m += tiles.rows(t), ++t) {
          const auto range = rows_of(m0 + m, m0 + m + tiles.rows(t), K);
          const Index first = range.first > k0 ? range.first - k0 : 0;
          const Index last = together == 1 ? smaller(range.last - k0, rows) : lines;
          if (first >= last && accumulate) continue;
          for (Index n = n0; n < n1; n += kPanel) {
            const Index vectors = vectors_in(n, n1);
            float* below = c + (m0 + m + tiles.rows(t)) * ldc + n;  // where the next row of tiles will add
            for (Index i = 0; i < (m0 + m + 2 * tiles.rows(t) <= M ? tiles.rows(t) : 0); ++i, below += ldc)
              for (Index v = 0; v < vectors; ++v) REKUR_PREFETCH(below + v * kWidth, 1);
            gemm_tn_tiles<W>(vectors)[tiles.rows(t) - 1](
                last - first, columns + first * kColumnsTn + m, strips + (n - n0) * lines + first * vectors * kWidth,
                c + (m0 + m) * ldc + n, ldc, lanes(n + (vectors - 1) * kWidth, n1), accumulate || k0 > 0);
          }
        }
      }
    }
  }
}

inline void gemm_tn(Index M, Index N, Index K, ConstRows a, Index a_offset, ConstRows b, Index b_offset, float* c, Index ldc,
                    bool accumulate, float* work) {
  gemm_tn_of(M, N, K, a, a_offset, b, b_offset, c, ldc, accumulate, work, AllRows{});
}

#if REKUR_BF16
#if REKUR_AMX && REKUR_VEC_BYTES == 64
inline constexpr Index kAmxBlockTn = 2 * kBlockTn;  // rows copied at a time
static_assert(kAmxBlockTn / 2 * kAmxMostRows <= kBlockTn * kColumnsTn && kAmxBlockTn % 32 == 0);

// `count` <= 32 columns of A as rows of pairs, `lines` of them each, a multiple of 16; behind the last row zeros.
template <bool Narrow>
void copy_columns_of_pairs(Index rows, ConstRows a, Index offset, Index count, Index lines, float* to) {
  for (Index line = 0; line < lines; line += kWidth) {
    for (Index k = 2 * (line + kWidth); k < smaller(2 * (line + 2 * kWidth), rows); ++k) fetch_row<Narrow>(a[k], offset, 0, count);
    for (Index i = 0; i < count; i += kWidth) {
      const Index n = lanes(i, count);
      Vec pairs[kWidth];
      REKUR_UNROLL
      for (int p = 0; p < kWidth; ++p) {
        const Index k = 2 * (line + p);
        pairs[p] = k < rows ? pair_of_rows<Narrow>(rows, a, k, offset + i, n) : zero();
      }
      exchange_all<kWidth / 2>(pairs);
      REKUR_UNROLL
      for (int m = 0; m < kWidth; ++m) store(to + (i + m) * lines + line, pairs[m]);
    }
  }
}

// Sums of 32 rows each from the first on, one after the other added to C.
inline void gemm_tn_bf16_by_amx(simd::NarrowSides narrow, Index M, Index N, Index K, ConstRows a, Index a_offset, ConstRows b,
                                Index b_offset, float* c, Index ldc, bool accumulate, float* work) {
  if (M == 0) return;
  float* const strips = work;
  float* const columns = work + kStripRows * kPanel;
  amx_begin(M);
  for (Index k0 = 0; k0 == 0 || k0 < K; k0 += kAmxBlockTn) {
    const Index rows = smaller(kAmxBlockTn, K - k0), pairs = (rows + 1) / 2,
                lines = (pairs + kAmxLines - 1) / kAmxLines * kAmxLines;
    constexpr Index block = kStripRows / (kAmxBlockTn / 2) * kPanel;
    for (Index n0 = 0; n0 < N; n0 += block) {
      const Index n1 = smaller(N, n0 + block);
      (narrow.b ? copy_strip_pairs<true> : copy_strip_pairs<false>)(rows, b + k0, b_offset, n0, n1, strips);
      // Tiles begin at whole vectors, by which rows of bf16 are read. The last may have fewer columns than the tiles were set for:
      // what its sums have beyond them nobody reads.
      for (Index m0 = 0; m0 < M; m0 += kAmxMostRows) {
        const Index count = smaller(kAmxMostRows, M - m0);
        (narrow.a ? copy_columns_of_pairs<true> : copy_columns_of_pairs<false>)(rows, a + k0, a_offset + m0, count, lines, columns);
        const float* own[kAmxMostRows];
        float* to[kAmxMostRows];
        for (Index m = 0; m < count; ++m) own[m] = columns + m * lines, to[m] = c + (m0 + m) * ldc;
        for (Index n = n0; n < n1; n += kPanel)
          amx_panel({.a = own, .a_offset = 0, .b = nullptr, .b_stride = vectors_in(n, n1) * kWidth, .lines = pairs}, count, n1 - n,
                    strips + (n - n0) * pairs, nullptr, to, n, accumulate || k0 > 0);
      }
    }
  }
  amx_end();
}
#endif

inline void gemm_tn_bf16(Index group, simd::NarrowSides narrow, Index M, Index N, Index K, ConstRows a, Index a_offset, ConstRows b,
                         Index b_offset, float* c, Index ldc, bool accumulate, float* work) {
#if REKUR_AMX && REKUR_VEC_BYTES == 64
  if (by_amx(group)) return gemm_tn_bf16_by_amx(narrow, M, N, K, a, a_offset, b, b_offset, c, ldc, accumulate, work);
  // Two fused multiply-adds of floats are quicker than the instruction for a pair where there is AMX.
  if (group == kBf16Floats)
    return gemm_tn_of<FloatRows, true>(M, N, K, a, a_offset, b, b_offset, c, ldc, accumulate, work, AllRows{}, narrow);
#endif
  if (kBf16Instruction && group == kBf16Dots)
    gemm_tn_of<Bf16Dots>(M, N, K, a, a_offset, b, b_offset, c, ldc, accumulate, work, AllRows{}, narrow);
  else
    gemm_tn_of<Bf16Pairs>(M, N, K, a, a_offset, b, b_offset, c, ldc, accumulate, work, AllRows{}, narrow);
}
#endif

inline void column_sums(Index N, Index K, ConstRows b, Index b_offset, float* out, bool accumulate) {
  Index n = 0;
  for (; n + kPanel <= N; n += kPanel) {
    Vec sum[kPanelVectors];
    REKUR_UNROLL
    for (int v = 0; v < kPanelVectors; ++v) sum[v] = accumulate ? load(out + n + v * kWidth) : zero();
    for (Index k = 0; k < K; ++k) {
      REKUR_UNROLL
      for (int v = 0; v < kPanelVectors; ++v) sum[v] += load(b[k] + b_offset + n + v * kWidth);
    }
    REKUR_UNROLL
    for (int v = 0; v < kPanelVectors; ++v) store(out + n + v * kWidth, sum[v]);
  }
  for (; n < N; n += kWidth) {
    const Index count = lanes(n, N);
    Vec sum = accumulate ? load_partial(out + n, count) : zero();
    for (Index k = 0; k < K; ++k) sum += load_partial(b[k] + b_offset + n, count);
    store_partial(out + n, sum, count);
  }
}

inline void column_dots(Index N, Index K, ConstRows a, Index a_offset, ConstRows b, Index b_offset, float* out, bool accumulate) {
  for (Index n = 0; n < N; n += kWidth) {
    const Index count = lanes(n, N);
    Vec sum = accumulate ? load_partial(out + n, count) : zero();
    for (Index k = 0; k < K; ++k)
      sum = fma(load_partial(a[k] + a_offset + n, count), load_partial(b[k] + b_offset + n, count), sum);
    store_partial(out + n, sum, count);
  }
}

}  // namespace
}  // namespace rekur
