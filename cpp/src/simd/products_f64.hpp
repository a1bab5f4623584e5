// Products in double, for initial weights: the same bits from every instruction set. Each output is accumulated over k in ascending
// order by one accumulator, and a product is rounded before it is added: a fused multiply-add, which some machines lack, would give
// other bits. (Where multiplications and additions have pipes of their own, as on Zen 4, this costs no time.) Included by the ISA
// units only.
#pragma once

#include "simd/kernels.hpp"
#include "simd/vec.hpp"

namespace rekur {
namespace {

typedef double DoubleVec REKUR_VECTOR(REKUR_VEC_BYTES);
typedef double LooseDoubleVec REKUR_VECTOR_AT(REKUR_VEC_BYTES, 8);

inline constexpr Index kDoubleWidth = kWidth / 2;
inline constexpr int kDoubleVectors = kRegisters == 32 ? 4 : 2;
inline constexpr int kDoubleRows = kRegisters == 32 ? 5 : 4;  // products that wait to be added need registers too
inline constexpr Index kDoublePanel = kDoubleVectors * kDoubleWidth;
inline constexpr Index kDoubleBlockK = 256;  // a panel's block is 64 KiB on AVX-512: it stays in the second-level cache

// MR rows × one panel, K steps: c starts at zero (`first`) or where it stands; products are subtracted or added.
template <int MR>
REKUR_NOINLINE void product_tile(Index K, const double* a, Index lda, const double* b, double* c, Index ldc, bool first,
                                 bool subtract) {
  DoubleVec acc[MR][kDoubleVectors];
  REKUR_UNROLL
  for (int m = 0; m < MR; ++m) {
    REKUR_UNROLL
    for (int v = 0; v < kDoubleVectors; ++v) {
      acc[m][v] =
          first ? DoubleVec{} : static_cast<DoubleVec>(*reinterpret_cast<const LooseDoubleVec*>(c + m * ldc + v * kDoubleWidth));
    }
  }
  const double sign = subtract ? -1.0 : 1.0;  // exact: a - x y is a + (-x) y
  for (Index k = 0; k < K; ++k) {
    DoubleVec column[kDoubleVectors];
    REKUR_UNROLL
    for (int v = 0; v < kDoubleVectors; ++v) column[v] = *reinterpret_cast<const LooseDoubleVec*>(b + v * kDoubleWidth);
    b += kDoublePanel;
    REKUR_UNROLL
    for (int m = 0; m < MR; ++m) {
      const DoubleVec x = DoubleVec{} + sign * a[m * lda + k];
      REKUR_UNROLL
      for (int v = 0; v < kDoubleVectors; ++v) acc[m][v] = acc[m][v] + x * column[v];
    }
  }
  REKUR_UNROLL
  for (int m = 0; m < MR; ++m) {
    REKUR_UNROLL
    for (int v = 0; v < kDoubleVectors; ++v) {
      *reinterpret_cast<LooseDoubleVec*>(c + m * ldc + v * kDoubleWidth) = acc[m][v];
    }
  }
}

template <int MR>
void product_rows(Index rows, Index K, const double* a, Index lda, const double* b, double* c, Index ldc, bool first,
                  bool subtract) {
  if (rows == MR) return product_tile<MR>(K, a, lda, b, c, ldc, first, subtract);
  if constexpr (MR > 1) product_rows<MR - 1>(rows, K, a, lda, b, c, ldc, first, subtract);
}

void product_f64(Index M, Index N, Index K, const double* a, Index lda, const double* b, double* c, Index ldc, bool subtract) {
  for (Index from = 0; from < K; from += kDoubleBlockK) {
    const Index k = K - from < kDoubleBlockK ? K - from : kDoubleBlockK;
    for (Index n = 0; n < N; n += kDoublePanel) {
      const double* panel = b + n * K + from * kDoublePanel;
      const Index columns = N - n < kDoublePanel ? N - n : kDoublePanel;
      for (Index m = 0; m < M; m += kDoubleRows) {
        const Index rows = M - m < kDoubleRows ? M - m : kDoubleRows;
        const double* a_tile = a + m * lda + from;
        double* c_tile = c + m * ldc + n;
        if (columns == kDoublePanel) {
          product_rows<kDoubleRows>(rows, k, a_tile, lda, panel, c_tile, ldc, from == 0 && !subtract, subtract);
          continue;
        }
        double edge[kDoubleRows * kDoublePanel] = {};
        for (Index i = 0; i < rows; ++i) {
          for (Index j = 0; j < columns; ++j) edge[i * kDoublePanel + j] = c_tile[i * ldc + j];
        }
        product_rows<kDoubleRows>(rows, k, a_tile, lda, panel, edge, kDoublePanel, from == 0 && !subtract, subtract);
        for (Index i = 0; i < rows; ++i) {
          for (Index j = 0; j < columns; ++j) c_tile[i * ldc + j] = edge[i * kDoublePanel + j];
        }
      }
    }
  }
}

}  // namespace
}  // namespace rekur
