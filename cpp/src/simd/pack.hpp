// Packing of a matrix B[K][N] into the panels that Kernels::gemm reads (see kernels.hpp), and of rows of sixteen bits. Ordinary
// C++.
#pragma once

#include <algorithm>

#include "rekur/detail/half.hpp"
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

// `count` <= width numbers of row k into the vector of its pair (rekur/detail/weights.hpp) that stands at `pair`; zeros behind
// them.
inline void put_half(WeightType type, const float* from, Index count, Index k, Index width, float* pair) {
  auto* const to = reinterpret_cast<char*>(pair);
  for (Index lane = 0; lane < width; ++lane) {
    const float x = lane < count ? from[lane] : 0.0f;
    const std::uint16_t half = type == WeightType::bf16 ? detail::bf16_of(x) : detail::fp16_of(x);
    const Index at = type == WeightType::bf16 ? 2 * lane + k % 2 : k % 2 * width + lane;
    __builtin_memcpy(to + at * static_cast<Index>(sizeof half), &half, sizeof half);
  }
}

}  // namespace rekur::simd
