// The graph: what a spec may say, what a run checks, plans, gradients that meet, raw outputs.
#include "model_helpers.hpp"

#include "graph/graph.hpp"

using namespace rekur;
using namespace rekur::test;

namespace {

const std::string kX = R"({"type": "Input", "name": "x", "shape": [2]})";
const std::string kSeq = R"({"type": "Input", "name": "s", "shape": [null, 2]})";

std::string dense(const char* name, const char* input, const char* more = "") {
  return std::string(R"(, {"type": "Dense", "name": ")") + name + R"(", "inputs": [")" + input + R"("], "units": 2)" + more + "}";
}

std::string build_error(const std::string& json) {
  return message_of([&] { graph::Graph graph(json); });
}

std::string predict_error(const std::string& json, const Data& data) {
  Model model(json);
  return message_of([&] { model.predict(data.batch()); });
}

}  // namespace

TEST_CASE("graph: a spec that is wrong is refused with the reason") {
  contains(build_error("{"), "JSON");
  contains(build_error("[]"), "expected an object");
  contains(build_error(R"({"format": "keras"})"), "'format' must be \"rekur\"");
  contains(build_error(R"({"format": "rekur", "version": 3})"), "'version' must be 1 or 2");
  contains(build_error(spec(kX, "\"x\"", "\"x\", \"z\"")), "unknown layer 'z'");
  contains(build_error(spec(kX, "", "\"x\"")), "'inputs' must be");
  contains(build_error(spec(kX + dense("y", "w"), "\"x\"", "\"y\"")), "Dense 'y': input 'w': unknown layer 'w'");
  contains(build_error(spec(kX + dense("y", "z") + dense("z", "x"), "\"x\"", "\"y\"")), "topological order");
  contains(build_error(spec(kX + dense("y", "y"), "\"x\"", "\"y\"")), "topological order");
  contains(build_error(spec(kX + dense("x", "x"), "\"x\"", "\"x\"")), "more than one layer of this name");
  contains(build_error(spec(kX + dense("y", "x:1"), "\"x\"", "\"y\"")), "Input 'x' has 1 output");
  contains(build_error(spec(kX + dense("y", "x:-1"), "\"x\"", "\"y\"")), "k a number");
  contains(build_error(spec(kX + ", " + kSeq + dense("y", "x"), "\"x\"", "\"y\"")), "Input 's': is not listed");
  contains(build_error(spec(kX + dense("y", "x"), "\"y\"", "\"y\"")), "of type Dense, not Input");
  contains(build_error(spec(kX + dense("y", "x"), "\"x\", \"x\"", "\"y\"")), "listed twice");
  contains(build_error(spec(R"({"type": "Input", "name": "x", "shape": [4], "dtype": "int32"})", "\"x\"", "\"x\"")),
           "outputs must be float32");
  contains(
      build_error(spec(
          R"({"type": "Input", "name": "x", "shape": [2000000]}, {"type": "Dense", "name": "y", "inputs": ["x"], "units": 2000000})",
          "\"x\"", "\"y\"")),
      "2^40");
}

// What overflows is found by the sanitiser of undefined behaviour (preset asan).
TEST_CASE("graph: integers at the borders of 64 bits are taken or refused, by every key of every layer") {
  const char* numbers[] = {
      "-9223372036854775808", "-9223372036854775807", "-4611686018427387904", "-1", "0", "1", "3", "1152921504606846975",
      "1152921504606846976",  "4611686018427387904",  "9223372036854775807"};
  const char* layers[] = {R"("Slice", "inputs": ["s"], "start": #)",
                          R"("Slice", "inputs": ["s"], "stop": #)",
                          R"("Slice", "inputs": ["s"], "start": #, "stop": #)",
                          R"("Step", "inputs": ["s"], "index": #)",
                          R"("Concatenate", "inputs": ["s", "s"], "axis": #)",
                          R"("Concatenate", "inputs": ["s", "s", "s"])",
                          R"("Add", "inputs": ["s", "s"])",
                          R"("Dense", "inputs": ["s"], "units": #)",
                          R"("Dense", "inputs": ["s"], "units": 3)",
                          R"("LSTM", "inputs": ["s"], "units": #)",
                          R"("LSTM", "inputs": ["s"], "units": 3)",
                          R"("GRU", "inputs": ["s"], "units": 2147483647)",
                          R"("Bidirectional", "inputs": ["s"], "layer": {"type": "LSTM", "units": #})",
                          R"("Embedding", "inputs": ["i"], "input_dim": #, "output_dim": 3)",
                          R"("Embedding", "inputs": ["i"], "input_dim": 3, "output_dim": #)",
                          R"("Embedding", "inputs": ["i"], "input_dim": #, "output_dim": #)",
                          R"("LayerNormalization", "inputs": ["s"])",
                          R"("Affine", "inputs": ["s"])"};
  int built = 0, refused = 0;
  for (const char* layer : layers) {
    for (const char* number : numbers) {
      for (const std::string& features : {std::string("5"), std::string(number)}) {
        std::string json = spec(
            R"({"type": "Input", "name": "s", "shape": [null, )" + features +
                R"(]}, {"type": "Input", "name": "i", "shape": [null], "dtype": "int32"}, {"name": "y", "type": )" + layer + "}",
            R"("s", "i")", "\"y\"");
        for (std::size_t at; (at = json.find('#')) != json.npos;) json.replace(at, 1, number);
        ++(build_error(json).empty() ? built : refused);
      }
    }
  }
  CHECK(built > 30);
  CHECK(refused > 200);
}

TEST_CASE("graph: a batch that does not fit is refused before anything runs") {
  const std::string json =
      spec(kX + ", " + kSeq + R"(, {"type": "GRU", "name": "g", "inputs": ["s", "x"], "units": 2})", R"("x", "s")", "\"g\"");
  contains(predict_error(json, Data().add_random({3, 2})), "expected 2 inputs, got 1");
  contains(predict_error(json, Data().add_random({3, 4}).add_random({3, 5, 2})),
           "Input 'x': expected an array of shape (None, 2), got (3, 4)");
  contains(predict_error(json, Data().add_random({3, 2}).add_random({3, 2})),
           "Input 's': expected an array of shape (None, None, 2)");
  contains(predict_error(json, Data().add_random({3, 2}).add_random({4, 5, 2})), "Input 's': expected as many rows");
  contains(predict_error(json, Data().add_ids({3, 2}, {0, 0, 0, 0, 0, 0}).add_random({3, 5, 2})),
           "Input 'x': expected float32, got int32");
  contains(predict_error(json, Data().add_random({3, 2}).add_random({3, 5, 2}, {1, 2})), "Input 's': expected 3 lengths");
  contains(predict_error(json, Data().add_random({3, 2}).add_random({3, 5, 2}, {1, 6, 2})), "length 6 of row 1 is not in [0, 5]");
  contains(predict_error(json, Data().add_random({3, 2}).add_random({3, 5, 2}, {1, 5, -1})), "length -1 of row 2");
  contains(predict_error(json, Data().add_random({3, 2}, {1, 1, 1}).add_random({3, 5, 2})), "Input 'x': has no time axis");
}

TEST_CASE("graph: joined sequences must have the same lengths") {
  const std::string json =
      spec(kSeq + R"(, {"type": "Input", "name": "t", "shape": [null, 2]}, {"type": "Add", "name": "y", "inputs": ["s", "t"]})",
           R"("s", "t")", "\"y\"");
  CHECK(predict_error(json, Data().add_random({2, 3, 2}, {3, 1}).add_random({2, 3, 2}, {3, 1})).empty());
  CHECK(predict_error(json, Data().add_random({2, 3, 2}, {3, 3}).add_random({2, 3, 2})).empty());
  contains(predict_error(json, Data().add_random({2, 3, 2}, {3, 1}).add_random({2, 3, 2})),
           "Add 'y': joins sequences of different lengths");
  contains(predict_error(json, Data().add_random({2, 3, 2}).add_random({2, 4, 2})), "Add 'y': expected inputs of equal shapes");
}

#if REKUR_TRAINING
TEST_CASE("graph: an empty batch and zero steps are ordinary") {
  Model model(spec(
      kX + ", " + kSeq +
          R"(, {"type": "GRU", "name": "g", "inputs": ["s", "x"], "units": 2, "return_sequences": true, "return_state": true})",
      R"("x", "s")", R"("g", "g:1")"));
  model.initialize(3);
  const Data none = Data().add({0, 2}, {}).add({0, 5, 2}, {});
  CHECK(model.predict(none.batch())[0].shape == Shape{0, 5, 2});
  for (const float w : gradients(model, none).weights) CHECK(w == 0.0f);
  const Data still = Data().add_random({3, 2}).add({3, 0, 2}, {});
  const std::vector<Tensor> y = model.predict(still.batch());
  CHECK(y[0].shape == Shape{3, 0, 2});
  CHECK(y[1].data == still.floats[0]);
  const Gradients g = gradients(model, still);
  for (const float w : g.weights) CHECK(w == 0.0f);
  CHECK(g.inputs[0] == numbers(6, 101));  // the initial state is the final one
}

TEST_CASE("graph: gradients of a tensor with several readers add up") {
  const std::string json =
      spec(kX + dense("a", "x", R"(, "activation": "tanh")") + dense("b", "a") + dense("c", "a", R"(, "activation": "sigmoid")") +
               R"(, {"type": "Add", "name": "d", "inputs": ["b", "c"]}, {"type": "Multiply", "name": "e", "inputs": ["d", "a"]})",
           "\"x\"", R"("e", "a", "c", "e", "x")");
  check_gradients(json, Data().add_random({3, 2}));
}

TEST_CASE("graph: what no output depends on is not run and has zero gradients") {
  Model model(spec(kX + dense("unused", "x") + dense("y", "x"), "\"x\"", "\"y\""));
  model.initialize(1);
  const Gradients g = gradients(model, Data().add_random({3, 2}));
  for (std::size_t i = 0; i < 6; ++i) CHECK(g.weights[i] == 0.0f);
  CHECK(g.weights[6] != 0.0f);
}

TEST_CASE("graph: inference shares memory between tensors that do not live at once") {
  std::string layers = kX + dense("d0", "x");
  for (int i = 1; i < 20; ++i) layers += dense(("d" + std::to_string(i)).c_str(), ("d" + std::to_string(i - 1)).c_str());
  layers += R"(, {"type": "Dropout", "name": "drop", "inputs": ["d19"], "rate": 0.5})" + dense("y", "drop");
  graph::Graph graph(spec(layers, "\"x\"", "\"y\""));
  const Data data = Data().add_random({80, 2});
  graph.set_weights(std::vector<float>(static_cast<std::size_t>(graph.parameter_count()), 0.1f));
  const auto run = graph.forward(data.batch(), {});
  const auto training = graph.forward(data.batch(), {.training = true});
  CHECK(std::isfinite(run->output(0)[0]));
  CHECK(run->arena_size() == 2 * 160);
  CHECK(training->arena_size() > 20 * 160);
}

TEST_CASE("graph: a final activation can be left to the loss") {
  const auto make = [](const char* activation, const char* outputs) {
    return spec(kX + dense("y", "x", (std::string(R"(, "activation": ")") + activation + "\"").c_str()), "\"x\"", outputs);
  };
  using layers::FinalActivation;
  CHECK(graph::Graph(make("softmax", "\"y\"")).final_activation(0) == FinalActivation::softmax);
  CHECK(graph::Graph(make("sigmoid", "\"y\"")).final_activation(0) == FinalActivation::sigmoid);
  CHECK(graph::Graph(make("tanh", "\"y\"")).final_activation(0) == FinalActivation::none);
  CHECK(graph::Graph(make("softmax", "\"y\", \"y\"")).final_activation(0) == FinalActivation::none);

  const Data data = Data().add_random({4, 2});
  for (const char* activation : {"softmax", "sigmoid"}) {
    graph::Graph fused(make(activation, "\"y\"")), linear(make("linear", "\"y\""));
    const std::vector<float> weights = numbers(6, 1);
    for (graph::Graph* graph : {&fused, &linear}) {
      graph->set_weights(weights);
    }
    const auto raw = fused.forward(data.batch(), {.training = true, .raw = {true}});
    const auto expected = linear.forward(data.batch(), {.training = true});
    const auto activated = fused.forward(data.batch(), {});
    std::vector<float> predictions(8);
    fused.apply_final_activation(*raw, 0, predictions.data());
    for (std::size_t i = 0; i < 8; ++i) {
      CHECK(raw->output(0)[i] == expected->output(0)[i]);
      CHECK(predictions[i] == activated->output(0)[i]);
    }
    std::vector<float> a(6), b(6);
    for (std::size_t i = 0; i < 8; ++i) raw->output_gradient(0)[i] = expected->output_gradient(0)[i] = static_cast<float>(i);
    fused.backward(*raw, a, {});
    linear.backward(*expected, b, {});
    CHECK(a == b);
  }
  contains(message_of([&] { graph::Graph(make("tanh", "\"y\"")).forward(data.batch(), {.raw = {true}}); }),
           "output 'y' has no activation");
}

TEST_CASE("graph: a tape serves once, its own model, and the weights it was made with") {
  const std::string json = spec(kX + dense("y", "x"), "\"x\"", "\"y\"");
  graph::Graph graph(json), other(json);
  const Data data = Data().add_random({2, 2});
  std::vector<float> d_weights(6);
  const auto back = [&](graph::Graph& g, graph::Run& run) { return message_of([&] { g.backward(run, d_weights, {}); }); };
  auto run = graph.forward(data.batch(), {.training = true});
  contains(back(other, *run), "belongs to another model");
  CHECK(back(graph, *run).empty());
  contains(back(graph, *run), "was used already");
  run = graph.forward(data.batch(), {});
  contains(back(graph, *run), "inference");
  run = graph.forward(data.batch(), {.training = true});
  graph.set_weights(std::vector<float>(graph.weights().begin(), graph.weights().end()));
  contains(back(graph, *run), "were changed");
}
#endif
