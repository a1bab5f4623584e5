// The recurrent engine: one time loop for every cell. Knows no cell by name.
//
//   T time steps · B batch rows · I input features · H hidden units · Hp: H rounded up to whole vectors
//
// A Recurrence is one direction of one layer: its cell, sizes and packed weights. A run is described by a small struct of pointers;
// several runs (the directions of a bidirectional layer) go through one call and share the threads. Sequences are addressed by
// strides, so batch-first arrays and halves of a concatenated output are read and written in place.
#pragma once

#include <memory>
#include <span>

#include "rekur/detail/cells/cell_info.hpp"
#include "rekur/tensor.hpp"

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

// Weights in the user's layout: kernel [I, G·H], recurrent_kernel [H, G·H], bias [G·H] or [2, G·H] or null, peephole [peepholes, H]
// or, for a cell without, null.
template <class T>
struct Weights {
  T* kernel = nullptr;
  T* recurrent_kernel = nullptr;
  T* bias = nullptr;
  T* peephole = nullptr;
};

// The cells by name ("simple_rnn", "lstm", "gru", "gru_reset_before", "lstm_peephole", "lstm_coupled", "lstm_peephole_coupled");
// null for an unknown one, and
// for one that this build leaves out.
const cells::CellInfo* find_cell(const char* name);

class Recurrence {
 public:
  // I, H >= 1.
  Recurrence(const cells::CellInfo& cell, cells::Activations activations, Index input_size, Index hidden_size, bool bias);
  ~Recurrence();
  Recurrence(Recurrence&&) noexcept;
  Recurrence& operator=(Recurrence&&) noexcept;

  const cells::CellInfo& cell() const;
  Index input_size() const;
  Index hidden_size() const;

  // Makes the weights ready for runs. Packs again only if `version` or the ISA differ from the last call's, so it is cheap to
  // call before every run; the caller numbers the versions of its weights. What `backward` reads it packs itself.
  // Safe to call from several threads at once as long as they pass the same version.
  void prepare(const Weights<const float>& weights, std::uint64_t version) const;

  // Floats of the tape of a training run. With own_output the tape also keeps the outputs h (needed when the run has no y of
  // its own, i.e. return_sequences = false).
  Index tape_size(Index T, Index B, bool own_output) const;

  struct Impl;  // private to recurrent/

 private:
  friend struct Engine;
  std::unique_ptr<Impl> impl_;
};

// One forward run. Everything but x may be absent (null).
struct Forward {
  const Recurrence* layer = nullptr;
  Index T = 0, B = 0;
  Strided<const float> x;  // (B, T, I)
  const std::int32_t* lengths =
      nullptr;           // [B], 0 <= length <= T; null: all T. Steps past a row's length cost nothing and yield zeros in y.
  bool reverse = false;  // from each row's last valid step to its first; y keeps the input's order
  const float* initial[cells::kMaxStates] = {};  // h, c: [B, H]; null: zeros
  Strided<float> y;                              // (B, T, H); null: not wanted
  float* final[cells::kMaxStates] = {};          // h, c after the last step taken: [B, H]. Length 0: the initial state
  float* tape = nullptr;                         // tape_size(...) floats, 64-byte aligned, for a training run; null: inference
  // The run before this one in the same call, if its y is this run's x: a layer of a stack. Same T, B, lengths and direction.
  const Forward* source = nullptr;
};

// The backward pass of a training run: `forward` is that run's description, unchanged, its tape and (where given) y still holding
// what it left there. The tape is consumed. Gradients are added (+=) to what is there; null ones are not computed.
struct Backward {
  Forward forward;
  Weights<const float> weights;                  // those the run was prepared with, still the same
  Strided<const float> dy;                       // null: no gradient arrives through y
  const float* d_final[cells::kMaxStates] = {};  // [B, H]; null: none arrives
  Strided<float> dx;
  float* d_initial[cells::kMaxStates] = {};  // [B, H]
  Weights<float> d_weights;
  bool fresh = false;  // d_weights hold nothing yet: they are written, not added to
  // The run before this one in the same call, if its dx is this run's dy: the next layer of a stack, whose backward pass comes
  // first.
  const Backward* source = nullptr;
};

// Run all of them, sharing the threads of one parallel region. noexcept but for allocation failure (std::bad_alloc).
void forward(std::span<const Forward> runs);
void backward(std::span<const Backward> runs);

}  // namespace rekur::recurrent
