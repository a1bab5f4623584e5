// A loop in a stream whose states are as long as a constant (coverage): the loop's own run, of one step. Such a body computes on
// the constant at every step, for which a program of ops has no form.
#include <algorithm>
#include <limits>
#include <vector>

#include "graph/arena.hpp"
#include "graph/loop.hpp"
#include "layers/stream_op.hpp"

namespace rekur::graph {
namespace {

using layers::Context;
using layers::RowSteps;
using layers::StreamCall;
using layers::TensorSpec;

// In memory: whether the constants stand in the order of the rows; the states that have one size. In the memory that grows with
// what is whole: the states that do, the constants, room for states after a step, and the run's own.
class LoopRunOp final : public layers::StreamOp {
 public:
  struct Part {
    std::string name;
    Shape shape;  // of a row's: without the batch
    bool long_as_whole;
    Index floats;  // of one step of that, or of all
    Index size(Index steps) const { return long_as_whole ? floats * steps : floats; }
  };

  // inputs: of the loop, steps first, as it has them for a batch and one step; states: the last ones of them.
  LoopRunOp(std::unique_ptr<Loop> loop, std::span<const float> weights, std::vector<TensorSpec> inputs, std::vector<Part> constants,
            std::vector<Part> states, std::size_t steps, std::size_t leader)
      : loop_(std::move(loop)),
        weights_(weights.begin(), weights.end()),
        inputs_(std::move(inputs)),
        constants_(std::move(constants)),
        states_(std::move(states)),
        steps_(steps),
        leader_(leader) {
    loop_->prepare(weights_.data(), 1, false);
  }

  bool allocates() const override { return true; }
  Index memory(Index batch) const override { return kLineFloats + states_size(batch, 0, false); }
  Index whole_memory(Index batch, Index steps) const override {
    Index size = states_size(batch, steps, true) + 2 * (states_size(batch, steps, true) + states_size(batch, steps, false));
    for (const Part& part : constants_) size += aligned(element_count({batch, part.size(steps)}));
    return size + aligned(loop_->tape_size(specs(batch, steps), false));
  }

  std::vector<layers::StreamState> states(Index batch) const override { return listed(batch, 0, false); }
  std::vector<layers::StreamState> whole_states(Index batch, Index steps) const override { return listed(batch, steps, true); }

  bool leads(std::size_t input) const override { return input == leader_; }
  Index whole_floats(Index steps) const override {
    Index size = 0;
    for (const Part& part : constants_)
      if (part.long_as_whole) size += part.size(steps);
    return size;
  }
  void take_whole(std::span<const float* const> inputs, Index steps, float* to) const override {
    for (std::size_t c = 0; c < constants_.size(); ++c)
      if (constants_[c].long_as_whole) to = std::copy_n(inputs[steps_ + c], constants_[c].size(steps), to);
  }

  void settle(const StreamCall& call) const override { *reinterpret_cast<Index*>(call.memory) = 0; }

  void step(const StreamCall& call, int) const noexcept override {
    try {
      run(call);
    } catch (...) {  // there was no memory: whoever reads this finds that it is no number
      for (std::size_t k = 0; k < call.outputs.size(); ++k)
        *static_cast<float*>(call.arrays[call.outputs[k]]) = std::numeric_limits<float>::quiet_NaN();
    }
  }

 private:
  Index states_size(Index batch, Index steps, bool long_ones) const {
    Index size = 0;
    for (const Part& part : states_)
      if (part.long_as_whole == long_ones) size += aligned(element_count({batch, part.size(steps)}));
    return size;
  }

  std::vector<layers::StreamState> listed(Index batch, Index steps, bool long_ones) const {
    std::vector<layers::StreamState> found;
    Index at = long_ones ? 0 : kLineFloats;
    for (const Part& part : states_) {
      if (part.long_as_whole != long_ones) continue;
      const Index units = part.size(steps);
      found.push_back({part.name.c_str(), units, units, {at, at}});
      at += aligned(batch * units);
    }
    return found;
  }

  std::vector<TensorSpec> specs(Index batch, Index steps) const {
    std::vector<TensorSpec> found = inputs_;
    for (std::size_t i = 0; i < found.size(); ++i) {
      Shape& shape = found[i].shape;
      shape[0] = batch;
      if (i < steps_)
        shape[1] = 1;
      else
        std::replace(shape.begin() + 1, shape.end(), kUnknown, steps);
    }
    return found;
  }

  void run(const StreamCall& call) const {
    const Index B = call.batch, S = call.whole_steps;
    float* at = call.whole_memory + states_size(B, S, true);
    const auto take = [&](Index floats) { return std::exchange(at, at + aligned(floats)); };
    const bool gathered = std::exchange(*reinterpret_cast<Index*>(call.memory), 1) != 0;
    std::vector<std::int32_t> lengths;
    for (Index row = 0; row < B; ++row) lengths.push_back(static_cast<std::int32_t>(call.whole[row].steps));
    std::vector<const void*> inputs;
    for (std::size_t i = 0; i < steps_; ++i) inputs.push_back(call.arrays[call.inputs[i]]);
    Index before = 0;  // floats a step of what is whole, in front
    for (std::size_t c = 0; c < constants_.size(); ++c) {
      const Part& part = constants_[c];
      if (!part.long_as_whole) {
        inputs.push_back(call.arrays[call.inputs[steps_ + c]]);
        continue;
      }
      float* const to = take(B * part.size(S));
      for (Index row = 0; !gathered && row < B; ++row) {
        const Index steps = call.whole[row].steps;
        float* const end = std::copy_n(call.whole[row].data + before * steps, part.size(steps), to + row * part.size(S));
        std::fill(end, to + (row + 1) * part.size(S), 0.0f);
      }
      before += part.floats;
      inputs.push_back(to);
    }
    // States, and where they are put after the step.
    float* const fixed = call.memory + kLineFloats;
    std::vector<float*> own, after;
    Index long_at = 0, fixed_at = 0;
    for (const Part& part : states_) {
      Index& place = part.long_as_whole ? long_at : fixed_at;
      own.push_back((part.long_as_whole ? call.whole_memory : fixed) + place);
      place += aligned(B * part.size(S));
      after.push_back(take(B * part.size(S)));
      inputs.push_back(own.back());
    }
    const std::vector<TensorSpec> in = specs(B, S), out = loop_->infer(in);
    std::vector<float*> outputs;
    const std::size_t results = out.size() - states_.size();
    for (std::size_t k = 0; k < results; ++k) outputs.push_back(static_cast<float*>(call.arrays[call.outputs[k]]));
    outputs.insert(outputs.end(), after.begin(), after.end());
    const RowSteps axes[] = {{.T = 1}, {.lengths = lengths.data(), .T = S}, {.T = S}};
    Context context;
    context.input_specs = in;
    context.output_specs = out;
    context.inputs = inputs;
    context.outputs = outputs;
    context.weights = weights_.data();
    context.axes = axes;
    context.tape = take(loop_->tape_size(in, false));
    loop_->forward(context);
    for (std::size_t s = 0; s < states_.size(); ++s) std::copy_n(after[s], B * states_[s].size(S), own[s]);
    for (std::size_t k = results; k < call.outputs.size(); ++k)
      std::copy_n(after[k - results], B * states_[k - results].size(S), static_cast<float*>(call.arrays[call.outputs[k]]));
  }

  std::unique_ptr<Loop> loop_;
  std::vector<float> weights_;
  std::vector<TensorSpec> inputs_;
  std::vector<Part> constants_, states_;
  std::size_t steps_, leader_;  // leader: the input whose rows have lengths
};

}  // namespace

std::unique_ptr<const layers::StreamOp> Loop::stream_by_runs(const layers::StreamBuild& build) const {
  Settings settings = s_;
  settings.return_sequences = settings.return_state = true;
  auto body = std::make_unique<Graph>(body_->spec(), Graph::WithoutWeights());
  auto loop = std::make_unique<Loop>(type(), name(), std::move(body), settings);
  std::vector<layers::TensorSpec> inputs;
  std::vector<LoopRunOp::Part> constants, states;
  for (std::size_t i = 0; i < steps_ + constants_ + states_; ++i) {
    layers::TensorSpec spec = body_input(i);
    // The axis of the steps, that of the first constant, whose rows have lengths, and one of all its steps.
    const bool open = spec.has_time() && spec.shape[1] == kUnknown;
    spec.time_source = !spec.has_time() ? -1 : !open ? 0 : i == held_ ? 1 : 2;
    if (i >= steps_) {
      LoopRunOp::Part part{body_->inputs()[i].name, Shape(spec.shape.begin() + 1, spec.shape.end()), false, 1};
      for (const Index size : part.shape) {
        part.long_as_whole = part.long_as_whole || size == kUnknown;
        part.floats *= size == kUnknown ? 1 : size;
      }
      (is_state(i) ? states : constants).push_back(std::move(part));
    }
    inputs.push_back(std::move(spec));
  }
  if (!std::is_partitioned(states.begin(), states.end(), [](const LoopRunOp::Part& part) { return !part.long_as_whole; }))
    cannot_stream("states that are as long as a constant stand before others");
  // Attention to another constant than the one whose rows have lengths would not know its own.
  for (const Node& node : body_->topology().nodes) {
    if (!node.layer->takes_whole(1) || node.inputs.size() < 2) continue;
    const int constant = body_->topology().input_of[static_cast<std::size_t>(node.inputs[1])];
    if (constant >= 0 && static_cast<std::size_t>(constant) != held_)
      cannot_stream("its body attends to '%' beside '%'",
                    {body_->inputs()[static_cast<std::size_t>(constant)].name, body_->inputs()[held_].name});
  }
  loop->infer(inputs);
  const std::span<const float> weights(build.weights, static_cast<std::size_t>(body_->parameter_count()));
  return std::make_unique<LoopRunOp>(std::move(loop), weights, std::move(inputs), std::move(constants), std::move(states), steps_,
                                     held_);
}

}  // namespace rekur::graph
