// status.hpp: training.
#include <algorithm>
#include <cmath>

#include "io_helpers.hpp"
#include "model_helpers.hpp"
#include "rekur/status.hpp"

#if REKUR_TRAINING

using namespace rekur;
using namespace rekur::test;

namespace {

const std::string kModel = spec(R"({"type": "Input", "name": "x", "shape": [null, 2]},
    {"type": "GRU", "name": "gru", "inputs": ["x"], "units": 3},
    {"type": "Dense", "name": "y", "inputs": ["gru"], "units": 1})",
                                "\"x\"", "\"y\"");
const char* const kConfig = R"({"optimizer": {"name": "adam", "learning_rate": 0.05}, "losses": [{"name": "mean_squared_error"}]})";

struct Problem {
  Data data = Data().add_random({4, 5, 2});
  std::vector<float> target{0.5f, -0.5f, 0.25f, 1};
  Targets targets() const { return {{{target.data(), {4, 1}, DType::float32}}, {}}; }
};

}  // namespace

TEST_CASE("status: a trainer does what the throwing one does") {
  const Problem problem;
  Model model(kModel), reference(kModel);
  model.initialize(1);
  reference.initialize(1);
  Result<Trainer> trainer = try_trainer(model, kConfig);
  REQUIRE(trainer);
  Trainer other(reference, kConfig);
  for (int i = 0; i < 3; ++i) {
    const auto result = try_step(*trainer, problem.data.batch(), problem.targets());
    REQUIRE(result);
    CHECK(result->loss == other.step(problem.data.batch(), problem.targets()).loss);
  }
  CHECK(trainer->iterations() == 3);
  const auto evaluated = try_evaluate(*trainer, problem.data.batch(), problem.targets());
  REQUIRE(evaluated);
  CHECK(evaluated->loss == other.evaluate(problem.data.batch(), problem.targets()).loss);

  const auto state = try_state(*trainer);
  REQUIRE(state);
  CHECK(state->size() == 2);
  REQUIRE(try_set_state(*trainer, *state, 7));
  CHECK(trainer->iterations() == 7);
  REQUIRE(try_apply_gradients(*trainer, std::vector<float>(model.weights().size())));
  CHECK(trainer->iterations() == 8);
  CHECK(try_apply_gradients(*trainer, {}).code == Code::invalid_argument);
  REQUIRE(try_set_remat(*trainer, true));
  REQUIRE(try_finalize(*trainer));
  REQUIRE(try_set_learning_rate(*trainer, 0.5));
  CHECK(trainer->learning_rate() == 0.5);
  REQUIRE(try_set_optimizer(*trainer, R"({"name": "adam", "learning_rate": 0.25, "beta_1": 0.8})"));
  CHECK(trainer->learning_rate() == 0.25);
}

TEST_CASE("status: forward and backward") {
  const Problem problem;
  Model model(kModel);
  model.initialize(1);
  const Gradients expected = gradients(model, problem.data);
  std::vector<float> y(4), weights(model.weights().size());
  const std::vector<View> outputs{{y.data(), {4, 1}}};
  Result<Tape> tape = try_forward(model, problem.data.batch(), outputs);
  REQUIRE(tape);
  CHECK(y == expected.outputs[0].data);
  const std::vector<float> upstream = numbers(4, 100);
  const std::vector<ConstView> views{{upstream.data(), {4, 1}, DType::float32}};
  REQUIRE(try_backward(model, std::move(*tape), views, weights, {}));
  CHECK(weights == expected.weights);
  const Status again = try_backward(model, Tape(), views, weights, {});
  CHECK(again.code == Code::invalid_argument);
  contains(again.message, "the tape is empty");
  CHECK(try_forward(model, {}, outputs).status().code == Code::invalid_argument);
}

TEST_CASE("status: drawing and saving") {
  const tests::TemporaryDirectory directory;
  const std::string path = directory.file("model.safetensors");
  Model model(kModel), reference(kModel);
  reference.initialize(5);
  REQUIRE(try_initialize(model, 5));
  CHECK(std::equal(model.weights().begin(), model.weights().end(), reference.weights().begin(), reference.weights().end()));
  REQUIRE(try_save(model, path));
  const auto loaded = try_load(path);
  REQUIRE(loaded);
  CHECK(std::equal(model.weights().begin(), model.weights().end(), loaded->weights().begin(), loaded->weights().end()));
  Model::Extras extras, read;
  extras.metadata["note"] = "n";
  REQUIRE(try_save(model, path, extras));
  REQUIRE(try_load(path, read));
  CHECK(read.metadata == extras.metadata);

  contains(try_save(model, "/nowhere/at all").message, "/nowhere/at all");
  CHECK(try_save(model, "/nowhere/at all").code == Code::io);
  CHECK(try_save(model, nullptr).code == Code::invalid_argument);
  extras.metadata["rekur"] = "mine";
  contains(try_save(model, path, extras).message, "'rekur' is the model's own");
  REQUIRE(try_load(path));
}

TEST_CASE("status: what is wrong in training leaves everything as it was") {
  const Problem problem;
  Model model(kModel);
  model.initialize(1);
  contains(try_trainer(model, R"({"optimizer": {"name": "adm"}, "losses": [null]})").status().message, "did you mean 'adam'?");
  CHECK(try_trainer(model, nullptr).status().code == Code::invalid_argument);
  Result<Trainer> trainer = try_trainer(model, kConfig);
  REQUIRE(trainer);
  const std::vector<float> before(model.weights().begin(), model.weights().end());
  CHECK(try_step(*trainer, problem.data.batch(), {}).status().code == Code::invalid_argument);
  CHECK(try_step(*trainer, {}, problem.targets()).status().code == Code::invalid_argument);
  CHECK(try_evaluate(*trainer, {}, problem.targets()).status().code == Code::invalid_argument);
  CHECK(try_set_learning_rate(*trainer, std::nan("")).code == Code::invalid_argument);
  CHECK(try_set_optimizer(*trainer, R"({"name": "adam", "beta_1": 2})").code == Code::invalid_argument);
  CHECK(try_set_optimizer(*trainer, nullptr).code == Code::invalid_argument);
  CHECK(try_set_state(*trainer, {}, 1).code == Code::invalid_argument);
  CHECK(std::equal(before.begin(), before.end(), model.weights().begin()));
  CHECK(trainer->iterations() == 0);
  CHECK(trainer->learning_rate() == 0.05);
}

#endif
