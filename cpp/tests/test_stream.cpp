// Streams: states, rows, weights, refusals, life. That their numbers are predict's: test_stream_layers.cpp.
#include "rekur/stream.hpp"

#include <atomic>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "graph/graph.hpp"
#include "graph/program.hpp"
#include "rekur/detail/float_mode.hpp"
#include "stream_helpers.hpp"

using namespace rekur;
using namespace rekur::test;

namespace {

// LSTM and GRU over 3 features, and a head of 2.
const std::string kStack =
    spec(input("x", "[null, 3]") + ", " + layer("LSTM", "l", R"("x")", R"("units": 9, "return_sequences": true)") + ", " +
             layer("GRU", "g", R"("l")", R"("units": 5)") + ", " + layer("Dense", "d", R"("g")", R"("units": 2)"),
         R"("x")", R"("d")");

using Steps = std::vector<std::vector<float>>;  // one output's values at every step

Steps run(Stream& stream, const Sequences& data, Index begin, Index end) {
  Steps y;
  for (Index t = begin; t < end; ++t) y.push_back(step(stream, data, t)[0]);
  return y;
}

bool same(const Steps& a, const Steps& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t t = 0; t < a.size(); ++t)
    if (!test::same(a[t], b[t])) return false;
  return true;
}

std::string refusal(const std::string& spec_json) {
  const Model model(spec_json);
  return message_of([&] { const Stream stream(model); });
}

std::string with_layer(const std::string& layers, const std::string& output) {
  return spec(input("x", "[null, 3]") + ", " + layers, R"("x")", '"' + output + '"');
}

}  // namespace

TEST_CASE("stream: after reset a sequence begins anew, of all rows or of one") {
  const Model model = random_model(kStack);
  for (const Index batch : {1, 3}) {
    const Sequences data(model, batch, 8);
    Stream stream(model, {.batch = batch});
    const Steps first = run(stream, data, 0, 7);  // odd: the states stand in the other place
    stream.reset();
    CHECK(same(run(stream, data, 0, 7), first));
    CHECK_FALSE(stream.reset(-1));
    CHECK_FALSE(stream.reset(batch));
  }
  // Row 1 begins anew at step 3; the others go on.
  const Sequences data(model, 3, 8);
  Stream stream(model, {.batch = 3}), alone(model, {.batch = 3});
  run(stream, data, 0, 3);
  CHECK(stream.reset(1));
  const Steps after = run(stream, data, 3, 8), anew = run(alone, data, 3, 8);
  Stream whole(model, {.batch = 3});
  run(whole, data, 0, 3);
  const Steps going_on = run(whole, data, 3, 8);
  for (std::size_t t = 0; t < after.size(); ++t)
    for (std::size_t i = 0; i < 2; ++i) {
      CHECK(after[t][i] == going_on[t][i]);
      CHECK(after[t][2 + i] == anew[t][2 + i]);
      CHECK(after[t][4 + i] == going_on[t][4 + i]);
    }
}

TEST_CASE("stream: a block is its steps one by one, whatever its length, and the steps after it go on from it") {
  const std::string before = current_isa();
  // Outputs that are an input, that another output is too, and states at every step.
  const std::string many = spec(input("x", "[null, 9]") + ", " +
                                    layer("LSTM", "l", R"("x")", R"("units": 9, "return_sequences": true, "residual": true)") +
                                    ", " + layer("GRU", "g", R"("l")", R"("units": 70, "return_state": true)") + ", " +
                                    layer("Dense", "d", R"("g")", R"("units": 2)"),
                                R"("x")", R"("x", "d", "g:1", "d", "l")");
  for (const std::string& isa : available_isas()) {
    set_isa(isa);
    for (const std::string& json : {kStack, many}) {
      const Model model = random_model(json);
      for (const Index batch : {1, 2}) {
        const Sequences data(model, batch, 80);
        Stream stream(model, {.batch = batch}), blocks(model, {.batch = batch});
        Index t = 0;
        for (const Index count : {1, 70, 2, 7}) {  // more than a block inside, and odd numbers of steps
          std::vector<std::vector<float>> expected(stream.outputs().size());
          for (Index i = 0; i < count; ++i) {
            const auto y = step(stream, data, t + i);
            for (std::size_t k = 0; k < y.size(); ++k) expected[k].insert(expected[k].end(), y[k].begin(), y[k].end());
          }
          const auto y = process(blocks, data, t, t + count);
          for (std::size_t k = 0; k < y.size(); ++k) CHECK(test::same(y[k], expected[k]));
          CHECK(test::same(state_of(blocks), state_of(stream)));
          t += count;
        }
      }
    }
  }
  set_isa(before);
  // One input and one output by plain pointers; what step refuses is refused.
  const Model model = random_model(kStack);
  Stream stream(model), blocks(model), two(random_model(many));
  std::vector<float> x(30), y(20), z(20);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i));
  for (std::size_t i = 0; i < 10; ++i) stream.step(x.data() + 3 * i, y.data() + 2 * i);
  CHECK(blocks.process(x.data(), z.data(), 10));
  CHECK(test::same(z, y));
  CHECK(blocks.process(x.data(), z.data(), 0));  // nothing
  CHECK(test::same(state_of(blocks), state_of(stream)));
  CHECK_FALSE(blocks.process(x.data(), z.data(), -1));
  CHECK_FALSE(blocks.process(nullptr, z.data(), 1));
  CHECK_FALSE(blocks.process(x.data(), nullptr, 1));
  CHECK_FALSE(two.process(x.data(), z.data(), 1));
  const void* const none[] = {nullptr};
  float* const out[] = {z.data()};
  CHECK_FALSE(blocks.process(none, out, 1));
  CHECK_FALSE(blocks.process({}, out, 1));
  const Stream taken = std::move(blocks);
  CHECK_FALSE(blocks.process(x.data(), z.data(), 1));  // NOLINT: moved from
}

// One input of floats and one output go their own way (Stream::step of two pointers), cells of few units by narrower vectors, and
// what lies between layers is written in whole vectors: nothing of that may show, nor touch what is behind the caller's output.
TEST_CASE("stream: one input and one output, cells of every small size, with a head and without") {
  const std::string before = current_isa();
  for (const std::string& isa : available_isas()) {
    set_isa(isa);
    for (const char* type : {"SimpleRNN", "LSTM", "GRU"})
      for (const Index H : {1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 65})
        for (const Index head : {0, 1, 3}) {
          const std::string cell =
              layer(type, "rnn", R"("x")", R"("units": )" + std::to_string(H) + R"(, "return_sequences": true)");
          const std::string dense = ", " + layer("Dense", "head", R"("rnn")", R"("units": )" + std::to_string(head));
          const std::string skip = ", " + layer("Add", "y", R"("x", "head")", "");
          const std::string all = cell + (head > 0 ? dense : "") + (head == 1 ? skip : "");
          const std::string output = head == 0 ? R"("rnn")" : head == 1 ? R"("y")" : R"("head")";
          const Model model = random_model(spec(input("x", "[null, 1]") + ", " + all, R"("x")", output));
          const Index units = head == 0 ? H : head, steps = 6;
          const std::vector<float> x = numbers(steps, 4);
          std::vector<float> expected(static_cast<std::size_t>(steps * units));
          Batch batch;
          batch.inputs.push_back({x.data(), {1, steps, 1}});
          const View view{expected.data(), {1, steps, units}};
          model.predict(batch, {&view, 1});
          Stream stream(model), blocks(model);
          std::vector<float> y(static_cast<std::size_t>(steps * units + 16), 7.0f), z = y;
          for (Index t = 0; t < steps; ++t) {
            REQUIRE(stream.step(x.data() + t, y.data() + t * units));
            REQUIRE(y[static_cast<std::size_t>((t + 1) * units)] == 7.0f);
          }
          REQUIRE(blocks.process(x.data(), z.data(), steps));
          CAPTURE(isa);
          CAPTURE(type);
          CAPTURE(H);
          CAPTURE(head);
          CHECK(std::equal(expected.begin(), expected.end(), y.begin()));
          CHECK(std::all_of(y.begin() + steps * units, y.end(), [](float behind) { return behind == 7.0f; }));
          CHECK(y == z);
        }
  }
  set_isa(before);
}

TEST_CASE("stream: two numbers are added, multiplied, subtracted and divided as rows of them are") {
  for (const char* type : {"Add", "Multiply", "Subtract", "Divide"}) {
    const std::string joined = layer(type, "y", R"("a", "b")", "");
    const Model model(spec(input("a", "[null, 1]") + ", " + input("b", "[null, 1]") + ", " + joined, R"("a", "b")", R"("y")"));
    check_steps(model, 1);
    check_steps(model, 3);
  }
}

TEST_CASE("stream: states go out and come back") {
  const Model model = random_model(kStack);
  for (const Index batch : {1, 2, 5}) {
    const Sequences data(model, batch, 9);
    Stream stream(model, {.batch = batch}), other(model, {.batch = batch});
    REQUIRE(stream.state_size() == static_cast<std::size_t>(batch * (9 + 9 + 5)));
    for (const Index steps : {4, 1}) {  // from either of the two places
      run(stream, data, 0, steps);
      std::vector<float> state(stream.state_size());
      CHECK(stream.get_state(state));
      CHECK(other.set_state(state));
      std::vector<float> back(state.size());
      CHECK(other.get_state(back));
      CHECK(test::same(back, state));
      CHECK(same(run(other, data, 5, 9), run(stream, data, 5, 9)));
      CHECK_FALSE(stream.get_state(std::span(state).subspan(1)));
      CHECK_FALSE(stream.set_state(std::span<const float>(state).first(1)));
      CHECK_FALSE(stream.set_state({}));
    }
    stream.reset();
    std::vector<float> zeros(stream.state_size(), 1.0f);
    CHECK(stream.get_state(zeros));
    CHECK(test::same(zeros, std::vector<float>(zeros.size(), 0.0f)));
  }
  // The state itself: h of the LSTM is its output.
  const Model one = random_model(with_layer(layer("LSTM", "l", R"("x")", R"("units": 4)"), "l"));
  const Sequences data(one, 2, 3);
  Stream stream(one, {.batch = 2});
  const Steps y = run(stream, data, 0, 3);
  std::vector<float> state(stream.state_size());
  stream.get_state(state);
  CHECK(test::same({state.begin(), state.begin() + 8}, y[2]));
}

TEST_CASE("stream: a NaN stays in its row, and leaves it with a reset") {
  const std::string before = current_isa();
  const Model model = random_model(kStack);
  for (const std::string& isa : available_isas()) {
    set_isa(isa);
    Sequences data(model, 3, 6);
    Stream clean(model, {.batch = 3});
    const Steps expected = run(clean, data, 0, 6);
    data.values(0)[static_cast<std::size_t>((1 * 6 + 2) * 3)] = std::numeric_limits<float>::quiet_NaN();  // row 1, step 2
    Stream stream(model, {.batch = 3});
    Steps y = run(stream, data, 0, 6);
    for (std::size_t t = 0; t < 6; ++t) {
      for (const std::size_t i : {0u, 1u, 4u, 5u}) CHECK(y[t][i] == expected[t][i]);
      for (const std::size_t i : {2u, 3u}) CHECK(std::isnan(y[t][i]) == (t >= 2));
    }
    stream.reset(1);
    y = run(stream, data, 3, 6);
    for (const auto& values : y)
      for (const float value : values) CHECK_FALSE(std::isnan(value));
    Stream single(model);
    const float x[3] = {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN(), 0};
    float out[2] = {};
    single.step(x, out);
    CHECK(std::isnan(out[0]));
  }
  set_isa(before);
}

TEST_CASE("stream: an id out of range gives NaN") {
  const Model model = random_model(
      spec(input("ids", "[null]", "int32") + ", " + layer("Embedding", "e", R"("ids")", R"("input_dim": 5, "output_dim": 3)"),
           R"("ids")", R"("e")"));
  Stream stream(model, {.batch = 4});
  CHECK(stream.inputs()[0].dtype == DType::int32);
  CHECK(stream.inputs()[0].shape == Shape{4});
  const std::int32_t ids[] = {4, 5, -1, std::numeric_limits<std::int32_t>::min()};
  const void* x = ids;
  float y[12];
  float* out = y;
  REQUIRE(stream.step(std::span(&x, 1), std::span(&out, 1)));
  for (int i = 0; i < 3; ++i) CHECK(y[i] == model.weights()[static_cast<std::size_t>(12 + i)]);
  for (int i = 3; i < 12; ++i) CHECK(std::isnan(y[i]));
  CHECK_FALSE(stream.step(y, y));  // floats are no ids
}

TEST_CASE("stream: what cannot go one step at a time is refused, with the layer and the reason") {
  contains(
      refusal(with_layer(R"({"type": "Bidirectional", "name": "b", "inputs": ["x"], "layer": {"type": "GRU", "units": 2}})", "b")),
      "Bidirectional 'b': cannot go one step at a time: it begins at the end of the sequence");
  contains(refusal(with_layer(layer("LSTM", "l", R"("x")", R"("units": 2, "reverse": true)"), "l")),
           "LSTM 'l': cannot go one step at a time: it begins at the end of the sequence");
  contains(refusal(with_layer(layer("Flip", "f", R"("x")", ""), "f")),
           "Flip 'f': cannot go one step at a time: it begins at the end of the sequence");
  for (const char* index : {"0", "-2", "3"})
    contains(refusal(with_layer(layer("Step", "s", R"("x")", R"("index": )" + std::string(index)), "s")),
             "Step 's': cannot go one step at a time: step " + std::string(index) + " ");
  contains(refusal(spec(input("x", "[null, 3]") + ", " + input("z", "[3]") + ", " + layer("Dense", "d", R"("z")", R"("units": 2)") +
                            ", " + layer("GRU", "g", R"("x", "d")", R"("units": 2)"),
                        R"("x", "z")", R"("g")")),
           "GRU 'g': cannot go one step at a time: its initial state is computed by Dense 'd'");
  contains(refusal(spec(input("x", "[3]") + ", " + layer("Dense", "d", R"("x")", R"("units": 2)"), R"("x")", R"("d")")),
           "model: cannot go one step at a time: none of its inputs has a time axis");
  contains(refusal(spec(input("x", "[4, 3]") + ", " + input("z", "[5, 3]") + ", " + layer("LSTM", "l", R"("x")", R"("units": 2)") +
                            ", " + layer("LSTM", "m", R"("z")", R"("units": 2)"),
                        R"("x", "z")", R"("l", "m")")),
           "Input 'z': cannot go one step at a time: all inputs step together, but this one has 5 time steps and another 4");
  for (const auto& [options, reason] : std::vector<std::pair<std::string, std::string>>{
           {"", "steps that are still to come count; use_causal_mask=True leaves them out"},
           {R"("use_causal_mask": true)", "sliding_window= says how many"},
           {R"("use_causal_mask": true, "sliding_window": 8388353)", "it keeps at most 8388352 steps, got sliding_window 8388353"},
           {R"("use_causal_mask": true, "sliding_window": 3, "return_attention_scores": true)", "return_attention_scores gives"}})
    contains(refusal(with_layer(layer("Attention", "a", R"("x", "x")", options), "a")), reason);
  contains(refusal(spec(input("x", "[null, 3]") + ", " + input("z", "[null, 3]") + ", " +
                            layer("MultiHeadAttention", "m", R"("x", "z")", R"("num_heads": 2, "key_dim": 2)"),
                        R"("x", "z")", R"("m")")),
           "MultiHeadAttention 'm': cannot go one step at a time: its values are another sequence than its queries");
  for (const auto& [type, options, reason] : std::vector<std::tuple<std::string, std::string, std::string>>{
           {"Conv1D", R"("filters": 2, "kernel_size": 3)", "its first step needs 3 of its input; padding=\"causal\""},
           {"Conv1D", R"("filters": 2, "kernel_size": 3, "padding": "same")", "steps that are still to come count"},
           {"Conv1D", R"("filters": 2, "kernel_size": 3, "padding": "causal", "strides": 2)", "2 steps of its input for one"},
           {"Conv1DTranspose", R"("filters": 2, "kernel_size": 3)", "a step of its input is several of its output"},
           {"MaxPooling1D", R"("pool_size": 3)", "3 steps of its input for one"},
           {"GlobalMaxPooling1D", "", "it is of all steps"},
           {"UpSampling1D", "", "other steps than its input"},
           {"Reshape", R"("target_shape": [-1, 1])", "it needs all steps"}})
    contains(refusal(with_layer(layer(type, "a", R"("x")", options), "a")), reason);
  // What nothing depends on is not looked at.
  CHECK(refusal(with_layer(
            layer("LSTM", "l", R"("x")", R"("units": 2, "reverse": true)") + ", " + layer("Dense", "d", R"("x")", R"("units": 2)"),
            "d")) == "");
  const Model model(kStack);
  for (const Index batch : {Index{0}, Index{-1}})
    contains(message_of([&] { const Stream stream(model, {.batch = batch}); }),
             "batch of at least 1, got " + std::to_string(batch));
  for (const Index batch : {std::numeric_limits<Index>::max(), Index{1} << 58})
    CHECK_THROWS_WITH_AS(Stream(model, {.batch = batch}),
                         doctest::Contains(("stream of " + std::to_string(batch) + " rows").c_str()), OutOfMemory);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they end the program instead
  contains(message_of([&] { const Stream stream(model, {.batch = Index{1} << 45}); }), "not enough memory");
#endif
}

TEST_CASE("stream: a step of other arrays than the stream has does nothing") {
  const Model model = random_model(kStack);
  Stream stream(model);
  float x[3] = {1, 2, 3}, y[2] = {777, 777};
  const void* in[] = {x, x};
  float* out[] = {y, y};
  CHECK_FALSE(stream.step(in, std::span(out, 1)));
  CHECK_FALSE(stream.step(std::span(in, 1), out));
  CHECK_FALSE(stream.step(std::span<const void* const>(), std::span<float* const>()));
  CHECK(y[0] == 777);
  const Model two =
      random_model(spec(input("x", "[null, 3]") + ", " + layer("Dense", "d", R"("x")", R"("units": 2)"), R"("x")", R"("d", "x")"));
  Stream both(two);
  CHECK_FALSE(both.step(x, y));
  float to[2] = {777, 777};
  const void* from[] = {nullptr};
  float* into[] = {to, nullptr};
  CHECK_FALSE(both.step(from, into));
  from[0] = x;
  CHECK_FALSE(both.step(from, into));
  CHECK(to[0] == 777);
  Stream one(model);
  CHECK_FALSE(one.step(nullptr, to));
  CHECK_FALSE(one.step(x, nullptr));
  CHECK(to[0] == 777);
}

TEST_CASE("stream: moved from and moved to") {
  const Model model = random_model(kStack);
  const Sequences data(model, 1, 6);
  Stream first(model), reference(model);
  run(first, data, 0, 3);
  run(reference, data, 0, 3);
  Stream second(std::move(first));
  const Steps expected = run(reference, data, 3, 6);
  CHECK(same(run(second, data, 3, 6), expected));
  float x[3] = {}, y[2] = {};
  CHECK_FALSE(first.step(x, y));
  CHECK_FALSE(first.step(std::span<const void* const>(), std::span<float* const>()));
  first.reset();
  CHECK_FALSE(first.reset(0));
  CHECK(first.state_size() == 0);
  CHECK(first.inputs().empty());
  CHECK(first.outputs().empty());
  CHECK(first.states().empty());
  CHECK_FALSE(first.get_state({}));
  CHECK_FALSE(first.set_state({}));
  first = Stream(model, {.batch = 2});
  CHECK(first.inputs()[0].shape[0] == 2);
  second = std::move(first);
  CHECK(second.inputs()[0].shape[0] == 2);
  Model gone = random_model(kStack);
  const Model here = std::move(gone);
  contains(message_of([&] { const Stream stream(gone); }), "moved from");
}

TEST_CASE("stream: the weights it was made with stay its own, whatever becomes of the model") {
  std::optional<Model> model(random_model(kStack));
  const Sequences data(*model, 2, 6);
  Stream reference(*model, {.batch = 2}), stream(*model, {.batch = 2}), other(*model, {.batch = 2});
  const Steps expected = run(reference, data, 0, 6);
  model->set_weights(std::vector<float>(model->weights().size(), 0.25f));
  CHECK(same(run(stream, data, 0, 6), expected));
  Stream changed(*model, {.batch = 2});
  CHECK_FALSE(same(run(changed, data, 0, 6), expected));
  model.reset();
  CHECK(same(run(other, data, 0, 6), expected));
}

TEST_CASE("stream: streams of the same weights share them") {
  graph::Graph graph(kStack);
  auto one = graph.program(true);
  CHECK(graph.program(true) == one);
  const auto rows = graph.program(false);
  CHECK(rows != one);
  CHECK(graph.program(false) == rows);
  std::vector<float> weights(graph.weights().begin(), graph.weights().end());
  weights[0] = 1;
  graph.set_weights(weights);
  const auto after = graph.program(true);
  CHECK(after != one);
  const std::weak_ptr<const graph::Program> held = one;
  one.reset();
  CHECK(held.expired());  // nobody keeps what no stream uses
  const std::string before = current_isa();
  set_isa(available_isas().front());
  if (available_isas().size() > 1 && before != current_isa()) CHECK(graph.program(true) != after);
  set_isa(before);
}

TEST_CASE("stream: keeps the instruction set it was made for") {
  const std::string before = current_isa();
  const Model model = random_model(kStack);
  const Sequences data(model, 1, 6), rows(model, 3, 6);
  for (const std::string& isa : available_isas()) {
    set_isa(isa);
    Stream reference(model), stream(model), reference3(model, {.batch = 3}), stream3(model, {.batch = 3});
    const Steps expected = run(reference, data, 0, 6), expected3 = run(reference3, rows, 0, 6);
    for (const std::string& other : available_isas()) {
      set_isa(other);
      stream.reset();
      stream3.reset();
      CHECK(same(run(stream, data, 0, 6), expected));
      CHECK(same(run(stream3, rows, 0, 6), expected3));
    }
  }
  set_isa(before);
}

TEST_CASE("stream: many at once, and a model that changes meanwhile") {
  Model model = random_model(kStack);
  const Sequences data(model, 1, 30);
  Stream reference(model);
  const Steps expected = run(reference, data, 0, 30);
  const std::vector<float> weights(model.weights().begin(), model.weights().end());
  std::vector<Stream> streams;
  for (int i = 0; i < 4; ++i) streams.emplace_back(model);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (Stream& own : streams)
    threads.emplace_back([&] {
      for (int round = 0; round < 5; ++round) {
        own.reset();
        for (Index t = 0; t < 30; ++t) {
          float y[2];
          own.step(data.step("x", t).floats.data(), y);
          if (y[0] != expected[static_cast<std::size_t>(t)][0]) ++wrong;
        }
        Stream fresh(model);  // of whichever weights
        float y[2];
        fresh.step(data.step("x", 0).floats.data(), y);
        if (y[0] != expected[0][0] && y[0] != 0.25f) ++wrong;
      }
    });
  std::vector<float> other(weights.size(), 0.0f);
  for (const ParameterInfo& info : model.parameters())
    if (info.name == "d/bias") other[static_cast<std::size_t>(info.offset)] = 0.25f;
  for (int i = 0; i < 20; ++i) model.set_weights(i % 2 == 0 ? other : weights);
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("stream: denormals are flushed inside, and the caller's mode comes back") {
  // h' = h / 2: without flushing it ends among the denormals.
  Model model(spec(input("x", "[null, 1]") + ", " + layer("SimpleRNN", "r", R"("x")", R"("units": 1, "activation": "linear")"),
                   R"("x")", R"("r")"));
  model.set_weights(std::vector<float>{1.0f, 0.5f, 0.0f});
  const std::string before = current_isa();
  for (const std::string& isa : available_isas()) {
    set_isa(isa);
    for (const Index batch : {1, 2}) {
      const detail::FloatMode mode = detail::float_mode();
      Stream stream(model, {.batch = batch});
      float x[2] = {1, 1}, y[2];
      stream.step(x, y);
      x[0] = x[1] = 0;
      for (int t = 0; t < 126; ++t) stream.step(x, y);
      CHECK(y[0] == std::numeric_limits<float>::min());
      for (const bool flushing : {false, true}) {
        if (flushing) detail::set_float_mode(mode | detail::kFlushBits);
        const detail::FloatMode given = detail::float_mode();
        stream.step(x, y);
        CHECK((detail::float_mode() & detail::kFlushBits) == (given & detail::kFlushBits));
        if (detail::kFlushBits != 0) CHECK(y[0] == 0.0f);
      }
      detail::set_float_mode(mode);
    }
  }
  set_isa(before);
}
