// What every ISA provides to convolutions of single channels and to pooling: rows of n channels that stand anywhere, channels as
// lanes. Every channel is computed alike wherever it stands.
#pragma once

#include "simd/kernels.hpp"

namespace rekur::simd {

struct WindowKernels {
  // y[r][c] = bias[c] + Σ_k x[r · taps + k][c] w[k · n + c] (bias may be null: 0), or with `accumulate` y[r][c] + Σ …
  void (*depthwise)(Index rows, Index n, Index taps, ConstRows x, const float* w, const float* bias, Rows y, bool accumulate);
  // y = the largest of the rows, channel by channel; NaN where one is NaN. At least one row.
  void (*largest)(Index rows, Index n, ConstRows x, float* y);
  // y = scale · Σ of the rows, in their order
  void (*scaled_sum)(Index rows, Index n, ConstRows x, float scale, float* y);
#if REKUR_TRAINING
  // dx[k][c] += dy[c] of the first row k that `largest` took y[c] from
  void (*largest_backward)(Index rows, Index n, ConstRows x, const float* y, const float* dy, Rows dx);
#endif
};

}  // namespace rekur::simd
