// The cost of a step: one row, one step a call with the states carried over (streaming), and a long sequence.
//
//   rekur_bench_step [--isa ISA] [--threads N] [--cell NAME] [--kind stream|model|engine|long]
//
// Nanoseconds a step. stream: Stream::step, the public interface for that. model: Model::predict, the public interface. engine:
// recurrent::forward, without graph and spec. min and median are over rounds of many steps; worst is the longest of some thousand
// single calls (of a stream: of a million), the clock's own time and the system's interruptions included. long: the engine over
// T = 1000 in one call; what a call costs is long's distance from engine.
//
// Cells written as programs stand beside the compiled ones, as streams and models: the LSTM (whose equations are compiled into the
// library) and UGRNN (interpreted), which has half of its products.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "recurrent/recurrent.hpp"
#include "rekur/model.hpp"
#include "rekur/runtime.hpp"
#include "rekur/stream.hpp"
#include "timing.hpp"

namespace rekur::bench {
namespace {

struct Cell {
  const char* layer;
  const char* name;
  std::size_t states;
};

constexpr Cell kCells[] = {
    {"LSTM", "lstm", 2}, {"GRU", "gru", 1}, {"SimpleRNN", "simple_rnn", 1}, {"RNN-LSTM", nullptr, 2}, {"RNN-UGRNN", nullptr, 1}};

// A layer's type and, of a program, its equations.
std::string layer_of(const Cell& cell) {
  const std::string name = cell.layer;
  if (name == "RNN-LSTM")
    return R"("RNN", "cell": {"name": "lstm", "states": ["h", "c"], "kernel": ["x.i", "x.f", "x.g", "x.o"],
        "recurrent": [["h.i", "h"], ["h.f", "h"], ["h.g", "h"], ["h.o", "h"]], "equations": {
        "inputs": ["x.i", "x.f", "x.g", "x.o", "h.i", "h.f", "h.g", "h.o", "h", "c"], "nodes": [["add", 0, 4], ["sigmoid", 10],
        ["add", 1, 5], ["sigmoid", 12], ["add", 2, 6], ["tanh", 14], ["add", 3, 7], ["sigmoid", 16], ["multiply", 13, 9],
        ["multiply", 11, 15], ["add", 18, 19], ["tanh", 20], ["multiply", 17, 21]], "outputs": [22, 20]}})";
  if (name == "RNN-UGRNN")
    return R"("RNN", "cell": {"name": "ugrnn", "states": ["h"], "kernel": ["x.g", "x.c"], "recurrent": [["h.g", "h"], ["h.c", "h"]],
        "equations": {"inputs": ["x.g", "x.c", "h.g", "h.c", "h"], "nodes": [["add", 0, 2], ["sigmoid", 5], ["add", 1, 3],
        ["tanh", 7], ["multiply", 6, 4], ["constant", 1.0], ["subtract", 10, 6], ["multiply", 11, 8], ["add", 9, 12]],
        "outputs": [13]}})";
  return '"' + name + '"';
}

struct Sizes {
  Index I, H;
};

constexpr Sizes kSizes[] = {{1, 8}, {1, 16}, {1, 32}, {1, 64}, {1, 128}, {64, 64}};

constexpr Index kLong = 1000;
constexpr int kSingles = 5000, kStreamSingles = 1'000'000;

// Inputs of many steps: a repeated input lets the states settle, and settled ones are no ordinary numbers.
constexpr Index kInputs = 64;

std::vector<float> inputs(Index steps, Index I) {
  std::vector<float> x(static_cast<std::size_t>(steps * I));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i) * 0.7f);
  return x;
}

// Two sets of states: a step reads one and writes the other.
struct States {
  States(const Cell& cell, Index H) : count(cell.states) {
    for (auto& set : sets)
      for (auto& state : set) state.resize(static_cast<std::size_t>(H));
  }
  std::size_t count;
  std::array<std::array<std::vector<float>, 2>, 2> sets;
};

void print(const char* what, const Cell& cell, const Sizes& s, const Times& times, double worst, double steps) {
  std::printf("%-7s %-10s %4lld %4lld %9.0f %9.0f", what, cell.layer, static_cast<long long>(s.I), static_cast<long long>(s.H),
              times.minimum * 1e9 / steps, times.median * 1e9 / steps);
  if (worst > 0) std::printf(" %9.0f", worst * 1e9);
  std::printf("\n");
  std::fflush(stdout);
}

// One that takes its initial states and gives its final ones, or one that keeps them to itself.
Model make_model(const Cell& cell, const Sizes& s, bool states) {
  const std::string H = std::to_string(s.H);
  std::string layers = R"({"type": "Input", "name": "x", "shape": [null, )" + std::to_string(s.I) + R"(], "dtype": "float32"})";
  std::string names = R"("x")", outputs;
  for (std::size_t i = 0; i < cell.states && states; ++i) {
    const std::string name = i == 0 ? "h" : "c";
    layers += R"(, {"type": "Input", "name": ")" + name + R"(", "shape": [)" + H + R"(], "dtype": "float32"})";
    names += R"(, ")" + name + '"';
    outputs += (i == 0 ? R"("rnn:)" : R"(, "rnn:)") + std::to_string(i + 1) + '"';
  }
  layers += R"(, {"type": )" + layer_of(cell) + R"(, "name": "rnn", "inputs": [)" + names + R"(], "units": )" + H +
            (states ? R"(, "return_state": true})" : "}");
  if (!states) outputs = R"("rnn")";
  Model model(R"({"format": "rekur", "version": 1, "name": "step", "layers": [)" + layers + R"(], "inputs": [)" + names +
              R"(], "outputs": [)" + outputs + "]}");
  model.initialize(1);
  return model;
}

void time_model(const Cell& cell, const Sizes& s) {
  const Model model = make_model(cell, s, true);
  std::vector<float> x = inputs(kInputs, s.I);
  States states(cell, s.H);
  std::array<Batch, 2> batches;
  std::array<std::vector<View>, 2> outputs;
  for (std::size_t turn = 0; turn < 2; ++turn) {
    batches[turn].inputs.push_back({x.data(), {1, 1, s.I}});
    for (std::size_t i = 0; i < states.count; ++i) {
      batches[turn].inputs.push_back({states.sets[turn][i].data(), {1, s.H}});
      outputs[turn].push_back({states.sets[1 - turn][i].data(), {1, s.H}});
    }
    batches[turn].lengths.resize(batches[turn].inputs.size());
  }
  Index at = 0;
  const auto step = [&] {
    const auto turn = static_cast<std::size_t>(at % 2);
    batches[turn].inputs[0].data = x.data() + at * s.I;
    model.predict(batches[turn], outputs[turn]);
    at = (at + 1) % kInputs;
  };
  const Times times = measure(step);
  print("model", cell, s, times, longest(step, kSingles), 1);
}

void time_stream(const Cell& cell, const Sizes& s) {
  Stream stream(make_model(cell, s, false));
  const std::vector<float> x = inputs(kInputs, s.I);
  std::vector<float> y(static_cast<std::size_t>(s.H));
  Index at = 0;
  const auto step = [&] {
    stream.step(x.data() + at * s.I, y.data());
    at = (at + 1) % kInputs;
  };
  const Times times = measure(step);
  print("stream", cell, s, times, longest(step, kStreamSingles), 1);
}

// The engine's own layer, and its weights.
struct Engine {
  Engine(const Cell& cell, const Sizes& s)
      : info(*recurrent::find_cell(cell.name)),
        layer(info, {{ActivationKind::sigmoid}, {ActivationKind::tanh}, {ActivationKind::tanh}}, s.I, s.H, true) {
    const Index columns = info.gates * s.H;
    weights = inputs((s.I + s.H + (info.recurrent_bias ? 2 : 1)), columns);
    for (float& w : weights) w *= 1.0f / std::sqrt(static_cast<float>(s.H));
    const float* kernel = weights.data();
    layer.prepare({kernel, kernel + s.I * columns, kernel + (s.I + s.H) * columns}, 1);
  }
  const cells::CellInfo& info;
  recurrent::Recurrence layer;
  std::vector<float> weights;
};

void time_engine(const Cell& cell, const Sizes& s) {
  const Engine engine(cell, s);
  const std::vector<float> x = inputs(kInputs, s.I);
  States states(cell, s.H);
  std::array<recurrent::Forward, 2> runs;
  for (std::size_t turn = 0; turn < 2; ++turn) {
    runs[turn].layer = &engine.layer;
    runs[turn].T = runs[turn].B = 1;
    for (std::size_t i = 0; i < states.count; ++i) {
      runs[turn].initial[i] = states.sets[turn][i].data();
      runs[turn].final[i] = states.sets[1 - turn][i].data();
    }
  }
  Index at = 0;
  const auto step = [&] {
    recurrent::Forward& run = runs[static_cast<std::size_t>(at % 2)];
    run.x = {x.data() + at * s.I, s.I, s.I};
    recurrent::forward({&run, 1});
    at = (at + 1) % kInputs;
  };
  const Times times = measure(step);
  print("engine", cell, s, times, longest(step, kSingles), 1);
}

void time_long(const Cell& cell, const Sizes& s) {
  const Engine engine(cell, s);
  const std::vector<float> x = inputs(kLong, s.I);
  std::vector<float> y(static_cast<std::size_t>(kLong * s.H));
  recurrent::Forward run;
  run.layer = &engine.layer;
  run.T = kLong;
  run.B = 1;
  run.x = {x.data(), kLong * s.I, s.I};
  run.y = {y.data(), kLong * s.H, s.H};
  print("long", cell, s, measure([&] { recurrent::forward({&run, 1}); }), 0, kLong);
}

void run(const std::vector<std::string>& arguments) {
  std::string wanted, kind;
  set_num_threads(1);
  for (std::size_t i = 0; i < arguments.size(); i += 2) {
    const std::string& name = arguments[i];
    if (i + 1 == arguments.size()) throw std::invalid_argument(name + " wants a value");
    if (name == "--isa")
      set_isa(arguments[i + 1]);
    else if (name == "--threads")
      set_num_threads(std::atoi(arguments[i + 1].c_str()));
    else if (name == "--cell")
      wanted = arguments[i + 1];
    else if (name == "--kind")
      kind = arguments[i + 1];
    else
      throw std::invalid_argument("unknown option '" + name + "'");
  }
  if (!wanted.empty() && std::none_of(std::begin(kCells), std::end(kCells), [&](const Cell& c) { return wanted == c.layer; }))
    throw std::invalid_argument("--cell is LSTM, GRU, SimpleRNN, RNN-LSTM or RNN-UGRNN, not '" + wanted + "'");
  if (!kind.empty() && kind != "stream" && kind != "model" && kind != "engine" && kind != "long")
    throw std::invalid_argument("--kind is stream, model, engine or long, not '" + kind + "'");
  const auto asked = [&](const char* one) { return kind.empty() || kind == one; };
  std::printf("%s, threads %d, ns a step\n%-7s %-10s %4s %4s %9s %9s %9s\n", current_isa().c_str(), num_threads(), "", "cell", "I",
              "H", "min", "median", "worst");
  for (const Cell& cell : kCells) {
    if (!wanted.empty() && wanted != cell.layer) continue;
    for (const Sizes& sizes : kSizes) {
      if (asked("stream")) time_stream(cell, sizes);
      if (asked("model")) time_model(cell, sizes);
      if (cell.name == nullptr) continue;
      if (asked("engine")) time_engine(cell, sizes);
      if (asked("long")) time_long(cell, sizes);
    }
  }
}

}  // namespace
}  // namespace rekur::bench

int main(int argc, char** argv) {
  try {
    rekur::bench::run({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    std::fprintf(stderr, "rekur_bench_step: %s\n", e.what());
    return 2;
  }
  return 0;
}
