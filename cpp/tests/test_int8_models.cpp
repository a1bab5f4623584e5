// Models of eight bits: streams against predict, instructions that take four numbers or two, weights in integers, files, C.
// test_int8.cpp and tests/test_int8.py have the arithmetic.
#include <array>
#include <filesystem>
#include <limits>

#include "io_helpers.hpp"
#include "isa/int8.hpp"
#include "rekur/rekur.h"
#include "rekur/status.hpp"
#include "simd/kernels.hpp"
#include "stream_helpers.hpp"

using namespace rekur;
using namespace rekur::test;
using tests::TemporaryDirectory;

namespace {

std::string of(const std::string& type, Index features, Index units, const std::string& options = "") {
  return spec(input("x", "[null, " + std::to_string(features) + "]") + ", " +
                  layer(type, "y", R"("x")", R"("precision": "int8", "units": )" + std::to_string(units) + options),
              R"("x")", R"("y")");
}

std::string convolution(Index features, const std::string& options) {
  return spec(input("x", "[null, " + std::to_string(features) + "]") + ", " +
                  layer("Conv1D", "y", R"("x")", R"("precision": "int8", "padding": "causal", )" + options),
              R"("x")", R"("y")");
}

const std::string kTable =
    spec(input("x", "[null]", "int32") + ", " +
             layer("Embedding", "table", R"("x")", R"("precision": "int8", "input_dim": 12, "output_dim": 20)") + ", " +
             layer("GRU", "y", R"("table")", R"("precision": "int8", "units": 65)"),
         R"("x")", R"("y")");

std::vector<std::string> models() {
  std::vector<std::string> all;
  for (const auto& [I, H] : std::vector<std::pair<Index, Index>>{{5, 65}, {17, 64}, {65, 67}, {33, 70}})
    for (const char* type : {"LSTM", "GRU", "SimpleRNN"}) all.push_back(of(type, I, H));
  for (const char* option :
       {R"(, "peepholes": true)", R"(, "clip": 0.3)", R"(, "projection_size": 48)", R"(, "coupled_gates": true, "use_bias": false)",
        R"(, "layer_normalization": "sums")", R"(, "return_sequences": true, "learn_initial_state": true)"})
    all.push_back(of("LSTM", 20, 67, option));
  all.push_back(of("GRU", 20, 65, R"(, "reset_after": false)"));
  all.push_back(of("Dense", 65, 70, R"(, "activation": "softmax")"));
  all.push_back(of("Dense", 300, 16, R"(, "use_bias": false)"));
  all.push_back(convolution(20, R"("filters": 66, "kernel_size": 5, "dilation_rate": 2)"));
  all.push_back(convolution(40, R"("filters": 140, "kernel_size": 3, "groups": 2)"));
  return all;
}

Index narrowed(const Model& model) {
  return std::count_if(model.parameters().begin(), model.parameters().end(), [](const ParameterInfo& p) { return p.int8; });
}

}  // namespace

TEST_CASE("int8: streams give predict's bits, one row or several, step by step and together") {
  for (const std::string& text : models()) {
    CAPTURE(text);
    CHECK(narrowed(Model(text)) > 0);
    check_stream(text, {}, 0.3f);
  }
  check_stream(kTable, {}, 0.3f);
}

TEST_CASE("int8: instructions that take two numbers give the bits of those that take four or eight") {
  const std::string before = current_isa();
  for (const std::string& isa : available_isas())
    for (const std::string& text : models()) {
      CAPTURE(text);
      set_isa(isa);
      const Model model = random_model(text, 0.3f);
      const Sequences data(model, 7, 9);
      const std::vector<float> expected = model.predict(data.first(9).batch())[0].data;
      for (const Index most : {4, 2}) {
        isa::most_together = most;
        set_isa(isa);  // packed weights remember
        CHECK(numbers_of(isa::int8_group()) <= most);
        CHECK(same(model.predict(data.first(9).batch())[0].data, expected));
        for (const Index batch : {1, 5}) check_steps(model, batch);
      }
      isa::most_together = 8;
    }
  set_isa(before);
}

TEST_CASE("int8: a matrix is of eight bits as a whole, and small ones are not") {
  const auto names = [](const std::string& text) {
    std::vector<std::string> found;
    const Model model(text);
    for (const ParameterInfo& info : model.parameters())
      if (info.int8) found.push_back(info.name);
    return found;
  };
  using Names = std::vector<std::string>;
  CHECK(names(of("LSTM", 5, 33)) == Names{"y/recurrent_kernel"});
  CHECK(names(of("LSTM", 31, 33)) == Names{"y/recurrent_kernel"});
  CHECK(names(of("LSTM", 32, 33)) == Names{"y/kernel", "y/recurrent_kernel"});
  CHECK(names(of("LSTM", 5, 31)).empty());
  CHECK(names(of("GRU", 5, 40, R"(, "reset_after": false)")) == Names{"y/recurrent_kernel"});  // of two products, both
  CHECK(names(of("LSTM", 5, 67, R"(, "projection_size": 48)")) == Names{"y/recurrent_kernel"});
  CHECK(names(of("LSTM", 5, 67, R"(, "projection_size": 62)")) == Names{"y/recurrent_kernel", "y/projection_kernel"});
  CHECK(names(of("Dense", 4096, 1)).empty());
  CHECK(names(of("Dense", 15, 400)).empty());
  CHECK(names(of("Dense", 64, 64)) == Names{"y/kernel"});
  CHECK(names(kTable) == Names{"table/embeddings", "y/recurrent_kernel"});
}

TEST_CASE("int8: weights come as integers and scales, and go as numbers of that grid") {
  Model model = random_model(of("LSTM", 40, 35));
  CHECK(narrowed(model) == 2);
  std::vector<float> before(model.weight_count());
  model.copy_weights(before);
  model.round_weights(WeightType::int8);
  std::vector<float> once(model.weight_count()), twice(model.weight_count());
  model.copy_weights(once);
  model.copy_weights(twice, WeightType::int8);
  CHECK(once != before);
  CHECK(once == twice);

  std::vector<std::int8_t> numbers(75 * 140);
  std::vector<float> scales(280), others(140, 0.25f);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<std::int8_t>(i % 140 == i / 140 ? 127 : i % 9);
  for (std::size_t n = 0; n < scales.size(); ++n) scales[n] = 1.0f / 64 / static_cast<float>(1 << n % 3);
  model.set_weights(numbers, scales, others);
  CHECK(model.weights()[0] == 127 * scales[0]);
  CHECK(model.weights()[40 * 140 + 1] == numbers[40 * 140 + 1] * scales[141]);
  CHECK(model.weights()[75 * 140] == 0.25f);
  const std::vector<float> kept(model.weights().begin(), model.weights().end());
  const std::span<const std::int8_t> all(numbers);
  contains(message_of([&] { model.set_weights(all.first(9), scales, others); }),
           "expected 10500 weights of eight bits, 280 scales and 140 others, got 9, 280 and 140");
  scales[150] = std::numeric_limits<float>::quiet_NaN();
  contains(message_of([&] { model.set_weights(numbers, scales, others); }), "parameter 'y/recurrent_kernel': scale 10: expected a");
  CHECK(std::string(try_set_weights(model, numbers, scales, others).message) ==
        "parameter 'y/recurrent_kernel': scale 10: expected a number of 0 to 2.67e36, got a number that is not finite");
  scales[150] = 1;
  numbers[3] = -128;
  contains(message_of([&] { model.set_weights(numbers, scales, others); }), "parameter 'y/kernel': integer 3 is -128");
  CHECK(std::equal(kept.begin(), kept.end(), model.weights().begin()));
  contains(message_of([&] { model.set_weights(WeightType::int8, {}, others); }), "expected weights of bf16 or fp16, got int8");

  Model plain =
      random_model(spec(input("x", "[null, 40]") + ", " + layer("LSTM", "y", R"("x")", R"("units": 35)"), R"("x")", R"("y")"));
  contains(message_of([&] { plain.round_weights(WeightType::int8); }), "no layer has the precision int8");
  contains(message_of([&] { plain.set_weights(numbers, scales, others); }), "no layer has the precision int8");
  CHECK(!try_round_weights(plain, WeightType::int8));
}

#if REKUR_TRAINING
TEST_CASE("int8: a file of integers is the rounded model, in C too") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("m.safetensors"), whole = directory.file("whole.safetensors");
  Model model = random_model(of("LSTM", 40, 35, R"(, "return_sequences": true)"));
  const Data data = Data().add_random({1, 9, 40});
  const std::vector<float> expected = model.predict(data.batch())[0].data;
  model.save(path, {}, WeightType::int8);
  model.save(whole);
  CHECK(std::filesystem::file_size(path) < std::filesystem::file_size(whole) - 3 * 75 * 140 + 4 * 280 + 300);
  const Model loaded = Model::load(path);
  CHECK(same(loaded.predict(data.batch())[0].data, expected));
  model.round_weights(WeightType::int8);
  CHECK(std::equal(model.weights().begin(), model.weights().end(), loaded.weights().begin()));

  rekur_model* c = nullptr;
  REQUIRE(rekur_model_load(path.c_str(), &c) == REKUR_OK);
  std::vector<float> x = data.floats[0], y(expected.size());
  rekur_tensor in = {}, out = {};
  in.data = x.data(), in.count = 360, in.rank = 3;
  in.dims[0] = 1, in.dims[1] = 9, in.dims[2] = 40;
  out.data = y.data(), out.count = y.size();
  CHECK(rekur_model_predict(c, &in, 1, &out, 1) == REKUR_OK);
  CHECK(same(y, expected));
  rekur_stream* stream = nullptr;
  REQUIRE(rekur_stream_create(c, 1, &stream) == REKUR_OK);
  for (std::size_t t = 0; t < 9; ++t) CHECK(rekur_stream_step(stream, &x[40 * t], &y[35 * t]) == REKUR_OK);
  CHECK(same(y, expected));
  rekur_stream_free(stream);
  rekur_model_free(c);

  std::vector<float> weights(model.weight_count(), 1.0f);
  weights[7] = std::numeric_limits<float>::infinity();
  model.set_weights(weights);
  const std::string text = tests::read_text(path);
  contains(message_of([&] { model.save(path, {}, WeightType::int8); }), "weight 'y/kernel': element 7 is");
  Model::Extras extras;
  extras.tensors["y/kernel.scale"] = {{1}, {1}};
  weights[7] = 1;
  model.set_weights(weights);
  contains(message_of([&] { model.save(path, extras, WeightType::int8); }), "tensor 'y/kernel.scale' has the name of a parameter");
  CHECK(tests::read_text(path) == text);  // the old file
}
#endif
