#include "train/losses.hpp"
#include "io/text.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>
#include <vector>

#include "io/json.hpp"
#include "io/suggest.hpp"
#include "isa/dispatch.hpp"
#include "runtime/parallel.hpp"
#include "train/equations_loss.hpp"
#include "train/signal_losses.hpp"

namespace rekur::train {
namespace {

constexpr double kLeastProbability = 1e-7;  // Keras's

constexpr std::array<std::string_view, 12> kLossNames = {"mean_squared_error",
                                                         "mean_absolute_error",
                                                         "huber",
                                                         "binary_crossentropy",
                                                         "categorical_crossentropy",
                                                         "sparse_categorical_crossentropy",
                                                         "esr",
                                                         "dc",
                                                         "sum",
                                                         "crf",
                                                         "equations",
                                                         "callback"};

// One (row, step) pair: x [F], y [F] or a class label; dx [F] or null, to become s times the derivative of the value.
struct Pair {
  Index F;
  const float* x;
  const float* y;
  std::int32_t label;
  float* dx;
  double s;
  double delta;
};

// value(x, y) and its derivative, averaged over the features.
template <class F>
double mean_over_features(const Pair& p, F&& element) {
  const double s = p.s / static_cast<double>(p.F);
  double sum = 0;
  for (Index f = 0; f < p.F; ++f) {
    double derivative;
    sum += element(static_cast<double>(p.x[f]), static_cast<double>(p.y[f]), derivative);
    if (p.dx) p.dx[f] = static_cast<float>(s * derivative);
  }
  return sum / static_cast<double>(p.F);
}

double squared_error(const Pair& p) {
  return mean_over_features(p, [](double x, double y, double& d) {
    d = 2 * (x - y);
    return (x - y) * (x - y);
  });
}

double absolute_error(const Pair& p) {
  return mean_over_features(p, [](double x, double y, double& d) {
    const double e = x - y;
    d = e > 0 ? 1 : e < 0 ? -1 : e;  // e itself where it is 0 or NaN
    return std::abs(e);
  });
}

double huber(const Pair& p) {
  return mean_over_features(p, [delta = p.delta](double x, double y, double& d) {
    const double e = x - y;
    d = std::clamp(e, -delta, delta);  // NaN stays NaN
    return std::abs(e) <= delta ? 0.5 * e * e : delta * (std::abs(e) - 0.5 * delta);
  });
}

// -(y log σ(x) + (1-y) log(1-σ(x))) = |x| (1-y or y) + log(1 + exp(-|x|)); its derivative is σ(x) - y. What has no probability to
// be wrong adds nothing, be x infinite.
double binary_from_logits(const Pair& p) {
  return mean_over_features(p, [](double x, double y, double& d) {
    const double e = std::exp(-std::abs(x)), other = x < 0 ? y : 1 - y;
    d = (x >= 0 ? 1 : e) / (1 + e) - y;
    return (other == 0 ? 0 : std::abs(x) * other) + std::log1p(e);
  });
}

bool clipped(double p) { return p < kLeastProbability || p > 1 - kLeastProbability; }

double binary_from_values(const Pair& p) {
  return mean_over_features(p, [](double x, double y, double& d) {
    const double q = std::clamp(x, kLeastProbability, 1 - kLeastProbability);
    d = clipped(x) ? 0 : (q - y) / (q * (1 - q));
    return -(y * std::log(q) + (1 - y) * std::log1p(-q));
  });
}

// Σ_c y_c (log Σ exp(x) - x_c); its derivative is softmax(x) Σy - y. A class of y = 0 adds nothing, be its x infinite.
double categorical_from_logits(const Pair& p) {
  float log_sum;
  isa::kernels().log_sum_exp(p.x, &log_sum, 1, p.F);
  double value = 0, total = 0;
  for (Index c = 0; c < p.F; ++c) {
    total += p.y[c];
    if (p.y[c] != 0) value += p.y[c] * (static_cast<double>(log_sum) - p.x[c]);
  }
  if (p.dx) {
    isa::kernels().softmax(p.x, p.dx, 1, p.F);
    for (Index c = 0; c < p.F; ++c) p.dx[c] = static_cast<float>(p.s * (p.dx[c] * total - p.y[c]));
  }
  // A NaN must not vanish because its class has y = 0.
  return std::isnan(log_sum) ? static_cast<double>(log_sum) : value;
}

double sparse_from_logits(const Pair& p) {
  float log_sum;
  isa::kernels().log_sum_exp(p.x, &log_sum, 1, p.F);
  if (p.dx) {
    isa::kernels().softmax(p.x, p.dx, 1, p.F);
    for (Index c = 0; c < p.F; ++c) p.dx[c] = static_cast<float>(p.s * (c == p.label ? p.dx[c] - 1.0 : p.dx[c]));
  }
  return static_cast<double>(log_sum) - p.x[p.label];
}

// q = x / Σx, clipped; -Σ y log q. With g_c = -y_c / q_c where q was not clipped: dx_c = (g_c - Σ_k g_k x_k/Σx) / Σx.
//
// A row of zeros, as relu gives them, has no direction: its probabilities are 0, that is all clipped, and its gradient is 0. So is
// a row whose sum is so small that the gradient would not be a float: |dx| <= Σy / (q |Σx|), q >= 1e-7.
template <class Y>
double categorical_from_probabilities(const Pair& p, Y&& y) {
  constexpr double kLeastSum = 1e-30;
  double sum = 0;
  for (Index c = 0; c < p.F; ++c) sum += p.x[c];
  double value = 0, along = 0;
  if (std::abs(sum) < kLeastSum) {
    for (Index c = 0; c < p.F; ++c) value -= y(c) * std::log(kLeastProbability);
    if (p.dx) std::fill_n(p.dx, p.F, 0.0f);
    return value;
  }
  for (Index c = 0; c < p.F; ++c) {
    const double q = p.x[c] / sum;
    value -= y(c) * std::log(std::clamp(q, kLeastProbability, 1 - kLeastProbability));
    if (!clipped(q)) along -= y(c);
  }
  if (p.dx) {
    for (Index c = 0; c < p.F; ++c) {
      const double q = p.x[c] / sum;
      p.dx[c] = static_cast<float>(p.s * ((clipped(q) ? 0 : -y(c) / q) - along) / sum);
    }
  }
  return value;
}

double categorical_from_values(const Pair& p) {
  return categorical_from_probabilities(p, [y = p.y](Index c) { return static_cast<double>(y[c]); });
}

double sparse_from_values(const Pair& p) {
  return categorical_from_probabilities(p, [label = p.label](Index c) { return c == label ? 1.0 : 0.0; });
}

using PairFunction = double (*)(const Pair&);

PairFunction function(LossKind kind, Scores scores) {
  const bool logits = scores == Scores::logits;
  switch (kind) {
    case LossKind::mean_squared_error:
      return squared_error;
    case LossKind::mean_absolute_error:
      return absolute_error;
    case LossKind::huber:
      return huber;
    case LossKind::binary_crossentropy:
      return logits ? binary_from_logits : binary_from_values;
    case LossKind::categorical_crossentropy:
      return logits ? categorical_from_logits : categorical_from_values;
    case LossKind::sparse_categorical_crossentropy:
      return logits ? sparse_from_logits : sparse_from_values;
    case LossKind::esr:
    case LossKind::dc:
    case LossKind::sum:
    case LossKind::crf:
    case LossKind::equations:
    case LossKind::callback:
      break;  // evaluated elsewhere
  }
  return squared_error;
}

bool has_shape(const ConstView& target, Shape expected, bool last_axis_optional) {
  if (target.shape == expected) return true;
  if (last_axis_optional) expected.pop_back();
  return last_axis_optional && target.shape == expected;
}

}  // namespace

std::string name(LossKind kind) { return std::string(kLossNames[static_cast<std::size_t>(kind)]); }

std::string name(const Loss& loss) { return loss.label.empty() ? name(loss.kind) : loss.label; }

namespace {

void read_terms(json::Reader& reader, Loss& loss) {
  for (const json::Value& given : reader.array("losses")) {
    json::Reader term(given, compose("loss 'sum': term %", {loss.terms.size()}));
    Loss& one = loss.terms.emplace_back(read_loss(term.get("loss")));
    one.weight = term.number("weight", 1.0);
    term.finish();
    const LossKind kind = one.kind;
    if (kind == LossKind::sum || kind == LossKind::crf || kind == LossKind::callback ||
        kind == LossKind::sparse_categorical_crossentropy)
      term.fail("% cannot stand in a sum", {name(one)});
  }
  if (loss.terms.empty()) reader.refuse("losses", "an array of at least one loss");
}

}  // namespace

Loss read_loss(const json::Value& config) {
  const std::string given = json::Reader(config, "loss").string("name");
  const auto found = std::find(kLossNames.begin(), kLossNames.end(), given);
  if (found == kLossNames.end()) throw_error("%", {unknown_name("loss", given, kLossNames)});
  json::Reader reader(config, "loss '" + given + "'");
  reader.string("name");
  Loss loss;
  loss.kind = static_cast<LossKind>(found - kLossNames.begin());
  if (loss.kind == LossKind::huber) {
    loss.delta = reader.number("delta", 1.0);
    if (!(loss.delta > 0 && loss.delta <= std::numeric_limits<float>::max())) reader.refuse("delta", "a positive number");
  } else if (is_of_signals(loss.kind)) {
    loss.pre_emphasis = reader.number("pre_emphasis", 0.0);
    if (!(loss.pre_emphasis >= 0 && loss.pre_emphasis <= 1)) reader.refuse("pre_emphasis", "a number from 0 to 1");
    loss.epsilon = reader.number("epsilon", loss.epsilon);
    if (!(loss.epsilon > 0 && loss.epsilon <= std::numeric_limits<float>::max())) reader.refuse("epsilon", "a positive number");
  } else if (loss.kind == LossKind::sum) {
    read_terms(reader, loss);
  } else if (loss.kind == LossKind::crf) {
    // it has no keys
  } else if (fused_activation(loss) != layers::FinalActivation::none) {
    loss.from_logits = reader.boolean("from_logits", false);
  } else if (loss.kind == LossKind::callback) {
    loss.label = reader.string("label", "callback");
  } else if (loss.kind == LossKind::equations) {
#if REKUR_EQUATIONS
    loss.equations = std::make_shared<const EquationsLoss>(reader);
    loss.label = loss.equations->label();
#else
    reader.fail("this rekur was built without equations (REKUR_EQUATIONS=OFF)");
#endif
  }
  reader.finish();
  return loss;
}

layers::FinalActivation fused_activation(const Loss& loss) {
  switch (loss.kind) {
    case LossKind::binary_crossentropy:
      return layers::FinalActivation::sigmoid;
    case LossKind::categorical_crossentropy:
    case LossKind::sparse_categorical_crossentropy:
      return layers::FinalActivation::softmax;
    case LossKind::crf:
      return layers::FinalActivation::chain;
    default:
      return layers::FinalActivation::none;
  }
}

Index Rows::valid() const {
  if (!valid_steps.lengths) return B * T;
  Index n = 0;
  for (Index b = 0; b < B; ++b) n += valid_steps.length(b);
  return n * places;
}

Rows rows_of(const Shape& output, const layers::RowSteps& steps) {
  Rows rows;
  rows.shape.assign(output.begin(), output.end() - 1);
  rows.B = output.front();
  for (std::size_t d = 1; d + 1 < output.size(); ++d) rows.T *= output[d];
  for (std::size_t d = 2; d + 1 < output.size(); ++d) rows.places *= output[d];
  rows.F = output.back();
  rows.valid_steps = steps;
  return rows;
}

void check_output([[maybe_unused]] const Loss& loss, [[maybe_unused]] Index features, [[maybe_unused]] const std::string& output) {
#if REKUR_EQUATIONS
  if (loss.equations) loss.equations->check(features, std::nullopt, compose("output '%': ", {output}));
  for (const Loss& term : loss.terms) check_output(term, features, output);
#endif
}

namespace {

// Whether the weights fit; names the output.
void check_weights(const Rows& rows, std::span<const float> weights, const std::string& where) {
  const Index given = static_cast<Index>(weights.size());
  if (given == 0 || given == rows.B || given == rows.pairs()) return;
  throw_error("%expected % sample weights, one per row%; got %",
              {where, rows.B, (rows.shape.size() > 1 ? ", or " + std::to_string(rows.pairs()) + ", one per step" : ""), given});
}

#if REKUR_EQUATIONS
// Features of a target of equations, whose last axis of 1 may be left out.
Index target_features(const Rows& rows, const Shape& target) { return target.size() == rows.shape.size() + 1 ? target.back() : 1; }

void check_equations(const EquationsLoss& loss, const Rows& rows, const ConstView& target, const std::string& where) {
  Shape begins = rows.shape;
  const Index features = target_features(rows, target.shape);
  Shape whole = begins;
  whole.push_back(features);
  if (!target.data && (target.shape.empty() || rows.pairs() > 0)) throw_error("%% needs a target, got none", {where, loss.label()});
  if (target.shape != begins && target.shape != whole) {
    begins.push_back(kUnknown);
    throw_error("%% expected a target of shape %, got %", {where, loss.label(), begins, target.shape});
  }
  if (target.dtype != DType::float32) throw_error("%% expected a float32 target, got int32", {where, loss.label()});
  loss.check(rows.F, features, where);
}
#endif

}  // namespace

void check_target(const Loss& loss, const Rows& rows, const ConstView& target, std::span<const float> weights,
                  const std::string& output) {
  const std::string where = compose("output '%': ", {output});
  if (loss.kind == LossKind::callback) return check_weights(rows, weights, where);  // the target is the caller's own affair
  if (loss.kind == LossKind::sum) {
    for (const Loss& term : loss.terms) check_target(term, rows, target, weights, output);
    return;
  }
#if REKUR_EQUATIONS
  if (loss.equations) {
    check_equations(*loss.equations, rows, target, where);
    return check_weights(rows, weights, where);
  }
#endif
  const bool chain = loss.kind == LossKind::crf, sparse = chain || loss.kind == LossKind::sparse_categorical_crossentropy;
  if (chain && !weights.empty() && static_cast<Index>(weights.size()) != rows.B)
    throw_error("%crf expected % sample weights, one a row, got %", {where, rows.B, weights.size()});
  Shape expected = rows.shape;
  expected.push_back(sparse ? 1 : rows.F);
  if (!target.data && target.shape.empty()) throw_error("%% needs a target, got none", {where, name(loss.kind)});
  if (!has_shape(target, expected, sparse || rows.F == 1)) {
    if (sparse) expected.pop_back();
    throw_error("%% expected a target of shape %, got %", {where, name(loss.kind), expected, target.shape});
  }
  const DType dtype = sparse ? DType::int32 : DType::float32;
  if (target.dtype != dtype) {
    throw_error("%%%", {where, name(loss.kind),
                        (sparse ? " expected int32 class indices, got float32" : " expected a float32 target, got int32")});
  }
  const Index pairs = rows.B * rows.T;
  if (!target.data && pairs > 0) throw_error("%% needs a target, got none", {where, name(loss.kind)});

  check_weights(rows, weights, where);
  if (is_of_signals(loss.kind)) check_signals(loss, rows, weights, where);
  if (!sparse) return;
  const std::int32_t* labels = target.i32();
  const PairWeights weight(weights, rows);
  for (Index b = 0; b < rows.B; ++b) {
    for (Index t = 0; t < rows.T; ++t) {
      const std::int32_t label = labels[b * rows.T + t];
      if ((label >= 0 && label < rows.F) || weight(b, t) == 0) continue;
      throw_error("%class index % at row %% is out of range [0, %)",
                  {where, label, b, (rows.shape.size() > 1 ? ", step " + std::to_string(t / rows.places) : ""), rows.F});
    }
  }
}

namespace {

double evaluate_sum(const Loss& loss, const Rows& rows, const float* x, const ConstView& target, std::span<const float> weights,
                    float* dx, double gradient_scale) {
  const Index size = rows.pairs() * rows.F;
  std::vector<float> one(dx != nullptr && loss.terms.size() > 1 ? static_cast<std::size_t>(size) : 0);
  double total = 0;
  for (const Loss& term : loss.terms) {
    const bool first = &term == loss.terms.data();
    float* const to = dx == nullptr ? nullptr : first ? dx : one.data();
    const Scores scores = term.from_logits ? Scores::logits : Scores::values;
    total += term.weight * evaluate(term, scores, rows, x, target, weights, to, gradient_scale * term.weight);
    for (Index i = 0; !first && to != nullptr && i < size; ++i) dx[i] += to[i];
  }
  return total;
}

}  // namespace

double evaluate(const Loss& loss, Scores scores, const Rows& rows, const float* x, const ConstView& target,
                std::span<const float> weights, float* dx, double gradient_scale) {
  const Index pairs = rows.pairs();
  const Index N = rows.divisor();
  if (rows.valid() == 0) {
    if (dx) std::fill_n(dx, pairs * rows.F, 0.0f);
    return 0;
  }
  if (loss.kind == LossKind::sum) return evaluate_sum(loss, rows, x, target, weights, dx, gradient_scale);
  if (is_of_signals(loss.kind)) return evaluate_signals(loss, rows, x, target.f32(), weights, dx, gradient_scale);
#if REKUR_EQUATIONS
  if (loss.equations)
    return loss.equations->evaluate(rows, x, target.f32(), target_features(rows, target.shape), weights, dx, gradient_scale);
#endif
  const bool sparse = loss.kind == LossKind::sparse_categorical_crossentropy;
  const PairWeights weight(weights, rows);
  const PairFunction value = function(loss.kind, scores);
  const Index block = block_pairs(rows.F);
  std::vector<double> partial(static_cast<std::size_t>((pairs + block - 1) / block));

  runtime::parallel_tasks(static_cast<Index>(partial.size()), 30.0 * static_cast<double>(pairs * rows.F), [&](Index i) {
    double sum = 0;
    for (Index r = i * block; r < std::min(pairs, (i + 1) * block); ++r) {
      float* gradient = dx ? dx + r * rows.F : nullptr;
      const double w = weight(r);
      if (w == 0) {  // not there: neither x nor y is read
        if (gradient) std::fill_n(gradient, rows.F, 0.0f);
        continue;
      }
      sum += w * value({.F = rows.F,
                        .x = x + r * rows.F,
                        .y = sparse ? nullptr : target.f32() + r * rows.F,
                        .label = sparse ? target.i32()[r] : 0,
                        .dx = gradient,
                        .s = gradient_scale * w / static_cast<double>(N),
                        .delta = loss.delta});
    }
    partial[static_cast<std::size_t>(i)] = sum;
  });
  double total = 0;
  for (const double sum : partial) total += sum;
  return total / static_cast<double>(N);
}

double evaluate(const Rows& rows, std::span<const double> values, std::span<const float> weights, float* dx,
                double gradient_scale) {
  const Index pairs = rows.pairs(), N = rows.divisor();
  const PairWeights weight(weights, rows);
  double total = 0;
  for (Index r = 0; r < pairs; ++r) {
    const double w = weight(r);
    float* const gradient = dx ? dx + r * rows.F : nullptr;
    if (w != 0) total += w * values[static_cast<std::size_t>(r)];
    if (gradient && w == 0) std::fill_n(gradient, rows.F, 0.0f);
    if (!gradient || w == 0) continue;
    const double scale = gradient_scale * w / static_cast<double>(N);
    for (Index f = 0; f < rows.F; ++f) gradient[f] = static_cast<float>(scale * gradient[f]);
  }
  return N == 0 ? 0 : total / static_cast<double>(N);
}

}  // namespace rekur::train
