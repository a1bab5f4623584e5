#include "equations/equations.hpp"

#include <algorithm>
#include <cmath>

namespace rekur::equations {
namespace {

// Sorted. What is not here but in derived equations alone has no name.
constexpr Operation kOperations[] = {
    {"absolute", Op::absolute, 1},     {"add", Op::add, 2},       {"cos", Op::cos, 1},         {"divide", Op::divide, 2},
    {"equal", Op::equal, 2},           {"erf", Op::erf, 1},       {"exp", Op::exp, 1},         {"less", Op::less, 2},
    {"less_equal", Op::less_equal, 2}, {"log", Op::log, 1},       {"log1p", Op::log1p, 1},     {"max", Op::row_maximum, 1},
    {"maximum", Op::maximum, 2},       {"mean", Op::row_mean, 1}, {"minimum", Op::minimum, 2}, {"multiply", Op::multiply, 2},
    {"negative", Op::negative, 1},     {"sin", Op::sin, 1},       {"sqrt", Op::sqrt, 1},       {"subtract", Op::subtract, 2},
    {"sum", Op::row_sum, 1},           {"where", Op::select, 3},
};

}  // namespace

bool reduces(Op op) { return op == Op::row_sum || op == Op::row_mean || op == Op::row_maximum; }

bool costly(Op op) {
  switch (op) {
    case Op::exp:
    case Op::log:
    case Op::log1p:
    case Op::sqrt:
    case Op::sin:
    case Op::cos:
    case Op::erf:
    case Op::activate:
    case Op::divide:
      return true;
    default:
      return false;
  }
}

std::span<const Operation> operations() { return kOperations; }

int operands_of(Op op) {
  for (const Operation& known : kOperations)
    if (known.op == op) return known.operands;
  return op == Op::slope ? 2 : op == Op::none ? 0 : 1;
}

bool Node::operator==(const Node& other) const {
  // Constants by their bits: -0 is not 0.
  return op == other.op && constant == other.constant && from == other.from && std::signbit(value) == std::signbit(other.value) &&
         value == other.value && f.kind == other.f.kind && f.alpha == other.f.alpha && f.beta == other.f.beta;
}

Graph::Graph(const Equations& equations, std::span<const Extent> inputs) : inputs_(inputs.size()) {
  std::vector<int> known;  // where a value of the equations stands here
  for (std::size_t i = 0; i < equations.nodes.size(); ++i) {
    const Node& node = equations.nodes[i];
    if (i < inputs.size())
      known.push_back(input(inputs[i]));
    else if (node.constant)
      known.push_back(constant(node.value));
    else
      known.push_back(add(node.op, known[static_cast<std::size_t>(node.from[0])],
                          node.from[1] < 0 ? -1 : known[static_cast<std::size_t>(node.from[1])],
                          node.from[2] < 0 ? -1 : known[static_cast<std::size_t>(node.from[2])], node.f));
  }
  for (const int output : equations.outputs) outputs_.push_back(known[static_cast<std::size_t>(output)]);
}

int Graph::append(Node node, Extent extent) {
  nodes_.push_back(node);
  extents_.push_back(extent);
  return static_cast<int>(nodes_.size()) - 1;
}

int Graph::input(Extent extent) { return append({}, extent); }

int Graph::constant(float value) {
  Node node;
  node.constant = true;
  node.value = value;
  const auto found = std::find(nodes_.begin(), nodes_.end(), node);
  return found != nodes_.end() ? static_cast<int>(found - nodes_.begin()) : append(node, Extent::constant);
}

int Graph::expanded(int value) { return extent(value) == Extent::row ? add(Op::expand, value) : value; }

int Graph::add(Op op, int a, int b, int c, Activation f) {
  Node node{.op = op, .from = {a, b, c}, .f = f};
  Extent widest = Extent::constant;
  for (const int from : node.from)
    if (from >= 0) widest = std::max(widest, extent(from));
  if (reduces(op) || op == Op::row_count) {
    if (widest != Extent::feature) return a;  // one number a row already
    widest = Extent::row;
  } else if (op == Op::expand) {
    widest = Extent::feature;
  } else if (widest == Extent::feature) {
    for (int& from : node.from)
      if (from >= 0) from = expanded(from);
  }
  const auto found = std::find(nodes_.begin(), nodes_.end(), node);
  return found != nodes_.end() ? static_cast<int>(found - nodes_.begin()) : append(node, widest);
}

}  // namespace rekur::equations
