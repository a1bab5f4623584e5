// What the time loop knows of a cell, compiled (cells/list.hpp) or a program (program.hpp): how its weights, its products and its
// record in the tape are laid out. Ordinary data.
//
// A step's record in the tape is `slots` blocks of Hp floats. What the backward pass leaves in a slot in place of what stood there
// is the gradient of a block of products: of the input's, or of a recurrent one, or of both where it is the same. A row's numbers
// follow, one each.
#pragma once

#include <cstdint>
#include <vector>

#include "rekur/detail/cells/cell_info.hpp"
#include "rekur/tensor.hpp"
#include "runtime/lines.hpp"

namespace rekur::recurrent {

inline constexpr int kMostStates = 4;
inline constexpr int kMostMasks = 1 + kMostStates;  // of sequences, of steps by state

// A recurrent product: its results belong to the slots [first, first + count).
struct Product {
  int phase;  // of the step: it follows what the phases before have made, and comes before its own phase's equations
  int first, count;
  int state;               // what is multiplied: this state before the step; or, where it is -1,
  int slot = -1;           // what an earlier phase has left in this slot
  bool continues = false;  // the one before it has the same source; its gradient is added to that one's
  bool projects = false;   // its result is the first state after the step, of that state's width; its weights are the projection
};

// A weight a unit: its gradient is the sum, over steps and rows, of a slot's gradient times …
struct UnitWeight {
  // … one, a state before the step, or that state after it. Or the sweep itself adds it up by row, as the n-th of its sums.
  enum class With : std::uint8_t { one, previous, next, swept };
  int slot;  // or n
  With with;
  int state = 0;  // one of those in the record
};

struct Description {
  int kernel_blocks = 0, recurrent_blocks = 0;  // the kernel is [I, kernel_blocks·H], the recurrent kernel [H, recurrent_blocks·H]
  bool recurrent_bias = false;                  // after the bias [kernel_blocks·H] comes another, [recurrent_blocks·H]
  int states = 1;                               // the first is the output
  bool projects = false;                        // … and what the last product makes of a value: it has a width of its own
  int slots = 0;
  int numbers = 0;               // after the slots, numbers of the whole row
  int x_first = 0, x_count = 0;  // slots whose gradients flow to the input's product
  int phases = 1;
  std::vector<Product> products;                   // in the order of their phases
  std::vector<int> state_slot;                     // by state: where it stands in the record; -1 for the first, which is in y
  std::vector<int> kernel_block, recurrent_block;  // by slot: the block of columns that belongs to it; -1: none
  std::vector<UnitWeight> unit_weights;            // rows of [unit_weights, H]
  int swept = 0;                                   // of them, which the sweep adds up
};

Description describe(const cells::CellInfo& cell);

}  // namespace rekur::recurrent
