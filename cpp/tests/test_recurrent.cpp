// The recurrent engine against the cells' equations in double: outputs, final states, and every gradient by central differences.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "recurrent/recurrence.hpp"
#include "rekur/runtime.hpp"

using namespace rekur;
using recurrent::Recurrence;

namespace {

using Doubles = std::vector<double>;

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

struct Case {
  std::string cell;
  Index T, B, I, H;
  bool lengths, initial, reverse;
};

// Everything a run reads, in double; the engine gets it rounded.
struct Data {
  Doubles x, kernel, recurrent_kernel, bias, peephole, h0, c0, cy, ch, cc;
  std::vector<std::int32_t> lengths;
};

struct Outputs {
  Doubles y, h, c;
};

Doubles draw(Index n, double scale, std::mt19937& rng) {
  std::normal_distribution<double> normal(0, scale);
  Doubles v(static_cast<std::size_t>(n));
  for (double& d : v) d = static_cast<float>(normal(rng));
  return v;
}

// One step of one row, straight from the equations.
void step(const Case& k, const Data& d, const double* x, double* h, double* c) {
  const Index H = k.H, G = static_cast<Index>(d.kernel.size()) / (k.I * H);
  const auto at = [](const Doubles& v, Index i) { return v[static_cast<std::size_t>(i)]; };
  const auto from_input = [&](Index column) {
    double s = at(d.bias, column);
    for (Index i = 0; i < k.I; ++i) s += x[i] * at(d.kernel, i * G * H + column);
    return s;
  };
  const auto from = [&](const Doubles& state, Index column) {
    double s = 0;
    for (Index i = 0; i < H; ++i) s += at(state, i) * at(d.recurrent_kernel, i * G * H + column);
    return s;
  };
  const Doubles before(h, h + H);
  if (k.cell == "simple_rnn") {
    for (Index u = 0; u < H; ++u) h[u] = std::tanh(from_input(u) + from(before, u));
  } else if (k.cell == "lstm") {
    for (Index u = 0; u < H; ++u) {
      const auto a = [&](Index gate) { return from_input(gate * H + u) + from(before, gate * H + u); };
      c[u] = sigmoid(a(1)) * c[u] + sigmoid(a(0)) * std::tanh(a(2));
      h[u] = sigmoid(a(3)) * std::tanh(c[u]);
    }
  } else if (k.cell.starts_with("lstm_")) {
    const bool coupled = k.cell.ends_with("coupled");
    const Index o = coupled ? 2 : 3;
    for (Index u = 0; u < H; ++u) {
      const auto a = [&](Index gate) { return from_input(gate * H + u) + from(before, gate * H + u); };
      const auto p = [&](Index row) { return d.peephole.empty() ? 0 : at(d.peephole, row * H + u); };
      const double i = sigmoid(a(0) + p(0) * c[u]), f = coupled ? 1 - i : sigmoid(a(1) + p(1) * c[u]);
      c[u] = f * c[u] + i * std::tanh(a(o - 1));
      h[u] = sigmoid(a(o) + p(o - 1) * c[u]) * std::tanh(c[u]);
    }
  } else if (k.cell == "gru") {
    for (Index u = 0; u < H; ++u) {
      const auto r = [&](Index gate) { return from(before, gate * H + u) + at(d.bias, G * H + gate * H + u); };
      const double z = sigmoid(from_input(u) + r(0)), reset = sigmoid(from_input(H + u) + r(1));
      const double n = std::tanh(from_input(2 * H + u) + reset * r(2));
      h[u] = (1 - z) * n + z * before[static_cast<std::size_t>(u)];
    }
  } else {
    Doubles q(before);
    for (Index u = 0; u < H; ++u) q[static_cast<std::size_t>(u)] *= sigmoid(from_input(H + u) + from(before, H + u));
    for (Index u = 0; u < H; ++u) {
      const double z = sigmoid(from_input(u) + from(before, u)), n = std::tanh(from_input(2 * H + u) + from(q, 2 * H + u));
      h[u] = (1 - z) * n + z * before[static_cast<std::size_t>(u)];
    }
  }
}

Outputs reference(const Case& k, const Data& d) {
  Outputs o{Doubles(static_cast<std::size_t>(k.B * k.T * k.H)), d.h0, d.c0};
  for (Index b = 0; b < k.B; ++b) {
    const Index length = d.lengths.empty() ? k.T : d.lengths[static_cast<std::size_t>(b)];
    for (Index i = 0; i < length; ++i) {
      const Index t = k.reverse ? length - 1 - i : i;
      step(k, d, d.x.data() + (b * k.T + t) * k.I, o.h.data() + b * k.H, o.c.data() + b * k.H);
      std::copy_n(o.h.data() + b * k.H, k.H, o.y.data() + (b * k.T + t) * k.H);
    }
  }
  return o;
}

double dot(const Doubles& a, const Doubles& b) {
  double s = 0;
  for (std::size_t i = 0; i < a.size(); ++i) s += a[i] * b[i];
  return s;
}

std::vector<float> rounded(const Doubles& v) { return {v.begin(), v.end()}; }

struct Result {
  std::vector<float> y, h, c, dx, dkernel, drecurrent, dbias, dpeephole, dh0, dc0;
};

// A matrix whose blocks of H columns, with a row a unit, stand in another order.
std::vector<float> turned(const std::vector<float>& matrix, Index rows, Index H, const std::vector<int>& order, bool back) {
  const Index columns = static_cast<Index>(matrix.size()) / rows;
  std::vector<float> result(matrix.size());
  for (Index row = 0; row < rows; ++row)
    for (Index column = 0; column < columns; ++column) {
      const auto here = static_cast<std::size_t>(row * columns + column);
      const Index unit = order[static_cast<std::size_t>(column / H)] * H + column % H;
      const auto there = static_cast<std::size_t>(unit * rows + row);
      if (back)
        result[here] = matrix[there];
      else
        result[there] = matrix[here];
    }
  return result;
}

// units_first: with matrices that have a row a unit, and their blocks from the last to the first.
Result engine(const Case& k, const Data& d, bool units_first = false) {
  const auto& cell = *recurrent::find_cell(k.cell.c_str());
  const cells::Activations standard{{ActivationKind::sigmoid}, {ActivationKind::tanh}, {ActivationKind::tanh}};
  Recurrence layer(cell, standard, k.I, k.H, true);
  auto w = rounded(d.kernel), r = rounded(d.recurrent_kernel), bias = rounded(d.bias);
  std::vector<int> order;
  for (int block = cell.gates; block-- > 0;) order.push_back(block);
  const auto biases = [&](const std::vector<float>& given) {
    std::vector<float> result(given.size());
    for (std::size_t i = 0; i < given.size(); ++i) {
      const auto row = i / static_cast<std::size_t>(cell.gates * k.H), unit = i % static_cast<std::size_t>(cell.gates * k.H);
      const auto H = static_cast<std::size_t>(k.H);
      result[(row * static_cast<std::size_t>(cell.gates) + static_cast<std::size_t>(order[unit / H])) * H + unit % H] = given[i];
    }
    return result;
  };
  if (units_first) {
    layer.set_units_first(order);
    w = turned(w, k.I, k.H, order, false), r = turned(r, k.H, k.H, order, false), bias = biases(bias);
  }
  const auto x = rounded(d.x), peephole = rounded(d.peephole), h0 = rounded(d.h0), c0 = rounded(d.c0), cy = rounded(d.cy),
             ch = rounded(d.ch), cc = rounded(d.cc);
  Result o;
  const auto like = [](const auto& v) { return std::vector<float>(v.size()); };
  o.y = like(cy), o.h = like(h0), o.c = like(c0), o.dx = like(x), o.dkernel = like(w), o.drecurrent = like(r), o.dbias = like(bias);
  o.dpeephole = like(peephole);
  o.dh0 = like(h0), o.dc0 = like(c0);
  const recurrent::Weights<const float> weights{w.data(), r.data(), bias.data(), peephole.data()};
  layer.prepare(weights, 1);
  const Buffer tape(layer.tape_size(k.T, k.B, false));
  recurrent::Forward f;
  f.layer = &layer, f.T = k.T, f.B = k.B, f.reverse = k.reverse;
  f.x = {x.data(), k.T * k.I, k.I};
  f.y = {o.y.data(), k.T * k.H, k.H};
  f.lengths = d.lengths.empty() ? nullptr : d.lengths.data();
  f.tape = tape.data();
  recurrent::Backward b;
  const std::vector<float>*initial[] = {&h0, &c0}, *d_final[] = {&ch, &cc};
  std::vector<float>*final[] = {&o.h, &o.c}, *d_initial[] = {&o.dh0, &o.dc0};
  for (int s = 0; s < cell.states; ++s) {
    f.initial[s] = k.initial ? initial[s]->data() : nullptr;
    f.final[s] = final[s]->data();
    b.d_final[s] = d_final[s]->data();
    b.d_initial[s] = d_initial[s]->data();
  }
  recurrent::forward({&f, 1});

  // Inference gives the same bits as the training pass.
  std::vector<float> y(o.y.size(), NAN);
  recurrent::Forward inference = f;
  inference.tape = nullptr;
  inference.y.data = y.data();
  recurrent::forward({&inference, 1});
  CHECK(y == o.y);

  b.forward = f, b.weights = weights;
  b.dy = {cy.data(), k.T * k.H, k.H};
  b.dx = {o.dx.data(), k.T * k.I, k.I};
  b.d_weights = {o.dkernel.data(), o.drecurrent.data(), o.dbias.data(), cell.peepholes > 0 ? o.dpeephole.data() : nullptr};
  recurrent::backward({&b, 1});
  if (units_first) {
    o.dkernel = turned(o.dkernel, k.I, k.H, order, true), o.drecurrent = turned(o.drecurrent, k.H, k.H, order, true);
    o.dbias = biases(o.dbias);  // the order is its own inverse
  }
  return o;
}

void check_close(const std::vector<float>& got, const Doubles& expected, double tolerance, const char* what) {
  double worst = 0, scale = 1;
  for (const double e : expected) scale = std::max(scale, std::abs(e));
  for (std::size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::abs(got[i] - expected[i]));
  INFO(what);
  CHECK(worst <= tolerance * scale);
}

// d loss / d (one of the data's arrays), by central differences in double.
Doubles numeric(const Case& k, Data d, Doubles Data::*what) {
  Doubles g;
  const auto loss = [&] {
    const Outputs o = reference(k, d);
    return dot(o.y, d.cy) + dot(o.h, d.ch) + dot(o.c, d.cc);
  };
  const std::size_t n = (d.*what).size();
  for (std::size_t i = 0; i < n; ++i) {
    double& v = (d.*what)[i];
    const double at = v, eps = 1e-6;
    v = at + eps;
    const double up = loss();
    v = at - eps;
    g.push_back((up - loss()) / (2 * eps));
    v = at;
  }
  return g;
}

void check(const Case& k) {
  const std::string described = current_isa() + " " + k.cell + " T " + std::to_string(k.T) + " B " + std::to_string(k.B) + " I " +
                                std::to_string(k.I) + " H " + std::to_string(k.H) + (k.lengths ? " lengths" : "") +
                                (k.initial ? " initial" : "") + (k.reverse ? " reverse" : "");
  INFO(described);
  std::mt19937 rng(static_cast<unsigned>(k.T * 1000 + k.B * 100 + k.H));
  const auto& cell = *recurrent::find_cell(k.cell.c_str());
  const Index G = cell.gates, states = k.B * k.H;
  Data d;
  d.x = draw(k.B * k.T * k.I, 1, rng);
  d.kernel = draw(k.I * G * k.H, 0.5, rng);
  d.recurrent_kernel = draw(k.H * G * k.H, 0.7 / std::sqrt(k.H), rng);
  d.bias = draw((cell.recurrent_bias ? 2 : 1) * G * k.H, 0.3, rng);
  d.peephole = draw(cell.peepholes * k.H, 0.5, rng);
  d.h0 = k.initial ? draw(states, 0.5, rng) : Doubles(static_cast<std::size_t>(states));
  d.c0 = k.initial && cell.states > 1 ? draw(states, 0.5, rng) : Doubles(static_cast<std::size_t>(states));
  d.cy = draw(k.B * k.T * k.H, 1, rng);
  d.ch = draw(states, 1, rng);
  d.cc = cell.states > 1 ? draw(states, 1, rng) : Doubles(static_cast<std::size_t>(states));
  if (k.lengths)
    for (Index b = 0; b < k.B; ++b) d.lengths.push_back(static_cast<std::int32_t>(b == 0 ? k.T : b == 1 ? 0 : (b * 7) % (k.T + 1)));

  const Outputs expected = reference(k, d);
  const Result got = engine(k, d);
  check_close(got.y, expected.y, 2e-6, "y");
  check_close(got.h, expected.h, 2e-6, "final h");
  if (cell.states > 1) check_close(got.c, expected.c, 2e-6, "final c");
  check_close(got.dx, numeric(k, d, &Data::x), 2e-5, "dx");
  check_close(got.dkernel, numeric(k, d, &Data::kernel), 2e-5, "d kernel");
  check_close(got.drecurrent, numeric(k, d, &Data::recurrent_kernel), 2e-5, "d recurrent kernel");
  check_close(got.dbias, numeric(k, d, &Data::bias), 2e-5, "d bias");
  check_close(got.dpeephole, numeric(k, d, &Data::peephole), 2e-5, "d peephole");
  check_close(got.dh0, numeric(k, d, &Data::h0), 2e-5, "d initial h");
  if (cell.states > 1) check_close(got.dc0, numeric(k, d, &Data::c0), 2e-5, "d initial c");

  const int threads = num_threads();
  for (const int n : {1, 2, 3, 0}) {
    if (n > 0) set_num_threads(n);
    const Result again = engine(k, d, n == 0);
    CHECK(again.y == got.y);
    CHECK(again.dx == got.dx);
    CHECK(again.dkernel == got.dkernel);
    CHECK(again.drecurrent == got.drecurrent);
    CHECK(again.dbias == got.dbias);
    CHECK(again.dpeephole == got.dpeephole);
    CHECK(again.dh0 == got.dh0);
  }
  set_num_threads(threads);
}

const std::vector<std::string> kCells = {"simple_rnn",           "lstm", "gru", "gru_reset_before", "lstm_peephole", "lstm_coupled",
                                         "lstm_peephole_coupled"};

}  // namespace

TEST_CASE("every cell, direction, length and initial state, on every ISA") {
  const std::string before = current_isa();
  std::size_t turn = 0;
  for (const std::string& isa : available_isas()) {
    set_isa(isa);
    for (const std::string& cell : kCells)
      for (const bool lengths : {false, true})
        for (const bool initial : {false, true})
          for (const bool reverse : {false, true}) {
            check({cell, 4, 3, 2, 5, lengths, initial, reverse});
            check({cell, 1, 1, 1, 1, lengths, initial, reverse});
          }
    std::size_t n = turn++;  // half of the cells on one instruction set, the others on the next
    for (const std::string& cell : kCells) {
      if (n++ % 2 == 0) continue;
      check({cell, 3, 13, 3, 17, true, true, true});  // several tiles of rows, several panels with a tail
      check({cell, 2, 2, 5, 33, false, true, false});
    }
  }
  set_isa(before);
}

TEST_CASE("no rows and no steps are ordinary inputs") {
  const auto& cell = *recurrent::find_cell("lstm");
  const Recurrence layer(cell, {{ActivationKind::sigmoid}, {ActivationKind::tanh}, {ActivationKind::tanh}}, 2, 3, false);
  const std::vector<float> w(2 * 12), r(3 * 12), h0 = {1, 2, 3};
  layer.prepare({w.data(), r.data(), nullptr}, 1);
  std::vector<float> h(3, -1.0f), y(1);
  recurrent::Forward f;
  f.layer = &layer, f.B = 1, f.T = 0;
  f.y = {y.data(), 0, 3};
  f.initial[0] = h0.data(), f.final[0] = h.data();
  recurrent::forward({&f, 1});
  CHECK(h == h0);
  f.B = 0, f.T = 5, f.initial[0] = nullptr, f.final[0] = nullptr;
  recurrent::forward({&f, 1});
}
