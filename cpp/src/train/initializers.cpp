#include "train/initializers.hpp"
#include "io/text.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "io/suggest.hpp"
#include "runtime/interrupt.hpp"
#include "runtime/parallel.hpp"
#include "runtime/random.hpp"
#include "train/legendre.hpp"
#include "train/orthogonal.hpp"

namespace rekur::train {
namespace {

// Training counts its steps from 0; the draws of initialisers lie where it never gets, so dropout and initial weights share none.
constexpr std::uint64_t kInitialStep = std::uint64_t{1} << 63;
constexpr std::uint64_t kNextDraw = std::uint64_t{1} << 32;  // between the steps of two draws into one parameter

constexpr std::array<std::string_view, 21> kInitializerNames = {
    "zeros",       "ones",           "constant",         "uniform",
    "normal",      "glorot_uniform", "glorot_normal",    "he_uniform",
    "he_normal",   "lecun_uniform",  "lecun_normal",     "orthogonal",
    "rnn_uniform", "unit_forget",    "log_uniform",      "softplus_log_uniform",
    "log_range",   "legendre",       "truncated_normal", "variance_scaling",
    "identity"};

enum class Distribution {
  constant,
  uniform,
  normal,
  truncated_normal,
  orthogonal,
  identity,
  unit_forget,
  log_uniform,
  softplus_log_uniform,
  log_range,
  legendre
};

constexpr double kLeastLog = 1e-30;  // of what a logarithm is taken

// An initialiser once its name, its parameters and the fans are worked out.
struct Plan {
  Distribution kind = Distribution::constant;
  double a = 0;                         // value; low; mean; gain
  double b = 0;                         // high; stddev
  const json::Value* others = nullptr;  // unit_forget: what draws the other gates; null: zeros
  Index seed = -1;                      // its own; -1: the model's
};

struct Fans {
  double in = 1, out = 1;
};

Fans fans_of(const Shape& shape) {
  if (shape.empty()) return {};
  Fans fans{static_cast<double>(shape.size() == 1 ? shape[0] : shape[shape.size() - 2]), static_cast<double>(shape.back())};
  for (std::size_t i = 0; i + 2 < shape.size(); ++i) {  // leading dimensions multiply both, as a convolution's window does
    fans.in *= static_cast<double>(shape[i]);
    fans.out *= static_cast<double>(shape[i]);
  }
  return fans;
}

// stddev of a standard normal truncated at ±2.
constexpr double kTruncatedStddev = 0.87962566103423978;

// "glorot_uniform" and its family: `scale` / fan is the variance.
Plan variance_scaling(bool uniform, double scale, double fan) {
  const double variance = scale / std::max(fan, 1.0);
  if (uniform) return {Distribution::uniform, -std::sqrt(3 * variance), std::sqrt(3 * variance)};
  return {Distribution::truncated_normal, 0, std::sqrt(variance) / kTruncatedStddev};
}

double finite(json::Reader& reader, const char* key, double fallback) {
  const double value = reader.number(key, fallback);
  if (std::abs(value) > static_cast<double>(std::numeric_limits<float>::max())) reader.refuse(key, "within the range of float32");
  return value;
}

Plan plan_of(std::string_view name, json::Reader& reader, const Shape& shape, Index units) {
  const Fans fans = fans_of(shape);
  if (name == "zeros") return {Distribution::constant, 0, 0};
  if (name == "ones") return {Distribution::constant, 1, 0};
  if (name == "constant") {
    reader.get("value");
    return {Distribution::constant, finite(reader, "value", 0), 0};
  }
  if (name == "uniform") {
    const Plan plan{Distribution::uniform, finite(reader, "low", -0.05), finite(reader, "high", 0.05)};
    if (plan.b < plan.a) reader.fail("'low' must not be above 'high'");
    return plan;
  }
  if (name == "normal") {
    const Plan plan{Distribution::normal, finite(reader, "mean", 0), finite(reader, "stddev", 0.05)};
    if (plan.b < 0) reader.refuse("stddev", "0 or more");
    return plan;
  }
  if (name == "glorot_uniform") return variance_scaling(true, 2, fans.in + fans.out);
  if (name == "glorot_normal") return variance_scaling(false, 2, fans.in + fans.out);
  if (name == "he_uniform") return variance_scaling(true, 2, fans.in);
  if (name == "he_normal") return variance_scaling(false, 2, fans.in);
  if (name == "lecun_uniform") return variance_scaling(true, 1, fans.in);
  if (name == "lecun_normal") return variance_scaling(false, 1, fans.in);
  if (name == "orthogonal") return {Distribution::orthogonal, finite(reader, "gain", 1), 0};
  if (name == "identity") return {Distribution::identity, finite(reader, "gain", 1), 0};
  if (name == "truncated_normal") {
    const Plan plan{Distribution::truncated_normal, finite(reader, "mean", 0), finite(reader, "stddev", 0.05)};
    if (plan.b < 0) reader.refuse("stddev", "0 or more");
    return plan;
  }
  if (name == "variance_scaling") {
    const double scale = finite(reader, "scale", 1);
    if (!(scale > 0)) reader.refuse("scale", "above 0");
    const std::string mode = reader.string("mode", "fan_in"), distribution = reader.string("distribution", "truncated_normal");
    if (mode != "fan_in" && mode != "fan_out" && mode != "fan_avg") reader.refuse("mode", "\"fan_in\", \"fan_out\" or \"fan_avg\"");
    const double fan = mode == "fan_in" ? fans.in : mode == "fan_out" ? fans.out : (fans.in + fans.out) / 2;
    if (distribution == "uniform") return variance_scaling(true, scale, fan);
    if (distribution == "truncated_normal") return variance_scaling(false, scale, fan);
    if (distribution == "untruncated_normal") return {Distribution::normal, 0, std::sqrt(scale / std::max(fan, 1.0))};
    reader.refuse("distribution", "\"truncated_normal\", \"untruncated_normal\" or \"uniform\"");
  }
  if (name == "rnn_uniform") {
    const double bound = 1 / std::sqrt(std::max(static_cast<double>(units), 1.0));
    return {Distribution::uniform, -bound, bound};
  }
  if (name == "log_uniform" || name == "softplus_log_uniform") {
    const Plan plan{name == "log_uniform" ? Distribution::log_uniform : Distribution::softplus_log_uniform,
                    finite(reader, "low", 1e-3), finite(reader, "high", 0.1)};
    if (!(plan.a >= kLeastLog)) reader.refuse("low", "1e-30 or more");
    if (plan.b < plan.a) reader.fail("'low' must not be above 'high'");
    return plan;
  }
  if (name == "log_range") return {Distribution::log_range};
  if (name == "legendre") {
    const Plan plan{Distribution::legendre, finite(reader, "theta", 100)};
    if (!(plan.a >= 1)) reader.refuse("theta", "1 or more");
    return plan;
  }
  if (name == "unit_forget") return {Distribution::unit_forget, 0, 0, reader.find("others")};
  reader.fail("%", {unknown_name("initializer", name, kInitializerNames)});
}

Plan plan_of(const json::Value& initializer, std::string_view context, const Shape& shape, Index units) {
  if (!initializer.is_string() && !initializer.is_object()) {
    throw_error("%: expected the name of an initializer or an object, got %", {context, json::describe(initializer)});
  }
  const json::Value named(json::Object{{"name", initializer}});
  json::Reader reader(initializer.is_string() ? named : initializer, std::string(context));
  const std::string name = reader.string("name");
  Plan plan = plan_of(name, reader, shape, units);
  if (reader.find("seed") != nullptr) {
    plan.seed = reader.integer("seed");
    if (plan.seed < 0) reader.refuse("seed", "an integer >= 0");
  }
  reader.finish();
  if (plan.others != nullptr &&
      plan_of(*plan.others, compose("%: others", {context}), {}, units).kind == Distribution::unit_forget) {
    reader.refuse("others", "another initializer than unit_forget");
  }
  return plan;
}

using random::Stream;

// out[i] = draw(i / 4 * 4)[i % 4], in parallel; a number costs `cost` floating-point operations or so. Somebody who interrupts
// waits for a slice.
template <class Number, class Draw>
void fill(std::span<Number> out, double cost, const Draw& draw) {
  constexpr Index kSlice = Index{1} << 22, kGrain = 1024;
  static_assert(kSlice % 4 == 0 && kGrain % 4 == 0);
  const auto n = static_cast<Index>(out.size());
  for (Index done = 0; done < n; done += kSlice) {
    if (done > 0) runtime::check_interrupt();
    const Index size = std::min(kSlice, n - done);
    runtime::parallel_range(size, kGrain, cost * static_cast<double>(size), [&](Index begin, Index end) {
      for (Index i = done + begin; i < done + end; i += 4) {
        const random::Four numbers = draw(static_cast<std::uint64_t>(i));
        for (Index k = 0; k < std::min(Index{4}, done + end - i); ++k)
          out[static_cast<std::size_t>(i + k)] = static_cast<Number>(numbers[static_cast<std::size_t>(k)]);
      }
    });
  }
}

// a + b x of each.
random::Four along(double a, double b, random::Four x) {
  for (double& value : x) value = a + b * value;
  return x;
}

// The first draws within ±2, each attempt from a step of its own.
random::Four truncated_normals(std::uint64_t seed, std::uint64_t step, std::uint32_t stream, std::uint64_t index) {
  random::Four numbers = Stream(seed, step, stream).normals(index);
  for (std::size_t k = 0; k < 4; ++k) {
    for (std::uint64_t attempt = 1; std::abs(numbers[k]) > 2; ++attempt)
      numbers[k] = Stream(seed, step + attempt, stream).normal(index + k);
  }
  return numbers;
}

void fill_orthogonal(const Shape& shape, double gain, const Stream& draws, std::span<float> out) {
  const Index columns = shape.empty() ? 1 : shape.back();
  const Index rows = static_cast<Index>(out.size()) / std::max(columns, Index{1});
  const Index k = std::min(rows, columns), n = std::max(rows, columns);
  std::vector<double> matrix(out.size());
  fill(std::span<double>(matrix), 100, [&](std::uint64_t i) { return draws.normals(i); });
  orthonormalize_rows(k, n, matrix);
  // By squares, so that the side that jumps from line to line stays in the cache.
  constexpr Index kSide = 64;
  runtime::parallel_range(rows, kSide, 10.0 * static_cast<double>(k * n), [&](Index begin, Index end) {
    for (Index first = 0; first < columns; first += kSide) {
      for (Index r = begin; r < end; ++r) {
        for (Index c = first; c < std::min(columns, first + kSide); ++c) {
          const Index from = rows <= columns ? r * n + c : c * n + r;
          out[static_cast<std::size_t>(r * columns + c)] = static_cast<float>(gain * matrix[static_cast<std::size_t>(from)]);
        }
      }
    }
  });
}

// What `initialize` does, with the step from which it takes its random numbers.
void draw(const json::Value& initializer, const Shape& shape, std::string_view context, std::uint64_t seed, std::uint64_t step,
          std::uint32_t stream, Index units, Index forget, std::span<float> out) {
  const Plan plan = plan_of(initializer, context, shape, units);
  const Index count = element_count(shape);
  if (static_cast<std::uint64_t>(count) != out.size()) {
    throw_error("%: shape % does not have the % elements to fill", {context, shape, out.size()});
  }
  if (out.empty()) return;
  if (out.size() > Stream::kMaxIndex) throw_error("%: more than 2^34 elements to draw", {context});
  if (plan.seed >= 0) {  // the same numbers whatever the model and the parameter
    seed = static_cast<std::uint64_t>(plan.seed);
    stream = 0;
  }
  const Stream draws(seed, step, stream);
  switch (plan.kind) {
    case Distribution::constant:
      std::fill(out.begin(), out.end(), static_cast<float>(plan.a));
      break;
    case Distribution::uniform:
      fill(out, 40, [&](std::uint64_t i) { return along(plan.a, plan.b - plan.a, draws.uniforms(i)); });
      break;
    case Distribution::normal:
      fill(out, 100, [&](std::uint64_t i) { return along(plan.a, plan.b, draws.normals(i)); });
      break;
    case Distribution::truncated_normal:
      fill(out, 100, [&](std::uint64_t i) { return along(plan.a, plan.b, truncated_normals(seed, step, stream, i)); });
      break;
    case Distribution::orthogonal:
      fill_orthogonal(shape, plan.a, draws, out);
      break;
    case Distribution::identity: {
      if (shape.size() != 2) throw_error("%: 'identity' is for a matrix, not for a parameter of shape %", {context, shape});
      std::fill(out.begin(), out.end(), 0.0f);
      for (Index i = 0; i < std::min(shape[0], shape[1]); ++i)
        out[static_cast<std::size_t>(i * shape[1] + i)] = static_cast<float>(plan.a);
      break;
    }
    case Distribution::log_uniform:
    case Distribution::softplus_log_uniform: {
      const double low = std::log(plan.a), range = std::log(plan.b) - low;
      fill(out, 100, [&](std::uint64_t i) {
        random::Four numbers = along(low, range, draws.uniforms(i));
        for (double& x : numbers) {
          x = std::exp(x);
          if (plan.kind == Distribution::softplus_log_uniform) x += std::log(-std::expm1(-x));  // ln(e^x - 1)
        }
        return numbers;
      });
      break;
    }
    case Distribution::log_range: {  // a row after the other
      const Index columns = shape.size() < 2 ? 1 : count / shape[0];
      for (Index i = 0; i < count; ++i) out[static_cast<std::size_t>(i)] = std::log(static_cast<float>(i / columns + 1));
      break;
    }
    case Distribution::legendre:
      fill_legendre(shape, plan.a, context, out);
      break;
    case Distribution::unit_forget:
      if (forget < 0) {
        throw_error("%: 'unit_forget' is for the bias of a forget gate, which this parameter of shape % has not", {context, shape});
      }
      std::fill(out.begin(), out.end(), 0.0f);
      std::fill_n(out.begin() + forget, units, 1.0f);
      if (plan.others != nullptr) {
        // As Keras draws them: those before the forget gate (i), then those after it (g and o) together.
        const std::string part = compose("%: others", {context});
        const Index after = forget + units;
        draw(*plan.others, {forget}, part, seed, step, stream, units, -1, out.first(static_cast<std::size_t>(forget)));
        draw(*plan.others, {count - after}, part, seed, step + kNextDraw, stream, units, -1,
             out.subspan(static_cast<std::size_t>(after)));
      }
      break;
  }
}

}  // namespace

void check_initializer(const json::Value& initializer, std::string_view context) { plan_of(initializer, context, {}, 1); }

void initialize(const json::Value& initializer, const Shape& shape, std::string_view context, std::uint64_t seed,
                std::uint32_t stream, Index units, Index forget, std::span<float> out) {
  draw(initializer, shape, context, seed, kInitialStep, stream, units, forget, out);
}

}  // namespace rekur::train
