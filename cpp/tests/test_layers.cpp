// Every layer: its shapes, its errors, its gradients.
#include "fused.hpp"
#include "model_helpers.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "rekur/runtime.hpp"

using namespace rekur;
using namespace rekur::test;

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

const std::string kSequence = R"({"type": "Input", "name": "x", "shape": [null, 3]})";
const std::string kVector = R"({"type": "Input", "name": "x", "shape": [3]})";

[[maybe_unused]] std::string one(const std::string& input, const std::string& layer) {
  return spec(input + ", " + layer, "\"x\"", "\"y\"");
}

TensorInfo info(Shape shape, DType dtype = DType::float32) { return {"", std::move(shape), dtype}; }

std::string infer_error(const std::string& json, const std::vector<TensorInfo>& inputs) {
  return message_of([&] { infer_layer(json, inputs); });
}

}  // namespace

TEST_CASE("layers: types are listed, sorted") {
  const std::vector<std::string> types = layer_types();
  CHECK(types.size() > 40);
  CHECK(std::is_sorted(types.begin(), types.end()));
  CHECK(std::find(types.begin(), types.end(), "Bidirectional") != types.end());
}

TEST_CASE("layers: a Dense of few outputs and many inputs is sixteen sums, folded by halves, on every instruction set") {
  const std::string before = current_isa();
  for (const std::string& isa : available_isas()) {
    if (isa == "baseline") continue;  // without fused additions on x86-64
    set_isa(isa);
    for (const int K : {8, 15, 16, 37, 64})
      for (const int N : {1, 2, 3, 4, 5}) {
        Model model(one(R"({"type": "Input", "name": "x", "shape": [)" + std::to_string(K) + "]}",
                        R"({"type": "Dense", "name": "y", "inputs": ["x"], "units": )" + std::to_string(N) + "}"));
        const std::vector<float> weights = numbers((K + 1) * N, 5), x = numbers(K, 6);
        model.set_weights(weights);
        Batch batch;
        batch.inputs.push_back({x.data(), {1, K}});
        const std::vector<float> y = model.predict(batch)[0].data;
        for (int n = 0; n < N; ++n) {
          const int sums = N == 1 || (N <= 4 && K >= 16 * N) ? 16 : 1;
          float sum[16] = {weights[static_cast<std::size_t>(K * N + n)]};
          for (int k = 0; k < K; ++k)
            sum[k % sums] =
                tests::fused(x[static_cast<std::size_t>(k)], weights[static_cast<std::size_t>(k * N + n)], sum[k % sums]);
          for (int half = 8; half > 0; half /= 2)
            for (int i = 0; i < half; ++i) sum[i] += sum[i + half];
          CHECK(y[static_cast<std::size_t>(n)] == sum[0]);
        }
      }
  }
  set_isa(before);
}

TEST_CASE("layers: shape inference") {
  const auto shapes = [](const std::string& json, const std::vector<TensorInfo>& inputs) {
    std::vector<Shape> result;
    for (const TensorInfo& output : infer_layer(json, inputs)) result.push_back(output.shape);
    return result;
  };
  const TensorInfo x = info({-1, -1, 3});
  CHECK(shapes(R"({"type": "LSTM", "name": "l", "units": 5})", {x}) == std::vector<Shape>{{-1, 5}});
  CHECK(shapes(R"({"type": "LSTM", "name": "l", "units": 5, "return_sequences": true, "return_state": true})", {x}) ==
        std::vector<Shape>{{-1, -1, 5}, {-1, 5}, {-1, 5}});
  CHECK(shapes(R"({"type": "Bidirectional", "name": "b", "layer": {"type": "GRU", "units": 5, "return_state": true}})", {x}) ==
        std::vector<Shape>{{-1, 10}, {-1, 5}, {-1, 5}});
  CHECK(shapes(R"({"type": "Bidirectional", "name": "b", "merge_mode": "ave", "layer": {"type": "GRU", "units": 5}})", {x}) ==
        std::vector<Shape>{{-1, 5}});
  CHECK(shapes(R"({"type": "Dense", "name": "d", "units": 7})", {info({-1, 50, 3})}) == std::vector<Shape>{{-1, 50, 7}});
  CHECK(shapes(R"({"type": "Embedding", "name": "e", "input_dim": 9, "output_dim": 4})", {info({-1, 8}, DType::int32)}) ==
        std::vector<Shape>{{-1, 8, 4}});
  CHECK(shapes(R"({"type": "Concatenate", "name": "c"})", {info({-1, -1, 3}), info({-1, 8, 2})}) == std::vector<Shape>{{-1, 8, 5}});
  CHECK(shapes(R"({"type": "Step", "name": "s", "index": -8})", {info({-1, 8, 3})}) == std::vector<Shape>{{-1, 3}});
  CHECK(shapes(R"({"type": "Slice", "name": "s", "start": -2, "stop": 3})", {x}) == std::vector<Shape>{{-1, -1, 2}});
  CHECK(shapes(R"({"type": "Slice", "name": "s", "stop": null})", {x}) == std::vector<Shape>{{-1, -1, 3}});
  CHECK(shapes(R"({"type": "Input", "name": "i", "shape": [], "dtype": "int32"})", {}) == std::vector<Shape>{{-1}});
}

TEST_CASE("layers: errors name the layer, what was expected and what came") {
  const TensorInfo x = info({-1, -1, 3});
  contains(infer_error(R"({"type": "LSTMM", "name": "l", "units": 5})", {x}), "did you mean 'LSTM'");
  contains(infer_error(R"({"type": "LSTM", "name": "l", "unit": 5})", {x}), "'units'");
  contains(infer_error(R"({"type": "LSTM", "name": "l", "units": 0})", {x}), "LSTM 'l': 'units' must be a positive integer, got 0");
  contains(infer_error(R"({"type": "LSTM", "name": "l", "units": 5, "reset_after": true})", {x}), "unknown key 'reset_after'");
  contains(infer_error(R"({"type": "LSTM", "name": "l", "units": 5})", {info({-1, 3})}),
           "expected a sequence of shape (B, T, F), got (None, 3)");
  contains(infer_error(R"({"type": "LSTM", "name": "l", "units": 5})", {info({-1, 3}, DType::int32)}), "expected a float32 input");
  contains(infer_error(R"({"type": "LSTM", "name": "l", "units": 5})", {info({-1, 4, -1})}), "must be known");
  contains(infer_error(R"({"type": "LSTM", "name": "l", "units": 5})", {x, info({-1, 4})}),
           "expected initial state 1 of shape (None, 5), got (None, 4)");
  contains(infer_error(R"({"type": "LSTM", "name": "l", "units": 5})", {}), "expected 1 to 3 inputs, got 0");
  contains(infer_error(R"({"type": "LSTM", "name": "l", "units": 5, "activation": "softmax"})", {x}), "whole rows");
  contains(infer_error(R"({"type": "LSTM", "name": "l", "units": 5, "activation": "tahn"})", {x}), "did you mean 'tanh'");
  contains(infer_error(R"({"type": "LSTM", "name": "l", "units": 2147483647})", {x}),
           "recurrent_kernel of shape (2147483647, 8589934588) is too large");
#if REKUR_TRAINING
  contains(infer_error(R"({"type": "LSTM", "name": "l", "units": 5, "kernel_initializer": "glorot"})", {x}),
           "initializer of kernel");
#endif
  contains(infer_error(R"({"type": "LSTM", "name": "a/b", "units": 5})", {x}), "'name' must be");
  contains(infer_error(R"({"type": "Bidirectional", "name": "b", "layer": {"type": "GRU", "units": 5, "reverse": true}})", {x}),
           "'reverse' must be false");
  contains(infer_error(R"({"type": "Bidirectional", "name": "b", "layer": {"type": "Dense", "units": 5}})", {x}),
           "recurrent layer type");
  contains(infer_error(R"({"type": "Bidirectional", "name": "b", "merge_mode": "add", "layer": {"type": "GRU", "units": 5}})", {x}),
           "merge_mode");
  contains(infer_error(R"({"type": "Bidirectional", "name": "b", "layer": {"type": "LSTM", "units": 5}})", {x, info({-1, 5})}),
           "all 4");
  contains(infer_error(R"({"type": "Add", "name": "a"})", {x}), "expected at least 2 inputs, got 1");
  contains(infer_error(R"({"type": "Add", "name": "a"})", {x, info({-1, -1, 4})}),
           "expected inputs of equal shapes, got (None, None, 3) and (None, None, 4)");
  contains(infer_error(R"({"type": "Concatenate", "name": "c", "axis": 3})", {x, x}), "axis must be from 1 to");
  contains(infer_error(R"({"type": "Dropout", "name": "d", "rate": 1})", {x}), "'rate' must be");
  contains(infer_error(R"({"type": "Dropout", "name": "d", "rate": 0.9999999999})", {x}), "'rate' must be");
  contains(infer_error(R"({"type": "Embedding", "name": "e", "input_dim": 2147483647, "output_dim": 2147483647})",
                       {info({-1}, DType::int32)}),
           "too large");
  contains(infer_error(R"({"type": "Activation", "name": "a", "activation": {"name": "elu", "alpha": -1}})", {x}),
           "'alpha' must be at least 0");
  contains(infer_error(R"({"type": "Activation", "name": "a"})", {x}), "missing key 'activation'");
  contains(infer_error(R"({"type": "Activation", "name": "a", "activation": {"name": "affine", "beta": 1e39}})", {x}),
           "'beta' must be a float32 number");
  contains(infer_error(R"({"type": "Activation", "name": "a", "activation": {"name": "softplus", "beta": 1}})", {x}),
           "unknown key 'beta'");
  for (const char* clip : {"0", "-1", "1e39", "1e-46", "null", "true", "\"big\""})
    contains(infer_error(std::string(R"({"type": "GRU", "name": "g", "units": 5, "clip": )") + clip + "}", {x}), "GRU 'g': 'clip'");
  contains(infer_error(R"({"type": "GRU", "name": "g", "units": 5, "peepholes": true})", {x}), "unknown key 'peepholes'");
  contains(infer_error(R"({"type": "GRU", "name": "g", "units": 5, "output_activation": "tanh"})", {x}),
           "unknown key 'output_activation'");
  contains(infer_error(R"({"type": "LSTM", "name": "l", "units": 5, "output_activation": "tahn"})", {x}), "did you mean 'tanh'");
  contains(infer_error(R"({"type": "LSTM", "name": "l", "units": 5, "coupled_gates": 1})", {x}),
           "'coupled_gates' must be true or false");
  contains(infer_error(R"({"type": "LSTM", "name": "l", "units": 5, "peephole_initializer": "ones"})", {x}),
           "unknown key 'peephole_initializer'");
  contains(infer_error(R"({"type": "Input", "name": "i", "shape": [null, null]})", {}), "at least 1 feature");
  contains(infer_error(R"({"type": "Divide", "name": "d"})", {x, x, x}), "Divide 'd': expected 2 inputs, got 3");
  contains(infer_error(R"({"type": "Step", "name": "s", "index": 8})", {info({-1, 8, 3})}),
           "Step 's': expected a sequence of at least 9 steps for index 8, got 8 (input shape (None, 8, 3))");
  contains(infer_error(R"({"type": "Slice", "name": "s", "start": 1, "stop": 4})", {x}),
           "Slice 's': features [1, 4) do not lie within the input's 3");
  contains(infer_error(R"({"type": "Slice", "name": "s", "start": -1, "stop": 2})", {x}),
           "Slice 's': features [-1, 2) are none of the input's 3");
  contains(infer_error(R"({"type": "Rescaling", "name": "r", "scale": [1, 2]})", {x}),
           "Rescaling 'r': 'scale': expected a number or 3 of them, one a feature, got 2 (input shape (None, None, 3))");
  contains(infer_error(R"({"type": "Rescaling", "name": "r", "offset": 1e300})", {x}), "'offset' must hold finite float32 numbers");
  contains(infer_error(R"({"type": "LayerNormalization", "name": "l", "epsilon": 0})", {x}), "'epsilon' must be a positive");
}

#if REKUR_TRAINING
TEST_CASE("layers: gradients of Dense and the pointwise layers") {
  for (const char* activation : {"linear", "tanh", "sigmoid", "softsign", "elu", "softmax"}) {
    check_gradients(one(kVector, std::string(R"({"type": "Dense", "name": "y", "inputs": ["x"], "units": 4, "activation": ")") +
                                     activation + "\"}"),
                    Data().add_random({5, 3}));
    check_gradients(
        one(kSequence, std::string(R"({"type": "Activation", "name": "y", "inputs": ["x"], "activation": ")") + activation + "\"}"),
        Data().add_random({2, 3, 3}));
  }
  check_gradients(one(kSequence, R"({"type": "Dense", "name": "y", "inputs": ["x"], "units": 2, "use_bias": false})"),
                  Data().add_random({2, 4, 3}));
}

TEST_CASE("layers: gradients of the joins, with inputs that come twice") {
  const std::string two = R"({"type": "Input", "name": "a", "shape": [3]}, {"type": "Input", "name": "b", "shape": [3]}, )";
  for (const char* type : {"Add", "Multiply", "Concatenate"}) {
    for (const char* inputs : {R"("a", "b")", R"("a", "a", "b")"}) {
      check_gradients(spec(two + R"({"type": ")" + type + R"(", "name": "y", "inputs": [)" + inputs + "]}", R"("a", "b")", "\"y\""),
                      Data().add_random({4, 3}).add_random({4, 3}));
    }
  }
}

TEST_CASE("layers: gradients of normalisation, scaling, slices and differences") {
  for (
      const char* layer :
      {R"("type": "LayerNormalization")", R"("type": "LayerNormalization", "epsilon": 0.1, "center": false)",
       R"("type": "LayerNormalization", "scale": false)", R"("type": "Affine")", R"("type": "PReLU", "shared_axes": [1])",
       R"("type": "Parameter", "shape": [2], "beside": true)", R"("type": "Parameter", "shape": [], "beside": true)",
       R"("type": "Lambda", "equations": {"inputs": ["x"], "nodes": [["mean", 0], ["sin", 0], ["multiply", 1, 2]], "outputs": [3]})",
       R"("type": "Dense", "units": 4, "activation": {"name": "own", "equations": {"inputs": ["x"], "nodes": [["mean", 0],
       ["sin", 0], ["multiply", 1, 2]], "outputs": [3]}})",
       R"("type": "Activation", "activation": {"name": "own", "equations": {"inputs": ["x"], "nodes": [["mean", 0], ["sin", 0],
       ["multiply", 1, 2]], "outputs": [3]}})",
       R"("type": "Slice", "start": 1)", R"("type": "Rescaling", "scale": [2, 0, -1], "offset": 0.5)",
       R"("type": "Step", "index": 1)"}) {
    check_gradients(one(kSequence, std::string("{") + layer + R"(, "name": "y", "inputs": ["x"]})"),
                    Data().add_random({3, 4, 3}, {4, 2, 0}));
  }
  const std::string two = R"({"type": "Input", "name": "a", "shape": [3]}, {"type": "Input", "name": "b", "shape": [3]}, )";
  check_gradients(spec(two + R"({"type": "Subtract", "name": "y", "inputs": ["a", "b"]})", R"("a", "b")", "\"y\""),
                  Data().add_random({4, 3}).add_random({4, 3}));
  const std::string divisor = R"({"type": "Activation", "name": "c", "inputs": ["b"], "activation": "sigmoid"}, )";
  check_gradients(spec(two + divisor + R"({"type": "Divide", "name": "y", "inputs": ["a", "c"]})", R"("a", "b")", "\"y\""),
                  Data().add_random({4, 3}).add_random({4, 3}));
}

TEST_CASE("layers: a step counts from the row's own end; rows without it give zeros and take no gradient") {
  const auto run = [](int index, std::vector<std::int32_t> lengths) {
    Model model(
        spec(R"({"type": "Input", "name": "x", "shape": [null, 1]}, {"type": "Step", "name": "y", "inputs": ["x"], "index": )" +
                 std::to_string(index) + "}",
             "\"x\"", "\"y\""));
    const Gradients g = gradients(model, Data().add({3, 3, 1}, {1, 2, 3, 4, 5, 6, 7, kNaN, kNaN}, std::move(lengths)));
    const std::vector<float> dy = numbers(3, 100);
    std::vector<float> taken(3);
    for (std::size_t i = 0; i < 9; ++i) {
      if (g.inputs[0][i] != 0) taken[i / 3] = g.inputs[0][i] == dy[i / 3] ? static_cast<float>(i % 3 + 1) : kNaN;
    }
    return std::pair(g.outputs[0].data, taken);  // the values, and the step that takes the gradient (from 1; 0: none)
  };
  using Floats = std::vector<float>;
  CHECK(run(-1, {3, 2, 1}) == std::pair(Floats{3, 5, 7}, Floats{3, 2, 1}));
  CHECK(run(-2, {3, 2, 1}) == std::pair(Floats{2, 4, 0}, Floats{2, 1, 0}));
  CHECK(run(1, {3, 2, 1}) == std::pair(Floats{2, 5, 0}, Floats{2, 2, 0}));
  CHECK(run(0, {3, 0, 1}) == std::pair(Floats{1, 0, 7}, Floats{1, 0, 1}));
  CHECK(run(-3, {}) == std::pair(Floats{1, 4, 7}, Floats{1, 1, 1}));
}

TEST_CASE("layers: embedding looks up rows, adds gradients of repeated ids, refuses ids that are not there") {
  const std::string json = spec(R"({"type": "Input", "name": "x", "shape": [null], "dtype": "int32"},
    {"type": "Embedding", "name": "y", "inputs": ["x"], "input_dim": 4, "output_dim": 2})",
                                "\"x\"", "\"y\"");
  Model model(json);
  model.set_weights(std::vector<float>{0, 1, 10, 11, 20, 21, 30, 31});
  const Data data = Data().add_ids({2, 2}, {3, 1, 1, 0});
  CHECK(model.predict(data.batch())[0].data == std::vector<float>{30, 31, 10, 11, 10, 11, 0, 1});
  const Gradients g = gradients(model, data);
  const std::vector<float> dy = numbers(8, 100);
  CHECK(g.weights == std::vector<float>{dy[6], dy[7], dy[2] + dy[4], dy[3] + dy[5], 0, 0, dy[0], dy[1]});
  check_gradients(json, data);
  contains(message_of([&] { model.predict(Data().add_ids({2, 2}, {3, 1, 4, 0}).batch()); }),
           "Embedding 'y': id 4 at row 1, step 0 is not in [0, 4)");
  contains(message_of([&] { model.predict(Data().add_ids({2, 2}, {3, -1, 0, 0}).batch()); }), "id -1 at row 0, step 1");
}

TEST_CASE("layers: dropout is off in inference, draws from seed and step in training, and masks the gradient alike") {
  const std::string json = one(R"({"type": "Input", "name": "x", "shape": [1000]})",
                               R"({"type": "Dropout", "name": "y", "inputs": ["x"], "rate": 0.25})");
  Model model(json);
  const Data data = Data().add({3, 1000}, std::vector<float>(3000, 3.0f));
  CHECK(model.predict(data.batch())[0].data == data.floats[0]);
  const Gradients a = gradients(model, data, 1, 1), b = gradients(model, data, 1, 1), c = gradients(model, data, 1, 2);
  CHECK(a.outputs[0].data == b.outputs[0].data);
  CHECK(a.outputs[0].data != c.outputs[0].data);
  const std::vector<float> dy = numbers(3000, 100);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < 3000; ++i) {
    const bool keep = a.outputs[0].data[i] != 0;
    kept += keep ? 1 : 0;
    CHECK(a.outputs[0].data[i] == doctest::Approx(keep ? 4.0 : 0.0));
    CHECK(a.inputs[0][i] == doctest::Approx(keep ? dy[i] / 0.75 : 0.0));
  }
  CHECK(std::abs(static_cast<double>(kept) - 2250) < 150);
}

TEST_CASE("layers: gradients of recurrent layers, with lengths, initial states and state outputs") {
  const std::string x = R"({"type": "Input", "name": "x", "shape": [null, 3]}, {"type": "Input", "name": "h", "shape": [2]}, )";
  for (const char* type : {"SimpleRNN", "GRU", "LSTM"}) {
    for (const char* options : {"", R"(, "return_sequences": true, "reverse": true)", R"(, "return_state": true)",
                                R"(, "return_sequences": true, "return_state": true)"}) {
      const bool states = std::string(options).find("state") != std::string::npos;
      const std::string outputs = states ? R"("y", "y:1")" : "\"y\"";
      const std::string layer =
          std::string(R"({"type": ")") + type + R"(", "name": "y", "inputs": ["x", "h"], "units": 2)" + options + "}";
      check_gradients(spec(x + layer, R"("x", "h")", outputs), Data().add_random({3, 4, 3}, {4, 2, 0}).add_random({3, 2}));
    }
  }
  check_gradients(
      one(kSequence, R"({"type": "GRU", "name": "y", "inputs": ["x"], "units": 2, "reset_after": false, "use_bias": false})"),
      Data().add_random({2, 3, 3}));
}

TEST_CASE("layers: options of recurrent layers: parameters and gradients") {
  const auto layer = [](const std::string& options) {
    return one(kSequence, R"({"type": "LSTM", "name": "y", "inputs": ["x"], "units": 2, "return_sequences": true)" + options + "}");
  };
  const auto parameters = [&](const std::string& options) {
    std::string text;
    const Model model(layer(options));
    for (const ParameterInfo& p : model.parameters()) text += p.name + to_string(p.shape) + " ";
    return text;
  };
  CHECK(parameters(R"(, "peepholes": true)") == "y/kernel(3, 8) y/recurrent_kernel(2, 8) y/bias(8,) y/peephole(3, 2) ");
  CHECK(parameters(R"(, "coupled_gates": true)") == "y/kernel(3, 6) y/recurrent_kernel(2, 6) y/bias(6,) ");
  CHECK(parameters(R"(, "coupled_gates": true, "peepholes": true, "use_bias": false)") ==
        "y/kernel(3, 6) y/recurrent_kernel(2, 6) y/peephole(2, 2) ");
  for (const char* options :
       {R"(, "peepholes": true)", R"(, "coupled_gates": true)", R"(, "coupled_gates": true, "peepholes": true)",
        R"(, "output_activation": "softsign")", R"(, "peepholes": true, "use_bias": false, "clip": 5)"})
    check_gradients(layer(options), Data().add_random({3, 4, 3}, {4, 2, 0}));
  check_gradients(one(kSequence, R"({"type": "Bidirectional", "name": "y", "inputs": ["x"],
                                     "layer": {"type": "LSTM", "units": 2, "peepholes": true}})"),
                  Data().add_random({3, 4, 3}, {4, 2, 0}));
  // An initial h without a c.
  check_gradients(spec(kSequence + R"(, {"type": "Input", "name": "h", "shape": [2]},
                                      {"type": "LSTM", "name": "y", "inputs": ["x", "h"], "units": 2, "peepholes": true})",
                       R"("x", "h")", "\"y\""),
                  Data().add_random({3, 4, 3}, {4, 2, 0}).add_random({3, 2}));
}

TEST_CASE("layers: gradients of bidirectional layers in every merge mode") {
  // Every direction and state starts from the same tensor: its gradients must add up.
  const std::string x = R"({"type": "Input", "name": "x", "shape": [null, 3]}, {"type": "Input", "name": "h", "shape": [2]}, )";
  for (const char* mode : {"concat", "sum", "mul", "ave"}) {
    for (const char* options : {"", R"(, "return_sequences": true)", R"(, "return_state": true)",
                                R"(, "return_sequences": true, "return_state": true)"}) {
      const bool states = std::string(options).find("state") != std::string::npos;
      const std::string layer =
          std::string(R"({"type": "Bidirectional", "name": "y", "inputs": ["x", "h", "h", "h", "h"], "merge_mode": ")") + mode +
          R"(", "layer": {"type": "LSTM", "units": 2)" + options + "}}";
      check_gradients(spec(x + layer, R"("x", "h")", states ? R"("y", "y:1", "y:4")" : "\"y\""),
                      Data().add_random({3, 3, 3}, {3, 1, 2}).add_random({3, 2}));
    }
  }
}

TEST_CASE("layers: a NaN comes through, and stays in its row") {
  Model model(spec(kSequence + R"(, {"type": "LSTM", "name": "l", "inputs": ["x"], "units": 2},
    {"type": "Dense", "name": "y", "inputs": ["l"], "units": 2, "activation": "softmax"})",
                   "\"x\"", "\"y\""));
  model.initialize(1);
  Data data = Data().add_random({2, 3, 3});
  data.floats[0][10] = kNaN;  // in row 1
  const std::vector<float> y = model.predict(data.batch())[0].data;
  CHECK(std::isfinite(y[0]));
  CHECK(std::isfinite(y[1]));
  CHECK(std::isnan(y[2]));
  CHECK(std::isnan(y[3]));
}
#endif
