// Layers that are called more than once, models that share layers, layers that are not trained.
#include "model_helpers.hpp"

#include <cstdio>
#include <filesystem>

#include "rekur/stream.hpp"
#if REKUR_TRAINING
#include "rekur/train.hpp"
#endif

using namespace rekur;
using namespace rekur::test;

namespace {

std::string calls(const std::string& layers, const std::string& calls, const std::string& inputs, const std::string& outputs) {
  return R"({"format": "rekur", "version": 2, "name": "m", "layers": [)" + layers + R"(], "calls": [)" + calls +
         R"(], "inputs": [)" + inputs + R"(], "outputs": [)" + outputs + "]}";
}

const std::string kA = R"({"type": "Input", "name": "a", "shape": [null, 3]})";
const std::string kB = R"({"type": "Input", "name": "b", "shape": [null, 3]})";

// Two sequences through one LSTM, and one of them through it again.
const std::string kTwice = calls(kA + ", " + kB + R"(, {"type": "LSTM", "name": "lstm", "units": 3, "return_sequences": true},
        {"type": "Concatenate", "name": "both"}, {"type": "Dense", "name": "dense", "units": 2, "activation": "tanh"})",
                                 R"({"layer": "lstm", "inputs": ["a"]}, {"layer": "lstm", "name": "again", "inputs": ["lstm"]},
       {"layer": "lstm", "name": "other", "inputs": ["b"]}, {"layer": "both", "inputs": ["again", "other"]},
       {"layer": "dense", "inputs": ["both"]}, {"layer": "dense", "name": "dense_1", "inputs": ["both"]})",
                                 R"("a", "b")", R"("dense", "dense_1")");

std::string error_of(const std::string& json) {
  return message_of([&] { Model model(json); });
}

}  // namespace

TEST_CASE("sharing: version 2 has layers and calls; what is wrong is refused with the reason") {
  const std::string layer = R"({"type": "Dense", "name": "d", "units": 2})";
  const std::string input = R"({"type": "Input", "name": "x", "shape": [2]}, )";
  const std::string call = R"({"layer": "d", "inputs": ["x"]})";
  CHECK(error_of(calls(input + layer, call, R"("x")", R"("d")")).empty());
  contains(error_of(calls(input + layer, "", R"("x")", R"("d")")), "Dense 'd': is not called");
  contains(error_of(calls(input + layer, call + ", " + call, R"("x")", R"("d")")), "more than one call named 'd'");
  contains(error_of(calls(input + layer + ", " + layer, call, R"("x")", R"("d")")), "more than one layer of this name");
  contains(error_of(calls(input + layer, R"({"layer": "e", "inputs": ["x"]})", R"("x")", R"("d")")), "call 0: unknown layer 'e'");
  contains(error_of(calls(input + layer, R"({"layer": "x", "inputs": ["x"]})", R"("x")", R"("d")")), "'x' is an Input");
  contains(error_of(calls(input + layer, R"({"layer": "d", "inputs": ["x"], "units": 3})", R"("x")", R"("d")")),
           "unknown key 'units'");
  contains(error_of(calls(input + layer, R"({"layer": "d", "name": "a/b", "inputs": ["x"]})", R"("x")", R"("d")")),
           "'name' must be");
  contains(error_of(calls(input + R"({"type": "Dense", "name": "d", "units": 2, "inputs": ["x"]})", call, R"("x")", R"("d")")),
           "stand with its calls");
  contains(error_of(calls(input + R"({"type": "Dense", "name": "d", "units": 3})",
                          call + R"(, {"layer": "d", "name": "e", "inputs": ["d"]})", R"("x")", R"("e")")),
           "the call 'e' needs its weight 'kernel' of shape (3, 3), and an earlier one (2, 3)");
  contains(error_of(R"({"format": "rekur", "version": 3})"), "1 or 2");
  contains(error_of(R"({"format": "rekur", "version": 2, "layers": []})"), "calls");
}

TEST_CASE("sharing: a layer's weights are there once, its outputs go by the calls' names") {
  const Model model(kTwice);
  REQUIRE(model.parameters().size() == 5);
  CHECK(model.parameters()[0].name == "lstm/kernel");
  CHECK(model.parameters()[3].name == "dense/kernel");
  CHECK(model.outputs()[1].name == "dense_1");
  const Data data = Data().add_random({2, 4, 3}).add_random({2, 4, 3});
  const std::vector<Tensor> out = model.predict(data.batch());
  CHECK(same(out[0].data, out[1].data));
}

TEST_CASE("sharing: a layer without weights may be called on inputs of any width") {
  Model model(calls(R"({"type": "Input", "name": "x", "shape": [2]}, {"type": "Input", "name": "z", "shape": [null, 5]},
                       {"type": "Activation", "name": "act", "activation": "relu"})",
                    R"({"layer": "act", "inputs": ["x"]}, {"layer": "act", "name": "b", "inputs": ["z"]})", R"("x", "z")",
                    R"("act", "b")"));
  const std::vector<Tensor> out = model.predict(Data().add({1, 2}, {-1, 2}).add({1, 1, 5}, {-1, 2, -3, 4, 5}).batch());
  CHECK(same(out[0].data, {0, 2}));
  CHECK(same(out[1].data, {0, 2, 0, 4, 5}));
}

#if REKUR_TRAINING
namespace {

// Trains `count` steps; returns the last loss.
double train(Trainer& trainer, const Model& model, const Data& data, int count) {
  std::vector<std::vector<float>> targets;
  Targets wanted;
  for (const Shape& shape : model.output_shapes(data.shapes)) targets.push_back(numbers(element_count(shape), 50));
  std::size_t k = 0;
  for (const Shape& shape : model.output_shapes(data.shapes))
    wanted.targets.push_back({targets[k++].data(), shape, DType::float32});
  double last = 0;
  for (int i = 0; i < count; ++i) last = trainer.step(data.batch(), wanted).loss;
  return last;
}

std::string adam(std::size_t outputs, const std::string& more = "") {
  std::string losses;
  for (std::size_t k = 0; k < outputs; ++k) losses += std::string(k ? ", " : "") + R"({"name": "mean_squared_error"})";
  return R"({"optimizer": {"name": "adam", "learning_rate": 0.01)" + more + R"(}, "losses": [)" + losses + "]}";
}

std::vector<float> all_weights(const Model& model) {
  std::vector<float> flat(model.weight_count());
  model.copy_weights(flat);
  return flat;
}

std::vector<float> part(const Model& model, const std::vector<float>& flat, const std::string& layer) {
  std::vector<float> found;
  for (const ParameterInfo& info : model.parameters())
    if (info.name.rfind(layer + "/", 0) == 0)
      found.insert(found.end(), flat.begin() + info.offset, flat.begin() + info.offset + element_count(info.shape));
  return found;
}

const std::string kStack = spec(kA + R"(, {"type": "GRU", "name": "low", "inputs": ["a"], "units": 5, "return_sequences": true},
    {"type": "GRU", "name": "high", "inputs": ["low"], "units": 4}, {"type": "Dense", "name": "dense", "inputs": ["high"], "units": 2})",
                                R"("a")", R"("dense")");

}  // namespace

TEST_CASE("sharing: gradients of all calls add up") {
  check_gradients(kTwice, Data().add_random({2, 3, 3}, {3, 2}).add_random({2, 3, 3}, {3, 2}));
  check_gradients(
      calls(
          R"({"type": "Input", "name": "p", "shape": [null], "dtype": "int32"}, {"type": "Input", "name": "q", "shape": [null], "dtype": "int32"},
                           {"type": "Embedding", "name": "e", "input_dim": 4, "output_dim": 2},
                           {"type": "LayerNormalization", "name": "norm"}, {"type": "GRU", "name": "g", "units": 2}, {"type": "Add", "name": "sum"})",
          R"({"layer": "e", "inputs": ["p"]}, {"layer": "e", "name": "e2", "inputs": ["q"]}, {"layer": "norm", "inputs": ["e"]},
                           {"layer": "norm", "name": "norm2", "inputs": ["e2"]}, {"layer": "g", "inputs": ["norm"]},
                           {"layer": "g", "name": "g2", "inputs": ["norm2", "g"]}, {"layer": "sum", "inputs": ["g", "g2"]})",
          R"("p", "q")", R"("sum")"),
      Data().add_ids({2, 3}, {0, 1, 3, 2, 2, 0}).add_ids({2, 2}, {1, 3, 0, 1}));
}

TEST_CASE("sharing: a call that no gradient reaches leaves those of the others") {
  // The first call's output is not used by the loss of output 0, whose gradient alone arrives.
  Model model(kTwice);
  model.initialize(3);
  const Data data = Data().add_random({2, 3, 3}).add_random({2, 3, 3});
  std::vector<Tensor> out = model.predict(data.batch());
  std::vector<View> views;
  for (Tensor& tensor : out) views.push_back({tensor.data.data(), tensor.shape});
  const std::vector<float> dy = numbers(element_count(out[0].shape), 5), none(dy.size(), 0.0f);
  std::vector<float> missing(model.weight_count()), zeros(model.weight_count());
  model.backward(model.forward(data.batch(), views), std::vector<ConstView>{{dy.data(), out[0].shape}, {}}, missing,
                 std::vector<View>(2));
  model.backward(model.forward(data.batch(), views), std::vector<ConstView>{{dy.data(), out[0].shape}, {none.data(), out[1].shape}},
                 zeros, std::vector<View>(2));
  CHECK(same(missing, zeros));
}

TEST_CASE("sharing: models share layers, whichever is trained, saved or destroyed") {
  auto whole = std::make_unique<Model>(kStack);
  whole->initialize(1);
  const std::string encoder_spec =
      spec(kA + R"(, {"type": "GRU", "name": "encoder", "inputs": ["a"], "units": 5, "return_sequences": true})", R"("a")",
           R"("encoder")");
  const std::vector<SharedLayer> shared = {{"encoder", whole.get(), "low"}};
  Model encoder(encoder_spec, shared);
  CHECK(encoder.weights().empty());
  CHECK(same(all_weights(encoder), part(*whole, all_weights(*whole), "low")));
  const Data data = Data().add_random({3, 6, 3});

  const std::vector<Tensor> before = encoder.predict(data.batch());
  {
    Trainer trainer(*whole, adam(1));
    train(trainer, *whole, data, 3);
  }
  const std::vector<Tensor> after = encoder.predict(data.batch());
  CHECK(!same(before[0].data, after[0].data));
  CHECK(same(all_weights(encoder), part(*whole, all_weights(*whole), "low")));

  const std::vector<Tensor> whole_before = whole->predict(data.batch());
  Trainer trainer(encoder, adam(1));
  train(trainer, encoder, data, 3);
  CHECK(!same(whole->predict(data.batch())[0].data, whole_before[0].data));
  std::vector<float> flat = all_weights(encoder);
  for (float& w : flat) w *= 0.5f;
  encoder.set_weights(flat);
  CHECK(same(part(*whole, all_weights(*whole), "low"), flat));

  const std::vector<float> high = part(*whole, all_weights(*whole), "high");
  encoder.initialize(9);
  CHECK(same(part(*whole, all_weights(*whole), "high"), high));
  CHECK(same(part(*whole, all_weights(*whole), "low"), all_weights(encoder)));

  const std::string path = (std::filesystem::temp_directory_path() / "rekur_shared.safetensors").string();
  encoder.save(path);
  const Model loaded = Model::load(path);
  std::remove(path.c_str());
  CHECK(same(loaded.predict(data.batch())[0].data, encoder.predict(data.batch())[0].data));

  whole.reset();
  train(trainer, encoder, data, 1);
  CHECK(!same(loaded.predict(data.batch())[0].data, encoder.predict(data.batch())[0].data));

  const std::string other = spec(R"({"type": "Input", "name": "a", "shape": [null, 2]},
      {"type": "GRU", "name": "encoder", "inputs": ["a"], "units": 5, "return_sequences": true})",
                                 R"("a")", R"("encoder")");
  const std::vector<SharedLayer> of_encoder = {{"encoder", &encoder, "encoder"}};
  contains(message_of([&] { Model model(other, of_encoder); }), "called on other inputs: shape (3, 15) there, (2, 15) here");
  const std::vector<SharedLayer> unknown = {{"encoder", &encoder, "x"}}, nobody = {{"y", &encoder, "encoder"}};
  contains(message_of([&] { Model model(encoder_spec, unknown); }), "no layer 'x'");
  contains(message_of([&] { Model model(encoder_spec, nobody); }), "no layer 'y'");
}

TEST_CASE("freezing: what is not trained keeps its bits, has no gradient, and nothing goes backward below it") {
  Model model(kStack);
  model.initialize(1);
  const Data data = Data().add_random({3, 6, 3});
  Trainer trainer(model, adam(1));
  const std::vector<float> start = all_weights(model);
  model.set_trained("low", false);
  train(trainer, model, data, 2);
  CHECK(same(part(model, all_weights(model), "low"), part(model, start, "low")));
  CHECK(!same(part(model, all_weights(model), "high"), part(model, start, "high")));
  const Gradients g = gradients(model, data);
  for (const float dw : part(model, g.weights, "low")) CHECK(dw == 0);

  // The rest moves as it would beside a layer that is held still otherwise: the gradients are the same numbers.
  Model free(kStack);
  free.set_weights(all_weights(model));
  CHECK(same(part(model, g.weights, "high"), part(free, gradients(free, data).weights, "high")));
  CHECK(same(g.inputs[0], gradients(free, data).inputs[0]));

  // Acts at once, both ways.
  model.set_trained("low", true);
  train(trainer, model, data, 1);
  CHECK(!same(part(model, all_weights(model), "low"), part(model, start, "low")));
  for (const char* layer : {"low", "high", "dense"}) model.set_trained(layer, false);
  const std::vector<float> still = all_weights(model);
  train(trainer, model, data, 2);
  CHECK(same(all_weights(model), still));
  contains(message_of([&] { model.set_trained("hihg", false); }), "unknown layer 'hihg' (did you mean 'high'?)");
  contains(message_of([&] { model.set_trained("high", true, -1); }), "multiple of the learning rate");
}

TEST_CASE("freezing: clipping looks at what is trained alone, and the optimiser's state goes on") {
  for (const char* clip : {"", R"(, "clipnorm": 0.1)", R"(, "global_clipnorm": 0.1)", R"(, "clipvalue": 0.01)"}) {
    CAPTURE(clip);
    // A model whose lower layer is frozen is the model above on what that layer gives.
    Model whole(kStack), low(spec(kA + R"(, {"type": "GRU", "name": "low", "inputs": ["a"], "units": 5, "return_sequences": true})",
                                  R"("a")", R"("low")"));
    Model high(
        spec(R"({"type": "Input", "name": "h", "shape": [null, 5]}, {"type": "GRU", "name": "high", "inputs": ["h"], "units": 4},
                       {"type": "Dense", "name": "dense", "inputs": ["high"], "units": 2})",
             R"("h")", R"("dense")"));
    whole.initialize(4);
    low.set_weights(part(whole, all_weights(whole), "low"));
    std::vector<float> upper = part(whole, all_weights(whole), "high");
    const std::vector<float> dense = part(whole, all_weights(whole), "dense");
    upper.insert(upper.end(), dense.begin(), dense.end());
    high.set_weights(upper);
    const Data data = Data().add_random({3, 6, 3});
    Data between;
    const std::vector<Tensor> h = low.predict(data.batch());
    between.add(h[0].shape, h[0].data);
    whole.set_trained("low", false);
    Trainer a(whole, adam(1, clip)), b(high, adam(1, clip));
    train(a, whole, data, 5);
    train(b, high, between, 5);
    const std::vector<float> flat = all_weights(whole), expected = all_weights(high);
    std::vector<float> found = part(whole, flat, "high");
    const std::vector<float> found_dense = part(whole, flat, "dense");
    found.insert(found.end(), found_dense.begin(), found_dense.end());
    CHECK(same(found, expected));
  }

  // A state taken while a layer is frozen goes on where it stopped.
  Model first(kStack), second(kStack);
  first.initialize(2);
  const Data data = Data().add_random({3, 6, 3});
  Trainer a(first, adam(1));
  train(a, first, data, 2);
  first.set_trained("high", false);
  train(a, first, data, 2);
  second.set_weights(all_weights(first));
  second.set_trained("high", false);
  Trainer b(second, adam(1));
  b.set_state(a.state(), a.iterations());
  for (Model* model : {&first, &second}) model->set_trained("high", true);
  train(a, first, data, 2);
  train(b, second, data, 2);
  CHECK(same(all_weights(first), all_weights(second)));
}

TEST_CASE("freezing: a layer that joins leaves the slots of those that were trained before as they were") {
  Model model(kStack);
  model.initialize(3);
  const Data data = Data().add_random({3, 6, 3});
  model.set_trained("low", false);  // which stands before the others
  Trainer trainer(model, R"({"optimizer": {"name": "sgd", "learning_rate": 0.01, "momentum": 0.5},
                             "losses": [{"name": "mean_squared_error"}]})");
  train(trainer, model, data, 2);
  const std::vector<float> before = part(model, trainer.state()["optimizer/velocity"].data, "high");
  model.set_trained("low", true);
  trainer.set_learning_rate(0);
  train(trainer, model, data, 1);  // halves every velocity
  const std::vector<float> after = part(model, trainer.state()["optimizer/velocity"].data, "high");
  CHECK(before[0] != 0);
  for (std::size_t i = 0; i < before.size(); ++i) CHECK(after[i] == 0.5f * before[i]);
}

TEST_CASE("freezing: layers may learn at rates of their own, and a file keeps both") {
  Model model(kStack), twin(kStack);
  model.initialize(4);
  twin.set_weights(all_weights(model));
  const std::vector<float> start = all_weights(model);
  const Data data = Data().add_random({3, 6, 3});
  model.set_trained("dense", true, 0.5f);
  model.set_trained("low", true, 0.0f);
  Trainer a(model, adam(1)), b(twin, adam(1));
  train(a, model, data, 1);
  train(b, twin, data, 1);
  const std::vector<float> moved = all_weights(model), plain = all_weights(twin);
  CHECK(same(part(model, moved, "low"), part(model, start, "low")));
  CHECK(same(part(model, moved, "high"), part(model, plain, "high")));
  const std::vector<float> d0 = part(model, start, "dense"), d1 = part(model, moved, "dense"), d2 = part(model, plain, "dense");
  for (std::size_t i = 0; i < d0.size(); ++i) CHECK(d1[i] - d0[i] == doctest::Approx(0.5 * (d2[i] - d0[i])).epsilon(1e-4));

  model.set_trained("high", false);
  const std::string path = (std::filesystem::temp_directory_path() / "rekur_frozen.safetensors").string();
  model.save(path);
  Model loaded = Model::load(path);
  std::remove(path.c_str());
  Trainer c(loaded, adam(1));
  train(c, loaded, data, 1);
  const std::vector<float> after = all_weights(loaded);
  CHECK(same(part(loaded, after, "high"), part(loaded, moved, "high")));
  CHECK(same(part(loaded, after, "low"), part(loaded, moved, "low")));
  CHECK(!same(part(loaded, after, "dense"), part(loaded, moved, "dense")));
}
#endif

TEST_CASE("sharing: a stream keeps the states of each call apart") {
  Model model(kTwice);
  std::vector<float> weights = numbers(static_cast<Index>(model.weight_count()), 8);
  model.set_weights(weights);
  const Data data = Data().add_random({2, 5, 3}).add_random({2, 5, 3});
  const std::vector<Tensor> expected = model.predict(data.batch());
  Stream stream(model, {.batch = 2});
  for (Index t = 0; t < 5; ++t) {
    std::vector<float> x[2];
    for (std::size_t i = 0; i < 2; ++i)
      for (Index b = 0; b < 2; ++b)
        for (Index f = 0; f < 3; ++f) x[i].push_back(data.floats[i][static_cast<std::size_t>((b * 5 + t) * 3 + f)]);
    std::vector<float> y0(4), y1(4);
    const void* const inputs[] = {x[0].data(), x[1].data()};
    float* const outputs[] = {y0.data(), y1.data()};
    REQUIRE(stream.step(inputs, outputs));
    for (std::size_t b = 0; b < 2; ++b)
      for (std::size_t u = 0; u < 2; ++u) CHECK(y0[b * 2 + u] == expected[0].data[(b * 5 + static_cast<std::size_t>(t)) * 2 + u]);
  }
}
