// What a layer is in a stream: one time step of it, (B, F) to (B, F), with all it needs in memory that is there before.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "layers/layer.hpp"

namespace rekur::layers {

// One call of an op. An array stands in the table of the stream's arrays, for which the graph has a number each.
struct StreamCall {
  Index batch = 0;
  void* const* arrays = nullptr;
  const int *inputs = nullptr, *outputs = nullptr;
  float* memory = nullptr;  // StreamOp::memory(batch) floats, 64-byte aligned, zero before the first step

  const float* input(int i = 0) const { return static_cast<const float*>(arrays[inputs[i]]); }
  const std::int32_t* ids(int i = 0) const { return static_cast<const std::int32_t*>(arrays[inputs[i]]); }
  float* output(int k = 0) const { return static_cast<float*>(arrays[outputs[k]]); }
};

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
  // Allocates nothing, takes no lock, makes no system call: so no threads, and kernels only through the table it has kept.
  virtual void step(const StreamCall& call, int turn) const noexcept = 0;

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

   private:
    Step step_;
  };
  return std::make_unique<Op>(std::move(step));
}

}  // namespace rekur::layers
