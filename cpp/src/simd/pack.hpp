// Packing of a matrix B[K][N] into the panels that Kernels::gemm reads (see kernels.hpp), and of rows of sixteen bits. Ordinary
// C++.
#pragma once

#include <algorithm>

#include "rekur/detail/half.hpp"
#include "rekur/detail/int8_scale.hpp"
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
    REKUR_COPY(to + at * static_cast<Index>(sizeof half), &half, sizeof half);
  }
}

// Floats of a row of K numbers of bf16 as Kernels::narrow_bf16 writes it.
inline Index bf16_row_floats(Index K) { return ((K + 1) / 2 + 15) / 16 * 16; }

// --- of eight bits: simd/int8.hpp says what stands where ---

using detail::int8_of;
using detail::int8_scale;

// Columns that are gone through together, since their numbers stand side by side: the widest vector's.
inline constexpr Index kInt8Columns = 16;

// The scales of `count` <= kInt8Columns neighbouring columns of K numbers, `stride` apart; NaN where a column is not finite.
inline void int8_scales(Index K, Index count, const float* b, Index stride, float* scales) {
  float largest[kInt8Columns] = {};
  for (Index k = 0; k < K; ++k)
    for (Index c = 0; c < count; ++c) {
      const float x = b[k * stride + c], magnitude = x < 0 ? -x : x;
      if (magnitude > largest[c] || magnitude != magnitude) largest[c] = magnitude;  // a NaN stays
    }
  for (Index c = 0; c < count; ++c) {
    const float scale = int8_scale(largest[c]);
    scales[c] = scale - scale == 0 ? scale : scale - scale;
  }
}

inline float int8_scale_of(Index K, const float* column, Index stride) {
  float scale;
  int8_scales(K, 1, column, stride, &scale);
  return scale;
}

// Every number of B[K][N], of rows `stride` apart, becomes the multiple of its column's scale that stands for it.
inline void round_int8(Index K, Index N, float* b, Index stride) {
  float scales[kInt8Columns];
  for (Index n = 0; n < N; n += kInt8Columns) {
    const Index count = std::min(kInt8Columns, N - n);
    int8_scales(K, count, b + n, stride, scales);
    for (Index k = 0; k < K; ++k)
      for (Index c = 0; c < count; ++c) {
        float& x = b[k * stride + n + c];
        x = scales[c] == scales[c] ? static_cast<float>(int8_of(x, scales[c])) * scales[c] : scales[c];
      }
  }
}

// Floats of a row of K numbers as Kernels::narrow writes it, on cache lines' borders.
inline Index int8_row_floats(Index K) { return (4 + (K + 15) / 16 * 8 + 15) / 16 * 16; }

// Floats of a vector of columns, and of N columns.
inline Index int8_column_floats(Index width, Index K) { return (3 + (K + 7) / 8 * 2) * width; }
inline Index int8_size(Index width, Index K, Index N) { return (N + width - 1) / width * int8_column_floats(width, K); }

// A vector of columns, `count` <= width of them: element (k, c) stands at b[k * stride + c]. bias may be null: 0.
inline void pack_int8(Index width, Index group, Index K, Index count, const float* b, Index stride, const float* bias, float* out) {
  const Index size = int8_column_floats(width, K);
  std::fill_n(out, size, 0.0f);
  auto* const numbers = reinterpret_cast<std::int8_t*>(out + 3 * width);
  const Index together = numbers_of(group);
  std::int32_t sums[kInt8Columns] = {};
  int8_scales(K, count, b, stride, out);
  for (Index k = 0; k < K; ++k)
    for (Index c = 0; c < count; ++c) {
      const int q = int8_of(b[k * stride + c], out[c]);
      numbers[k / together * width * together + c * together + k % together] = static_cast<std::int8_t>(q);
      sums[c] += q;
    }
  REKUR_COPY(out + width, sums, static_cast<std::size_t>(count) * sizeof *sums);
  if (bias != nullptr) std::copy_n(bias, count, out + 2 * width);
}

}  // namespace rekur::simd
