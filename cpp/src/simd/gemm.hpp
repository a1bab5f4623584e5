// Matrix products. Every output is accumulated over k in ascending order by one accumulator that starts from the bias (or from what
// C holds), so its bits depend neither on the tile it was computed in nor on the rows beside it. Included by the ISA units only.
//
// A tile is MR rows × NV vectors of accumulators in registers: 24 of 32, or 12 of 16; the rest holds a row of B and a broadcast.
#pragma once

#include "simd/kernels.hpp"
#include "simd/vec.hpp"

namespace rekur {
namespace {

inline constexpr int kPanelVectors = kRegisters == 32 ? 4 : 2;
inline constexpr int kTileRows = 6;
inline constexpr Index kPanel = Index{kPanelVectors} * kWidth;

inline constexpr Index kBlockK = 512;  // a panel's block is 128 KiB on AVX-512: it stays in the second-level cache
inline constexpr Index kBlockM = 192;  // rows of A that all panels pass over while they stay in the second-level cache

// How a tile's accumulators start.
enum class Start : std::uint8_t { zero, bias, c };

// One tile: rows a[0..MR) from a_offset on, K steps down a panel of NV vectors, into c[0..MR) from c_offset on.
// `tail` is the number of lanes in the last vector.
template <int MR, int NV>
__attribute__((noinline)) void gemm_tile(Index K, ConstRows a, Index a_offset, const float* b, Start start, const float* bias,
                                         Rows c, Index c_offset, Index tail) {
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
    Vec column[NV];
    REKUR_UNROLL
    for (int v = 0; v < NV; ++v) column[v] = load(b + v * kWidth);
    b += NV * kWidth;
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

using GemmTile = void (*)(Index, ConstRows, Index, const float*, Start, const float*, Rows, Index, Index);

template <int NV>
inline constexpr GemmTile kGemmTiles[kTileRows] = {gemm_tile<1, NV>, gemm_tile<2, NV>, gemm_tile<3, NV>,
                                                   gemm_tile<4, NV>, gemm_tile<5, NV>, gemm_tile<6, NV>};

// Tiles of 1 to 6 rows for a panel of so many vectors.
inline const GemmTile* gemm_tiles(Index vectors) {
  if constexpr (kPanelVectors == 4) {
    if (vectors == 4) return kGemmTiles<4>;
    if (vectors == 3) return kGemmTiles<3>;
  }
  return vectors == 2 ? kGemmTiles<2> : kGemmTiles<1>;
}

// Splits M rows into the fewest tiles of at most kTileRows rows, as even as can be (7 rows: 4 and 3, not 6 and 1).
struct RowTiles {
  Index count, base, longer;
  explicit RowTiles(Index M) : count((M + kTileRows - 1) / kTileRows), base(count ? M / count : 0), longer(count ? M % count : 0) {}
  Index rows(Index tile) const { return base + (tile < longer ? 1 : 0); }
};

inline Index smaller(Index a, Index b) { return a < b ? a : b; }

inline void gemm(Index M, Index N, Index K, ConstRows a, const float* b_packed, const float* bias, Rows c, bool accumulate) {
  const Start first = accumulate ? Start::c : bias ? Start::bias : Start::zero;
  for (Index m0 = 0; m0 < M; m0 += kBlockM) {
    const RowTiles tiles(smaller(kBlockM, M - m0));
    for (Index n0 = 0; n0 < N; n0 += kPanel) {
      const Index vectors = (smaller(kPanel, N - n0) + kWidth - 1) / kWidth;
      const Index tail = N - n0 - (vectors - 1) * kWidth;
      const GemmTile* tile = gemm_tiles(vectors);
      // The block over K that is not the first goes on from C: storing and loading a float leaves it as it was.
      for (Index k0 = 0; k0 == 0 || k0 < K; k0 += kBlockK) {
        const float* panel = b_packed + n0 * K + k0 * vectors * kWidth;
        const Start start = k0 == 0 ? first : Start::c;
        for (Index t = 0, m = m0; t < tiles.count; m += tiles.rows(t), ++t)
          tile[tiles.rows(t) - 1](smaller(kBlockK, K - k0), a + m, k0, panel, start, bias ? bias + n0 : nullptr, c + m, n0,
                                  smaller(tail, kWidth));
      }
    }
  }
}

// --- C += Aᵀ B: sums over the rows of A and B, which may stand anywhere ---

inline constexpr Index kBlockTn = 256;  // rows summed at a time: 200 GFLOP/s where 128 gives 177 (AVX-512, C 256 x 1024)

// A[k] + a_offset holds MR columns; the strip of B is dense, NV vectors a row.
template <int MR, int NV>
__attribute__((noinline)) void gemm_tn_tile(Index K, ConstRows a, Index a_offset, const float* strip, float* c, Index ldc,
                                            Index tail) {
  Vec acc[MR][NV];
  REKUR_UNROLL
  for (int m = 0; m < MR; ++m) {
    REKUR_UNROLL
    for (int v = 0; v < NV; ++v) {
      const float* from = c + m * ldc + v * kWidth;
      acc[m][v] = v + 1 < NV ? load(from) : load_partial(from, tail);
    }
  }
  for (Index k = 0; k < K; ++k) {
    const float* x = a[k] + a_offset;
    Vec row[NV];
    REKUR_UNROLL
    for (int v = 0; v < NV; ++v) row[v] = load(strip + v * kWidth);
    strip += NV * kWidth;
    REKUR_UNROLL
    for (int m = 0; m < MR; ++m) {
      const Vec s = set1(x[m]);
      REKUR_UNROLL
      for (int v = 0; v < NV; ++v) acc[m][v] = fma(s, row[v], acc[m][v]);
    }
  }
  REKUR_UNROLL
  for (int m = 0; m < MR; ++m) {
    float* out = c + m * ldc;
    REKUR_UNROLL
    for (int v = 0; v + 1 < NV; ++v) store(out + v * kWidth, acc[m][v]);
    store_partial(out + (NV - 1) * kWidth, acc[m][NV - 1], tail);
  }
}

using GemmTnTile = void (*)(Index, ConstRows, Index, const float*, float*, Index, Index);

template <int NV>
inline constexpr GemmTnTile kGemmTnTiles[kTileRows] = {gemm_tn_tile<1, NV>, gemm_tn_tile<2, NV>, gemm_tn_tile<3, NV>,
                                                       gemm_tn_tile<4, NV>, gemm_tn_tile<5, NV>, gemm_tn_tile<6, NV>};

inline const GemmTnTile* gemm_tn_tiles(Index vectors) {
  if constexpr (kPanelVectors == 4) {
    if (vectors == 4) return kGemmTnTiles<4>;
    if (vectors == 3) return kGemmTnTiles<3>;
  }
  return vectors == 2 ? kGemmTnTiles<2> : kGemmTnTiles<1>;
}

inline void gemm_tn(Index M, Index N, Index K, ConstRows a, Index a_offset, ConstRows b, Index b_offset, float* c, Index ldc) {
  alignas(64) float strip[kBlockTn * kPanel];
  const RowTiles tiles(M);
  for (Index k0 = 0; k0 < K; k0 += kBlockTn) {
    const Index rows = smaller(kBlockTn, K - k0);
    for (Index n0 = 0; n0 < N; n0 += kPanel) {
      const Index vectors = (smaller(kPanel, N - n0) + kWidth - 1) / kWidth;
      const Index tail = smaller(N - n0 - (vectors - 1) * kWidth, kWidth);
      float* to = strip;
      for (Index k = k0; k < k0 + rows; ++k, to += vectors * kWidth) {
        const float* from = b[k] + b_offset + n0;
        for (Index v = 0; v + 1 < vectors; ++v) store(to + v * kWidth, load(from + v * kWidth));
        store(to + (vectors - 1) * kWidth, load_partial(from + (vectors - 1) * kWidth, tail));
      }
      const GemmTnTile* tile = gemm_tn_tiles(vectors);
      for (Index t = 0, m = 0; t < tiles.count; m += tiles.rows(t), ++t)
        tile[tiles.rows(t) - 1](rows, a + k0, a_offset + m, strip, c + m * ldc + n0, ldc, tail);
    }
  }
}

inline void column_sums(Index N, Index K, ConstRows b, Index b_offset, float* out) {
  Index n = 0;
  for (; n + kPanel <= N; n += kPanel) {
    Vec sum[kPanelVectors];
    REKUR_UNROLL
    for (int v = 0; v < kPanelVectors; ++v) sum[v] = load(out + n + v * kWidth);
    for (Index k = 0; k < K; ++k) {
      REKUR_UNROLL
      for (int v = 0; v < kPanelVectors; ++v) sum[v] += load(b[k] + b_offset + n + v * kWidth);
    }
    REKUR_UNROLL
    for (int v = 0; v < kPanelVectors; ++v) store(out + n + v * kWidth, sum[v]);
  }
  for (; n < N; n += kWidth) {
    const Index count = lanes(n, N);
    Vec sum = load_partial(out + n, count);
    for (Index k = 0; k < K; ++k) sum += load_partial(b[k] + b_offset + n, count);
    store_partial(out + n, sum, count);
  }
}

}  // namespace
}  // namespace rekur
