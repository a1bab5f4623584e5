// A recurrent layer as a stream steps it: weights packed once, for the ISA in use then; no thread but the caller's.
#pragma once

#include "recurrent/recurrence.hpp"

namespace rekur::recurrent {

class StreamCell {
 public:
  // Copies what it needs of the weights. single_row: every step will be of a batch of one.
  StreamCell(const cells::CellInfo& cell, const cells::Activations& activations, Index input_size, Index hidden_size,
             const Weights<const float>& weights, bool single_row);

  int states() const { return engine_.cell().states; }
  Index units() const { return engine_.hidden_size(); }
  Index stride() const { return Hp_; }

  // Floats of memory that belong to a stream of `batch` rows; throws Error where that overflows.
  Index memory(Index batch) const;
  // Where in that memory state k [batch][stride()] stands before a step of this turn; after the step it stands where the other
  // turn finds it.
  Index state(int k, int turn, Index batch) const { return (k == 0 ? turn : 2) * state_size(batch); }

  // x [batch, I] -> y [batch, H]. `memory` is 64-byte aligned.
  void step(Index batch, int turn, const float* x, float* y, float* memory) const noexcept;

 private:
  static constexpr Index kStatePlaces = 3;  // h before and after a step, and c

  Index state_size(Index batch) const;
  void step_rows(Index batch, int turn, const float* x, float* y, float* memory) const noexcept;

  Recurrence engine_;  // prepared where its kernels do the step
  Index Hp_;
  const simd::Kernels* simd_;
  CellKernels kernels_;
  SingleRowStep single_row_ = nullptr;  // what does the step instead, if not null
  SingleRow packed_{};
  Buffer panels_;
};

}  // namespace rekur::recurrent
