// How a bidirectional layer joins its two directions.
#pragma once

#include "rekur/tensor.hpp"

namespace rekur::layers {

enum class MergeMode : std::uint8_t { concat, sum, mul, ave };

// a, b [rows, H] -> y: [rows, 2H] (concat) or [rows, H].
void merge(MergeMode mode, const float* a, const float* b, float* y, Index rows, Index H);

// dy -> da, db [rows, H], overwritten. Except for concat, da may be dy.
void merge_backward(MergeMode mode, const float* a, const float* b, const float* dy, float* da, float* db, Index rows, Index H);

}  // namespace rekur::layers
