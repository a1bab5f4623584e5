// One step of one cell, one row, the states carried over: fixed-size cells, rekur::Stream and the same cells written with Eigen (of
// sizes known to the compiler and not), in turns in one run, as a table in Markdown.
//
//   rekur_bench_cells [--rounds N]    medians of N rounds (31), in nanoseconds a step
//   rekur_bench_cells --worst N       N single steps (1000000) of ours by the cycle counter: median, quantiles and the worst;
//                                     beside them a loop that is always as long, which tells what is slow from who is interrupted
//   rekur_bench_cells --silence       the same work on a signal and on the silence after it
//
// First cells alone, then whole models: cells, a Dense of one output, a skip around both. This file is compiled for the machine it
// runs on, and once more for AVX2 (rekur_bench_cells_avx2) and for every x86-64 (rekur_bench_cells_plain; all of them: the target
// rekur_bench_cells_tables); the library behind Stream chooses by itself.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "eigen_cells.hpp"
#include "rekur/model.hpp"
#include "rekur/runtime.hpp"
#include "rekur/static.hpp"
#include "rekur/stream.hpp"
#include "timing.hpp"

namespace rekur::bench {
namespace {

// Inputs of many steps: a repeated input lets the states settle, and settled ones are no ordinary numbers.
constexpr int kInputs = 64;

std::vector<float> waves(std::size_t n, float scale) {
  std::vector<float> v(n);
  for (std::size_t i = 0; i < n; ++i) v[i] = scale * std::sin(0.7f * static_cast<float>(i * i % 1009));
  return v;
}

struct Weights {
  Weights(int in, int hidden, int gates, int bias_rows)
      : kernel(waves(static_cast<std::size_t>(in * gates * hidden), 0.5f)),
        recurrent(waves(static_cast<std::size_t>(hidden * gates * hidden), 1.0f / std::sqrt(static_cast<float>(hidden)))),
        bias(waves(static_cast<std::size_t>(bias_rows * gates * hidden), 0.1f)) {}
  std::vector<float> kernel, recurrent, bias;
};

// Something that takes steps. `run` takes many, so that no call through a pointer is timed; `step` takes one and tells h.
struct Contender {
  std::string name;
  std::function<void(long steps)> run;
  std::function<const float*(const float* x)> step;
  std::vector<double> times = {};  // seconds a step, one a round

  double median() {
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }
};

template <class Step>
Contender contender(const std::string& name, int in, const std::vector<float>& x, const Step& step) {
  Contender c{name, {}, step};
  c.run = [=, &x, at = 0](long steps) mutable {
    for (long i = 0; i < steps; ++i) {
      keep(step(x.data() + at * in));
      at = (at + 1) % kInputs;
    }
  };
  return c;
}

template <class Cell>
Contender static_contender(const Weights& w, const std::vector<float>& x) {
  const auto cell = std::make_shared<Cell>();
  cell->set_weights(w.kernel.data(), w.recurrent.data(), w.bias.data());
  return contender("static", Cell::in, x, [cell](const float* input) { return cell->step(input); });
}

template <class Cell>
Contender eigen_contender(const char* name, int in, int hidden, const Weights& w, const std::vector<float>& x) {
  const std::shared_ptr<Cell> cell(new Cell(in, hidden));
  cell->set_weights(w.kernel.data(), w.recurrent.data(), w.bias.data());
  return contender(name, in, x, [cell](const float* input) { return cell->step(input); });
}

// A model of this spec as a stream, step by step and by blocks of all the inputs.
void add_streams(std::vector<Contender>& to, const std::string& layers, const std::string& output,
                 const std::vector<float>& weights, int in, int out, const std::vector<float>& x) {
  Model model(R"({"format": "rekur", "version": 1, "name": "step", "layers": [{"type": "Input", "name": "x", "shape": [null, )" +
              std::to_string(in) + R"(], "dtype": "float32"}, )" + layers + R"(], "inputs": ["x"], "outputs": [")" + output +
              "\"]}");
  model.set_weights(weights);
  const auto y = std::make_shared<std::vector<float>>(static_cast<std::size_t>(kInputs * out));
  const auto stream = std::make_shared<Stream>(model), blocks = std::make_shared<Stream>(model);
  to.push_back(contender("Stream", in, x, [stream, y](const float* input) {
    stream->step(input, y->data());
    return static_cast<const float*>(y->data());
  }));
  Contender together{"Stream, blocks of " + std::to_string(kInputs), {}, [blocks, y](const float* input) {
                       blocks->process(input, y->data(), 1);
                       return static_cast<const float*>(y->data());
                     }};
  together.run = [blocks, y, &x](long steps) {
    for (long i = 0; i < steps; i += kInputs) {
      blocks->process(x.data(), y->data(), std::min<Index>(kInputs, steps - i));
      keep(y->data());
    }
  };
  to.push_back(std::move(together));
}

void append(std::vector<float>& to, const std::vector<float>& more) { to.insert(to.end(), more.begin(), more.end()); }

std::vector<float> flat(const Weights& w) {
  std::vector<float> all = w.kernel;
  append(all, w.recurrent);
  append(all, w.bias);
  return all;
}

std::string cell_layer(const char* type, const char* name, const char* input, int hidden) {
  return std::string(R"({"type": ")") + type + R"(", "name": ")" + name + R"(", "inputs": [")" + input + R"("], "units": )" +
         std::to_string(hidden) + R"(, "return_sequences": true})";
}

struct Row {
  std::string name;
  int in, out;
  std::vector<float> x;
  std::vector<Contender> contenders;  // static, Stream, Stream by blocks, Eigen fixed, and of a cell alone Eigen dynamic
};

using RowOf = std::unique_ptr<Row>;

RowOf new_row(const std::string& name, int in, int out) {
  return std::make_unique<Row>(Row{name, in, out, waves(static_cast<std::size_t>(kInputs * in), 1.0f), {}});
}

std::string sizes(const char* type, int in, int hidden) {
  return std::string(type) + ' ' + std::to_string(in) + "→" + std::to_string(hidden);
}

template <template <int, int> class EigenCell, class Cell>
RowOf cell_row(const char* type) {
  constexpr int I = Cell::in, H = Cell::hidden;
  RowOf row = new_row(sizes(type, I, H), I, H);
  const Weights w(I, H, Cell::gates, Cell::bias_rows);
  row->contenders.push_back(static_contender<Cell>(w, row->x));
  add_streams(row->contenders, cell_layer(type, "rnn", "x", H), "rnn", flat(w), I, H, row->x);
  row->contenders.push_back(eigen_contender<EigenCell<I, H>>("Eigen fixed", I, H, w, row->x));
  row->contenders.push_back(eigen_contender<EigenCell<Eigen::Dynamic, Eigen::Dynamic>>("Eigen dynamic", I, H, w, row->x));
  return row;
}

// y = x + Dense(1)(cell(x)), of Cells one above the other: the amplifier, whole.
template <template <int, int> class EigenCell, class Cell, class Above>
RowOf model_row(const char* type) {
  constexpr int H = Cell::hidden;
  constexpr bool stacked = !std::is_void_v<Above>;
  static_assert(Cell::in == 1);
  RowOf row = new_row(sizes(type, 1, H) + (stacked ? "→" + std::to_string(H) : "") + ", Dense 1, skip", 1, 1);
  const Weights w(1, H, Cell::gates, Cell::bias_rows), above(H, H, Cell::gates, Cell::bias_rows);
  const std::vector<float> kernel = waves(H, 0.3f), bias = {0.1f};
  using Second = std::conditional_t<stacked, Above, StaticDense<1, 1>>;
  struct Ours {
    Cell cell;
    Second second;
    StaticDense<H, 1> dense;
    float y;
  };
  const auto ours = std::make_shared<Ours>();
  ours->cell.set_weights(w.kernel.data(), w.recurrent.data(), w.bias.data());
  ours->dense.set_weights(kernel.data(), bias.data());
  struct Eigens {
    EigenCell<1, H> cell{1, H};
    EigenCell<H, H> second{H, H};
    EigenVector<H> kernel;
    float bias, y;
  };
  const std::shared_ptr<Eigens> eigen(new Eigens);
  eigen->cell.set_weights(w.kernel.data(), w.recurrent.data(), w.bias.data());
  eigen->kernel = Eigen::Map<const EigenVector<H>>(kernel.data());
  eigen->bias = bias[0];
  std::vector<float> weights = flat(w);
  std::string layers = cell_layer(type, "rnn", "x", H);
  if constexpr (stacked) {
    ours->second.set_weights(above.kernel.data(), above.recurrent.data(), above.bias.data());
    eigen->second.set_weights(above.kernel.data(), above.recurrent.data(), above.bias.data());
    append(weights, flat(above));
    layers += ", " + cell_layer(type, "above", "rnn", H);
  }
  append(weights, kernel);
  append(weights, bias);
  layers += std::string(R"(, {"type": "Dense", "name": "head", "units": 1, "inputs": [")") + (stacked ? "above" : "rnn") +
            R"("]}, {"type": "Add", "name": "y", "inputs": ["x", "head"]})";
  row->contenders.push_back(contender("static", 1, row->x, [ours](const float* x) {
    const float* h = ours->cell.step(x);
    if constexpr (stacked) h = ours->second.step(h);
    ours->y = *x + *ours->dense.step(h);
    return static_cast<const float*>(&ours->y);
  }));
  add_streams(row->contenders, layers, "y", weights, 1, 1, row->x);
  row->contenders.push_back(contender("Eigen fixed", 1, row->x, [eigen](const float* x) {
    const float* h = eigen->cell.step(x);
    if constexpr (stacked) h = eigen->second.step(h);
    eigen->y = *x + eigen->bias + eigen->kernel.dot(Eigen::Map<const EigenVector<H>>(h));
    return static_cast<const float*>(&eigen->y);
  }));
  return row;
}

std::vector<RowOf> cell_rows() {
  std::vector<RowOf> rows;
  rows.push_back(cell_row<EigenLstm, StaticLstm<1, 8>>("LSTM"));
  rows.push_back(cell_row<EigenLstm, StaticLstm<1, 16>>("LSTM"));
  rows.push_back(cell_row<EigenLstm, StaticLstm<1, 20>>("LSTM"));
  rows.push_back(cell_row<EigenLstm, StaticLstm<1, 32>>("LSTM"));
  rows.push_back(cell_row<EigenLstm, StaticLstm<1, 40>>("LSTM"));
  rows.push_back(cell_row<EigenLstm, StaticLstm<1, 48>>("LSTM"));
  rows.push_back(cell_row<EigenLstm, StaticLstm<1, 64>>("LSTM"));
  rows.push_back(cell_row<EigenLstm, StaticLstm<64, 64>>("LSTM"));
  rows.push_back(cell_row<EigenGru, StaticGru<1, 8>>("GRU"));
  rows.push_back(cell_row<EigenGru, StaticGru<1, 16>>("GRU"));
  rows.push_back(cell_row<EigenGru, StaticGru<1, 20>>("GRU"));
  rows.push_back(cell_row<EigenGru, StaticGru<1, 32>>("GRU"));
  rows.push_back(cell_row<EigenGru, StaticGru<1, 40>>("GRU"));
  rows.push_back(cell_row<EigenGru, StaticGru<1, 48>>("GRU"));
  rows.push_back(cell_row<EigenGru, StaticGru<1, 64>>("GRU"));
  rows.push_back(cell_row<EigenGru, StaticGru<64, 64>>("GRU"));
  return rows;
}

std::vector<RowOf> model_rows() {
  std::vector<RowOf> rows;
  rows.push_back(model_row<EigenLstm, StaticLstm<1, 8>, void>("LSTM"));
  rows.push_back(model_row<EigenLstm, StaticLstm<1, 16>, void>("LSTM"));
  rows.push_back(model_row<EigenLstm, StaticLstm<1, 20>, void>("LSTM"));
  rows.push_back(model_row<EigenLstm, StaticLstm<1, 32>, void>("LSTM"));
  rows.push_back(model_row<EigenLstm, StaticLstm<1, 40>, void>("LSTM"));
  rows.push_back(model_row<EigenLstm, StaticLstm<1, 64>, void>("LSTM"));
  rows.push_back(model_row<EigenLstm, StaticLstm<1, 16>, StaticLstm<16, 16>>("LSTM"));
  rows.push_back(model_row<EigenLstm, StaticLstm<1, 32>, StaticLstm<32, 32>>("LSTM"));
  rows.push_back(model_row<EigenGru, StaticGru<1, 8>, void>("GRU"));
  rows.push_back(model_row<EigenGru, StaticGru<1, 16>, void>("GRU"));
  rows.push_back(model_row<EigenGru, StaticGru<1, 32>, void>("GRU"));
  rows.push_back(model_row<EigenGru, StaticGru<1, 40>, void>("GRU"));
  rows.push_back(model_row<EigenGru, StaticGru<1, 64>, void>("GRU"));
  rows.push_back(model_row<EigenGru, StaticGru<1, 32>, StaticGru<32, 32>>("GRU"));
  return rows;
}

// All contenders take the same steps: what they say must agree.
void check(Row& row) {
  for (int t = 0; t < kInputs; ++t) {
    const float* const first = row.contenders[0].step(row.x.data() + t * row.in);
    const std::vector<float> expected(first, first + row.out);
    for (std::size_t i = 1; i < row.contenders.size(); ++i) {
      const float* const y = row.contenders[i].step(row.x.data() + t * row.in);
      for (int u = 0; u < row.out; ++u)
        if (!(std::abs(y[u] - expected[static_cast<std::size_t>(u)]) <= 1e-4f))
          throw std::runtime_error(row.name + ": " + row.contenders[i].name + " disagrees with static at step " +
                                   std::to_string(t));
    }
  }
}

void time_in_turns(Row& row, int rounds) {
  std::vector<long> steps;
  for (Contender& c : row.contenders) {
    c.run(1000);
    double passed = 1;
    for (int i = 0; i < 5; ++i) passed = std::min(passed, time_calls([&] { c.run(1000); }, 1) / 1000);
    steps.push_back(static_cast<long>(500e-6 / passed) + 1);
  }
  for (int round = 0; round < rounds; ++round)
    for (std::size_t i = 0; i < row.contenders.size(); ++i) {
      Contender& c = row.contenders[i];
      c.times.push_back(time_calls([&] { c.run(steps[i]); }, 1) / static_cast<double>(steps[i]));
    }
}

// As in a callback: denormals are flushed around all steps, for everyone.
void table(const char* title, std::vector<RowOf> rows, int rounds) {
  const FlushDenormals flush;
  std::printf("| %s |", title);
  for (const Contender& c : rows[0]->contenders) std::printf(" %s |", c.name.c_str());
  std::printf(" Eigen fixed / static | Stream / static |\n|---|");
  for (std::size_t i = 0; i < rows[0]->contenders.size() + 2; ++i) std::printf("--:|");
  std::printf("\n");
  for (const RowOf& row : rows) {
    check(*row);
    time_in_turns(*row, rounds);
    std::printf("| %s |", row->name.c_str());
    for (Contender& c : row->contenders) std::printf(" %.1f |", c.median() * 1e9);
    const double ours = row->contenders[0].median();
    std::printf(" %.2f | %.2f |\n", row->contenders[3].median() / ours, row->contenders[1].median() / ours);
    std::fflush(stdout);
  }
  std::printf("\n");
}

// --- single steps ---

#if defined(__x86_64__)
std::uint64_t ticks() {
  std::uint32_t low, high;
  asm volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
  return std::uint64_t{high} << 32 | low;
}
#else
std::uint64_t ticks() { return static_cast<std::uint64_t>(Clock::now().time_since_epoch().count()); }
#endif

double seconds_a_tick() {
  const auto start = Clock::now();
  const std::uint64_t first = ticks();
  while (seconds_since(start) < 0.05) {
  }
  return seconds_since(start) / static_cast<double>(ticks() - first);
}

// The counter's own time, about 10 ns, included.
class SingleSteps {
 public:
  explicit SingleSteps(long count) : times_(static_cast<std::size_t>(count)), tick_(seconds_a_tick()) {
    std::printf("| cell | | median | 99.9 %% | 99.99 %% | worst | worst / median | of a million above 3 × median |\n");
    std::printf("|---|---|--:|--:|--:|--:|--:|--:|\n");
  }

  // step(i)
  template <class Step>
  void row(const std::string& cell, const std::string& name, const Step& step) {
    const FlushDenormals flush;
    for (std::size_t i = 0; i < 10000; ++i) step(i);
    for (std::size_t i = 0; i < times_.size(); ++i) {
      const std::uint64_t before = ticks();
      step(i);
      times_[i] = static_cast<std::uint32_t>(std::min<std::uint64_t>(ticks() - before, UINT32_MAX));
    }
    std::sort(times_.begin(), times_.end());
    const auto at = [&](double q) {
      return times_[static_cast<std::size_t>(q * static_cast<double>(times_.size() - 1))] * tick_ * 1e9;
    };
    const auto slow = times_.end() - std::upper_bound(times_.begin(), times_.end(), 3 * times_[times_.size() / 2]);
    std::printf("| %s | %s | %.0f | %.0f | %.0f | %.0f | %.1f | %.0f |\n", cell.c_str(), name.c_str(), at(0.5), at(0.999),
                at(0.9999), at(1), at(1) / at(0.5), static_cast<double>(slow) * 1e6 / static_cast<double>(times_.size()));
    std::fflush(stdout);
  }

 private:
  std::vector<std::uint32_t> times_;  // written once before: no page fault is timed
  double tick_;                       // seconds
};

// The first rows are of additions in registers: what is slow in them is the machine, taken away by its host or for an interrupt.
void worst(long count) {
  SingleSteps steps(count);
  for (const int additions : {250, 2500})
    steps.row("none", std::to_string(additions) + " additions", [&](std::size_t i) {
      for (int k = 0; k < additions; ++k) keep(reinterpret_cast<const void*>(i += 1));
    });
  for (const RowOf& row : cell_rows())
    for (const Contender& c : row->contenders)
      if (c.name == "static" || c.name == "Stream")
        steps.row(row->name, c.name, [&](std::size_t i) { keep(c.step(row->x.data() + static_cast<int>(i % kInputs) * row->in)); });
}

// --- silence ---

// 10 s at 48 kHz of a signal, then as much of nothing; without bias, so that states decay to nothing, and through the denormals.
// Piece by piece, each piece's best of several runs: the system's interruptions are left out.
template <class Cell>
void silence(const char* name) {
  constexpr std::size_t kPieces = 400, kPiece = 2400;
  const Weights w(Cell::in, Cell::hidden, Cell::gates, Cell::bias_rows);
  const auto cell = std::make_unique<Cell>();
  cell->set_weights(w.kernel.data(), w.recurrent.data(), nullptr);
  std::vector<float> x = waves(kPieces * kPiece, 1.0f);
  std::fill(x.begin() + kPieces / 2 * kPiece, x.end(), 0.0f);
  const auto total = [&] {
    std::vector<double> best(kPieces, 1e9);
    for (int run = 0; run < 7; ++run) {
      cell->reset();
      for (std::size_t p = 0; p < kPieces; ++p) {
        const auto start = Clock::now();
        for (std::size_t i = 0; i < kPiece; ++i) keep(cell->step(&x[p * kPiece + i]));
        best[p] = std::min(best[p], seconds_since(start));
      }
    }
    std::array<double, 2> sum{};
    for (std::size_t p = 0; p < kPieces; ++p) sum[p / (kPieces / 2)] += best[p] * 1e3;
    return sum;
  };
  const auto print = [&](const char* mode) {
    const auto [heard, silent] = total();
    std::printf("%s, %s: signal %.2f ms, silence after it %.2f ms\n", name, mode, heard, silent);
  };
  print("denormals as they are");
  const FlushDenormals flush;
  print("FlushDenormals");
}

void run(const std::vector<std::string>& arguments) {
  int rounds = 31;
  set_num_threads(1);
  const auto number = [&](std::size_t i) {
    const long n = i < arguments.size() ? std::atol(arguments[i].c_str()) : 0;
    if (n < 1) throw std::invalid_argument(arguments[i - 1] + " wants a number above 0");
    return n;
  };
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--rounds")
      rounds = static_cast<int>(number(++i));
    else if (arguments[i] == "--worst")
      return worst(number(++i));
    else if (arguments[i] == "--silence")
      return silence<StaticLstm<1, 8>>("LSTM 1→8"), silence<StaticGru<1, 32>>("GRU 1→32"), silence<StaticLstm<1, 64>>("LSTM 1→64");
    else
      throw std::invalid_argument("unknown option '" + arguments[i] + "'");
  }
  std::printf("ns a step, median of %d rounds; compiled for %s, Stream on %s\n\n", rounds, REKUR_BENCH_FLAGS,
              current_isa().c_str());
  table("cell", cell_rows(), rounds);
  table("model", model_rows(), rounds);
}

}  // namespace
}  // namespace rekur::bench

int main(int argc, char** argv) {
  try {
    rekur::bench::run({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    std::fprintf(stderr, "rekur_bench_cells: %s\n", e.what());
    return 2;
  }
  return 0;
}
