// The public Model: numbers done by hand, several threads at once, files.
#include "model_helpers.hpp"

#include <cstdio>
#include <filesystem>
#include <thread>

using namespace rekur;
using namespace rekur::test;

namespace {

const std::string kForecaster = spec(R"({"type": "Input", "name": "x", "shape": [null, 3]},
    {"type": "Bidirectional", "name": "b", "inputs": ["x"], "layer": {"type": "LSTM", "units": 5, "return_sequences": true}},
    {"type": "GRU", "name": "g", "inputs": ["b"], "units": 4, "return_state": true},
    {"type": "Dense", "name": "y", "inputs": ["g"], "units": 2, "activation": "softmax"})",
                                     "\"x\"", R"("y", "g:1")");

struct TemporaryFile {
  std::string path = (std::filesystem::temp_directory_path() / "rekur_test_model.safetensors").string();
  ~TemporaryFile() { std::remove(path.c_str()); }
};

}  // namespace

TEST_CASE("model: a dense layer by hand") {
  Model model(spec(
      R"({"type": "Input", "name": "x", "shape": [2]}, {"type": "Dense", "name": "y", "inputs": ["x"], "units": 2, "activation": "relu"})",
      "\"x\"", "\"y\""));
  CHECK(model.parameters()[0].name == "y/kernel");
  CHECK(model.parameters()[1].name == "y/bias");
  CHECK(model.parameters()[1].offset == 4);
  CHECK(model.outputs()[0].shape == Shape{-1, 2});
  model.set_weights(std::vector<float>{1, 2, 3, 4, 0.5f, -100});
  CHECK(model.predict(Data().add({1, 2}, {10, 20}).batch())[0].data == std::vector<float>{70.5f, 0});
  CHECK(model.predict(Data().add({1, 2}, {10, 30}).batch())[0].data == std::vector<float>{100.5f, 40});
  contains(message_of([&] { model.set_weights(std::vector<float>(5)); }), "expected 6 weights, got 5");
}

TEST_CASE("model: a recurrent layer by hand: a sum that remembers") {
  // h' = 1·x + 0.5·h + 1
  Model model(spec(R"({"type": "Input", "name": "x", "shape": [null, 1]},
    {"type": "SimpleRNN", "name": "y", "inputs": ["x"], "units": 1, "activation": "linear", "return_sequences": true, "return_state": true})",
                   "\"x\"", R"("y", "y:1")"));
  model.set_weights(std::vector<float>{1, 0.5f, 1});
  const std::vector<Tensor> y = model.predict(Data().add({2, 3, 1}, {1, 2, 3, 4, 5, 6}, {3, 2}).batch());
  CHECK(y[0].data == std::vector<float>{2, 4, 6, 5, 8.5f, 0});
  CHECK(y[1].data == std::vector<float>{6, 8.5f});
}

#if REKUR_TRAINING
TEST_CASE("model: initialisation is by seed, and draws what the layer says") {
  Model a(kForecaster), b(kForecaster);
  for (const float w : a.weights()) CHECK(w == 0.0f);
  a.initialize(1);
  b.initialize(1);
  CHECK(std::equal(a.weights().begin(), a.weights().end(), b.weights().begin()));
  b.initialize(2);
  CHECK(!std::equal(a.weights().begin(), a.weights().end(), b.weights().begin()));
  const ParameterInfo& bias = a.parameters()[2];
  CHECK(bias.name == "b/forward/bias");
  for (Index i = 0; i < 20; ++i) CHECK(a.weights()[static_cast<std::size_t>(bias.offset + i)] == (i / 5 == 1 ? 1.0f : 0.0f));
}

TEST_CASE("model: outputs in the caller's arrays, in any batch size, one after the other") {
  Model model(kForecaster);
  model.initialize(5);
  for (const Index B : {7, 1, 30, 7}) {
    const Data data = Data().add_random({B, 6, 3});
    const std::vector<Tensor> expected = model.predict(data.batch());
    std::vector<float> y(static_cast<std::size_t>(B * 2)), h(static_cast<std::size_t>(B * 4));
    const std::vector<View> views{{y.data(), {B, 2}}, {h.data(), {B, 4}}};
    model.predict(data.batch(), views);
    CHECK(y == expected[0].data);
    CHECK(h == expected[1].data);
    CHECK(model.output_shapes({{B, 6, 3}}) == std::vector<Shape>{{B, 2}, {B, 4}});
  }
  const std::vector<View> wrong{{nullptr, {1, 3}}, {nullptr, {1, 4}}};
  contains(message_of([&] { model.predict(Data().add_random({1, 6, 3}).batch(), wrong); }),
           "output 'y': expected an array of shape (1, 2), got (1, 3)");
}

TEST_CASE("model: a negative dimension is named, and so is a type that is none") {
  Model model(kForecaster);
  contains(message_of([&] { model.output_shapes({{-1, 6, 3}}); }), "Input 'x': dimension 0 must not be negative, got -1");
  std::vector<float> x(3);
  Batch batch;
  batch.inputs.push_back({x.data(), {1, -6, 3}, DType::float32});
  contains(message_of([&] { model.predict(batch); }), "Input 'x': dimension 1 must not be negative, got -6");
  batch.inputs[0] = {x.data(), {1, 1, 3}, static_cast<DType>(9)};
  contains(message_of([&] { model.predict(batch); }), "Input 'x': expected float32, got a value that is no DType");
  contains(message_of([&] { infer_layer(R"({"type": "Dense", "name": "d", "units": 7})", {{"x", {-5, 3}, DType::float32}}); }),
           "Dense 'd': input 0 (None is -1): dimension 0 must not be negative, got -5");
}

TEST_CASE("model: moved from, it has nothing and says so") {
  Model model(kForecaster);
  const Model taken = std::move(model);
  CHECK(model.spec().empty());
  CHECK(model.inputs().empty());
  CHECK(model.outputs().empty());
  CHECK(model.parameters().empty());
  CHECK(model.weights().empty());
  const Data data = Data().add_random({1, 6, 3});
  for (const std::string& message :
       {message_of([&] { model.predict(data.batch()); }), message_of([&] { model.predict(data.batch(), {}); }),
        message_of([&] { model.set_weights({}); }), message_of([&] { model.output_shapes({}); })})
    contains(message, "model: it was moved from");
#if REKUR_TRAINING
  for (const std::string& message : {message_of([&] { model.initialize(1); }), message_of([&] { model.forward(data.batch(), {}); }),
                                     message_of([&] { model.save("never.safetensors"); })})
    contains(message, "model: it was moved from");
#endif
  model = Model(kForecaster);
  CHECK(model.predict(data.batch()).size() == 2);
}

TEST_CASE("model: several threads at once, and several tapes alive") {
  Model model(kForecaster);
  model.initialize(5);
  const Data data = Data().add_random({9, 6, 3}, {6, 5, 4, 3, 2, 1, 0, 6, 6});
  Model reference(kForecaster);
  reference.initialize(5);
  const std::vector<Tensor> expected = reference.predict(data.batch());
  const Gradients expected_gradients = gradients(reference, data);
  std::vector<std::vector<float>> found(4), found_gradients(4);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int repeat = 0; repeat < 20; ++repeat) found[i] = model.predict(data.batch())[0].data;
      found_gradients[i] = gradients(model, data).weights;
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(found[i] == expected[0].data);
    CHECK(found_gradients[i] == expected_gradients.weights);
  }
}

TEST_CASE("model: a file gives back the spec, the weights and what rode along, exactly") {
  const TemporaryFile file;
  std::string json = kForecaster;
  json.replace(json.find("\"m\""), 3, R"("Wärme \"\u00e9\" \n 模型")");
  Model model(json);
  model.initialize(9);
  Model::Extras extras;
  extras.tensors["optimizer/m"] = {{2, 2}, {1, 2, 3, 4}};
  extras.metadata["rekur.training"] = R"({"loss": "mse"})";
  model.save(file.path, extras);
  Model::Extras read;
  const Model loaded = Model::load(file.path, read);
  CHECK(loaded.spec() == json);
  CHECK(std::equal(model.weights().begin(), model.weights().end(), loaded.weights().begin(), loaded.weights().end()));
  CHECK(read.metadata == extras.metadata);
  CHECK(read.tensors.size() == 1);
  CHECK(read.tensors["optimizer/m"].data == extras.tensors["optimizer/m"].data);
  CHECK(read.tensors["optimizer/m"].shape == Shape{2, 2});
  const Data data = Data().add_random({3, 4, 3});
  CHECK(model.predict(data.batch())[0].data == loaded.predict(data.batch())[0].data);

  extras.tensors["y/bias"] = {{1}, {0}};
  contains(message_of([&] { model.save(file.path, extras); }), "'y/bias' has the name of a parameter");
  extras.tensors = {{"a", {{-1}, {}}}};
  contains(message_of([&] { model.save(file.path, extras); }), "tensor 'a': dimension 0 must not be negative, got -1");
  extras.tensors = {{"\xFF", {{1}, {0}}}};
  contains(message_of([&] { model.save(file.path, extras); }), "tensor of shape (1,): its name is not UTF-8");
  extras.tensors.clear();
  extras.metadata["note"] = "\xFF";
  contains(message_of([&] { model.save(file.path, extras); }), "metadata \"note\": not UTF-8");
  CHECK(Model::load(file.path).spec() == json);
  CHECK_THROWS_AS(Model::load(file.path + ".none"), IoError);
}
#endif
