// Masks that a layer draws in training, and sequences times a mask that is the same at all their steps.
#pragma once

#include "layers/layer.hpp"

#if REKUR_TRAINING

namespace rekur::layers {

// Elements of a mask are 1/(1 - rate) or, with probability `rate`, 0. `purpose`, 0 to 254: the layer's masks of different
// purposes are independent of each other, and of what a Dropout layer draws in its place.
void draw_mask(const Context& run, std::uint32_t purpose, float rate, float* mask, Index n);
// … drawn anew at each step of a loop that the layer runs in (Context::drawn_step).
void draw_step_mask(const Context& run, std::uint32_t purpose, float rate, float* mask, Index n);

// out[b, t, k] = x[b, t] ⊙ mask[b, k], with x (B, T, F) and k below `copies`.
void multiply_sequence(const float* x, const float* mask, float* out, Index B, Index T, Index F, Index copies);

// out[b, t] += Σ_k x[b, t, k] ⊙ mask[b, k], in ascending order.
void add_masked_sequence(const float* x, const float* mask, float* out, Index B, Index T, Index F, Index copies);

}  // namespace rekur::layers

#endif
