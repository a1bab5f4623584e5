// Optimisers and clipping against plain loops in double.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "io/json.hpp"
#include "rekur/runtime.hpp"
#include "train/clipping.hpp"
#include "train/optimizers.hpp"

using namespace rekur;

namespace {

constexpr int kSteps = 20;

std::vector<float> noise(std::size_t n, unsigned seed, float stddev = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, stddev);
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  return x;
}

train::Optimizer make(const std::string& text, std::size_t n) {
  const json::Value config = json::parse(text);
  const train::OptimizerKind kind = train::read_optimizer_kind(config);
  json::Reader reader(config, "optimizer '" + train::name(kind) + "'");
  reader.string("name");
  train::Optimizer optimizer(kind, reader);
  reader.finish();
  optimizer.resize(static_cast<Index>(n), {});
  return optimizer;
}

void update(train::Optimizer& optimizer, std::vector<float>& w, std::vector<float> g, float scale, unsigned t) {
  optimizer.update({.weights = w.data(), .gradients = g.data(), .slot = 0, .size = static_cast<Index>(w.size()), .rate = 1}, scale,
                   t);
}

std::vector<float> run(const std::string& text, std::size_t n, float scale) {
  train::Optimizer optimizer = make(text, n);
  std::vector<float> w = noise(n, 1);
  for (unsigned t = 1; t <= kSteps; ++t) update(optimizer, w, noise(n, 100 + t), scale, t);
  return w;
}

// One weight in double: step(w, g, a, b, t) with two slots that start at zero.
using Rule = std::function<void(double&, double, double&, double&, int)>;

void check(const std::string& text, const Rule& rule, float scale = 1) {
  constexpr std::size_t n = 1037;
  CAPTURE(text);
  const std::string before = current_isa();
  std::vector<double> w, a(n), b(n);
  for (const float x : noise(n, 1)) w.push_back(x);
  for (int t = 1; t <= kSteps; ++t) {
    const std::vector<float> g = noise(n, 100 + static_cast<unsigned>(t));
    for (std::size_t i = 0; i < n; ++i) rule(w[i], static_cast<double>(g[i]) * scale, a[i], b[i], t);
  }
  for (const std::string& name : available_isas()) {
    set_isa(name);
    CAPTURE(name);
    const std::vector<float> result = run(text, n, scale);
    double worst = 0;
    for (std::size_t i = 0; i < n; ++i) worst = std::max(worst, std::abs(result[i] - w[i]));
    CHECK(worst < 4e-6);
  }
  set_isa(before);
}

template <class F>
void each_thread_count(F&& f) {
  const int before = num_threads();
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    f();
  }
  set_num_threads(before);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

train::Clipping clipping(const char* text) {
  const json::Value config = json::parse(text);
  json::Reader reader(config, "optimizer 'sgd'");
  return train::read_clipping(reader);
}

double plain_norm(const float* x, std::size_t n) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  return std::sqrt(sum);
}

}  // namespace

TEST_CASE("optimizers: SGD, its momentum, Nesterov's and decay") {
  check(R"({"name": "sgd"})", [](double& w, double g, double&, double&, int) { w -= 0.01 * g; });
  check(R"({"name": "sgd", "learning_rate": 0.05, "momentum": 0.9})", [](double& w, double g, double& v, double&, int) {
    v = 0.9 * v - 0.05 * g;
    w += v;
  });
  check(R"({"name": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": true, "weight_decay": 0.1})",
        [](double& w, double g, double& v, double&, int) {
          w -= 0.05 * 0.1 * w;
          v = 0.9 * v - 0.05 * g;
          w += 0.9 * v - 0.05 * g;
        });
}

TEST_CASE("optimizers: RMSprop") {
  check(R"({"name": "rmsprop"})", [](double& w, double g, double& a, double&, int) {
    a = 0.9 * a + 0.1 * g * g;
    w -= 0.001 * g / std::sqrt(a + 1e-7);
  });
  check(R"({"name": "rmsprop", "learning_rate": 0.01, "rho": 0.8, "momentum": 0.5, "epsilon": 0.001})",
        [](double& w, double g, double& a, double& v, int) {
          a = 0.8 * a + 0.2 * g * g;
          v = 0.5 * v - 0.01 * g / std::sqrt(a + 0.001);
          w += v;
        });
}

TEST_CASE("optimizers: Adam and AdamW, bias-corrected from the first step") {
  const auto adam = [](double lr, double b1, double b2, double epsilon, double decay) {
    return [=](double& w, double g, double& m, double& v, int t) {
      w -= lr * decay * w;
      m = b1 * m + (1 - b1) * g;
      v = b2 * v + (1 - b2) * g * g;
      w -= lr * std::sqrt(1 - std::pow(b2, t)) / (1 - std::pow(b1, t)) * m / (std::sqrt(v) + epsilon);
    };
  };
  check(R"({"name": "adam"})", adam(0.001, 0.9, 0.999, 1e-7, 0));
  check(R"({"name": "adam", "learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 0.001})",
        adam(0.01, 0.8, 0.99, 0.001, 0), 0.25f);
  check(R"({"name": "adamw", "learning_rate": 0.01})", adam(0.01, 0.9, 0.999, 1e-7, 0.004));
  check(R"({"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.5})", adam(0.01, 0.9, 0.999, 1e-7, 0.5));

  // The first step is lr · sign(g) to float precision, whatever β₂ rounds to.
  train::Optimizer optimizer = make(R"({"name": "adam", "learning_rate": 1, "beta_2": 0.9999, "epsilon": 1e-12})", 1);
  std::vector<float> w = {0}, g = {3};
  update(optimizer, w, g, 1, 1);
  CHECK(std::abs(w[0] + 1) < 5e-7);
}

TEST_CASE("optimizers: Nadam, Adamax, Adagrad, Adadelta, FTRL and Lion") {
  const auto momentum = [](int t) { return 0.9 * (1 - 0.5 * std::pow(0.96, t)); };
  check(R"({"name": "nadam"})", [&](double& w, double g, double& m, double& v, int t) {
    double product = 1;
    for (int k = 1; k <= t; ++k) product *= momentum(k);
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    const double ahead = momentum(t + 1) * m / (1 - product * momentum(t + 1)) + (1 - momentum(t)) * g / (1 - product);
    w -= 0.001 * ahead / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-7);
  });
  check(R"({"name": "adamax", "weight_decay": 0.1})", [](double& w, double g, double& m, double& u, int t) {
    w -= 0.001 * 0.1 * w;
    m = 0.9 * m + 0.1 * g;
    u = std::max(0.999 * u, std::abs(g));
    w -= 0.001 * m / ((1 - std::pow(0.9, t)) * (u + 1e-7));
  });
  check(R"({"name": "adagrad", "learning_rate": 0.01})", [](double& w, double g, double& a, double&, int) {
    a += g * g;
    w -= 0.01 * g / std::sqrt(0.1 + a + 1e-7);
  });
  check(R"({"name": "adadelta", "learning_rate": 1, "epsilon": 1e-5})", [](double& w, double g, double& s, double& e, int) {
    s = 0.95 * s + 0.05 * g * g;
    const double d = -std::sqrt(e + 1e-5) / std::sqrt(s + 1e-5) * g;
    e = 0.95 * e + 0.05 * d * d;
    w += d;
  });
  for (const double power : {0.5, 0.7, 1.0}) {
    const std::string text = R"({"name": "ftrl", "learning_rate": 0.5, "l1_regularization_strength": 0.1, "learning_rate_power": )";
    check(text + std::to_string(-power) + "}", [=](double& w, double g, double& n, double& z, int) {
      const double before = std::pow(0.1 + n, power), after = std::pow(0.1 + n + g * g, power);
      n += g * g;
      z += g - (after - before) / 0.5 * w;
      w = (std::clamp(z, -0.1, 0.1) - z) / (after / 0.5);
    });
  }
  check(R"({"name": "lion"})", [](double& w, double g, double& m, double&, int) {
    const double way = 0.9 * m + 0.1 * g;
    w -= 0.001 * (way > 0 ? 1 : -1);
    m = 0.99 * m + 0.01 * g;
  });
}

TEST_CASE("optimizers: LAMB's step is as long as the rate says of the weights' norm") {
  train::Optimizer optimizer = make(R"({"name": "lamb", "learning_rate": 0.25})", 9001);
  std::vector<float> w = noise(9001, 1);
  const std::vector<float> before = w;
  update(optimizer, w, noise(9001, 2), 1, 1);
  std::vector<float> moved(w.size());
  for (std::size_t i = 0; i < w.size(); ++i) moved[i] = w[i] - before[i];
  CHECK(plain_norm(moved.data(), moved.size()) == doctest::Approx(0.25 * plain_norm(before.data(), before.size())).epsilon(1e-5));
}

TEST_CASE("optimizers: what gathers by the way may be switched on, but for what begins with the weights") {
  train::Optimizer optimizer = make(R"({"name": "sgd", "momentum": 0.5})", 3);
  optimizer.slots()[0].values = {1, 2, 3};
  const auto set = [&](const char* text) {
    const json::Value config = json::parse(text);
    json::Reader reader(config, "optimizer 'sgd'");
    reader.string("name");
    optimizer.set_hyperparameters(train::read_hyperparameters(train::OptimizerKind::sgd, reader));
  };
  set(R"({"name": "sgd", "momentum": 0.5, "gradient_accumulation_steps": 2})");
  REQUIRE(optimizer.slots().size() == 2);
  CHECK(optimizer.slots()[0].values == std::vector<float>{1, 2, 3});
  CHECK(optimizer.slots()[1].values == std::vector<float>{0, 0, 0});
  CHECK_THROWS_WITH_AS(set(R"({"name": "sgd", "use_ema": true})"), doctest::Contains("averages"), Error);
  CHECK(optimizer.slots().size() == 2);
}

TEST_CASE("optimizers: not a bit depends on the number of threads") {
  for (const char* text :
       {R"({"name": "sgd", "momentum": 0.9, "weight_decay": 0.1})", R"({"name": "rmsprop"})", R"({"name": "adamw"})",
        R"({"name": "nadam"})", R"({"name": "lamb"})", R"({"name": "adam", "use_ema": true, "lookahead_sync_period": 3})"}) {
    std::vector<float> first;
    each_thread_count([&] {
      const std::vector<float> w = run(text, 50'021, 0.5f);
      if (first.empty()) first = w;
      CHECK(same_bits(w, first));
    });
  }
}

TEST_CASE("optimizers: hyperparameters out of range and unknown keys are refused") {
  const auto refused = [](const char* text, const char* message) {
    CHECK_THROWS_WITH_AS(make(text, 1), doctest::Contains(message), Error);
  };
  refused(R"({"name": "adem"})", "unknown optimizer 'adem' (did you mean 'adam'?)");
  refused(R"({"name": "adam", "learning_rate": -1})",
          "optimizer 'adam': 'learning_rate' must be a number from 0 to 3.4e38, got -1");
  refused(R"({"name": "adam", "learning_rate": 1e300})", "'learning_rate'");
  refused(R"({"name": "adam", "beta_1": 1})", "'beta_1' must be a number in [0, 1)");
  refused(R"({"name": "adam", "beta_2": 0.9999999999})", "'beta_2'");  // 1 as a float: nothing to divide by
  refused(R"({"name": "adam", "epsilon": 0})", "'epsilon' must be a positive number");
  refused(R"({"name": "adam", "momentum": 0.9})", "unknown key 'momentum'");
  refused(R"({"name": "adam", "weight_decay": -1})", "'weight_decay'");
  refused(R"({"name": "lion", "epsilon": 1})", "unknown key 'epsilon'");
  refused(R"({"name": "sgd", "gradient_accumulation_steps": 1})", "'gradient_accumulation_steps' must be a whole number from 2");
  refused(R"({"name": "sgd", "ema_momentum": 2})", "'ema_momentum'");
  refused(R"({"name": "ftrl", "learning_rate_power": 0.5})", "'learning_rate_power' must be a number up to 0");
  refused(R"({"name": "sgd", "momentum": 1.5})", "'momentum'");
  refused(R"({"name": "sgd", "nesterov": 1})", "'nesterov'");
  refused(R"({"name": "rmsprop", "rho": -0.1})", "'rho'");
  refused(R"({"name": "adamw", "weight_decay": -0.1})", "'weight_decay'");
  refused(R"({"learning_rate": 1})", "'name'");

  train::Optimizer optimizer = make(R"({"name": "sgd"})", 1);
  CHECK(optimizer.learning_rate() == 0.01);
  optimizer.set_learning_rate(0.25);
  CHECK(optimizer.learning_rate() == 0.25);
  for (const double bad : {-1.0, 1e300, std::nan(""), HUGE_VAL}) CHECK_THROWS_AS(optimizer.set_learning_rate(bad), Error);
  CHECK(optimizer.learning_rate() == 0.25);
}

TEST_CASE("clipping: by value, by the norm of each tensor, by the norm of all") {
  const std::vector<train::Range> parameters = {{0, 5000}, {5000, 7}, {5007, 3000}}, all = {{0, 8007}};
  const std::vector<float> g = noise(8007, 3);
  const std::string before = current_isa();
  for (const std::string& name : available_isas()) {
    set_isa(name);
    CAPTURE(name);
    std::vector<float> x = g;
    CHECK(train::clip(clipping("{}"), parameters, all, x) == 1);
    CHECK(same_bits(x, g));

    CHECK(train::clip(clipping(R"({"clipvalue": 0.5})"), parameters, all, x) == 1);
    for (std::size_t i = 0; i < g.size(); ++i) REQUIRE(x[i] == std::min(0.5f, std::max(-0.5f, g[i])));

    x = g;
    CHECK(train::clip(clipping(R"({"clipnorm": 20})"), parameters, all, x) == 1);
    for (const train::Range& p : parameters) {
      const std::size_t offset = static_cast<std::size_t>(p.begin), n = static_cast<std::size_t>(p.size);
      const double norm = plain_norm(g.data() + offset, n), factor = norm > 20 ? 20 / norm : 1;
      CHECK(train::norm({g.data() + offset, n}) == doctest::Approx(norm).epsilon(1e-12));
      for (std::size_t i = offset; i < offset + n; ++i) REQUIRE(std::abs(x[i] - g[i] * factor) <= 2e-7 * std::abs(g[i]));
    }
    CHECK(std::memcmp(x.data() + 5000, g.data() + 5000, 7 * sizeof(float)) == 0);  // within the limit: untouched

    x = g;
    CHECK(train::clip(clipping(R"({"global_clipnorm": 2})"), parameters, all, x) ==
          doctest::Approx(2 / plain_norm(g.data(), g.size())).epsilon(1e-6));
    CHECK(train::clip(clipping(R"({"global_clipnorm": 1000})"), parameters, all, x) == 1);
    CHECK(same_bits(x, g));
  }
  set_isa(before);
}

TEST_CASE("clipping: a norm that is not finite, sums on any number of threads, limits that are none") {
  const std::vector<train::Range> parameters = {{0, 2}, {2, 2}}, all = {{0, 4}};
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  std::vector<float> x = {nan, 1, 3, 4};
  CHECK(std::isnan(train::clip(clipping(R"({"global_clipnorm": 1})"), parameters, all, x)));
  train::clip(clipping(R"({"clipnorm": 1})"), parameters, all, x);
  CHECK(std::isnan(x[0]));
  CHECK(std::isnan(x[1]));
  CHECK(x[3] == doctest::Approx(0.8));
  x = {infinity, 1, 0, 0};
  train::clip(clipping(R"({"clipnorm": 1})"), parameters, all, x);
  CHECK(std::isnan(x[0]));
  CHECK(x[1] == 0);
  x = {nan, infinity, -infinity, 0.5f};
  train::clip(clipping(R"({"clipvalue": 1})"), parameters, all, x);
  CHECK(std::isnan(x[0]));
  CHECK(x[1] == 1);
  CHECK(x[2] == -1);

  const std::vector<float> large = noise(300'007, 9);
  double first = -1;
  each_thread_count([&] {
    const double norm = train::norm(large);
    if (first < 0) first = norm;
    CHECK(norm == first);
  });

  CHECK_THROWS_WITH_AS(clipping(R"({"clipnorm": 0})"), doctest::Contains("optimizer 'sgd': 'clipnorm' must be a positive number"),
                       Error);
  CHECK_THROWS_WITH_AS(clipping(R"({"clipvalue": 1, "global_clipnorm": 1})"),
                       doctest::Contains("'clipvalue' and 'global_clipnorm' are both given"), Error);
}
