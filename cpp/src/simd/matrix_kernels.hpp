// What every ISA provides to layers whose state is a matrix a head: passes of such a state through some steps of a sequence.
//
// In memory a state is [rows][lanes] floats, both multiples of kMatrixPad, filled up with zeros; so are the numbers of a step.
// Every step is computed alike whatever its place among the steps of a call, so cutting a sequence anywhere changes no bit.
#pragma once

#include "rekur/tensor.hpp"

namespace rekur::simd {

inline constexpr Index kMatrixPad = 16;

constexpr Index matrix_padded(Index n) { return (n + kMatrixPad - 1) / kMatrixPad * kMatrixPad; }

// Numbers of each step: step t at data + t · stride.
struct Steps {
  const float* data = nullptr;
  Index stride = 0;
};
struct StepsOut {
  float* data = nullptr;
  Index stride = 0;
};

// What a state is multiplied by at each step.
enum class Decay : std::uint8_t {
  none,
  one,    // a number for all of it
  rows,   // a number a row
  lanes,  // a number a lane
};

// A state S through `count` steps, all that it is added and multiplied by known beforehand:
//   forward     S ← a S   early_out = Sᵀ early   S ← S + x yᵀ   out = Sᵀ z
//   backwards   S ← S + x yᵀ   out = Sᵀ z   S ← S + x2 y2ᵀ   S ← a S        from the last step to the first
// x, z, early and x2 are numbers of the rows, y, y2 and the outputs of the lanes. The parts of early and of x2 are left out where
// they are null, and then a number a lane is possible for a.
struct MatrixSweep {
  Index count, rows, lanes;
  float* state;
  bool backwards;
  Decay decay;
  Steps a, x, y, z;
  StepsOut out;
  Steps early, x2, y2;
  StepsOut early_out;
};

// The delta rule, whose steps correct what the state S has at k; Decay::none or Decay::one:
//   forward     S ← a S   r = v - Sᵀ k   S ← S + k (β r)ᵀ   out = Sᵀ q        computed as (S before)ᵀ q + (q · k) β r
//   backwards   S ← S + q vᵀ   r = Sᵀ k   S ← S - k (β r)ᵀ   S ← a S          from the last step to the first; no out
// k and q are numbers of the rows (here any number, of the numbers of a step up to its filling zeros), v, r and out of the lanes; β
// and a are a number a step.
struct MatrixDelta {
  Index count, rows, lanes;
  float* state;
  bool backwards;
  Decay decay;
  Steps a, beta, k, q, v;
  StepsOut r, out;
};

// How numbers of a projection become those of a step.
enum class MatrixGate : std::uint8_t {
  scale,        // s x
  silu,         // x σ(x)
  unit,         // s u / √(|u|² + 1e-6), u = x σ(x)
  decay,        // σ(x)^s
  sigmoid,      // σ(x)
  log_sigmoid,  // ln σ(x); no backward pass
  exp,          // e^(s x); no backward pass
};

// `count` steps of n numbers from `from` to `to`, where they are filled up with zeros to a multiple of kMatrixPad.
struct MatrixPack {
  Index count, n;
  MatrixGate gate;
  float s;
  Steps from;
  StepsOut to;
};

// Its backward pass: `d` is the gradient of the numbers made, of a decay that of its logarithm; `out` gets n numbers a step.
struct MatrixUnpack {
  Index count, n;
  MatrixGate gate;
  float s;
  Steps from, d;
  StepsOut out;
};

// The norm and the gate behind it.
struct MatrixNormForm {
  float epsilon;
  bool centre;   // o - mean(o) in place of o
  bool sigmoid;  // the gate is σ(z), not z σ(z)
};

// At each of `count` places: y = gamma ⊙ o / √(mean(o²) + epsilon) ⊙ gate(z), n numbers each; z null: without that factor.
struct MatrixNorm {
  Index count, n;
  MatrixNormForm form;
  Steps gamma, o, z;
  StepsOut y;
};

// Its backward pass. d: gradient of y; d_o (may be where d is) and d_z: gradients of o and of z; d_gamma: += [n], or null.
struct MatrixNormBackward {
  Index count, n;
  MatrixNormForm form;
  Steps gamma, o, z, d;
  StepsOut d_o, d_z, d_gamma;
};

// At each of `count` steps, from the last to the first: sum += q ⊙ dq - k ⊙ (g + early), then g -= early; `out` gets the sums, or
// with `one` their own sum. early: null for zeros. sum: [2][padded n], what rounding took from the sums behind them.
struct MatrixDecayGradient {
  Index count, n;
  bool one;
  Steps q, dq, k, early;
  StepsOut g, out;
  float* sum;
};

struct MatrixKernels {
  void (*sweep)(const MatrixSweep&);
  void (*delta)(const MatrixDelta&);
  void (*pack)(const MatrixPack&);
  void (*norm)(const MatrixNorm&);
  // to = by from, n numbers a step and one of `by`; in place
  void (*scale_steps)(Index count, Index n, Steps by, Steps from, StepsOut to);
#if REKUR_TRAINING
  void (*unpack)(const MatrixUnpack&);
  void (*norm_backward)(const MatrixNormBackward&);
  void (*decay_gradient)(const MatrixDecayGradient&);
  // to = a · b, a number a step
  void (*dot_steps)(Index count, Index n, Steps a, Steps b, StepsOut to);
#endif
};

}  // namespace rekur::simd
