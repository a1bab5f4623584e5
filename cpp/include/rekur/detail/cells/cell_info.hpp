// What the recurrent engine must know of a cell besides its equations. Ordinary C++: no vectors here.
#pragma once

#include <limits>

#include "rekur/activation.hpp"

namespace rekur::cells {

inline constexpr int kMaxGates = 4;
inline constexpr int kMaxSlots = 5;   // vectors a cell keeps per unit and step for its backward pass
inline constexpr int kMaxStates = 2;  // h, then c
inline constexpr int kMaxPeepholes = 3;

// A recurrent product: its results belong to the `count` slots from `first` on. Its input is the previous hidden state h
// (input_slot -1), or what an earlier phase of the same step left in tape slot `input_slot`.
struct Phase {
  int first;
  int count;
  int input_slot;
};

// A gate that looks at its unit's own state c, through a weight a unit: at c before the step, or at the new one.
struct Peephole {
  int slot;
  bool new_c;
};

// Which product a call of a cell's forward or backward follows or precedes.
template <int P>
struct PhaseTag {};

// A step's record in the tape is `slots` blocks of H (padded) floats. In the forward pass a gate slot holds the activated gate;
// the backward pass overwrites it, in place, by the gradient of the loss with respect to the gate's pre-activation.
struct CellInfo {
  const char* name;
  int gates;             // G: the kernel is [I, G·H], the recurrent kernel [H, G·H]
  int states;            // 1: h; 2: h and c
  int slots;             // blocks of the tape record; state c, if any, is kept in slot `state_slot`
  int state_slot;        // -1 without a second state
  int x_first, x_count;  // slots whose gradients flow to the input projection: [x_first, x_first + x_count)
  int phases;            // recurrent products a step: 1, or 2 where the candidate needs the reset state first
  Phase phase[2];
  int kernel_block[kMaxSlots];  // gate slot -> which block of H columns of the kernel (and recurrent kernel) belongs to it
  bool recurrent_bias;          // the bias is [2, G·H] (input row, recurrent row) instead of [G·H]
  int peepholes = 0;            // rows of the parameter `peephole`, [peepholes, H]
  Peephole peephole[kMaxPeepholes] = {};
  int forget_gate = -1;  // slot of the gate that keeps the state where it is 1, if it has a bias of its own: it may start at 1
};

// The pointwise functions of a cell. gate: σ of the gates; candidate: of the new content; output: of c on its way to h (LSTM).
// What gate and candidate are given is clamped to ±clip first; infinity: not at all.
struct Activations {
  Activation gate;
  Activation candidate;
  Activation output;
  float clip = std::numeric_limits<float>::infinity();

  bool clips() const { return clip < std::numeric_limits<float>::infinity(); }
};

}  // namespace rekur::cells
