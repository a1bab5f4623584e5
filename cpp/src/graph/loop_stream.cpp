// A loop in a stream: its body as a program, gone through once a step.
#include <algorithm>
#include <utility>

#include "graph/arena.hpp"
#include "graph/loop.hpp"
#include "graph/program.hpp"
#include "layers/stream_op.hpp"

namespace rekur::graph {
namespace {

using layers::StreamCall;
using layers::StreamState;
using layers::WholeRow;

constexpr Index kAddress = sizeof(void*) / sizeof(float), kNumber = sizeof(Index) / sizeof(float);  // in floats

// Floats of a row of an array; of one that is as long as what is whole, of a step of it.
struct RowSize {
  Index floats = 1;
  bool long_as_whole = false;

  explicit RowSize(const Shape& shape) {
    for (std::size_t d = 1; d < shape.size(); ++d) {
      if (shape[d] == kUnknown)
        long_as_whole = true;
      else
        floats *= shape[d];
    }
  }
};

// In memory: a table of what `settle` has worked out; the loop's states; addresses of the body's arrays, those arrays, and of each
// op its memory and its rows of what is whole. Arrays that are as long as what is whole stand in the memory that grows with it.
class LoopOp final : public layers::StreamOp {
 public:
  struct State {
    std::string name;
    int array;  // that the body reads it from
    int next;   // … and leaves it in
    Index units;
  };
  // An op's state that is one of the loop's.
  struct Own {
    std::size_t instruction, number, state;
  };

  LoopOp(std::shared_ptr<const Program> program, std::vector<int> given, std::vector<State> states, std::vector<int> outputs)
      : program_(std::move(program)), given_(std::move(given)), states_(std::move(states)), outputs_(std::move(outputs)) {
    for (const TensorInfo& array : program_->arrays) arrays_.emplace_back(array.shape);
    for (const Program::Initial& initial : program_->initial)
      for (std::size_t s = 0; s < states_.size(); ++s)
        if (initial.tensor == states_[s].array) own_.push_back({initial.instruction, initial.state, s});
    for (const Program::Beginning& b : program_->beginnings) {
      const auto input = std::find(given_.begin(), given_.end(), b.array);
      input_of_.push_back(static_cast<std::size_t>(input - given_.begin()));
    }
    for (const State& s : states_)
      for (const State& other : states_) passes_on_ = passes_on_ || (&s != &other && s.next == other.array);
  }

  Index memory(Index batch) const override { return places(batch, 0).size; }
  Index whole_memory(Index batch, Index steps) const override { return places(batch, steps).whole_size; }

  std::vector<StreamState> states(Index batch) const override {
    std::vector<StreamState> found;
    Index at = table_size();
    for (const State& s : states_) {
      found.push_back({s.name.c_str(), s.units, s.units, {at, at}});
      at += aligned(batch * s.units);
    }
    return found;
  }

  bool recurs() const override { return true; }

  // Where the ops' memory and the states in it stand.
  void settle(const StreamCall& call) const override {
    Index* table = reinterpret_cast<Index*>(call.memory);
    for (const Program::Instruction& instruction : program_->instructions) {
      const Index memory = instruction.op->memory(call.batch);
      *table++ = instruction.op->states(call.batch).empty() ? 0 : memory;
      *table++ = aligned(memory);
    }
    for (const Own& own : own_) {
      const StreamState s = program_->instructions[own.instruction].op->states(call.batch)[own.number];
      *table++ = s.at[0];
      *table++ = s.stride;
    }
  }

  bool leads(std::size_t input) const override {
    for (const Program::Instruction& instruction : program_->instructions)
      for (std::size_t j = 0; j < instruction.whole.size(); ++j)
        if (instruction.whole[j] >= 0 && instruction.op->leads(j) &&
            input_of_[static_cast<std::size_t>(instruction.whole[j])] == input)
          return true;
    return false;
  }

  Index whole_floats(Index steps) const override {
    Index size = 0;
    for (const Program::Instruction& instruction : program_->instructions)
      if (!instruction.whole.empty()) size += aligned(instruction.op->whole_floats(steps));
    return size;
  }

  void take_whole(std::span<const float* const> inputs, Index steps, float* to) const override {
    for (const Program::Instruction& instruction : program_->instructions) {
      if (instruction.whole.empty()) continue;
      std::vector<const float*> of_op;
      for (const int which : instruction.whole)
        of_op.push_back(which < 0 ? nullptr : inputs[input_of_[static_cast<std::size_t>(which)]]);
      instruction.op->take_whole(of_op, steps, to);
      to += aligned(instruction.op->whole_floats(steps));
    }
  }

  void step(const StreamCall& call, int) const noexcept override {
    const Index batch = call.batch;
    void** const arrays = reinterpret_cast<void**>(call.memory + table_size() + states_size(batch));
    float* at = point(call, arrays);
    const Index* const sizes = reinterpret_cast<const Index*>(call.memory);
    std::size_t with_whole = 0;
    for (std::size_t k = 0; k < program_->instructions.size(); ++k) {
      const Program::Instruction& instruction = program_->instructions[k];
      StreamCall inner;
      inner.batch = batch;
      inner.arrays = arrays;
      inner.inputs = instruction.inputs;
      inner.outputs = instruction.outputs;
      inner.memory = std::exchange(at, at + sizes[2 * k + 1]);
      inner.whole_steps = call.whole_steps;
      // What a body of one step keeps for the next is nothing but the loop's states.
      std::fill_n(inner.memory, sizes[2 * k], 0.0f);
      begin(call, k, inner.memory);
      if (!instruction.whole.empty()) {
        WholeRow* const rows = reinterpret_cast<WholeRow*>(std::exchange(at, at + whole_rows(batch)));
        for (Index row = 0; row < batch; ++row)
          rows[row] = {call.whole[row].data + before(with_whole, call.whole[row].steps), call.whole[row].steps,
                       call.whole[row].places};
        inner.whole = rows;
        ++with_whole;
      }
      instruction.op->step(inner, 0);
    }
    hand_on(call, arrays);
  }

 private:
  struct Places {
    Index size, whole_size;
  };

  Index table_size() const { return aligned(static_cast<Index>(2 * (program_->instructions.size() + own_.size())) * kNumber); }
  Index states_size(Index batch) const {
    Index size = 0;
    for (const State& state : states_) size += aligned(batch * state.units);
    return size;
  }
  Index addresses() const { return aligned(static_cast<Index>(arrays_.size()) * kAddress); }
  static Index whole_rows(Index batch) { return aligned(batch * static_cast<Index>(sizeof(WholeRow) / sizeof(float))); }

  Places places(Index batch, Index steps) const {
    constexpr Index kMost = Index{1} << 40;  // rows of one float each, more than there is memory anywhere
    if (batch > kMost) throw_out_of_memory("not enough memory for a stream of % rows", {batch});
    Index size = table_size() + addresses(), whole_size = 0;
    for (const State& state : states_) size += (passes_on_ ? 2 : 1) * aligned(element_count({batch, state.units}));
    for (const RowSize& row : arrays_) {
      const Index floats = aligned(element_count({batch, row.floats})) + 16;
      if (row.long_as_whole)
        whole_size += element_count({floats, steps});
      else
        size += floats;
    }
    for (const Program::Instruction& instruction : program_->instructions) {
      size += aligned(instruction.op->memory(batch));
      if (!instruction.whole.empty()) size += whole_rows(batch);
    }
    return {size, whole_size};
  }

  // Where, in what is whole of a row, that of an op begins: the ops' parts stand one after the other, as long as the row is.
  Index before(std::size_t with_whole, Index steps) const noexcept {
    Index at = 0;
    std::size_t count = 0;
    for (const Program::Instruction& instruction : program_->instructions) {
      if (instruction.whole.empty()) continue;
      if (count++ == with_whole) break;
      at += aligned(instruction.op->whole_floats(steps));
    }
    return at;
  }

  // The addresses of the arrays: the caller's, the states, or here. Returns what stands behind them.
  float* point(const StreamCall& call, void** arrays) const noexcept {
    float* at = call.memory + table_size() + states_size(call.batch) + addresses();
    float* whole = call.whole_memory;
    for (std::size_t i = 0; i < arrays_.size(); ++i) {
      const Index floats = aligned(call.batch * arrays_[i].floats) + 16;
      if (arrays_[i].long_as_whole)
        arrays[i] = std::exchange(whole, whole + floats * call.whole_steps);
      else
        arrays[i] = std::exchange(at, at + floats);
    }
    for (std::size_t i = 0; i < given_.size(); ++i) arrays[given_[i]] = call.arrays[call.inputs[i]];
    float* state = call.memory + table_size();
    for (const State& s : states_) arrays[s.array] = std::exchange(state, state + aligned(call.batch * s.units));
    if (passes_on_) {
      for (const State& s : states_) {
        const Index floats = call.batch * s.units;
        arrays[s.array] = std::copy_n(static_cast<const float*>(arrays[s.array]), floats, at) - floats;
        at += aligned(floats);
      }
    }
    return at;
  }

  // The loop's states that an op has for its own.
  void begin(const StreamCall& call, std::size_t k, float* memory) const noexcept {
    const Index* table = reinterpret_cast<const Index*>(call.memory) + 2 * program_->instructions.size();
    for (const Own& own : own_) {
      const Index at = *table++, stride = *table++;
      if (own.instruction != k) continue;
      const float* from = call.memory + table_size();
      for (std::size_t s = 0; s < own.state; ++s) from += aligned(call.batch * states_[s].units);
      const Index units = states_[own.state].units;
      for (Index row = 0; row < call.batch; ++row) std::copy_n(from + row * units, units, memory + at + row * stride);
    }
  }

  // The outputs to the caller, then the states for the next step.
  void hand_on(const StreamCall& call, void* const* arrays) const noexcept {
    for (std::size_t k = 0; k < outputs_.size(); ++k) {
      const RowSize& row = arrays_[static_cast<std::size_t>(outputs_[k])];
      const Index floats = row.floats * (row.long_as_whole ? call.whole_steps : 1);
      std::copy_n(static_cast<const float*>(arrays[outputs_[k]]), call.batch * floats, call.output(static_cast<int>(k)));
    }
    float* to = call.memory + table_size();
    for (const State& s : states_) {
      if (arrays[s.next] != to) std::copy_n(static_cast<const float*>(arrays[s.next]), call.batch * s.units, to);
      to += aligned(call.batch * s.units);
    }
    const float* from = call.memory + table_size();
    for (std::size_t s = 0; outputs_.size() + s < call.outputs.size(); ++s) {
      std::copy_n(from, call.batch * states_[s].units, call.output(static_cast<int>(outputs_.size() + s)));
      from += aligned(call.batch * states_[s].units);
    }
  }

  std::shared_ptr<const Program> program_;
  std::vector<int> given_;  // by input of the loop: the body's array
  std::vector<State> states_;
  std::vector<int> outputs_;  // the body's arrays
  std::vector<RowSize> arrays_;
  std::vector<Own> own_;
  bool passes_on_ = false;             // a state's next value is another one as it was: bodies read copies
  std::vector<std::size_t> input_of_;  // by what the body begins with: the loop's input
};

}  // namespace

std::unique_ptr<const layers::StreamOp> Loop::stream(const layers::StreamBuild& build) const {
  const Topology& t = body_->topology();
  for (const Node& node : t.nodes)
    if (node.layer->type() == type()) cannot_stream("its body has a loop of its own, '%'", {node.layer->name()});
  std::vector<std::string> whole;
  for (std::size_t i = steps_; i < steps_ + constants_; ++i) {
    const bool timed = body_input(i).has_time();
    if (timed != build.is_whole(i))
      cannot_stream("its constant '%' is no input of the stream that is whole", {body_->inputs()[i].name});
    whole.push_back(body_->inputs()[i].name);
  }
  for (std::size_t s = 0; s < states_; ++s)
    if (body_input(steps_ + constants_ + s).shape[1] == kUnknown) return stream_by_runs(build);
  std::vector<int> given(t.inputs.begin(), t.inputs.begin() + static_cast<std::ptrdiff_t>(steps_ + constants_)), outputs;
  std::shared_ptr<const Program> program;
  try {
    program = make_lent_program(t, build.weights, whole);
  } catch (const OutOfMemory&) {
    throw;
  } catch (const Error& error) {
    cannot_stream("its body: %", {error.what()});
  }
  for (const Program::Instruction& instruction : program->instructions)
    if (instruction.flags >= 0) cannot_stream("a mask is made within its body");
  std::vector<LoopOp::State> states;
  for (std::size_t s = 0; s < states_; ++s) {
    const layers::TensorSpec& state = body_input(steps_ + constants_ + s);
    const Index units = RowSize(state.shape).floats;
    states.push_back(
        {body_->inputs()[steps_ + constants_ + s].name, t.inputs[steps_ + constants_ + s], program->outputs[outputs_ + s], units});
  }
  for (std::size_t k = 0; k < outputs_; ++k) outputs.push_back(program->outputs[k]);
  return std::make_unique<LoopOp>(std::move(program), std::move(given), std::move(states), std::move(outputs));
}

}  // namespace rekur::graph
