// Matrix products. Every output is accumulated over k in ascending order by one accumulator that starts from the bias (or from what
// C holds), so its bits depend neither on the tile it was computed in nor on the rows beside it. Included by the ISA units only.
//
// A tile is MR rows × NV vectors of accumulators in registers: 24 of 32, or 12 of 16; the rest holds a row of B and a broadcast.
#pragma once

#include <type_traits>

#include "simd/bf16.hpp"
#include "simd/kernels.hpp"
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
REKUR_NOINLINE void gemm_tile(Index K, ConstRows a, Index a_offset, const float* b, Index b_step, Start start, const float* bias,
                              Rows c, Index c_offset, Index tail, const float* ahead) {
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
    REKUR_PREFETCH(ahead + k * kLine, 0, 2);
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

// --- few rows ---

// A tile of a single panel has few sums of so few rows, each waiting for its own last addition: several panels go side by side, as
// many as two units of four cycles ask for, and one more, so that none is left over.
constexpr bool are_few(Index rows) { return rows == 1 || (rows == 2 && kPanelVectors == 2 && !kCompact); }

constexpr int panels_abreast(int rows) { return kCompact ? 1 : kPanelVectors == 4 || rows == 2 ? 3 : 4; }

// Rows from `bias` on, from what C holds, or from zero, times NP whole panels that are `stride` floats apart.
template <class W, int MR, int NP>
REKUR_NOINLINE void panels_tile(Index K, ConstRows a, const float* b, Index stride, const float* bias, Rows c, Index c_offset,
                                bool accumulate) {
  constexpr int NV = kPanelVectors;
  Vec acc[MR][NP][NV];
  REKUR_UNROLL
  for (int m = 0; m < MR; ++m) {
    const float* const from = accumulate ? c[m] + c_offset : bias;
    REKUR_UNROLL
    for (int p = 0; p < NP; ++p) {
      REKUR_UNROLL
      for (int v = 0; v < NV; ++v) acc[m][p][v] = from ? load(from + (p * NV + v) * kWidth) : zero();
    }
  }
  each_row<W>(K, b, kPanel, [&](Index k, const float* rows, int i) REKUR_INLINED {
    Vec x[MR];
    REKUR_UNROLL
    for (int m = 0; m < MR; ++m) x[m] = set1(a[m][k]);
    REKUR_UNROLL
    for (int p = 0; p < NP; ++p) {
      REKUR_UNROLL
      for (int v = 0; v < NV; ++v) {
        const Vec row = W::row(rows + p * stride + v * kWidth, i);
        REKUR_UNROLL
        for (int m = 0; m < MR; ++m) acc[m][p][v] = W::add(x[m], row, acc[m][p][v]);
      }
    }
  });
  REKUR_UNROLL
  for (int m = 0; m < MR; ++m) {
    REKUR_UNROLL
    for (int p = 0; p < NP; ++p) {
      REKUR_UNROLL
      for (int v = 0; v < NV; ++v) store(c[m] + c_offset + (p * NV + v) * kWidth, acc[m][p][v]);
    }
  }
}

template <class W, int MR, int NP = panels_abreast(MR)>
REKUR_INLINE void panels_of(Index panels, Index K, ConstRows a, const float* b, Index stride, const float* bias, Rows c,
                            Index c_offset, bool accumulate) {
  if constexpr (NP > 1)
    if (panels < NP) return panels_of<W, MR, NP - 1>(panels, K, a, b, stride, bias, c, c_offset, accumulate);
  panels_tile<W, MR, NP>(K, a, b, stride, bias, c, c_offset, accumulate);
}

// The whole panels of few rows. Returns the column behind them.
template <class W>
inline Index of_few_rows(Index M, Index N, Index K, ConstRows a, const float* b, const float* bias, Rows c, Index c_offset,
                         bool accumulate) {
  if constexpr (kCompact) return 0;
  const Index most = M == 1 ? panels_abreast(1) : panels_abreast(2);
  const Index panels = N / kPanel, stride = (K + W::kTogether - 1) / W::kTogether * kPanel;
  for (Index left = panels, taken; left > 0; left -= taken, b += taken * stride) {
    taken = even_share(left, most);
    const Index n = (panels - left) * kPanel;
    const auto of = [&](auto rows) REKUR_INLINED {
      panels_of<W, rows>(taken, K, a, b, stride, bias ? bias + n : nullptr, c, c_offset + n, accumulate);
    };
    if constexpr (are_few(2))
      if (M == 2) {
        of(std::integral_constant<int, 2>());
        continue;
      }
    of(std::integral_constant<int, 1>());
  }
  return panels * kPanel;
}

inline void gemm(Index M, Index N, Index K, ConstRows a, const float* b_packed, const float* bias, Rows c, Index c_offset,
                 bool accumulate) {
  const Start first = accumulate ? Start::c : bias ? Start::bias : Start::zero;
  if (are_few(M)) {  // of a stream, where every instruction on the way counts
    for (Index n = of_few_rows<FloatRows>(M, N, K, a, b_packed, bias, c, c_offset, accumulate); n < N; n += kPanel) {
      const Index left = N - n, vectors = vectors_in(n, N);
      const float* const panel = b_packed + n * K;
      gemm_tiles(vectors)[M - 1](K, a, 0, panel, vectors * kWidth, first, bias ? bias + n : nullptr, c, c_offset + n,
                                 smaller(left - (vectors - 1) * kWidth, kWidth), left > kPanel ? panel + K * kPanel : panel);
    }
    return;
  }
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
REKUR_NOINLINE void half_tile(Index K, ConstRows a, const float* b, const float* bias, Rows c, Index c_offset, Index tail,
                              bool accumulate) {
  Vec acc[MR][NV];
  REKUR_UNROLL
  for (int v = 0; v < NV; ++v) {
    REKUR_UNROLL
    for (int m = 0; m < MR; ++m) {
      const float* const from = accumulate ? c[m] + c_offset : bias;
      acc[m][v] = !from ? zero() : v + 1 < NV ? load(from + v * kWidth) : load_partial(from + v * kWidth, tail);
    }
  }
  each_row<W>(K, b, NV * kWidth, [&](Index k, const float* rows, int i) REKUR_INLINED {
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
  for (Index n = are_few(M) ? of_few_rows<W>(M, N, K, a, b_packed, bias, c, 0, false) : 0; n < N; n += kPanel) {
    const Index vectors = vectors_in(n, N), tail = smaller(N - n - (vectors - 1) * kWidth, kWidth);
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
  const Index done = are_few(M) ? of_few_rows<W>(M, N, pairs, a, b_packed, bias, c, c_offset, accumulate) : 0;
  for (Index m0 = 0; m0 < M; m0 += kBlockM) {
    const Index rows = smaller(kBlockM, M - m0), tiles = (rows + kBf16Rows - 1) / kBf16Rows;
    for (Index n = done; n < N; n += kPanel) {
      const Index vectors = vectors_in(n, N), tail = smaller(N - n - (vectors - 1) * kWidth, kWidth);
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
    const auto each = [&](auto&& f) REKUR_INLINED {
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

}  // namespace
}  // namespace rekur
