#include "equations/code.hpp"

#include <algorithm>
#include <limits>

#include "io/text.hpp"
#include "runtime/checked.hpp"

namespace rekur::equations {
namespace {

constexpr Index kOperand = sizeof(simd::Operand) / sizeof(float);
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

Code::Code(const Graph& graph, std::span<const Wanted> wanted, std::span<const Carried> carried) {
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
  inputs_ = input_by_row_.size(), outputs_ = output_by_row_.size();

  // A sum that only an activation reads is made there.
  std::vector<int> uses(count, 0);
  for (const Wanted& want : wanted) uses[static_cast<std::size_t>(want.value)] += 2;
  for (std::size_t v = 0; v < count; ++v)
    for (const int from : nodes[v].from)
      if (from >= 0 && last_use[v] >= 0) ++uses[static_cast<std::size_t>(from)];
  std::vector<bool> within(count, false);
  for (std::size_t v = 0; v < count; ++v) {
    if (nodes[v].op != Op::activate || last_use[v] < 0) continue;
    const auto sum = static_cast<std::size_t>(nodes[v].from[0]);
    if (nodes[sum].op != Op::add || uses[sum] > 1) continue;
    within[sum] = true;
    for (const int from : nodes[sum].from)
      if (from >= 0)
        last_use[static_cast<std::size_t>(from)] = std::max(last_use[static_cast<std::size_t>(from)], static_cast<int>(v));
  }
  const auto operands_at = [&](int v) -> const std::array<int, 3>& {
    const Node& node = node_at(v);
    const bool sum = node.op == Op::activate && within[static_cast<std::size_t>(node.from[0])];
    return sum ? node_at(node.from[0]).from : node.from;
  };

  // An output may be written where it is made unless it takes the place of an input that is still read later.
  const auto node_of_input = [&](int input) {
    for (std::size_t v = 0; v < count; ++v)
      if (nodes[v].op == Op::none && !nodes[v].constant && input-- == 0) return static_cast<int>(v);
    return -1;
  };
  std::vector<int> read_until(wanted.size(), -1);
  for (std::size_t k = 0; k < wanted.size(); ++k)
    if (wanted[k].over >= 0) read_until[k] = last_use[static_cast<std::size_t>(node_of_input(wanted[k].over))];

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
    if (last_use[static_cast<std::size_t>(v)] < 0 || within[static_cast<std::size_t>(v)]) continue;
    by_row_ = by_row_ || by_row;
    const std::array<int, 3>& operands = operands_at(v);
    Step step;
    step.instruction.op = &operands == &node.from ? node.op : Op::activate_sum;
    step.instruction.by_row = by_row;
    step.instruction.f = node.f;
    for (std::size_t i = 0; i < 3; ++i)
      if (operands[i] >= 0) step.from[i] = stands[static_cast<std::size_t>(operands[i])];
    // Operands that end here leave their register to the result, where element i is read before it is written.
    const bool elementwise = node.op < Op::expand || node.op == Op::slope;
    const auto give_back = [&] {
      for (std::size_t i = 0; i < 3; ++i) {
        const int from = operands[i];
        if (from < 0 || last_use[static_cast<std::size_t>(from)] != v) continue;
        if (std::find(operands.begin(), operands.begin() + i, from) != operands.begin() + i) continue;  // given back already
        const Stand& s = stands[static_cast<std::size_t>(from)];
        if (s.place == Place::wide) wide.give_back(s.number);
        if (s.place == Place::narrow) narrow.give_back(s.number);
      }
    };
    if (elementwise) give_back();
    std::size_t output = 0;
    while (output < wanted.size() &&
           (wanted[output].value != v || wanted[output].accumulate || read_until[output] > (elementwise ? v : v - 1)))
      ++output;
    if (output < wanted.size()) {
      stand = {Place::output, static_cast<int>(output)};
      output_done[output] = true;
    } else {
      stand = by_row ? Stand{Place::narrow, narrow.take()} : Stand{Place::wide, wide.take()};
    }
    if (!elementwise) give_back();
    step.to = stand;
    steps.push_back(step);
  }
  // Outputs that are inputs, constants, values already written elsewhere, or sums. First of all what one of them would overwrite.
  for (std::size_t k = 0; k < wanted.size(); ++k) {
    if (output_done[k] || wanted[k].over < 0) continue;
    const int overwritten = node_of_input(wanted[k].over);
    Stand& stand = stands[static_cast<std::size_t>(overwritten)];
    bool read = false;
    for (std::size_t other = 0; other < wanted.size(); ++other)
      read = read || (other != k && !output_done[other] && wanted[other].value == overwritten);
    if (!read || stand.place != Place::input) continue;
    Step step;
    step.instruction.op = Op::copy;
    step.instruction.by_row = graph.extent(overwritten) == Extent::row;
    step.from[0] = stand;
    step.to = stand = step.instruction.by_row ? Stand{Place::narrow, narrow.take()} : Stand{Place::wide, wide.take()};
    steps.push_back(step);
  }
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
#if REKUR_COMPILED_CELLS
  compiled_constants_ = constants_;
  compiled_ = equations::compiled(Listing(code_, input_by_row_, output_by_row_, compiled_constants_, carried));
#else
  static_cast<void>(carried);
#endif
}

Index Code::memory(Index features) const {
  Index floats;
  if (multiply_overflows(aligned(std::max(kBlock, features)), registers(), &floats))
    throw_error("equations: rows of % features do not fit in memory", {features});
  floats += aligned(static_cast<Index>(inputs() + outputs() + static_cast<std::size_t>(registers())) * kOperand);
#if REKUR_COMPILED_CELLS
  Index kept;  // what a function keeps, zeros and what nobody wants
  if (compiled_ && multiply_overflows(aligned(features), Index{compiled_->listing.kept() + 2}, &kept))
    throw_error("equations: rows of % features do not fit in memory", {features});
  if (compiled_) floats = std::max(floats, kept);
#endif
  return floats;
}

}  // namespace rekur::equations
