// Masks that a layer draws in training, and sequences times a mask that is the same at all their steps.
#pragma once

#include "layers/layer.hpp"

#if REKUR_TRAINING

namespace rekur::layers {

// Elements of a mask are 1/(1 - rate) or, with probability `rate`, 0. `purpose`, 0 to 254: the layer's masks of different
// purposes are independent of each other, and of what a Dropout layer draws in its place.
void draw_mask(const Context& run, std::uint32_t purpose, float rate, float* mask, Index n);

// out[b, t] = x[b, t] ⊙ mask[b], with x and out (B, T, F).
void multiply_sequence(const float* x, const float* mask, float* out, Index B, Index T, Index F);

// out[b, t] += x[b, t] ⊙ mask[b]
void add_masked_sequence(const float* x, const float* mask, float* out, Index B, Index T, Index F);

}  // namespace rekur::layers

#endif
