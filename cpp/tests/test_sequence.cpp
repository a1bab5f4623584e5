// Chains of tags, labels without places in time, and a CRF that rekur::Trainer trains.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "rekur/model.hpp"
#include "rekur/train.hpp"
#include "sequence/crf_chain.hpp"
#include "sequence/ctc.hpp"

using namespace rekur;

namespace {

// Three tags over four steps, numbers that no two sequences score alike by.
struct Small {
  Index K = 3, T = 4;
  std::vector<float> emissions, A, start = {0.3f, -0.2f, 0.1f}, end = {-0.4f, 0.25f, 0.05f};

  Small() {
    for (Index i = 0; i < T * K; ++i) emissions.push_back(static_cast<float>(std::sin(1.7 * static_cast<double>(i))));
    for (Index i = 0; i < K * K; ++i) A.push_back(static_cast<float>(std::cos(2.3 * static_cast<double>(i))));
  }

  template <class Each>
  void every(Each&& each) const {
    for (Index code = 0; code < 81; ++code) {
      std::vector<std::int32_t> tags;
      for (Index t = 0, rest = code; t < T; ++t, rest /= K) tags.push_back(static_cast<std::int32_t>(rest % K));
      double score = start[static_cast<std::size_t>(tags.front())] + end[static_cast<std::size_t>(tags.back())];
      for (Index t = 0; t < T; ++t) {
        const auto tag = static_cast<std::size_t>(tags[static_cast<std::size_t>(t)]);
        score += static_cast<double>(emissions[static_cast<std::size_t>(t * K) + tag]);
        if (t > 0) score += static_cast<double>(A[static_cast<std::size_t>(tags[static_cast<std::size_t>(t - 1)] * K) + tag]);
      }
      each(tags, score);
    }
  }
};

}  // namespace

TEST_CASE("a chain sums over all tag sequences and finds the best") {
  const Small s;
  double z = 0, best = -std::numeric_limits<double>::infinity();
  std::vector<std::int32_t> best_tags;
  s.every([&](const auto& tags, double score) {
    z += std::exp(score);
    if (score > best) best = score, best_tags = tags;
  });
  const sequence::Chain chain(s.K, s.A.data(), s.start.data(), s.end.data());
  const sequence::ChainBatch batch = {1, s.T, s.emissions.data(), {.T = s.T}};
  double norm = 0, score = 0;
  sequence::chain_log_norm(chain, batch, &norm);
  CHECK(norm == doctest::Approx(std::log(z)).epsilon(1e-9));
  std::vector<std::int32_t> tags(4);
  sequence::chain_viterbi(chain, batch, 1, tags.data(), &score);
  CHECK(tags == best_tags);
  CHECK(score == doctest::Approx(best).epsilon(1e-9));
  double value = 0;
  std::vector<float> gradient(12), marginals(12);
  sequence::chain_loss(chain, batch, tags.data(), nullptr, &value, gradient.data(), nullptr);
  CHECK(value == doctest::Approx(std::log(z) - best).epsilon(1e-9));
  sequence::chain_marginals(chain, batch, marginals.data());
  for (Index i = 0; i < 12; ++i) {
    const bool tagged = tags[static_cast<std::size_t>(i / 3)] == i % 3;
    CHECK(gradient[static_cast<std::size_t>(i)] == doctest::Approx(marginals[static_cast<std::size_t>(i)] - (tagged ? 1 : 0)));
  }
}

TEST_CASE("ctc of two steps by hand") {
  // p of blank, 1, 2 at two steps; the label 1 is spelt by (1, blank), (blank, 1) and (1, 1).
  const std::vector<float> p = {0.5f, 0.3f, 0.2f, 0.1f, 0.6f, 0.3f};
  std::vector<float> logits;
  for (const float x : p) logits.push_back(std::log(x));
  const std::int32_t label = 1, count = 1;
  double value = 0;
  std::vector<float> gradient(6);
  sequence::ctc_loss({.B = 1,
                      .T = 2,
                      .C = 3,
                      .L = 1,
                      .logits = logits.data(),
                      .labels = &label,
                      .label_counts = &count,
                      .valid = nullptr,
                      .blank = 0},
                     &value, gradient.data());
  const double whole = 0.3 * 0.1 + 0.5 * 0.6 + 0.3 * 0.6;
  CHECK(value == doctest::Approx(-std::log(whole)).epsilon(1e-6));
  CHECK(gradient[1] == doctest::Approx(0.3 - 0.3 * 0.7 / whole).epsilon(1e-5));
  CHECK(gradient[5] == doctest::Approx(0.3).epsilon(1e-5));
  std::vector<std::int32_t> labels(2);
  double score = 0;
  sequence::ctc_beam({.B = 1, .T = 2, .C = 3, .logits = logits.data(), .lengths = nullptr, .blank = 0}, {.width = 10, .paths = 1},
                     labels.data(), &score);
  CHECK(labels == std::vector<std::int32_t>{1, -1});
  CHECK(score == doctest::Approx(std::log(whole)).epsilon(1e-6));
}

TEST_CASE("a trainer trains a CRF, and refuses its loss elsewhere") {
  const auto spec = [](const char* output) {
    return std::string(R"({"format": "rekur", "version": 1, "name": "m", "layers": [
      {"type": "Input", "name": "x", "shape": [null, 2], "dtype": "float32"},
      {"type": "Dense", "name": "emissions", "inputs": ["x"], "units": 2},
      {"type": "CRF", "name": "tags", "inputs": ["emissions"], "units": 2}], "inputs": ["x"], "outputs": [")") +
           output + R"("]})";
  };
  const char* const config = R"({"optimizer": {"name": "sgd", "learning_rate": 0.5}, "losses": [{"name": "crf"}]})";
  Model model(spec("tags"));
  model.initialize(1);
  Trainer trainer(model, config);
  const std::vector<float> x = {1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0};
  const std::vector<std::int32_t> tags = {0, 1, 0, 1, 0, 1};
  Batch batch;
  batch.inputs.push_back({x.data(), {2, 3, 2}, DType::float32});
  Targets targets;
  targets.targets.push_back({tags.data(), {2, 3}, DType::int32});
  const double before = trainer.step(batch, targets).loss;
  for (int i = 0; i < 60; ++i) trainer.step(batch, targets);
  CHECK(trainer.evaluate(batch, targets).loss < 0.1 * before);
  std::vector<float> y(12);
  model.predict(batch, std::vector<View>{{y.data(), {2, 3, 2}}});
  for (std::size_t i = 0; i < 6; ++i) CHECK(y[2 * i + static_cast<std::size_t>(tags[i])] == 1);
  Model other(spec("emissions"));
  CHECK_THROWS_WITH_AS(Trainer(other, config), doctest::Contains("output 'emissions': crf is a loss of the output of a CRF layer"),
                       Error);
}
