// The recurrent product of a tile: MR rows times NP panels of G gates of a vector of units. Included only by the ISA units.
#pragma once

#include "simd/bf16.hpp"
#include "simd/int8.hpp"
#include "simd/vec.hpp"

namespace rekur {
namespace {

inline constexpr int kAccumulators = kRegisters == 32 ? 24 : 12;  // the rest holds a panel's row and a broadcast

constexpr int tile_rows(int G) { return G <= 2 ? 6 : kAccumulators / G; }

// Of the tiles there are, the largest of at most so many panels. The compact library has those of 1, 2, 4 and 8.
constexpr int panels_at_once(int panels) {
  while (kCompact && (panels & (panels - 1)) != 0) panels &= panels - 1;
  return panels;
}

// More panels where rows are few, so that enough sums are under way to hide the latency of fma.
constexpr int tile_panels(int G, int rows) {
  const int n = kAccumulators / (G * rows);
  return panels_at_once(n < 1 ? 1 : n > 8 / G + 2 ? 8 / G + 2 : n);
}

// The fewest panels of a single row whose sums hide the latency of fma: two units, four cycles.
constexpr int single_row_panels(int G) {
  const int fewest = (8 + G - 1) / G;
  return panels_at_once(fewest) == fewest && fewest < tile_panels(G, 1) ? fewest : tile_panels(G, 1);
}

inline constexpr Index kFirstCache = 48 * 1024;  // bytes

// Rows of floats that K rows of weights are as long as.
constexpr Index lines_of(WeightType type, Index K) { return type == WeightType::float32 ? K : (K + 1) / 2; }

// `ahead`: memory to fetch meanwhile, a line for each line of weights.
// out[m][p][g] = bias[g][p] + Σ_k a[m][k] w[p][k][g], k ascending, one accumulator each: a row's bits do not depend on MR or NP.
// `out` has `row_panels` panels a row.
template <class W, int G, int MR, int NP>
REKUR_NOINLINE void product_tile(Index K, ConstRows a_rows, const float* w, Index panel_stride, const float* bias, Index Hp,
                                 float* out, Index row_panels, const float* ahead) {
  const float* a[MR];
  Vec acc[MR][NP][G];
#pragma GCC unroll 16
  for (int p = 0; p < NP; ++p) {
#pragma GCC unroll 4
    for (int g = 0; g < G; ++g) {
      const Vec start = bias ? load(bias + g * Hp + p * kWidth) : zero();
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m) acc[m][p][g] = start;
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m) a[m] = a_rows[m];
  each_row<W>(K, w, G * kWidth, [&](Index k, const float* b, int i) REKUR_INLINED {
    if (i == 0) {
      REKUR_PREFETCH(ahead, 0, 2);
      ahead += kLine;
    }
    // Whichever are fewer stay in registers, weights or broadcasts.
    if constexpr (NP * G <= MR) {
      Vec row[NP][G];
#pragma GCC unroll 16
      for (int p = 0; p < NP; ++p)
#pragma GCC unroll 4
        for (int g = 0; g < G; ++g) row[p][g] = W::row(b + p * panel_stride + g * kWidth, i);
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m) {
        const Vec v = set1(a[m][k]);
#pragma GCC unroll 16
        for (int p = 0; p < NP; ++p)
#pragma GCC unroll 4
          for (int g = 0; g < G; ++g) acc[m][p][g] = W::add(v, row[p][g], acc[m][p][g]);
      }
    } else if constexpr (W::kTogether > 1) {  // one at a time: what widens needs registers
      Vec v[MR];
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m) v[m] = set1(a[m][k]);
#pragma GCC unroll 16
      for (int p = 0; p < NP; ++p)
#pragma GCC unroll 4
        for (int g = 0; g < G; ++g) {
          const Vec row = W::row(b + p * panel_stride + g * kWidth, i);
#pragma GCC unroll 16
          for (int m = 0; m < MR; ++m) acc[m][p][g] = W::add(v[m], row, acc[m][p][g]);
        }
    } else {
#pragma GCC unroll 16
      for (int p = 0; p < NP; ++p) {
        Vec row[G];
#pragma GCC unroll 4
        for (int g = 0; g < G; ++g) row[g] = W::row(b + p * panel_stride + g * kWidth, i);
#pragma GCC unroll 16
        for (int m = 0; m < MR; ++m) {
          const Vec v = set1(a[m][k]);
#pragma GCC unroll 4
          for (int g = 0; g < G; ++g) acc[m][p][g] = W::add(v, row[g], acc[m][p][g]);
        }
      }
    }
  });
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 16
    for (int p = 0; p < NP; ++p)
#pragma GCC unroll 4
      for (int g = 0; g < G; ++g) store(out + ((m * row_panels + p) * G + g) * kWidth, acc[m][p][g]);
}

using ProductTile = void (*)(Index, ConstRows, const float*, Index, const float*, Index, float*, Index, const float*);

// The tiles there are, by rows and panels.
template <class W, int G>
struct ProductTiles {
  ProductTile tile[tile_rows(G)][tile_panels(G, 1)] = {};

  constexpr ProductTiles() { add<tile_rows(G), tile_panels(G, tile_rows(G))>(); }

 private:
  template <int MR, int NP>
  constexpr void add() {
    if constexpr (panels_at_once(NP) == NP) tile[MR - 1][NP - 1] = product_tile<W, G, MR, NP>;
    if constexpr (NP > 1)
      add<MR, NP - 1>();
    else if constexpr (MR > 1)
      add<MR - 1, tile_panels(G, MR - 1)>();
  }
};

template <class W, int G>
inline constexpr ProductTiles<W, G> kProductTiles;

// Where vectors and registers are few (x86 without AVX, ARM of 32 bits) arithmetic takes longer than reading; widening is more of
// it.
inline constexpr bool kHalfTiles = !kCompact && (kWidth > 4 || kRegisters > 16);

template <int G>
REKUR_INLINE auto product_tiles(WeightType type, [[maybe_unused]] Index group = 0) {
#if REKUR_BF16
  if (kBf16Instruction && group == kBf16Dots) return kProductTiles<Bf16Dots, G>.tile;
  if (group > 0) return kProductTiles<Bf16Pairs, G>.tile;
#endif
  if constexpr (kHalfTiles) {
    if (type == WeightType::bf16) return kProductTiles<Bf16Rows, G>.tile;
    if (type == WeightType::fp16) return kProductTiles<Fp16Rows, G>.tile;
  }
  return kProductTiles<FloatRows, G>.tile;
}

template <int G>
REKUR_INLINE void one_sum_product(WeightType type, Index group, int rows, int panels, Index K, ConstRows a, const float* w,
                                  Index panel_stride, const float* bias, Index Hp, float* out, const float* ahead) {
  const auto tile = product_tiles<G>(type, group);
  for (int p = 0, n; p < panels; p += n) {
    n = panels_at_once(panels - p);
    tile[rows - 1][n - 1](K, a, w + p * panel_stride, panel_stride, bias ? bias + p * kWidth : nullptr, Hp, out + p * G * kWidth,
                          panels, ahead);
    if constexpr (!kCompact) return;
  }
}

// The second of two sums (first_sum).
template <int G>
REKUR_NOINLINE void add_second_sum(WeightType type, int rows, int panels, Index first, Index K, ConstRows a, const float* w,
                                   Index panel_stride, Index Hp, float* out, const float* ahead) {
  constexpr int MR = tile_rows(G);
  const float* behind[MR];
  for (int m = 0; m < rows; ++m) behind[m] = a[m] + first;
  alignas(64) float second[(kAccumulators > MR * G ? kAccumulators : MR * G) * kWidth];
  one_sum_product<G>(type, 0, rows, panels, K - first, behind, w + lines_of(type, first) * G * kWidth, panel_stride, nullptr, Hp,
                     second, ahead);
  for (Index i = 0; i < Index{rows} * panels * G * kWidth; i += kWidth) store(out + i, load(out + i) + load(second + i));
}

template <int G>
REKUR_INLINE void product(WeightType type, Index group, int rows, int panels, Index K, ConstRows a, const float* w,
                          Index panel_stride, const float* bias, Index Hp, float* out, const float* ahead) {
  const Index first = group > 0 ? K : first_sum(K);
  one_sum_product<G>(type, group, rows, panels, first, a, w, panel_stride, bias, Hp, out, ahead);
  if (first < K) add_second_sum<G>(type, rows, panels, first, K, a, w, panel_stride, Hp, out, ahead);
}

}  // namespace
}  // namespace rekur
