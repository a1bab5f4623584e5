// Cells of one's own: programs beside the compiled cells that they write out, their gradients, and specs that say nothing sensible.
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cell_programs.hpp"
#include "each_isa.hpp"
#include "layers/recurrent_settings.hpp"
#include "recurrent/recurrence.hpp"
#include "stream_helpers.hpp"

using namespace rekur;
using namespace rekur::test;

namespace {

std::string of_type(const std::string& type, Index I, Index H, const std::string& options) {
  return spec(input("x", "[null, " + std::to_string(I) + "]") + ", " +
                  layer(type, "rnn", R"("x")", R"("units": )" + std::to_string(H) + options),
              R"("x")", R"("rnn")");
}

std::string program(const std::string& cell, Index I, Index H, const std::string& options = R"(, "return_sequences": true)") {
  return of_type("RNN", I, H, R"(, "cell": )" + cell + options);
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

// What is said of a cell.
std::string refusal(const std::string& cell) {
  return message_of([&] { const Model model(program(cell, 3, 4)); });
}

}  // namespace

TEST_CASE("programs: the compiled cells written out give their bits") {
  const std::string sequences = R"(, "return_sequences": true)";
  const std::vector<std::string> cells{kSimpleProgram, kLstmProgram, kGruProgram, kGruResetBeforeProgram};
  const char* types[] = {"SimpleRNN", "LSTM", "GRU", "GRU"};
  each_isa([&](const simd::Kernels&) {
    for (std::size_t i = 0; i < cells.size(); ++i)
      for (const Index H : {1, 2, 3, 5, 7, 17, 31, 33, 65, 130})
        for (const Index B : {1, 7}) {
          INFO(types[i] << " of " << H << " units, " << B << " rows");
          const Model ours = random_model(program(cells[i], 5, H), 0.2f);
          const Model compiled =
              random_model(of_type(types[i], 5, H, sequences + (i == 3 ? R"(, "reset_after": false)" : "")), 0.2f);
          REQUIRE(ours.weights().size() == compiled.weights().size());
          Data data;
          data.add_random({B, 9, 5}, B == 1 ? std::vector<std::int32_t>{} : std::vector<std::int32_t>{9, 0, 3, 9, 1, 2, 8});
          CHECK(same(ours.predict(data.batch())[0].data, compiled.predict(data.batch())[0].data));
        }
  });
}

TEST_CASE("programs: gradients against central differences, on every instruction set") {
  for (const std::string& cell : {kLstmProgram, kGruProgram, kGruResetBeforeProgram, kMinGruProgram, kManyProgram, kWideProgram})
    for (const std::string options : {R"(, "return_sequences": true)", R"(, "reverse": true)"}) {
      Data data;
      data.add_random({3, 4, 2}, {4, 0, 2});
      check_gradients(program(cell, 2, 3, options), data);
    }
  for (const std::string& cell : {kLstmProgram, kManyProgram}) {
    Data data;
    data.add_random({2, 3, 3});
    check_gradients(spec(input("x", "[null, 3]") + ", " +
                             layer("Bidirectional", "rnn", R"("x")",
                                   R"("layer": {"type": "RNN", "units": 2, "return_sequences": true, "cell": )" + cell + "}"),
                         R"("x")", R"("rnn")"),
                    data);
  }
}

TEST_CASE("programs: what stood in a tape before changes no gradient") {
  const Index T = 3, B = 2, I = 4;
  for (const std::string& cell : {kLstmProgram, kManyProgram, kWideProgram}) {
    const json::Value value = json::parse(R"({"units": 1, "cell": )" + cell + "}");
    json::Reader reader(value, "cell");
    const layers::RecurrentSettings settings = layers::read_recurrent(reader, "RNN");
    const auto program = std::make_shared<const recurrent::Program>(*settings.program, std::vector<bool>{});
    each_isa([&](const simd::Kernels&) {
      for (const Index H : {3, 17}) {
        INFO(cell << " of " << H << " units");
        const recurrent::Recurrence layer(program, I, H, H, true);
        const Index X = settings.kernel_blocks * H, R = settings.recurrent_blocks * H, U = 2 * H;
        const auto x = numbers(B * T * I, 1), kernel = numbers(I * X, 2), recurrent_kernel = numbers(H * R, 3),
                   bias = numbers(X, 4), units = numbers(U, 5), dy = numbers(B * T * H, 6);
        const recurrent::Weights<const float> weights{kernel.data(), recurrent_kernel.data(), bias.data(), units.data()};
        layer.prepare(weights, 1);
        std::vector<std::vector<float>> found;
        for (const float before : {0.0f, std::numeric_limits<float>::quiet_NaN()}) {
          const Index size = layer.tape_size(T, B, false);
          Buffer tape(size);
          std::fill_n(tape.data(), size, before);
          std::vector<float> y(dy.size()), dx(x.size()), all(kernel.size() + recurrent_kernel.size() + bias.size() + units.size());
          recurrent::Backward b;
          b.forward.layer = &layer, b.forward.T = T, b.forward.B = B, b.forward.tape = tape.data();
          b.forward.x = {x.data(), T * I, I};
          b.forward.y = {y.data(), T * H, H};
          b.weights = weights;
          b.dy = {dy.data(), T * H, H};
          b.dx = {dx.data(), T * I, I};
          float* const d = all.data();
          b.d_weights = {d, d + I * X, d + I * X + H * R, settings.unit_weights.empty() ? nullptr : d + I * X + H * R + X};
          recurrent::forward({&b.forward, 1});
          recurrent::backward({&b, 1});
          all.insert(all.end(), dx.begin(), dx.end());
          found.push_back(all);
        }
        CHECK(same(found[0], found[1]));
      }
    });
  }
}

TEST_CASE("programs: streams, of one row and of several") {
  for (const std::string& cell : {kLstmProgram, kGruProgram, kGruResetBeforeProgram, kSimpleProgram, kMinGruProgram, kManyProgram})
    for (const auto& [I, H] : std::vector<std::pair<Index, Index>>{{1, 1}, {3, 5}, {2, 17}, {5, 33}, {4, 70}})
      check_stream(program(cell, I, H), {}, 0.3f);
}

TEST_CASE("programs: the same bits for any number of threads and rows") {
  const int before = num_threads();
  for (const std::string& cell : {kLstmProgram, kGruResetBeforeProgram, kMinGruProgram, kManyProgram}) {
    const Model model = random_model(program(cell, 6, 150), 0.1f);
    Data data;
    data.add_random({9, 40, 6});
    set_num_threads(1);
    const std::vector<float> alone = model.predict(data.batch())[0].data;
    for (const int threads : {2, 3, 5}) {
      set_num_threads(threads);
      CHECK(same(model.predict(data.batch())[0].data, alone));
    }
    Data row;
    row.add({1, 40, 6}, {data.floats[0].begin(), data.floats[0].begin() + 240});
    const std::vector<float> first = model.predict(row.batch())[0].data;
    CHECK(same(first, {alone.begin(), alone.begin() + static_cast<std::ptrdiff_t>(first.size())}));
  }
  set_num_threads(before);
}

TEST_CASE("programs: what says nothing sensible is refused, with its place") {
  contains(refusal(replaced(kMinGruProgram, R"("states": ["h"])", R"("states": [])")), "'states' must be 1 to 4 names, got 0");
  contains(refusal(replaced(kMinGruProgram, R"("states": ["h"])", R"("states": ["h", "x.z"])")), "two things are named 'x.z'");
  contains(refusal(replaced(kMinGruProgram, R"("states": ["h"])", R"("states": ["h", "g"])")), "the inputs lack 'g'");
  contains(refusal(replaced(kMinGruProgram, R"("outputs": [6])", R"("outputs": [6, 3])")),
           "expected an output for each of 1 states, got 2");
  contains(refusal(replaced(kMinGruProgram, R"("outputs": [6])", R"("outputs": [7])")), "an output is a value, 0 to 6, got 7");
  contains(refusal(replaced(kMinGruProgram, R"("x.n", "h"], "nodes")", R"("x.n", "h", "u"], "nodes")")),
           "the input 'u' is neither");
  contains(refusal(replaced(kMinGruProgram, R"("recurrent": [])", R"("recurrent": [["h.z", "g"]])")),
           "'h.z' multiplies 'g', which is no state");
  contains(refusal(replaced(kMinGruProgram, R"("recurrent": [])", R"("recurrent": [["h.z", -1]])")), "'h.z' must multiply");
  contains(refusal(replaced(kMinGruProgram, R"("recurrent": [])", R"("recurrent": {})")), "'recurrent'");
  contains(refusal(replaced(kGruResetBeforeProgram, "11]]", "500]]")), "'p.n' multiplies value 500, but there are 17");
  contains(refusal(replaced(kGruResetBeforeProgram, "11]]", "13]]")), "the recurrent product 'p.n' depends on itself");
  CHECK(refusal(replaced(kManyProgram, "14]]", "17]]")).empty());  // a number a row goes with every unit
  contains(refusal(replaced(kManyProgram, R"("name": "u")", R"("name": "kernel")")), "no other parameter's name");
  contains(refusal(replaced(kManyProgram, R"("initializer": "ones")", R"("initialiser": "ones")")), "initialiser");
  contains(refusal(replaced(kLstmProgram, R"("forget": "x.f")", R"("forget": "h.f")")), "'forget' must be one of 'kernel'");
  contains(refusal(replaced(kLstmProgram, R"("name": "lstm")", R"("name": "l s t m")")), "'name' must be letters");
  contains(refusal(replaced(kLstmProgram, R"("forget": "x.f")", R"("gates": 4)")), "gates");
  contains(refusal("7"), "cell");
  // A chain of products of products.
  std::string deep =
      R"({"name": "deep", "states": ["h"], "kernel": [], "recurrent": [["p0", "h"]], "equations": {"inputs": ["p0", "h"],
    "nodes": [], "outputs": [0]}})";
  CHECK(refusal(deep).empty());
  std::string products = R"(["p0", "h"])", names = R"("p0")", nodes;
  for (int i = 1; i < 6; ++i) {
    products += ", [\"p" + std::to_string(i) + "\", " + std::to_string(i + 6) + "]";
    names += ", \"p" + std::to_string(i) + "\"";
    nodes += (i > 1 ? ", " : "") + std::string("[\"tanh\", ") + std::to_string(i - 1) + "]";
  }
  deep = R"({"name": "deep", "states": ["h"], "kernel": [], "recurrent": [)" + products + R"(], "equations": {"inputs": [)" +
         names + R"(, "h"], "nodes": [)" + nodes + R"(], "outputs": [5]}})";
  contains(refusal(deep), "recurrent products of recurrent products, 6 deep; at most 4 are possible");
}

TEST_CASE("programs: inputs of a step have a number a unit or one, x a number a unit where it is read") {
  const std::string timed =
      R"({"name": "timed", "states": ["h"], "kernel": ["x.a"], "recurrent": [], "step_inputs": ["t"], "equations": {
    "inputs": ["x.a", "h", "t"], "nodes": [["multiply", 1, 2], ["add", 0, 3]], "outputs": [4]}})";
  const auto model_of = [&](const std::string& shape) {
    return spec(input("x", "[null, 3]") + ", " + input("t", shape) + ", " +
                    layer("RNN", "rnn", R"("x", "t")", R"("units": 4, "return_sequences": true, "cell": )" + timed),
                R"("x", "t")", R"("rnn")");
  };
  const auto said = [&](const std::string& text) { return message_of([&] { const Model model(text); }); };
  CHECK(said(model_of("[null, 1]")).empty());
  CHECK(said(model_of("[null, 4]")).empty());
  contains(said(model_of("[null, 3]")), "expected input 1 of the step of shape");
  contains(said(model_of("[4]")), "expected input 1 of the step of shape");
  contains(said(program(timed, 3, 4)), "input");
  check_stream(model_of("[null, 1]"), {}, 0.5f);
  check_stream(model_of("[null, 4]"), {}, 0.5f);
  const std::string raw = R"({"name": "raw", "states": ["h"], "kernel": [], "recurrent": [], "equations": {
    "inputs": ["h", "x"], "nodes": [["add", 0, 1]], "outputs": [2]}})";
  CHECK(said(program(raw, 4, 4)).empty());
  contains(said(program(raw, 3, 4)), "its cell reads x unit by unit: expected input of 4 features");
  check_stream(program(raw, 4, 4), {}, 1.0f);
}
