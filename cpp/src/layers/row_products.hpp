// Matrix products over rows that stand anywhere (of sequences of unequal length, say), shared between threads. What a row gives
// depends neither on the rows beside it nor on the threads; sums over rows go in the order of the list.
#pragma once

#include "simd/kernels.hpp"

namespace rekur::layers {

// c[row][N] = a[row][K] · B (+ bias), or += without bias; B packed (layers/packed.hpp).
void row_product(Index rows, Index N, Index K, ConstRows a, const float* packed, const float* bias, Rows c, bool accumulate);

#if REKUR_TRAINING
// Threads for the next, each of which wants gemm_tn_work floats (isa::kernels()). To be asked once: what cores are to spare
// changes.
int row_product_tn_threads(Index rows, Index M, Index N);
// c[M][N] += Σ_rows a[row][M]ᵀ b[row][N]
void row_product_tn(int threads, Index rows, Index M, Index N, ConstRows a, ConstRows b, float* c, float* work);
// out[N] += Σ_rows b[row][N]
void row_sums(Index rows, Index N, ConstRows b, float* out);
#endif

}  // namespace rekur::layers
