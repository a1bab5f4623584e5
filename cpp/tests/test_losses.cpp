// Every loss against its textbook formula in long double, its gradient against central differences of that formula.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "io/json.hpp"
#include "model_helpers.hpp"
#include "rekur/runtime.hpp"
#include "train/losses.hpp"

using namespace rekur;
using train::Loss;
using train::LossKind;
using train::Scores;

namespace {

using Real = long double;
using Reals = std::vector<Real>;

const float kNaN = std::numeric_limits<float>::quiet_NaN();

// exp(1e4) fits a long double (not on 32-bit ARM), so the naive forms hold for every logit tested here.
Real softplus(Real x) { return std::log1p(std::exp(x)); }

Real categorical(const Reals& x, const Reals& y, Scores scores) {
  Real sum = 0, value = 0;
  for (const Real v : x) sum += scores == Scores::logits ? std::exp(v) : v;
  for (std::size_t c = 0; c < x.size(); ++c) {
    const Real log_q =
        scores == Scores::logits ? x[c] - std::log(sum) : std::log(std::min<Real>(std::max<Real>(x[c] / sum, 1e-7L), 1 - 1e-7L));
    if (y[c] != 0) value -= y[c] * log_q;
  }
  return value;
}

// The value of one (row, step) pair; y is one-hot for the sparse loss.
Real value(const Loss& loss, Scores scores, const Reals& x, const Reals& y) {
  if (train::fused_activation(loss) == layers::FinalActivation::softmax) return categorical(x, y, scores);
  Real sum = 0;
  for (std::size_t f = 0; f < x.size(); ++f) {
    const Real e = std::abs(x[f] - y[f]), p = std::min<Real>(std::max<Real>(x[f], 1e-7L), 1 - 1e-7L);
    switch (loss.kind) {
      case LossKind::mean_squared_error:
        sum += e * e;
        break;
      case LossKind::mean_absolute_error:
        sum += e;
        break;
      case LossKind::huber:
        sum += e <= loss.delta ? e * e / 2 : loss.delta * (e - static_cast<Real>(loss.delta) / 2);
        break;
      default:
        sum += scores == Scores::logits ? y[f] * softplus(-x[f]) + (1 - y[f]) * softplus(x[f])
                                        : -y[f] * std::log(p) - (1 - y[f]) * std::log(1 - p);
    }
  }
  return sum / static_cast<Real>(x.size());
}

// An output, its target, and everything around them.
struct Case {
  Loss loss;
  Scores scores = Scores::values;
  Index B = 3, T = 4, F = 5;
  bool time = true;
  std::vector<float> x, y, weights;
  std::vector<std::int32_t> labels, lengths;

  Shape shape() const { return time ? Shape{B, T, F} : Shape{B, F}; }
  bool sparse() const { return loss.kind == LossKind::sparse_categorical_crossentropy; }
  train::Rows rows() const { return train::rows_of(shape(), test::given_steps(lengths, T)); }
  ConstView target() const {
    if (sparse()) return {labels.data(), time ? Shape{B, T} : Shape{B}, DType::int32};
    return {y.data(), shape(), DType::float32};
  }

  double run(std::vector<float>* dx = nullptr, double scale = 1) const {
    train::check_target(loss, rows(), target(), weights, "dense");
    if (dx) dx->assign(x.size(), kNaN);
    return train::evaluate(loss, scores, rows(), x.data(), target(), weights, dx ? dx->data() : nullptr, scale);
  }

  Real reference(const std::function<Real(std::size_t)>& at) const {
    Real sum = 0;
    Index n = 0;
    for (Index b = 0; b < B; ++b) {
      for (Index t = 0; t < (lengths.empty() ? T : lengths[static_cast<std::size_t>(b)]); ++t, ++n) {
        const std::size_t r = static_cast<std::size_t>(b * T + t), features = static_cast<std::size_t>(F);
        Reals xs, ys;
        for (std::size_t f = 0; f < features; ++f) {
          xs.push_back(at(r * features + f));
          ys.push_back(sparse() ? static_cast<Real>(labels[r] == static_cast<std::int32_t>(f))
                                : static_cast<Real>(y[r * features + f]));
        }
        const Real w =
            weights.empty() ? 1 : weights[weights.size() == static_cast<std::size_t>(B) ? static_cast<std::size_t>(b) : r];
        sum += w * value(loss, scores, xs, ys);
      }
    }
    return n == 0 ? 0 : sum / static_cast<Real>(n);
  }
  Real reference() const {
    return reference([this](std::size_t i) { return static_cast<Real>(x[i]); });
  }
};

constexpr LossKind kKinds[] = {
    LossKind::mean_squared_error,  LossKind::mean_absolute_error,      LossKind::huber,
    LossKind::binary_crossentropy, LossKind::categorical_crossentropy, LossKind::sparse_categorical_crossentropy};

Case make(LossKind kind, Scores scores, Index B, Index T, Index F, bool time, unsigned seed) {
  Case c{.loss = {.kind = kind, .delta = 0.7},
         .scores = scores,
         .B = B,
         .T = T,
         .F = F,
         .time = time,
         .x = {},
         .y = {},
         .weights = {},
         .labels = {},
         .lengths = {}};
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 2);
  std::uniform_real_distribution<float> unit(0.02f, 0.98f);
  const bool probabilities = scores == Scores::values && train::fused_activation(c.loss) != layers::FinalActivation::none;
  const bool distribution = train::fused_activation(c.loss) != layers::FinalActivation::none;
  for (Index i = 0; i < B * T * F; ++i) {
    c.x.push_back(probabilities ? unit(random) : normal(random));
    c.y.push_back(distribution ? unit(random) : normal(random));
  }
  for (Index i = 0; i < B * T; ++i) c.labels.push_back(static_cast<std::int32_t>(random() % static_cast<unsigned>(F)));
  return c;
}

void check_against_reference(const Case& c) {
  std::vector<float> dx;
  const double loss = c.run(&dx, 1.5);
  CHECK(loss == doctest::Approx(static_cast<double>(c.reference())).epsilon(2e-6));
  CHECK(c.run() == loss);
  const Real h = 1e-7L;
  for (std::size_t i = 0; i < c.x.size(); ++i) {
    const auto moved = [&](Real by) {
      return c.reference([&](std::size_t j) { return static_cast<Real>(c.x[j]) + (j == i ? by : 0); });
    };
    const double expected = static_cast<double>(1.5L * (moved(h) - moved(-h)) / (2 * h));
    CAPTURE(i);
    CHECK(std::abs(dx[i] - expected) <= 3e-7 + 3e-6 * std::abs(expected));
  }
}

struct EveryIsa {
  std::string before = current_isa();
  ~EveryIsa() { set_isa(before); }
  void operator()(const std::function<void()>& test) const {
    for (const std::string& name : available_isas()) {
      CAPTURE(name);
      set_isa(name);
      test();
    }
  }
};

}  // namespace

TEST_CASE("losses: value and gradient of every loss, shape, weighting and padding") {
  EveryIsa()([] {
    unsigned seed = 0;
    for (const LossKind kind : kKinds) {
      for (const Scores scores : {Scores::values, Scores::logits}) {
        for (const Index F : {1, 5, 19}) {
          CAPTURE(train::name(kind));
          CAPTURE(static_cast<int>(scores));
          CAPTURE(F);
          Case flat = make(kind, scores, 4, 1, F, false, ++seed);
          check_against_reference(flat);
          flat.weights = {0.5f, 0.0f, 2.0f, 1.0f};
          check_against_reference(flat);

          Case steps = make(kind, scores, 3, 4, F, true, ++seed);
          check_against_reference(steps);
          steps.lengths = {4, 0, 2};
          check_against_reference(steps);
          steps.weights = {0.5f, 7.0f, 2.0f};
          check_against_reference(steps);
          steps.weights = {1.0f, 0.5f, 2.0f, 0.0f, 9.0f, 9.0f, 9.0f, 9.0f, 0.25f, 3.0f, 9.0f, 9.0f};
          check_against_reference(steps);
        }
      }
    }
  });
}

TEST_CASE("losses: extreme logits keep every digit that there is") {
  EveryIsa()([] {
    for (const float x : {-1e4f, -100.0f, -30.0f, 30.0f, 100.0f, 1e4f}) {
      if (std::isinf(std::exp(static_cast<Real>(std::abs(x))))) continue;  // where long double is no wider than double
      CAPTURE(x);
      for (const float y : {0.0f, 1.0f}) {
        Case c = make(LossKind::binary_crossentropy, Scores::logits, 1, 1, 1, false, 1);
        c.x = {x};
        c.y = {y};
        check_against_reference(c);
      }
      for (const std::int32_t label : {0, 2}) {
        Case c = make(LossKind::sparse_categorical_crossentropy, Scores::logits, 1, 1, 3, false, 1);
        c.x = {x, 0.5f, -x};
        c.labels = {label};
        check_against_reference(c);
        c.loss.kind = LossKind::categorical_crossentropy;
        c.y = {label == 0 ? 1.0f : 0.0f, 0.0f, label == 2 ? 1.0f : 0.0f};
        check_against_reference(c);
      }
    }
  });
}

TEST_CASE("losses: probabilities are clipped as in Keras, with no gradient there") {
  std::vector<float> dx;
  Case c = make(LossKind::binary_crossentropy, Scores::values, 2, 1, 1, false, 1);
  c.x = {0.0f, 1.0f};
  c.y = {1.0f, 1.0f};
  CHECK(c.run(&dx) == doctest::Approx(-0.5 * (std::log(1e-7) + std::log1p(-1e-7))));
  CHECK(dx == std::vector<float>{0.0f, 0.0f});

  c = make(LossKind::sparse_categorical_crossentropy, Scores::values, 1, 1, 3, false, 1);
  c.x = {0.0f, 1.0f, 3.0f};  // divided by their sum
  c.labels = {1};
  CHECK(c.run(&dx) == doctest::Approx(-std::log(0.25)));
  c.labels = {0};
  CHECK(c.run(&dx) == doctest::Approx(-std::log(1e-7)));
  CHECK(dx == std::vector<float>{0.0f, 0.0f, 0.0f});
}

TEST_CASE("losses: no valid step gives zero; NaN counts exactly where a step is valid") {
  for (const LossKind kind : kKinds) {
    for (const Scores scores : {Scores::values, Scores::logits}) {
      CAPTURE(train::name(kind));
      std::vector<float> dx;
      Case c = make(kind, scores, 2, 3, 4, true, 5);
      c.lengths = {0, 0};
      CHECK(c.run(&dx) == 0);
      CHECK(dx == std::vector<float>(24));

      c.lengths = {2, 3};
      const double clean = c.run();
      c.x[2 * 4 + 1] = kNaN;  // row 0, step 2: padding
      c.y[2 * 4] = kNaN;
      c.labels[2] = -5;
      CHECK(c.run(&dx) == clean);
      CHECK(dx[2 * 4 + 1] == 0);
      c.x[1 * 4 + 1] = kNaN;
      CHECK(std::isnan(c.run(&dx)));
      CHECK(std::isnan(dx[1 * 4 + 1]));

      Case targets = make(kind, scores, 2, 3, 4, true, 5);
      targets.y[3] = kNaN;
      if (!targets.sparse()) CHECK(std::isnan(targets.run()));
      Case weights = make(kind, scores, 2, 3, 4, true, 5);
      weights.weights = {1.0f, kNaN};
      CHECK(std::isnan(weights.run()));
    }
  }
}

TEST_CASE("losses: what has weight 0 is not there: neither its output nor its target is read") {
  const auto scramble = [](Case& c, std::size_t pair) {
    const auto features = static_cast<std::size_t>(c.F);
    std::fill_n(c.x.begin() + static_cast<std::ptrdiff_t>(pair * features), features, kNaN);
    std::fill_n(c.y.begin() + static_cast<std::ptrdiff_t>(pair * features), features, kNaN);
    c.labels[pair] = -100;
  };
  for (const LossKind kind : kKinds) {
    for (const Scores scores : {Scores::values, Scores::logits}) {
      CAPTURE(train::name(kind));
      std::vector<float> clean, dx;
      Case steps = make(kind, scores, 2, 3, 4, true, 5);  // a weight a step
      steps.lengths = {3, 2};
      steps.weights = {1.0f, 0.0f, 2.0f, -0.0f, 0.5f, kNaN};
      const double loss = steps.run(&clean);
      for (const std::size_t pair : {1, 3, 5}) scramble(steps, pair);
      CHECK(steps.run(&dx) == loss);
      CHECK(dx == clean);
      Case rows = make(kind, scores, 3, 2, 4, true, 5);  // a weight a row
      rows.weights = {0.0f, 1.0f, 0.0f};
      const double row_loss = rows.run(&clean);
      for (const std::size_t pair : {0, 1, 4, 5}) scramble(rows, pair);
      CHECK(rows.run(&dx) == row_loss);
      CHECK(dx == clean);
      rows.weights = {0.0f, 0.0f, 0.0f};  // nothing is there
      for (const std::size_t pair : {2, 3}) scramble(rows, pair);
      CHECK(rows.run(&dx) == 0);
      CHECK(dx == std::vector<float>(24));
    }
  }
}

TEST_CASE("losses: finite, with a finite gradient, where probabilities are zeros, denormal or cancel out") {
  for (const LossKind kind :
       {LossKind::binary_crossentropy, LossKind::categorical_crossentropy, LossKind::sparse_categorical_crossentropy}) {
    CAPTURE(train::name(kind));
    std::vector<float> dx;
    Case c = make(kind, Scores::values, 1, 1, 3, false, 1);
    c.y = {1.0f, 0.0f, 0.0f};
    c.labels = {0};
    const float tiny = std::numeric_limits<float>::min();
    for (const std::vector<float>& x :
         {std::vector<float>{0.0f, 0.0f, 0.0f}, {tiny, tiny, 0.0f}, {-1.0f, 1.0f, 0.0f}, {0.0f, tiny, tiny}}) {
      c.x = x;
      const bool mean = kind == LossKind::binary_crossentropy;
      if (x[0] <= tiny && x[1] <= tiny) CHECK(c.run(&dx) == doctest::Approx(-std::log(1e-7) / (mean ? 3 : 1)));
      CHECK(std::isfinite(c.run(&dx)));
      for (const float g : dx) CHECK(std::isfinite(g));
    }
    c.x = {1e-20f, 2e-20f, 1e-20f};  // small, and as good as large
    CHECK(std::isfinite(c.run(&dx)));
    if (kind != LossKind::binary_crossentropy) {
      CHECK(c.run(&dx) == doctest::Approx(std::log(4.0)));
      CHECK(dx[0] == doctest::Approx(-3.0 / 4e-20));
      CHECK(dx[1] == doctest::Approx(1.0 / 4e-20));
    }
  }
}

TEST_CASE("losses: an infinite logit that is right costs nothing, one that is wrong everything") {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> dx;
  Case c = make(LossKind::binary_crossentropy, Scores::logits, 1, 1, 1, false, 1);
  for (const float y : {0.0f, 1.0f}) {
    for (const float x : {-inf, inf}) {
      c.x = {x};
      c.y = {y};
      CHECK(c.run(&dx) == ((x > 0) == (y == 1) ? 0 : std::numeric_limits<double>::infinity()));
      CHECK(dx[0] == (x > 0 ? 1 : 0) - y);
    }
  }
}

TEST_CASE("losses: not a bit depends on the number of threads") {
  const int before = num_threads();
  for (const LossKind kind : kKinds) {
    Case c = make(kind, Scores::logits, 40, 50, 37, true, 11);
    std::vector<float> first, dx;
    set_num_threads(1);
    const double loss = c.run(&first);
    for (const int threads : {2, 3}) {
      set_num_threads(threads);
      CHECK(c.run(&dx) == loss);
      CHECK(std::memcmp(dx.data(), first.data(), dx.size() * sizeof(float)) == 0);
    }
  }
  set_num_threads(before);
}

TEST_CASE("losses: targets that do not fit are refused") {
  const auto refused = [](const Case& c, const ConstView& target, const std::string& message) {
    CHECK_THROWS_WITH_AS(train::check_target(c.loss, c.rows(), target, c.weights, "dense"), message.c_str(), Error);
  };
  Case c = make(LossKind::sparse_categorical_crossentropy, Scores::logits, 4, 3, 5, true, 1);
  c.labels[3 * 3 + 2] = 7;
  refused(c, c.target(), "output 'dense': class index 7 at row 3, step 2 is out of range [0, 5)");
  c.labels[3 * 3 + 2] = -1;
  refused(c, c.target(), "output 'dense': class index -1 at row 3, step 2 is out of range [0, 5)");
  refused(c, {c.y.data(), {4, 3}, DType::float32},
          "output 'dense': sparse_categorical_crossentropy expected int32 class indices, got float32");
  refused(c, {c.labels.data(), {4, 2}, DType::int32},
          "output 'dense': sparse_categorical_crossentropy expected a target of shape (4, 3), got (4, 2)");
  refused(c, {}, "output 'dense': sparse_categorical_crossentropy needs a target, got none");
  c.labels[3 * 3 + 2] = 0;
  CHECK_NOTHROW(train::check_target(c.loss, c.rows(), {c.labels.data(), {4, 3, 1}, DType::int32}, {}, "dense"));

  Case flat = make(LossKind::sparse_categorical_crossentropy, Scores::logits, 4, 1, 5, false, 1);
  flat.labels[2] = 5;
  refused(flat, flat.target(), "output 'dense': class index 5 at row 2 is out of range [0, 5)");

  Case mse = make(LossKind::mean_squared_error, Scores::values, 4, 3, 1, true, 1);
  CHECK_NOTHROW(train::check_target(mse.loss, mse.rows(), {mse.y.data(), {4, 3}, DType::float32}, {}, "dense"));
  refused(mse, {mse.y.data(), {4}, DType::float32},
          "output 'dense': mean_squared_error expected a target of shape (4, 3, 1), got (4,)");
  refused(mse, {mse.labels.data(), {4, 3, 1}, DType::int32},
          "output 'dense': mean_squared_error expected a float32 target, got int32");
  mse.weights.resize(5);
  refused(mse, mse.target(), "output 'dense': expected 4 sample weights, one per row, or 12, one per step; got 5");
}

TEST_CASE("losses: configurations are read strictly") {
  const auto read = [](const char* text) { return train::read_loss(json::parse(text)); };
  CHECK(read(R"({"name": "huber", "delta": 2})").delta == 2);
  CHECK(read(R"({"name": "binary_crossentropy", "from_logits": true})").from_logits);
  CHECK_THROWS_WITH_AS(read(R"({"name": "mean_squared_eror"})"), doctest::Contains("did you mean 'mean_squared_error'?"), Error);
  CHECK_THROWS_WITH_AS(read(R"({"name": "huber", "delta": 0})"),
                       doctest::Contains("loss 'huber': 'delta' must be a positive number"), Error);
  CHECK_THROWS_WITH_AS(read(R"({"name": "mean_squared_error", "from_logits": true})"),
                       doctest::Contains("unknown key 'from_logits'"), Error);
  CHECK_THROWS_AS(read(R"("mean_squared_error")"), Error);
}
