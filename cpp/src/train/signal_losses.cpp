#include "train/signal_losses.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "io/text.hpp"
#include "runtime/parallel.hpp"

namespace rekur::train {
namespace {

// The steps of a row that are there, and what they count.
struct Signal {
  std::vector<Index> steps;
  std::vector<char> begins;  // by step: another sequence begins there
  double weight = 0;

  Signal(const Rows& rows, const PairWeights& weights, Index b) {
    const layers::RowSteps& valid = rows.valid_steps;
    bool fresh = true;
    for (Index k = 0; k < (valid.lengths ? valid.length(b) : rows.T / rows.places); ++k) {
      const Index t = valid.at(b, k);
      fresh = fresh || (valid.resets != nullptr && valid.resets[b * valid.T + k] != 0);
      const double w = weights(b, t * rows.places);
      if (w == 0) continue;
      weight = w;
      steps.push_back(t);
      begins.push_back(std::exchange(fresh, false));
    }
  }
};

// Of one feature of a row; x, y and dx are `stride` apart from step to step.
double feature(const Loss& loss, const Signal& signal, const float* x, const float* y, float* dx, Index stride, double scale) {
  const std::size_t n = signal.steps.size();
  const double c = loss.pre_emphasis, count = static_cast<double>(n);
  const auto at = [&](const float* v, std::size_t k) { return static_cast<double>(v[signal.steps[k] * stride]); };
  const auto error = [&](std::size_t k) { return at(y, k) - at(x, k); };
  const auto has_before = [&](std::size_t k) { return signal.begins[k] == 0; };
  double squares = 0, sum = 0, power = 0, e = 0, v = 0;  // e, v: of the step before
  for (std::size_t k = 0; k < n; ++k) {
    const double e_now = error(k), v_now = at(y, k), before = has_before(k) ? c : 0;
    const double emphasized = e_now - before * e, wanted = v_now - before * v;
    squares += emphasized * emphasized;
    sum += emphasized;
    power += wanted * wanted;
    e = e_now, v = v_now;
  }
  const double over = power / count + loss.epsilon, mean = sum / count;
  if (dx != nullptr) {
    // From behind: e_t is in u_t and, times -c, in u_(t+1).
    const double s = -2 * scale / (count * over);
    const bool ratio = loss.kind == LossKind::esr;
    double later = 0;  // c times the next step's derivative
    for (std::size_t k = n; k-- > 0;) {
      const double before = has_before(k) ? c : 0;
      const double own = ratio ? error(k) - (k > 0 ? before * error(k - 1) : 0) : mean;
      dx[signal.steps[k] * stride] = static_cast<float>(s * (own - later));
      later = before * own;
    }
  }
  return (loss.kind == LossKind::esr ? squares / count : mean * mean) / over;
}

}  // namespace

void check_signals(const Loss& loss, const Rows& rows, std::span<const float> weights, const std::string& where) {
  if (rows.shape.size() < 2)
    throw_error("%% is a loss of sequences, and expected an output with a time axis, got % features a row",
                {where, name(loss.kind), rows.F});
  if (static_cast<Index>(weights.size()) == rows.B) return;
  for (Index b = 0; b < rows.B && !weights.empty(); ++b) {
    float first = 0;
    for (Index r = b * rows.T; r < (b + 1) * rows.T; ++r) {
      const float w = weights[static_cast<std::size_t>(r)];
      if (w == 0 || !rows.is_valid(b, r - b * rows.T)) continue;
      if (first != 0 && w != first)
        throw_error("%% is a ratio of whole rows: expected sample weights that are one a row, or within row % the same or 0",
                    {where, name(loss.kind), b});
      first = w;
    }
  }
}

double evaluate_signals(const Loss& loss, const Rows& rows, const float* x, const float* y, std::span<const float> weights,
                        float* dx, double gradient_scale) {
  const PairWeights weight(weights, rows);
  const Index row = rows.T * rows.F, features = rows.places * rows.F;
  std::vector<double> values(static_cast<std::size_t>(rows.B));
  runtime::parallel_tasks(rows.B, 8.0 * static_cast<double>(rows.B * row), [&](Index b) {
    if (dx) std::fill_n(dx + b * row, row, 0.0f);
    const Signal signal(rows, weight, b);
    if (signal.steps.empty()) return;
    const double scale = gradient_scale * signal.weight / static_cast<double>(rows.row_divisor() * features);
    double sum = 0;
    for (Index f = 0; f < features; ++f)
      sum += feature(loss, signal, x + b * row + f, y + b * row + f, dx ? dx + b * row + f : nullptr, features, scale);
    values[static_cast<std::size_t>(b)] = signal.weight * sum / static_cast<double>(features);
  });
  double total = 0;
  for (const double value : values) total += value;
  return total / static_cast<double>(rows.row_divisor());
}

}  // namespace rekur::train
