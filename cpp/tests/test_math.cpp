// exp, tanh, sigmoid and the other activations against float64, over the whole range of float.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "each_isa.hpp"
#include "rekur/denormals.hpp"
#include "runtime/parallel.hpp"

namespace rekur {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kSmallest = std::numeric_limits<float>::min();  // normal
constexpr float kDenormal = std::numeric_limits<float>::denorm_min();

// Distance in units of the last place of a float of the size of `exact`.
double ulps(float got, double exact) {
  if (static_cast<double>(got) == exact) return 0;
  int exponent = 0;
  std::frexp(exact, &exponent);
  return std::abs(got - exact) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

// Every sign and exponent, about three million bit patterns, all finite.
const std::vector<float>& samples() {
  static const std::vector<float> all = [] {
    std::vector<float> x;
    for (std::uint32_t bits = 0; bits < 0x7f800000u; bits += 1409)
      for (const std::uint32_t sign : {0u, 0x80000000u}) x.push_back(std::bit_cast<float>(bits | sign));
    // Densely where something happens: the edges of the reduction and of the range of exp.
    for (int i = -110000; i <= 110000; ++i) x.push_back(static_cast<float>(i) * 1e-3f);
    return x;
  }();
  return all;
}

struct Worst {
  double error = 0;
  float at = 0;
  void see(double e, float x) {
    if (!(e <= error) && !std::isnan(error)) error = e, at = x;  // a NaN is the worst there is, and stays
  }
};

template <class Kernel, class Exact, class Measure>
Worst sweep(const Kernel& kernel, const Exact& exact, const Measure& measure) {
  const std::vector<float>& x = samples();
  std::vector<float> y(x.size());
  kernel(x.data(), y.data(), static_cast<Index>(x.size()));
  Worst worst;
  const bool flushes = test::always_flushes();
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double right = exact(static_cast<double>(x[i]));
    if (flushes && (std::abs(x[i]) < kSmallest || std::abs(right) < static_cast<double>(kSmallest))) continue;
    worst.see(measure(y[i], right), x[i]);
  }
  return worst;
}

float apply(const simd::Kernels& k, Activation f, float x) {
  float y = 0;
  k.activate(f, &x, &y, 1);
  return y;
}

float apply_exp(const simd::Kernels& k, float x) {
  k.exp(&x, &x, 1);
  return x;
}

// Beyond float's range the right result is infinity.
double exp_exact(double x) {
  const double e = std::exp(x);
  return static_cast<float>(e) == kInf ? static_cast<double>(kInf) : e;
}

double sigmoid_exact(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }

}  // namespace

TEST_CASE("exp, tanh and softplus are within 4 ULP, sigmoid within 1e-7 and 4 ULP, over all exponents") {
  test::each_isa([](const simd::Kernels& k) {
    const Worst e = sweep([&](auto... a) { k.exp(a...); }, exp_exact, ulps);
    INFO("exp at " << e.at << ": " << e.error << " ULP");
    CHECK(e.error <= 2.0);

    const Worst t =
        sweep([&](auto... a) { k.activate({ActivationKind::tanh}, a...); }, [](double x) { return std::tanh(x); }, ulps);
    INFO("tanh at " << t.at << ": " << t.error << " ULP");
    CHECK(t.error <= 3.0);

    const auto softplus = [](double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); };
    const Worst p = sweep([&](auto... a) { k.activate({ActivationKind::softplus}, a...); }, softplus, ulps);
    INFO("softplus at " << p.at << ": " << p.error << " ULP");
    CHECK(p.error <= 4.0);

    const auto sigmoid = [&](auto... a) { k.activate({ActivationKind::sigmoid}, a...); };
    const Worst s = sweep(sigmoid, sigmoid_exact, [](float got, double exact) { return std::abs(got - exact); });
    INFO("sigmoid at " << s.at << ": " << s.error);
    CHECK(s.error <= 1e-7);
    const Worst r = sweep(sigmoid, sigmoid_exact, [](float got, double exact) { return exact < 1e-37 ? 0.0 : ulps(got, exact); });
    INFO("sigmoid at " << r.at << ": " << r.error << " ULP");
    CHECK(r.error <= 4.0);
  });
}

TEST_CASE("tanh and sigmoid stay within their bounds") {
  test::each_isa([](const simd::Kernels& k) {
    std::vector<float> y(samples().size());
    k.activate({ActivationKind::tanh}, samples().data(), y.data(), static_cast<Index>(y.size()));
    bool within = true;
    for (const float v : y) within = within && v >= -1 && v <= 1;
    CHECK(within);
    k.activate({ActivationKind::sigmoid}, samples().data(), y.data(), static_cast<Index>(y.size()));
    within = true;
    for (const float v : y) within = within && v >= 0 && v <= 1;
    CHECK(within);
  });
}

TEST_CASE("zeros, infinities, NaN and denormals") {
  test::each_isa([](const simd::Kernels& k) {
    CHECK(apply_exp(k, 0.0f) == 1.0f);
    CHECK(apply_exp(k, -0.0f) == 1.0f);
    CHECK(apply_exp(k, kInf) == kInf);
    CHECK(apply_exp(k, -kInf) == 0.0f);
    CHECK(std::isnan(apply_exp(k, kNan)));
    CHECK(apply_exp(k, kDenormal) == 1.0f);
    CHECK(apply_exp(k, 88.7228f) < kInf);
    CHECK(apply_exp(k, 88.7229f) == kInf);
    CHECK(apply_exp(k, -100.0f) == doctest::Approx(std::exp(-100.0)).epsilon(0.02));  // denormal: 26 units of the last place

    const Activation tanh{ActivationKind::tanh};
    CHECK(apply(k, tanh, 0.0f) == 0.0f);
    CHECK(!std::signbit(apply(k, tanh, 0.0f)));
    CHECK(std::signbit(apply(k, tanh, -0.0f)));
    CHECK(apply(k, tanh, kInf) == 1.0f);
    CHECK(apply(k, tanh, -kInf) == -1.0f);
    CHECK(std::isnan(apply(k, tanh, kNan)));
    CHECK(std::isnan(apply(k, tanh, -kNan)));
    if (!test::always_flushes()) {
      CHECK(apply(k, tanh, kDenormal) == kDenormal);
      CHECK(apply(k, tanh, -1e-40f) == -1e-40f);
    }

    const Activation sigmoid{ActivationKind::sigmoid};
    CHECK(apply(k, sigmoid, 0.0f) == 0.5f);
    CHECK(apply(k, sigmoid, -0.0f) == 0.5f);
    CHECK(apply(k, sigmoid, kInf) == 1.0f);
    CHECK(apply(k, sigmoid, -kInf) == 0.0f);
    CHECK(std::isnan(apply(k, sigmoid, kNan)));
    CHECK(apply(k, sigmoid, kDenormal) == 0.5f);

    const Activation softplus{ActivationKind::softplus};
    CHECK(apply(k, softplus, kInf) == kInf);
    CHECK(apply(k, softplus, -kInf) == 0.0f);
    CHECK(apply(k, softplus, kDenormal) == doctest::Approx(std::log(2.0)).epsilon(1e-7));
  });
}

TEST_CASE("with denormals flushed, a denormal result or input may be zero and nothing else changes") {
  test::each_isa([](const simd::Kernels& k) {
    const FlushDenormals flush;
    const float e = apply_exp(k, -100.0f);
    CHECK(e >= 0.0f);
    CHECK(e <= 4e-44f);
    CHECK(apply_exp(k, -80.0f) == doctest::Approx(std::exp(-80.0)).epsilon(1e-6));
    CHECK(apply(k, {ActivationKind::tanh}, -kInf) == -1.0f);
    CHECK(apply(k, {ActivationKind::sigmoid}, -kInf) == 0.0f);
  });
}

TEST_CASE("the other activations, NaN included") {
  test::each_isa([](const simd::Kernels& k) {
    const Activation leaky{ActivationKind::leaky_relu, 0.2f};
    const Activation elu{ActivationKind::elu, 1.5f};
    const Activation hard{ActivationKind::hard_sigmoid, 0.25f, 0.5f};
    const Activation affine{ActivationKind::affine, -0.25f, 0.5f};
    const Activation scaled{ActivationKind::scaled_tanh, -2.0f, 0.5f};
    for (const float x : {-kInf, -30.0f, -3.0f, -1.0f, -1e-6f, 0.0f, 1e-6f, 0.5f, 1.0f, 3.0f, 30.0f, kInf}) {
      INFO("x = " << x);
      const double d = static_cast<double>(x);
      CHECK(apply(k, {ActivationKind::linear}, x) == x);
      CHECK(apply(k, {ActivationKind::relu}, x) == std::max(x, 0.0f));
      CHECK(apply(k, leaky, x) == (x > 0 ? x : 0.2f * x));
      CHECK(ulps(apply(k, elu, x), x > 0 ? d : 1.5 * std::expm1(d)) <= 4);
      CHECK(ulps(apply(k, {ActivationKind::softsign}, x), std::isinf(x) ? std::copysign(1.0, d) : d / (1 + std::abs(d))) <= 2);
      CHECK(ulps(apply(k, hard, x), std::min(std::max(0.25 * d + 0.5, 0.0), 1.0)) <= 2);
      CHECK(ulps(apply(k, affine, x), -0.25 * d + 0.5) <= 2);
      CHECK(ulps(apply(k, scaled, x), -2 * std::tanh(0.5 * d)) <= 4);
      for (const float alpha : {-1.0f, 0.5f})
        CHECK(apply(k, {ActivationKind::thresholded_relu, alpha}, x) == (x > alpha ? x : 0.0f));
    }
    for (int kind = 0; kind <= static_cast<int>(ActivationKind::softplus); ++kind)
      CHECK(std::isnan(apply(k, {static_cast<ActivationKind>(kind), 0.2f, 0.5f}, kNan)));
  });
}

}  // namespace rekur
