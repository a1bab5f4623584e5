// Equations: functions that nothing else asks for, registers and blocks, extents, derivation.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "each_isa.hpp"
#include "equations/code.hpp"
#include "rekur/denormals.hpp"

using namespace rekur;
using equations::Code;
using equations::Extent;
using equations::Graph;
using equations::Wanted;
using simd::Op;

namespace {

double ulps(float got, double exact) {
  if (static_cast<double>(got) == exact) return 0;
  int exponent = 0;
  std::frexp(exact, &exponent);
  return std::abs(static_cast<double>(got) - exact) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

void apply(const simd::Kernels& k, Op op, const float* x, float* y, Index n) {
  const simd::Instruction instruction{.op = op, .to = 1, .from = {0, 0, 0}};
  const simd::Operand operands[] = {{const_cast<float*>(x), n}, {y, n}};
  k.interpret(&instruction, 1, operands, 1, n);
}

float apply(const simd::Kernels& k, Op op, float x) {
  float y = 0;
  apply(k, op, &x, &y, 1);
  return y;
}

// Every sign and exponent of normal numbers in [low, high], and densely around 0 and 1.
std::vector<float> samples(float low, float high) {
  std::vector<float> x;
  for (std::uint32_t bits = 0x00800000u; bits < 0x7f800000u; bits += 2003)
    for (const std::uint32_t sign : {0u, 0x80000000u})
      if (const float v = std::bit_cast<float>(bits | sign); v >= low && v <= high) x.push_back(v);
  for (int i = -40000; i <= 40000; ++i)
    for (const float centre : {0.0f, 1.0f})
      if (const float v = centre + static_cast<float>(i) * 1e-4f; v >= low && v <= high && v != 0) x.push_back(v);
  return x;
}

struct Worst {
  double error = 0;
  float at = 0;
};

Worst sweep(const simd::Kernels& k, Op op, float low, float high, const std::function<double(double)>& exact, double absolute) {
  const std::vector<float> x = samples(low, high);
  std::vector<float> y(x.size());
  apply(k, op, x.data(), y.data(), static_cast<Index>(x.size()));
  Worst worst;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double right = exact(static_cast<double>(x[i]));
    if (std::abs(static_cast<double>(y[i]) - right) <= absolute) continue;
    const double e = ulps(y[i], right);
    if (!(e <= worst.error)) worst = {e, x[i]};
  }
  return worst;
}

constexpr float kInf = std::numeric_limits<float>::infinity(), kLargest = std::numeric_limits<float>::max();
constexpr float kSmallest = std::numeric_limits<float>::min();

// A graph of so many feature inputs, without an operation.
Graph inputs(std::initializer_list<Extent> extents) {
  equations::Equations none;
  for (std::size_t i = 0; i < extents.size(); ++i) none.inputs.push_back(std::to_string(i));
  none.nodes.resize(extents.size());
  return Graph(none, std::vector<Extent>(extents));
}

// On contiguous rows. Null: no input, or an output that nobody wants.
void run_on(const Code& code, const std::vector<const float*>& in, const std::vector<float*>& out, Index rows, Index features) {
  std::vector<simd::Operand> from, to;
  for (const float* x : in) from.push_back({const_cast<float*>(x), features});
  for (float* y : out) to.push_back({y, features});
  std::vector<float> memory(static_cast<std::size_t>(code.memory(features)) + 16);
  float* aligned = memory.data();
  while (reinterpret_cast<std::uintptr_t>(aligned) % 64 != 0) ++aligned;
  code.run(isa::kernels(), from.data(), to.data(), rows, features, aligned);
}

std::vector<float> run(const Code& code, const std::vector<std::vector<float>>& in, Index rows, Index features, Index size) {
  std::vector<const float*> from;
  for (const std::vector<float>& x : in) from.push_back(x.data());
  std::vector<float> out(static_cast<std::size_t>(size));
  run_on(code, from, {out.data()}, rows, features);
  return out;
}

}  // namespace

TEST_CASE("equations: log, log1p, sin, cos and erf over all exponents") {
  test::each_isa([](const simd::Kernels& k) {
    const auto check = [&](const char* name, Op op, float low, float high, double (*exact)(double), double most, double absolute) {
      const Worst w = sweep(k, op, low, high, exact, absolute);
      INFO(name << " at " << w.at << ": " << w.error << " ULP");
      CHECK(w.error <= most);
    };
    check("log", Op::log, kSmallest, kLargest, std::log, 1.5, 0);
    check("log1p", Op::log1p, -0.9999f, kLargest, std::log1p, 2.5, 0);
    check("sin", Op::sin, -32768.0f, 32768.0f, std::sin, 2.5, 6e-8);
    check("cos", Op::cos, -32768.0f, 32768.0f, std::cos, 2.5, 6e-8);
    check("sin, far", Op::sin, -kLargest, kLargest, std::sin, 2.5, 6e-8);
    check("cos, far", Op::cos, -kLargest, kLargest, std::cos, 2.5, 6e-8);
    check("erf", Op::erf, -kLargest, kLargest, std::erf, 2.5, 0);
  });
}

TEST_CASE("equations: zeros, infinities and NaN of the functions") {
  test::each_isa([](const simd::Kernels& k) {
    CHECK(apply(k, Op::log, 0.0f) == -kInf);
    CHECK(apply(k, Op::log, -0.0f) == -kInf);
    CHECK(apply(k, Op::log, kInf) == kInf);
    CHECK(apply(k, Op::log, 1.0f) == 0.0f);
    CHECK(std::isnan(apply(k, Op::log, -1.0f)));
    CHECK(std::isnan(apply(k, Op::log, -kInf)));
    CHECK(apply(k, Op::log1p, 0.0f) == 0.0f);
    CHECK(apply(k, Op::log1p, -1.0f) == -kInf);
    CHECK(apply(k, Op::log1p, kInf) == kInf);
    CHECK(std::isnan(apply(k, Op::log1p, -2.0f)));
    CHECK(apply(k, Op::sin, 0.0f) == 0.0f);
    CHECK(std::signbit(apply(k, Op::sin, -0.0f)));
    CHECK(apply(k, Op::cos, 0.0f) == 1.0f);
    CHECK(std::isnan(apply(k, Op::sin, kInf)));
    CHECK(std::isnan(apply(k, Op::cos, -kInf)));
    CHECK(apply(k, Op::erf, kInf) == 1.0f);
    CHECK(apply(k, Op::erf, -kInf) == -1.0f);
    CHECK(apply(k, Op::erf, 0.0f) == 0.0f);
    for (const Op op : {Op::log, Op::log1p, Op::sin, Op::cos, Op::erf, Op::exp, Op::sqrt, Op::absolute, Op::negative})
      CHECK(std::isnan(apply(k, op, std::numeric_limits<float>::quiet_NaN())));
  });
}

TEST_CASE("equations: the same value is computed once, and -0 is another constant than 0") {
  Graph graph = inputs({Extent::feature, Extent::feature});
  const int a = graph.add(Op::multiply, 0, 1), b = graph.add(Op::multiply, 0, 1), c = graph.add(Op::multiply, 1, 0);
  CHECK(a == b);
  CHECK(a != c);
  CHECK(graph.constant(0.0f) == graph.constant(0.0f));
  CHECK(graph.constant(0.0f) != graph.constant(-0.0f));
}

TEST_CASE("equations: a number a row is expanded where it meets features, and is its own sum") {
  Graph graph = inputs({Extent::feature, Extent::row});
  const int mixed = graph.add(Op::add, 0, 1);
  CHECK(graph.extent(mixed) == Extent::feature);
  CHECK(graph.nodes()[static_cast<std::size_t>(mixed)].from[1] == graph.expanded(1));
  CHECK(graph.extent(graph.add(Op::row_sum, mixed)) == Extent::row);
  CHECK(graph.add(Op::row_sum, 1) == 1);
  CHECK(graph.extent(graph.add(Op::add, 1, graph.constant(2))) == Extent::row);
}

TEST_CASE("equations: blocks, tails and registers: any number of rows and features, null inputs are zero") {
  test::each_isa([](const simd::Kernels&) {
    Graph graph = inputs({Extent::feature, Extent::row});
    const int centred = graph.add(Op::subtract, 0, graph.add(Op::row_mean, 0));
    const int y = graph.add(Op::add, graph.add(Op::multiply, centred, 1), graph.constant(0.5f));
    const Wanted wanted[] = {{y, true}};  // added to what is there
    const Code code(graph, wanted);
    for (const Index features : {1, 2, 3, 7, 16, 17, 100, 256, 257, 1000})
      for (const Index rows : {0, 1, 2, 33}) {
        std::vector<float> x(static_cast<std::size_t>(rows * features)), s(static_cast<std::size_t>(rows));
        for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 7919 % 31) - 15;
        for (std::size_t i = 0; i < s.size(); ++i) s[i] = static_cast<float>(i % 5) - 2;
        const std::vector<float> out = run(code, {x, s}, rows, features, rows * features);
        double worst = 0;
        for (Index r = 0; r < rows; ++r) {
          double mean = 0;
          for (Index j = 0; j < features; ++j) mean += static_cast<double>(x[static_cast<std::size_t>(r * features + j)]);
          mean /= static_cast<double>(features);
          for (Index j = 0; j < features; ++j) {
            const auto i = static_cast<std::size_t>(r * features + j);
            const double right = (static_cast<double>(x[i]) - mean) * static_cast<double>(s[static_cast<std::size_t>(r)]) + 0.5;
            worst = std::max(worst, std::abs(right - static_cast<double>(out[i])));
          }
        }
        INFO(rows << " rows of " << features);
        CHECK(worst < 1e-4);
      }
    std::vector<float> out(6, 1.0f);
    run_on(code, {nullptr, nullptr}, {out.data()}, 2, 3);
    CHECK(out == std::vector<float>(6, 1.5f));
    run_on(code, {nullptr, nullptr}, {nullptr}, 2, 3);  // computed and thrown away
  });
}

TEST_CASE("equations: outputs that are inputs, constants beside an input, or asked for twice") {
  Graph graph = inputs({Extent::feature});
  const int y = graph.add(Op::negative, 0);
  const Wanted wanted[] = {{0}, {y}, {y}, {y, true}};
  const Code code(graph, wanted);
  std::vector<float> x{1, 2, 3}, a(3), b(3), c(3), d(3, 10.0f);
  run_on(code, {x.data()}, {a.data(), b.data(), c.data(), d.data()}, 1, 3);
  CHECK(a == x);
  CHECK(b == std::vector<float>{-1, -2, -3});
  CHECK(c == b);
  CHECK(d == std::vector<float>{9, 8, 7});
}

TEST_CASE("equations: what no output needs is not computed, and registers are used again") {
  Graph graph = inputs({Extent::feature});
  graph.add(Op::exp, 0);
  int y = 0;
  for (int i = 0; i < 100; ++i) y = graph.add(Op::sin, y);
  const Wanted wanted[] = {{y}};
  const Code code(graph, wanted);
  CHECK(code.size() == 100);
  CHECK(code.memory(1) <= 5 * equations::kBlock);
}

TEST_CASE("equations: rows apart from one another, the same for all, and outputs in the place of inputs") {
  // a and b change places while c takes that of the sum's operand, whatever is read when.
  Graph graph = inputs({Extent::feature, Extent::feature, Extent::feature});
  const int sum = graph.add(Op::add, 0, 2), product = graph.add(Op::multiply, 1, sum);
  const Wanted wanted[] = {{1, false, 0}, {0, false, 1}, {product, false, 2}};
  const Code code(graph, wanted);
  constexpr Index kRows = 5, kFeatures = 19, kStride = 23;
  test::each_isa([&](const simd::Kernels& k) {
    std::vector<float> a(kRows * kStride), b(kRows * kStride), c(kRows * kFeatures), shared(kFeatures);
    for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i), b[i] = -2 * static_cast<float>(i);
    for (std::size_t i = 0; i < c.size(); ++i) c[i] = static_cast<float>(i % 7);
    const std::vector<float> a0 = a, b0 = b, c0 = c;
    const simd::Operand in[] = {{a.data(), kStride}, {b.data(), kStride}, {c.data(), kFeatures}};
    std::vector<float> memory(static_cast<std::size_t>(code.memory(kFeatures)) + 16);
    float* aligned = memory.data();
    while (reinterpret_cast<std::uintptr_t>(aligned) % 64 != 0) ++aligned;
    code.run(k, in, in, kRows, kFeatures, aligned);
    for (Index row = 0; row < kRows; ++row)
      for (Index j = 0; j < kStride; ++j) {
        const auto i = static_cast<std::size_t>(row * kStride + j), at = static_cast<std::size_t>(row * kFeatures + j);
        if (j >= kFeatures) {
          CHECK(a[i] == a0[i]);
          continue;
        }
        CHECK(a[i] == b0[i]);
        CHECK(b[i] == a0[i]);
        CHECK(c[at] == b0[i] * (a0[i] + c0[at]));
      }
  });
}

#if REKUR_TRAINING
TEST_CASE("equations: the gradient of a normalised row looks at it twice, and is the exact one") {
  constexpr Index n = 21;
  constexpr double epsilon = 1e-3;
  equations::Equations norm;
  norm.inputs = {"x"};
  norm.nodes.resize(1);
  const auto node = [&](Op op, int a, int b = -1) {
    norm.nodes.push_back({.op = op, .from = {a, b, -1}});
    return static_cast<int>(norm.nodes.size()) - 1;
  };
  const int centred = node(Op::subtract, 0, node(Op::row_mean, 0)),
            variance = node(Op::row_mean, node(Op::multiply, centred, centred));
  norm.nodes.push_back({.constant = true, .value = static_cast<float>(epsilon)});
  const int constant = static_cast<int>(norm.nodes.size()) - 1;
  norm.outputs = {node(Op::divide, centred, node(Op::sqrt, node(Op::add, variance, constant)))};

  Graph graph(norm, std::vector<Extent>{Extent::feature});
  const auto reductions = [&] {
    return std::count_if(graph.nodes().begin(), graph.nodes().end(), [](const auto& v) { return equations::reduces(v.op); });
  };
  const int d = graph.input(Extent::feature);
  const int arriving[] = {d};
  const auto before = reductions();
  const int gradient = graph.derive(arriving)[0];
  CHECK(reductions() == before + 2);

  std::vector<float> x(n), dy(n);
  for (Index i = 0; i < n; ++i) {
    x[static_cast<std::size_t>(i)] = std::sin(static_cast<float>(3 * i + 1));
    dy[static_cast<std::size_t>(i)] = std::cos(static_cast<float>(5 * i + 2));
  }
  double mean = 0, square = 0, sum = 0, along = 0;
  for (const float v : x) mean += static_cast<double>(v) / n;
  for (const float v : x) square += (static_cast<double>(v) - mean) * (static_cast<double>(v) - mean) / n;
  const double deviation = std::sqrt(square + epsilon);
  const auto y = [&](std::size_t i) { return (static_cast<double>(x[i]) - mean) / deviation; };
  for (std::size_t i = 0; i < x.size(); ++i) {
    sum += static_cast<double>(dy[i]) / n;
    along += static_cast<double>(dy[i]) * y(i) / n;
  }
  const Wanted wanted[] = {{gradient}};
  const std::vector<float> got = run(Code(graph, wanted), {x, dy}, 1, n, n);
  for (std::size_t i = 0; i < x.size(); ++i)
    CHECK(got[i] == doctest::Approx((static_cast<double>(dy[i]) - sum - y(i) * along) / deviation).epsilon(1e-5));
}
#endif
