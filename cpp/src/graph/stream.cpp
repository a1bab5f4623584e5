// Stream: a program, and the memory of one batch of sequences.
#include "rekur/stream.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "graph/arena.hpp"
#include "graph/graph.hpp"
#include "graph/held_rows.hpp"
#include "graph/program.hpp"
#include "io/text.hpp"
#include "runtime/flush_briefly.hpp"

namespace rekur {
namespace {

using graph::HeldRows;

const std::vector<TensorInfo> kNone;  // of a stream that was moved from

Index aligned(Index floats) { return (floats + 15) / 16 * 16; }

// Steps that one layer takes before the next one does: so many that the weights of products are read often enough for all of them,
// and so few that what lies between the layers stays in the second-level cache.
constexpr Index kMostSteps = 32, kBlockFloats = 32 * 1024;
constexpr Index kRoom = 16;  // floats of the widest vector

// Elements of a batch of rows of this array.
Index size_of(const TensorInfo& array, Index batch) {
  Shape shape = array.shape;
  shape[0] = batch;
  return element_count(shape);
}

// Whether these are other than so many arrays.
template <class T>
bool any_null(std::span<T* const> arrays, std::size_t expected) {
  return arrays.size() != expected || std::find(arrays.begin(), arrays.end(), nullptr) != arrays.end();
}

}  // namespace

struct Stream::Impl {
  struct Step {
    const layers::StreamOp* op;
    layers::StreamCall call;
#if REKUR_SEQUENCE
    std::unique_ptr<const HeldRows> held;  // null: all rows are there
#endif
  };
  struct State {
    float* at[2];  // [batch][stride], before a step of turn 0 and of turn 1
    Index units, stride;
    const float* initial;  // [units], what a row begins as; null: zeros
  };
  // An output that another has too, or that is an input: it is not computed where the caller wants it.
  struct Copy {
    int array;
    std::size_t output, bytes;
  };

  // Where in `arrays` one that the caller gives stands.
  struct Caller {
    void** at;
    std::size_t number;
  };

  Impl(const graph::Graph& graph, Index rows) : program(graph.program(rows == 1)), batch(rows) {
    lay_out();
    list_interface(graph);
    // Steps before the first, one by one and together: whatever they touch, their code and the stack too, is then in memory.
    std::vector<const void*> x;
    std::vector<float*> y;
    std::vector<graph::Arena> room;
    const auto room_for = [&](const TensorInfo& info, const char* what) {
      return room.emplace_back(element_count({element_count(info.shape), block}), what).data();
    };
    for (const TensorInfo& info : inputs) x.push_back(room_for(info, "an input"));
    for (const TensorInfo& info : outputs) y.push_back(room_for(info, "an output"));
    step(x.data(), y.data());
    process(x.data(), y.data(), block);
    turn = 0;
    reset(0, batch);
  }

  // How many steps go together.
  Index choose_block() const {
    Index floats = 1;  // a step's
    const auto add = [&floats](Index more) {
      if (__builtin_add_overflow(floats, more, &floats)) throw_out_of_memory("the arrays of a stream do not fit in memory");
    };
    for (const TensorInfo& array : program->arrays) add(size_of(array, batch));
    for (const auto& instruction : program->instructions) add(instruction.op->block_memory(batch, 1));
    return std::clamp<Index>(kBlockFloats / floats, 1, kMostSteps);
  }

  // A place in the arena for every array and for the memory of every op. The caller's arrays have theirs elsewhere.
  void lay_out() {
    block = choose_block();
    Index size = 0;
    const auto place = [&](Index floats) {
      const Index at = size;
      if (__builtin_add_overflow(size, aligned(floats), &size)) throw_out_of_memory("the arrays of a stream do not fit in memory");
      return at;
    };
    std::vector<Index> array_at, memory_at, block_at;
    std::vector<bool> callers(program->arrays.size(), false);
    for (const auto* const list : {&program->inputs, &program->outputs})
      for (const int array : *list) callers[static_cast<std::size_t>(array)] = true;
    for (std::size_t i = 0; i < callers.size(); ++i) {
      const Index floats = size_of(program->arrays[i], batch);
      array_at.push_back(place(callers[i] ? 0 : element_count({floats, block}) + kRoom));
      bytes.push_back(floats * static_cast<Index>(sizeof(float)));
    }
    for (const auto& instruction : program->instructions) {
      const layers::StreamOp& op = *instruction.op;
      memory_at.push_back(place(op.memory(op.rowwise() ? element_count({batch, block}) : batch)));
      block_at.push_back(place(block > 1 ? op.block_memory(batch, block) : 0));
    }
#if REKUR_SEQUENCE
    std::vector<Index> held_at;
    for (const auto& instruction : program->instructions) held_at.push_back(place(held_memory(instruction)));
#endif
    arena = graph::Arena(size, "the arrays of a stream");
    std::fill_n(arena.data(), size, 0.0f);  // new memory is not there before it is written
    for (const Index at : array_at) arrays.push_back(arena.data() + at);
    moved = arrays;
    for (std::size_t i = 0; i < memory_at.size(); ++i) {
      const graph::Program::Instruction& from = program->instructions[i];
      float* const memory = arena.data() + memory_at[i];
      Step& step = steps.emplace_back();
      step.op = from.op.get();
      step.call = {batch, arrays.data(), from.inputs, from.outputs, memory, arena.data() + block_at[i], bytes.data(), moved.data()};
      step.call.room =
          std::none_of(from.outputs.begin(), from.outputs.end(), [&](int a) { return callers[static_cast<std::size_t>(a)]; });
      for (const layers::StreamState& s : from.op->states(batch)) {
        states.push_back({{memory + s.at[0], memory + s.at[1]}, s.units, s.stride, s.initial});
        state_infos.push_back({compose("%/%", {from.layer, s.name}), {batch, s.units}, DType::float32});
        state_size += static_cast<std::size_t>(batch * s.units);
      }
#if REKUR_SEQUENCE
      if (from.flags >= 0) hold(from, memory, arena.data() + held_at[i], step);
#endif
    }
  }

#if REKUR_SEQUENCE
  static bool repeats(const graph::Program::Instruction& i) { return i.masked_step == layers::MaskedStep::last_output; }
  Index output_units(const graph::Program::Instruction& i) const {
    return size_of(program->arrays[static_cast<std::size_t>(i.outputs[0])], 1);
  }

  // Floats for the rows that a mask leaves out.
  Index held_memory(const graph::Program::Instruction& instruction) const {
    if (instruction.flags < 0) return 0;
    Index units = repeats(instruction) || instruction.adds_last_input ? output_units(instruction) : 0;
    for (const layers::StreamState& s : instruction.op->states(batch)) units += s.at[0] == s.at[1] ? s.units : 0;
    return element_count({batch + instruction.adds_last_input, units});  // a row more is what the last input begins as
  }

  void hold(const graph::Program::Instruction& from, float* memory, float* room, Step& step) {
    HeldRows held;
    held.kind = from.masked_step;
    held.flags = from.flags;
    held.units = output_units(from);
    held.states_out = static_cast<int>(from.outputs.size()) - 1;
    const auto take = [&](Index units) { return std::exchange(room, room + batch * units); };
    for (const layers::StreamState& s : from.op->states(batch))
      held.states.push_back(
          {{memory + s.at[0], memory + s.at[1]}, s.units, s.stride, s.at[0] == s.at[1] ? take(s.units) : nullptr});
    const auto keep = [&](const char* name, const float* initial) {
      float* const at = take(held.units);
      states.push_back({{at, at}, held.units, held.units, initial});
      state_infos.push_back({from.layer + name, {batch, held.units}, DType::float32});
      state_size += static_cast<std::size_t>(batch * held.units);
      return at;
    };
    if (repeats(from)) held.last = keep("/output", nullptr);
    if (from.adds_last_input) {
      // Before the first step nothing is added: whatever has -0 added stays as it is.
      float* const initial = room + batch * held.units;
      std::fill_n(initial, held.units, -0.0f);
      held.x = keep("/input", initial);
    }
    step.held = std::make_unique<const HeldRows>(std::move(held));
  }
#endif

  void list_interface(const graph::Graph& graph) {
    const auto info = [&](int array, std::string name) {
      TensorInfo one = program->arrays[static_cast<std::size_t>(array)];
      one.shape[0] = batch;
      one.name = std::move(name);
      return one;
    };
    for (const int array : program->inputs) {
      inputs_at.push_back({&arrays[static_cast<std::size_t>(array)], inputs.size()});
      inputs.push_back(info(array, program->arrays[static_cast<std::size_t>(array)].name));
    }
    std::vector<int> taken = program->inputs;
    for (std::size_t k = 0; k < program->outputs.size(); ++k) {
      const int array = program->outputs[k];
      outputs.push_back(info(array, graph.outputs()[k].name));
      if (std::find(taken.begin(), taken.end(), array) == taken.end()) {
        taken.push_back(array);
        computed.push_back(k);
        outputs_at.push_back({&arrays[static_cast<std::size_t>(array)], k});
      } else {
        copies.push_back({array, k, static_cast<std::size_t>(element_count(outputs.back().shape)) * sizeof(float)});
      }
    }
    floats_alone = inputs.size() == 1 && outputs.size() == 1 && inputs[0].dtype == DType::float32;
    plain = floats_alone && copies.empty();
#if REKUR_SEQUENCE
    for (const Step& s : steps) plain = plain && !s.held;
#endif
  }

  static void take(const Step& s, const layers::StreamCall& call, int turn) noexcept {
#if REKUR_SEQUENCE
    if (s.held) s.held->before(call, turn);
    s.op->step(call, turn);
    if (s.held) s.held->after(call, turn);
#else
    s.op->step(call, turn);
#endif
  }

  // Several steps of one op.
  void take(const Step& s, Index count) noexcept {
#if REKUR_SEQUENCE
    if (s.held) {
      for (Index t = 0; t < count; ++t) {
        const layers::StreamCall one = s.call.at(t);
        const auto flags = static_cast<std::size_t>(s.held->flags);
        moved[flags] = static_cast<char*>(arrays[flags]) + t * bytes[flags];
        take(s, one, (turn + static_cast<int>(t)) % 2);
      }
      return;
    }
#endif
    if (count > 1)
      s.op->steps(s.call, turn, count);
    else
      s.op->step(s.call, turn);
  }

  // What most streams are: one input of floats, one output, no row left out. Beside a small cell every instruction counts.
  void step_plain(const float* x, float* y) noexcept {
    const runtime::FlushDenormalsBriefly flush;
    *inputs_at[0].at = const_cast<float*>(x);
    *outputs_at[0].at = y;
    const int now = turn;
    turn = 1 - now;
    for (const Step *s = steps.data(), *const end = s + steps.size(); s != end; ++s) s->op->step(s->call, now);
  }

  void step(const void* const* x, float* const* y) noexcept {
    const runtime::FlushDenormalsBriefly flush;
    for (const Caller& from : inputs_at) *from.at = const_cast<void*>(x[from.number]);
    for (const Caller& to : outputs_at) *to.at = y[to.number];
    for (const Step& s : steps) take(s, s.call, turn);
    for (const Copy& copy : copies) std::memcpy(y[copy.output], arrays[static_cast<std::size_t>(copy.array)], copy.bytes);
    turn = 1 - turn;
  }

  // `count` steps, block by block, in each layer by layer.
  void process(const void* const* x, float* const* y, Index count) noexcept {
    const runtime::FlushDenormalsBriefly flush;
    for (Index begin = 0, n; begin < count; begin += n) {
      n = std::min(block, count - begin);
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const auto array = static_cast<std::size_t>(program->inputs[i]);
        arrays[array] = const_cast<char*>(static_cast<const char*>(x[i])) + begin * bytes[array];
      }
      for (const std::size_t k : computed) {
        const auto array = static_cast<std::size_t>(program->outputs[k]);
        arrays[array] = reinterpret_cast<char*>(y[k]) + begin * bytes[array];
      }
      for (const Step& s : steps) take(s, n);
      for (const Copy& copy : copies)
        std::memcpy(reinterpret_cast<char*>(y[copy.output]) + static_cast<std::size_t>(begin) * copy.bytes,
                    arrays[static_cast<std::size_t>(copy.array)], copy.bytes * static_cast<std::size_t>(n));
      turn = static_cast<int>((turn + n) % 2);
    }
  }

  void reset(Index begin, Index end) noexcept {
    for (const State& s : states) {
      std::fill(s.at[turn] + begin * s.stride, s.at[turn] + end * s.stride, 0.0f);
      for (Index row = begin; s.initial && row < end; ++row) std::copy_n(s.initial, s.units, s.at[turn] + row * s.stride);
    }
  }

  // task(row of the caller's, row of the state's, units) over all states.
  template <class Task>
  void over_states(const Task& task) const noexcept {
    std::size_t at = 0;
    for (const State& s : states)
      for (Index row = 0; row < batch; ++row, at += static_cast<std::size_t>(s.units))
        task(at, s.at[turn] + row * s.stride, s.units);
  }

  std::shared_ptr<const graph::Program> program;
  Index batch, block = 1;
  graph::Arena arena;
  std::vector<void*> arrays;  // by number; those of inputs and outputs are the caller's, anew every step
  std::vector<void*> moved;   // StreamCall::moved
  std::vector<Index> bytes;   // of a step, by array
  std::vector<Step> steps;
  std::vector<State> states;
  std::vector<TensorInfo> inputs, outputs, state_infos;
  std::vector<std::size_t> computed;          // outputs
  std::vector<Caller> inputs_at, outputs_at;  // of those that are computed
  std::vector<Copy> copies;
  bool floats_alone = false;  // one input of floats, one output
  bool plain = false;         // step_plain does a step
  std::size_t state_size = 0;
  int turn = 0;  // which of two places a state is in
};

Stream::Stream(const Model& model, const StreamOptions& options) {
  const graph::Graph& graph = model.graph();
  if (options.batch < 1) throw_error("stream: expected a batch of at least 1, got %", {options.batch});
  constexpr Index kMostRows = Index{1} << 40;  // of one float each, more than there is memory anywhere
  if (options.batch > kMostRows) throw_out_of_memory("not enough memory for a stream of % rows", {options.batch});
  try {
    impl_ = std::make_unique<Impl>(graph, options.batch);
  } catch (const std::bad_alloc&) {
    throw_out_of_memory("not enough memory for a stream of % rows", {options.batch});
  }
}

Stream::~Stream() = default;
Stream::Stream(Stream&&) noexcept = default;
Stream& Stream::operator=(Stream&&) noexcept = default;

const std::vector<TensorInfo>& Stream::inputs() const noexcept { return impl_ ? impl_->inputs : kNone; }
const std::vector<TensorInfo>& Stream::outputs() const noexcept { return impl_ ? impl_->outputs : kNone; }
const std::vector<TensorInfo>& Stream::states() const noexcept { return impl_ ? impl_->state_infos : kNone; }
std::size_t Stream::state_size() const noexcept { return impl_ ? impl_->state_size : 0; }

bool Stream::step(const float* x, float* y) noexcept {
  if (!impl_ || x == nullptr || y == nullptr || !impl_->floats_alone) return false;
  if (impl_->plain) {
    impl_->step_plain(x, y);
  } else {
    const void* const from = x;
    impl_->step(&from, &y);
  }
  return true;
}

bool Stream::step(std::span<const void* const> x, std::span<float* const> y) noexcept {
  if (!impl_ || any_null(x, impl_->inputs.size()) || any_null(y, impl_->outputs.size())) return false;
  impl_->step(x.data(), y.data());
  return true;
}

bool Stream::process(const float* x, float* y, Index count) noexcept {
  if (!impl_ || x == nullptr || y == nullptr || count < 0 || !impl_->floats_alone) return false;
  const void* const from = x;
  impl_->process(&from, &y, count);
  return true;
}

bool Stream::process(std::span<const void* const> x, std::span<float* const> y, Index count) noexcept {
  if (!impl_ || count < 0 || any_null(x, impl_->inputs.size()) || any_null(y, impl_->outputs.size())) return false;
  impl_->process(x.data(), y.data(), count);
  return true;
}

void Stream::reset() noexcept {
  if (impl_) impl_->reset(0, impl_->batch);
}

bool Stream::reset(Index row) noexcept {
  if (!impl_ || row < 0 || row >= impl_->batch) return false;
  impl_->reset(row, row + 1);
  return true;
}

bool Stream::get_state(std::span<float> state) const noexcept {
  if (!impl_ || state.size() != impl_->state_size) return false;
  impl_->over_states([&](std::size_t at, const float* row, Index units) { std::copy_n(row, units, state.data() + at); });
  return true;
}

bool Stream::set_state(std::span<const float> state) noexcept {
  if (!impl_ || state.size() != impl_->state_size) return false;
  impl_->over_states([&](std::size_t at, float* row, Index units) { std::copy_n(state.data() + at, units, row); });
  return true;
}

}  // namespace rekur
