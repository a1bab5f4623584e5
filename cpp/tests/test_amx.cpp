// Products of bf16 by AMX, against the sums that Intel's manual gives for TDPBF16PS, bit by bit: gemm and a step's recurrent
// product. Where a processor has no AMX there is nothing to test. Products of eight bits: test_int8.cpp.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "bf16_rows.hpp"
#include "each_isa.hpp"
#include "fused.hpp"
#include "isa/amx.hpp"
#include "isa/bf16.hpp"

#if REKUR_AMX && REKUR_BF16

namespace rekur {

using namespace test;

namespace {

// What a tile of 32 numbers gives each sum: those of odd and of even index apart (rows hold the even one above), then together.
template <class A, class B>
float sum_of(Index K, float sum, const A& a, const B& b) {
  for (Index k0 = 0; k0 < K; k0 += 32) {
    float even = 0, odd = 0;
    for (Index k = k0; k < std::min(k0 + 32, K); ++k) {
      float& half = k % 2 == 0 ? even : odd;
      half = tests::fused(rounded(a(k)), rounded(b(k)), half);
    }
    sum += odd + even;
  }
  return sum;
}

template <class Check>
void with_amx(const Check& check) {
  test::each_isa([&](const simd::Kernels& kernels) {
    if (isa::uses_amx()) check(kernels, isa::bf16_group());
  });
}

}  // namespace

TEST_CASE("AMX: a product of bf16 has the sums of the manual, whatever its rows, with and without a bias and what stood there") {
  with_amx([](const simd::Kernels& kernels, Index group) {
    for (const Index K : {1, 2, 31, 32, 33, 65, 130})
      for (const Index M : {1, 2, 15, 16, 17, 31, 33, 65})
        for (const Index N : {1, 16, 33, 65, 130}) {
          INFO("M " << M << ", N " << N << ", K " << K);
          const auto seed = static_cast<std::uint32_t>(K + M + N);
          const std::vector<float> x = test::noise(M * K, seed), b = test::noise(K * N, seed + 1), bias = test::noise(N, seed + 2);
          const Bf16Rows rows(kernels, x, M, K);
          const std::vector<float> weights = bf16_packed(kernels, b, K, N);
          for (int how = 0; how < 3; ++how) {
            constexpr Index offset = 3;
            const Index stride = N + offset + 1;
            const std::vector<float> before = test::noise(M * stride, 5);
            std::vector<float> c = before;
            std::vector<float*> to;
            for (Index m = 0; m < M; ++m) to.push_back(c.data() + m * stride);
            kernels.gemm_bf16(group, M, N, K, rows.rows.data(), weights.data(), how == 1 ? bias.data() : nullptr, to.data(), offset,
                              how == 2);
            Index wrong = 0;
            for (Index m = 0; m < M; ++m)
              for (Index i = 0; i < stride; ++i) {
                const Index n = i - offset;
                const float was = before[at(m * stride + i)];
                float y = was;
                if (n >= 0 && n < N) {
                  y = sum_of(
                      K,
                      how == 0   ? 0.0f
                      : how == 1 ? bias[at(n)]
                                 : was,
                      [&](Index k) { return x[at(m * K + k)]; }, [&](Index k) { return b[at(k * N + n)]; });
                }
                wrong += !same(c[at(m * stride + i)], y);
              }
            CHECK(wrong == 0);
          }
        }
  });
}

TEST_CASE("AMX: gradients of weights in bf16 are sums of 32 rows each, one after the other, and nothing else is written") {
  with_amx([](const simd::Kernels& kernels, Index group) {
    for (const Index K : {0, 1, 3, 32, 65, 256, 257, 600})
      for (const Index M : {1, 5, 16, 33, 50, 65, 100})
        for (const Index N : {1, 17, 64, 131})
          for (const bool accumulate : {false, true}) {
            INFO("M " << M << ", N " << N << ", K " << K);
            const auto seed = static_cast<std::uint32_t>(K + M + N);
            const Index ldc = N + 2;
            const std::vector<float> a = test::noise(K * (M + 1), seed), b = test::noise(K * N, seed + 1),
                                     before = test::noise(M * ldc, seed + 2);
            std::vector<const float*> rows_a, rows_b;
            for (Index k = 0; k < K; ++k) {
              rows_a.push_back(a.data() + k * (M + 1));
              rows_b.push_back(b.data() + k * N);
            }
            std::vector<float> work(at(kernels.gemm_tn_work) + 16);
            float* const line = work.data() + 16 - reinterpret_cast<std::uintptr_t>(work.data()) / sizeof(float) % 16;
            const auto product = [&](Index how) {
              std::vector<float> c = before;
              kernels.gemm_tn_bf16(how, {}, M, N, K, rows_a.data(), 1, rows_b.data(), 0, c.data(), ldc, accumulate, line);
              return c;
            };
            const std::vector<float> c = product(group);
            Index wrong = 0;
            for (Index m = 0; m < M; ++m)
              for (Index n = 0; n < ldc; ++n) {
                float y = accumulate || n >= N ? before[at(m * ldc + n)] : 0.0f;
                if (n < N)
                  y = sum_of(K, y, [&](Index k) { return a[at(k * (M + 1) + 1 + m)]; }, [&](Index k) { return b[at(k * N + n)]; });
                wrong += !same(c[at(m * ldc + n)], y);
              }
            CHECK(wrong == 0);
            CHECK(product(kBf16Floats) == product(kBf16Pairs));
            // Of rows that are in bf16 already, the same.
            if (K == 0 || accumulate) continue;
            std::vector<float> padded(at(K * (M + 16)));
            for (Index k = 0; k < K; ++k) std::copy_n(a.data() + k * (M + 1) + 1, M, padded.data() + k * (M + 16));
            const Bf16Rows of_padded(kernels, padded, K, M + 16);
            std::vector<float> again = before;
            kernels.gemm_tn_bf16(group, {true, false}, M, N, K, of_padded.rows.data(), 0, rows_b.data(), 0, again.data(), ldc,
                                 false, line);
            CHECK(again == c);
          }
  });
}

#if REKUR_EQUATIONS
TEST_CASE("AMX: a step's recurrent product of bf16 for any rows, blocks and units") {
  with_amx([](const simd::Kernels& kernels, Index group) {
    for (const Index H : {1, 5, 17, 33, 65, 130})
      for (int G = 1; G <= kernels::kMostTogether; ++G)
        for (const Index M : {1, 2, 16, 17, 33, 50})
          for (const bool descending : {false, true}) {
            INFO("H " << H << ", blocks " << G << ", rows " << M);
            const Index width = kernels.width, Hp = (H + width - 1) / width * width, pairs = (H + 1) / 2;
            const std::vector<float> b = test::noise(H * G * Hp, 3), h = test::noise(M * H, 7), bias = test::noise(G * Hp, 9);
            // Block g of unit u stands at b[k][g][u].
            std::vector<float> weights(at(Hp / width * pairs * G * width));
            for (Index j = 0; j < Hp / width; ++j)
              for (Index k = 0; k < H; k += 2)
                for (Index g = 0; g < G; ++g) {
                  const float* const first = b.data() + (k * G + g) * Hp + j * width;
                  kernels.pair_rows(first, k + 1 < H ? first + G * Hp : nullptr, width,
                                    weights.data() + ((j * pairs + k / 2) * G + g) * width);
                }
            std::vector<float> narrow(at(M * (simd::bf16_row_floats(H) + kAmxSums))), to(at(M * G * Hp));
            std::vector<const float*> from;
            for (Index m = 0; m < M; ++m) from.push_back(h.data() + m * H);
            for (const Index length : {H, Index{0}}) {
              kernels::StepProduct s{};
              s.rows = M;
              s.H = H;
              s.product_length = length;
              s.Hp = s.end = Hp;
              s.descending = descending;
              s.from = from.data();
              s.weights = weights.data();
              s.type = WeightType::bf16;
              s.group = group;
              s.narrow = narrow.data();
              s.bias = bias.data();
              s.to = to.data();
              s.to_stride = G * Hp;
              isa::table().steps.product[G - 1](s);
              Index wrong = 0;
              for (Index m = 0; m < M; ++m)
                for (Index g = 0; g < G; ++g)
                  for (Index u = 0; u < Hp; ++u) {
                    const float sum = sum_of(
                        length, bias[at(g * Hp + u)], [&](Index k) { return h[at(m * H + k)]; },
                        [&](Index k) { return b[at((k * G + g) * Hp + u)]; });
                    wrong += !same(to[at(m * G * Hp + g * Hp + u)], sum);
                  }
              CHECK(wrong == 0);
            }
          }
  });
}
#endif

TEST_CASE("AMX is the widest instruction set where a processor has it, and can be left for AVX-512") {
  const std::vector<std::string> names = available_isas();
  CHECK((std::find(names.begin(), names.end(), "amx") != names.end()) == isa::has_amx());
  if (!isa::has_amx()) {
    CHECK_THROWS_WITH_AS(set_isa("amx"), doctest::Contains("lacks the instruction set 'amx'"), Error);
    return;
  }
  CHECK(names.back() == "amx");
  test::each_isa([](const simd::Kernels&) { CHECK(isa::uses_amx() == (current_isa() == "amx")); });
}

}  // namespace rekur

#endif
