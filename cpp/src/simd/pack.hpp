// Packing of a matrix B[K][N] into the panels that Kernels::gemm reads (see kernels.hpp). Ordinary C++.
#pragma once

#include <algorithm>

#include "simd/kernels.hpp"

namespace rekur::simd {

// Floats of a packed matrix.
inline Index packed_size(const Kernels& kernels, Index K, Index N) {
  return K * ((N + kernels.width - 1) / kernels.width) * kernels.width;
}

// Element (k, n) stands at b[k * stride_k + n * stride_n]; so a transpose is packed by exchanging the strides.
inline void pack(const Kernels& kernels, Index K, Index N, const float* b, Index stride_k, Index stride_n, float* out) {
  for (Index n0 = 0; n0 < N; n0 += kernels.panel) {
    const Index columns = std::min<Index>(kernels.panel, N - n0);
    const Index padded = (columns + kernels.width - 1) / kernels.width * kernels.width;
    for (Index k = 0; k < K; ++k, out += padded) {
      const float* from = b + k * stride_k + n0 * stride_n;
      for (Index n = 0; n < columns; ++n) out[n] = from[n * stride_n];
      std::fill(out + columns, out + padded, 0.0f);
    }
  }
}

}  // namespace rekur::simd
