// What a layer is in a stream: one time step of it, (B, F) to (B, F), with all it needs in memory that is there before.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "layers/layer.hpp"

namespace rekur::layers {

// What an op keeps of a row of its inputs that are whole: those that do not step, of which all `steps` are there from the first
// step on, such as what an encoder gives.
struct WholeRow {
  const float* data = nullptr;
  Index steps = 0;
  const Index* places = nullptr;  // where they stand among the input's steps, ascending; null: they are the first ones
};

// One call of an op. An array stands in the table of the stream's arrays, for which the graph has a number each. Of several steps
// an array holds one after the other.
struct StreamCall {
  Index batch = 0;
  void* const* arrays = nullptr;
  std::span<const int> inputs, outputs;
  float* memory = nullptr;       // StreamOp::memory(batch) floats, 64-byte aligned, zero before the first step
  float* block = nullptr;        // StreamOp::block_memory(batch, steps) floats, 64-byte aligned: what a call of several steps needs
  const Index* bytes = nullptr;  // by array: a step of it
  void** moved = nullptr;        // another table of arrays, for StreamOp::steps
  bool room = false;             // behind the outputs a vector may be written over
#if REKUR_SEQUENCE
  const WholeRow* whole = nullptr;  // by row: what StreamOp::take_whole has made
  Index whole_steps = 0;            // most that a row has; an array that is as long has so many numbers a row
  float* whole_memory = nullptr;    // StreamOp::whole_memory floats, 64-byte aligned, zero before the first step
#endif

  // Of several steps, the one number t: good until the next call of `at`.
  StreamCall at(Index t) const;

  const float* input(int i = 0) const { return static_cast<const float*>(arrays[inputs[static_cast<std::size_t>(i)]]); }
  const std::int32_t* ids(int i = 0) const { return static_cast<const std::int32_t*>(arrays[inputs[static_cast<std::size_t>(i)]]); }
  float* output(int k = 0) const { return static_cast<float*>(arrays[outputs[static_cast<std::size_t>(k)]]); }
};

#if REKUR_SEQUENCE
// What an op says of the sums of each row, of which its outputs are a softmax or which they are (StreamOp::ranks).
struct Ranking {
  Index count;           // greatest ones
  float* values;         // [batch][count], descending
  std::int32_t* places;  // [batch][count]
  Index* filled;         // [batch]: how many of them there are; the others are NaN
  float* log_sums;       // [batch]: ln Σ e^sum
  float* memory;         // StreamOp::rank_memory floats
};
#endif

// A state that an op carries from step to step: rows of `stride` floats, the first `units` of them the state, in the op's memory.
// A step of turn 0 reads it at[0] and leaves it at[1], one of turn 1 the other way round; both may be the same place.
struct StreamState {
  const char* name;
  Index units, stride;
  Index at[2];
  const float* initial = nullptr;  // [units], the op's: what each row begins as; null: zeros
};

// Shared by streams of any number of threads, so it never changes; it holds the weights it was made with, packed for the ISA of
// that time, and calls that ISA's kernels ever after.
class StreamOp {
 public:
  virtual ~StreamOp() = default;
  StreamOp(const StreamOp&) = delete;
  StreamOp& operator=(const StreamOp&) = delete;

  // Floats that a stream keeps for it; throws Error where that overflows.
  virtual Index memory(Index /*batch*/) const { return 0; }
  virtual std::vector<StreamState> states(Index /*batch*/) const { return {}; }
  // Whether all that a step reads of those before it are these states, numbers that may be taken from an earlier step, or from the
  // line between two.
  virtual bool recurs() const { return false; }
  // The number of rows is known, or another one: what a step would have to work out goes into memory. Before states are set.
  virtual void settle(const StreamCall& /*call*/) const {}
  // Allocates nothing, takes no lock, makes no system call: so no threads, and kernels only through the table it has kept.
  virtual void step(const StreamCall& call, int turn) const noexcept = 0;

  // Whether a step needs nothing of those before it: several are then one of as many times the rows, with memory for them.
  virtual bool rowwise() const { return false; }
  // Several steps, the first of this turn; to the bit what they are one by one, which is how they go where an op says nothing.
  virtual void steps(const StreamCall& call, int turn, Index count) const noexcept;
  virtual Index block_memory(Index /*batch*/, Index /*steps*/) const { return 0; }

#if REKUR_SEQUENCE
  // Of an op with inputs that are whole (StreamBuild::whole): the floats that it keeps of a row of so many steps, and what fills
  // them, before the first step. By input of the op: a row's [steps][F]; null for an input that steps. May allocate, and throw.
  virtual Index whole_floats(Index /*steps*/) const { return 0; }
  // Whether that input says which steps there are: of attention the values do, whatever is said of the keys. Those that do must
  // agree.
  virtual bool leads(std::size_t /*input*/) const { return true; }
  virtual void take_whole(std::span<const float* const> /*inputs*/, Index /*steps*/, float* /*to*/) const {}
  // Memory and states that grow with those steps.
  virtual Index whole_memory(Index /*batch*/, Index /*steps*/) const { return 0; }
  virtual std::vector<StreamState> whole_states(Index /*batch*/, Index /*steps*/) const { return {}; }

  // Whether a step takes memory: a Stream's must not, a Decoder's may.
  virtual bool allocates() const { return false; }

  // Whether the output is a softmax of sums, or the sums that a loss takes one of. Then a step may end in the sums themselves, or
  // in what is to be known of them without writing them to memory.
  virtual bool ranks() const { return false; }
  virtual void step_raw(const StreamCall& /*call*/) const noexcept {}
  virtual Index rank_memory(Index /*batch*/) const { return 0; }
  virtual void rank(const StreamCall& /*call*/, const Ranking& /*ranking*/) const noexcept {}
#endif

 protected:
  StreamOp() = default;
};

// An op without states or memory: step(call).
template <class Step>
std::unique_ptr<const StreamOp> make_stream_op(Step step) {
  class Op final : public StreamOp {
   public:
    explicit Op(Step s) : step_(std::move(s)) {}
    void step(const StreamCall& call, int) const noexcept override { step_(call); }
    bool rowwise() const override { return true; }

   private:
    Step step_;
  };
  return std::make_unique<Op>(std::move(step));
}

}  // namespace rekur::layers
