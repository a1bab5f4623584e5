// Products against float64, and the promise that a row's bits depend on nothing but the row.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "each_isa.hpp"
#include "runtime/scratch.hpp"
#include "simd/pack.hpp"

namespace rekur {
namespace {

// Addresses of rows, `stride` apart.
std::vector<float*> rows_of(std::vector<float>& x, Index count, Index stride) {
  std::vector<float*> rows;
  for (Index i = 0; i < count; ++i) rows.push_back(x.data() + i * stride);
  return rows;
}

constexpr float kSentinel = 12345.0f;

struct Sizes {
  Index M, N, K;
};

// Awkward sizes around tiles, vectors, panels and blocks.
const std::vector<Sizes> kSizes = {{0, 5, 3},     {1, 1, 1},     {2, 3, 0},    {3, 5, 2},    {5, 7, 17},    {6, 64, 3},
                                   {7, 65, 5},    {17, 33, 31},  {1, 200, 65}, {13, 130, 7}, {193, 17, 33}, {4, 31, 513},
                                   {7, 70, 1025}, {65, 15, 511}, {12, 0, 4},   {385, 3, 2},  {1, 450, 9},   {2, 330, 33},
                                   {1, 96, 600},  {2, 80, 513},  {1, 0, 3}};

// A bound on the rounding of a sum of K products of numbers below 1.
double tolerance(Index K) { return 1.2e-7 * (static_cast<double>(K) + 4); }

}  // namespace

TEST_CASE("gemm equals the float64 product, with bias, without, and accumulating, and writes nothing else") {
  test::each_isa([](const simd::Kernels& k) {
    for (const auto& size : kSizes) {
      const Index M = size.M, N = size.N, K = size.K;  // not a structured binding: clang 14 does not capture those
      INFO("M " << M << " N " << N << " K " << K);
      std::vector<float> a = test::noise(M * (K + 3), 1), b = test::noise(K * N, 2), bias = test::noise(N, 3);
      const std::vector<float*> a_rows = rows_of(a, M, K + 3);
      std::vector<float> packed(static_cast<std::size_t>(simd::packed_size(k, K, N)));
      simd::pack(k, K, N, b.data(), N, 1, packed.data());
      for (const int mode : {0, 1, 2}) {  // plain, bias, accumulate
        const Index ldc = N + 2;
        const std::vector<float> before =
            mode == 2 ? test::noise(M * ldc, 4) : std::vector<float>(static_cast<std::size_t>(M * ldc), kSentinel);
        std::vector<float> c = before;
        const std::vector<float*> c_rows = rows_of(c, M, ldc);
        k.gemm(M, N, K, a_rows.data(), packed.data(), mode == 0 ? nullptr : bias.data(), c_rows.data(), 0, mode == 2);
        double worst = 0;
        bool outside = true;
        for (Index m = 0; m < M; ++m) {
          for (Index n = 0; n < ldc; ++n) {
            const auto at = static_cast<std::size_t>(m * ldc + n);
            if (n >= N) {
              outside = outside && c[at] == before[at];
              continue;
            }
            double exact = mode == 0   ? 0.0
                           : mode == 1 ? static_cast<double>(bias[static_cast<std::size_t>(n)])
                                       : static_cast<double>(before[at]);
            for (Index i = 0; i < K; ++i)
              exact += static_cast<double>(a_rows[static_cast<std::size_t>(m)][i]) *
                       static_cast<double>(b[static_cast<std::size_t>(i * N + n)]);
            worst = std::max(worst, std::abs(c[at] - exact));
          }
        }
        CHECK(worst <= tolerance(K));
        CHECK(outside);
      }
    }
  });
}

TEST_CASE("a row of gemm has the same bits alone and among others") {
  test::each_isa([](const simd::Kernels& k) {
    for (const auto& size : kSizes) {
      const Index M = size.M, N = size.N, K = size.K;  // not a structured binding: clang 14 does not capture those
      INFO("M " << M << " N " << N << " K " << K);
      std::vector<float> a = test::noise(M * K, 5), b = test::noise(K * N, 6), bias = test::noise(N, 7);
      const std::vector<float*> a_rows = rows_of(a, M, K);
      std::vector<float> packed(static_cast<std::size_t>(simd::packed_size(k, K, N)));
      simd::pack(k, K, N, b.data(), N, 1, packed.data());
      std::vector<float> together(static_cast<std::size_t>(M * N)), alone = together;
      const std::vector<float*> c = rows_of(together, M, N), c_alone = rows_of(alone, M, N);
      k.gemm(M, N, K, a_rows.data(), packed.data(), bias.data(), c.data(), 0, false);
      for (Index m = 0; m < M; ++m) k.gemm(1, N, K, a_rows.data() + m, packed.data(), bias.data(), c_alone.data() + m, 0, false);
      const bool same = together.empty() || std::memcmp(together.data(), alone.data(), together.size() * sizeof(float)) == 0;
      CHECK(same);
      // Ascending over k by one accumulator: the same as one step of k at a time.
      if (K > 1 && M > 0 && N > 0) {
        std::vector<float> stepwise(static_cast<std::size_t>(M * N)),
            step_packed(static_cast<std::size_t>(simd::packed_size(k, 1, N)));
        const std::vector<float*> s = rows_of(stepwise, M, N);
        for (Index i = 0; i < K; ++i) {
          simd::pack(k, 1, N, b.data() + i * N, N, 1, step_packed.data());
          std::vector<float*> column = a_rows;
          for (float*& row : column) row += i;
          k.gemm(M, N, 1, column.data(), step_packed.data(), bias.data(), s.data(), 0, i > 0);
        }
        const bool same_stepwise = std::memcmp(together.data(), stepwise.data(), together.size() * sizeof(float)) == 0;
        CHECK(same_stepwise);
      }
    }
  });
}

TEST_CASE("a transposed matrix is packed by exchanging the strides") {
  test::each_isa([](const simd::Kernels& k) {
    const Index K = 33, N = 71;
    std::vector<float> b = test::noise(K * N, 8), transposed(b.size());
    for (Index i = 0; i < K; ++i)
      for (Index n = 0; n < N; ++n) transposed[static_cast<std::size_t>(n * K + i)] = b[static_cast<std::size_t>(i * N + n)];
    std::vector<float> p(static_cast<std::size_t>(simd::packed_size(k, K, N)), kSentinel), q = p;
    simd::pack(k, K, N, b.data(), N, 1, p.data());
    simd::pack(k, K, N, transposed.data(), 1, K, q.data());
    CHECK(p == q);
    CHECK(p[1] == b[1]);
  });
}

#if REKUR_TRAINING
TEST_CASE("gemm_tn, column_sums and column_dots add to what is there or write over it, and touch nothing else") {
  test::each_isa([](const simd::Kernels& k) {
    Scratch scratch;
    const std::span<float> work = scratch.take<float>(k.gemm_tn_work);
    for (std::size_t i = 0; i < 2 * kSizes.size(); ++i) {
      const Index M = kSizes[i / 2].M, N = kSizes[i / 2].N, K = kSizes[i / 2].K;
      const bool accumulate = i % 2 == 0;
      INFO("M " << M << " N " << N << " K " << K << " accumulate " << accumulate);
      const Index a_offset = 2, b_offset = 1, ldc = N + 3;
      std::vector<float> a = test::noise(K * (M + 4), 9), b = test::noise(K * (N + 4), 10);
      std::vector<float*> a_rows = rows_of(a, K, M + 4), b_rows = rows_of(b, K, N + 4);
      const std::vector<float> before = test::noise(M * ldc, 11);
      std::vector<float> c = before;
      k.gemm_tn(M, N, K, a_rows.data(), a_offset, b_rows.data(), b_offset, c.data(), ldc, accumulate, work.data());
      double worst = 0;
      bool outside = true;
      for (Index m = 0; m < M; ++m) {
        for (Index n = 0; n < ldc; ++n) {
          const auto at = static_cast<std::size_t>(m * ldc + n);
          if (n >= N) {
            outside = outside && c[at] == before[at];
            continue;
          }
          double exact = accumulate ? static_cast<double>(before[at]) : 0.0;
          for (std::size_t k0 = 0; k0 < static_cast<std::size_t>(K); ++k0)
            exact += static_cast<double>(a_rows[k0][a_offset + m]) * static_cast<double>(b_rows[k0][b_offset + n]);
          worst = std::max(worst, std::abs(c[at] - exact));
        }
      }
      CHECK(worst <= tolerance(K));
      CHECK(outside);

      // An output tile computed by itself has the same bits: that is how the product is split between threads.
      std::vector<float> parts = before;
      const Index cut_m = M / 3, cut_n = N / 2;
      for (const auto& [m0, m1] : {std::pair<Index, Index>{0, cut_m}, {cut_m, M}})
        for (const auto& [n0, n1] : {std::pair<Index, Index>{0, cut_n}, {cut_n, N}})
          k.gemm_tn(m1 - m0, n1 - n0, K, a_rows.data(), a_offset + m0, b_rows.data(), b_offset + n0, parts.data() + m0 * ldc + n0,
                    ldc, accumulate, work.data());
      CHECK(parts == c);

      const std::vector<float> sums_before = test::noise(N + 1, 12);
      std::vector<float> sums = sums_before;
      k.column_sums(N, K, b_rows.data(), b_offset, sums.data(), accumulate);
      worst = 0;
      for (std::size_t n = 0; n < static_cast<std::size_t>(N); ++n) {
        double exact = accumulate ? static_cast<double>(sums_before[n]) : 0.0;
        for (const float* row : b_rows) exact += static_cast<double>(row[static_cast<std::size_t>(b_offset) + n]);
        worst = std::max(worst, std::abs(sums[n] - exact));
      }
      CHECK(worst <= tolerance(K) * 8);
      CHECK(sums.back() == sums_before.back());

      std::vector<float> other = test::noise(K * (N + 4), 15), dots = sums_before;
      const std::vector<float*> other_rows = rows_of(other, K, N + 4);
      k.column_dots(N, K, b_rows.data(), b_offset, other_rows.data(), 3, dots.data(), accumulate);
      worst = 0;
      for (std::size_t n = 0; n < static_cast<std::size_t>(N); ++n) {
        double exact = accumulate ? static_cast<double>(sums_before[n]) : 0.0;
        for (std::size_t k0 = 0; k0 < static_cast<std::size_t>(K); ++k0)
          exact +=
              static_cast<double>(b_rows[k0][static_cast<std::size_t>(b_offset) + n]) * static_cast<double>(other_rows[k0][3 + n]);
        worst = std::max(worst, std::abs(dots[n] - exact));
      }
      CHECK(worst <= tolerance(K) * 8);
      CHECK(dots.back() == sums_before.back());
      std::vector<float> halves = sums_before;
      for (const auto& [n0, n1] : {std::pair<Index, Index>{0, cut_n}, {cut_n, N}})
        k.column_dots(n1 - n0, K, b_rows.data(), b_offset + n0, other_rows.data(), 3 + n0, halves.data() + n0, accumulate);
      CHECK(halves == dots);
    }
  });
}
#endif

TEST_CASE("a NaN in one row of A or column of B stays there") {
  test::each_isa([](const simd::Kernels& k) {
    const Index M = 7, N = 37, K = 9;
    std::vector<float> a = test::noise(M * K, 13), b = test::noise(K * N, 14), c(static_cast<std::size_t>(M * N));
    a[static_cast<std::size_t>(2 * K + 4)] = std::nanf("");
    const std::vector<float*> a_rows = rows_of(a, M, K), c_rows = rows_of(c, M, N);
    std::vector<float> packed(static_cast<std::size_t>(simd::packed_size(k, K, N)));
    simd::pack(k, K, N, b.data(), N, 1, packed.data());
    k.gemm(M, N, K, a_rows.data(), packed.data(), nullptr, c_rows.data(), 0, false);
    bool right = true;
    for (Index m = 0; m < M; ++m)
      for (Index n = 0; n < N; ++n) right = right && std::isnan(c[static_cast<std::size_t>(m * N + n)]) == (m == 2);
    CHECK(right);
  });
}

}  // namespace rekur
