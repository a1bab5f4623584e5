// The derived backward pass: one rule an operation, applied from the last value to the first.
#include "equations/equations.hpp"

#include <cmath>
#include <numbers>

#if REKUR_TRAINING

namespace rekur::equations {
namespace {

class Derivation {
 public:
  explicit Derivation(Graph& graph) : g_(graph), gradient_(graph.nodes().size(), -1) {}

  // Adds to the gradient of a value; constants and what is no value have none.
  void give(int value, int gradient) {
    if (value < 0 || g_.extent(value) == Extent::constant) return;
    int& sum = gradient_[static_cast<std::size_t>(value)];
    sum = sum < 0 ? gradient : g_.add(Op::add, sum, gradient);
  }

  int of(int value) const { return gradient_[static_cast<std::size_t>(value)]; }

  // Passes the gradient d of value y on to what y was made from.
  void pass(int y, int d) {
    const Node node = g_.nodes()[static_cast<std::size_t>(y)];
    const int a = node.from[0], b = node.from[1], c = node.from[2];
    switch (node.op) {
      case Op::copy:
        give(a, d);
        break;
      case Op::negative:
        give(a, minus(d));
        break;
      case Op::absolute:
        give(a, where(less(zero(), a), d, where(less(a, zero()), minus(d), zero())));
        break;
      case Op::exp:
        give(a, times(d, y));
        break;
      case Op::log:
        give(a, over(d, a));
        break;
      case Op::log1p:
        give(a, over(d, g_.add(Op::add, a, g_.constant(1))));
        break;
      case Op::sqrt:
        give(a, over(times(g_.constant(0.5f), d), y));
        break;
      case Op::sin:
        give(a, times(d, g_.add(Op::cos, a)));
        break;
      case Op::cos:
        give(a, minus(times(d, g_.add(Op::sin, a))));
        break;
      case Op::erf:
        give(a,
             times(times(g_.constant(static_cast<float>(2 * std::numbers::inv_sqrtpi)), d), g_.add(Op::exp, minus(times(a, a)))));
        break;
      case Op::activate:
        give(a, g_.add(Op::slope, y, d, -1, node.f));
        break;
      case Op::add:
        give(a, d);
        give(b, d);
        break;
      case Op::subtract:
        give(a, d);
        give(b, minus(d));
        break;
      case Op::multiply:
        give(a, times(d, b));
        give(b, times(d, a));
        break;
      case Op::divide: {
        if (const int x = normalised(node); x >= 0) {
          // One rule for all of it: of its parts' own, each would look at whole rows once more, after the others.
          const int about_mean = g_.add(Op::subtract, d, g_.add(Op::row_mean, d));
          const int about_scale = times(y, g_.add(Op::row_mean, times(d, y)));
          give(x, times(g_.add(Op::subtract, about_mean, about_scale), over(g_.constant(1), unexpanded(b))));
          break;
        }
        const int quotient = over(d, b);
        give(a, quotient);
        give(b, minus(times(quotient, y)));
        break;
      }
      case Op::minimum:
      case Op::maximum: {
        // Whoever is the result gets it all; both, half each. With NaN nobody is, and the gradient is nobody's.
        const int tie = g_.add(Op::equal, a, b), half = times(g_.constant(0.5f), d);
        give(a, where(tie, half, where(g_.add(Op::equal, y, a), d, zero())));
        give(b, where(tie, half, where(g_.add(Op::equal, y, b), d, zero())));
        break;
      }
      case Op::select:
        give(b, where(a, d, zero()));
        give(c, where(a, zero(), d));
        break;
      case Op::expand:
        give(a, g_.add(Op::row_sum, d));
        break;
      case Op::row_sum:
        give(a, g_.expanded(d));
        break;
      case Op::row_mean:
        give(a, g_.expanded(over(d, g_.add(Op::row_count, a))));
        break;
      case Op::row_maximum: {
        const int largest = g_.add(Op::equal, a, y);
        give(a, times(largest, over(d, g_.add(Op::row_sum, largest))));
        break;
      }
      case Op::less:
      case Op::less_equal:
      case Op::equal:
      case Op::row_count:
      case Op::slope:
      case Op::activate_sum:
      case Op::none:
        break;
    }
  }

 private:
  const Node& node(int value) const { return g_.nodes()[static_cast<std::size_t>(value)]; }
  int unexpanded(int value) const { return node(value).op == Op::expand ? node(value).from[0] : value; }

  // Of (x − mean x) / √(mean (x − mean x)² + constant) over a row's features, written as one writes it: x; else -1.
  int normalised(const Node& quotient) const {
    const int centred = quotient.from[0];
    const Node& difference = node(centred);
    if (difference.op != Op::subtract || node(unexpanded(difference.from[1])).op != Op::row_mean) return -1;
    const int x = difference.from[0];
    const Node& root = node(unexpanded(quotient.from[1]));
    if (node(unexpanded(difference.from[1])).from[0] != x || root.op != Op::sqrt) return -1;
    const Node& sum = node(root.from[0]);
    if (sum.op != Op::add) return -1;
    for (const bool turned : {false, true}) {
      const Node &mean = node(sum.from[turned ? 1 : 0]), &constant = node(sum.from[turned ? 0 : 1]);
      if (mean.op != Op::row_mean || !constant.constant) continue;
      const Node& square = node(mean.from[0]);
      if (square.op == Op::multiply && square.from[0] == centred && square.from[1] == centred) return x;
    }
    return -1;
  }

  int zero() { return g_.constant(0); }
  int minus(int a) { return g_.add(Op::negative, a); }
  int times(int a, int b) { return g_.add(Op::multiply, a, b); }
  int over(int a, int b) { return g_.add(Op::divide, a, b); }
  int less(int a, int b) { return g_.add(Op::less, a, b); }
  int where(int condition, int a, int b) { return g_.add(Op::select, condition, a, b); }

  Graph& g_;
  std::vector<int> gradient_;  // of the values there were before
};

}  // namespace

std::vector<int> Graph::derive(std::span<const int> arriving) {
  const int values = static_cast<int>(nodes_.size());
  Derivation derivation(*this);
  for (std::size_t k = 0; k < outputs_.size(); ++k) derivation.give(outputs_[k], arriving[k]);
  // What was added meanwhile stands behind them and has no gradient of its own.
  for (int y = values - 1; y >= static_cast<int>(inputs_); --y)
    if (derivation.of(y) >= 0) derivation.pass(y, derivation.of(y));
  std::vector<int> gradients;
  for (int input = 0; input < static_cast<int>(inputs_); ++input) gradients.push_back(derivation.of(input));
  return gradients;
}

}  // namespace rekur::equations

#endif
