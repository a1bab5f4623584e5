// Loops: cells and attention in a step, against central differences; rows that end; what is refused.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "each_isa.hpp"
#include "model_helpers.hpp"
#include "rekur/model.hpp"

using namespace rekur;
using namespace rekur::test;

namespace {

std::string input(const std::string& name, const std::string& shape, const std::string& dtype = "float32") {
  return R"({"type": "Input", "name": ")" + name + R"(", "shape": )" + shape + R"(, "dtype": ")" + dtype + R"("})";
}

// A model of one Loop; `inputs` names those of the model, which the loop reads in their order.
std::string looped(const std::string& inputs, const std::string& names, const std::string& body, const std::string& keys,
                   const std::string& outputs = R"("loop")") {
  return spec(inputs + R"(, {"type": "Loop", "name": "loop", "inputs": [)" + names + R"(], "body": )" + body + keys + "}", names,
              outputs);
}

// An LSTM that reads the attentional vector of the step before (Luong et al., 2015).
const std::string kDecoder = spec(input("x", "[1, 3]") + ", " + input("memory", "[null, 4]") + ", " + input("h", "[4]") + ", " +
                                      input("c", "[4]") + ", " + input("fed", "[1, 5]") +
                                      R"(, {"type": "Concatenate", "name": "joined", "inputs": ["x", "fed"]},
        {"type": "LSTM", "name": "lstm", "inputs": ["joined", "h", "c"], "units": 4, "return_sequences": true, "return_state": true},
        {"type": "Attention", "name": "attention", "inputs": ["lstm", "memory"], "return_attention_scores": true},
        {"type": "Concatenate", "name": "both", "inputs": ["attention", "lstm"]},
        {"type": "Dense", "name": "out", "inputs": ["both"], "units": 5, "activation": "tanh"})",
                                  R"("x", "memory", "h", "c", "fed")", R"("out", "attention:1", "lstm:1", "lstm:2", "out")");

const std::string kSequences = input("x", "[null, 3]") + ", " + input("memory", "[null, 4]");
const std::string kAll = kSequences + ", " + input("h", "[4]") + ", " + input("c", "[4]") + ", " + input("fed", "[1, 5]");
const std::string kAllNames = R"("x", "memory", "h", "c", "fed")";
const std::string kEverything = R"("loop", "loop:1", "loop:2", "loop:3", "loop:4")";

Data all_data(std::vector<std::int32_t> steps, std::vector<std::int32_t> memory) {
  Data data;
  data.add_random({3, 4, 3}, std::move(steps)).add_random({3, 5, 4}, std::move(memory));
  return data.add_random({3, 4}), data.add_random({3, 4}), data.add_random({3, 1, 5});
}

}  // namespace

#if REKUR_TRAINING
TEST_CASE("loop: gradients of attention in the step") {
  const std::string keys = R"(, "states": 3, "return_sequences": true, "return_state": true)";
  check_gradients(looped(kAll, kAllNames, kDecoder, keys, kEverything), all_data({}, {}));
  check_gradients(looped(kAll, kAllNames, kDecoder, keys, kEverything), all_data({1, 4, 2}, {5, 2, 3}));
  check_gradients(looped(kAll, kAllNames, kDecoder, keys, kEverything), all_data({0, 4, 3}, {}));
  Data data;
  data.add_random({2, 3, 3}, {2, 3}).add_random({2, 2, 4});
  check_gradients(looped(kSequences, R"("x", "memory")", kDecoder, R"(, "states": 3)"), data);
}

TEST_CASE("loop: coverage, a state with the steps of a constant, and states that go through") {
  const std::string body = spec(input("x", "[1, 2]") + ", " + input("keys", "[null, 2]") + ", " + input("covered", "[null, 1]") +
                                    ", " + input("late", "[1, 2]") +
                                    R"(, {"type": "Dense", "name": "cover", "inputs": ["covered"], "units": 2, "use_bias": false},
          {"type": "Add", "name": "moved", "inputs": ["keys", "cover"]},
          {"type": "AdditiveAttention", "name": "attention", "inputs": ["x", "keys", "moved"], "return_attention_scores": true},
          {"type": "Permute", "name": "column", "inputs": ["attention:1"], "dims": [2, 1]},
          {"type": "Add", "name": "sum", "inputs": ["covered", "column"]},
          {"type": "Add", "name": "y", "inputs": ["attention", "late"]})",
                                R"("x", "keys", "covered", "late")", R"("y", "sum", "x")");
  const std::string inputs = input("x", "[null, 2]") + ", " + input("keys", "[null, 2]");
  const std::string spec_json =
      looped(inputs, R"("x", "keys")", body, R"(, "states": 2, "return_sequences": true, "return_state": true)",
             R"("loop", "loop:1", "loop:2")");
  Data data;
  data.add_random({3, 3, 2}, {3, 1, 2}).add_random({3, 4, 2});
  check_gradients(spec_json, data);
  // What the attention did to each key over the steps adds up to their number.
  const std::vector<Tensor> outputs = Model(spec_json).predict(data.batch());
  CHECK(outputs[1].shape == Shape{3, 4, 1});
  const std::int32_t steps[] = {3, 1, 2};
  for (std::size_t row = 0; row < 3; ++row) {
    double sum = 0;
    for (std::size_t s = 0; s < 4; ++s) sum += static_cast<double>(outputs[1].data[row * 4 + s]);
    CHECK(sum == doctest::Approx(steps[row]));
  }
}
#endif

#if REKUR_TRAINING
TEST_CASE("loop: a loop in the step of a loop") {
  // Of each step of x a sequence is made, of which the inner loop keeps a sum that the outer one carries on.
  const std::string inner = spec(input("z", "[1, 2]") + ", " + input("s", "[1, 2]") +
                                     R"(, {"type": "Add", "name": "sum", "inputs": ["z", "s"]},
               {"type": "Dense", "name": "y", "inputs": ["sum"], "units": 2, "activation": "tanh"})",
                                 R"("z", "s")", R"("y", "sum")");
  const std::string outer = spec(input("x", "[1, 6]") + ", " + input("s", "[1, 2]") +
                                     R"(, {"type": "Reshape", "name": "parts", "inputs": ["x"], "target_shape": [3, 2]},
        {"type": "Loop", "name": "each", "inputs": ["parts", "s"], "states": 1, "return_sequences": true, "return_state": true, "body": )" +
                                     inner + R"(}, {"type": "Flatten", "name": "y", "inputs": ["each"]})",
                                 R"("x", "s")", R"("y", "each:1")");
  Data data;
  data.add_random({3, 4, 6}, {1, 4, 3});
  check_gradients(looped(input("x", "[null, 6]"), R"("x")", outer,
                         R"(, "states": 1, "return_sequences": true, "return_state": true)", R"("loop", "loop:1")"),
                  data);
}
#endif

TEST_CASE("loop: a body of one layer gives what the layer gives over the sequence") {
  const std::string body =
      spec(input("x", "[1, 3]") + ", " + input("h", "[4]") + ", " + input("c", "[4]") +
               R"(, {"type": "LSTM", "name": "cell", "inputs": ["x", "h", "c"], "units": 4, "return_state": true})",
           R"("x", "h", "c")", R"("cell", "cell:1", "cell:2")");
  const std::string whole = spec(input("x", "[null, 3]") +
                                     R"(, {"type": "LSTM", "name": "cell", "inputs": ["x"], "units": 4, "return_sequences": true,
                                     "return_state": true})",
                                 R"("x")", R"("cell", "cell:1", "cell:2")");
  each_isa([&](const auto&) {
    Model loop(looped(input("x", "[null, 3]"), R"("x")", body, R"(, "states": 2, "return_sequences": true, "return_state": true)",
                      R"("loop", "loop:1", "loop:2")"));
    Model lstm(whole);
    CHECK(loop.parameters()[0].name == "loop/cell/kernel");
    const std::vector<float> weights = numbers(static_cast<Index>(lstm.weights().size()), 5);
    loop.set_weights(weights);
    lstm.set_weights(weights);
    for (const std::vector<std::int32_t>& lengths : {std::vector<std::int32_t>{}, {0, 7, 3, 7, 1}}) {
      Data data;
      data.add_random({5, 7, 3}, lengths);
      const std::vector<Tensor> a = loop.predict(data.batch()), b = lstm.predict(data.batch());
      for (std::size_t k = 0; k < 3; ++k) CHECK(same(a[k].data, b[k].data));
    }
  });
}

TEST_CASE("loop: a row's bits do not depend on its batch") {
  Model model(looped(kAll, kAllNames, kDecoder, R"(, "states": 3, "return_sequences": true, "return_state": true)", kEverything));
  model.set_weights(numbers(static_cast<Index>(model.weights().size()), 5));
  const std::vector<std::int32_t> steps = {2, 4, 1}, memory = {5, 1, 3};
  const Data data = all_data(steps, memory);
  const std::vector<Tensor> together = model.predict(data.batch());
  for (std::size_t row = 0; row < 3; ++row) {
    Data alone;
    for (std::size_t i = 0; i < data.shapes.size(); ++i) {
      Shape shape = data.shapes[i];
      shape[0] = 1;
      const auto n = element_count(shape);
      const auto first = data.floats[i].begin() + static_cast<std::ptrdiff_t>(row) * n;
      std::vector<std::int32_t> lengths;
      if (i < 2) lengths = {i == 0 ? steps[row] : memory[row]};
      alone.add(shape, std::vector<float>(first, first + n), lengths);
    }
    const std::vector<Tensor> outputs = model.predict(alone.batch());
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      const auto n = static_cast<std::ptrdiff_t>(outputs[k].data.size());
      const auto first = together[k].data.begin() + static_cast<std::ptrdiff_t>(row) * n;
      CHECK(same(outputs[k].data, std::vector<float>(first, first + n)));
    }
  }
}

TEST_CASE("loop: what does not fit is refused by name") {
  const auto message = [](const std::string& body, const std::string& keys, const std::string& inputs = input("x", "[null, 3]"),
                          const std::string& names = R"("x")") {
    return message_of([&] { Model(looped(inputs, names, body, keys)); });
  };
  const std::string x = input("x", "[1, 3]"), h = input("h", "[4]");
  const std::string dense = R"(, {"type": "Dense", "name": "y", "inputs": ["x"], "units": 4})";
  const std::string body = spec(x + dense, R"("x")", R"("y")"),
                    with_state = spec(x + ", " + h + dense, R"("x", "h")", R"("y", "h")");
  CHECK(message(body, "") == "");
  CHECK(message(with_state, R"(, "states": 1)") == "");
  contains(message(body, R"(, "states": 1)"), "Loop 'loop': its body has 1 inputs, fewer than steps (1) and states (1) together");
  contains(message(body, R"(, "steps": 0)"), "Loop 'loop': 'steps' must be");
  contains(message(body, R"(, "states": -1)"), "Loop 'loop': 'states' must be");
  contains(message(body, R"(, "unroll": true)"), "unroll");
  contains(message("[]", ""), "Loop 'loop': 'body' must be an object");
  contains(message("{}", ""), "Loop 'loop': its body: model: missing key 'format'");
  contains(message(spec(x + R"(, {"type": "Dens", "name": "y", "inputs": ["x"], "units": 4})", R"("x")", R"("y")"), ""),
           "its body: layer 1");
  contains(message(spec(input("x", "[3]") + dense, R"("x")", R"("y")"), ""), "expected input 'x' to be one step");
  contains(message(spec(input("x", "[2, 3]") + dense, R"("x")", R"("y")"), ""), "expected input 'x' to be one step");
  contains(message(spec(x + ", " + h + dense, R"("x", "h")", R"("h")"), R"(, "states": 1)"),
           "expected at least one and the next value");
  contains(message(spec(x + ", " + h + dense, R"("x", "h")", R"("y", "y")"), R"(, "states": 1)"),
           "state 'h' has the shape (None, 4), and its next value 'y' (None, 1, 4)");
  contains(message(spec(x + ", " + input("h", "[null, 1]") + dense, R"("x", "h")", R"("y", "h")"), R"(, "states": 1)"),
           "has the steps of a constant, and there is none");
  contains(
      message(spec(x + R"(, {"type": "ActivityRegularization", "name": "y", "inputs": ["x"], "l1": 1})", R"("x")", R"("y")"), ""),
      "its body: ActivityRegularization 'y' adds to the loss");
  contains(message(spec(x + R"(, {"type": "BatchNormalization", "name": "y", "inputs": ["x"]})", R"("x")", R"("y")"), ""),
           "its body: BatchNormalization 'y' follows the statistics of batches");
  contains(message(body, "", input("x", "[null, 5]")), "Loop 'loop': expected the steps of 'x' of shape (None, None, 3), float32");
  contains(message(body, "", input("x", "[3]")), "expected the steps of 'x'");
  contains(message(with_state, R"(, "states": 1)", input("x", "[null, 3]") + ", " + input("h", "[5]"), R"("x", "h")"),
           "expected the initial state 'h' of shape (None, 4)");
  contains(message(kDecoder, R"(, "states": 3)", input("x", "[null, 3]") + ", " + input("memory", "[null, 5]"), R"("x", "memory")"),
           "expected the constant 'memory' of shape (None, None, 4)");
  // Loops within loops, until the text is too deep.
  std::string nested = body;
  for (int k = 0; k < 40; ++k)
    nested = spec(x + R"(, {"type": "Loop", "name": "y", "inputs": ["x"], "return_sequences": true, "body": )" + nested + "}",
                  R"("x")", R"("y")");
  contains(message(nested, ""), "levels of nesting");
  const std::string twice =
      spec(x + R"(, {"type": "Loop", "name": "y", "inputs": ["x"], "return_sequences": true, "body": )" + body + "}", R"("x")",
           R"("y")");
  CHECK(message(twice, "") == "");
}

TEST_CASE("loop: ids are checked before anything is computed") {
  const std::string body =
      spec(input("x", "[1]", "int32") + R"(, {"type": "Embedding", "name": "y", "inputs": ["x"], "input_dim": 4, "output_dim": 2})",
           R"("x")", R"("y")");
  const Model model(looped(input("x", "[null]", "int32"), R"("x")", body, R"(, "return_sequences": true)"));
  Data good, bad;
  good.add_ids({2, 2}, {0, 1, 3, 2}, {1, 2});
  bad.add_ids({2, 2}, {0, 1, 3, 4});
  CHECK(model.predict(good.batch())[0].shape == Shape{2, 2, 2});
  contains(message_of([&] { model.predict(bad.batch()); }), "id 4 at row 1, step 1 is not in [0, 4)");
}

#if REKUR_TRAINING
TEST_CASE("loop: masks of cells are one a sequence, other draws one a step") {
  const auto outputs_of = [](const std::string& layer) {
    const std::string body = spec(input("x", "[1, 40]") + layer, R"("x")", R"("y")");
    const Model model(looped(input("x", "[null, 40]"), R"("x")", body, R"(, "return_sequences": true)"));
    Data data;
    data.add({1, 2, 40}, std::vector<float>(80, 1.0f));
    return gradients(model, data, 3).outputs[0].data;
  };
  const auto differ = [](const std::vector<float>& y) { return !std::equal(y.begin(), y.begin() + 40, y.begin() + 40); };
  CHECK(differ(outputs_of(R"(, {"type": "Dropout", "name": "y", "inputs": ["x"], "rate": 0.5})")));
  CHECK(differ(outputs_of(R"(, {"type": "GaussianNoise", "name": "y", "inputs": ["x"], "stddev": 0.5})")));
  CHECK_FALSE(differ(outputs_of(R"(, {"type": "SpatialDropout1D", "name": "y", "inputs": ["x"], "rate": 0.5})")));
}
#endif
