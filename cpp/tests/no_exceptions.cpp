// A program compiled with -fno-exceptions -fno-rtti, against the installed headers alone: builds a model, trains it, keeps it in a
// file, streams it, and is told what is wrong. `no_exceptions misuse` asks a failed Result for its value, which must abort.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "model_file.hpp"
#include "rekur/status.hpp"

#if REKUR_THROWS
#error "REKUR_THROWS must be 0 where exceptions are off"
#endif

namespace {

using rekur::Batch;
using rekur::Code;
using rekur::DType;
using rekur::Index;
using rekur::Model;
using rekur::Result;
using rekur::Shape;
using rekur::Status;

// What throws is not there to be called.
template <class M>
concept HasThrowing = requires(M& m) { m.initialize(1); } || requires(M& m) { m.predict(Batch()); } || requires { M("{}"); } ||
                      requires { M::load("path"); } || requires(M& m) { m.save("path"); } ||
                      requires(M& m) { m.set_weights(std::span<const float>()); };
static_assert(!HasThrowing<Model>);
static_assert(!std::is_constructible_v<rekur::Stream, const Model&>);

void require(bool condition, const char* what, int line) {
  if (condition) return;
  std::printf("line %d: %s\n", line, what);
  std::exit(1);
}
#define REQUIRE(condition) require(static_cast<bool>(condition), #condition, __LINE__)

void require_failure(const Status& status, Code code, const char* part, int line) {
  if (status.code == code && std::strstr(status.message, part) != nullptr) return;
  std::printf("line %d: code %d, message: %s; expected: %s\n", line, static_cast<int>(status.code), status.message, part);
  std::exit(1);
}
#define REQUIRE_FAILURE(status, code, part) require_failure(status, code, part, __LINE__)

const char* const kSpec = R"({"format": "rekur", "version": 1, "name": "m", "layers": [
    {"type": "Input", "name": "x", "shape": [null, 1]},
    {"type": "LSTM", "name": "lstm", "inputs": ["x"], "units": 4, "return_sequences": true},
    {"type": "Dense", "name": "y", "inputs": ["lstm"], "units": 1}], "inputs": ["x"], "outputs": ["y"]})";

constexpr std::size_t kSteps = 20;
constexpr auto kTime = static_cast<Index>(kSteps);

Batch batch_of(const std::vector<float>& x) {
  Batch batch;
  batch.inputs.push_back({x.data(), {1, kTime, 1}, DType::float32});
  return batch;
}

#if REKUR_TRAINING
// The sum of what was heard, fading.
void train(Model& model, const std::vector<float>& x) {
  std::vector<float> target(kSteps);
  float sum = 0;
  for (std::size_t t = 0; t < kSteps; ++t) target[t] = sum = 0.5f * sum + x[t];
  rekur::Targets targets;
  targets.targets.push_back({target.data(), {1, kTime, 1}, DType::float32});

  Result<rekur::Trainer> trainer = rekur::try_trainer(
      model, R"({"optimizer": {"name": "adam", "learning_rate": 0.02}, "losses": [{"name": "mean_squared_error"}]})");
  REQUIRE(trainer);
  double first = 0, last = 0;
  for (int i = 0; i < 60; ++i) {
    const Result<rekur::StepResult> step = rekur::try_step(*trainer, batch_of(x), targets);
    REQUIRE(step);
    (i == 0 ? first : last) = step->loss;
  }
  REQUIRE(last < 0.5 * first);
  REQUIRE(trainer->iterations() == 60);
  targets.targets[0].shape = {1, 3, 1};
  REQUIRE_FAILURE(rekur::try_step(*trainer, batch_of(x), targets).status(), Code::invalid_argument, "output 'y'");
  REQUIRE_FAILURE(rekur::try_trainer(model, "{}").status(), Code::invalid_argument, "optimizer");
}
#endif

void stream(const Model& model, const std::vector<float>& x, const std::vector<float>& expected) {
  Result<rekur::Stream> stream = rekur::try_stream(model, {.batch = 1});
  REQUIRE(stream);
  for (int turn = 0; turn < 2; ++turn) {
    for (std::size_t t = 0; t < kSteps; ++t) {
      float y = 0;
      stream->step(&x[t], &y);
      REQUIRE(std::fabs(y - expected[t]) < 1e-6f);
    }
    stream->reset();
  }
  REQUIRE_FAILURE(rekur::try_stream(model, {.batch = 0}).status(), Code::invalid_argument, "batch");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::puts("usage: no_exceptions FOLDER | misuse"), 2;
  const std::string folder = argv[1];
  if (folder == "misuse") {
    const Result<Model> none = rekur::try_load("/nowhere/model.safetensors");
    std::printf("%s\n", none->spec().c_str());
    return 0;
  }
  Result<Model> model = rekur::try_model(kSpec);
  REQUIRE(model);
  std::vector<float> x(kSteps);
  for (std::size_t t = 0; t < kSteps; ++t) x[t] = std::sin(0.9f * static_cast<float>(t));
  std::vector<float> y(kSteps);
  const std::vector<rekur::View> views{{y.data(), {1, kTime, 1}}};
#if REKUR_TRAINING
  REQUIRE(rekur::try_initialize(*model, 5));
  const std::string first = (*rekur::try_training(*model))[0].layer;
  REQUIRE(rekur::try_set_trained(*model, first, false));
  REQUIRE(!(*rekur::try_training(*model))[0].trained);
  REQUIRE(rekur::try_set_trained(*model, first, true));
  REQUIRE(rekur::try_set_signal(*model, {.sample_rate = 48000, .latency = 2}));
  REQUIRE(model->signal().sample_rate == 48000 && model->signal().latency == 2);
  REQUIRE_FAILURE(rekur::try_set_signal(*model, {.latency = -1}), Code::invalid_argument, "latency");
  REQUIRE((*rekur::try_stream(*model, {.sample_rate = 96000})).rate_match() == rekur::RateMatch::matched);
  REQUIRE(rekur::try_set_signal(*model, {}));
  REQUIRE(rekur::try_model(kSpec, std::span<const rekur::SharedLayer>()));
  REQUIRE_FAILURE(rekur::try_set_trained(*model, "nobody", false), Code::invalid_argument, "unknown layer 'nobody'");
  train(*model, x);
#else
  std::vector<float> weights(model->weights().size());
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = 0.3f * std::cos(static_cast<float>(i));
  REQUIRE(rekur::try_set_weights(*model, weights));
#endif
  REQUIRE(rekur::try_predict(*model, batch_of(x), views));

  const std::string path = folder + "/no_exceptions.safetensors";
#if REKUR_TRAINING
  REQUIRE(rekur::try_save(*model, path));
#else
  const std::string file = rekur::test::model_file(*model);
  std::ofstream(path, std::ios::binary).write(file.data(), static_cast<std::streamsize>(file.size()));
#endif
  const Result<Model> loaded = rekur::try_load(path);
  REQUIRE(loaded);
  const Result<std::vector<rekur::Tensor>> again = rekur::try_predict(*loaded, batch_of(x));
  REQUIRE(again);
  REQUIRE((*again)[0].data == y);
  stream(*loaded, x, y);
  std::vector<float> copied(loaded->weight_count());
  REQUIRE(rekur::try_copy_weights(*loaded, copied));
  REQUIRE(std::equal(copied.begin(), copied.end(), loaded->weights().begin()));
  REQUIRE_FAILURE(rekur::try_copy_weights(*loaded, {}), Code::invalid_argument, "expected room for");

  REQUIRE_FAILURE(rekur::try_load(std::getenv("REKUR_NO_SUCH_VARIABLE")).status(), Code::invalid_argument, "the path is null");
  REQUIRE_FAILURE(rekur::try_load(folder).status(), Code::io, folder.c_str());
#if REKUR_IMPORT
  const Result<Model> imported = rekur::try_import(path);  // rekur's own files, too
  REQUIRE(imported);
  REQUIRE(imported->spec() == loaded->spec());
  REQUIRE_FAILURE(rekur::try_import(folder).status(), Code::io, folder.c_str());
  REQUIRE_FAILURE(rekur::try_import(std::as_bytes(std::span("{\"layers\": []}")), "amp").status(), Code::io, "amp: JSON");
#endif
  REQUIRE_FAILURE(rekur::try_model("[]").status(), Code::invalid_argument, "");
  REQUIRE_FAILURE(rekur::try_predict(*loaded, {}, views), Code::invalid_argument, "expected 1 input, got 0");
  REQUIRE_FAILURE(rekur::try_set_num_threads(0), Code::invalid_argument, "from 1 to 1024");
  REQUIRE(rekur::try_set_num_threads(1));
  std::puts("all well");
  return 0;
}
