// Time axes: what layers make of them, masks and resets in a run.
#include <doctest/doctest.h>

#include <algorithm>

#include "layers/time.hpp"
#include "model_helpers.hpp"
#include "rekur/model.hpp"
#include "rekur/runtime.hpp"
#include "rekur/train.hpp"

using namespace rekur;
using namespace rekur::test;

namespace {

constexpr Index kB = 3, kT = 6, kF = 2;

std::string stack(const std::string& options = "") {
  return spec(R"({"type": "Input", "name": "x", "shape": [null, 2]},
      {"type": "LSTM", "name": "a", "inputs": ["x"], "units": 5, "return_sequences": true},
      {"type": "GRU", "name": "b", "inputs": ["a"], "units": 3, "return_sequences": true)" +
                  options + "}",
              R"("x")", R"("b")");
}

// The stack on steps [begin, end) of a row, by itself.
std::vector<float> alone(const Model& model, const std::vector<float>& x, Index row, const std::vector<Index>& steps) {
  std::vector<float> part;
  for (const Index t : steps) part.insert(part.end(), x.begin() + (row * kT + t) * kF, x.begin() + (row * kT + t + 1) * kF);
  const Batch batch{.inputs = {{part.data(), {1, static_cast<Index>(steps.size()), kF}}}, .lengths = {}};
  return model.predict(batch)[0].data;
}

}  // namespace

TEST_CASE("steps_after: windows, cuts, padding, repetition, of T and of lengths") {
  using layers::steps_after;
  CHECK(steps_after({.changed = true, .span = 3}, 10) == 8);
  CHECK(steps_after({.changed = true, .span = 3, .stride = 2}, 10) == 4);
  CHECK(steps_after({.changed = true, .span = 3}, 2) == 0);
  CHECK(steps_after({.changed = true, .stride = 2}, 5) == 3);
  CHECK(steps_after({.changed = true, .add = -3}, 5) == 2);
  CHECK(steps_after({.changed = true, .add = -3}, 2) == 0);
  CHECK(steps_after({.changed = true, .add = 2}, 5) == 7);
  CHECK(steps_after({.changed = true, .up = 3}, 5) == 15);
  CHECK(steps_after({.changed = true, .add = 2}, 0) == 0);
  CHECK(steps_after({.changed = true, .span = 3}, kUnknown) == kUnknown);
}

TEST_CASE("masks: the valid steps alone, their outputs repeated, on any number of threads") {
  Model model(stack());
  model.initialize(3);
  const std::vector<float> x = numbers(kB * kT * kF, 5);
  const std::vector<std::uint8_t> mask = {0, 0, 1, 1, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0};
  const Batch batch{.inputs = {{x.data(), {kB, kT, kF}}}, .lengths = {}, .masks = {mask}};
  const std::vector<float> y = model.predict(batch)[0].data;
  for (Index row = 0; row < kB; ++row) {
    std::vector<Index> steps;
    for (Index t = 0; t < kT; ++t)
      if (mask[static_cast<std::size_t>(row * kT + t)]) steps.push_back(t);
    const std::vector<float> expected = steps.empty() ? std::vector<float>() : alone(model, x, row, steps);
    std::vector<float> last(3, 0.0f);
    for (Index t = 0, k = 0; t < kT; ++t) {
      if (mask[static_cast<std::size_t>(row * kT + t)]) std::copy_n(expected.begin() + 3 * k++, 3, last.begin());
      CHECK(std::equal(last.begin(), last.end(), y.begin() + (row * kT + t) * 3));
    }
  }
  const auto valid = model.valid_steps(batch);
  CHECK(valid[0] == mask);
}

TEST_CASE("resets: a row is the sequences that it is made of") {
  Model model(stack());
  model.initialize(3);
  const std::vector<float> x = numbers(kB * kT * kF, 6);
  const std::vector<std::uint8_t> resets = {0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0};
  const Batch batch{.inputs = {{x.data(), {kB, kT, kF}}}, .lengths = {}, .resets = {resets}};
  const std::vector<float> y = model.predict(batch)[0].data;
  for (Index row = 0; row < kB; ++row)
    for (Index begin = 0, end = 1; begin < kT; begin = end, ++end) {
      while (end < kT && !resets[static_cast<std::size_t>(row * kT + end)]) ++end;
      std::vector<Index> steps;
      for (Index t = begin; t < end; ++t) steps.push_back(t);
      const std::vector<float> expected = alone(model, x, row, steps);
      CHECK(std::equal(expected.begin(), expected.end(), y.begin() + (row * kT + begin) * 3));
    }
}

TEST_CASE("masks and resets of the wrong size are refused by the input's name") {
  Model model(stack());
  const std::vector<float> x = numbers(kB * kT * kF, 7);
  const std::vector<std::uint8_t> flags(static_cast<std::size_t>(kB * kT - 1), 1);
  Batch batch{.inputs = {{x.data(), {kB, kT, kF}}}, .lengths = {}, .masks = {flags}};
  contains(message_of([&] { model.predict(batch); }), "Input 'x': expected a mask of 3 rows and 6 steps, got 17 flags");
  batch.masks.clear();
  batch.resets = {flags};
  contains(message_of([&] { model.predict(batch); }), "Input 'x': expected resets of 3 rows and 6 steps, got 17 flags");
  batch.resets = {flags, flags};
  contains(message_of([&] { model.predict(batch); }), "resets (one an input, possibly empty)");
}

TEST_CASE("masks: a training step counts the steps that are there") {
  Model model(stack());
  model.initialize(1);
  Trainer trainer(model, R"({"optimizer": {"name": "sgd", "learning_rate": 0.1}, "losses": [{"name": "mean_squared_error"}]})");
  const std::vector<float> x = numbers(kB * kT * kF, 8), y = numbers(kB * kT * 3, 9);
  const std::vector<std::uint8_t> mask = {0, 0, 1, 1, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0};
  const Batch batch{.inputs = {{x.data(), {kB, kT, kF}}}, .lengths = {}, .masks = {mask}};
  const Targets targets{.targets = {{y.data(), {kB, kT, 3}}}, .sample_weights = {}};
  const StepResult before = trainer.step(batch, targets);
  CHECK(before.counts == std::vector<Index>{7});
  CHECK(trainer.evaluate(batch, targets).loss < before.loss);
}
