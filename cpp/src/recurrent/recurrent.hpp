// The recurrent engine: one time loop for every cell. Knows no cell by name.
//
//   T time steps · B batch rows · I input features · H hidden units · Hp: H rounded up to whole vectors
//   P: of a cell with a projection the width of the first state, which is the output; else H
//
// A Recurrence is one direction of one layer: its cell, sizes and packed weights. A run is described by a small struct of pointers;
// several runs (the directions of a bidirectional layer) go through one call and share the threads. Sequences are addressed by
// strides, so batch-first arrays and halves of a concatenated output are read and written in place.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "recurrent/description.hpp"
#include "rekur/detail/cells/cell_info.hpp"
#include "rekur/tensor.hpp"
#include "simd/kernels.hpp"

namespace rekur::recurrent {

// Element (t, b, f) of a sequence stands at data[b * stride_b + t * stride_t + f].
template <class T>
struct Strided {
  T* data = nullptr;
  Index stride_b = 0;
  Index stride_t = 0;

  T* row(Index b, Index t) const { return data + b * stride_b + t * stride_t; }
  explicit operator bool() const { return data != nullptr; }
};

// Weights in the user's layout (description.hpp): kernel [I, kernel_blocks·H], recurrent_kernel [P, recurrent_blocks·H], bias or
// null, unit_weights [unit weights, H] and projection [H, P] or, for a cell without, null.
template <class T>
struct Weights {
  T* kernel = nullptr;
  T* recurrent_kernel = nullptr;
  T* bias = nullptr;
  T* unit_weights = nullptr;
  T* projection = nullptr;
};

// The cells by name ("simple_rnn", "lstm", "gru", "gru_reset_before", "lstm_peephole", "lstm_coupled", "lstm_peephole_coupled");
// null for an unknown one, and
// for one that this build leaves out.
const cells::CellInfo* find_cell(const char* name);

class Program;

class Recurrence {
 public:
  // I, H >= 1; of a program that projects 1 <= P < H.
  Recurrence(const cells::CellInfo& cell, cells::Activations activations, Index input_size, Index hidden_size, bool bias);
#if REKUR_EQUATIONS
  // input_by_block: each block of the input's product reads an x of its own, block b features [b·I, (b + 1)·I) of what is given.
  Recurrence(std::shared_ptr<const Program> program, Index input_size, Index hidden_size, Index projection_size, bool bias,
             bool input_by_block = false);
#endif
  ~Recurrence();
  Recurrence(Recurrence&&) noexcept;
  Recurrence& operator=(Recurrence&&) noexcept;

  // Of products, to be followed by prepare. In int8 (simd/int8.hpp) the short ones stay float32 all the same.
  void set_precision(Precision precision);

#if REKUR_TRAINING
  // From now on matrices are given, and their gradients written, with a row a unit: kernel [kernel_blocks·H, I], recurrent_kernel
  // [recurrent_blocks·H, P], projection [P, H]. order: by block, the one whose place its rows have there; empty: its own. Products
  // are of float32 then.
  void set_units_first(const std::vector<int>& order);
#endif

  const Description& description() const;
  Index input_size() const;
  Index hidden_size() const;
  Index state_width(int state) const;

  // Makes the weights ready for runs. Packs again only if `version` or the ISA differ from the last call's, so it is cheap to
  // call before every run; the caller numbers the versions of its weights. What `backward` reads it packs itself.
  // Safe to call from several threads at once as long as they pass the same version.
  void prepare(const Weights<const float>& weights, std::uint64_t version) const;

  // Floats of the tape of a training run. With own_output the tape also keeps the outputs h (needed when the run has no y
  // of its own, i.e. return_sequences = false). With `window` as Forward's (windows.hpp).
  Index tape_size(Index T, Index B, bool own_output, Index window = 0) const;

  struct Impl;  // private to recurrent/

 private:
  friend struct Engine;
  std::unique_ptr<Impl> impl_;
};

// One forward run. Everything but x may be absent (null).
struct Forward {
  const Recurrence* layer = nullptr;
  Index T = 0, B = 0;
  Strided<const float> x;                      // (B, T, I), or where blocks read an x each (B, T, kernel_blocks·I)
  const Strided<const float>* step = nullptr;  // of a program: its inputs a step, (B, T, H) or (B, T, 1)
  // Of a program, in training: one a sequence, H floats a block of the recurrent kernel; one a step and state, H floats.
  Strided<const float> masks[kMostMasks];
  const std::int32_t* lengths =
      nullptr;  // [B], 0 <= length <= T; null: all T. Steps past a row's length cost nothing and yield zeros in y.
  // [B][T]: which steps those are, ascending, and what the y of the others holds is not the engine's affair; null: the first ones.
  const std::int32_t* list = nullptr;
  // [B][T], counted along the row's valid steps: from which on the states begin anew, onwards and backwards; null: none.
  const std::uint8_t* resets = nullptr;
  Index row_steps = 0;                     // how far apart rows stand in list and resets, where this is a window of a run; 0: T
  bool reverse = false;                    // from each row's last valid step to its first; y keeps the input's order
  std::uint8_t learned = 0;                // by bit: states whose initial ones resets bring, too, instead of zeros
  bool kept = false;                       // y is the outputs that the tape keeps, one after the other (parts.hpp)
  const float* initial[kMostStates] = {};  // h, c: [B, its width]; null: zeros
  // Where this is a window of a run: the run's `initial`; null: they are those above.
  const float* const* begun = nullptr;
  Strided<float> y;                // (B, T, P); null: not wanted
  float* final[kMostStates] = {};  // h, c after the last step taken, likewise. Length 0: the initial state
  float* tape = nullptr;           // tape_size(...) floats, 64-byte aligned, for a training run; null: inference
  Index tape_rows = 0;             // of the tape's batch where this run has only some of its rows (parts.hpp); 0: B
  Index window = 0;                // of a training run: so many steps' records are kept at a time (windows.hpp); 0: all
  // The run before this one in the same call, if its y is this run's x: a layer of a stack. Same T, B, lengths and direction.
  const Forward* source = nullptr;

  Index flag(Index b, Index t) const { return b * (row_steps > 0 ? row_steps : T) + t; }
  // Where row b's valid step t stands.
  Index place(Index b, Index t) const { return list ? list[flag(b, t)] : t; }
  // … its output: in y, or among those that the tape keeps, which are one after the other.
  Index output_place(Index b, Index t) const { return y && !kept ? place(b, t) : t; }
  // Whether row b's valid step t of `length` is its first of this run; and whether its states begin there, or begin anew.
  bool starts(Index t, Index length) const { return t == (reverse ? length - 1 : 0); }
  bool begins_anew(Index b, Index t, Index length) const {
    return resets && (reverse ? t + 1 < length && resets[flag(b, t + 1)] : resets[flag(b, t)] != 0);
  }
  bool begins(Index b, Index t, Index length) const { return starts(t, length) || begins_anew(b, t, length); }
  // Where state k of all rows stands as it is before such a step of row b; null: zeros.
  const float* beginning(int k, Index b, Index t, Index length) const { return begins_anew(b, t, length) ? anew(k) : initial[k]; }
  const float* anew(int k) const { return (learned >> k & 1) == 0 ? nullptr : begun ? begun[k] : initial[k]; }
};

// The backward pass of a training run: `forward` is that run's description, unchanged, its tape and (where given) y still holding
// what it left there. The tape is consumed. Gradients are added (+=) to what is there; null ones are not computed.
struct Backward {
  Forward forward;
  Weights<const float> weights;            // those the run was prepared with, still the same
  Strided<const float> dy;                 // null: no gradient arrives through y
  const float* d_final[kMostStates] = {};  // [B, its width]; null: none arrives
  Strided<float> dx;
  // Of a program, by input a step: where its gradient is written (not added), zeros past a row's length; null: not wanted.
  const Strided<float>* d_step = nullptr;
  float* d_initial[kMostStates] = {};  // [B, its width]
  float* const* d_begun = nullptr;     // as Forward::begun
  Weights<float> d_weights;
  bool fresh = false;  // d_weights hold nothing yet: they are written, not added to
  // Where this is a window or a part of a run: where its rows' sums of weights a unit stand, [B][swept][Hp].
  float* unit_sums = nullptr;
  // The run before this one in the same call, if its dx is this run's dy: the next layer of a stack, whose backward pass comes
  // first.
  const Backward* source = nullptr;

  float* d_anew(int k) const { return (forward.learned >> k & 1) == 0 ? nullptr : d_begun ? d_begun[k] : d_initial[k]; }
};

// Run all of them, sharing the threads of one parallel region. noexcept but for allocation failure (std::bad_alloc).
void forward(std::span<const Forward> runs);
void backward(std::span<const Backward> runs);

}  // namespace rekur::recurrent
