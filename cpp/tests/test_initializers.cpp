#include "runtime/random.hpp"
#include "train/initializers.hpp"
#include "train/orthogonal.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "io_helpers.hpp"
#include "rekur/runtime.hpp"
#include "runtime/interrupt.hpp"

using namespace rekur;
using tests::error_of;

namespace {

std::vector<float> draw(const std::string& initializer, const Shape& shape, std::uint64_t seed = 1, std::uint32_t stream = 0,
                        Index units = 0, Index forget = -1) {
  std::vector<float> out(static_cast<std::size_t>(element_count(shape)), std::nanf(""));
  train::initialize(json::parse(initializer), shape, "Dense 'd': kernel_initializer", seed, stream, units, forget, out);
  return out;
}

struct Moments {
  double mean = 0, stddev = 0, low = 0, high = 0;
};
Moments moments(const std::vector<float>& values) {
  Moments m;
  for (const float v : values) m.mean += v;
  m.mean /= static_cast<double>(values.size());
  for (const float v : values) m.stddev += (v - m.mean) * (v - m.mean);
  m.stddev = std::sqrt(m.stddev / static_cast<double>(values.size()));
  m.low = *std::min_element(values.begin(), values.end());
  m.high = *std::max_element(values.begin(), values.end());
  return m;
}

// The largest departure from orthonormality of the rows (or, with more rows than columns, the columns), divided by gain².
double departure(const std::vector<float>& matrix, Index rows, Index columns, double gain = 1) {
  const bool by_rows = rows <= columns;
  const Index k = std::min(rows, columns), n = std::max(rows, columns);
  const auto at = [&](Index i, Index j) {
    return static_cast<double>(matrix[static_cast<std::size_t>(by_rows ? i * columns + j : j * columns + i)]);
  };
  double worst = 0;
  for (Index a = 0; a < k; ++a) {
    for (Index b = 0; b <= a; ++b) {
      double sum = 0;
      for (Index j = 0; j < n; ++j) sum += at(a, j) * at(b, j);
      worst = std::max(worst, std::abs(sum / (gain * gain) - (a == b ? 1 : 0)));
    }
  }
  return worst;
}

}  // namespace

TEST_CASE("initializers: constants") {
  for (const float v : draw("\"zeros\"", {3, 5})) CHECK(v == 0.0f);
  for (const float v : draw("\"ones\"", {3, 5})) CHECK(v == 1.0f);
  for (const float v : draw(R"({"name":"constant","value":-2.5})", {7})) CHECK(v == -2.5f);
  CHECK(draw("\"glorot_uniform\"", {0, 5}).empty());
  CHECK(draw("\"orthogonal\"", {0, 5}).empty());
  CHECK(draw("\"orthogonal\"", {5, 0}).empty());
  const std::vector<float> bias = draw("\"unit_forget\"", {12}, 1, 0, 3, 3);
  CHECK(bias == std::vector<float>{0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0});
}

TEST_CASE("initializers: mean, spread and range are those named") {
  const Shape shape{300, 500};  // fan-in 300, fan-out 500, 150,000 draws
  struct Case {
    std::string text;
    double mean, stddev, low, high;
  };
  const double none = 1e9;
  const auto uniform = [](const std::string& text, double bound) { return Case{text, 0, bound / std::sqrt(3), -bound, bound}; };
  const auto truncated = [](const std::string& text, double stddev) {
    return Case{text, 0, stddev, -2 * stddev / 0.8796256610342398, 2 * stddev / 0.8796256610342398};
  };
  const std::vector<Case> table = {
      uniform("\"uniform\"", 0.05),
      {R"({"name":"uniform","low":1,"high":3})", 2, 1 / std::sqrt(3), 1, 3},
      {"\"normal\"", 0, 0.05, -none, none},
      {R"({"name":"normal","mean":-1,"stddev":2.0})", -1, 2, -none, none},
      uniform("\"glorot_uniform\"", std::sqrt(6.0 / 800)),
      uniform("\"he_uniform\"", std::sqrt(6.0 / 300)),
      uniform("\"lecun_uniform\"", std::sqrt(3.0 / 300)),
      uniform("\"rnn_uniform\"", 0.25),
      truncated("\"glorot_normal\"", std::sqrt(2.0 / 800)),
      truncated("\"he_normal\"", std::sqrt(2.0 / 300)),
      truncated("\"lecun_normal\"", std::sqrt(1.0 / 300)),
  };
  for (const Case& c : table) {
    INFO(c.text);
    const std::vector<float> values = draw(c.text, shape, 5, 3, 16);
    const Moments m = moments(values);
    const double error = c.stddev / std::sqrt(static_cast<double>(values.size()));
    CHECK(std::abs(m.mean - c.mean) < 5 * error);
    CHECK(std::abs(m.stddev - c.stddev) < 5 * error);
    CHECK(m.low >= c.low - 1e-6);
    CHECK(m.high <= c.high + 1e-6);
    if (c.high < none) {  // and the range is used up to its ends
      CHECK(m.low < c.low + 0.01 * (c.high - c.low));
      CHECK(m.high > c.high - 0.01 * (c.high - c.low));
    }
  }
}

TEST_CASE("initializers: orthogonal matrices are") {
  for (const Shape& shape :
       {Shape{1, 1}, Shape{1, 9}, Shape{9, 1}, Shape{64, 64}, Shape{33, 132}, Shape{130, 33}, Shape{100, 97}}) {
    INFO(to_string(shape));
    CHECK(departure(draw("\"orthogonal\"", shape), shape[0], shape[1]) < 1e-5);
  }
  CHECK(departure(draw(R"({"name":"orthogonal","gain":3})", {20, 80}), 20, 80, 3) < 1e-5);
  CHECK(departure(draw("\"orthogonal\"", {2, 3, 8}), 6, 8) < 1e-5);
}

TEST_CASE("orthonormalize_rows: orthonormal to a double's digits, the same bits for all threads and instruction sets") {
  const int threads = num_threads();
  const std::string isa = current_isa();
  for (const auto& size : {std::pair<Index, Index>{1, 1}, {7, 7}, {9, 40}, {300, 300}, {530, 700}}) {
    const Index rows = size.first, columns = size.second;
    CAPTURE(rows);
    std::vector<double> drawn(static_cast<std::size_t>(rows * columns)), first;
    const random::Stream draws(11, 0, 0);
    for (std::size_t i = 0; i < drawn.size(); ++i) drawn[i] = draws.normal(i);
    for (const std::string& name : available_isas()) {
      set_isa(name);
      for (const int n : {1, 2, 3}) {
        set_num_threads(n);
        std::vector<double> matrix = drawn;
        train::orthonormalize_rows(rows, columns, matrix);
        if (first.empty()) first = matrix;
        CHECK(std::memcmp(first.data(), matrix.data(), matrix.size() * sizeof(double)) == 0);
      }
    }
    double worst = 0;
    for (Index i = 0; i < rows; ++i) {
      double along = 0;  // of the row it came from: the triangular factor's diagonal
      for (Index k = 0; k < columns; ++k)
        along += first[static_cast<std::size_t>(i * columns + k)] * drawn[static_cast<std::size_t>(i * columns + k)];
      CHECK(along > 0);
      for (Index j = 0; j <= i; ++j) {
        double sum = 0;
        for (Index k = 0; k < columns; ++k)
          sum += first[static_cast<std::size_t>(i * columns + k)] * first[static_cast<std::size_t>(j * columns + k)];
        worst = std::max(worst, std::abs(sum - (i == j ? 1 : 0)));
      }
    }
    CHECK(worst < 1e-11);
  }
  set_isa(isa);
  set_num_threads(threads);
}

TEST_CASE("initializers: an orthogonal matrix is spread uniformly") {
  // Over the Haar measure of n × n matrices an entry has mean 0 and variance 1/n, and the trace mean 0 and variance 1.
  double corner = 0, corner_square = 0, last_square = 0, trace = 0, trace_square = 0;
  const int samples = 4000;
  for (int s = 0; s < samples; ++s) {
    const std::vector<float> m = draw("\"orthogonal\"", {4, 4}, static_cast<std::uint64_t>(s));
    const double t = static_cast<double>(m[0]) + m[5] + m[10] + m[15];
    corner += m[0], corner_square += m[0] * m[0], last_square += m[15] * m[15];
    trace += t, trace_square += t * t;
  }
  const double error = 5 / std::sqrt(samples);
  CHECK(std::abs(corner / samples) < error * 0.5);
  CHECK(std::abs(corner_square / samples - 0.25) < error * 0.25);
  CHECK(std::abs(last_square / samples - 0.25) < error * 0.25);
  CHECK(std::abs(trace / samples) < error);
  CHECK(std::abs(trace_square / samples - 1) < error * 1.5);
}

TEST_CASE("initializers: not a bit depends on the number of threads") {
  const int before = num_threads();
  for (const char* name : {"\"glorot_uniform\"", "\"normal\"", "\"he_normal\"", "\"orthogonal\""}) {
    INFO(name);
    std::vector<std::vector<float>> results;
    for (const int threads : {1, 2, 3}) {
      set_num_threads(threads);
      results.push_back(draw(name, {130, 261}));
    }
    for (const auto& result : results) CHECK(std::memcmp(result.data(), results[0].data(), result.size() * sizeof(float)) == 0);
  }
  set_num_threads(before);
}

TEST_CASE("initializers: seed and stream give different numbers, the same ones the same") {
  for (const char* name : {"\"glorot_uniform\"", "\"he_normal\"", "\"orthogonal\""}) {
    const std::vector<float> a = draw(name, {16, 16}, 1, 0);
    CHECK(a == draw(name, {16, 16}, 1, 0));
    CHECK(a != draw(name, {16, 16}, 2, 0));
    CHECK(a != draw(name, {16, 16}, 1, 1));
    CHECK(a != draw(name, {16, 16}, (std::uint64_t{1} << 32) + 1, 0));
  }
}

TEST_CASE("initializers: the same seed gives the same weights on every machine") {
  // Recorded once; whoever changes how weights are drawn changes what every published seed means.
  const auto bits = [](float v) {
    std::uint32_t b = 0;
    std::memcpy(&b, &v, 4);
    return b;
  };
  const auto hash = [&](const std::vector<float>& values) {
    std::uint64_t h = 0xcbf29ce484222325u;
    for (const float v : values) h = (h ^ bits(v)) * 0x100000001b3u;
    return h;
  };
  CHECK(hash(draw("\"glorot_uniform\"", {64, 256}, 42, 7)) == 0x59b5fae8deb59177u);
  CHECK(hash(draw("\"he_normal\"", {64, 256}, 42, 7)) == 0x13e9ed5e5cf14f33u);
  CHECK(hash(draw("\"orthogonal\"", {64, 256}, 42, 7)) == 0x0012269e8faa952fu);
}

TEST_CASE("initializers: unit_forget draws the gates beside the forget gate by its others, i alone, then g and o together") {
  const std::vector<float> constant = draw(R"({"name":"unit_forget","others":{"name":"constant","value":0.5}})", {12}, 1, 0, 3, 3);
  for (std::size_t i = 0; i < 12; ++i) CHECK(constant[i] == (i >= 3 && i < 6 ? 1.0f : 0.5f));

  const Index H = 200;
  const std::vector<float> drawn = draw(R"({"name":"unit_forget","others":"he_uniform"})", {4 * H}, 1, 0, H, H);
  const auto largest = [&](Index from, Index to) {
    float found = 0;
    for (Index i = from; i < to; ++i) found = std::max(found, std::abs(drawn[static_cast<std::size_t>(i)]));
    return static_cast<double>(found);
  };
  const double alone = std::sqrt(6.0 / 200), together = std::sqrt(6.0 / 400);
  CHECK(largest(0, H) <= alone);
  CHECK(largest(0, H) > 0.95 * alone);
  CHECK(largest(2 * H, 4 * H) <= together);
  CHECK(largest(2 * H, 4 * H) > 0.95 * together);
  for (Index i = H; i < 2 * H; ++i) CHECK(drawn[static_cast<std::size_t>(i)] == 1.0f);
  CHECK(std::abs(drawn[0] / alone - drawn[static_cast<std::size_t>(2 * H)] / together) > 1e-6);  // of other random numbers
}

TEST_CASE("initializers: who interrupts waits for a slice of a large matrix") {
  static int asked = 0;
  const runtime::InterruptCheck check([] { ++asked; });
  const int threads = num_threads();
  set_num_threads(1);
  draw("\"normal\"", {3000, 3000});
  CHECK(asked == 2);  // after 4 and 8 million numbers
#if !defined(REKUR_TEST_SANITIZED)
  asked = 0;
  draw("\"orthogonal\"", {544, 8192});
  CHECK(asked > 1 + 3);  // the draws, three panels of rows, and within the first
#endif
  set_num_threads(threads);
  const runtime::InterruptCheck ending([] { throw std::runtime_error("interrupted"); });
  CHECK_THROWS_AS(draw("\"he_normal\"", {3000, 3000}), std::runtime_error);
}

TEST_CASE("initializers: mistakes are named") {
  const auto check = [](const std::string& text) {
    return error_of([&] { train::check_initializer(json::parse(text), "Dense 'd': kernel_initializer"); });
  };
  const std::string prefix = "Dense 'd': kernel_initializer: ";
  for (const char* name : {"zeros", "ones", "uniform", "normal", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal",
                           "lecun_uniform", "lecun_normal", "orthogonal", "rnn_uniform", "unit_forget"}) {
    CHECK(check("\"" + std::string(name) + "\"") == "");
    CHECK(check("{\"name\":\"" + std::string(name) + "\"}") == "");
    CHECK(check("{\"name\":\"" + std::string(name) + "\",\"scale\":1}").starts_with(prefix + "unknown key 'scale'"));
  }
  CHECK(check("\"glorot_unifrom\"") == prefix + "unknown initializer 'glorot_unifrom' (did you mean 'glorot_uniform'?)");
  CHECK(check("\"x\"").starts_with(prefix + "unknown initializer 'x' (known: zeros, ones, "));
  CHECK(check("5") == prefix + "expected the name of an initializer or an object, got 5");
  CHECK(check("{}") == prefix + "missing key 'name'");
  CHECK(check("\"constant\"") == prefix + "missing key 'value'");
  CHECK(check(R"({"name":"constant","value":"1"})") == prefix + "'value' must be a number, got \"1\"");
  CHECK(check(R"({"name":"constant","value":1e39})") == prefix + "'value' must be within the range of float32, got 1e+39");
  CHECK(check(R"({"name":"normal","sttdev":1})") == prefix + "unknown key 'sttdev' (did you mean 'stddev'?)");
  CHECK(check(R"({"name":"normal","stddev":-1})") == prefix + "'stddev' must be 0 or more, got -1");
  CHECK(check(R"({"name":"uniform","low":1,"high":0})") == prefix + "'low' must not be above 'high'");
  CHECK(check(R"({"name":"unit_forget","others":"onse"})") == prefix + "others: unknown initializer 'onse' (did you mean 'ones'?)");
  CHECK(check(R"({"name":"unit_forget","others":"unit_forget"})") ==
        prefix + "'others' must be another initializer than unit_forget, got \"unit_forget\"");
  CHECK(check(R"({"name":"ones","others":"ones"})").starts_with(prefix + "unknown key 'others'"));
  CHECK(error_of([] { draw("\"unit_forget\"", {4, 4}, 1, 0, 4); }) ==
        prefix + "'unit_forget' is for the bias of a forget gate, which this parameter of shape (4, 4) has not");
  std::vector<float> wrong(5);
  CHECK_THROWS_AS(train::initialize(json::Value("zeros"), {2, 3}, "x", 0, 0, 0, -1, wrong), Error);
}
