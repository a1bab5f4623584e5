// Products of eight bits against exact sums of integers: every instruction set, every size of groups, tiles of every shape. What
// follows the sums is two multiplications and an addition of floats, so outputs are compared bit by bit.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "each_isa.hpp"
#include "isa/int8.hpp"
#include "simd/pack.hpp"

#if REKUR_INT8

namespace rekur {
namespace {

constexpr float kSentinel = 12345.0f;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

// A row as integers less its zero point, and its scale, by the definition in simd/int8.hpp.
struct Row {
  std::vector<double> numbers;
  float scale;
};

float to_integer(float x) { return std::nearbyint(x); }  // of two the even one: the mode nobody changes

Row row_of(const float* x, Index K) {
  float low = 0, high = 0;
  for (Index k = 0; k < K; ++k) {
    low = std::min(low, x[k]);
    high = std::max(high, x[k]);
  }
  const float range = high - low, inverse = range > 1e-30f ? 255.0f / range : 0.0f;
  const float zero_point = to_integer(-low * inverse);
  Row row{{}, range * (1.0f / 255.0f)};
  for (Index k = 0; k < K; ++k)
    row.numbers.push_back(static_cast<double>(std::min(to_integer(x[k] * inverse) + zero_point, 255.0f) - zero_point));
  return row;
}

// Columns as integers, and their scales.
struct Columns {
  std::vector<double> numbers;  // [K][N]
  std::vector<float> scales;
};

Columns columns_of(const std::vector<float>& b, Index K, Index N) {
  Columns columns{std::vector<double>(at(K * N)), {}};
  for (Index n = 0; n < N; ++n) {
    const float scale = simd::int8_scale_of(K, b.data() + n, N);
    for (Index k = 0; k < K; ++k)
      columns.numbers[at(k * N + n)] =
          scale > 0 ? std::max(-127.0, std::min<double>(127, to_integer(b[at(k * N + n)] / scale))) : 0;
    columns.scales.push_back(scale);
  }
  return columns;
}

// What a product of eight bits comes to, by sums in double, which are exact.
float expected(const Row& row, const Columns& columns, Index N, Index n, float bias) {
  double sum = 0;
  for (std::size_t k = 0; k < row.numbers.size(); ++k) sum += row.numbers[k] * columns.numbers[k * at(N) + at(n)];
  return bias + static_cast<float>(sum) * (columns.scales[at(n)] * row.scale);
}

bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0 || (a == 0 && b == 0); }

// Runs a check with every instruction set and group that this machine has.
template <class Check>
void each_group(const Check& check) {
  test::each_isa([&](const simd::Kernels& kernels) {
    for (const Index most : {2, 4, 8}) {
      isa::most_together = most;
      if (const Index group = isa::int8_group(); numbers_of(group) == most) check(kernels, group);
    }
  });
}

std::vector<float> packed(const simd::Kernels& kernels, Index group, const std::vector<float>& b, const float* bias, Index K,
                          Index N) {
  const Index size = simd::int8_column_floats(kernels.width, K);
  std::vector<float> result(at(simd::int8_size(kernels.width, K, N)));
  for (Index n = 0; n < N; n += kernels.width)
    simd::pack_int8(kernels.width, group, K, std::min<Index>(kernels.width, N - n), b.data() + n, N, bias ? bias + n : nullptr,
                    result.data() + n / kernels.width * size);
  return result;
}

// Rows x [M][K] as the kernels narrow them, and their addresses.
struct Narrow {
  std::vector<float> memory;
  std::vector<const float*> rows;

  Narrow(const simd::Kernels& kernels, Index group, const std::vector<float>& x, Index M, Index K)
      : memory(at(M * simd::int8_row_floats(K)) + 1, kSentinel) {
    const Index size = simd::int8_row_floats(K);
    std::vector<const float*> from;
    for (Index m = 0; m < M; ++m) {
      from.push_back(x.data() + m * K - 3);
      rows.push_back(memory.data() + m * size);
    }
    kernels.narrow(group, M, K, from.data(), 3, memory.data(), size);
    CHECK(memory.back() == kSentinel);
  }
};

void check_product(const simd::Kernels& kernels, Index group, Index M, Index N, Index K, const std::vector<float>& x,
                   const std::vector<float>& b, const std::vector<float>& bias) {
  INFO("group " << group << ", M " << M << ", N " << N << ", K " << K);
  const std::vector<float> weights = packed(kernels, group, b, bias.empty() ? nullptr : bias.data(), K, N);
  const Narrow narrow(kernels, group, x, M, K);
  constexpr Index offset = 2;
  const Index stride = N + offset + 1;
  std::vector<float> c(at(M * stride), kSentinel);
  std::vector<float*> rows;
  for (Index m = 0; m < M; ++m) rows.push_back(c.data() + m * stride);
  kernels.gemm_int8(group, M, N, K, narrow.rows.data(), weights.data(), rows.data(), offset);
  const Columns columns = columns_of(b, K, N);
  Index wrong = 0;
  for (Index m = 0; m < M; ++m) {
    const Row row = row_of(x.data() + m * K, K);
    for (Index i = 0; i < stride; ++i) {
      const Index n = i - offset;
      const float y = n >= 0 && n < N ? expected(row, columns, N, n, bias.empty() ? 0.0f : bias[at(n)]) : kSentinel;
      wrong += !same_bits(c[at(m * stride + i)], y);
    }
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("a product of eight bits is the sum of its integers, bit by bit, at awkward sizes and in every tile") {
  each_group([](const simd::Kernels& kernels, Index group) {
    for (const Index K : {1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 65, 513})
      for (const Index M : {0, 1, 2, 3, 4, 5, 6, 7, 13, 16, 17, 33, 65})
        for (const Index N : {1, 5, 16, 17, 33, 65, 130}) {
          const std::uint32_t seed = static_cast<std::uint32_t>(K + M + N);
          check_product(kernels, group, M, N, K, test::noise(M * K, seed), test::noise(K * N, seed + 1),
                        N % 2 == 0 ? test::noise(N, seed + 2) : std::vector<float>());
        }
  });
}

TEST_CASE("products of eight bits do not saturate at the extremes, and rows of one sign, of zeros and of small numbers are exact") {
  each_group([](const simd::Kernels& kernels, Index group) {
    constexpr Index K = 4097, N = 35, M = 7;
    std::vector<float> b(at(K * N));
    for (Index k = 0; k < K; ++k)
      for (Index n = 0; n < N; ++n) b[at(k * N + n)] = n % 3 == 0 ? 1.0f : n % 3 == 1 ? -1.0f : k % 2 == 0 ? 3.0f : -3.0f;
    for (Index k = 0; k < K; ++k) b[at(k * N + 34)] = 0;
    std::vector<float> x(at(M * K));
    for (Index k = 0; k < K; ++k) {
      x[at(k)] = 1;                                  // all 255, zero point 0
      x[at(K + k)] = -1;                             // all 0, zero point 255
      x[at(2 * K + k)] = k % 2 == 0 ? 1.0f : -1.0f;  // both ends
      x[at(3 * K + k)] = 0;
      x[at(4 * K + k)] = 1e-31f;  // its range is taken for none
      x[at(5 * K + k)] = static_cast<float>(k);
      x[at(6 * K + k)] = k % 2 == 0 ? 1.4e38f : -1.4e38f;
    }
    check_product(kernels, group, M, N, K, x, b, {});
  });
}

TEST_CASE("the most numbers that a product of eight bits may sum do not overflow") {
  each_group([](const simd::Kernels& kernels, Index group) {
    constexpr Index K = 65536;
    std::vector<float> x(at(2 * K), 1.0f), b(at(K), -1.0f);
    std::fill_n(x.begin() + K, K, -1.0f);
    check_product(kernels, group, 2, 1, K, x, b, {});
  });
  CHECK(isa::takes_int8(65536, 1));
  CHECK_FALSE(isa::takes_int8(65537, 1));
}

TEST_CASE("a row that is not finite gives NaN in eight bits, and its neighbours their numbers; a column likewise") {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  each_group([&](const simd::Kernels& kernels, Index group) {
    constexpr Index M = 7, N = 19, K = 37;
    for (const float value :
         {infinity, -infinity, std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN()})
      for (const Index place : {0, 15, 36}) {
        std::vector<float> x = test::noise(M * K, 1), b = test::noise(K * N, 2);
        x[at(2 * K + place)] = value;
        b[at(place * N + 5)] = value;
        const std::vector<float> weights = packed(kernels, group, b, nullptr, K, N);
        const Narrow narrow(kernels, group, x, M, K);
        std::vector<float> c(at(M * N));
        std::vector<float*> rows;
        for (Index m = 0; m < M; ++m) rows.push_back(c.data() + m * N);
        kernels.gemm_int8(group, M, N, K, narrow.rows.data(), weights.data(), rows.data(), 0);
        Index wrong = 0;
        for (Index m = 0; m < M; ++m)
          for (Index n = 0; n < N; ++n) wrong += std::isnan(c[at(m * N + n)]) != (m == 2 || n == 5);
        CHECK(wrong == 0);
      }
    // The difference of its ends is beyond float.
    std::vector<float> x(37, 3e38f);
    x[0] = -3e38f;
    const Narrow narrow(kernels, group, x, 1, 37);
    CHECK(std::isnan(narrow.memory[0]));
  });
}

#if REKUR_EQUATIONS
// The tiles of a step, which also have eight vectors side by side.
TEST_CASE("a step's recurrent product of eight bits is the sum of its integers for any rows, blocks and units") {
  each_group([](const simd::Kernels& kernels, Index group) {
    for (const Index H : {5, 17, 33, 65, 130})
      for (int G = 1; G <= kernels::kMostTogether; ++G)
        for (const Index M : {1, 2, 3, 4, 5, 6, 7, 11, 13, 17, 33})
          for (const bool descending : {false, true}) {
            INFO("group " << group << ", H " << H << ", blocks " << G << ", rows " << M);
            const Index width = kernels.width, Hp = (H + width - 1) / width * width, N = G * H;
            const std::vector<float> b = test::noise(H * N, static_cast<std::uint32_t>(H)), h = test::noise(M * H, 7),
                                     bias = test::noise(N, 9);
            const Index size = simd::int8_column_floats(width, H);
            std::vector<float> weights(at(Hp / width * G * size));
            for (Index j = 0; j < Hp / width; ++j)
              for (Index g = 0; g < G; ++g)
                simd::pack_int8(width, group, H, std::min(width, H - j * width), b.data() + g * H + j * width, N,
                                bias.data() + g * H + j * width, weights.data() + (j * G + g) * size);
            std::vector<float> narrow(at(M * (simd::int8_row_floats(H) + kAmxSums))), to(at(M * G * Hp), kSentinel);
            std::vector<const float*> from;
            for (Index m = 0; m < M; ++m) from.push_back(h.data() + m * H);
            kernels::StepProduct s{};
            s.rows = M;
            s.H = s.product_length = H;
            s.Hp = s.end = Hp;
            s.descending = descending;
            s.from = from.data();
            s.weights = weights.data();
            s.type = WeightType::int8;
            s.group = group;
            s.narrow = narrow.data();
            s.to = to.data();
            s.to_stride = G * Hp;
            isa::table().steps.product[G - 1](s);
            const Columns columns = columns_of(b, H, N);
            Index wrong = 0;
            for (Index m = 0; m < M; ++m) {
              const Row row = row_of(h.data() + m * H, H);
              for (Index g = 0; g < G; ++g)
                for (Index u = 0; u < H; ++u)
                  wrong += !same_bits(to[at(m * G * Hp + g * Hp + u)], expected(row, columns, N, g * H + u, bias[at(g * H + u)]));
            }
            CHECK(wrong == 0);
          }
  });
}
#endif

TEST_CASE("rounding weights to eight bits twice changes nothing, and their multiples are exact") {
  constexpr Index K = 65, N = 33;
  std::vector<float> b = test::noise(K * N, 3);
  for (Index n = 0; n < N; ++n)
    for (Index k = 0; k < K; ++k) b[at(k * N + n)] *= std::exp(static_cast<float>(n) - 16.0f);
  for (Index k = 0; k < K; ++k) b[at(k * N + 4)] = 0;
  std::vector<float> once = b;
  simd::round_int8(K, N, once.data(), N);
  const Columns columns = columns_of(b, K, N), again = columns_of(once, K, N);
  CHECK(columns.numbers == again.numbers);
  CHECK(columns.scales == again.scales);
  for (Index k = 0; k < K; ++k)
    for (Index n = 0; n < N; ++n)
      CHECK(static_cast<double>(once[at(k * N + n)]) ==
            columns.numbers[at(k * N + n)] * static_cast<double>(columns.scales[at(n)]));
  std::vector<float> twice = once;
  simd::round_int8(K, N, twice.data(), N);
  CHECK(once == twice);
}

}  // namespace rekur

#endif
