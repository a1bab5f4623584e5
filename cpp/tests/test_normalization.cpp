// Kernels over rows of features, on every instruction set and at awkward sizes, against double.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "each_isa.hpp"

namespace rekur {
namespace {

constexpr float kSentinel = 12345.0f, kEpsilon = 1e-3f;
constexpr std::size_t kRows = 5;

[[maybe_unused]] std::vector<float> numbers(Index n, float phase, float shift = 0) {
  std::vector<float> x;
  for (Index i = 0; i < n; ++i) x.push_back(shift + 2.0f * std::sin(1.7f * static_cast<float>(i) + phase));
  return x;
}

double of(const std::vector<float>& values, std::size_t i) { return static_cast<double>(values[i]); }

// Rows of n values, as double: normalised, and 1 / sqrt(variance + epsilon) of each row.
struct Exact {
  std::vector<double> normal, inverse;

  Exact(const std::vector<float>& x, std::size_t n) : normal(x.size()), inverse(kRows) {
    for (std::size_t row = 0; row < kRows; ++row) {
      double mean = 0, variance = 0;
      for (std::size_t i = row * n; i < (row + 1) * n; ++i) mean += of(x, i) / static_cast<double>(n);
      for (std::size_t i = row * n; i < (row + 1) * n; ++i) variance += std::pow(of(x, i) - mean, 2) / static_cast<double>(n);
      inverse[row] = 1 / std::sqrt(variance + static_cast<double>(kEpsilon));
      for (std::size_t i = row * n; i < (row + 1) * n; ++i) normal[i] = (of(x, i) - mean) * inverse[row];
    }
  }
};

}  // namespace

#if REKUR_TRAINING
TEST_CASE("layer normalisation and its gradients") {
  test::each_isa([](const simd::Kernels& k) {
    for (const std::size_t n : {1u, 2u, 3u, 7u, 8u, 16u, 17u, 31u, 64u, 65u, 200u}) {
      for (const float shift : {0.0f, 5000.0f}) {
        for (const bool plain : {false, true}) {
          INFO("n = " << n << " shift " << shift << " plain " << plain);
          const auto N = static_cast<Index>(n), size = static_cast<Index>(kRows * n);
          const std::vector<float> x = numbers(size, 0.3f, shift), dy = numbers(size, 1.1f);
          const std::vector<float> scale = plain ? std::vector<float>(n, 1.0f) : numbers(N, 0.9f);
          const std::vector<float> offset = plain ? std::vector<float>(n, 0.0f) : numbers(N, 0.4f);
          const float *gamma = plain ? nullptr : scale.data(), *beta = plain ? nullptr : offset.data();
          std::vector<float> y(kRows * n + 1, kSentinel), moments(3 * kRows + 1, kSentinel), bare = y;
          k.layer_norm(x.data(), gamma, beta, kEpsilon, y.data(), moments.data(), kRows, N);
          k.layer_norm(x.data(), gamma, beta, kEpsilon, bare.data(), nullptr, kRows, N);
          CHECK(bare == y);
          CHECK(y.back() == kSentinel);
          CHECK(moments.back() == kSentinel);

          const std::vector<float> before = numbers(size + 1, 0.2f), sums = numbers(N + 1, 0.6f);
          std::vector<float> dx = before, d_gamma = sums, d_beta = sums;
          k.layer_norm_backward(x.data(), moments.data(), gamma, dy.data(), dx.data(), kRows, N);
          k.affine_gradients(x.data(), moments.data(), dy.data(), kRows, N, N, d_gamma.data(), d_beta.data());
          CHECK(dx.back() == before.back());
          CHECK(d_gamma.back() == sums.back());
          CHECK(d_beta.back() == sums.back());

          const Exact exact(x, n);
          double worst = 0, worst_dx = 0, worst_sums = 0;
          for (std::size_t row = 0; row < kRows; ++row) {
            double mean = 0, slope = 0;
            for (std::size_t i = 0; i < n; ++i) {
              const double g = of(dy, row * n + i) * of(scale, i);
              mean += g / static_cast<double>(n);
              slope += g * exact.normal[row * n + i] / static_cast<double>(n);
            }
            for (std::size_t i = 0; i < n; ++i) {
              const std::size_t at = row * n + i;
              const double g = of(dy, at) * of(scale, i);
              const double expected = of(before, at) + (g - mean - exact.normal[at] * slope) * exact.inverse[row];
              worst = std::max(worst, std::abs(of(y, at) - (exact.normal[at] * of(scale, i) + of(offset, i))));
              worst_dx = std::max(worst_dx, std::abs(of(dx, at) - expected) / exact.inverse[row]);
            }
          }
          for (std::size_t i = 0; i < n; ++i) {
            double products = of(sums, i), total = of(sums, i);
            for (std::size_t row = 0; row < kRows; ++row) {
              products += of(dy, row * n + i) * exact.normal[row * n + i];
              total += of(dy, row * n + i);
            }
            worst_sums = std::max({worst_sums, std::abs(of(d_gamma, i) - products), std::abs(of(d_beta, i) - total)});
          }
          CHECK(worst < 3e-6);
          CHECK(worst_dx < 1e-5);
          CHECK(worst_sums < 1e-5);
        }
      }
    }
  });
}
#endif

TEST_CASE("layer normalisation: a NaN stays in its row, equal features become beta") {
  test::each_isa([](const simd::Kernels& k) {
    std::vector<float> x(3 * 19, 0.1f), y(x.size());
    x[19 + 18] = std::nanf("");
    k.layer_norm(x.data(), nullptr, nullptr, kEpsilon, y.data(), nullptr, 3, 19);
    for (std::size_t i = 0; i < y.size(); ++i) CHECK((i / 19 == 1 ? std::isnan(y[i]) : std::abs(y[i]) < 1e-5f));
  });
}

#if REKUR_TRAINING
TEST_CASE("affine maps of rows and their gradients, over some of the columns") {
  test::each_isa([](const simd::Kernels& k) {
    for (const std::size_t n : {1u, 3u, 16u, 33u, 130u}) {
      INFO("n = " << n);
      const auto N = static_cast<Index>(n), size = static_cast<Index>(kRows * n);
      const std::vector<float> x = numbers(size, 0.3f), scale = numbers(N, 0.9f), offset = numbers(N, 0.4f);
      std::vector<float> y = x;
      y.push_back(kSentinel);
      k.affine(y.data(), scale.data(), offset.data(), y.data(), kRows, N);
      double worst = 0;
      for (std::size_t i = 0; i < kRows * n; ++i)
        worst = std::max(worst, std::abs(of(y, i) - (of(x, i) * of(scale, i % n) + of(offset, i % n))));
      CHECK(worst < 2e-6);
      CHECK(y.back() == kSentinel);

      // In one piece, and split at a column: the same bits.
      const std::vector<float> dy = numbers(size, 1.1f), before = numbers(N, 0.6f);
      std::vector<float> whole = before, sums = before, split = before;
      k.affine_gradients(x.data(), nullptr, dy.data(), kRows, N, N, whole.data(), sums.data());
      const Index cut = N / 2;
      k.affine_gradients(x.data(), nullptr, dy.data(), kRows, cut, N, split.data(), nullptr);
      k.affine_gradients(x.data() + cut, nullptr, dy.data() + cut, kRows, N - cut, N, split.data() + cut, nullptr);
      CHECK(split == whole);
      for (std::size_t i = 0; i < n; ++i) {
        double products = of(before, i), total = of(before, i);
        for (std::size_t row = 0; row < kRows; ++row) {
          products += of(dy, row * n + i) * of(x, row * n + i);
          total += of(dy, row * n + i);
        }
        worst = std::max({worst, std::abs(of(whole, i) - products), std::abs(of(sums, i) - total)});
      }
      CHECK(worst < 1e-5);
    }
  });
}
#endif

}  // namespace rekur
