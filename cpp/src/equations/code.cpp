#include "equations/code.hpp"

#include <algorithm>
#include <limits>

#include "io/text.hpp"

namespace rekur::equations {
namespace {

constexpr Index kAddress = sizeof(void*) / sizeof(float);
constexpr Index kLineFloats = 64 / sizeof(float);

constexpr Index whole_lines(Index floats) { return (floats + kLineFloats - 1) / kLineFloats * kLineFloats; }

// Registers of one kind, by number; those whose value nobody needs any more are taken again.
class Registers {
 public:
  int take() {
    if (free_.empty()) return count_++;
    const int taken = free_.back();
    free_.pop_back();
    return taken;
  }
  void give_back(int number) { free_.push_back(number); }
  int count() const { return count_; }

 private:
  std::vector<int> free_;
  int count_ = 0;
};

// Where a value stands. Numbers of registers become operands when it is known how many there are of each kind.
enum class Place : std::uint8_t { nowhere, input, output, constant, wide, narrow };
struct Stand {
  Place place = Place::nowhere;
  int number = 0;
};

}  // namespace

Code::Code(const Graph& graph, std::span<const Wanted> wanted) {
  const std::vector<Node>& nodes = graph.nodes();
  const auto count = nodes.size();
  const auto node_at = [&](int value) -> const Node& { return nodes[static_cast<std::size_t>(value)]; };

  // The last instruction that reads a value, counted by values; those behind nothing that is wanted are not computed.
  std::vector<int> last_use(count, -1);
  for (const Wanted& want : wanted) last_use[static_cast<std::size_t>(want.value)] = std::numeric_limits<int>::max();
  for (int y = static_cast<int>(count) - 1; y >= 0; --y) {
    if (last_use[static_cast<std::size_t>(y)] < 0) continue;
    for (const int from : node_at(y).from)
      if (from >= 0) last_use[static_cast<std::size_t>(from)] = std::max(last_use[static_cast<std::size_t>(from)], y);
  }

  for (std::size_t v = 0; v < count; ++v) {
    if (nodes[v].op != Op::none || nodes[v].constant) continue;
    input_by_row_.push_back(graph.extent(static_cast<int>(v)) == Extent::row);
  }
  for (const Wanted& want : wanted) output_by_row_.push_back(graph.extent(want.value) == Extent::row);

  std::vector<Stand> stands(count);
  std::vector<bool> output_done(wanted.size(), false);
  Registers wide, narrow;
  int inputs = 0;
  struct Step {
    simd::Instruction instruction;
    Stand to, from[3];
  };
  std::vector<Step> steps;

  for (int v = 0; v < static_cast<int>(count); ++v) {
    const Node& node = node_at(v);
    Stand& stand = stands[static_cast<std::size_t>(v)];
    const bool by_row = graph.extent(v) == Extent::row;
    if (node.constant) {
      if (last_use[static_cast<std::size_t>(v)] < 0) continue;
      stand = {Place::constant, static_cast<int>(constants_.size())};
      constants_.push_back(node.value);
      continue;
    }
    if (node.op == Op::none) {
      stand = {Place::input, inputs++};
      by_row_ = by_row_ || (by_row && last_use[static_cast<std::size_t>(v)] >= 0);
      continue;
    }
    if (last_use[static_cast<std::size_t>(v)] < 0) continue;
    by_row_ = by_row_ || by_row;
    Step step;
    step.instruction.op = node.op;
    step.instruction.by_row = by_row;
    step.instruction.f = node.f;
    for (std::size_t i = 0; i < 3; ++i)
      if (node.from[i] >= 0) step.from[i] = stands[static_cast<std::size_t>(node.from[i])];
    // Operands that end here leave their register to the result, where element i is read before it is written.
    const bool elementwise = node.op < Op::expand || node.op == Op::slope;
    const auto give_back = [&] {
      for (std::size_t i = 0; i < 3; ++i) {
        const int from = node.from[i];
        if (from < 0 || last_use[static_cast<std::size_t>(from)] != v) continue;
        if (std::find(node.from.begin(), node.from.begin() + i, from) != node.from.begin() + i) continue;  // given back already
        const Stand& s = stands[static_cast<std::size_t>(from)];
        if (s.place == Place::wide) wide.give_back(s.number);
        if (s.place == Place::narrow) narrow.give_back(s.number);
      }
    };
    if (elementwise) give_back();
    const auto output = std::find_if(wanted.begin(), wanted.end(), [&](const Wanted& w) { return w.value == v && !w.accumulate; });
    if (output != wanted.end()) {
      stand = {Place::output, static_cast<int>(output - wanted.begin())};
      output_done[static_cast<std::size_t>(stand.number)] = true;
    } else {
      stand = by_row ? Stand{Place::narrow, narrow.take()} : Stand{Place::wide, wide.take()};
    }
    if (!elementwise) give_back();
    step.to = stand;
    steps.push_back(step);
  }
  // Outputs that are inputs, constants, values already written elsewhere, or sums.
  for (std::size_t k = 0; k < wanted.size(); ++k) {
    if (output_done[k]) continue;
    Step step;
    const Stand to{Place::output, static_cast<int>(k)}, value = stands[static_cast<std::size_t>(wanted[k].value)];
    step.to = to;
    step.instruction.by_row = output_by_row_[k];
    step.instruction.op = wanted[k].accumulate ? Op::add : Op::copy;
    step.from[0] = wanted[k].accumulate ? to : value;
    if (wanted[k].accumulate) step.from[1] = value;
    steps.push_back(step);
  }

  wide_ = wide.count();
  narrow_ = narrow.count();
  const int outputs = static_cast<int>(wanted.size()), constants = static_cast<int>(constants_.size());
  const auto operand = [&](const Stand& s) {
    const int first[] = {0, 0, inputs, inputs + outputs, inputs + outputs + constants, inputs + outputs + constants + wide_};
    return static_cast<std::uint16_t>(first[static_cast<int>(s.place)] + s.number);
  };
  for (Step& step : steps) {
    step.instruction.to = operand(step.to);
    for (std::size_t i = 0; i < 3; ++i) step.instruction.from[i] = operand(step.from[i]);
    code_.push_back(step.instruction);
  }
}

Index Code::memory(Index features) const {
  const Index row = row_length(features), rows = block_rows(row);
  Index floats;
  if (__builtin_mul_overflow(whole_lines(rows * row), registers(), &floats))
    throw_error("equations: rows of % features do not fit in memory", {features});
  return floats + whole_lines(static_cast<Index>(inputs() + outputs() + static_cast<std::size_t>(registers())) * kAddress);
}

void Code::run(const simd::Kernels& kernels, const float* const* inputs, float* const* outputs, Index begin, Index end,
               Index features, float* memory) const noexcept {
  const Index row = row_length(features), block = block_rows(row), stride = whole_lines(block * row);
  begin *= features / row;
  end *= features / row;
  float* const zeros = memory;
  float* const unwanted = memory + stride;
  float** const operands = reinterpret_cast<float**>(memory + stride * registers());
  float** const own = operands + input_by_row_.size() + output_by_row_.size();
  std::fill_n(zeros, block * row, 0.0f);
  for (Index k = 0; k < registers() - 2; ++k) own[k] = memory + stride * (k + 2);
  for (std::size_t k = 0; k < constants_.size(); ++k) std::fill_n(own[k], block * row, constants_[k]);

  for (Index at = begin; at < end; at += block) {
    float** next = operands;
    for (std::size_t i = 0; i < input_by_row_.size(); ++i)
      *next++ = inputs[i] == nullptr ? zeros : const_cast<float*>(inputs[i]) + at * (input_by_row_[i] ? 1 : row);  // only read
    for (std::size_t k = 0; k < output_by_row_.size(); ++k)
      *next++ = outputs[k] == nullptr ? unwanted : outputs[k] + at * (output_by_row_[k] ? 1 : row);
    kernels.interpret(code_.data(), static_cast<Index>(code_.size()), operands, std::min(block, end - at), row);
  }
}

}  // namespace rekur::equations
