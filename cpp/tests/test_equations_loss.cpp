// Losses of the user's own: equations against the built-in loss that says the same, configurations, the caller's functions.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "each_isa.hpp"
#include "io/json.hpp"
#include "model_helpers.hpp"
#include "rekur/runtime.hpp"
#include "rekur/train.hpp"
#include "train/losses.hpp"

using namespace rekur;

namespace {

const char* const kSquares = R"({"name": "equations", "label": "squares", "equations":
  {"inputs": ["y_true", "y_pred"], "nodes": [["subtract", 0, 1], ["multiply", 2, 2]], "outputs": [3]}})";
const char* const kMeanOfSquares = R"({"name": "equations", "equations":
  {"inputs": ["y_true", "y_pred"], "nodes": [["subtract", 0, 1], ["multiply", 2, 2], ["mean", 3]], "outputs": [4]}})";

train::Loss loss(const std::string& config) {
  const json::Value value = json::parse(config);
  return train::read_loss(value);
}

struct Data {
  Index B, T, F;
  std::vector<float> x, y, weights, dx;
  std::vector<std::int32_t> lengths;

  Data(Index b, Index t, Index f, Index target) : B(b), T(t), F(f) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    for (Index i = 0; i < b * t * f; ++i) x.push_back(normal(random));
    for (Index i = 0; i < b * t * target; ++i) y.push_back(normal(random));
    for (Index i = 0; i < b * t; ++i) weights.push_back(static_cast<float>(i % 3) * 0.5f);
    for (Index i = 0; i < b; ++i) lengths.push_back(static_cast<std::int32_t>(i % (t + 1)));
  }

  double run(const train::Loss& loss) {
    const train::Rows rows = train::rows_of({B, T, F}, test::given_steps(lengths, T));
    const ConstView target{y.data(), {B, T, static_cast<Index>(y.size()) / (B * T)}, DType::float32};
    train::check_target(loss, rows, target, weights, "out");
    dx.assign(x.size(), std::nanf(""));
    return train::evaluate(loss, train::Scores::values, rows, x.data(), target, weights, dx.data(), 2.5);
  }
};

}  // namespace

TEST_CASE("equations as a loss: squares are mean_squared_error, at every width and on every ISA") {
  test::each_isa([](const simd::Kernels&) {
    for (const Index F : {1, 2, 3, 5, 7, 16, 17, 33, 300, 5000})
      for (const char* config : {kSquares, kMeanOfSquares}) {
        CAPTURE(F);
        Data data(7, 5, F, F), same = data;
        const double expected = data.run(loss(R"({"name": "mean_squared_error"})"));
        CHECK(same.run(loss(config)) == doctest::Approx(expected).epsilon(1e-6));
        for (std::size_t i = 0; i < data.dx.size(); ++i)
          REQUIRE(same.dx[i] == doctest::Approx(data.dx[i]).epsilon(1e-5).scale(1e-3));
      }
  });
}

TEST_CASE("equations as a loss: parts of the output, arrays and a target of another width") {
  // y_true e^-v (m - y)^2 + [3, 5] v, m and v features 1 and 2, 0 and 2 of an output of four: what they share adds up.
  const train::Loss own = loss(R"({"name": "equations", "label": "l", "equations": {"inputs": ["t", "y", "m", "v", "k"],
      "nodes": [["subtract", 2, 0], ["multiply", 5, 3], ["multiply", 4, 6]], "outputs": [7]},
      "inputs": ["y_true", "y_pred", {"of": "y_pred", "start": 1, "stop": 3}, {"of": "y_pred", "start": -2}, [3, 5]]})");
  Data data(3, 4, 4, 1);
  const double value = data.run(own);
  const train::Rows rows = train::rows_of({3, 4, 4}, test::given_steps(data.lengths, 4));
  double expected = 0;
  for (Index b = 0; b < 3; ++b)
    for (Index t = 0; t < 4; ++t) {
      const Index pair = b * 4 + t;
      const float *x = &data.x[static_cast<std::size_t>(pair * 4)], *dx = &data.dx[static_cast<std::size_t>(pair * 4)];
      const double y = data.y[static_cast<std::size_t>(pair)], k[] = {3, 5};
      const double w = t < rows.valid_steps.length(b) ? data.weights[static_cast<std::size_t>(pair)] : 0,
                   n = static_cast<double>(rows.valid());
      double gradient[4] = {};
      for (int j = 0; j < 2; ++j) {
        expected += w * k[j] * (x[1 + j] - y) * x[2 + j] / 2 / n;
        gradient[1 + j] += 2.5 * w / n / 2 * k[j] * x[2 + j];
        gradient[2 + j] += 2.5 * w / n / 2 * k[j] * (x[1 + j] - y);
      }
      for (int j = 0; j < 4; ++j) CHECK(dx[j] == doctest::Approx(gradient[j]).epsilon(1e-5));
    }
  CHECK(value == doctest::Approx(expected).epsilon(1e-6));
}

TEST_CASE("equations as a loss: not a bit depends on the number of threads") {
  const int before = num_threads();
  Data one(40, 9, 33, 33), three = one;
  set_num_threads(1);
  const double first = one.run(loss(kMeanOfSquares));
  set_num_threads(3);
  CHECK(three.run(loss(kMeanOfSquares)) == first);
  CHECK(std::memcmp(one.dx.data(), three.dx.data(), one.dx.size() * sizeof(float)) == 0);
  set_num_threads(before);
}

namespace {

struct Fixture {
  Model model{R"({"format": "rekur", "version": 1, "name": "m", "layers": [
    {"type": "Input", "name": "x", "shape": [null, 2], "dtype": "float32"},
    {"type": "Dense", "name": "dense", "inputs": ["x"], "units": 3}], "inputs": ["x"], "outputs": ["dense"]})"};
  std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8}, y = {1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0};
  std::vector<std::int32_t> lengths = {2, 1};

  Fixture() { model.initialize(3); }
  Batch batch() const { return {{{x.data(), {2, 2, 2}, DType::float32}}, {lengths}}; }
  Targets targets() const { return {{{y.data(), {2, 2, 3}, DType::float32}}, {}}; }
  static std::string config(const std::string& loss) {
    return R"({"optimizer": {"name": "sgd", "learning_rate": 0.1}, "losses": [)" + loss + "]}";
  }
  std::vector<float> weights() const { return {model.weights().begin(), model.weights().end()}; }
};

}  // namespace

TEST_CASE("a loss of the caller's own: its values and gradients train as the built-in loss does") {
  Fixture built_in, own;
  Trainer first(built_in.model, Fixture::config(R"({"name": "mean_squared_error"})"));
  Trainer second(own.model, Fixture::config(R"({"name": "callback", "label": "mine"})"));
  Targets targets;
  targets.targets.resize(1);
  targets.losses.push_back([&](const LossCall& call) {
    REQUIRE(call.output.shape == Shape{2, 2, 3});
    for (std::size_t i = 0; i < own.y.size(); ++i) {
      const float e = call.output.f32()[i] - own.y[i];
      call.values[i / 3] += static_cast<double>(e * e) / 3;
      if (!call.gradient.empty()) call.gradient[i] = 2 * e / 3;
    }
  });
  CHECK(second.evaluate(own.batch(), targets).loss == doctest::Approx(first.evaluate(built_in.batch(), built_in.targets()).loss));
  for (int k = 0; k < 3; ++k)
    CHECK(second.step(own.batch(), targets).loss == doctest::Approx(first.step(built_in.batch(), built_in.targets()).loss));
  for (std::size_t i = 0; i < own.weights().size(); ++i) CHECK(own.weights()[i] == doctest::Approx(built_in.weights()[i]));

  const std::vector<float> before = own.weights();
  targets.losses[0] = [](const LossCall&) { throw std::runtime_error("mine"); };
  CHECK_THROWS_WITH(second.step(own.batch(), targets), "mine");
  targets.losses[0] = [&](const LossCall&) { second.set_learning_rate(1); };
  CHECK_THROWS_WITH(second.step(own.batch(), targets), "trainer: it was called by a loss that it is computing");
  targets.losses[0] = [&](const LossCall&) { CHECK(second.iterations() == 3); };
  second.evaluate(own.batch(), targets);
  targets.losses.clear();
  CHECK_THROWS_WITH(second.step(own.batch(), targets),
                    "output 'dense': mine is a loss of the caller's own, and no function came with the targets");
  targets.losses.push_back([](const LossCall&) {});
  targets.targets = built_in.targets().targets;
  CHECK_THROWS_WITH(first.step(built_in.batch(), targets),
                    "output 'dense': a function came with the targets, but its loss is none of the caller's own");
  CHECK(own.weights() == before);
}

TEST_CASE("equations as a loss: what does not fit is refused, naming output and loss") {
  Fixture f;
  const auto refused = [&](const std::string& loss, const char* message) {
    try {
      Trainer(f.model, Fixture::config(loss));
      FAIL("accepted: " << loss);
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find(message) != std::string::npos);
      INFO(error.what());
    }
  };
  const std::string nodes = R"("equations": {"inputs": ["y_true", "y_pred"], "nodes": [], "outputs": [)";
  refused(R"({"name": "equations", "label": "l", )" + nodes + "0]}}", "output 'dense': loss 'l' has no gradient");
  refused(
      R"({"name": "equations", "label": "l", )" + nodes + R"(1]}, "inputs": ["y_true", {"of": "y_pred", "start": 1, "stop": 5}]})",
      "output 'dense': loss 'l': features [1, 5) do not lie within the 3 of y_pred");
  Trainer trainer(f.model, Fixture::config(kSquares));
  Targets targets = f.targets();
  targets.targets[0].shape = {2, 3, 2};
  CHECK_THROWS_WITH(trainer.step(f.batch(), targets),
                    "output 'dense': squares expected a target of shape (2, 2, None), got (2, 3, 2)");
  targets.targets[0].shape = {2, 2, 2};
  CHECK_THROWS_WITH(
      trainer.step(f.batch(), targets),
      "output 'dense': loss 'squares': what it joins must have equally many features, or one, got 2 of y_true, 3 of y_pred");
  targets.targets[0] = {f.lengths.data(), {2, 2, 3}, DType::int32};
  CHECK_THROWS_WITH(trainer.step(f.batch(), targets), "output 'dense': squares expected a float32 target, got int32");
  targets.targets[0] = {};
  CHECK_THROWS_WITH(trainer.step(f.batch(), targets), "output 'dense': squares needs a target, got none");
  CHECK(trainer.iterations() == 0);
}
