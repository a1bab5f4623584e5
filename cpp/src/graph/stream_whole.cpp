// What a stream begins with, and which of its rows go on.
#include <algorithm>
#include <vector>

#include "graph/stream_impl.hpp"
#include "io/text.hpp"
#include "runtime/checked.hpp"

namespace rekur {
namespace {

using Info = graph::Program::Beginning;

// The valid steps of a row of a whole sequence, ascending.
class WholeSteps {
 public:
  // Throws Error where lengths or mask do not fit.
  WholeSteps(const Batch& given, std::size_t i, const std::string& name, Index N, Index T) : T_(T) {
    if (i < given.lengths.size()) lengths_ = given.lengths[i];
    if (i < given.masks.size()) mask_ = given.masks[i];
    if (!lengths_.empty() && static_cast<Index>(lengths_.size()) != N)
      throw_error("stream: '%': expected % lengths, got %", {name, N, lengths_.size()});
    if (!mask_.empty() && static_cast<Index>(mask_.size()) != N * T)
      throw_error("stream: '%': expected a mask of % flags, got %", {name, N * T, mask_.size()});
    for (Index row = 0; row < static_cast<Index>(lengths_.size()); ++row) {
      const Index length = lengths_[static_cast<std::size_t>(row)];
      if (length < 0 || length > T) throw_error("stream: '%': row % has length %, which is not in 0 to %", {name, row, length, T});
    }
  }

  std::vector<Index> of(Index row) const {
    std::vector<Index> steps;
    const Index end = lengths_.empty() ? T_ : lengths_[static_cast<std::size_t>(row)];
    for (Index t = 0; t < end; ++t)
      if (mask_.empty() || mask_[static_cast<std::size_t>(row * T_ + t)] != 0) steps.push_back(t);
    return steps;
  }

 private:
  Index T_;
  std::span<const std::int32_t> lengths_;
  std::span<const std::uint8_t> mask_;
};

// The rows of `view`, as many as the batch has. Throws Error where the shape is another than the model's.
Index rows_given_by(const ConstView& view, const Info& info) {
  const Shape& expected = info.info.shape;
  bool fits = view.data != nullptr && view.dtype == DType::float32 && view.shape.size() == expected.size();
  for (std::size_t k = 1; fits && k < expected.size(); ++k)
    fits = view.shape[k] >= 0 && (expected[k] == kUnknown || expected[k] == view.shape[k]);
  if (!fits || view.shape[0] < 1)
    throw_error("stream: '%': expected float32 of shape %, got %", {info.info.name, expected, view.shape});
  return view.shape[0];
}

}  // namespace

void Stream::Impl::begin(const Batch& given) {
  const std::vector<Info>& all = program->beginnings;
  if (given.inputs.size() != all.size())
    throw_error("stream: expected % arrays to begin with, got %", {all.size(), given.inputs.size()});
  if (given.lengths.size() > all.size() || given.masks.size() > all.size())
    throw_error("stream: more lengths or masks than the % arrays that it begins with", {all.size()});
  for (const auto& resets : given.resets)
    if (!resets.empty()) throw_error("stream: resets are not for what a stream begins with");
  Index N = all.empty() ? batch : kUnknown, longest = 0;
  std::vector<WholeSteps> steps;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Index rows_given = rows_given_by(given.inputs[i], all[i]);
    if (N == kUnknown) N = rows_given;
    if (rows_given != N) throw_error("stream: '%': expected % rows, got %", {all[i].info.name, N, rows_given});
    const Index T = all[i].timed ? given.inputs[i].shape[1] : 1;
    if (all[i].timed) longest = std::max(longest, T);
    steps.emplace_back(given, i, all[i].info.name, N, T);
  }
  if (N > batch) throw_error("stream: expected at most % rows, got %", {batch, N});

  // What ops make of whole sequences, into memory that takes its place when all is there.
  std::vector<graph::Arena> floats(program->instructions.size());
  std::vector<std::vector<layers::WholeRow>> made(program->instructions.size());
  std::vector<std::vector<std::vector<Index>>> places(program->instructions.size());
  for (std::size_t k = 0; k < made.size(); ++k) {
    const graph::Program::Instruction& instruction = program->instructions[k];
    if (instruction.whole.empty()) continue;
    const layers::StreamOp& op = *instruction.op;
    int first = -1;
    for (std::size_t j = 0; j < instruction.whole.size() && first < 0; ++j)
      if (instruction.whole[j] >= 0 && op.leads(j)) first = instruction.whole[j];
    if (first < 0) first = *std::max_element(instruction.whole.begin(), instruction.whole.end());
    for (std::size_t j = 0; j < instruction.whole.size(); ++j) {
      const int i = instruction.whole[j];
      if (i < 0) continue;
      const std::string &name = all[static_cast<std::size_t>(i)].info.name,
                        &leader = all[static_cast<std::size_t>(first)].info.name;
      const Index T = given.inputs[static_cast<std::size_t>(first)].shape[1],
                  other = given.inputs[static_cast<std::size_t>(i)].shape[1];
      if (T != other)
        throw_error("stream: '%': expected % steps, as '%' has, which '%' reads with it, got %",
                    {name, T, leader, instruction.layer, other});
      for (Index row = 0; op.leads(j) && row < N; ++row)
        if (steps[static_cast<std::size_t>(i)].of(row) != steps[static_cast<std::size_t>(first)].of(row))
          throw_error(
              "stream: '%': row % has other steps than '%', which '%' reads with it; a stream needs the same lengths and masks",
              {name, row, leader, instruction.layer});
    }
    std::vector<std::vector<Index>>& valid = places[k];
    Index size = 0;
    for (Index row = 0; row < N; ++row) {
      valid.push_back(steps[static_cast<std::size_t>(first)].of(row));
      const Index of_row = aligned(op.whole_floats(static_cast<Index>(valid.back().size())));
      if (add_overflows(size, of_row, &size)) throw_out_of_memory("not enough memory for what a stream begins with");
    }
    floats[k] = graph::Arena(size, "what a stream begins with");
    float* to = floats[k].data();
    for (Index row = 0; row < N; ++row) {
      const std::vector<Index>& of_row = valid[static_cast<std::size_t>(row)];
      const Index count = static_cast<Index>(of_row.size());
      std::vector<std::vector<float>> packed(instruction.whole.size());
      std::vector<const float*> inputs_of_op(instruction.whole.size(), nullptr);
      for (std::size_t j = 0; j < packed.size(); ++j) {
        if (instruction.whole[j] < 0) continue;
        const ConstView& view = given.inputs[static_cast<std::size_t>(instruction.whole[j])];
        const Index T = view.shape[1], F = view.shape[2];
        for (const Index t : of_row) {
          const float* const from = view.f32() + (row * T + t) * F;
          packed[j].insert(packed[j].end(), from, from + F);
        }
        packed[j].resize(std::max<std::size_t>(packed[j].size(), 1));
        inputs_of_op[j] = packed[j].data();
      }
      op.take_whole(inputs_of_op, count, to);
      const bool first_ones = count == 0 || of_row.back() == count - 1;
      made[k].push_back({to, count, first_ones ? nullptr : of_row.data()});
      to += aligned(op.whole_floats(count));
    }
  }

  if (rows == 0 || longest != whole_steps) lay_out(longest);
  clear();
  bind(N);
  turn = 0;
  reset(0, N);
  for (std::size_t k = 0; k < made.size(); ++k) {
    steps_[k].whole_floats = std::move(floats[k]);
    steps_[k].whole = std::move(made[k]);
    steps_[k].whole_places = std::move(places[k]);
    steps_[k].call.whole = steps_[k].whole.data();
  }
  for (std::size_t i = 0; i < all.size(); ++i)
    if (all[i].array >= 0 && !all[i].timed)
      std::copy_n(given.inputs[i].f32(), element_count(given.inputs[i].shape),
                  static_cast<float*>(arrays[static_cast<std::size_t>(all[i].array)]));
  for (const graph::Program::Initial& initial : program->initial) {
    if (initial.beginning < 0) continue;
    const State& s = states[static_cast<std::size_t>(steps_[initial.instruction].states) + initial.state];
    const float* from = given.inputs[static_cast<std::size_t>(initial.beginning)].f32();
    for (Index row = 0; row < N; ++row, from += s.units) std::copy_n(from, s.units, s.at[0] + row * s.stride);
    always(s, 0, N);
  }
}

void Stream::Impl::clear() {
  for (Step& step : steps_) {
    std::fill_n(step.call.memory, step.memory, 0.0f);
    std::fill_n(step.call.whole_memory, step.op->whole_memory(batch, whole_steps), 0.0f);
  }
}

void Stream::Impl::select(std::span<const Index> from) {
  const Index count = static_cast<Index>(from.size());
  std::vector<float> kept;
  const auto keep = [&](const float* data, Index units, Index stride) {
    for (const Index row : from) kept.insert(kept.end(), data + row * stride, data + row * stride + units);
  };
  for (const State& s : states) {
    keep(s.at[turn], s.units, s.stride);
    for (Index age = 1; s.past != nullptr && age <= delay.past; ++age) keep(s.before(delay, age, rows), s.units, s.units);
  }
  for (const Info& info : program->beginnings) {
    if (info.array < 0 || info.timed) continue;
    const Index units = bytes[static_cast<std::size_t>(info.array)] / static_cast<Index>(sizeof(float)) / rows;
    keep(static_cast<const float*>(arrays[static_cast<std::size_t>(info.array)]), units, units);
  }
  for (Step& step : steps_) {
    if (step.whole.empty()) continue;
    std::vector<layers::WholeRow> now;
    for (const Index row : from) now.push_back(step.whole[static_cast<std::size_t>(row)]);
    step.whole = std::move(now);
    step.call.whole = step.whole.data();
  }
  // Where the states of a number of rows stand depends on the number; whatever else stands there was for one step.
  if (count != rows) {
    clear();
    bind(count);
  } else {
    for (Step& step : steps_) step.op->settle(step.call);
  }
  const float* at = kept.data();
  const auto put = [&](float* data, Index units, Index stride) {
    for (Index row = 0; row < count; ++row, at += units) std::copy_n(at, units, data + row * stride);
  };
  for (const State& s : states) {
    put(s.at[turn], s.units, s.stride);
    for (Index age = 1; s.past != nullptr && age <= delay.past; ++age) put(s.before(delay, age, rows), s.units, s.units);
  }
  for (const Info& info : program->beginnings) {
    if (info.array < 0 || info.timed) continue;
    const Index units = bytes[static_cast<std::size_t>(info.array)] / static_cast<Index>(sizeof(float)) / rows;
    put(static_cast<float*>(arrays[static_cast<std::size_t>(info.array)]), units, units);
  }
}

}  // namespace rekur
