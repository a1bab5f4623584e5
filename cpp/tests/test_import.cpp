// Other programs' files: what is read, that broken ones are errors, and that memory goes by the file's size. That models are those
// of the Python converter, bit by bit, tests/test_import_cpp.py compares; what owners' engines make of the files,
// test_convert_nam.py.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "io_helpers.hpp"
#include "rekur/rekur.h"
#include "rekur/status.hpp"
#include "rekur/stream.hpp"

#if REKUR_IMPORT
#include "rekur/import.hpp"

using namespace rekur;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }
Model read(const std::string& text, const foreign::Options& options = {}) { return foreign::load(bytes_of(text), "file", options); }

std::string drawn(int count, int seed) {
  std::string text;
  for (int k = 0; k < count; ++k) {
    char number[32];
    std::snprintf(number, sizeof number, "%s%.4f", k == 0 ? "" : ",", 0.6 * std::sin(12.7 * k + seed));
    text += number;
  }
  return text;
}
std::string matrix(int rows, int columns, int seed) {
  std::string text = "[";
  for (int i = 0; i < rows; ++i) text += (i == 0 ? "[" : ",[") + drawn(columns, seed + 31 * i) + "]";
  return text + "]";
}

const std::string kLayers = R"({"input_size":1,"condition_size":1,"head_size":1,"head_bias":true,"channels":2,"kernel_size":2,
    "dilations":[1,2],"activation":"Tanh","gated":true})";
// Rechannel, two layers (a gated convolution, a mixin, a product to the next), the head, its scale.
const int kWaveNetWeights = 2 + 2 * (2 * 4 * 2 + 4 + 4 + 4 + 2) + 3 + 1;

std::string wavenet(const std::string& layers = kLayers, int weights = kWaveNetWeights) {
  return R"({"version":"0.5.4","architecture":"WaveNet","config":{"layers":[)" + layers + R"(],"head":null,"head_scale":0.5},
      "weights":[)" +
         drawn(weights, 1) + R"(],"sample_rate":48000})";
}
std::string lstm() {
  const int units = 3, weights = 4 * units * (1 + units) + 6 * units + units + 1;
  return R"({"version":"0.5.4","architecture":"LSTM","config":{"input_size":1,"hidden_size":3,"num_layers":1},"weights":[)" +
         drawn(weights, 2) + "]}";
}
std::string convnet() {
  return R"({"architecture":"ConvNet","config":{"channels":2,"dilations":[1,4],"batchnorm":false,"activation":"Tanh"},"weights":[)" +
         drawn(4 + 2 + 8 + 2 + 3, 3) + "]}";
}
std::string guitarml(int skip = 1) {
  return R"({"model_data":{"model":"SimpleRNN","input_size":2,"skip":)" + std::to_string(skip) +
         R"(,"output_size":1,"unit_type":"GRU","num_layers":1,"hidden_size":2},"state_dict":{"rec.weight_ih_l0":)" +
         matrix(6, 2, 4) + R"(,"rec.weight_hh_l0":)" + matrix(6, 2, 5) + R"(,"rec.bias_ih_l0":[)" + drawn(6, 6) +
         R"(],"rec.bias_hh_l0":[)" + drawn(6, 7) + R"(],"lin.weight":)" + matrix(1, 2, 8) + R"(,"lin.bias":[0.1]}})";
}
std::string rtneural() {
  return R"({"in_shape":[null,null,1],"in_skip":1,"in_gain":-6.0,"out_gain":3,"layers":[
      {"type":"dense","activation":"tanh","shape":[null,null,2],"weights":[)" +
         matrix(1, 2, 9) + R"(,[0.1,0.2]]},
      {"type":"conv1d","activation":"","shape":[null,null,2],"kernel_size":[2],"dilation":[3],"weights":[[)" +
         matrix(2, 2, 10) + "," + matrix(2, 2, 11) + R"(],[0.0,0.3]]},
      {"type":"prelu","shape":[null,null,2],"weights":[[[0.25]]]},
      {"type":"lstm","activation":"tanh","shape":[null,null,2],"weights":[)" +
         matrix(2, 8, 12) + "," + matrix(2, 8, 13) + ",[" + drawn(8, 14) + R"(]]},
      {"type":"dense","activation":"","shape":[null,null,1],"weights":[[[0.5],[-0.5]],[0.0]]}]})";
}

// Outputs of steps after `silence` zeros.
std::vector<float> played(const Model& model, Index silence = 0) {
  const std::size_t features = static_cast<std::size_t>(model.inputs()[0].shape.back());
  Stream stream(model);
  std::vector<float> x(features), y(1), out;
  for (Index t = -silence; t < 40; ++t) {
    for (std::size_t f = 0; f < features; ++f)
      x[f] = t < 0 ? 0.0F : static_cast<float>(std::sin(0.9 * static_cast<double>(t) + static_cast<double>(f)));
    stream.step(x.data(), y.data());
    if (t >= 0) out.push_back(y[0]);
  }
  return out;
}

double apart(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(static_cast<double>(a[i]) - b[i]));
  return largest;
}

std::string error_of(const std::string& text) {
  try {
    read(text);
  } catch (const IoError& error) {
    return error.what();
  }
  return "";
}

std::string with(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("import: the sample rate is the model's") {
  const auto rate = [](const std::string& text) { return read(text).signal().sample_rate; };
  CHECK(rate(wavenet()) == 48000);
  CHECK(rate(lstm()) == 0);
  CHECK(rate(with(lstm(), "}", R"(,"extra":0},"sample_rate":44100)")) == 44100);
  CHECK(rate(with(guitarml(), R"("unit_type")", R"("samplerate":44100,"unit_type")")) == 44100);
  CHECK(rate(with(rtneural(), R"("in_skip")", R"("samplerate":96000,"in_skip")")) == 96000);
  CHECK(rate(with(rtneural(), R"("in_skip")", R"("samplerate":96000,"metadata":{"samplerate":48000.5},"in_skip")")) == 48000.5);
  CHECK(rate(with(rtneural(), R"("in_skip")", R"("samplerate":44100,"metadata":{"samplerate":"48000"},"in_skip")")) == 48000);
  CHECK(rate(with(rtneural(), R"("in_skip")", R"("samplerate":"44100.5","metadata":{"samplerate":""},"in_skip")")) == 44100.5);
  CHECK(rate(with(wavenet(), "48000", "-1")) == 0);
  const std::string inside = with(lstm(), "\"version\"", "\"sample_rate\":44100.0,\"version\"");
  const std::string container =
      R"({"architecture":"SlimmableContainer","config":{"submodels":[{"model":)" + inside + R"(}]},"weights":[])";
  CHECK(rate(container + "}") == 44100);
  CHECK(rate(container + ",\"sample_rate\":96000}") == 96000);
  for (const char* const other : {"fast", "48 kHz", "48.", ".5", "-1", "4e4", "48000 "})
    CHECK(error_of(with(wavenet(), "48000", "\"" + std::string(other) + "\""))
              .find("sample_rate: expected a number of Hz, got \"" + std::string(other) + "\"") != std::string::npos);
}

TEST_CASE("import: files are told by their contents") {
  CHECK(read(wavenet()).spec().find("array0_layer1_gate") != std::string::npos);
  CHECK(read(lstm()).spec().find("learn_initial_state") != std::string::npos);
  CHECK(read(convnet()).spec().find("block1_conv") != std::string::npos);
  CHECK(read(guitarml()).inputs()[0].shape == Shape{-1, -1, 2});
  CHECK(read(rtneural()).spec().find("rescaling_1") != std::string::npos);
  CHECK(read("\xEF\xBB\xBF \n" + lstm()).weight_count() == 70);
#if REKUR_TRAINING
  tests::TemporaryDirectory folder;
  const std::string path = folder.file("amp.safetensors");
  const Model model = read(lstm());
  model.save(path);
  CHECK(foreign::load(path).spec() == model.spec());
#endif
}

TEST_CASE("import: an LSTM begins with the states of its file, and again after a reset") {
  const Model model = read(lstm());
  Stream stream(model);
  const float x = 0.5F;
  float first = 0, later = 0, again = 0;
  stream.step(&x, &first);
  stream.step(&x, &later);
  stream.reset();
  stream.step(&x, &again);
  CHECK(first == again);
  CHECK(first != later);
  const std::span<const float> weights = model.weights();
  bool states = false;
  for (const ParameterInfo& info : model.parameters())
    if (info.name == "lstm/initial_c") states = weights[static_cast<std::size_t>(info.offset)] != 0;
  CHECK(states);
}

TEST_CASE("import: networks begin as after long silence") {
  const std::string small =
      with(kLayers, R"("channels":2)", R"("channels":2,"head":{"out_channels":1,"kernel_size":3,"bias":false})");
  for (const std::string& text : {wavenet(), convnet(), wavenet(small, kWaveNetWeights + 3)}) {
    const Model settled = read(text), cold = read(text, {.settled = false});
    CHECK(apart(played(settled), played(cold, 60)) < 1e-6);
    CHECK(apart(played(settled), played(cold)) > 1e-4);
  }
}

TEST_CASE("import: what is broken is said") {
  const auto says = [](const std::string& text, const std::string& message) {
    INFO(message);
    CHECK_MESSAGE(error_of(text).find(message) != std::string::npos, error_of(text));
  };
  says("", "file: neither a JSON object nor a model of rekur");
  says("{}", "file: expected Neural Amp Modeler's keys");
  says("[1]", "neither a JSON object");
  says(std::string(100, '{'), "file: JSON:");
  says(with(wavenet(), "WaveNet", "CatLSTM"), "its architecture is \"CatLSTM\"; LSTM, WaveNet,");
  says(with(wavenet(), "\"channels\":2", "\"channels\":3"), "weights: expected an array of at least");
  says(with(wavenet(), "\"channels\":2", "\"channels\":2000000000"), "channels: expected at most 65536, got 2000000000");
  says(with(wavenet(), "\"channels\":2", "\"channels\":-2"), "channels: expected a whole number of at least 1, got -2");
  says(with(wavenet(), "[1,2]", "[1,9223372036854775807]"), "looks back");
  says(with(wavenet(), "\"kernel_size\":2", "\"kernel_size\":9223372036854775807"), "kernel of 9223372036854775807 taps");
  says(with(wavenet(), "\"Tanh\"", "\"Snake\""), "no such activation here: \"Snake\"");
  says(with(wavenet(), "\"gated\"", "\"heads\":[1],\"gated\""), "'heads' is not known here, and what it says is not carried");
  says(wavenet(kLayers, kWaveNetWeights + 1), "weights: expected an array of " + std::to_string(kWaveNetWeights) + " numbers, got");
  says(with(lstm(), "\"num_layers\":1", "\"num_layers\":1000000000000"), "weights: expected an array of at least");
  says(with(lstm(), "[0.", "[\"a\",0."), "weights: expected a number, got \"a\"");
  says(with(lstm(), "[0.", "[1e39,0."), "a number that float32 can hold");
  says(with(guitarml(), "GRU", "Transformer"), "it is a SimpleRNN of Transformer; SimpleRNN of LSTM, GRU or RNN is read");
  says(with(guitarml(), "rec.bias_hh_l0", "rec.bias_hh_l0_reverse"), "state_dict: rec.bias_hh_l0:");
  says(with(guitarml(), "\"lin.bias\"", "\"lin.extra\""), "expected the tensors of rec and lin");
  says(guitarml(3), "3 features of the input are to be added, and it has 2");
  says(with(rtneural(), "\"prelu\"", "\"conv2d\""), "layer 2 (conv2d): there is no such layer here");
  says(with(rtneural(), "[null,null,1]", "[null,null,70000]"), "in_shape: expected at most 65536 features, got 70000");
  says(with(rtneural(), "-6.0", "1e9"), "in_gain: expected decibels of at most 400 either way");
  says(with(rtneural(), "\"tanh\"", "\"gelu\""), "RTNeural has no activation \"gelu\"");
  says(with(rtneural(), "\"dilation\":[3]", "\"dilation\":[33554432]"), "looks back");
  std::string many = R"({"in_shape":[1],"layers":[)";
  for (int k = 0; k < 9000; ++k) many += std::string(k == 0 ? "" : ",") + R"({"type":"activation","activation":"relu"})";
  says(many + "]}", "it has more than 8192 layers");
  std::string deep = "1";
  for (int k = 0; k < 40; ++k)
    deep = R"({"architecture":"SlimmableContainer","weights":[],"config":{"submodels":[{"model":)" + deep + "}]}}";
  says(deep, "levels of nesting");
}

TEST_CASE("import: every truncation and mutation is an error of the file, or another model") {
  const std::string container =
      R"({"architecture":"SlimmableContainer","config":{"submodels":[{"max_value":1,"model":)" + wavenet() + R"(}]},"weights":[]})";
  std::uint64_t state = 1;
  const auto next = [&](std::size_t below) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return static_cast<std::size_t>(state >> 33) % below;
  };
  const std::string letters = "0123456789-.eE,:[]{}\"ntf \\x\xff";
  int models = 0, errors = 0;
  const auto attempt = [&](const std::string& text) {
    try {
      read(text);
      ++models;
    } catch (const IoError&) {
      ++errors;  // anything else ends the test
    }
  };
  for (const std::string& text : {container, lstm(), convnet(), guitarml(), rtneural()}) {
    for (std::size_t size = 0; size < text.size(); size += 1 + next(3)) CHECK_THROWS_AS(read(text.substr(0, size)), IoError);
    for (int k = 0; k < 1500; ++k) {
      std::string changed = text;
      const std::size_t at = next(changed.size()), end = std::min(changed.size(), at + 1 + next(20));
      switch (next(4)) {
        case 0:
          changed[at] = letters[next(letters.size())];
          break;
        case 1:
          changed.erase(at, end - at);
          break;
        case 2:
          changed.insert(at, changed.substr(at, end - at));
          break;
        default:  // a larger number
          changed.insert(at, std::string(next(12), '9'));
      }
      attempt(changed);
    }
  }
  CHECK(models > 500);
  CHECK(errors > 2000);
}

TEST_CASE("import: without exceptions and in C") {
  tests::TemporaryDirectory folder;
  const std::string path = folder.file("amp.json"), text = guitarml();
  std::ofstream(path) << text;
  const Result<Model> model = try_import(path);
  REQUIRE(model);
  CHECK(played(*model) == played(read(text)));
  CHECK(try_import(bytes_of(text), "amp")->weight_count() == model->weight_count());
  const Status none = try_import("/nowhere/amp.nam").status();
  CHECK(none.code == Code::io);
  CHECK(std::string(none.message).find("'/nowhere/amp.nam'") != std::string::npos);
  const Status directory = try_import(folder.path().string()).status();
  CHECK(directory.code == Code::io);
  CHECK(try_import(bytes_of(text.substr(9)), "amp").status().code == Code::io);
  CHECK(try_import(static_cast<const char*>(nullptr)).status().code == Code::invalid_argument);

  rekur_model* c = nullptr;
  REQUIRE(rekur_model_import(path.c_str(), &c) == REKUR_OK);
  CHECK(std::string(rekur_model_spec(c)) == model->spec());
  rekur_model_free(c);
  REQUIRE(rekur_model_import_memory(text.data(), text.size(), &c) == REKUR_OK);
  rekur_model_free(c);
  CHECK(rekur_model_import_memory(text.data(), text.size() - 1, &c) == REKUR_IO);
  CHECK(c == nullptr);
  CHECK(rekur_model_import_memory(nullptr, 1, &c) == REKUR_INVALID_ARGUMENT);
  CHECK(rekur_model_import(nullptr, &c) == REKUR_INVALID_ARGUMENT);
  CHECK(rekur_model_import("x", nullptr) == REKUR_INVALID_ARGUMENT);
}
#endif
