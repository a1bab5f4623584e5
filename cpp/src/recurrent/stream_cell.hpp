// A recurrent layer as a stream steps it: weights packed once, for the ISA in use then; no thread but the caller's.
#pragma once

#include <vector>

#include "recurrent/recurrence.hpp"

namespace rekur::recurrent {

class StreamCell {
 public:
  // Copies what it needs of the weights. single_row: every step will be of a batch of one.
  StreamCell(const cells::CellInfo& cell, const cells::Activations& activations, Index input_size, Index hidden_size,
             const Weights<const float>& weights, Precision precision, bool single_row);
#if REKUR_EQUATIONS
  StreamCell(std::shared_ptr<const Program> program, Index input_size, Index hidden_size, Index projection_size,
             const Weights<const float>& weights, Precision precision);
#endif

  int states() const { return engine_.description().states; }
  // Of state k's rows.
  Index units(int k) const { return engine_.state_width(k); }
  Index stride(int k) const { return k == 0 ? Pp_ : Hp_; }

  // Floats of memory that belong to a stream of `batch` rows; throws Error where that overflows.
  Index memory(Index batch) const;
  // Where in that memory state k [batch][stride(k)] stands before a step of this turn; after the step it stands where the other
  // turn finds it.
  Index state(int k, int turn, Index batch) const {
    const int place = program_ ? 2 * k + turn : k == 0 ? turn : 2;  // a compiled cell's c has one
    return place * state_size(batch);
  }

  // Floats beside it for calls of up to so many steps, if more than one.
  Index block_memory(Index batch, Index steps) const;

  // `count` steps, the first of `turn`: x [count, batch, I], a program's inputs a step [count, batch, H] or [count, batch, 1] ->
  // y [count, batch, units(0)]. The input's products of all steps come first. `memory` and `block` are 64-byte aligned.
  // room: behind y a vector may be written over.
  void steps(Index batch, int turn, Index count, const float* x, const float* const* step_inputs, float* y, float* memory,
             float* block, bool room) const noexcept {
#if REKUR_EQUATIONS
    if (by_row_ && batch == 1) return steps_of_row(turn, count, x, y, memory, block);
#endif
    if (!single_row_) return steps_of_rows(batch, turn, count, x, step_inputs, y, memory, block, room);
    float* const h[] = {memory + turn * row_size_, memory + (1 - turn) * row_size_};
    single_row_(packed_, {count, x, h, memory + 2 * row_size_, y, block, turn != 0, room});
  }

 private:
  void steps_of_rows(Index batch, int turn, Index count, const float* x, const float* const* step_inputs, float* y, float* memory,
                     float* block, bool room) const noexcept;
  Index state_places() const { return program_ ? 2 * states() : 3; }

  Index state_size(Index batch) const { return aligned(batch * Hp_); }
  void count_blocks();
  // Where the rows that are rounded for products stand: of x, then of what a step multiplies. own: behind the states.
  float* narrow_of(float* own, Index batch) const { return own + narrow_at(batch); }
  float* addresses_of(float* own, Index batch) const { return own + addresses_at(batch); }
  Index narrow_at(Index batch) const { return addresses_at(batch) + aligned(batch * 4 * kAddress); }
  Index addresses_at(Index batch) const { return aligned(batch * blocks_ * Hp_); }
  void step_rows(Index batch, int turn, const float* projections, const float* const* step_inputs, float* y,
                 float* memory) const noexcept;
#if REKUR_EQUATIONS
  struct ProgramStep;
  void step_program(const ProgramStep& step) const noexcept;
  void equations(const ProgramStep& step, int phase) const noexcept;
  void prepare_row();
  void steps_of_row(int turn, Index count, const float* x, float* y, float* memory, float* block) const noexcept;
  void step_row(int turn, const float* projections, float* y, float* memory) const noexcept;
  // Behind the rows that are rounded: the addresses of what is multiplied and of a step's inputs, then the memory of the code.
  float* sources_of(float* own, Index batch) const { return own + sources_at(batch); }
  Index sources_at(Index batch) const;
#endif

  static constexpr Index kAddress = sizeof(void*) / sizeof(float);  // floats that hold an address

  Recurrence engine_;                 // prepared where its kernels do the step
  const Program* program_ = nullptr;  // the engine's own
  Index Hp_, Pp_;
  Index blocks_ = 0;  // of Hp floats a row, beyond the states
  const simd::Kernels* simd_;
  kernels::CellSteps kernels_{};
  [[maybe_unused]] const kernels::Steps* steps_ = nullptr;
#if REKUR_EQUATIONS
  // Of a program of one phase that reads no inputs of a step and rounds nothing, what one row's step needs, made once.
  struct RowProduct {
    kernels::StepProduct product;
    int state, count;
  };
  std::vector<RowProduct> row_;
  bool by_row_ = false;
  Index row_products_ = 0, row_code_ = 0;  // where the products stand in its memory, and what the code needs
#endif
  kernels::SingleRowSteps single_row_ = nullptr;  // what does the steps instead, if not null
  kernels::SingleRow packed_{};
#if REKUR_INT8
  kernels::SingleRowInt8Step int8_step_ = nullptr;  // a single row's, of the engine's weights
  void step_int8(int turn, const float* x, const float* products, float* y, float* memory, bool room) const noexcept;
#endif
  Index row_size_ = 0;  // state_size(1)
  Buffer panels_;
};

}  // namespace rekur::recurrent
