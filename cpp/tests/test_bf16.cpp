// Products of bf16: their sums with every instruction set but AMX (test_amx.cpp), bit by bit, streams against predict, and what a
// trainer says of a model. tests/test_bf16.py has the arithmetic of layers.
#include <cmath>
#include <string>
#include <vector>

#include "bf16_rows.hpp"
#include "each_isa.hpp"
#include "isa/bf16.hpp"
#include "rekur/train.hpp"
#include "runtime/scratch.hpp"
#include "stream_helpers.hpp"

using namespace rekur;
using namespace rekur::test;

namespace {

std::string of(const std::string& type, Index features, Index units, const std::string& options = "") {
  return spec(input("x", "[null, " + std::to_string(features) + "]") + ", " +
                  layer(type, "y", R"("x")", R"("units": )" + std::to_string(units) + options),
              R"("x")", R"("y")");
}

const std::string kSaid = R"(, "precision": "bf16")";

#if REKUR_BF16
enum class Start { zero, bias, before };

// Runs a check with two fused multiply-adds and, where the machine has it, with the instruction, which have the same bits.
template <class Check>
void each_way(const Check& check) {
  each_isa([&](const simd::Kernels& kernels) {
    check(kernels, Index{kBf16Pairs});
    if (const Index group = isa::bf16_group(); group == kBf16Dots) check(kernels, group);
  });
}

template <class A, class B>
float sum_of(Index K, float sum, const A& a, const B& b) {
  for (Index k = 0; k < K; ++k) sum = std::fma(rounded(a(k)), rounded(b(k)), sum);
  return sum;
}
#endif

}  // namespace

#if REKUR_BF16
TEST_CASE("bf16: a product adds one number after the other, whatever its rows, with and without a bias and what stood there") {
  each_way([](const simd::Kernels& kernels, Index group) {
    for (const Index K : {1, 2, 31, 32, 33, 130})
      for (const Index M : {1, 2, 5, 6, 7, 13, 33})
        for (const Index N : {1, 16, 33, 65, 130, 330})
          for (const Start start : {Start::zero, Start::bias, Start::before}) {
            INFO("group " << group << ", M " << M << ", N " << N << ", K " << K);
            const auto seed = static_cast<std::uint32_t>(K + M + N);
            const std::vector<float> x = noise(M * K, seed), b = noise(K * N, seed + 1), bias = noise(N, seed + 2);
            const Bf16Rows rows(kernels, x, M, K);
            const std::vector<float> weights = bf16_packed(kernels, b, K, N);
            constexpr Index offset = 3;
            const Index stride = N + offset + 1;
            const std::vector<float> before = noise(M * stride, 5);
            std::vector<float> c = before;
            std::vector<float*> to;
            for (Index m = 0; m < M; ++m) to.push_back(c.data() + m * stride);
            kernels.gemm_bf16(group, M, N, K, rows.rows.data(), weights.data(), start == Start::bias ? bias.data() : nullptr,
                              to.data(), offset, start == Start::before);
            Index wrong = 0;
            for (Index m = 0; m < M; ++m)
              for (Index i = 0; i < stride; ++i) {
                const Index n = i - offset;
                float y = before[at(m * stride + i)];
                if (n >= 0 && n < N) {
                  if (start != Start::before) y = start == Start::bias ? bias[at(n)] : 0.0f;
                  y = sum_of(K, y, [&](Index k) { return x[at(m * K + k)]; }, [&](Index k) { return b[at(k * N + n)]; });
                }
                wrong += !test::same(c[at(m * stride + i)], y);
              }
            CHECK(wrong == 0);
          }
  });
}

TEST_CASE("bf16: gradients of weights add one row after the other") {
  each_way([](const simd::Kernels& kernels, Index group) {
    Scratch scratch;
    const std::span<float> work = scratch.take<float>(kernels.gemm_tn_work);
    for (const Index K : {1, 2, 33, 257})
      for (const Index M : {1, 5, 17, 50})
        for (const Index N : {1, 17, 64, 131})
          for (const bool accumulate : {false, true}) {
            INFO("group " << group << ", M " << M << ", N " << N << ", K " << K);
            const auto seed = static_cast<std::uint32_t>(K + M + N);
            const std::vector<float> a = noise(K * M, seed), b = noise(K * N, seed + 1), before = noise(M * N, seed + 2);
            std::vector<float> c = before;
            std::vector<const float*> rows_a, rows_b;
            for (Index k = 0; k < K; ++k) {
              rows_a.push_back(a.data() + k * M);
              rows_b.push_back(b.data() + k * N);
            }
            kernels.gemm_tn_bf16(group, {}, M, N, K, rows_a.data(), 0, rows_b.data(), 0, c.data(), N, accumulate, work.data());
            Index wrong = 0;
            for (Index m = 0; m < M; ++m)
              for (Index n = 0; n < N; ++n)
                wrong += !test::same(c[at(m * N + n)],
                                     sum_of(
                                         K, accumulate ? before[at(m * N + n)] : 0.0f, [&](Index k) { return a[at(k * M + m)]; },
                                         [&](Index k) { return b[at(k * N + n)]; }));
            CHECK(wrong == 0);
          }
  });
}
#endif

TEST_CASE("bf16: streams give predict's bits, one row or several, step by step and together") {
  for (const auto& size : std::vector<std::pair<Index, Index>>{{1, 1}, {3, 7}, {17, 31}, {33, 65}})
    for (const char* type : {"LSTM", "GRU", "SimpleRNN", "Dense"}) {
      CAPTURE(type);
      CAPTURE(size.second);
      check_stream(of(type, size.first, size.second, kSaid), {}, 0.3f);
    }
  for (const char* options : {R"(, "peepholes": true)", R"(, "projection_size": 17)", R"(, "layer_normalization": "sums")"})
    check_stream(of("LSTM", 5, 33, options + kSaid), {}, 0.3f);
  check_stream(of("GRU", 5, 33, R"(, "reset_after": false)" + kSaid), {}, 0.3f);
}

TEST_CASE("bf16: a trainer says what layers compute in that do not say it themselves") {
  const std::string training = R"({"optimizer": {"name": "sgd"}, "losses": [{"name": "mean_squared_error"}])";
  for (const char* type : {"LSTM", "Dense"}) {
    Model model = random_model(of(type, 9, 17), 0.3f), said = random_model(of(type, 9, 17, kSaid), 0.3f);
    const Sequences data(model, 3, 5);
    const auto predicted = [&](const Model& m) { return m.predict(data.first(5).batch())[0].data; };
    const std::vector<float> plain = predicted(model), rounded = predicted(said);
    CHECK(plain != rounded);
    const auto streamed = [](const Model& m) {
      Stream stream(m, {.batch = 3});
      const std::vector<float> x = numbers(3 * 9, 4);
      std::vector<float> y(3 * 17);
      for (int t = 0; t < 3; ++t) CHECK(stream.step(x.data(), y.data()));
      return y;
    };
    const Stream before(model, {.batch = 3});  // whose program those after it may share
    const std::vector<float> plain_step = streamed(model), rounded_step = streamed(said);
    CHECK(plain_step != rounded_step);
    Trainer(model, training + R"(, "precision": "bf16"})");
    CHECK(same(predicted(model), rounded));
    CHECK(same(streamed(model), rounded_step));
    Trainer(model, training + "}");
    CHECK(same(predicted(model), plain));
    CHECK(same(streamed(model), plain_step));
    Trainer(said, training + "}");
    CHECK(same(predicted(said), rounded));
    CHECK_THROWS_WITH_AS(Trainer(model, training + R"(, "precision": "fp16"})"), doctest::Contains("precision"), Error);
  }
  CHECK_THROWS_WITH_AS(Model(of("LSTM", 2, 3, R"(, "precision": "fp16")")), doctest::Contains("precision"), Error);
}
