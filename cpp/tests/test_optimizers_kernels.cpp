// The optimiser kernels against their equations in float64 over a few steps.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "each_isa.hpp"

namespace rekur {
namespace {

const std::vector<Index> kSizes = {0, 1, 2, 3, 5, 7, 17, 31, 33, 65};
constexpr int kSteps = 5;

std::vector<float> numbers(Index n, double phase) {
  std::vector<float> x;
  for (Index i = 0; i < n; ++i) x.push_back(static_cast<float>(std::sin(1.3 * static_cast<double>(i) + phase)));
  x.push_back(12345.0f);  // beyond the range: must stay
  return x;
}

std::vector<double> widened(const std::vector<float>& x) { return {x.begin(), x.end()}; }

double largest_difference(const std::vector<float>& got, const std::vector<double>& exact) {
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::abs(static_cast<double>(got[i]) - exact[i]));
  return worst;
}

}  // namespace

TEST_CASE("sgd: plain, with momentum, with Nesterov's") {
  const float lr = 0.1f, grad_scale = 0.5f;
  test::each_isa([&](const simd::Kernels& k) {
    for (const Index n : kSizes)
      for (const int mode : {0, 1, 2}) {
        INFO("n " << n << " mode " << mode);
        const double momentum = mode ? 0.9 : 0.0;
        std::vector<float> w = numbers(n, 0.1), velocity(w.size());
        std::vector<double> W = widened(w), V(w.size());
        for (int step = 0; step < kSteps; ++step) {
          const std::vector<float> g = numbers(n, step);
          k.sgd(w.data(), g.data(), mode ? velocity.data() : nullptr, n, lr, static_cast<float>(momentum), mode == 2, grad_scale);
          for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
            const double gradient = 0.5 * static_cast<double>(g[i]);
            V[i] = momentum * V[i] - 0.1 * gradient;
            W[i] += mode == 2 ? momentum * V[i] - 0.1 * gradient : V[i];
          }
        }
        CHECK(largest_difference(w, W) < 1e-6);
        if (mode) CHECK(largest_difference(velocity, V) < 1e-6);
      }
  });
}

TEST_CASE("rmsprop: with and without momentum") {
  test::each_isa([&](const simd::Kernels& k) {
    for (const Index n : kSizes)
      for (const bool with_momentum : {false, true}) {
        INFO("n " << n << " momentum " << with_momentum);
        std::vector<float> w = numbers(n, 0.1), square(w.size()), velocity(w.size());
        std::vector<double> W = widened(w), A(w.size()), V(w.size());
        const double momentum = with_momentum ? 0.8 : 0.0;
        for (int step = 0; step < kSteps; ++step) {
          const std::vector<float> g = numbers(n, step);
          k.rmsprop(w.data(), g.data(), square.data(), nullptr, with_momentum ? velocity.data() : nullptr, n, 0.01f, 0.9f,
                    static_cast<float>(momentum), 1e-7f, 2.0f);
          for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
            const double gradient = 2.0 * static_cast<double>(g[i]);
            A[i] = 0.9 * A[i] + 0.1 * gradient * gradient;
            V[i] = momentum * V[i] - 0.01 * gradient / std::sqrt(A[i] + 1e-7);
            W[i] += V[i];
          }
        }
        CHECK(largest_difference(w, W) < 2e-6);
        CHECK(largest_difference(square, A) < 2e-6);
      }
  });
}

TEST_CASE("adam and adamw") {
  test::each_isa([&](const simd::Kernels& k) {
    for (const Index n : kSizes)
      for (const double decay : {0.0, 0.1}) {
        INFO("n " << n << " decay " << decay);
        std::vector<float> w = numbers(n, 0.1), m(w.size()), v(w.size());
        std::vector<double> W = widened(w), M(w.size()), V(w.size());
        for (int step = 1; step <= kSteps; ++step) {
          const std::vector<float> g = numbers(n, step);
          const double c1 = 1 - std::pow(0.9, step), c2 = 1 - std::pow(0.999, step);
          k.adam(w.data(), g.data(), m.data(), v.data(), nullptr, n, 0.01f, 0.9f, 0.999f, 1e-7f, static_cast<float>(c1),
                 static_cast<float>(c2), static_cast<float>(decay), 0.5f);
          for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
            const double gradient = 0.5 * static_cast<double>(g[i]);
            M[i] = 0.9 * M[i] + 0.1 * gradient;
            V[i] = 0.999 * V[i] + 0.001 * gradient * gradient;
            W[i] -= 0.01 * std::sqrt(c2) / c1 * M[i] / (std::sqrt(V[i]) + 1e-7) + 0.01 * decay * W[i];
          }
        }
        CHECK(largest_difference(w, W) < 5e-6);
        CHECK(largest_difference(m, M) < 1e-6);
        CHECK(largest_difference(v, V) < 1e-6);
      }
  });
}

TEST_CASE("an update's bits do not depend on how the range is split") {
  test::each_isa([&](const simd::Kernels& k) {
    const std::vector<float> g = numbers(65, 0.4);
    const auto update = [&](const std::vector<Index>& borders) {
      std::vector<float> w = numbers(65, 0.2), m(w.size(), 0.01f), v(w.size(), 0.02f);
      for (std::size_t i = 0; i + 1 < borders.size(); ++i) {
        const Index from = borders[i], n = borders[i + 1] - from;
        k.adam(w.data() + from, g.data() + from, m.data() + from, v.data() + from, nullptr, n, 0.01f, 0.9f, 0.999f, 1e-7f, 0.1f,
               0.001f, 0.1f, 1.0f);
        k.sgd(w.data() + from, g.data() + from, m.data() + from, n, 0.01f, 0.9f, true, 1.0f);
        k.rmsprop(w.data() + from, g.data() + from, v.data() + from, nullptr, m.data() + from, n, 0.01f, 0.9f, 0.5f, 1e-7f, 1.0f);
      }
      return w;
    };
    CHECK(update({0, 65}) == update({0, 1, 17, 50, 65}));
  });
}

}  // namespace rekur
