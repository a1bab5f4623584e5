// What the outputs of recurrent layers are at steps that a mask leaves out: the output of the step before them in the order of the
// steps, before the first valid one the initial state (as Keras has it on jax), or zeros where the layer is told so.
#pragma once

#include "layers/layer.hpp"
#include "recurrent/recurrent.hpp"

namespace rekur::layers {

struct MaskedSteps {
  RowSteps steps;
  Index B = 0, F = 0;
  bool reverse = false;
  bool zeros = false;
};

// y: the outputs of a direction; initial: [B, F] or null, zeros.
void fill_masked_steps(const MaskedSteps& at, const recurrent::Strided<float>& y, const float* initial);
#if REKUR_TRAINING
// Adds the gradients that arrive there to those of the steps whose outputs they repeat; d_initial: [B, F] or null.
void fold_masked_gradients(const MaskedSteps& at, const recurrent::Strided<float>& dy, float* d_initial);
#endif

}  // namespace rekur::layers
