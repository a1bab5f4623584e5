// What stands behind a Stream: a program, and the memory of one batch of sequences. Private to graph/.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "graph/arena.hpp"
#include "graph/held_rows.hpp"
#include "graph/program.hpp"
#include "graph/state_delay.hpp"
#include "io/text.hpp"
#include "rekur/stream.hpp"
#include "runtime/checked.hpp"
#include "runtime/flush_briefly.hpp"

namespace rekur {

namespace graph {

// Steps that one layer takes before the next one does: so many that the weights of products are read often enough for all of them,
// and so few that what lies between the layers stays in the second-level cache.
inline constexpr Index kMostSteps = 32, kBlockFloats = 32 * 1024;
inline constexpr Index kRoom = 16;  // floats of the widest vector

// Elements of a batch of rows of this array, which is `steps` long where that was not known.
inline Index size_of(const TensorInfo& array, Index batch, Index steps = 0) {
  Shape shape = array.shape;
  shape[0] = batch;
  std::replace(shape.begin(), shape.end(), kUnknown, steps);
  return element_count(shape);
}

}  // namespace graph

struct Stream::Impl {
  using HeldRows = graph::HeldRows;

  struct Step {
    const layers::StreamOp* op;
    layers::StreamCall call;
    Index memory = 0, states = 0;  // floats of its memory; the first of its states
    float* past = nullptr;         // State::past of its states, one after the other
#if REKUR_SEQUENCE
    std::unique_ptr<const HeldRows> held;  // null: all rows are there
    float* held_memory = nullptr;
    std::vector<layers::WholeRow> whole;  // by row
    graph::Arena whole_floats;            // what these point into
    std::vector<std::vector<Index>> whole_places;
#endif
  };
  struct State {
    float* at[2];  // [batch][stride], before a step of turn 0 and of turn 1
    Index units, stride;
    const float* initial;  // [units], what a row begins as; null: zeros
    float* past =
        nullptr;  // [delay.past][rows][units], around from delay.newest on; null: the next step reads what this one leaves

    // The states of `age` steps before the last one, from 1 on, of a delay and so many rows.
    float* before(const graph::StateDelay& held, Index age, Index of) const { return past + held.slot(age) * of * units; }
  };
  // An output that another has too, or that is an input: it is not computed where the caller wants it.
  struct Copy {
    int array;
    std::size_t output;
  };

  // Where in `arrays` one that the caller gives stands.
  struct Caller {
    void** at;
    std::size_t number;
  };

  Impl(std::shared_ptr<const graph::Program> of, Index most_rows, double rate = 0, double model_rate = 0, const Memory& own = {})
      : program(std::move(of)), own_memory(own), batch(most_rows) {
    match_rate(rate, model_rate);
    arrays.resize(program->arrays.size());
    list_interface();
    if (program->has_whole) return;  // `begin` says how long what is whole is
    lay_out(0);
    warm_up();
  }

  // What a step of another rate than the model's reads (RateMatch).
  void match_rate(double rate, double model_rate) {
    if (rate == 0 || rate == model_rate) return;
    rate_match = model_rate == 0 ? RateMatch::unknown : rate < model_rate ? RateMatch::too_low : RateMatch::matched;
    if (rate_match != RateMatch::matched) return;
    delay = graph::StateDelay(rate / model_rate);
    for (const graph::Program::Instruction& i : program->instructions) {
      bool by_steps = !i.op->recurs() && !i.op->states(batch).empty();
#if REKUR_SEQUENCE
      by_steps = by_steps || i.flags >= 0 || !i.op->whole_states(batch, 1).empty();
#endif
      if (by_steps) rate_match = RateMatch::partly;
    }
  }

  // Steps before the first, one by one and together: whatever they touch, their code and the stack too, is then in memory.
  void warm_up() {
    std::vector<const void*> x;
    std::vector<float*> y;
    std::vector<graph::Arena> room;
    const auto room_for = [&](const TensorInfo& info, const char* what) {
      return room.emplace_back(element_count({graph::size_of(info, batch), block}), what).data();
    };
    for (const TensorInfo& info : inputs) x.push_back(room_for(info, "an input"));
    for (const TensorInfo& info : outputs) y.push_back(room_for(info, "an output"));
    step(x.data(), y.data());
    process(x.data(), y.data(), block);
    turn = 0;
    reset(0, batch);
  }

  // How many steps go together. Where states are read late, what a step reads is made between two.
  Index choose_block() const {
    if (delay.past > 0) return 1;
    Index floats = 1;  // a step's
    const auto add = [&floats](Index more) {
      if (add_overflows(floats, more, &floats)) throw_out_of_memory("the arrays of a stream do not fit in memory");
    };
    for (const TensorInfo& array : program->arrays) add(graph::size_of(array, batch, whole_steps));
    for (const auto& instruction : program->instructions) add(instruction.op->block_memory(batch, 1));
    return std::clamp<Index>(graph::kBlockFloats / floats, 1, graph::kMostSteps);
  }

  // A place in the arena for every array and for the memory of every op. The caller's arrays have theirs elsewhere.
  void lay_out(Index steps) {
    const Index before = std::exchange(whole_steps, steps);
    try {
      make_room();
    } catch (...) {
      whole_steps = before;
      rows = 0;
      plain = false;
      throw;
    }
  }

  void make_room() {
    block = choose_block();
    Index size = 0;
    const auto place = [&](Index floats) {
      const Index at = size;
      if (add_overflows(size, aligned(floats), &size)) throw_out_of_memory("the arrays of a stream do not fit in memory");
      return at;
    };
    struct Place {
      Index memory, block, past = 0, held = 0, whole = 0;
    };
    std::vector<Index> array_at;
    std::vector<Place> places;
    std::vector<bool> callers(program->arrays.size(), false);
    for (const auto* const list : {&program->inputs, &program->outputs})
      for (const int array : *list) callers[static_cast<std::size_t>(array)] = true;
    for (const graph::Program::Beginning& b : program->beginnings)
      if (b.array >= 0) callers[static_cast<std::size_t>(b.array)] = false;  // it stands here, and is copied where it is an output
    for (std::size_t i = 0; i < callers.size(); ++i) {
      const Index floats = graph::size_of(program->arrays[i], batch, whole_steps);
      array_at.push_back(place(callers[i] ? 0 : element_count({floats, block}) + graph::kRoom));
    }
    for (const auto& instruction : program->instructions) {
      const layers::StreamOp& op = *instruction.op;
      Place& at = places.emplace_back();
      at.memory = place(op.memory(op.rowwise() ? element_count({batch, block}) : batch));
      at.block = place(block > 1 ? op.block_memory(batch, block) : 0);
      Index units = 0;
      if (late(op))
        for (const layers::StreamState& s : op.states(batch)) units += s.units;
      at.past = place(element_count({delay.past, batch, units}));
#if REKUR_SEQUENCE
      at.held = place(held_memory(instruction));
      at.whole = place(op.whole_memory(batch, whole_steps));
#endif
    }
    arena = graph::Arena(size, "the arrays of a stream");
    std::fill_n(arena.data(), size, 0.0f);  // new memory is not there before it is written
    for (std::size_t i = 0; i < arrays.size(); ++i) arrays[i] = arena.data() + array_at[i];
    moved = arrays;
    bytes.assign(arrays.size(), 0);
    steps_.clear();
    for (std::size_t i = 0; i < places.size(); ++i) {
      const graph::Program::Instruction& from = program->instructions[i];
      Step& step = steps_.emplace_back();
      step.op = from.op.get();
      step.call = {
          batch,        arrays.data(), from.inputs, from.outputs, arena.data() + places[i].memory, arena.data() + places[i].block,
          bytes.data(), moved.data()};
      step.memory = from.op->memory(from.op->rowwise() ? element_count({batch, block}) : batch);
      step.past = arena.data() + places[i].past;
      step.call.room =
          std::none_of(from.outputs.begin(), from.outputs.end(), [&](int a) { return callers[static_cast<std::size_t>(a)]; });
#if REKUR_SEQUENCE
      step.held_memory = arena.data() + places[i].held;
      step.call.whole_memory = arena.data() + places[i].whole;
      step.call.whole_steps = whole_steps;
#endif
    }
    bind(batch);
  }

  // So many rows from now on: where everything of them stands.
  void bind(Index count) {
    rows = count;
    for (std::size_t i = 0; i < arrays.size(); ++i)
      bytes[i] = graph::size_of(program->arrays[i], rows, whole_steps) * static_cast<Index>(sizeof(float));
    for (TensorInfo& info : inputs) info.shape[0] = rows;
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      outputs[k].shape = program->arrays[static_cast<std::size_t>(program->outputs[k])].shape;
      outputs[k].shape[0] = rows;
      std::replace(outputs[k].shape.begin(), outputs[k].shape.end(), kUnknown, whole_steps);
    }
    states.clear();
    state_infos.clear();
    state_size = 0;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      const graph::Program::Instruction& from = program->instructions[i];
      Step& step = steps_[i];
      step.call.batch = rows;
      step.op->settle(step.call);
      step.states = static_cast<Index>(states.size());
      float* past = late(*from.op) ? step.past : nullptr;
      for (const layers::StreamState& s : from.op->states(rows)) add_state(from.layer, s, step.call.memory, &past);
#if REKUR_SEQUENCE
      for (const layers::StreamState& s : from.op->whole_states(rows, whole_steps))
        add_state(from.layer, s, step.call.whole_memory);
      if (from.flags >= 0) hold(from, step.call.memory, step.held_memory, step);
#endif
    }
    plain = may_be_plain && delay.past == 0;
#if REKUR_SEQUENCE
    for (const Step& s : steps_) plain = plain && !s.held;
#endif
  }

  // Whether its states are read late.
  bool late(const layers::StreamOp& op) const { return delay.past > 0 && op.recurs(); }

  // past: where there is room for State::past, which is moved on; null there: it is none of those.
  void add_state(const std::string& layer, const layers::StreamState& s, float* memory, float** past = nullptr) {
    State& state = states.emplace_back(State{{memory + s.at[0], memory + s.at[1]}, s.units, s.stride, s.initial});
    state_infos.push_back({compose("%/%", {layer, s.name}), {rows, s.units}, DType::float32});
    state_size += static_cast<std::size_t>(rows * s.units);
    if (past == nullptr || *past == nullptr) return;
    state.past = *past;
    *past += delay.past * rows * s.units;
    state_infos.push_back({compose("%/%/past", {layer, s.name}), {rows, delay.past, s.units}, DType::float32});
    state_size += static_cast<std::size_t>(rows * delay.past * s.units);
  }

#if REKUR_SEQUENCE
  static bool repeats(const graph::Program::Instruction& i) { return i.masked_step == layers::MaskedStep::last_output; }
  Index output_units(const graph::Program::Instruction& i) const {
    return graph::size_of(program->arrays[static_cast<std::size_t>(i.outputs[0])], 1, whole_steps);
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
    const auto take = [&](Index units) { return std::exchange(room, room + rows * units); };
    for (const layers::StreamState& s : from.op->states(rows))
      held.states.push_back(
          {{memory + s.at[0], memory + s.at[1]}, s.units, s.stride, s.at[0] == s.at[1] ? take(s.units) : nullptr});
    const auto keep = [&](const char* name, const float* initial) {
      float* const at = take(held.units);
      states.push_back(State{{at, at}, held.units, held.units, initial});
      state_infos.push_back({from.layer + name, {rows, held.units}, DType::float32});
      state_size += static_cast<std::size_t>(rows * held.units);
      return at;
    };
    if (repeats(from)) held.last = keep("/output", nullptr);
    if (from.adds_last_input) {
      // Before the first step nothing is added: whatever has -0 added stays as it is.
      float* const initial = room + rows * held.units;
      std::fill_n(initial, held.units, -0.0f);
      held.x = keep("/input", initial);
    }
    step.held = std::make_unique<const HeldRows>(std::move(held));
  }
#endif

  void list_interface() {
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
    for (const graph::Program::Beginning& b : program->beginnings) taken.push_back(b.array);
    for (std::size_t k = 0; k < program->outputs.size(); ++k) {
      const int array = program->outputs[k];
      outputs.push_back(info(array, program->output_names[k]));
      if (std::find(taken.begin(), taken.end(), array) == taken.end()) {
        taken.push_back(array);
        computed.push_back(k);
        outputs_at.push_back({&arrays[static_cast<std::size_t>(array)], k});
      } else {
        copies.push_back({array, k});
      }
    }
    floats_alone = inputs.size() == 1 && outputs.size() == 1 && inputs[0].dtype == DType::float32;
    may_be_plain = floats_alone && copies.empty();
    for (const graph::Program::Beginning& b : program->beginnings) {
      beginnings.push_back(b.info);
      beginnings.back().shape[0] = kUnknown;
    }
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

  std::size_t copied(const Copy& copy) const { return static_cast<std::size_t>(bytes[static_cast<std::size_t>(copy.array)]); }

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
    for (const Step *s = steps_.data(), *const end = s + steps_.size(); s != end; ++s) s->op->step(s->call, now);
  }

  void step(const void* const* x, float* const* y) noexcept {
    const runtime::FlushDenormalsBriefly flush;
    for (const Caller& from : inputs_at) *from.at = const_cast<void*>(x[from.number]);
    for (const Caller& to : outputs_at) *to.at = y[to.number];
    for (const Step& s : steps_) take(s, s.call, turn);
    for (const Copy& copy : copies) std::memcpy(y[copy.output], arrays[static_cast<std::size_t>(copy.array)], copied(copy));
    turn = 1 - turn;
    if (delay.past > 0) go_back();
  }

  // What the last step has left goes behind, and what the next one is to read comes to the front.
  void go_back() noexcept {
    const Index oldest = delay.slot(delay.past);
    for (const State& s : states) {
      if (s.past == nullptr) continue;
      float* const last = s.past + oldest * rows * s.units;
      const float* const near = delay.steps > 1 ? s.before(delay, delay.steps - 1, rows) : nullptr;
      for (Index row = 0, k = 0; row < rows; ++row) {
        float* const now = s.at[turn] + row * s.stride;
        for (Index i = 0; i < s.units; ++i, ++k) {
          const float left = now[i], later = near == nullptr ? left : near[k];
          now[i] = delay.far == 0 ? later : delay.near * later + delay.far * last[k];
          last[k] = left;
        }
      }
    }
    delay.newest = oldest;
  }

#if REKUR_SEQUENCE
  // Vectors that are there as a whole, once for each of `count` steps.
  void repeat_whole(Index count) noexcept {
    for (const graph::Program::Beginning& whole : program->beginnings) {
      if (whole.array < 0 || whole.timed) continue;
      const auto array = static_cast<std::size_t>(whole.array);
      char* const first = static_cast<char*>(arrays[array]);
      for (Index t = 1; t < count; ++t) std::memcpy(first + t * bytes[array], first, static_cast<std::size_t>(bytes[array]));
    }
  }
#endif

  // `count` steps, block by block, in each layer by layer.
  void process(const void* const* x, float* const* y, Index count) noexcept {
    const runtime::FlushDenormalsBriefly flush;
#if REKUR_SEQUENCE
    repeat_whole(std::min(block, count));
#endif
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
      for (const Step& s : steps_) take(s, n);
      for (const Copy& copy : copies)
        std::memcpy(reinterpret_cast<char*>(y[copy.output]) + static_cast<std::size_t>(begin) * copied(copy),
                    arrays[static_cast<std::size_t>(copy.array)], copied(copy) * static_cast<std::size_t>(n));
      turn = static_cast<int>((turn + n) % 2);
      if (delay.past > 0) go_back();
    }
  }

  void reset(Index begin, Index end) noexcept {
    for (const State& s : states) {
      std::fill(s.at[turn] + begin * s.stride, s.at[turn] + end * s.stride, 0.0f);
      for (Index row = begin; s.initial && row < end; ++row) std::copy_n(s.initial, s.units, s.at[turn] + row * s.stride);
      always(s, begin, end);
    }
  }

  // What was before the first step is as what it begins with.
  void always(const State& s, Index begin, Index end) noexcept {
    for (Index age = 1; s.past != nullptr && age <= delay.past; ++age)
      for (Index row = begin; row < end; ++row)
        std::copy_n(s.at[turn] + row * s.stride, s.units, s.before(delay, age, rows) + row * s.units);
  }

  // task(row of the caller's, row of the state's, units) over all states.
  template <class Task>
  void over_states(const Task& task) const noexcept {
    std::size_t at = 0;
    for (const State& s : states) {
      for (Index row = 0; row < rows; ++row, at += static_cast<std::size_t>(s.units))
        task(at, s.at[turn] + row * s.stride, s.units);
      for (Index row = 0; s.past != nullptr && row < rows; ++row)
        for (Index age = 1; age <= delay.past; ++age, at += static_cast<std::size_t>(s.units))
          task(at, s.before(delay, age, rows) + row * s.units, s.units);
    }
  }

#if REKUR_SEQUENCE
  // stream_whole.cpp
  void begin(const Batch& given);
  void select(std::span<const Index> from);
  void clear();  // the memory of all ops
#endif

  std::shared_ptr<const graph::Program> program;
  Memory own_memory;                 // where all of this comes from
  Index batch, rows = 0, block = 1;  // rows: those that there are of the batch
  Index whole_steps = 0;             // what there is room for, of inputs that are whole
  graph::Arena arena;
  std::vector<void*> arrays;  // by number; those of inputs and outputs are the caller's, anew every step
  std::vector<void*> moved;   // StreamCall::moved
  std::vector<Index> bytes;   // of a step, by array
  std::vector<Step> steps_;   // none before `begin`, where inputs are whole
  std::vector<State> states;
  std::vector<TensorInfo> inputs, outputs, state_infos, beginnings;
  std::vector<std::size_t> computed;          // outputs
  std::vector<Caller> inputs_at, outputs_at;  // of those that are computed
  std::vector<Copy> copies;
  bool floats_alone = false;  // one input of floats, one output
  bool may_be_plain = false;  // … and nothing is copied
  bool plain = false;         // step_plain does a step
  std::size_t state_size = 0;
  int turn = 0;  // which of two places a state is in
  graph::StateDelay delay;
  RateMatch rate_match = RateMatch::same;
};

}  // namespace rekur
