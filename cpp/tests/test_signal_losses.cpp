// Losses of signals and sums of losses, against their formulas in long double, gradients against central differences of those.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "io/json.hpp"
#include "model_helpers.hpp"
#include "train/losses.hpp"

using namespace rekur;
using namespace rekur::test;
using train::Loss;

namespace {

using Real = long double;

Loss loss_of(const std::string& config) { return train::read_loss(json::parse(config)); }

// A batch of B rows of T steps of F features, and which steps there are.
struct Case {
  Index B, T, F;
  std::vector<float> x, y, weights;
  std::vector<std::int32_t> lengths, list;
  std::vector<std::uint8_t> valid, resets;

  Case(Index B_, Index T_, Index F_) : B(B_), T(T_), F(F_), x(numbers(B * T * F, 1)), y(numbers(B * T * F, 2)) {}

  train::Rows rows() const {
    layers::RowSteps steps{.T = T};
    if (!lengths.empty()) steps.lengths = lengths.data();
    if (!list.empty()) steps.list = list.data(), steps.valid = valid.data();
    if (!resets.empty()) steps.resets = resets.data();
    return train::rows_of({B, T, F}, steps);
  }
  ConstView target() const { return {y.data(), {B, T, F}, DType::float32}; }
  void check(const Loss& loss) const { train::check_target(loss, rows(), target(), weights, "y"); }

  // Flags of the steps; a mask.
  void leave_out(const std::vector<std::uint8_t>& flags) {
    valid = flags;
    list.assign(valid.size(), 0);
    lengths.assign(static_cast<std::size_t>(B), 0);
    for (Index b = 0; b < B; ++b)
      for (Index t = 0; t < T; ++t)
        if (valid[static_cast<std::size_t>(b * T + t)] != 0)
          list[static_cast<std::size_t>(b * T + lengths[static_cast<std::size_t>(b)]++)] = static_cast<std::int32_t>(t);
  }

  // The formula, with x[at] changed by `by`.
  Real value(bool ratio, Real c, Real epsilon, std::size_t at = 0, Real by = 0) const {
    Real total = 0;
    const train::Rows all = rows();
    const train::PairWeights weight(weights, all);
    for (Index b = 0; b < B; ++b)
      for (Index f = 0; f < F; ++f) {
        Real squares = 0, sum = 0, power = 0, e_before = 0, y_before = 0, n = 0, w = 0;
        for (Index t = 0, k = 0; t < T; ++t) {
          if (!all.is_valid(b, t)) continue;
          const bool begins = !resets.empty() && resets[static_cast<std::size_t>(b * T + k)] != 0;
          ++k;
          if (begins) e_before = y_before = 0;
          if (weight(b, t) == 0) continue;
          const auto i = static_cast<std::size_t>((b * T + t) * F + f);
          const Real wanted = y[i], e = wanted - (x[i] + (i == at ? by : 0)), u = e - c * e_before, v = wanted - c * y_before;
          squares += u * u, sum += u, power += v * v, n += 1, w = weight(b, t);
          e_before = e, y_before = wanted;
        }
        if (n > 0) total += w * (ratio ? squares / n : sum / n * (sum / n)) / (power / n + epsilon) / F;
      }
    return total / B;
  }
};

void check_against(const Case& c, double emphasis, double epsilon) {
  for (const std::string name : {"esr", "dc"}) {
    INFO(name, " pre-emphasis ", emphasis);
    const Loss loss = loss_of(R"({"name": ")" + name + R"(", "pre_emphasis": )" + std::to_string(emphasis) + R"(, "epsilon": )" +
                              std::to_string(epsilon) + "}");
    c.check(loss);
    const auto formula = [&](std::size_t at, Real by) { return c.value(name == "esr", loss.pre_emphasis, loss.epsilon, at, by); };
    std::vector<float> dx(c.x.size(), 777.0f);
    const double found = train::evaluate(loss, train::Scores::values, c.rows(), c.x.data(), c.target(), c.weights, dx.data(), 3.0);
    CHECK(near(found, static_cast<double>(formula(0, 0)), 1e-6));
    CHECK(train::evaluate(loss, train::Scores::values, c.rows(), c.x.data(), c.target(), c.weights, nullptr, 1.0) == found);
    for (std::size_t i = 0; i < dx.size(); ++i) {
      const Real expected = 3 * (formula(i, 1e-6L) - formula(i, -1e-6L)) / 2e-6L;
      CHECK_MESSAGE(std::abs(static_cast<double>(dx[i] - expected)) < 1e-6 + 1e-5 * std::abs(static_cast<double>(expected)),
                    "element ", i, ": ", dx[i], " expected ", static_cast<double>(expected));
    }
  }
}

}  // namespace

TEST_CASE("losses of signals: values and gradients") {
  for (const double emphasis : {0.0, 0.85, 1.0})
    for (const Index F : {1, 3}) {
      check_against(Case(2, 9, F), emphasis, 0.001);
      Case c(4, 8, F);
      c.lengths = {8, 3, 1, 0};
      check_against(c, emphasis, 0.001);
      c.weights = {0.5f, 2, 0, 1};
      check_against(c, emphasis, 0.001);
      c.weights.assign(4 * 8, 0.25f);
      for (std::size_t t = 0; t < 4; ++t) c.weights[t] = 0;  // a beginning that does not count
      c.weights[6] = 0;
      check_against(c, emphasis, 0.001);
      Case masked(2, 6, F);
      masked.leave_out({0, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 1});
      check_against(masked, emphasis, 0.5);
      masked.resets = {0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0};
      check_against(masked, emphasis, 0.5);
    }
}

TEST_CASE("losses of signals: silence, what is not there, images") {
  Case c(2, 5, 1);
  std::fill(c.y.begin(), c.y.begin() + 5, 0.0f);
  const Loss esr = loss_of(R"({"name": "esr"})");
  CHECK(esr.epsilon == 1e-5);
  std::vector<float> dx(c.x.size());
  CHECK(std::isfinite(train::evaluate(esr, train::Scores::values, c.rows(), c.x.data(), c.target(), {}, dx.data(), 1)));
  // NaN where nothing is read.
  c.weights = {0, 1};
  c.x[2] = c.y[3] = std::nanf("");
  CHECK(std::isfinite(train::evaluate(esr, train::Scores::values, c.rows(), c.x.data(), c.target(), c.weights, dx.data(), 1)));
  for (std::size_t i = 0; i < 5; ++i) CHECK(dx[i] == 0);
  CHECK(dx[7] != 0);
  // (B, T, places, F) is (B, T, places · F).
  const std::vector<float> x = numbers(2 * 4 * 6, 5), y = numbers(2 * 4 * 6, 6);
  const auto of = [&](const Shape& shape) {
    return train::evaluate(esr, train::Scores::values, train::rows_of(shape, {.T = 4}), x.data(), {y.data(), shape, DType::float32},
                           {}, nullptr, 1);
  };
  CHECK(of({2, 4, 3, 2}) == of({2, 4, 6}));
}

TEST_CASE("losses of signals: what is refused") {
  Case c(2, 4, 1);
  const Loss esr = loss_of(R"({"name": "esr"})");
  c.weights = {1, 1, 1, 1, 2, 0, 2, 2};
  c.check(esr);
  c.weights[1] = 3;
  contains(message_of([&] { c.check(esr); }), "within row 0 the same or 0");
  c.weights = {1};
  contains(message_of([&] { c.check(esr); }), "output 'y': expected 2 sample weights");
  const std::vector<float> y(4);
  contains(message_of([&] { train::check_target(esr, train::rows_of({4, 1}, {}), {y.data(), {4, 1}, DType::float32}, {}, "y"); }),
           "output 'y': esr is a loss of sequences");
  contains(message_of([] { loss_of(R"({"name": "esr", "pre_emphasis": 1.5})"); }), "'pre_emphasis' must be a number from 0 to 1");
  contains(message_of([] { loss_of(R"({"name": "dc", "epsilon": 0})"); }), "'epsilon' must be a positive number");
  contains(message_of([] { loss_of(R"({"name": "sum", "losses": []})"); }), "at least one loss");
  contains(message_of([] { loss_of(R"({"name": "sum", "losses": [{"loss": {"name": "crf"}}]})"); }), "crf cannot stand in a sum");
  contains(message_of([] { loss_of(R"({"name": "sum", "losses": [{"loss": {"name": "esr"}, "factor": 1}]})"); }),
           "unknown key 'factor'");
}

TEST_CASE("sums of losses: each with its weight, gradients too") {
  Case c(3, 6, 2);
  c.lengths = {6, 2, 4};
  c.weights = {1, 0.5f, 2};
  const std::string parts[] = {R"({"name": "esr", "pre_emphasis": 0.85})", R"({"name": "dc"})",
                               R"({"name": "huber", "delta": 0.3})", R"({"name": "binary_crossentropy", "from_logits": true})"};
  const double weights[] = {0.75, 0.25, -2, 1};
  std::string config;
  double expected = 0;
  std::vector<double> gradient(c.x.size());
  for (std::size_t k = 0; k < 4; ++k) {
    config += (k ? ", " : "") + (R"({"weight": )" + std::to_string(weights[k]) + R"(, "loss": )" + parts[k] + "}");
    std::vector<float> dx(c.x.size());
    const Loss one = loss_of(parts[k]);
    const train::Scores scores = one.from_logits ? train::Scores::logits : train::Scores::values;
    expected += weights[k] * train::evaluate(one, scores, c.rows(), c.x.data(), c.target(), c.weights, dx.data(), 2.0);
    for (std::size_t i = 0; i < dx.size(); ++i) gradient[i] += weights[k] * static_cast<double>(dx[i]);
  }
  const Loss sum = loss_of(R"({"name": "sum", "losses": [)" + config + "]}");
  c.check(sum);
  std::vector<float> dx(c.x.size());
  CHECK(near(train::evaluate(sum, train::Scores::values, c.rows(), c.x.data(), c.target(), c.weights, dx.data(), 2.0), expected,
             1e-9));
  for (std::size_t i = 0; i < dx.size(); ++i) CHECK(std::abs(static_cast<double>(dx[i]) - gradient[i]) < 1e-6);
}
