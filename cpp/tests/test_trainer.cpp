// The trainer: that it learns, that a step is what its parts say, that it is repeatable to the bit, and that errors leave no trace.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "rekur/runtime.hpp"
#include "rekur/train.hpp"

using namespace rekur;

namespace {

using Floats = std::vector<float>;

Floats noise(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 1);
  Floats x(n);
  for (float& v : x) v = normal(random);
  return x;
}

Floats weights_of(const Model& model) { return {model.weights().begin(), model.weights().end()}; }

bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

double largest_difference(const Floats& a, const Floats& b) {
  double worst = a.size() == b.size() ? 0 : HUGE_VAL;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) worst = std::max(worst, static_cast<double>(std::abs(a[i] - b[i])));
  return worst;
}

std::string forecaster(const std::string& activation, int units = 1, bool sequences = false, double dropout = 0.2) {
  return R"({"format": "rekur", "version": 1, "name": "model", "layers": [
    {"type": "Input", "name": "x", "shape": [null, 3], "dtype": "float32"},
    {"type": "LSTM", "name": "lstm", "inputs": ["x"], "units": 13, "return_sequences": )" +
         std::string(sequences ? "true" : "false") + R"(},
    {"type": "Dropout", "name": "dropout", "inputs": ["lstm"], "rate": )" +
         std::to_string(dropout) + R"(},
    {"type": "Dense", "name": "dense", "inputs": ["dropout"], "units": )" +
         std::to_string(units) + R"(, "activation": ")" + activation + R"("}],
    "inputs": ["x"], "outputs": ["dense"]})";
}

std::string training(const std::string& loss, const std::string& optimizer = R"({"name": "adam", "learning_rate": 0.01})") {
  return R"({"optimizer": )" + optimizer + R"(, "losses": [)" + loss + R"(], "seed": 7})";
}

const char* const kMse = R"({"name": "mean_squared_error"})";

// One batch of (B, T, 3) with lengths and targets of (B, F) or (B, T, F), or class indices.
struct Data {
  Index B, T, F;
  bool sequences;
  Floats x, y, weights;
  std::vector<std::int32_t> lengths, labels;

  Data(Index b, Index t, Index f, bool steps, unsigned seed) : B(b), T(t), F(f), sequences(steps) {
    x = noise(static_cast<std::size_t>(B * T * 3), seed);
    y = noise(static_cast<std::size_t>(B * (steps ? T : 1) * F), seed + 1);
    weights = noise(static_cast<std::size_t>(B), seed + 2);
    for (float& w : weights) w = std::abs(w);
    for (Index i = 0; i < B; ++i) lengths.push_back(static_cast<std::int32_t>((i * 5 + seed) % static_cast<unsigned>(T + 1)));
    for (Index i = 0; i < B * T; ++i) labels.push_back(static_cast<std::int32_t>((i * 7 + seed) % F));
  }

  Shape shape() const { return sequences ? Shape{B, T, F} : Shape{B, F}; }
  Batch batch() const { return {{{x.data(), {B, T, 3}, DType::float32}}, {lengths}}; }
  Targets targets() const { return {{{y.data(), shape(), DType::float32}}, {weights}}; }
  Targets classes() const { return {{{labels.data(), sequences ? Shape{B, T} : Shape{B}, DType::int32}}, {weights}}; }
};

Model make_model(const std::string& spec, std::uint64_t seed = 3) {
  Model model(spec);
  model.initialize(seed);
  return model;
}

// Weights after 20 steps on changing batches.
Floats fit(Model& model, Trainer& trainer, unsigned first = 0, unsigned last = 20) {
  for (unsigned i = first; i < last; ++i) {
    const Data data(33, 11, 2, true, i);
    trainer.step(data.batch(), data.targets());
  }
  return weights_of(model);
}

Floats fit(const std::string& optimizer) {
  Model model = make_model(forecaster("linear", 2, true));
  Trainer trainer(model, training(kMse, optimizer));
  return fit(model, trainer);
}

template <class F>
void each_isa(F&& test) {
  const std::string before = current_isa();
  for (const std::string& name : available_isas()) {
    set_isa(name);
    CAPTURE(name);
    test();
  }
  set_isa(before);
}

}  // namespace

TEST_CASE("trainer: an LSTM learns the mean of a sequence and a classifier its sign") {
  each_isa([] {
    Data data(64, 8, 1, false, 1);
    data.lengths.assign(64, 8);
    data.weights.assign(64, 1);
    for (Index b = 0; b < 64; ++b) {
      float sum = 0;
      for (Index i = 0; i < 24; ++i) sum += data.x[static_cast<std::size_t>(b * 24 + i)];
      data.y[static_cast<std::size_t>(b)] = sum / 24;
    }
    Model model = make_model(forecaster("linear", 1, false, 0));
    Trainer trainer(model, training(kMse));
    const double before = trainer.evaluate(data.batch(), data.targets()).loss;
    for (int i = 0; i < 150; ++i) trainer.step(data.batch(), data.targets());
    CHECK(trainer.evaluate(data.batch(), data.targets()).loss < before / 20);
    CHECK(trainer.iterations() == 150);

    for (float& y : data.y) y = y > 0 ? 1.0f : 0.0f;
    Model classifier = make_model(forecaster("sigmoid", 1, false, 0));
    Trainer second(classifier, training(R"({"name": "binary_crossentropy"})"));
    for (int i = 0; i < 150; ++i) second.step(data.batch(), data.targets());
    CHECK(second.evaluate(data.batch(), data.targets()).loss < 0.1);
  });
}

TEST_CASE("trainer: a step is forward, gradient of the loss, backward, update") {
  // With SGD of rate 1 the weights move by the gradient. The same gradient through the public forward and backward, where the
  // final activation is not left to the loss: the derivative with respect to the activated output, written out here.
  each_isa([] {
    struct Form {
      const char* activation;
      const char* loss;
      int units;
      bool classes;
    };
    for (const Form form : {Form{"linear", R"({"name": "mean_squared_error"})", 2, false},
                            Form{"sigmoid", R"({"name": "binary_crossentropy"})", 2, false},
                            Form{"softmax", R"({"name": "sparse_categorical_crossentropy"})", 4, true}}) {
      CAPTURE(form.activation);
      Data data(9, 6, form.units, true, 4);
      for (float& y : data.y) y = 1 / (1 + std::exp(-y));
      const Targets targets = form.classes ? data.classes() : data.targets();
      Model model = make_model(forecaster(form.activation, form.units, true));
      const Floats before = weights_of(model);

      Floats p(data.y.size()), dp(data.y.size());
      const View view{p.data(), data.shape()};
      Tape tape = model.forward(data.batch(), {&view, 1}, 7, 0);
      Index valid = 0;
      for (const std::int32_t length : data.lengths) valid += length;
      for (Index b = 0; b < data.B; ++b) {
        for (Index t = 0; t < data.lengths[static_cast<std::size_t>(b)]; ++t) {
          for (Index f = 0; f < data.F; ++f) {
            const std::size_t r = static_cast<std::size_t>(b * data.T + t),
                              i = r * static_cast<std::size_t>(data.F) + static_cast<std::size_t>(f);
            const float scale = data.weights[static_cast<std::size_t>(b)] / static_cast<float>(valid);
            if (form.classes)
              dp[i] = data.labels[r] == f ? -scale / p[i] : 0;
            else if (form.units == 2 && form.activation[0] == 's')
              dp[i] = scale / 2 * (p[i] - data.y[i]) / (p[i] * (1 - p[i]));
            else
              dp[i] = scale * (p[i] - data.y[i]);
          }
        }
      }
      Floats gradient(before.size());
      const ConstView dy{dp.data(), data.shape(), DType::float32};
      const View none{};
      model.backward(std::move(tape), {&dy, 1}, gradient, {&none, 1});

      Trainer trainer(model, training(form.loss, R"({"name": "sgd", "learning_rate": 1})"));
      Floats predictions(p.size());
      const View wanted{predictions.data(), data.shape()};
      trainer.step(data.batch(), targets, {&wanted, 1});
      CHECK(largest_difference(predictions, p) < 1e-6);  // made before the update
      Floats moved = weights_of(model);
      double largest = 0;
      for (std::size_t i = 0; i < moved.size(); ++i) {
        moved[i] = before[i] - moved[i];
        largest = std::max(largest, static_cast<double>(std::abs(gradient[i])));
      }
      CHECK(largest > 1e-3);
      CHECK(largest_difference(moved, gradient) < 2e-6);

      // The same update by the gradient itself, with what a step does besides.
      for (const char* optimizer :
           {R"({"name": "sgd", "learning_rate": 1})", R"({"name": "sgd", "learning_rate": 1, "global_clipnorm": 0.01})",
            R"({"name": "adam", "learning_rate": 0.1, "epsilon": 0.001})"}) {
        Model stepped = make_model(forecaster(form.activation, form.units, true));
        Model applied = make_model(forecaster(form.activation, form.units, true));
        Trainer one(stepped, training(form.loss, optimizer)), other(applied, training(form.loss, optimizer));
        one.step(data.batch(), targets);
        other.apply_gradients(gradient);
        CHECK(other.iterations() == 1);
        CHECK(largest_difference(weights_of(stepped), weights_of(applied)) < 1e-4);
        CHECK_THROWS_WITH_AS(other.apply_gradients(std::span(gradient).first(3)), doctest::Contains("one per parameter, got 3"),
                             Error);
        CHECK(other.iterations() == 1);
      }
    }
  });
}

TEST_CASE("trainer: parts of a step add up to it") {
  const Data data(12, 9, 1, false, 5);
  for (const double dropout : {0.0, 0.3}) {
    Model whole = make_model(forecaster("linear", 1, false, dropout)), apart = make_model(forecaster("linear", 1, false, dropout));
    Trainer one(whole, training(kMse)), other(apart, training(kMse));
    // All rows as one part: a step, to the bit.
    Floats sums(other.sums_size());
    const StepPart all{.counts = {12}, .rows = 12};
    const double loss = one.step(data.batch(), data.targets()).loss;
    CHECK(other.add(data.batch(), data.targets(), all, sums).loss == loss);
    CHECK(same_bits(weights_of(apart), weights_of(make_model(forecaster("linear", 1, false, dropout)))));
    other.finish(sums);
    CHECK(same_bits(weights_of(whole), weights_of(apart)));
    CHECK(other.iterations() == 1);
    if (dropout > 0) continue;  // parts draw by their numbers

    // Rows 0 to 4 and 5 to 11.
    Floats total(sums.size());
    double losses = 0;
    std::vector<std::pair<Index, Index>> told;
    for (const auto& [begin, end] : {std::pair<Index, Index>{0, 5}, {5, 12}}) {
      const Batch batch{{{data.x.data() + begin * 27, {end - begin, 9, 3}, DType::float32}},
                        {std::span(data.lengths).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin))}};
      const Targets targets{
          {{data.y.data() + begin, {end - begin, 1}, DType::float32}},
          {std::span(data.weights).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin))}};
      StepPart part{.counts = {12}, .rows = 12, .number = static_cast<std::uint64_t>(begin)};
      if (begin > 0) part.ready = [&told](Index from, Index to) { told.emplace_back(from, to); };
      losses += other.add(batch, targets, part, sums).loss;
      for (std::size_t i = 0; i < sums.size(); ++i) total[i] += sums[i];
    }
    CHECK(losses == doctest::Approx(one.step(data.batch(), data.targets()).loss).epsilon(1e-5));
    other.finish(total);
    CHECK(largest_difference(weights_of(whole), weights_of(apart)) < 2e-5);
    REQUIRE(told.size() == 2);  // the dense layer, then the LSTM below it
    CHECK(told[0].first == told[1].second);
    CHECK(told[1].first == 0);
    CHECK(told[0].second == static_cast<Index>(whole.weight_count()));
  }
}

TEST_CASE("trainer: parts that do not fit are refused, and what hears of them may throw") {
  const Data data(4, 5, 1, false, 5);
  Model model = make_model(forecaster("linear"));
  Trainer trainer(model, training(kMse));
  const Floats before = weights_of(model);
  Floats sums(trainer.sums_size());
  CHECK_THROWS_WITH_AS(trainer.add(data.batch(), data.targets(), {.counts = {}, .rows = 4}, sums),
                       "part: expected 1 counts, one per output, got 0", Error);
  CHECK_THROWS_WITH_AS(trainer.add(data.batch(), data.targets(), {.counts = {4}, .rows = 3}, sums),
                       "part: it has 4 rows, and the whole batch 3", Error);
  CHECK_THROWS_AS(trainer.add(data.batch(), data.targets(), {.counts = {3}, .rows = 4}, sums), Error);
  CHECK_THROWS_AS(trainer.add(data.batch(), data.targets(), {.counts = {-1}, .rows = 4}, sums), Error);
  CHECK_THROWS_AS(trainer.add(data.batch(), data.targets(), {.counts = {4}, .rows = 4}, std::span(sums).first(3)), Error);
  CHECK_THROWS_AS(trainer.finish(std::span(sums).first(3)), Error);
  const StepPart part{.counts = {4}, .rows = 4, .ready = [](Index, Index) { throw std::runtime_error("the wire is cut"); }};
  CHECK_THROWS_WITH_AS(trainer.add(data.batch(), data.targets(), part, sums), "the wire is cut", std::runtime_error);
  CHECK(same_bits(weights_of(model), before));
  CHECK(trainer.iterations() == 0);
  CHECK_NOTHROW(trainer.step(data.batch(), data.targets()));
}

TEST_CASE("trainer: evaluate has no dropout, changes nothing, and delivers what predict does") {
  Data data(7, 5, 3, true, 2);
  Model model = make_model(forecaster("softmax", 3, true));
  Trainer trainer(model, training(R"({"name": "sparse_categorical_crossentropy"})"));
  const Floats before = weights_of(model);
  Floats predictions(data.y.size());
  const View view{predictions.data(), data.shape()};
  const StepResult result = trainer.evaluate(data.batch(), data.classes(), {&view, 1});
  CHECK(result.loss == result.output_losses.at(0));
  CHECK(largest_difference(predictions, model.predict(data.batch()).at(0).data) < 1e-6);
  CHECK(same_bits(weights_of(model), before));
  CHECK(trainer.iterations() == 0);

  double sum = 0;
  Index valid = 0;
  for (Index b = 0; b < data.B; ++b) {
    for (Index t = 0; t < data.lengths[static_cast<std::size_t>(b)]; ++t, ++valid) {
      const Index r = b * data.T + t;
      sum -= data.weights[static_cast<std::size_t>(b)] *
             std::log(predictions[static_cast<std::size_t>(r * 3 + data.labels[static_cast<std::size_t>(r)])]);
    }
  }
  CHECK(result.loss == doctest::Approx(sum / static_cast<double>(valid)).epsilon(1e-5));
}

TEST_CASE("trainer: a fit is the same to the last bit on every run and any number of threads") {
  each_isa([] {
    for (const char* optimizer :
         {R"({"name": "adam", "global_clipnorm": 0.5})", R"({"name": "sgd", "momentum": 0.9, "clipnorm": 0.1})",
          R"({"name": "rmsprop", "momentum": 0.5, "clipvalue": 0.01})"}) {
      CAPTURE(optimizer);
      const int before = num_threads();
      set_num_threads(1);
      const Floats first = fit(optimizer);
      for (const int threads : {1, 2, 3}) {
        set_num_threads(threads);
        CHECK(same_bits(fit(optimizer), first));
      }
      set_num_threads(before);
    }
  });
}

TEST_CASE("trainer: restored in mid-course it goes on as if it had never stopped") {
  each_isa([] {
    for (const char* optimizer : {R"({"name": "adamw"})", R"({"name": "rmsprop", "momentum": 0.5})",
                                  R"({"name": "sgd", "momentum": 0.9})", R"({"name": "sgd"})"}) {
      CAPTURE(optimizer);
      const Floats whole = fit(optimizer);
      Model first = make_model(forecaster("linear", 2, true));
      Trainer trainer(first, training(kMse, optimizer));
      const Floats half = fit(first, trainer, 0, 9);
      const std::map<std::string, Tensor> state = trainer.state();

      Model second(first.spec());
      second.set_weights(half);
      Trainer resumed(second, training(kMse, optimizer));
      resumed.set_state(state, trainer.iterations());
      CHECK(same_bits(fit(second, resumed, 9, 20), whole));
    }
  });
}

TEST_CASE("trainer: a state that does not fit is refused whole") {
  Model model = make_model(forecaster("linear"));
  Trainer trainer(model, training(kMse));
  const Index n = static_cast<Index>(model.weights().size());
  const Tensor good{{n}, Floats(static_cast<std::size_t>(n), 1.0f)}, bad{{2}, {1, 2}};
  CHECK_THROWS_WITH_AS(trainer.set_state({{"optimizer/m", good}}, 1), doctest::Contains("'optimizer/v' is missing"), Error);
  CHECK_THROWS_WITH_AS(trainer.set_state({{"optimizer/m", good}, {"optimizer/v", bad}}, 1),
                       doctest::Contains("'optimizer/v' of shape"), Error);
  CHECK_THROWS_WITH_AS(trainer.set_state({{"optimizer/m", good}, {"optimizer/v", good}, {"optimizer/w", good}}, 1),
                       doctest::Contains("'optimizer/w' is not a slot"), Error);
  Tensor cut = good;
  cut.data.pop_back();
  CHECK_THROWS_WITH_AS(trainer.set_state({{"optimizer/m", good}, {"optimizer/v", cut}}, 1),
                       doctest::Contains((std::to_string(n) + " values), got").c_str()), Error);
  CHECK_THROWS_WITH_AS(trainer.set_state({{"optimizer/m", good}, {"optimizer/v", good}}, UINT64_MAX),
                       doctest::Contains("expected iterations up to 9007199254740992, got 18446744073709551615"), Error);
  CHECK(trainer.iterations() == 0);
  CHECK(trainer.state().at("optimizer/m").data[0] == 0);
  trainer.set_state({{"optimizer/m", good}, {"optimizer/v", good}}, 5);
  CHECK(trainer.iterations() == 5);
  CHECK(trainer.state().at("optimizer/v").data[0] == 1);
}

TEST_CASE("trainer: it outlives the object it was made of, and says when it was moved from") {
  const Data data(5, 6, 4, true, 1);
  Model model = make_model(forecaster("linear", 4, true)), reference = make_model(forecaster("linear", 4, true));
  Trainer trainer(model, training(kMse)), expected(reference, training(kMse));
  expected.step(data.batch(), data.targets());
  const double loss = expected.step(data.batch(), data.targets()).loss;
  Model moved = std::move(model);
  trainer.step(data.batch(), data.targets());
  moved = make_model(forecaster("linear"));
  CHECK(trainer.step(data.batch(), data.targets()).loss == loss);

  Trainer taken = std::move(trainer);
  CHECK(taken.iterations() == 2);
  CHECK(trainer.iterations() == 0);
  CHECK(trainer.learning_rate() == 0);
  const auto refused = [](const auto& call) {
    CHECK_THROWS_WITH_AS(call(), doctest::Contains("trainer: it was moved from"), Error);
  };
  refused([&] { trainer.step(data.batch(), data.targets()); });
  refused([&] { trainer.evaluate(data.batch(), data.targets()); });
  refused([&] { trainer.set_learning_rate(1); });
  refused([&] { trainer.set_optimizer(R"({"name": "adam"})"); });
  refused([&] { trainer.set_remat(true); });
  refused([&] { trainer.apply_gradients({}); });
  refused([&] { trainer.finalize(); });
  refused([&] { trainer.state(); });
  refused([&] { trainer.set_state({}, 1); });
  CHECK_THROWS_WITH_AS(Trainer(model, training(kMse)), doctest::Contains("model: it was moved from"), Error);
}

TEST_CASE("trainer: an error changes neither weights nor slots nor the count") {
  Model model = make_model(forecaster("softmax", 4, true));
  Trainer trainer(model, training(R"({"name": "sparse_categorical_crossentropy"})"));
  const Data good(5, 6, 4, true, 1);
  trainer.step(good.batch(), good.classes());
  const Floats weights = weights_of(model), m = trainer.state().at("optimizer/m").data;
  const auto refused = [&](const Data& data, const Targets& targets, const char* message) {
    CHECK_THROWS_WITH_AS(trainer.step(data.batch(), targets), doctest::Contains(message), Error);
    CHECK_THROWS_WITH_AS(trainer.evaluate(data.batch(), targets), doctest::Contains(message), Error);
  };
  Data label = good;
  label.lengths.assign(5, 6);
  label.labels[2 * 6 + 3] = 4;
  refused(label, label.classes(), "output 'dense': class index 4 at row 2, step 3 is out of range [0, 4)");
  refused(good, good.targets(), "output 'dense': sparse_categorical_crossentropy expected a target of shape (5, 6), got (5, 6, 4)");
  refused(good, {}, "expected 1 targets, one per output, got 0");
  Targets weighted = good.classes();
  weighted.sample_weights = {{}, {}};
  refused(good, weighted, "expected 1 sample weights, one per output, got 2");
  const Data empty(0, 6, 4, true, 1);
  refused(empty, empty.classes(), "empty batch");
  Floats predictions(5 * 6 * 4);
  const View view{predictions.data(), {5, 6}};
  CHECK_THROWS_WITH_AS(trainer.step(good.batch(), good.classes(), {&view, 1}),
                       doctest::Contains("expected an array of shape (5, 6, 4)"), Error);

  CHECK(same_bits(weights_of(model), weights));
  CHECK(same_bits(trainer.state().at("optimizer/m").data, m));
  CHECK(trainer.iterations() == 1);
}

TEST_CASE("trainer: no valid step is no error and no gradient; NaN reaches the loss") {
  Model model = make_model(forecaster("linear", 2, true));
  Trainer trainer(model, training(kMse, R"({"name": "sgd"})"));
  const Floats before = weights_of(model);
  Data data(3, 4, 2, true, 1);
  data.lengths.assign(3, 0);
  CHECK(trainer.step(data.batch(), data.targets()).loss == 0);
  CHECK(same_bits(weights_of(model), before));
  const Data no_steps(3, 0, 2, true, 1);
  CHECK(trainer.step(no_steps.batch(), no_steps.targets()).loss == 0);
  data.lengths.assign(3, 4);
  data.x[5] = std::numeric_limits<float>::quiet_NaN();
  CHECK(std::isnan(trainer.evaluate(data.batch(), data.targets()).loss));
}

TEST_CASE("trainer: several outputs, weighted or without a loss") {
  const std::string spec = R"({"format": "rekur", "version": 1, "name": "model", "layers": [
    {"type": "Input", "name": "x", "shape": [null, 3], "dtype": "float32"},
    {"type": "GRU", "name": "gru", "inputs": ["x"], "units": 5},
    {"type": "Dense", "name": "a", "inputs": ["gru"], "units": 2},
    {"type": "Dense", "name": "b", "inputs": ["gru"], "units": 2}],
    "inputs": ["x"], "outputs": ["a", "b", "gru"]})";
  const Data data(6, 4, 2, false, 1);
  const ConstView y = data.targets().targets[0];
  const auto optimizer = R"({"optimizer": {"name": "sgd", "learning_rate": 0.1}, "losses": )";
  const char* losses = R"([{"name": "mean_squared_error"}, {"name": "mean_absolute_error"}, null])";

  Model model = make_model(spec);
  Trainer trainer(model, std::string(optimizer) + losses + R"(, "loss_weights": [2, 0.5, 1]})");
  const StepResult r = trainer.step(data.batch(), {{y, y, {}}, {}});
  REQUIRE(r.output_losses.size() == 3);
  CHECK(r.output_losses[0] > 0);
  CHECK(r.output_losses[1] > 0);
  CHECK(r.output_losses[2] == 0);
  CHECK(r.loss == 2 * r.output_losses[0] + 0.5 * r.output_losses[1]);

  // Gradients add: the movement of a two-loss step is the sum of the movements of each alone.
  const auto movement = [&](const char* loss_weights) {
    Model fresh = make_model(spec);
    Floats before = weights_of(fresh);
    Trainer one(fresh, std::string(optimizer) + losses + R"(, "loss_weights": )" + loss_weights + "}");
    one.step(data.batch(), {{y, y, {}}, {}});
    Floats moved = weights_of(fresh);
    for (std::size_t i = 0; i < moved.size(); ++i) moved[i] -= before[i];
    return moved;
  };
  const Floats both = movement("[2, 0.5, 1]"), first = movement("[2, 0, 1]"), second = movement("[0, 0.5, 1]");
  Floats sum = first;
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += second[i];
  CHECK(largest_difference(both, sum) < 1e-6);
  CHECK(largest_difference(both, first) > 1e-4);
}

TEST_CASE("trainer: the configuration is read strictly") {
  Model model = make_model(forecaster("sigmoid"));
  const auto refused = [&](const std::string& config, const char* message) {
    CHECK_THROWS_WITH_AS(Trainer(model, config), doctest::Contains(message), Error);
  };
  refused("{", "JSON");
  refused(R"({"losses": []})", "'optimizer'");
  refused(training(R"({"name": "mse"})"), "unknown loss 'mse'");
  refused(training(kMse, R"({"name": "adan"})"), "unknown optimizer 'adan' (did you mean 'adam'?)");
  refused(training(kMse, R"({"name": "adam", "clip": 1})"), "optimizer 'adam': unknown key 'clip'");
  refused(training("null"), "no output has a loss");
  refused(training(std::string(kMse) + ", null"), "expected 1 'losses', one per output, got 2");
  refused(R"({"optimizer": {"name": "adam"}, "losses": [null], "seeds": 1})", "no output has a loss");
  refused(R"({"optimizer": {"name": "adam"}, "losses": [{"name": "huber"}], "seeds": 1})", "unknown key 'seeds'");
  refused(R"({"optimizer": {"name": "adam"}, "losses": [{"name": "huber"}], "seed": -1})", "'seed' must be an integer >= 0");
  refused(R"({"optimizer": {"name": "adam"}, "losses": [{"name": "huber"}], "loss_weights": ["1"]})", "'loss_weights'");
  refused(training(R"({"name": "binary_crossentropy", "from_logits": true})"),
          "output 'dense': binary_crossentropy expected logits (from_logits is true), but the output ends in sigmoid");

  Trainer trainer(model, training(kMse));
  CHECK(trainer.learning_rate() == 0.01);
  trainer.set_learning_rate(0.5);
  CHECK(trainer.learning_rate() == 0.5);
  CHECK_THROWS_AS(trainer.set_learning_rate(std::nan("")), Error);
}

TEST_CASE("trainer: other hyperparameters act at the next step, and the state stays") {
  struct Form {
    const char *before, *after;
  };
  for (const Form form :
       {Form{R"({"name": "sgd", "learning_rate": 0.1, "momentum": 0.9})",
             R"({"name": "sgd", "learning_rate": 0.05, "momentum": 0.5, "nesterov": true, "weight_decay": 0.01})"},
        Form{R"({"name": "rmsprop", "momentum": 0.4})", R"({"name": "rmsprop", "rho": 0.5, "momentum": 0.1})"},
        Form{R"({"name": "adam"})", R"({"name": "adam", "beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.01})"},
        Form{R"({"name": "adam", "clipvalue": 0.001})", R"({"name": "adam", "global_clipnorm": 0.01})"},
        Form{R"({"name": "adamw"})", R"({"name": "adamw", "weight_decay": 0.5})"}}) {
    CAPTURE(form.after);
    Model model = make_model(forecaster("linear", 2, true)), other = make_model(forecaster("linear", 2, true));
    Trainer trainer(model, training(kMse, form.before)), fresh(other, training(kMse, form.after));
    fit(model, trainer, 0, 5);
    other.set_weights(model.weights());
    fresh.set_state(trainer.state(), trainer.iterations());
    trainer.set_optimizer(form.after);
    const Floats unchanged = weights_of(model);
    CHECK(same_bits(fit(model, trainer, 5, 10), fit(other, fresh, 5, 10)));
    CHECK_FALSE(same_bits(unchanged, weights_of(model)));
  }
}

TEST_CASE("trainer: a velocity begins with zeros where momentum becomes positive, and goes with it") {
  Model model = make_model(forecaster("linear", 2, true)), other = make_model(forecaster("linear", 2, true));
  Trainer trainer(model, training(kMse, R"({"name": "sgd"})"));
  fit(model, trainer, 0, 3);
  other.set_weights(model.weights());
  Trainer fresh(other, training(kMse, R"({"name": "sgd", "momentum": 0.9})"));
  fresh.set_state(fresh.state(), 3);
  trainer.set_optimizer(R"({"name": "sgd", "momentum": 0.9})");
  CHECK(trainer.state().size() == 1);
  CHECK(same_bits(fit(model, trainer, 3, 6), fit(other, fresh, 3, 6)));
  trainer.set_optimizer(R"({"name": "sgd"})");
  CHECK(trainer.state().empty());
}

TEST_CASE("trainer: hyperparameters that the constructor would refuse change nothing") {
  Model model = make_model(forecaster("linear", 2, true)), other = make_model(forecaster("linear", 2, true));
  Trainer trainer(model, training(kMse)), expected(other, training(kMse));
  fit(model, trainer, 0, 2);
  const auto refused = [&](const char* config, const char* message) {
    CHECK_THROWS_WITH_AS(trainer.set_optimizer(config), doctest::Contains(message), Error);
  };
  refused(R"({"name": "sgd"})", "optimizer: expected 'adam', whose state this trainer holds, got 'sgd'");
  refused(R"({"name": "adam", "beta_1": 1})", "'beta_1' must be a number in [0, 1)");
  refused(R"({"name": "adam", "learning_rate": 5, "clipnorm": 0})", "'clipnorm' must be a positive number");
  refused(R"({"name": "adam", "learning_rate": 5, "rate": 1})", "unknown key 'rate'");
  const char* const excluding = R"({"name": "adam", "learning_rate": 5, "exclude_from_weight_decay": ["lstm/kernle"]})";
  refused(excluding, "'exclude_from_weight_decay': unknown parameter 'lstm/kernle' (did you mean 'lstm/kernel'?)");
  CHECK_THROWS_AS(Trainer(other, training(kMse, excluding)), Error);
  refused("{", "JSON");
  Trainer gathers(other, training(kMse, R"({"name": "adagrad"})"));
  CHECK_THROWS_WITH_AS(gathers.set_optimizer(R"({"name": "adagrad", "initial_accumulator_value": 5})"),
                       doctest::Contains("accumulators begin with 'initial_accumulator_value'"), Error);
  fit(model, trainer, 2, 4);
  CHECK(same_bits(weights_of(model), fit(other, expected, 0, 4)));
}
