// Streams of models with masks: a row without the step at hand keeps its states and has what the whole sequence has there.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "cell_programs.hpp"
#include "stream_helpers.hpp"

using namespace rekur;
using namespace rekur::test;

namespace {

constexpr Index kSteps = 12;

// Rows with holes at the beginning, within and at the end; with a hole at the end alone; with no step at all; with every step.
Sequences with_holes(const Model& model, Index batch) {
  const std::vector<std::vector<Index>> holes{{0, 1, 4, 5, 6, 10, 11}, {2, 9, 10, 11}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {}};
  Sequences data(model, batch, kSteps);
  const Index n = static_cast<Index>(data.values(0).size()) / (batch * kSteps);
  for (Index b = 0; b < batch; ++b)
    for (const Index t : holes[static_cast<std::size_t>(b % 4)])
      std::fill_n(data.values(0).begin() + (b * kSteps + t) * n, n, 0.0f);
  return data;
}

// On every instruction set, rows of one batch and rows by themselves.
void check_masked(const std::string& spec_json, const InitialStates& initial = {}) {
  const std::string before = current_isa();
  const Model model = random_model(spec_json);
  for (const std::string& isa : available_isas()) {
    set_isa(isa);
    for (const Index batch : {1, 3, 5}) check_steps_of(model, with_holes(model, batch), batch, initial, kSteps);
  }
  set_isa(before);
}

// Layers behind a mask of a sequence of so many features.
std::string behind_mask(Index features, const std::string& layers, const std::string& outputs = R"("y")") {
  return spec(
      input("x", "[null, " + std::to_string(features) + "]") + ", " + layer("Masking", "there", R"("x")", "") + ", " + layers,
      R"("x")", outputs);
}

std::string units(Index n, const std::string& more = "") {
  return R"("units": )" + std::to_string(n) + (more.empty() ? "" : ", " + more);
}

const std::string kResidual = R"("residual": true)";
const std::string kZeros = R"("zero_output_for_mask": true)", kLearned = R"("learn_initial_state": true)",
                  kEach = R"("return_sequences": true)", kStates = R"("return_state": true)";

}  // namespace

TEST_CASE("stream: a mask and every recurrent layer, with a residual connection and without") {
  const std::vector<std::pair<std::string, std::string>> layers{{"SimpleRNN", ""},
                                                                {"LSTM", ""},
                                                                {"GRU", ""},
                                                                {"GRU", R"("reset_after": false, )"},
                                                                {"RNN", R"("cell": )" + kLstmProgram + ", "},
                                                                {"RNN", R"("cell": )" + kGruProgram + ", "}};
  const std::vector<std::string> around{"", ", " + kZeros, ", " + kLearned, ", " + kZeros + ", " + kLearned};
  for (const auto& [type, options] : layers)
    for (const std::string& more : around)
      for (const char* residual : {"true", "false"})
        for (const char* sequences : {"true", "false"}) {
          const std::string all = options + "\"residual\": " + residual + ", \"return_sequences\": " + sequences + more;
          check_masked(behind_mask(3, layer(type, "y", R"("there")", units(3, all))));
        }
  for (const auto& [type, options] : layers)  // wider than a vector
    check_masked(behind_mask(19, layer(type, "y", R"("there")", units(19, options + kResidual))));
}

TEST_CASE("stream: masks and residual connections of last outputs among other layers") {
  check_masked(behind_mask(3, layer("LSTM", "y", R"("there")", units(8, R"("projection_size": 3, )" + kResidual))));
  check_masked(
      behind_mask(3, layer("LSTM", "y", R"("there")", units(3, kResidual + ", " + kStates)), R"("y", "y:1", "y:2", "there")"));
  // One behind the other, and through layers that leave the mask as it is.
  check_masked(behind_mask(3,
                           layer("GRU", "a", R"("there")", units(3, kResidual + ", " + kEach)) + ", " +
                               layer("SimpleRNN", "b", R"("a")", units(3, kResidual + ", " + kEach + ", " + kZeros)) + ", " +
                               layer("LSTM", "c", R"("b")", units(3, kResidual)) + ", " +
                               layer("GRU", "d", R"("b")", units(3, kResidual + ", " + kZeros)) + ", " +
                               layer("Concatenate", "y", R"("c", "d")", ""),
                           R"("y", "c", "a")"));
  check_masked(behind_mask(2, layer("Dense", "a", R"("there")", units(5, R"("activation": "tanh")")) + ", " +
                                  layer("Dropout", "b", R"("a")", R"("rate": 0.5)") + ", " +
                                  layer("LSTM", "c", R"("b")", units(5, kResidual)) + ", " +
                                  layer("Dense", "y", R"("c")", units(2))));
  // Of two masks, and of ids.
  check_masked(behind_mask(3, layer("Activation", "positive", R"("x")", R"("activation": "relu")") + ", " +
                                  layer("Masking", "own", R"("positive")", "") + ", " +
                                  layer("Add", "both", R"("there", "own")", "") + ", " +
                                  layer("GRU", "y", R"("both")", units(3, kResidual))));
  check_stream(spec(input("ids", "[null]", "int32") + ", " +
                        layer("Embedding", "e", R"("ids")", R"("input_dim": 5, "output_dim": 4, "mask_zero": true)") + ", " +
                        layer("SimpleRNN", "y", R"("e")", units(4, kResidual)),
                    R"("ids")", R"("y")"));
  // A state that is given, which is the output until there is a step.
  check_masked(spec(input("x", "[null, 3]") + ", " + input("h", "[3]") + ", " + layer("Masking", "there", R"("x")", "") + ", " +
                        layer("GRU", "y", R"("there", "h")", units(3, kResidual)),
                    R"("x", "h")", R"("y")"),
               {{"y/h", "h"}});
}

TEST_CASE("stream: last outputs of layers whose state is a matrix, at steps that a mask leaves out") {
  check_masked(behind_mask(3, layer("GatedLinearAttention", "y", R"("there")", R"("num_heads": 2, "key_dim": 3)")));
  check_masked(behind_mask(3, layer("MLSTM", "y", R"("there")", R"("num_heads": 1, "key_dim": 3, "return_sequences": true)")));
  check_masked(behind_mask(3, layer("SelectiveSSM", "y", R"("there")", R"("state_size": 2)")));
}

TEST_CASE("stream: nothing is added before the first step that there is, not even to -0") {
  Model model = random_model(behind_mask(3, layer("GRU", "y", R"("there")", units(3, kResidual + ", " + kLearned))));
  std::vector<float> weights(model.weights().begin(), model.weights().end());
  for (const ParameterInfo& info : model.parameters())
    if (info.name == "y/initial_h") std::fill_n(weights.begin() + info.offset, 3, -0.0f);
  model.set_weights(weights);
  const Sequences data = with_holes(model, 1);
  CHECK(std::signbit(model.predict(data.first(1).batch())[0].data[0]));
  Stream stream(model);
  const std::vector<float> y = step(stream, data, 0)[0];
  CHECK(std::all_of(y.begin(), y.end(), [](float h) { return std::signbit(h); }));
}

TEST_CASE("stream: a reset, and states that go out and come back, within a hole") {
  for (const std::string& more : {std::string(), ", " + kZeros, ", " + kLearned}) {
    const Model model = random_model(behind_mask(3, layer("LSTM", "y", R"("there")", units(3, kResidual + more))));
    const Sequences data = with_holes(model, 3);
    const auto run = [&](Stream& stream, Index begin, Index end) {
      std::vector<float> y;
      for (Index t = begin; t < end; ++t) {
        const std::vector<float> one = step(stream, data, t)[0];
        y.insert(y.end(), one.begin(), one.end());
      }
      return y;
    };
    Stream stream(model, {.batch = 3}), fresh(model, {.batch = 3}), other(model, {.batch = 3});
    REQUIRE(stream.states().size() == 3);
    CHECK(stream.states()[2].name == "y/input");
    CHECK(stream.states()[2].shape == Shape{3, 3});
    run(stream, 0, 6);
    run(other, 0, 3);  // an odd number of steps: its states stand in the other place
    REQUIRE(other.set_state(state_of(stream)));
    const std::vector<float> going_on = run(stream, 6, kSteps);
    CHECK(same(run(other, 6, kSteps), going_on));

    stream.reset();
    const std::vector<float> anew = run(fresh, 6, kSteps);
    CHECK(same(run(stream, 6, kSteps), anew));
    // Row 0, whose hole it is, alone begins anew.
    stream.reset();
    run(stream, 0, 6);
    CHECK(stream.reset(0));
    const std::vector<float> some = run(stream, 6, kSteps);
    for (std::size_t i = 0; i < some.size(); ++i) CHECK(some[i] == (i % 9 < 3 ? anew : going_on)[i]);
    CHECK(some != going_on);
  }
}
