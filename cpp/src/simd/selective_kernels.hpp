// What every ISA provides to SelectiveSSM: a scan whose decays, inputs and outputs depend on the input, and the short causal
// convolution before it. Numbers of a step stand as Steps say; a matrix has rows of `stride` floats, a channel each. Channels are
// lanes and know nothing of each other, but for the gradients of b and c, and every step is computed alike: neither where a
// sequence is cut nor which channels stand in a call changes a bit.
#pragma once

#include "simd/matrix_kernels.hpp"

namespace rekur::simd {

inline constexpr Index kScanChunk = 16;  // steps between the states that are kept for the backward pass

// Through `count` steps, with d = softplus(dt):
//   h[n] ← e^(d a[n]) h[n] + d x b[n]      y = (Σ_n c[n] h[n] + skip x) silu(z)
struct SelectiveScan {
  Index count, channels, states, stride;
  const float *a, *skip;  // [states] rows, none of whose numbers is positive; one row
  float* h;               // [states] rows, in place
  Steps x, dt, z;         // a number a channel
  Steps b, c;             // a number a state
  StepsOut y;
  float* marks;  // [⌈count / kScanChunk⌉][states] rows: h before each chunk of steps; or null
  float* work;   // scan_work(states) floats
};

constexpr Index scan_work(Index states) { return 2 * states * kMatrixPad; }

// Its backward pass.
struct SelectiveBackward {
  Index count, channels, states, stride;
  const float *a, *skip, *marks;
  Steps x, dt, z, b, c;
  Steps d_y;
  float* d_h;     // [states] rows: the gradient of h after the last step, in place that of h before the first
  float* shares;  // [states + 1] rows, written: the gradients of ln(-a) and of skip
  StepsOut d_x, d_dt, d_z;
  StepsOut d_bc;  // of b, then of c: what these channels give
  float* work;    // scan_backward_work(states) floats
};

constexpr Index scan_backward_work(Index states) {
  return (4 * kScanChunk + 5) * states * kMatrixPad + (3 * kScanChunk + kMatrixPad) * kMatrixPad +
         2 * kScanChunk * states * kMatrixPad;
}

// y = silu(v) at each of `count` steps, v = bias + Σ_j w[j] x of step t - (taps - 1) + j. Before the first step stand the
// taps - 1 rows `before`, the latest last.
struct CausalConvolution {
  Index count, channels, taps, stride;
  const float *w, *bias;  // [taps] rows; one row, or null
  const float* before;    // [taps - 1] rows
  Steps x;
  StepsOut y;
};

// Its backward pass. d_y is overwritten by the gradient of v.
struct ConvolutionBackward {
  CausalConvolution run;  // y is not looked at
  StepsOut d_y;
  const float* d_after;  // [taps - 1] rows: the gradients of the last taps - 1 of before and x, or null
  float* d_before;       // [taps - 1] rows, or null
  float* shares;         // [taps + 1] rows, written: the gradients of w and of bias
  StepsOut d_x;
};

struct SelectiveKernels {
  void (*scan)(const SelectiveScan&);
  void (*convolve)(const CausalConvolution&);
#if REKUR_TRAINING
  void (*scan_backward)(const SelectiveBackward&);
  void (*convolve_backward)(const ConvolutionBackward&);
#endif
};

}  // namespace rekur::simd
