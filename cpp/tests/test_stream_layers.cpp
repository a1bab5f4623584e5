// Streams: every layer, cell and option, one step at a time, against predict over the sequence.
#include <cmath>
#include <string>
#include <vector>

#include "stream_helpers.hpp"

using namespace rekur;
using namespace rekur::test;

namespace {

const std::string kSequence = R"("return_sequences": true)";

std::string recurrent(const std::string& type, Index I, Index H, const std::string& options) {
  return spec(input("x", "[null, " + std::to_string(I) + "]") + ", " +
                  layer(type, "rnn", R"("x")", R"("units": )" + std::to_string(H) + (options.empty() ? "" : ", " + options)),
              R"("x")", R"("rnn")");
}

// Layers between a sequence of 7 features and the output.
std::string between(const std::string& layers, const std::string& output) {
  return spec(input("x", "[null, 7]") + ", " + layers, R"("x")", '"' + output + '"');
}

}  // namespace

TEST_CASE("stream: every cell, every option, awkward sizes") {
  struct Cell {
    const char* type;
    std::vector<std::string> options;
  };
  const std::string relu = R"("activation": "relu")", hard = R"("recurrent_activation": "hard_sigmoid")";
  const std::vector<Cell> cells{
      {"SimpleRNN", {"", R"("use_bias": false)", relu, R"("clip": 0.4)"}},
      {"LSTM",
       {"", R"("use_bias": false)", hard, R"("output_activation": "linear")", R"("clip": 0.3)", R"("peepholes": true)",
        R"("coupled_gates": true)", R"("peepholes": true, "coupled_gates": true)", R"("peepholes": true, "clip": 0.3)",
        R"("activation": {"name": "scaled_tanh"}, "coupled_gates": true)"}},
      {"GRU",
       {"", R"("use_bias": false)", hard, R"("clip": 0.3)", R"("reset_after": false)", R"("reset_after": false, "use_bias": false)",
        R"("reset_after": false, "clip": 0.2, "activation": "softsign")"}}};
  for (const Cell& cell : cells)
    for (const std::string& options : cell.options) {
      check_stream(recurrent(cell.type, 3, 5, options));
      check_stream(recurrent(cell.type, 2, 17, options + (options.empty() ? "" : ", ") + kSequence));
    }
  for (const Cell& cell : cells)
    for (const auto& [I, H] : std::vector<std::pair<Index, Index>>{{1, 1}, {1, 8}, {5, 16}, {17, 33}, {1, 64}, {40, 70}})
      check_stream(recurrent(cell.type, I, H, ""), {}, 0.2f);
}

TEST_CASE("stream: what only the loss needs is left out, though it could not go a step at a time") {
  check_stream(between(layer("LSTM", "l", R"("x")", R"("units": 4, "return_sequences": true)") + ", " +
                           layer("GlobalAveragePooling1D", "m", R"("l")", "") + ", " + layer("AddLoss", "a", R"("m")", ""),
                       "l"));
}

TEST_CASE("stream: options around the step") {
  for (const auto& [I, H] : std::vector<std::pair<Index, Index>>{{1, 2}, {3, 17}, {7, 70}}) {
    const std::string projection = "\"projection_size\": " + std::to_string(H - 1);
    for (const char* type : {"SimpleRNN", "LSTM"}) {
      check_stream(recurrent(type, I, H, projection));
      check_stream(recurrent(type, H - 1, H, projection + R"(, "residual": true, "learn_initial_state": true)"));
    }
    for (const char* type : {"SimpleRNN", "LSTM", "GRU"}) {
      check_stream(recurrent(type, H, H, R"("residual": true)"));
      check_stream(recurrent(type, I, H, R"("learn_initial_state": true)"));
      check_stream(recurrent(type, H, H, R"("residual": true, "learn_initial_state": true, )" + kSequence));
    }
  }
}

// More panels than are taken at once, more weights than the first-level cache holds: blocks of all sizes, up and down.
TEST_CASE("stream: large layers") {
  const std::string before = current_isa();
  for (const std::string& isa : available_isas()) {
    set_isa(isa);
    for (const char* type : {"SimpleRNN", "LSTM", "GRU"})
      for (const Index H : {48, 80, 96, 113, 131}) check_steps(random_model(recurrent(type, 6, H, ""), 0.1f), 1, {}, 3);
    check_steps(random_model(recurrent("LSTM", 600, 20, ""), 0.05f), 1, {}, 3);  // sums over several blocks of gemm
    check_steps(random_model(recurrent("LSTM", 600, 20, ""), 0.05f), 2, {}, 3);
  }
  set_isa(before);
}

TEST_CASE("stream: Dense and activations") {
  for (const char* activation :
       {"linear", "tanh", "sigmoid", "relu", "leaky_relu", "elu", "softsign", "hard_sigmoid", "softplus", "softmax"}) {
    const std::string f = R"("activation": ")" + std::string(activation) + '"';
    check_stream(between(layer("Dense", "d", R"("x")", R"("units": 9, )" + f), "d"));
    check_stream(between(layer("Activation", "a", R"("x")", f), "a"));
  }
  const std::string own = R"("activation": {"name": "own", "equations": {"inputs": ["x"], "nodes": [["max", 0], ["subtract", 0, 1],
    ["sin", 0], ["multiply", 2, 3]], "outputs": [4]}})";
  for (const int units : {1, 9, 70})
    check_stream(between(layer("Dense", "d", R"("x")", "\"units\": " + std::to_string(units) + ", " + own), "d"));
  check_stream(between(layer("Activation", "a", R"("x")", own), "a"));
  check_stream(between(layer("Dense", "d", R"("x")", R"("units": 70, "use_bias": false)"), "d"));
  check_stream(between(layer("Dense", "d", R"("x")", R"("units": 1)"), "d"));
  for (const std::string units : {"1", "3", "4", "5"})  // summed by sixteens, and the first that is not
    check_stream(spec(input("x", "[null, 37]") + ", " + layer("Dense", "d", R"("x")", "\"units\": " + units), R"("x")", R"("d")"));
}

TEST_CASE("stream: layers that work on every step alike") {
  check_stream(between(layer("LayerNormalization", "n", R"("x")", ""), "n"));
  check_stream(between(layer("LayerNormalization", "n", R"("x")", R"("scale": false)"), "n"));
  check_stream(between(layer("LayerNormalization", "n", R"("x")", R"("center": false, "epsilon": 0.1)"), "n"));
  check_stream(between(layer("LayerNormalization", "n", R"("x")", R"("center": false, "scale": false)"), "n"));
  check_stream(between(layer("Affine", "a", R"("x")", ""), "a"));
  check_stream(between(layer("Affine", "a", R"("x")", R"("center": false)"), "a"));
  check_stream(between(layer("BatchNormalization", "n", R"("x")", R"("moving_variance_initializer": "ones")"), "n"));
  check_stream(between(layer("BatchNormalization", "n", R"("x")", R"("scale": false, "center": false)"), "n"));
  check_stream(between(layer("PReLU", "p", R"("x")", R"("alpha_initializer": "uniform", "shared_axes": [1])"), "p"));
  check_stream(between(layer("PReLU", "p", R"("x")", R"("alpha_initializer": "uniform", "shared_axes": [1, 2])"), "p"));
  for (const char* shape : {"[3]", "[1]", "[]", "[1, 1]", "[1, 3]"})
    check_stream(between(layer("Parameter", "p", R"("x")", R"("beside": true, "shape": )" + std::string(shape)) + ", " +
                             layer("Multiply", "m", R"("p", "p")", ""),
                         "m"));
  for (const char* noise : {"SpatialDropout1D", "GaussianDropout", "AlphaDropout"})
    check_stream(between(layer(noise, "o", R"("x")", R"("rate": 0.5)"), "o"));
  check_stream(between(layer("GaussianNoise", "o", R"("x")", R"("stddev": 0.5)"), "o"));
  check_stream(between(layer("ActivityRegularization", "o", R"("x")", R"("l2": 0.5)"), "o"));
  check_stream(between(layer("Lambda", "f", R"("x")", R"("equations": {"inputs": ["x"], "nodes": [["tanh", 0], ["mean", 1],
                             ["subtract", 0, 2], ["sin", 3]], "outputs": [4]})"),
                       "f"));
  check_stream(between(layer("Slice", "s", R"("x")", R"("stop": 1)") + ", " +
                           layer("Lambda", "f", R"("x", "s")", R"("equations": {"inputs": ["a", "b"],
                             "nodes": [["multiply", 0, 1], ["max", 2]], "outputs": [2, 3]})"),
                       "f"));
  check_stream(between(layer("Rescaling", "r", R"("x")", R"("scale": 0.3, "offset": -1)"), "r"));
  check_stream(between(layer("Rescaling", "r", R"("x")", R"("scale": [1, 2, 3, 4, 5, 6, 7])"), "r"));
  check_stream(between(layer("Slice", "s", R"("x")", R"("start": -4, "stop": 6)"), "s"));
  check_stream(between(layer("Slice", "s", R"("x")", R"("start": 2)"), "s"));
  check_stream(between(layer("Dropout", "o", R"("x")", R"("rate": 0.5)"), "o"));
  check_stream(between(layer("LSTM", "l", R"("x")", R"("units": 4, "return_sequences": true)") + ", " +
                           layer("Dropout", "o", R"("l")", R"("rate": 0.5)") + ", " +
                           layer("Step", "s", R"("o")", R"("index": -1)"),
                       "s"));
  for (const char* join : {"Concatenate", "Add", "Multiply"})
    check_stream(between(layer("Activation", "a", R"("x")", R"("activation": "tanh")") + ", " + layer("Affine", "b", R"("x")", "") +
                             ", " + layer(join, "j", R"("a", "x", "b")", ""),
                         "j"));
  check_stream(between(layer("Slice", "s", R"("x")", R"("start": 1, "stop": 2)") + ", " +
                           layer("Broadcast", "b", R"("s", "x")", "") + ", " + layer("Add", "a", R"("b", "x")", ""),
                       "a"));
  for (const char* join : {"Subtract", "Divide"})
    check_stream(between(
        layer("Activation", "a", R"("x")", R"("activation": "softplus")") + ", " + layer(join, "j", R"("x", "a")", ""), "j"));
  check_stream(
      spec(input("ids", "[null]", "int32") + ", " + layer("Embedding", "e", R"("ids")", R"("input_dim": 5, "output_dim": 6)"),
           R"("ids")", R"("e")"));
}

TEST_CASE("stream: layers whose state is a matrix") {
  for (const char* mode : {"linear", "gated", "delta", "gated_delta", "mlstm"})
    for (const char* size : {R"("num_heads": 1, "key_dim": 1)", R"("num_heads": 3, "key_dim": 5, "value_dim": 17)",
                             R"("num_heads": 2, "key_dim": 16, "value_dim": 32, "output_gate": false)",
                             R"("num_heads": 1, "key_dim": 33, "value_dim": 64, "units": 3, "use_bias": false)"}) {
      const bool mlstm = std::string(mode) == "mlstm";
      const std::string type = mlstm ? "MLSTM" : "GatedLinearAttention";
      const std::string options = (mlstm ? "" : R"("mode": ")" + std::string(mode) + R"(", )") + size;
      check_stream(between(layer(type, "a", R"("x")", options), "a"));
      check_stream(between(layer(type, "a", R"("x")", options + R"(, "return_state": true, )" + kSequence) + ", " +
                               layer("LSTM", "l", R"("a")", R"("units": 3)") + ", " +
                               layer("Concatenate", "j", R"("l", "a:1")", ""),
                           "j"));
    }
  for (const char* options : {R"("state_size": 3)", R"("state_size": 16, "conv_kernel": 1, "expand": 1, "use_bias": true)",
                              R"("conv_kernel": 2, "units": 5, "use_conv_bias": false)", R"("expand": 40, "dt_rank": 3)"}) {
    check_stream(between(layer("SelectiveSSM", "a", R"("x")", options), "a"));
    check_stream(between(layer("SelectiveSSM", "a", R"("x")", std::string(options) + R"(, "return_state": true, )" + kSequence) +
                             ", " + layer("LSTM", "l", R"("a")", R"("units": 3)") + ", " +
                             layer("Concatenate", "j", R"("l", "a:1")", ""),
                         "j"));
  }
  check_stream(spec(input("x", "[null, 3]") + ", " + input("s", "[24]") + ", " +
                        layer("SelectiveSSM", "a", R"("x", "s")", R"("state_size": 2, "conv_kernel": 3)"),
                    R"("x", "s")", R"("a")"),
               {{"a/s", "s"}});
  check_stream(spec(input("x", "[null, 3]") + ", " + input("s", "[12]") + ", " +
                        layer("GatedLinearAttention", "a", R"("x", "s")", R"("num_heads": 2, "key_dim": 2, "value_dim": 3)"),
                    R"("x", "s")", R"("a")"),
               {{"a/s", "s"}});
}

namespace {

const std::vector<std::pair<const char*, const char*>> kAttention{
    {"Attention", R"("use_scale": true)"},
    {"Attention", R"("score_mode": "concat", "use_scale": true)"},
    {"AdditiveAttention", ""},
    {"MultiHeadAttention", R"("num_heads": 3, "key_dim": 5, "value_dim": 2)"},
    {"MultiHeadAttention", R"("num_heads": 1, "key_dim": 17, "value_dim": 19, "output_shape": 4, "use_bias": false)"},
    {"GroupQueryAttention", R"("head_dim": 4, "num_query_heads": 4, "num_key_value_heads": 2)"}};

std::string attention(const char* type, const char* options, Index window) {
  return between(layer("Dense", "d", R"("x")", R"("units": 7)") + ", " +
                     layer(type, "a", R"("x", "d")",
                           std::string(options) + (*options ? ", " : "") + R"("use_causal_mask": true, "sliding_window": )" +
                               std::to_string(window)),
                 "a");
}

}  // namespace

TEST_CASE("stream: positions") {
  for (const char* type : {"PositionEmbedding", "SinePositionEncoding", "RotaryEmbedding"})
    check_stream(between(layer("Dense", "d", R"("x")", R"("units": 18)") + ", " +
                             layer(type, "p", R"("d")", type[0] == 'P' ? R"("sequence_length": 7)" : ""),
                         "p"));
  // A learned position that there is not is no number, and a new sequence begins at the first.
  const Model model = random_model(between(layer("PositionEmbedding", "p", R"("x")", R"("sequence_length": 2)"), "p"));
  Stream stream(model, {.batch = 1});
  float x[7] = {}, y[7];
  for (int t = 0; t < 3; ++t) {
    REQUIRE(stream.step(x, y));
    CHECK(std::isnan(y[0]) == (t == 2));
  }
  stream.reset();
  REQUIRE(stream.step(x, y));
  CHECK(y[0] == model.weights()[0]);
}

TEST_CASE("stream: attention to the last steps") {
  for (const auto& [type, options] : kAttention)
    for (const Index window : {1, 3, 100}) check_stream(attention(type, options, window));
}

TEST_CASE("stream: attention whose window goes round its ring more than twice") {
  const std::string before = current_isa();
  for (const std::string& isa : available_isas()) {
    set_isa(isa);
    for (const auto& kind : kAttention)
      for (const Index window : {2, 129, 130}) {
        const auto type = kind.first, options = kind.second;
        INFO("isa ", isa, " type ", type, " window ", window);
        constexpr Index kSteps = 900;
        const Model model = random_model(attention(type, options, window));
        const Sequences data(model, 2, kSteps);
        const Tensor whole = model.predict(data.first(kSteps).batch())[0];
        const Index n = whole.shape[2];
        Stream stream(model, {.batch = 2});
        for (Index t = 0; t < kSteps; ++t) {
          const std::vector<float> y = step(stream, data, t)[0];
          std::vector<float> expected;
          for (Index b = 0; b < 2; ++b) {
            const float* const row = whole.data.data() + (b * kSteps + t) * n;
            expected.insert(expected.end(), row, row + n);
          }
          if (!same(y, expected)) {
            CHECK_MESSAGE(false, "step ", t);
            break;
          }
        }
      }
  }
  set_isa(before);
}

TEST_CASE("stream: a wide Rescaling, longer than its constants repeat") {
  const Model model(
      spec(input("x", "[null, 300]") + ", " + layer("Rescaling", "r", R"("x")", R"("scale": 3, "offset": 1)"), R"("x")", R"("r")"));
  check_steps(model, 1);
  check_steps(model, 3);
}

TEST_CASE("stream: a stack, with everything in it") {
  check_stream(spec(input("x", "[null, 3]") + ", " + input("ids", "[null]", "int32") + ", " + input("fixed", "[4]") + ", " +
                        layer("Embedding", "e", R"("ids")", R"("input_dim": 5, "output_dim": 6)") + ", " +
                        layer("Concatenate", "in", R"("x", "e")", "") + ", " +
                        layer("LSTM", "l1", R"("in")", R"("units": 9, "return_sequences": true)") + ", " +
                        layer("LayerNormalization", "n", R"("l1")", "") + ", " +
                        layer("Dropout", "drop", R"("n")", R"("rate": 0.2)") + ", " +
                        layer("GRU", "g", R"("drop")", R"("units": 9, "return_sequences": true, "return_state": true)") + ", " +
                        layer("Add", "skip", R"("g", "l1")", "") + ", " +
                        layer("LSTM", "l2", R"("skip")", R"("units": 5, "return_state": true, "peepholes": true)") + ", " +
                        layer("Concatenate", "out", R"("l2", "fixed", "g:1")", "") + ", " +
                        layer("Dense", "head", R"("out")", R"("units": 3, "activation": "softmax")") + ", " +
                        layer("Slice", "s", R"("skip")", R"("stop": 2)"),
                    R"("x", "ids", "fixed")", R"("head", "s", "l2:2", "l2", "drop", "x", "head", "g:1")"));
}

TEST_CASE("stream: initial states") {
  const std::string states = input("h", "[5]") + ", " + input("c", "[5]");
  check_stream(spec(input("x", "[null, 3]") + ", " + states + ", " + layer("LSTM", "l", R"("x", "h", "c")", R"("units": 5)"),
                    R"("x", "h", "c")", R"("l")"),
               {{"l/h", "h"}, {"l/c", "c"}});
  check_stream(spec(input("x", "[null, 3]") + ", " + input("h", "[5]") + ", " + layer("LSTM", "l", R"("x", "h")", R"("units": 5)"),
                    R"("h", "x")", R"("l")"),
               {{"l/h", "h"}});
  // One input for two layers, and one that is read besides: that one stays an input.
  const std::string both = spec(input("x", "[null, 3]") + ", " + states + ", " +
                                    layer("LSTM", "l", R"("x", "h", "c")", R"("units": 5, "return_sequences": true)") + ", " +
                                    layer("GRU", "g", R"("l", "h")", R"("units": 5)") + ", " + layer("Add", "a", R"("g", "c")", ""),
                                R"("x", "h", "c")", R"("a")");
  check_stream(both, {{"l/h", "h"}, {"l/c", "c"}, {"g/h", "h"}});
  const Model model = random_model(both);
  const Stream stream(model, {.batch = 2});
  REQUIRE(stream.inputs().size() == 2);
  CHECK(stream.inputs()[0].name == "x");
  CHECK(stream.inputs()[0].shape == Shape{2, 3});
  CHECK(stream.inputs()[1].name == "c");
  CHECK(stream.inputs()[1].shape == Shape{2, 5});
  REQUIRE(stream.outputs().size() == 1);
  CHECK(stream.outputs()[0].shape == Shape{2, 5});
  REQUIRE(stream.states().size() == 3);
  CHECK(stream.states()[0].name == "l/h");
  CHECK(stream.states()[1].name == "l/c");
  CHECK(stream.states()[2].name == "g/h");
  CHECK(stream.state_size() == 30);
}

// Chains of random layers over a sequence and an id.
TEST_CASE("stream: random graphs") {
  std::uint32_t state = 1;
  const auto draw = [&](int n) {
    state = state * 1664525u + 1013904223u;
    return static_cast<int>((state >> 8) % static_cast<std::uint32_t>(n));
  };
  for (int graph = 0; graph < 25; ++graph) {
    const int features = 1 + draw(9);
    std::string layers = input("x", "[null, " + std::to_string(features) + "]"), last = "x", outputs = R"("x")";
    int width = features, depth = 2 + draw(5);
    for (int i = 0; i < depth; ++i) {
      const std::string name = "n" + std::to_string(i), from = '"' + last + '"';
      const int units = 1 + draw(20);
      const std::string of_units = R"("units": )" + std::to_string(units);
      switch (draw(7)) {
        case 0:
          layers += ", " + layer("LSTM", name, from, of_units + ", " + kSequence), width = units;
          break;
        case 1:
          layers += ", " + layer("GRU", name, from, of_units + ", " + kSequence), width = units;
          break;
        case 2:
          layers += ", " + layer("GRU", name, from, of_units + R"(, "reset_after": false, )" + kSequence), width = units;
          break;
        case 3:
          layers += ", " + layer("Dense", name, from, of_units + R"(, "activation": "elu")"), width = units;
          break;
        case 4:
          layers += ", " + layer("LayerNormalization", name, from, "");
          break;
        case 5:
          layers += ", " + layer("Concatenate", name, from + R"(, "x")", ""), width += features;
          break;
        default:
          layers += ", " + layer("Multiply", name, from + ", " + from, "");
      }
      last = name;
      if (draw(3) == 0) outputs += ", \"" + name + '"';
    }
    const Model model = random_model(
        spec(layers + ", " + layer("SimpleRNN", "end", '"' + last + '"', R"("units": 3)"), R"("x")", outputs + R"(, "end")"));
    check_steps(model, 1);
    check_steps(model, 4);
  }
}

TEST_CASE("stream: causal convolutions keep the steps before") {
  for (const std::string options :
       {R"("filters": 5, "kernel_size": 3, "padding": "causal", "dilation_rate": 2)",
        R"("filters": 14, "kernel_size": 3, "padding": "causal", "groups": 7, "activation": "tanh")",
        R"("filters": 33, "kernel_size": 2, "padding": "causal", "use_bias": false)",
        R"("filters": 5, "kernel_size": 1, "activation": "softmax")", R"("filters": 3, "kernel_size": 1, "padding": "same")"})
    check_stream(between(layer("Conv1D", "y", R"("x")", options), "y"));
  check_stream(
      between(layer("DepthwiseConv1D", "y", R"("x")", R"("kernel_size": 4, "padding": "causal", "depth_multiplier": 3)"), "y"));
  check_stream(between(layer("Conv1D", "c", R"("x")", R"("filters": 4, "kernel_size": 3, "padding": "causal")") + ", " +
                           layer("LSTM", "y", R"("c")", R"("units": 3)"),
                       "y"));
  const std::string own = R"("activation": {"name": "own", "equations": {"inputs": ["x"], "nodes": [["max", 0], ["subtract", 0, 1],
    ["sin", 0], ["multiply", 2, 3]], "outputs": [4]}})";
  check_stream(between(layer("Conv1D", "y", R"("x")", R"("filters": 17, "kernel_size": 2, "padding": "causal", )" + own), "y"));
  check_stream(between(
      layer("Slice", "s", R"("x")", R"("stop": 1)") + ", " + layer("DepthwiseConv1D", "y", R"("s")", R"("kernel_size": 1, )" + own),
      "y"));
}

TEST_CASE("stream: images, step by step") {
  const std::string films = input("x", "[null, 9, 7, 3]") + ", ", rows = input("x", "[null, 70, 2]") + ", ";
  const std::string each = R"("return_sequences": true, "filters": )";
  check_stream(
      spec(rows + layer("ConvLSTM1D", "y", R"("x")", each + R"(5, "kernel_size": 4, "padding": "same")"), R"("x")", R"("y")"));
  check_stream(spec(films + layer("ConvLSTM2D", "a", R"("x")", each + R"(17, "kernel_size": [3, 2], "activation": "relu")") + ", " +
                        layer("BatchNormalization", "b", R"("a")", "") + ", " + layer("Dense", "c", R"("b")", R"("units": 4)") +
                        ", " + layer("Add", "d", R"("c", "c")", "") + ", " +
                        layer("Activation", "e", R"("d")", R"("activation": "softmax")") + ", " +
                        layer("ConvLSTM2D", "y", R"("e")", each + R"(2, "kernel_size": 3, "strides": 2, "use_bias": false)"),
                    R"("x")", R"("y")"));
}

TEST_CASE("stream: images that a mask leaves out leave the states alone") {
  const std::string few = input("x", "[null, 2, 1]") + ", " + layer("Activation", "some", R"("x")", R"("activation": "relu")") +
                          ", " + layer("Masking", "there", R"("some")", "") + ", ";
  for (const char* zeros : {"false", "true"})
    check_stream(spec(few + layer("ConvLSTM1D", "y", R"("there")",
                                  std::string(R"("filters": 3, "kernel_size": 2, "padding": "same", "return_sequences": true, )") +
                                      R"("zero_output_for_mask": )" + zeros),
                      R"("x")", R"("y")"));
}

TEST_CASE("stream: what takes a row of features refuses an image by name") {
  const Model model = random_model(
      spec(input("x", "[null, 4, 3]") + ", " + layer("PReLU", "y", R"("x")", R"("shared_axes": [1])"), R"("x")", R"("y")"));
  CHECK_THROWS_WITH_AS(Stream(model, {.batch = 1}),
                       doctest::Contains("PReLU 'y': cannot go one step at a time: its rows have further axes"), Error);
}
