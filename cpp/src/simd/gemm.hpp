// Matrix products. Every output is accumulated over k in ascending order by one accumulator that starts from the bias (or from what
// C holds), so its bits depend neither on the tile it was computed in nor on the rows beside it. Included by the ISA units only.
//
// A tile is MR rows × NV vectors of accumulators in registers: 24 of 32, or 12 of 16; the rest holds a row of B and a broadcast.
#pragma once

#include <type_traits>

#include "simd/bf16.hpp"
#include "simd/kernels.hpp"
#include "simd/transpose.hpp"
#include "simd/vec.hpp"

namespace rekur {
namespace {

inline constexpr int kPanelVectors = kRegisters == 32 ? 4 : 2;
inline constexpr int kTileRows = 6;
inline constexpr Index kPanel = Index{kPanelVectors} * kWidth;

inline constexpr Index kBlockK = 512;  // a panel's block is 128 KiB on AVX-512: it stays in the second-level cache
inline constexpr Index kBlockM = 256;  // rows of A that all panels pass over while they stay in the second-level cache

// How a tile's accumulators start.
enum class Start : std::uint8_t { zero, bias, c };

// One tile: rows a[0..MR) from a_offset on, K steps down NV vectors of a panel whose rows are b_step floats apart, into c[0..MR)
// from c_offset on. `tail` is the number of lanes in the last vector. `ahead`: K lines of memory to fetch meanwhile.
template <int MR, int NV>
__attribute__((noinline)) void gemm_tile(Index K, ConstRows a, Index a_offset, const float* b, Index b_step, Start start,
                                         const float* bias, Rows c, Index c_offset, Index tail, const float* ahead) {
  Vec acc[MR][NV];
  const float* row[MR];
  REKUR_UNROLL
  for (int m = 0; m < MR; ++m) {
    row[m] = a[m] + a_offset;
    REKUR_UNROLL
    for (int v = 0; v < NV; ++v) {
      const float* from = start == Start::c ? c[m] + c_offset : bias;
      acc[m][v] = start == Start::zero ? zero() : v + 1 < NV ? load(from + v * kWidth) : load_partial(from + v * kWidth, tail);
    }
  }
  for (Index k = 0; k < K; ++k) {
    __builtin_prefetch(ahead + k * kLine, 0, 2);
    Vec column[NV];
    REKUR_UNROLL
    for (int v = 0; v < NV; ++v) column[v] = load(b + v * kWidth);
    b += b_step;
    REKUR_UNROLL
    for (int m = 0; m < MR; ++m) {
      const Vec x = set1(row[m][k]);
      REKUR_UNROLL
      for (int v = 0; v < NV; ++v) acc[m][v] = fma(x, column[v], acc[m][v]);
    }
  }
  REKUR_UNROLL
  for (int m = 0; m < MR; ++m) {
    float* out = c[m] + c_offset;
    REKUR_UNROLL
    for (int v = 0; v + 1 < NV; ++v) store(out + v * kWidth, acc[m][v]);
    store_partial(out + (NV - 1) * kWidth, acc[m][NV - 1], tail);
  }
}

using GemmTile = void (*)(Index, ConstRows, Index, const float*, Index, Start, const float*, Rows, Index, Index, const float*);

// The compact library has tiles of 1, 2, 4 and 6 rows.
constexpr bool has_tile(int rows) { return !kCompact || rows == 1 || rows % 2 == 0; }

template <int MR, int NV>
constexpr GemmTile gemm_tile_of() {
  if constexpr (has_tile(MR)) return gemm_tile<MR, NV>;
  return nullptr;
}

template <int NV>
inline constexpr GemmTile kGemmTiles[kTileRows] = {gemm_tile_of<1, NV>(), gemm_tile_of<2, NV>(), gemm_tile_of<3, NV>(),
                                                   gemm_tile_of<4, NV>(), gemm_tile_of<5, NV>(), gemm_tile_of<6, NV>()};

// Tiles of 1 to 6 rows for a panel of so many vectors.
inline const GemmTile* gemm_tiles(Index vectors) {
  if constexpr (kPanelVectors == 4) {
    if (vectors == 4) return kGemmTiles<4>;
    if (vectors == 3) return kGemmTiles<3>;
  }
  return vectors == 2 ? kGemmTiles<2> : kGemmTiles<1>;
}

// Splits M rows into the fewest tiles of at most kTileRows rows, as even as can be (7 rows: 4 and 3, not 6 and 1).
struct EvenRowTiles {
  Index count, base, longer;
  explicit EvenRowTiles(Index M)
      : count((M + kTileRows - 1) / kTileRows), base(count ? M / count : 0), longer(count ? M % count : 0) {}
  Index rows(Index tile) const { return base + (tile < longer ? 1 : 0); }
};

// Full tiles, then one of 2 or 4 rows, then one of a single row.
struct CompactRowTiles {
  Index full, rest, count;
  explicit CompactRowTiles(Index M) : full(M / kTileRows), rest(M % kTileRows), count(full + (rest > 1) + rest % 2) {}
  Index rows(Index tile) const { return tile < full ? kTileRows : tile == full && rest > 1 ? rest - rest % 2 : 1; }
};

using RowTiles = std::conditional_t<kCompact, CompactRowTiles, EvenRowTiles>;

inline Index smaller(Index a, Index b) { return a < b ? a : b; }

inline Index vectors_in(Index n, Index n1) { return (smaller(kPanel, n1 - n) + kWidth - 1) / kWidth; }

inline void gemm(Index M, Index N, Index K, ConstRows a, const float* b_packed, const float* bias, Rows c, Index c_offset,
                 bool accumulate) {
  const Start first = accumulate ? Start::c : bias ? Start::bias : Start::zero;
  for (Index m0 = 0; m0 < M; m0 += kBlockM) {
    const RowTiles tiles(smaller(kBlockM, M - m0));
    // The block over K that is not the first goes on from C: storing and loading a float leaves it as it was.
    for (Index k0 = 0; k0 == 0 || k0 < K; k0 += kBlockK) {
      const Start start = k0 == 0 ? first : Start::c;
      for (Index n0 = 0; n0 < N; n0 += kPanel) {
        const Index vectors = (smaller(kPanel, N - n0) + kWidth - 1) / kWidth;
        const Index tail = N - n0 - (vectors - 1) * kWidth;
        const GemmTile* tile = gemm_tiles(vectors);
        const float* panel = b_packed + n0 * K + k0 * vectors * kWidth;
        const Index rows = smaller(kBlockK, K - k0), lines = rows * vectors * kWidth / kLine;
        // The first tile would wait for the panel; so while the others run they fetch the next one, a few lines a row each.
        const float* next = n0 + kPanel < N ? panel + (K * vectors) * kWidth : panel;
        for (Index t = 0, m = m0; t < tiles.count; m += tiles.rows(t), ++t) {
          const Index done = smaller(t * rows, lines > rows ? lines - rows : 0);
          tile[tiles.rows(t) - 1](rows, a + m, k0, panel, vectors * kWidth, start, bias ? bias + n0 : nullptr, c + m, c_offset + n0,
                                  smaller(tail, kWidth), next + done * kLine);
        }
      }
    }
  }
}

// --- the same, of rows of sixteen bits ---

template <class W, int MR, int NV>
__attribute__((noinline)) void half_tile(Index K, ConstRows a, const float* b, const float* bias, Rows c, Index c_offset,
                                         Index tail, bool accumulate) {
  Vec acc[MR][NV];
  REKUR_UNROLL
  for (int v = 0; v < NV; ++v) {
    REKUR_UNROLL
    for (int m = 0; m < MR; ++m) {
      const float* const from = accumulate ? c[m] + c_offset : bias;
      acc[m][v] = !from ? zero() : v + 1 < NV ? load(from + v * kWidth) : load_partial(from + v * kWidth, tail);
    }
  }
  each_row<W>(
      K, b, NV * kWidth, [&](Index k, const float* rows, int i) __attribute__((always_inline)) {
        Vec x[MR];
        REKUR_UNROLL
        for (int m = 0; m < MR; ++m) x[m] = set1(a[m][k]);
        REKUR_UNROLL
        for (int v = 0; v < NV; ++v) {
          const Vec row = W::row(rows + v * kWidth, i);
          REKUR_UNROLL
          for (int m = 0; m < MR; ++m) acc[m][v] = W::add(x[m], row, acc[m][v]);
        }
      });
  REKUR_UNROLL
  for (int m = 0; m < MR; ++m) {
    REKUR_UNROLL
    for (int v = 0; v + 1 < NV; ++v) store(c[m] + c_offset + v * kWidth, acc[m][v]);
    store_partial(c[m] + c_offset + (NV - 1) * kWidth, acc[m][NV - 1], tail);
  }
}

// Streams have few rows: tiles of 4, 2 and 1.
template <class W, int MR, int NV = kPanelVectors>
void half_rows(Index vectors, Index K, ConstRows a, const float* b, const float* bias, Rows c, Index c_offset, Index tail,
               bool accumulate = false) {
  if constexpr (NV > 1)
    if (vectors < NV) return half_rows<W, MR, NV - 1>(vectors, K, a, b, bias, c, c_offset, tail, accumulate);
  half_tile<W, MR, NV>(K, a, b, bias, c, c_offset, tail, accumulate);
}

template <class W>
void gemm_half_of(Index M, Index N, Index K, ConstRows a, const float* b_packed, const float* bias, Rows c) {
  for (Index n = 0; n < N; n += kPanel) {
    const Index vectors = (smaller(kPanel, N - n) + kWidth - 1) / kWidth, tail = smaller(N - n - (vectors - 1) * kWidth, kWidth);
    const float* const panel = b_packed + n * ((K + 1) / 2);
    const float* const from = bias ? bias + n : nullptr;
    Index m = 0;
    for (; m + 4 <= M; m += 4) half_rows<W, 4>(vectors, K, a + m, panel, from, c + m, n, tail);
    if (m + 2 <= M) {
      half_rows<W, 2>(vectors, K, a + m, panel, from, c + m, n, tail);
      m += 2;
    }
    for (; m < M; ++m) half_rows<W, 1>(vectors, K, a + m, panel, from, c + m, n, tail);
  }
}

inline void gemm_half(WeightType type, Index M, Index N, Index K, ConstRows a, const float* b_packed, const float* bias, Rows c) {
  if constexpr (!kCompact)
    (type == WeightType::bf16 ? gemm_half_of<Bf16Rows> : gemm_half_of<Fp16Rows>)(M, N, K, a, b_packed, bias, c);
}

#if REKUR_BF16
// --- products of bf16 ---

inline constexpr int kBf16Rows = kRegisters == 32 ? 6 : 4;

using Bf16Tile = void (*)(Index, Index, ConstRows, const float*, const float*, Rows, Index, Index, bool);

template <class W>
inline constexpr Bf16Tile kBf16Tiles[6] = {
    half_rows<W, 1>,        half_rows<W, 2>, half_rows<W, 3>, half_rows<W, 4>, half_rows<W, kBf16Rows == 6 ? 5 : 4>,
    half_rows<W, kBf16Rows>};

template <class W>
void gemm_bf16_of(Index M, Index N, Index K, ConstRows a, const float* b_packed, const float* bias, Rows c, Index c_offset,
                  bool accumulate) {
  const Index pairs = (K + 1) / 2;
  for (Index m0 = 0; m0 < M; m0 += kBlockM) {
    const Index rows = smaller(kBlockM, M - m0), tiles = (rows + kBf16Rows - 1) / kBf16Rows;
    for (Index n = 0; n < N; n += kPanel) {
      const Index vectors = (smaller(kPanel, N - n) + kWidth - 1) / kWidth, tail = smaller(N - n - (vectors - 1) * kWidth, kWidth);
      for (Index tile = 0; tile < tiles; ++tile) {
        const Index m = m0 + tile * rows / tiles, count = m0 + (tile + 1) * rows / tiles - m;
        kBf16Tiles<W>[count - 1](vectors, pairs, a + m, b_packed + n * pairs, bias ? bias + n : nullptr, c + m, c_offset + n, tail,
                                 accumulate);
      }
    }
  }
}

#if REKUR_AMX && REKUR_VEC_BYTES == 64
// C = sums, from the bias or from C on, of `rows` <= 32 rows and up to N columns of a panel, from c_offset on. `of` without b.
inline void amx_panel(AmxOperands of, Index rows, Index N, const float* panel, const float* bias, Rows c, Index c_offset,
                      bool accumulate) {
  const Index most = amx_vectors_at_once(rows), stride = most * kWidth, columns = smaller(N, kPanel);
  alignas(64) float sums[kAmxRows * kAmxVectors * kWidth];
  const float* b[kAmxVectors];
  of.b = b;
  of.goes_on = accumulate || bias != nullptr;
  for (Index n = 0; n < columns; n += stride) {
    const Index vectors = smaller(most, vectors_in(n, columns));
    for (Index v = 0; v < vectors; ++v) b[v] = panel + n + v * kWidth;
    const auto each = [&](auto&& f) __attribute__((always_inline)) {
      for (Index m = 0; m < rows; ++m)
        for (Index v = 0; v < vectors; ++v) {
          const Index at = n + v * kWidth;
          f(c[m] + c_offset + at, at, lanes(at, columns), sums + m * stride + v * kWidth);
        }
    };
    if (of.goes_on)
      each([&](const float* to, Index at, Index count, float* sum) {
        store(sum, accumulate ? load_partial(to, count) : load_partial(bias + at, count));
      });
    amx_sums<AmxBf16>(of, rows, vectors, sums, stride);
    each([&](float* to, Index, Index count, const float* sum) { store_partial(to, load(sum), count); });
  }
}

inline void gemm_bf16_by_amx(Index M, Index N, Index K, ConstRows a, const float* b_packed, const float* bias, Rows c,
                             Index c_offset, bool accumulate) {
  if (M == 0) return;
  amx_begin(M);
  const AmxRowTiles rows(M);
  const Index lines = (K + 1) / 2;
  for (Index n = 0; n < N; n += kPanel)
    for (Index tile = 0; tile < rows.count; ++tile) {
      const Index m0 = rows.begin(tile), count = rows.begin(tile + 1) - m0;
      amx_panel({.a = a + m0, .a_offset = 0, .b = nullptr, .b_stride = vectors_in(n, N) * kWidth, .lines = lines}, count, N - n,
                b_packed + n * lines, bias ? bias + n : nullptr, c + m0, c_offset + n, accumulate);
    }
  amx_end();
}
#endif

inline void gemm_bf16(Index group, Index M, Index N, Index K, ConstRows a, const float* b_packed, const float* bias, Rows c,
                      Index c_offset, bool accumulate) {
#if REKUR_AMX && REKUR_VEC_BYTES == 64
  if (by_amx(group)) return gemm_bf16_by_amx(M, N, K, a, b_packed, bias, c, c_offset, accumulate);
#endif
  const bool dots = kBf16Instruction && group == kBf16Dots;
  (dots ? gemm_bf16_of<Bf16Dots> : gemm_bf16_of<Bf16Pairs>)(M, N, K, a, b_packed, bias, c, c_offset, accumulate);
}
#endif

inline void dots(Index M, Index N, Index K, const float* a, const float* weights, const float* bias, float* c) {
  const Index stride = (K + 15) / 16 * 16;
  if constexpr (!kCompact)  // a stream's head: without the loops it is over sooner
    if (M == 1 && N == 1) {
      *c = dot_by_sixteens(K, a, weights, bias);
      return;
    }
  for (Index m = 0; m < M; ++m)
    for (Index n = 0; n < N; ++n) c[m * N + n] = dot_by_sixteens(K, a + m * K, weights + n * stride, bias ? bias + n : nullptr);
}

// --- C += Aᵀ B: sums over the rows of A and B, which may stand anywhere ---
//
// Rows are far apart, often by a multiple of 4 KiB, and then a column of them falls into a few sets of the cache. So both sides are
// copied, a block of rows at a time: strips of B for the second-level cache, a few tiles' columns of A for the first.

inline constexpr Index kBlockTn = 128;                                         // rows summed at a time
inline constexpr Index kStripRows = 4 * kBlockTn;                              // rows of all strips together: 128 KiB on AVX-512
inline constexpr Index kColumnsTn = Index{8} * kTileRows;                      // columns of A copied at a time
inline constexpr Index kWorkTn = kStripRows * kPanel + kBlockTn * kColumnsTn;  // floats of both copies

// Columns of A and the strip of B are dense: kColumnsTn and NV vectors a row.
template <class W, int MR, int NV>
__attribute__((noinline)) void gemm_tn_tile(Index K, const float* a, const float* strip, float* c, Index ldc, Index tail,
                                            bool accumulate) {
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
  for (Index n = begin; n < end; n += Narrow ? 32 : 16) __builtin_prefetch(row + (offset + n) / (Narrow ? 2 : 1));
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
              for (Index v = 0; v < vectors; ++v) __builtin_prefetch(below + v * kWidth, 1);
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
