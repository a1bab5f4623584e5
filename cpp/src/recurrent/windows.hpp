// Training runs that keep little: checkpoints instead of a tape (Chen et al., "Training deep nets with sublinear memory cost",
// 2016).
//
// The steps are cut into windows, in the order in which the run takes them. The forward pass keeps the states between windows and
// the records of the last window alone; the backward pass takes the windows from the last to the first and makes the records of
// each once more, from the states before it. A window is a run by itself, of the whole batch, whose gradients of the states before
// it are those of the states after the window before. So every number is computed as without windows, in the same order: no bit
// changes. What that costs is a second forward pass.
#pragma once

#include <algorithm>
#include <span>

#include "recurrent/plan.hpp"

namespace rekur::recurrent {

// Steps of a window: so many that records and checkpoints together are few (an LSTM's record has 6 numbers a unit with its output,
// its states 2), and that the products of a window are no smaller than they must be. The same for all layers of a stack.
inline Index window_steps(Index T, Index B) {
  constexpr Index kLeastPairs = 512;
  Index steps = (kLeastPairs + B - 1) / std::max<Index>(B, 1);
  while (3 * steps * steps < T) steps += (steps + 7) / 8;
  return up_to(std::max<Index>(steps, 1), steps_together(B));
}

#if REKUR_TRAINING
inline bool in_windows(const Forward& run) { return run.tape != nullptr && run.window > 0 && run.T > run.window; }

// Where the sums of a run's weights a unit stand, [B][swept][Hp] floats in its tape; null: there are none.
inline float* unit_sums_of(const Backward& b) {
  if (b.unit_sums) return b.unit_sums;
  const Forward& f = b.forward;
  const auto& r = Engine::impl(*f.layer);
  if (r.cell.swept == 0 || !b.d_weights.unit_weights) return nullptr;
  return f.tape + aligned(records_size(r, in_windows(f) ? f.window : f.T, f.B, !f.y));
}

// What the tape of such a run holds, one after the other: the records of a window (`records` floats), the states between windows,
// two gradients of such states in turns, and the lengths of the rows within a window.
struct WindowTape {
  WindowTape(const Recurrence::Impl& r, Index T, Index B, Index records, Index window);

  Index between(Index i, int state) const { return checkpoints_ + i * states_ + state_[state]; }  // windows i and i + 1
  Index gradient(Index turn, int state) const { return gradients_ + turn * states_ + state_[state]; }

  Index lengths, size;

 private:
  Index state_[kMostStates], states_ = 0, checkpoints_, gradients_;
};

// All of one call, and of one number of windows: a stack, or directions.
void forward_in_windows(std::span<const Forward> runs);
void backward_in_windows(std::span<const Backward> runs);
#endif

}  // namespace rekur::recurrent
