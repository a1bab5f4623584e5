// Every allocation of every call fails once, alone and with all after it: the call must say out_of_memory, change nothing, and work
// when it is made again. A program of its own, as it replaces operator new.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "model_file.hpp"
#include "rekur/rekur.h"
#include "rekur/status.hpp"

namespace {

constexpr long kNever = -1;
thread_local long until_failure = kNever;  // allocations of this thread that still succeed
thread_local bool failed = false;
thread_local bool alone = false;  // whether memory is there again after a failure

void* allocate(std::size_t size) {
  if (until_failure == 0) {
    failed = true;
    if (alone) until_failure = kNever;
    throw std::bad_alloc();
  }
  if (until_failure > 0) --until_failure;
  if (void* block = std::malloc(size == 0 ? 1 : size)) return block;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  try {
    return allocate(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept { std::free(block); }
void operator delete[](void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
void operator delete[](void* block, std::size_t) noexcept { std::free(block); }

namespace {

using namespace rekur;

const char* const kSpec = R"({"format": "rekur", "version": 1, "name": "m", "layers": [
    {"type": "Input", "name": "x", "shape": [null, 2]},
    {"type": "LSTM", "name": "lstm", "inputs": ["x"], "units": 5, "return_sequences": true},
    {"type": "Dense", "name": "y", "inputs": ["lstm"], "units": 1}], "inputs": ["x"], "outputs": ["y"]})";

[[noreturn]] void give_up(const char* what, long n, const char* message) {
  std::printf("%s, allocation %ld: %s\n", what, n, message);
  std::exit(1);
}

// Fails the first allocation of `call`, then the second, … until it needs no more. call() gives a Status.
template <class Call>
void exhaust_once(const char* what, const Call& call) {
  for (long n = 0; n < 100000; ++n) {
    until_failure = n;
    failed = false;
    const Status status = call();
    until_failure = kNever;
    if (!failed) {
      if (!status) give_up(what, n, status.message);
      std::printf("%s: %ld allocations\n", what, n);
      return;
    }
    // An allocation may be one that the library does without.
    if (status) continue;
    if (status.code != Code::out_of_memory) give_up(what, n, status.message);
    if (status.message[0] == '\0') give_up(what, n, "no message");
  }
  give_up(what, -1, "no end");
}

// That allocation alone, and it with all that follow.
template <class Call>
void exhaust(const char* what, const Call& call) {
  for (const bool once : {true, false}) {
    alone = once;
    exhaust_once(what, call);
  }
}

Status of_c(rekur_code code) { return code == REKUR_OK ? Status() : Status(static_cast<Code>(code), rekur_last_error()); }

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const std::string path = std::string(argv[1]) + "/allocation_failures.safetensors";
  Result<Model> made = try_model(kSpec);
  if (!made) give_up("model", -1, made.status().message);
  Model& model = *made;
  std::vector<float> flat(model.weights().size(), 0.125f);
  if (const Status set = try_set_weights(model, flat); !set) give_up("weights", -1, set.message);

  std::vector<float> x(2 * 3 * 2, 0.5f), y(2 * 3);
  Batch batch;
  batch.inputs.push_back({x.data(), {2, 3, 2}, DType::float32});
  const std::vector<View> outputs{{y.data(), {2, 3, 1}}};
  const std::vector<Shape> input_shapes{{2, 3, 2}};

  exhaust("model", [] { return try_model(kSpec).status(); });
  std::ofstream(path, std::ios::binary) << test::model_file(model);
  exhaust("load", [&] { return try_load(path).status(); });
#if REKUR_IMPORT
  const std::string amp = R"({"architecture": "ConvNet", "config": {"channels": 1, "dilations": [2], "batchnorm": false,
      "activation": {"type": "LeakyReLU", "negative_slope": 0.1}}, "weights": [0.5, 0.25, 0.1, 2.0, 0.0]})";
  exhaust("import", [&] { return try_import(std::as_bytes(std::span(amp))).status(); });
#endif
  exhaust("predict", [&] { return try_predict(model, batch, outputs); });
  exhaust("predict, allocating", [&] { return try_predict(model, batch).status(); });
  exhaust("output shapes", [&] { return try_output_shapes(model, input_shapes).status(); });
  exhaust("stream", [&] { return try_stream(model).status(); });
  const std::vector<float> expected = y;
  exhaust("a first prediction", [&] {
    const long until = std::exchange(until_failure, kNever);
    const Result<Model> fresh = try_load(path);
    until_failure = until;
    return fresh ? try_predict(*fresh, batch, outputs) : fresh.status();
  });
  if (y != expected) give_up("prediction", -1, "other numbers");

  exhaust("rekur_model_load", [&] {
    rekur_model* loaded = nullptr;
    const Status status = of_c(rekur_model_load(path.c_str(), &loaded));
    if (!status && loaded != nullptr) give_up("rekur_model_load", -1, "a model in spite of the failure");
    rekur_model_free(loaded);
    return status;
  });
  rekur_model* loaded = nullptr;
  if (rekur_model_load(path.c_str(), &loaded) != REKUR_OK) give_up("rekur_model_load", -1, rekur_last_error());
  exhaust("rekur_model_predict", [&] {
    rekur_tensor in = {}, out = {};
    in.data = x.data();
    in.count = 12;
    in.rank = 3;
    in.dims[0] = 2, in.dims[1] = 3, in.dims[2] = 2;
    out.data = y.data();
    out.count = 6;
    return of_c(rekur_model_predict(loaded, &in, 1, &out, 1));
  });
  if (y != expected) give_up("rekur_model_predict", -1, "other numbers");
  exhaust("rekur_stream_create", [&] {
    rekur_stream* stream = nullptr;
    const Status status = of_c(rekur_stream_create(loaded, 1, &stream));
    rekur_stream_free(stream);
    return status;
  });
  rekur_model_free(loaded);

#if REKUR_TRAINING
  exhaust("save", [&] { return try_save(model, path); });
  exhaust("initialize", [&] { return try_initialize(model, 3); });
  const char* const config = R"({"optimizer": {"name": "adam"}, "losses": [{"name": "mean_squared_error"}]})";
  exhaust("trainer", [&] { return try_trainer(model, config).status(); });
  Result<Trainer> trainer = try_trainer(model, config);
  if (!trainer) give_up("trainer", -1, trainer.status().message);
  Targets targets;
  targets.targets.push_back({expected.data(), {2, 3, 1}, DType::float32});
  exhaust("step", [&] {
    const long until = std::exchange(until_failure, kNever);
    const std::vector<float> before(model.weights().begin(), model.weights().end());
    until_failure = until;
    const Status status = try_step(*trainer, batch, targets).status();
    if (!status && !std::equal(before.begin(), before.end(), model.weights().begin())) {
      give_up("step", -1, "the weights changed in spite of the failure");
    }
    return status;
  });
  if (trainer->iterations() == 0) give_up("step", -1, "none done");
  exhaust("evaluate", [&] { return try_evaluate(*trainer, batch, targets).status(); });
  exhaust("state", [&] { return try_state(*trainer).status(); });
  exhaust("set_optimizer", [&] { return try_set_optimizer(*trainer, R"({"name": "adam", "beta_1": 0.8, "clipnorm": 1})"); });
#endif
  std::puts("all well");
  return 0;
}
