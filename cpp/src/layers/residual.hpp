// Residual connections of layers with a time axis: what is added stands at the valid steps only, so that padding stays zero.
#pragma once

#include "layers/elementwise.hpp"
#include "layers/time.hpp"

namespace rekur::layers {

// Sequences (B, T, F) and which of their steps are valid.
struct ValidSteps {
  Index B, T, F;
  RowSteps steps;
};

// to += from, both (B, T, F), at the valid steps.
void add_steps(const ValidSteps& at, const float* from, float* to);

// One step of each row with a valid one: its last, or with `first` its first. sequence (B, T, F), rows (B, F).
void add_step_to_rows(const ValidSteps& at, bool first, const float* sequence, float* rows);  // rows += that step
#if REKUR_TRAINING
void add_rows_to_step(const ValidSteps& at, bool first, const float* rows, float* sequence);  // that step += rows
#endif

}  // namespace rekur::layers
