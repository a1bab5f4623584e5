// Layers of one cell, one on the other, whose weights and arrays are another library's and stay where they are: what rekur.torch
// calls. No layer of a spec: it goes to the recurrent engine itself.
//
// Weights are in torch's order: by layer and direction weight_ih [G·H, I], weight_hh [G·H, P], with biases bias_ih [G·H] and
// bias_hh [G·H], with a projection weight_hr [P, H]. G gates; P: the width of h. States are [layers·directions, B, P] and, c,
// [layers·directions, B, H].
#pragma once

#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graph/arena.hpp"
#include "recurrent/recurrent.hpp"

namespace rekur::bindings {

struct StackSizes {
  std::string cell;           // "lstm", "gru", "rnn_tanh", "rnn_relu"
  Index I = 1, H = 1, P = 0;  // P 0: h has H units
  std::size_t layers = 1, directions = 1;
  bool bias = true;
};

// What both passes of a call read.
struct StackInputs {
  Index T = 0, B = 0;
  recurrent::Strided<const float> x;          // (B, T, I); where packed its rows follow one another, step by step
  const std::int64_t* batch_sizes = nullptr;  // [T], descending: rows of each step where packed; null: B of each
  const float* initial[2] = {};               // h, c; null: zeros
  std::vector<const float*> weights;
  std::vector<const float*> masks;  // by layer but the last, of its outputs' rows, step by step; null, or none at all: no dropout
};

class Stack;

// What a training pass leaves for its backward pass, which consumes it.
class StackTape {
 public:
  StackTape() = default;
  // In memory of somebody else's, on a cache line's border. Behind it stands one float more, which says whether the tape is used:
  // that is known then wherever the memory goes.
  StackTape(float* memory, Index size) : memory_(memory), size_(size) {}
  ~StackTape() { release(); }
  StackTape(const StackTape&) = delete;
  StackTape& operator=(const StackTape&) = delete;
  bool used() const { return memory_ != nullptr ? memory_[size_] != 0.0f : used_; }

 private:
  friend class Stack;
  void set_used(bool used) {
    used_ = used;
    if (memory_ != nullptr) memory_[size_] = used ? 1.0f : 0.0f;
  }
  // Where so many floats stand.
  float* take(Index size, const std::shared_ptr<graph::ArenaPool>& pool);
  void release() {
    if (pool_) pool_->give(std::exchange(arena_, graph::Arena()));
  }

  std::shared_ptr<graph::ArenaPool> pool_;
  graph::Arena arena_;
  float* memory_ = nullptr;
  Index size_ = 0;
  bool used_ = false;
};

struct StackGradients {
  recurrent::Strided<const float> dy;  // rows as x's; null: none arrives
  const float* d_final[2] = {};
  recurrent::Strided<float> dx;
  float* d_initial[2] = {};       // null, as dx: not wanted
  std::vector<float*> d_weights;  // likewise
};

class Stack {
 public:
  explicit Stack(const StackSizes& sizes);

  std::size_t weight_count() const { return sizes_.layers * sizes_.directions * per_run_; }
  std::size_t layers() const { return sizes_.layers; }
  std::size_t states() const { return states_; }

  // Floats of a tape of T·B steps and rows, at most: the first times T·B, and the second.
  std::pair<Index, Index> tape_size() const;

  // y (B, T, directions·P), rows as x's, null: not wanted. final: as the initial ones. tape: for what backward needs; null:
  // nothing.
  void forward(const StackInputs& in, recurrent::Strided<float> y, float* const (&final)[2], StackTape* tape);
  void backward(const StackInputs& in, StackTape& tape, const StackGradients& g);

 private:
  struct Rows;    // where the rows of a call stand
  struct Places;  // of a tape
  using Lock = std::shared_lock<std::shared_mutex>;

  std::size_t runs() const { return sizes_.layers * sizes_.directions; }
  Index width() const { return static_cast<Index>(sizes_.directions) * P_; }
  Index state_width(std::size_t s) const { return s == 0 ? P_ : sizes_.H; }
  recurrent::Weights<const float> weights_of(const StackInputs& in, std::size_t run) const;
  Lock prepare(const StackInputs& in);
  Places places(const StackInputs& in, const Rows& rows, bool training) const;
  recurrent::Forward describe(const StackInputs& in, const Rows& rows, std::size_t run) const;
  const float* mask(const StackInputs& in, std::size_t layer) const { return layer < in.masks.size() ? in.masks[layer] : nullptr; }
  // Layers from `first` on that go through one call.
  std::size_t together(const StackInputs& in, std::size_t first) const;

  StackSizes sizes_;
  Index P_;
  std::size_t states_ = 1, per_run_ = 2;
  Index gates_ = 1;
  Index bias_size_ = 0;  // floats of a run's biases as the engine has them
  std::vector<recurrent::Recurrence> engines_;
  std::vector<std::vector<float>> bias_;  // by run
  std::vector<std::uint64_t> version_;    // by run: the fingerprint of what is packed
  std::shared_mutex mutex_;               // whoever packs has it alone
  std::shared_ptr<graph::ArenaPool> pool_ = std::make_shared<graph::ArenaPool>();
};

}  // namespace rekur::bindings
