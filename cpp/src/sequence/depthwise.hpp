// Convolution over time of each channel by itself: y[t, c] = bias[c] + Σ_k x[t · stride + k · dilation - pad, c] kernel[k, c].
#pragma once

#include "sequence/convolution.hpp"

namespace rekur::layers {

struct Depthwise {
  ConvolutionAxis axis;
  Index channels = 0;

  void forward(Index B, const ConvolutionSide& large, const float* x, const ConvolutionSide& small, const float* kernel,
               const float* bias, float* y) const;
#if REKUR_TRAINING
  // dx += …, at the valid steps
  void input_gradient(Index B, const ConvolutionSide& large, float* dx, const ConvolutionSide& small, const float* dy,
                      const float* kernel) const;
  // d_kernel += …
  void kernel_gradient(Index B, const ConvolutionSide& large, const float* x, const ConvolutionSide& small, const float* dy,
                       float* d_kernel) const;
#endif
};

}  // namespace rekur::layers
