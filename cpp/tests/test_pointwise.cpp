// Elementwise kernels, softmax, dropout and reductions, on every instruction set and at awkward sizes.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "each_isa.hpp"
#include "runtime/random.hpp"

namespace rekur {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kSentinel = 12345.0f;
const std::vector<Index> kSizes = {0, 1, 2, 3, 5, 7, 16, 17, 31, 33, 65, 200};

std::vector<float> numbers(Index n, float phase) {
  std::vector<float> x;
  for (Index i = 0; i < n; ++i) x.push_back(2.0f * std::sin(1.7f * static_cast<float>(i) + phase));
  return x;
}

// Runs `kernel` on arrays with one element more than n and checks the results against `exact(i)`, and that the last one is
// untouched.
template <class Kernel, class Exact>
void check_map(Index n, const Kernel& kernel, const Exact& exact, std::vector<float> out = {}) {
  out.resize(static_cast<std::size_t>(n));
  out.push_back(kSentinel);
  kernel(out.data());
  double worst = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(out[i]) - exact(i)));
  CHECK(worst <= 2e-6);
  CHECK(out.back() == kSentinel);
}

}  // namespace

#if REKUR_TRAINING
TEST_CASE("arithmetic on arrays") {
  test::each_isa([](const simd::Kernels& k) {
    for (const Index n : kSizes) {
      INFO("n = " << n);
      const std::vector<float> a = numbers(n, 0.3f), b = numbers(n, 1.1f);
      std::vector<float> shifted = b;  // clear of zero
      for (float& value : shifted) value += 4.0f;
      const auto A = [&](std::size_t i) { return static_cast<double>(a[i]); };
      const auto B = [&](std::size_t i) { return static_cast<double>(b[i]); };
      check_map(n, [&](float* y) { k.add(a.data(), b.data(), y, n); }, [&](auto i) { return A(i) + B(i); });
      check_map(n, [&](float* y) { k.add(y, b.data(), y, n); }, [&](auto i) { return A(i) + B(i); }, a);  // in place
      check_map(n, [&](float* y) { k.subtract(a.data(), b.data(), y, n); }, [&](auto i) { return A(i) - B(i); });
      check_map(n, [&](float* y) { k.subtract(a.data(), y, y, n); }, [&](auto i) { return A(i) - B(i); }, b);  // in place
      check_map(n, [&](float* y) { k.divide(a.data(), shifted.data(), y, n); }, [&](auto i) { return A(i) / (B(i) + 4); });
      check_map(n, [&](float* y) { k.multiply(a.data(), b.data(), y, n); }, [&](auto i) { return A(i) * B(i); });
      check_map(n, [&](float* y) { k.multiply_add(a.data(), b.data(), y, n); }, [&](auto i) { return A(i) * B(i) + B(i); }, b);
      check_map(n, [&](float* y) { k.scale(0.7f, a.data(), y, n); }, [&](auto i) { return 0.7 * A(i); });
      check_map(n, [&](float* y) { k.axpy(0.7f, a.data(), y, n); }, [&](auto i) { return 0.7 * A(i) + B(i); }, b);
      check_map(n, [&](float* y) { k.clamp(-0.5f, 1.5f, y, n); }, [&](auto i) { return std::min(std::max(A(i), -0.5), 1.5); }, a);
    }
    float x[2] = {std::nanf(""), 3.0f};
    k.clamp(-1.0f, 1.0f, x, 2);
    CHECK(std::isnan(x[0]));
    CHECK(x[1] == 1.0f);
  });
}

TEST_CASE("an activation's slope from its output is its derivative") {
  test::each_isa([](const simd::Kernels& k) {
    for (int kind = 0; kind <= static_cast<int>(ActivationKind::softplus); ++kind) {
      const Activation f{static_cast<ActivationKind>(kind), 0.3f, 0.5f};
      for (const Index n : kSizes) {
        INFO("kind " << kind << " n " << n);
        // Away from the kinks, where there is no derivative to compare with (hard_sigmoid's are at ±5/3, thresholded_relu's at
        // 0.3).
        std::vector<float> x = numbers(n, 0.4f), up = x, down = x, y(x.size());
        for (std::size_t i = 0; i < x.size(); ++i) {
          if (std::abs(x[i]) < 0.05f) x[i] = 0.1f;
          if (std::abs(std::abs(x[i]) - 5.0f / 3) < 0.05f || std::abs(x[i] - 0.3f) < 0.05f) x[i] = 1.0f;
          up[i] = x[i] + 0.01f;
          down[i] = x[i] - 0.01f;
        }
        std::vector<double> slope(x.size());
        k.activate(f, x.data(), y.data(), n);
        k.activate(f, up.data(), up.data(), n);
        k.activate(f, down.data(), down.data(), n);
        const std::vector<float> dy = numbers(n, 0.9f);
        std::vector<float> dx = dy;
        dx.push_back(kSentinel);
        k.activate_backward(f, y.data(), dx.data(), dx.data(), n);
        double worst = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
          const double expected = static_cast<double>(dy[i]) * (static_cast<double>(up[i]) - static_cast<double>(down[i])) / 0.02;
          worst = std::max(worst, std::abs(static_cast<double>(dx[i]) - expected));
        }
        CHECK(worst < 1e-3);
        CHECK(dx.back() == kSentinel);
      }
    }
  });
}

TEST_CASE("the slope of softplus keeps its precision far out, that of scaled_tanh without a scale is 0") {
  test::each_isa([](const simd::Kernels& k) {
    const auto slope = [&](Activation f, float x) {
      float y = 0, dx = 1;
      k.activate(f, &x, &y, 1);
      k.activate_backward(f, &y, &dx, &dx, 1);
      return static_cast<double>(dx);
    };
    for (const float x : {-80.0f, -30.0f, -12.0f, -1.0f, 0.0f, 1.0f, 12.0f, 200.0f})
      CHECK(slope({ActivationKind::softplus}, x) == doctest::Approx(1 / (1 + std::exp(-static_cast<double>(x)))).epsilon(1e-6));
    for (const float x : {-kInf, -2.0f, 0.0f, 2.0f, kInf}) CHECK(slope({ActivationKind::scaled_tanh, 0.0f, 1.5f}, x) == 0);
    CHECK(slope({ActivationKind::scaled_tanh, 1e30f, 1e30f}, kInf) == 0);
    CHECK(slope({ActivationKind::scaled_tanh, -2.0f, 0.5f}, 0.0f) == -1);
    CHECK(slope({ActivationKind::affine, -2.0f, 0.5f}, 1e30f) == -2);
    CHECK(slope({ActivationKind::thresholded_relu, -1.0f}, -0.5f) == 1);
    CHECK(slope({ActivationKind::thresholded_relu, -1.0f}, -1.0f) == 0);
  });
}

TEST_CASE("softmax, its gradient and log-sum-exp") {
  test::each_isa([](const simd::Kernels& k) {
    for (const Index n : kSizes) {
      INFO("n = " << n);
      const Index rows = 3;
      std::vector<float> x = numbers(rows * n, 0.2f);
      for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i)
        x[i] += 1000.0f;  // the first row overflows unless the maximum is taken off
      const std::vector<float> dy = numbers(rows * n, 1.3f);
      std::vector<float> y = x, dx = dy, sums(static_cast<std::size_t>(rows));
      y.push_back(kSentinel);
      k.softmax(y.data(), y.data(), rows, n);
      k.softmax_backward(y.data(), dx.data(), dx.data(), rows, n);
      k.log_sum_exp(x.data(), sums.data(), rows, n);
      CHECK(y.back() == kSentinel);
      for (std::size_t row = 0; row < 3; ++row) {
        const std::size_t first = row * static_cast<std::size_t>(n), last = first + static_cast<std::size_t>(n);
        double largest = -1e300, total = 0, dot = 0, worst = 0, worst_gradient = 0;
        for (std::size_t i = first; i < last; ++i) largest = std::max(largest, static_cast<double>(x[i]));
        for (std::size_t i = first; i < last; ++i) total += std::exp(static_cast<double>(x[i]) - largest);
        const auto p = [&](std::size_t i) { return std::exp(static_cast<double>(x[i]) - largest) / total; };
        for (std::size_t i = first; i < last; ++i) dot += p(i) * static_cast<double>(dy[i]);
        for (std::size_t i = first; i < last; ++i) {
          worst = std::max(worst, std::abs(static_cast<double>(y[i]) - p(i)));
          worst_gradient =
              std::max(worst_gradient, std::abs(static_cast<double>(dx[i]) - p(i) * (static_cast<double>(dy[i]) - dot)));
        }
        CHECK(worst < 3e-7);
        CHECK(worst_gradient < 1e-6);
        if (n == 0) CHECK(sums[row] == -kInf);
        if (n > 0) CHECK(static_cast<double>(sums[row]) == doctest::Approx(largest + std::log(total)).epsilon(1e-6));
      }
    }
  });
}

TEST_CASE("softmax and log-sum-exp of infinities and NaN") {
  test::each_isa([](const simd::Kernels& k) {
    std::vector<float> masked(19, -kInf), y(19);
    masked[18] = 2.0f;
    k.softmax(masked.data(), y.data(), 1, 19);
    CHECK(y[18] == 1.0f);
    CHECK(y[0] == 0.0f);
    float lse = 0;
    k.log_sum_exp(masked.data(), &lse, 1, 19);
    CHECK(lse == 2.0f);
    masked[18] = -kInf;
    k.log_sum_exp(masked.data(), &lse, 1, 19);
    CHECK(lse == -kInf);
    masked[3] = kInf;
    k.log_sum_exp(masked.data(), &lse, 1, 19);
    CHECK(lse == kInf);
    for (const std::size_t at : {0u, 7u, 18u}) {
      std::vector<float> x(19, 1.0f);
      x[at] = std::nanf("");
      k.softmax(x.data(), y.data(), 1, 19);
      for (const float v : y) CHECK(std::isnan(v));
      k.log_sum_exp(x.data(), &lse, 1, 19);
      CHECK(std::isnan(lse));
    }
  });
}

TEST_CASE("dropout draws what the scalar generator draws, however the range is split") {
  const std::uint64_t seed = 0x123456789abcdef0u, step = 0x100000007u;
  const float rate = 0.3f;
  test::each_isa([&](const simd::Kernels& k) {
    const random::Stream stream(seed, step, 5);
    for (const Index i0 : {Index{0}, Index{1}, Index{6}, Index{4} * 0xfffffff0}) {
      for (const Index n : kSizes) {
        INFO("from " << i0 << " n " << n);
        const std::vector<float> x = numbers(n, 0.1f);
        std::vector<float> mask(x.size() + 1, kSentinel), out = mask, alone = mask;
        k.dropout(seed, step, 5, i0, rate, x.data(), mask.data(), out.data(), n);
        k.dropout(seed, step, 5, i0, rate, nullptr, alone.data(), nullptr, n);
        CHECK(mask == alone);
        bool right = true;
        for (std::size_t i = 0; i < x.size(); ++i) {
          const bool kept = stream.uniform(static_cast<std::uint64_t>(i0) + i) >= static_cast<double>(rate);
          right = right && mask[i] == (kept ? 1.0f / (1.0f - rate) : 0.0f) && out[i] == x[i] * mask[i];
        }
        CHECK(right);
        CHECK(mask.back() == kSentinel);
        CHECK(out.back() == kSentinel);
        std::vector<float> split(x.size());
        const Index cut = n / 3;
        k.dropout(seed, step, 5, i0, rate, nullptr, split.data(), nullptr, cut);
        k.dropout(seed, step, 5, i0 + cut, rate, nullptr, split.data() + cut, nullptr, n - cut);
        mask.pop_back();
        CHECK(split == mask);
      }
    }
    std::vector<float> mask(100000);
    k.dropout(seed, step, 5, 0, 0.0f, nullptr, mask.data(), nullptr, 1000);
    for (std::size_t i = 0; i < 1000; ++i) REQUIRE(mask[i] == 1.0f);
    k.dropout(seed, step, 6, 0, 0.25f, nullptr, mask.data(), nullptr, 100000);
    double kept = 0;
    for (const float m : mask) kept += m > 0 ? 1 : 0;
    CHECK(kept == doctest::Approx(75000).epsilon(0.01));
  });
}

TEST_CASE("Philox4x32-10 gives the numbers of its paper, in the kernels too") {
  // Counter 0, key 0: 6627e8d5 e169c58d bc57ac4c 9b00dbd8. Every uniform number is bracketed by the two rates around it.
  const std::uint32_t words[4] = {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u};
  test::each_isa([&](const simd::Kernels& k) {
    for (Index i = 0; i < 4; ++i) {
      const float u = static_cast<float>(words[i] >> 8) * 0x1p-24f;
      float mask = -1;
      k.dropout(0, 0, 0, i, u, nullptr, &mask, nullptr, 1);
      CHECK(mask > 0);
      k.dropout(0, 0, 0, i, u + 0x1p-24f, nullptr, &mask, nullptr, 1);
      CHECK(mask == 0);
    }
  });
}

TEST_CASE("sum of squares in double") {
  test::each_isa([](const simd::Kernels& k) {
    for (const Index n : kSizes) {
      std::vector<float> x = numbers(n, 0.6f);
      if (n > 1) x[1] = 1e20f;  // its square does not fit in float
      double exact = 0;
      for (const float v : x) exact += static_cast<double>(v) * static_cast<double>(v);
      CHECK(k.sum_of_squares(x.data(), n) == doctest::Approx(exact).epsilon(1e-14));
    }
  });
}
#endif

TEST_CASE("an element's bits do not depend on where the range begins") {
  test::each_isa([](const simd::Kernels& k) {
    const std::vector<float> x = numbers(65, 0.7f);
    for (int kind = 0; kind <= static_cast<int>(ActivationKind::softplus); ++kind) {
      const Activation f{static_cast<ActivationKind>(kind), 0.3f, 0.5f};
      std::vector<float> whole(65), split(65);
      k.activate(f, x.data(), whole.data(), 65);
      for (Index cut = 0; cut <= 65; cut += 13) {
        k.activate(f, x.data(), split.data(), cut);
        k.activate(f, x.data() + cut, split.data() + cut, 65 - cut);
        CHECK(split == whole);
      }
    }
  });
}

}  // namespace rekur
