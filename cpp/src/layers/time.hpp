// Time axes: what a layer makes of one, and which steps of it a run's rows have.
#pragma once

#include <cstdint>

#include "rekur/tensor.hpp"

namespace rekur::layers {

// What a layer makes of the time axis of its input: L steps become steps_after(change, L), all T and those of every row alike.
//   windows of `span` steps, `stride` apart:  span, stride        cut or padded:  add < 0, add > 0        repeated: up
struct TimeChange {
  bool changed = false;  // false: the axis is the input's, with its mask. A mask ends at a changed axis, lengths follow.
  bool own = false;      // the axis is the layer's own: all of its steps are valid
  Index up = 1, add = 0, span = 1, stride = 1;

  bool operator==(const TimeChange&) const = default;
};

// max(0, floor((steps · up + add - span) / stride) + 1); a row without steps stays without. kUnknown for kUnknown.
Index steps_after(const TimeChange& change, Index steps);

// The valid steps of the rows of a time axis, in one run.
struct RowSteps {
  const std::int32_t* lengths = nullptr;  // [B] how many a row has; null: all T
  const std::int32_t* list = nullptr;     // [B][T] which they are, ascending; null: the first ones
  const std::uint8_t* valid = nullptr;    // [B][T] the same as flags; null where there is no list
  const std::uint8_t* resets = nullptr;   // [B][T] counted along a row's valid steps: where another sequence begins; null: nowhere
  bool mask = false;                      // they come from a mask: at the others an output repeats the one before (Keras)
  Index T = 0;

  Index length(Index row) const { return lengths ? lengths[row] : T; }
  // The row's valid step number k.
  Index at(Index row, Index k) const { return list ? list[row * T + k] : k; }
  bool is_valid(Index row, Index t) const { return valid ? valid[row * T + t] != 0 : t < length(row); }
};

}  // namespace rekur::layers
