// Matrix products over rows that stand one after the other, shared between threads.
#pragma once

#include "layers/packed.hpp"
#include "rekur/tensor.hpp"

namespace rekur::layers {

// c[rows][N] = a[rows][K] · B (+ bias, which may be null), or += without bias; B packed (layers/packed.hpp).
void dense_product(Index rows, Index N, Index K, const float* a, const float* packed, const float* bias, float* c, bool accumulate);

// The same for few outputs, in their order (rekur/detail/few_outputs.hpp); packed by PackedMatrix::prepare_dots.
void dense_dots(Index rows, Index N, Index K, const float* a, const float* packed, const float* bias, float* c);

#if REKUR_INT8
// c[rows][N] = a[rows][K] · B + bias of eight bits (PackedMatrix::prepare_int8).
void dense_product_int8(Index rows, Index N, Index K, const float* a, const PackedMatrix& packed, float* c);
#endif

#if REKUR_TRAINING
#if REKUR_BF16
// As dense_product, both sides rounded to bf16; B packed by PackedMatrix::prepare_bf16.
void dense_product_bf16(Index rows, Index N, Index K, const float* a, const float* packed, const float* bias, float* c,
                        bool accumulate);
#endif
// c[M][N] += Σ_rows a[rows][M]ᵀ b[rows][N]. Tasks share the output, never the rows: the order of the sum is fixed. bf16: of
// numbers rounded to it.
void dense_product_tn(Index rows, Index M, Index N, const float* a, const float* b, float* c, bool bf16 = false);
// out[N] += Σ_rows b[rows][N]
void dense_sums(Index rows, Index N, const float* b, float* out);
#endif

}  // namespace rekur::layers
