#include "train/rules.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "io/json.hpp"
#include "io/suggest.hpp"
#include "io/text.hpp"
#include "isa/dispatch.hpp"
#include "runtime/parallel.hpp"

namespace rekur::train {
namespace {

constexpr Index kPenaltyBlock = 4096;
constexpr double kNormEpsilon = 1e-7;  // Keras's, where it divides by a norm
constexpr double kLeastNorm = 1e-12;

double not_negative(json::Reader& reader, const char* key, double fallback) {
  const double value = reader.number(key, fallback);
  if (!(value >= 0 && value <= 3.4e38)) reader.refuse(key, "0 or more");
  return value;
}

struct Regularizer {
  double l1 = 0, l2 = 0, orthogonal = 0;
  bool columns = false;
};

Regularizer read_regularizer(const std::string& text, const Shape& shape, std::string_view context) {
  const json::Value value = json::parse(text);
  json::Reader reader(value, std::string(context));
  const std::string name = reader.string("name");
  Regularizer r;
  if (name == "l1") {
    r.l1 = not_negative(reader, "l1", 0.01);
  } else if (name == "l2") {
    r.l2 = not_negative(reader, "l2", 0.01);
  } else if (name == "l1_l2") {
    r.l1 = not_negative(reader, "l1", 0);
    r.l2 = not_negative(reader, "l2", 0);
  } else if (name == "orthogonal") {
    r.orthogonal = not_negative(reader, "factor", 0.01);
    const std::string mode = reader.string("mode", "rows");
    if (mode != "rows" && mode != "columns") reader.refuse("mode", "\"rows\" or \"columns\"");
    r.columns = mode == "columns";
    if (shape.size() != 2) reader.fail("'orthogonal' is for a matrix, not for a parameter of shape %", {shape});
  } else {
    constexpr std::array<std::string_view, 4> kNames = {"l1", "l2", "l1_l2", "orthogonal"};
    reader.fail("%", {unknown_name("regularizer", name, kNames)});
  }
  reader.finish();
  return r;
}

// Sums in double over blocks of fixed size, in order.
template <class Sum>
double sum_of_blocks(Index size, const Sum& sum) {
  std::vector<double> parts(static_cast<std::size_t>((size + kPenaltyBlock - 1) / kPenaltyBlock));
  runtime::parallel_tasks(static_cast<Index>(parts.size()), 2.0 * static_cast<double>(size), [&](Index i) {
    parts[static_cast<std::size_t>(i)] = sum(i * kPenaltyBlock, std::min(size, (i + 1) * kPenaltyBlock));
  });
  double total = 0;
  for (const double part : parts) total += part;
  return total;
}

// Rows (or columns) of a matrix divided by their lengths, in double; lengths below a least one count as that.
struct Directions {
  Index count, size;
  std::vector<double> at, inverse;

  Directions(const float* w, const Shape& shape, bool columns)
      : count(shape[columns ? 1 : 0]), size(shape[columns ? 0 : 1]), at(static_cast<std::size_t>(count * size)) {
    inverse.resize(static_cast<std::size_t>(count));
    for (Index i = 0; i < count; ++i) {
      double square = 0;
      for (Index k = 0; k < size; ++k) {
        const double x = static_cast<double>(w[columns ? k * count + i : i * size + k]);
        (*this)(i, k) = x;
        square += x * x;
      }
      inverse[static_cast<std::size_t>(i)] = 1 / std::max(std::sqrt(square), kLeastNorm);
      for (Index k = 0; k < size; ++k) (*this)(i, k) *= inverse[static_cast<std::size_t>(i)];
    }
  }
  double& operator()(Index i, Index k) { return at[static_cast<std::size_t>(i * size + k)]; }
  double dot(Index i, Index j) {
    double sum = 0;
    for (Index k = 0; k < size; ++k) sum += (*this)(i, k) * (*this)(j, k);
    return sum;
  }
  double pairs() const { return std::max(static_cast<double>(count) * static_cast<double>(count - 1) / 2, 1.0); }
};

double orthogonality(const float* w, const Shape& shape, bool columns) {
  Directions d(w, shape, columns);
  double sum = 0;
  for (Index i = 0; i < d.count; ++i)
    for (Index j = 0; j < i; ++j) sum += std::abs(d.dot(i, j));
  return sum / d.pairs();
}

void add_orthogonality(const float* w, const Shape& shape, bool columns, double factor, float* gradient) {
  Directions d(w, shape, columns);
  const double each = factor / d.pairs();
  std::vector<double> g(static_cast<std::size_t>(d.size));
  for (Index i = 0; i < d.count; ++i) {
    std::fill(g.begin(), g.end(), 0.0);
    double along = 0;  // the part that would change the length
    for (Index j = 0; j < d.count; ++j) {
      if (j == i) continue;
      const double cosine = d.dot(i, j), sign = cosine > 0 ? each : cosine < 0 ? -each : 0;
      for (Index k = 0; k < d.size; ++k) g[static_cast<std::size_t>(k)] += sign * d(j, k);
      along += sign * cosine;
    }
    for (Index k = 0; k < d.size; ++k)
      gradient[columns ? k * d.count + i : i * d.size + k] +=
          static_cast<float>((g[static_cast<std::size_t>(k)] - along * d(i, k)) * d.inverse[static_cast<std::size_t>(i)]);
  }
}

}  // namespace

void check_regularizer(const std::string& text, const Shape& shape, std::string_view context) {
  read_regularizer(text, shape, context);
}

void check_constraint(const std::string& text, const Shape& shape, std::string_view context) { Constraint(text, shape, context); }

Regularizers::Regularizers(const graph::Graph& graph) {
  for (std::size_t i = 0; i < graph.parameters().size(); ++i) {
    const layers::ParamSpec& spec = graph.parameter_specs()[i];
    if (spec.regularizer.empty()) continue;
    const Regularizer r = read_regularizer(spec.regularizer, spec.shape, spec.context);
    all_.push_back({graph.segment_of(i), spec.shape, graph.owner_of(i), static_cast<float>(r.l1), static_cast<float>(r.l2),
                    static_cast<float>(r.orthogonal), r.columns});
  }
}

double Regularizers::value(const graph::Graph& graph, const graph::Trained& trained) const {
  if (all_.empty()) return 0;
  const auto hold = graph.hold_weights();
  double total = 0;
  for (const One& one : all_) {
    if (!trained.owner[static_cast<std::size_t>(one.owner)]) continue;
    const float* const w = graph.data(one.segment);
    if (one.l1 != 0)
      total += static_cast<double>(one.l1) * sum_of_blocks(one.segment.size, [w](Index begin, Index end) {
                 double sum = 0;
                 for (Index i = begin; i < end; ++i) sum += std::abs(static_cast<double>(w[i]));
                 return sum;
               });
    if (one.l2 != 0)
      total += static_cast<double>(one.l2) * sum_of_blocks(one.segment.size, [w](Index begin, Index end) {
                 return isa::kernels().sum_of_squares(w + begin, end - begin);
               });
    if (one.orthogonal != 0) total += static_cast<double>(one.orthogonal) * orthogonality(w, one.shape, one.columns);
  }
  return total;
}

void Regularizers::add_gradients(const graph::Graph& graph, const graph::Trained& trained, std::span<float> gradients) const {
  if (all_.empty()) return;
  const auto hold = graph.hold_weights();
  for (const One& one : all_) {
    if (!trained.owner[static_cast<std::size_t>(one.owner)]) continue;
    const float* const w = graph.data(one.segment);
    float* const g = gradients.data() + one.segment.flat;
    if (one.l1 != 0 || one.l2 != 0)
      runtime::parallel_range(one.segment.size, kPenaltyBlock, 3.0 * static_cast<double>(one.segment.size),
                              [&](Index begin, Index end) {
                                for (Index i = begin; i < end; ++i)
                                  g[i] += 2 * one.l2 * w[i] + (w[i] > 0 ? one.l1 : w[i] < 0 ? -one.l1 : 0);
                              });
    if (one.orthogonal != 0) add_orthogonality(w, one.shape, one.columns, static_cast<double>(one.orthogonal), g);
  }
}

Constraint::Constraint(const std::string& text, const Shape& shape, std::string_view context)
    : shape_(shape), along_(shape.size(), false) {
  const json::Value value = json::parse(text);
  json::Reader reader(value, std::string(context));
  const std::string name = reader.string("name");
  if (name == "non_neg") {
    kind_ = Kind::non_negative;
    reader.finish();
    return;
  }
  if (name == "max_norm") {
    most_ = not_negative(reader, "max_value", 2);
  } else if (name == "unit_norm") {
    least_ = most_ = 1;
  } else if (name == "min_max_norm") {
    least_ = not_negative(reader, "min_value", 0);
    most_ = not_negative(reader, "max_value", 1);
    rate_ = not_negative(reader, "rate", 1);
    if (most_ < least_) reader.fail("'min_value' must not be above 'max_value'");
    if (rate_ > 1) reader.refuse("rate", "from 0 to 1");
  } else {
    constexpr std::array<std::string_view, 4> kNames = {"max_norm", "min_max_norm", "non_neg", "unit_norm"};
    reader.fail("%", {unknown_name("constraint", name, kNames)});
  }
  const json::Value fallback(0.0);
  const json::Value* const given = reader.find("axis");
  const json::Value& axis = given != nullptr ? *given : fallback;
  const std::span<const json::Value> axes = axis.is_array() ? std::span(axis.array()) : std::span(&axis, 1);
  const auto rank = static_cast<double>(shape.size());
  for (const json::Value& one : axes) {
    const double number = one.is_number() ? one.number() : rank;
    const double place = number < 0 ? number + rank : number;
    if (!(place >= 0 && place < rank) || place != std::floor(place))
      reader.fail("'axis' must be axes of the parameter, whose shape is %, got %", {shape, json::describe(one)});
    along_[static_cast<std::size_t>(place)] = true;
  }
  reader.finish();
}

// For every place of the axes that are kept the norm along the others.
void Constraint::apply(float* weights) const noexcept {
  Index size = 1, kept = 1;
  for (std::size_t d = 0; d < shape_.size(); ++d) {
    size *= shape_[d];
    if (!along_[d]) kept *= shape_[d];
  }
  if (kind_ == Kind::non_negative) {
    for (Index i = 0; i < size; ++i) weights[i] = weights[i] < 0 ? 0.0f : weights[i];
    return;
  }
  const auto over = [&](Index group, const auto& visit) {
    const Index count = kept == 0 ? 0 : size / kept;
    for (Index k = 0; k < count; ++k) {
      Index at = 0, stride = 1, outer = group, inner = k;
      for (std::size_t d = shape_.size(); d-- > 0; stride *= shape_[d]) {
        Index& place = along_[d] ? inner : outer;
        at += place % shape_[d] * stride;
        place /= shape_[d];
      }
      visit(weights[at]);
    }
  };
  for (Index group = 0; group < kept; ++group) {
    double square = 0;
    over(group, [&](float& w) { square += static_cast<double>(w) * static_cast<double>(w); });
    const double norm = std::sqrt(square);
    const double wanted = rate_ * std::clamp(norm, least_, most_) + (1 - rate_) * norm;
    const auto factor = static_cast<float>(wanted / (kNormEpsilon + norm));
    over(group, [&](float& w) { w *= factor; });
  }
}

}  // namespace rekur::train
