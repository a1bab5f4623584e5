// The kernels of simd/window_kernels.hpp. Included by the ISA units only.
#pragma once

#include "simd/vec.hpp"
#include "simd/window_kernels.hpp"

namespace rekur {
namespace {

// Channels [c, c + NV vectors) of one row.
template <int NV>
REKUR_INLINE void depthwise_part(Index c, Index n, Index taps, ConstRows x, const float* w, const float* bias, float* y,
                                 bool accumulate) {
  const Index tail = lanes(c + (NV - 1) * kWidth, n);
  const auto read = [&](const float* from, int v) {
    return v + 1 < NV ? load(from + c + v * kWidth) : load_partial(from + c + v * kWidth, tail);
  };
  Vec sum[NV];
  REKUR_UNROLL
  for (int v = 0; v < NV; ++v) sum[v] = accumulate ? read(y, v) : bias != nullptr ? read(bias, v) : zero();
  for (Index k = 0; k < taps; ++k) {
    REKUR_UNROLL
    for (int v = 0; v < NV; ++v) sum[v] = fma(read(x[k], v), read(w + k * n, v), sum[v]);
  }
  REKUR_UNROLL
  for (int v = 0; v + 1 < NV; ++v) store(y + c + v * kWidth, sum[v]);
  store_partial(y + c + (NV - 1) * kWidth, sum[NV - 1], tail);
}

inline void depthwise(Index rows, Index n, Index taps, ConstRows x, const float* w, const float* bias, Rows y, bool accumulate) {
  for (Index r = 0; r < rows; ++r, x += taps) {
    Index c = 0;
    for (; c + 4 * kWidth <= n; c += 4 * kWidth) depthwise_part<4>(c, n, taps, x, w, bias, y[r], accumulate);
    for (; c < n; c += kWidth) depthwise_part<1>(c, n, taps, x, w, bias, y[r], accumulate);
  }
}

// Plain loops: the compiler makes vectors of them.
inline void largest(Index rows, Index n, ConstRows x, float* y) {
  for (Index c = 0; c < n; ++c) y[c] = x[0][c];
  for (Index k = 1; k < rows; ++k) {
    const float* const row = x[k];
    for (Index c = 0; c < n; ++c) y[c] = row[c] > y[c] || row[c] != row[c] ? row[c] : y[c];
  }
}

inline void scaled_sum(Index rows, Index n, ConstRows x, float scale, float* y) {
  for (Index c = 0; c < n; c += kWidth) {
    const Index count = lanes(c, n);
    Vec sum = zero();
    for (Index k = 0; k < rows; ++k) sum = sum + load_partial(x[k] + c, count);
    store_partial(y + c, sum * set1(scale), count);
  }
}

#if REKUR_TRAINING
inline void largest_backward(Index rows, Index n, ConstRows x, const float* y, const float* dy, Rows dx) {
  constexpr Index kBlock = 64;
  float left[kBlock];  // of dy, which goes to the first row that is y
  for (Index c0 = 0; c0 < n; c0 += kBlock) {
    const Index count = n - c0 < kBlock ? n - c0 : kBlock;
    for (Index c = 0; c < count; ++c) left[c] = dy[c0 + c];
    for (Index k = 0; k < rows; ++k) {
      const float* const row = x[k] + c0;
      float* const to = dx[k] + c0;
      for (Index c = 0; c < count; ++c) {
        const bool taken = row[c] == y[c0 + c] || row[c] != row[c];
        to[c] += taken ? left[c] : 0.0f;
        left[c] = taken ? 0.0f : left[c];
      }
    }
  }
}
#endif

constexpr simd::WindowKernels make_window_kernels() {
  return {
      .depthwise = depthwise,
      .largest = largest,
      .scaled_sum = scaled_sum,
#if REKUR_TRAINING
      .largest_backward = largest_backward,
#endif
  };
}

}  // namespace
}  // namespace rekur
