// Attention by blocks against float64, and the promise that a row's bits depend on its query and its keys alone.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "each_isa.hpp"
#include "sequence/attention_run.hpp"

namespace rekur::layers {
namespace {

// A run with its arrays.
struct Case {
  AttentionRun run;
  std::vector<float> q, k, v, out, log_sums, weights, additive;
  std::vector<std::int32_t> q_lengths, k_lengths, k_list;

  Case(Index B, Index H, Index Tq, Index Tk, Index d, Index dv) {
    q = test::noise(B * Tq * H * d, 1);
    k = test::noise(B * Tk * H * d, 2);
    v = test::noise(B * Tk * H * dv, 3);
    for (float& x : q) x *= 3.0f;
    run.batch = B;
    run.heads = run.key_heads = H;
    run.dim = d;
    run.value_dim = dv;
    run.queries.T = Tq;
    run.keys.T = Tk;
    run.scale = 0.7f;
  }

  void point() {
    const Index H = run.heads;
    out.assign(static_cast<std::size_t>(run.batch * run.queries.T * H * run.value_dim), 7.0f);
    log_sums.assign(static_cast<std::size_t>(run.batch * H * run.queries.T), 0.0f);
    run.q = {q.data(), H * run.dim};
    run.k = {k.data(), run.key_heads * run.dim};
    run.v = {v.data(), run.key_heads * run.value_dim};
    run.out = {out.data(), H * run.value_dim};
    run.log_sums = log_sums.data();
    if (!additive.empty()) run.additive = additive.data();
    if (!q_lengths.empty()) run.queries.lengths = q_lengths.data();
    if (!k_lengths.empty()) run.keys.lengths = k_lengths.data();
    if (!k_list.empty()) run.keys.list = k_list.data();
    run.weights = weights.empty() ? nullptr : weights.data();
  }

  void attend_now() {
    point();
    attend(run);
  }

  bool sees(Index b, Index t, Index s) const {
    bool part = false;
    for (Index i = 0; i < run.keys.length(b); ++i) part |= run.keys.at(b, i) == s;
    return part && (!run.causal || s <= t) && (run.window == 0 || std::abs(t - s) < run.window);
  }

  double score(Index b, Index h, Index t, Index s) const {
    const Index H = run.heads, d = run.dim, kh = h / (H / run.key_heads);
    double sum = 0;
    for (Index i = 0; i < d; ++i) {
      const double x = q[static_cast<std::size_t>(((b * run.queries.T + t) * H + h) * d + i)];
      const double y = k[static_cast<std::size_t>(((b * run.keys.T + s) * run.key_heads + kh) * d + i)];
      const double scale = static_cast<double>(run.scale);
      sum += additive.empty() ? scale * x * y
                              : static_cast<double>(additive[static_cast<std::size_t>(i)]) * std::tanh(scale * (x + y));
    }
    return sum;
  }

  double expected(Index b, Index h, Index t, Index i) const {
    const Index kh = h / (run.heads / run.key_heads);
    double most = -std::numeric_limits<double>::infinity(), sum = 0, out_sum = 0;
    for (Index s = 0; s < run.keys.T; ++s)
      if (sees(b, t, s)) most = std::max(most, score(b, h, t, s));
    for (Index s = 0; s < run.keys.T; ++s) {
      if (!sees(b, t, s)) continue;
      const double p = std::exp(score(b, h, t, s) - most);
      sum += p;
      out_sum +=
          p * static_cast<double>(v[static_cast<std::size_t>(((b * run.keys.T + s) * run.key_heads + kh) * run.value_dim + i)]);
    }
    return sum > 0 ? out_sum / sum : 0;
  }

  double worst() const {
    double worst = 0;
    for (Index b = 0; b < run.batch; ++b)
      for (Index h = 0; h < run.heads; ++h)
        for (Index t = 0; t < run.queries.length(b); ++t)
          for (Index i = 0; i < run.value_dim; i += 1 + run.value_dim / 3) {
            const Index at = ((b * run.queries.T + t) * run.heads + h) * run.value_dim + i;
            worst = std::max(worst, std::abs(static_cast<double>(out[static_cast<std::size_t>(at)]) - expected(b, h, t, i)));
          }
    return worst;
  }
};

struct Sizes {
  Index B, H, Tq, Tk, d, dv;
};
const std::vector<Sizes> kSizes = {{1, 1, 1, 1, 1, 1},      {2, 2, 3, 5, 7, 4},     {1, 1, 130, 129, 16, 16},
                                   {1, 2, 97, 257, 65, 33}, {1, 1, 13, 64, 64, 64}, {2, 1, 100, 15, 3, 130},
                                   {1, 3, 7, 300, 8, 2}};

}  // namespace

TEST_CASE("attention equals float64's, whatever a query sees, at awkward sizes") {
  test::each_isa([](const simd::Kernels&) {
    for (const auto& s : kSizes)
      for (const int mode : {0, 1, 2, 3, 4}) {
        INFO("B " << s.B << " H " << s.H << " Tq " << s.Tq << " Tk " << s.Tk << " d " << s.d << " dv " << s.dv << " mode " << mode);
        Case c(s.B, s.H, s.Tq, s.Tk, s.d, s.dv);
        c.run.causal = mode == 1 || mode == 3;
        if (mode >= 2) c.run.window = 1 + s.Tk / 3;
        if (mode == 4) {
          if (s.d > 20) continue;
          c.run.window = 0;
          c.additive = test::noise(s.d, 9);
        }
        if (s.B > 1) {
          c.k_lengths = {static_cast<std::int32_t>(s.Tk), static_cast<std::int32_t>(s.Tk / 2)};
          c.q_lengths = {static_cast<std::int32_t>(s.Tq / 2 + 1), static_cast<std::int32_t>(s.Tq)};
        }
        c.attend_now();
        CHECK(c.worst() < 3e-6);
      }
  });
}

TEST_CASE("queries beyond their length and queries without a key give zeros, or the mean where padding is a mask") {
  Case c(2, 1, 3, 4, 2, 2);
  c.q_lengths = {2, 3};
  c.k_lengths = {4, 0};
  c.attend_now();
  for (const Index at : {4, 5, 6, 7, 8, 9, 10, 11}) CHECK(c.out[static_cast<std::size_t>(at)] == 0.0f);
  c.run.mean = c.run.mean_of_masked_queries = c.run.queries.mask = true;
  c.attend_now();
  float mean = 0;
  for (std::size_t t = 0; t < 4; ++t) mean += 0.25f * c.v[2 * t];
  CHECK(c.out[4] == doctest::Approx(mean));
  mean = 0;
  for (std::size_t t = 4; t < 8; ++t) mean += 0.25f * c.v[2 * t];
  CHECK(c.out[10] == doctest::Approx(mean));
}

TEST_CASE("keys in a list are as if the others were not there, to the bit") {
  test::each_isa([](const simd::Kernels&) {
    const Index T = 200, d = 24;
    Case all(1, 1, 5, T, d, d);
    std::vector<std::int32_t> kept;
    for (std::int32_t t = 0; t < T; ++t)
      if (t % 3 != 1) kept.push_back(t);
    Case few(1, 1, 5, static_cast<Index>(kept.size()), d, d);
    for (std::size_t i = 0; i < kept.size(); ++i) {
      std::copy_n(all.k.data() + kept[i] * d, d, few.k.data() + static_cast<Index>(i) * d);
      std::copy_n(all.v.data() + kept[i] * d, d, few.v.data() + static_cast<Index>(i) * d);
    }
    all.k_lengths = {static_cast<std::int32_t>(kept.size())};
    all.k_list = kept;
    all.k_list.resize(static_cast<std::size_t>(T));
    all.attend_now();
    few.attend_now();
    CHECK(std::memcmp(all.out.data(), few.out.data(), few.out.size() * sizeof(float)) == 0);
  });
}

TEST_CASE("a causal query's bits do not depend on the queries and keys after it") {
  test::each_isa([](const simd::Kernels&) {
    const Index T = 300, d = 33;
    Case whole(1, 2, T, T, d, 18);
    whole.run.causal = true;
    whole.attend_now();
    for (const Index n : {1, 95, 96, 97, 128, 129, 290}) {
      Case part(1, 2, n, n, d, 18);
      part.run.causal = true;
      std::copy_n(whole.q.data(), part.q.size(), part.q.data());
      std::copy_n(whole.k.data(), part.k.size(), part.k.data());
      std::copy_n(whole.v.data(), part.v.size(), part.v.data());
      part.attend_now();
      INFO("steps " << n);
      CHECK(std::memcmp(whole.out.data(), part.out.data(), part.out.size() * sizeof(float)) == 0);
    }
  });
}

#if REKUR_TRAINING

TEST_CASE("gradients of what sees only some keys of a block are those of the formulas in float64, each of them") {
  constexpr Index T = 205, d = 17, dv = 9;
  const double scale = static_cast<double>(0.7f);
  const auto at = [](const std::vector<float>& x, Index i) { return static_cast<double>(x[static_cast<std::size_t>(i)]); };
  for (const int mode : {0, 1, 2}) {
    test::each_isa([&](const simd::Kernels&) {
      INFO("mode " << mode);
      Case c(1, 1, T, T, d, dv);
      c.run.causal = mode != 2;
      if (mode > 0) c.run.window = 50;
      c.attend_now();
      const std::vector<float> d_out = test::noise(T * dv, 11);
      std::vector<float> d_q(c.q.size()), d_k(c.k.size()), d_v(c.v.size());
      AttentionGradients g;
      g.d_out = {d_out.data(), dv};
      g.d_q = {d_q.data(), d};
      g.d_k = {d_k.data(), d};
      g.d_v = {d_v.data(), dv};
      attend_backward(c.run, g);
      std::vector<double> q_slope(static_cast<std::size_t>(T * d)), k_slope(q_slope), v_slope(static_cast<std::size_t>(T * dv));
      for (Index t = 0; t < T; ++t) {
        const Index begin = mode > 0 ? std::max<Index>(t - 49, 0) : 0, end = mode < 2 ? t + 1 : std::min(t + 50, T);
        std::vector<double> p(static_cast<std::size_t>(T)), dp(p);
        double sum = 0, mean = 0;
        for (Index k = begin; k < end; ++k) {
          double score = 0;
          for (Index i = 0; i < d; ++i) score += at(c.q, t * d + i) * at(c.k, k * d + i);
          sum += p[static_cast<std::size_t>(k)] = std::exp(scale * score);
        }
        for (Index k = begin; k < end; ++k) {
          const auto n = static_cast<std::size_t>(k);
          p[n] /= sum;
          for (Index i = 0; i < dv; ++i) {
            dp[n] += at(d_out, t * dv + i) * at(c.v, k * dv + i);
            v_slope[static_cast<std::size_t>(k * dv + i)] += p[n] * at(d_out, t * dv + i);
          }
          mean += p[n] * dp[n];
        }
        for (Index k = begin; k < end; ++k) {
          const auto n = static_cast<std::size_t>(k);
          for (Index i = 0; i < d; ++i) {
            q_slope[static_cast<std::size_t>(t * d + i)] += scale * p[n] * (dp[n] - mean) * at(c.k, k * d + i);
            k_slope[static_cast<std::size_t>(k * d + i)] += scale * p[n] * (dp[n] - mean) * at(c.q, t * d + i);
          }
        }
      }
      const auto worst = [&](const std::vector<double>& slopes, const std::vector<float>& found) {
        double most = 0;
        for (std::size_t i = 0; i < slopes.size(); ++i) most = std::max(most, std::abs(slopes[i] - static_cast<double>(found[i])));
        return most;
      };
      CHECK(worst(q_slope, d_q) < 1e-5);
      CHECK(worst(k_slope, d_k) < 1e-5);
      CHECK(worst(v_slope, d_v) < 1e-5);
    });
  }
}

TEST_CASE("the gradients of attention are those of its float64 form by central differences") {
  for (const int mode : {0, 1, 2, 3}) {
    std::vector<double> slopes;  // of the float64 form, which no instruction set changes
    test::each_isa([&](const simd::Kernels&) {
      INFO("mode " << mode);
      Case c(2, 4, 99, 131, 5, 3);
      c.run.key_heads = 2;
      c.run.causal = mode == 1;
      if (mode == 2) c.run.window = 40;
      if (mode == 3) c.additive = test::noise(5, 9);
      c.k_lengths = {131, 60};
      c.q_lengths = {80, 99};
      c.attend_now();
      const std::vector<float> d_out = test::noise(static_cast<Index>(c.out.size()), 11);
      std::vector<float> d_q(c.q.size()), d_k(c.k.size()), d_v(c.v.size()), d_additive(5);
      float d_scale = 0;
      AttentionGradients g;
      g.d_out = {d_out.data(), c.run.out.stride};
      g.d_q = {d_q.data(), c.run.q.stride};
      g.d_k = {d_k.data(), c.run.k.stride};
      g.d_v = {d_v.data(), c.run.v.stride};
      g.d_scale = &d_scale;
      g.d_additive = c.additive.empty() ? nullptr : d_additive.data();
      attend_backward(c.run, g);
      // Of what heads [h0, h1) of a row give; row -1: of all rows.
      const auto loss = [&](Index row, Index h0, Index h1) {
        double sum = 0;
        for (Index b = 0; b < 2; ++b) {
          if (row >= 0 && b != row) continue;
          for (Index t = 0; t < c.run.queries.length(b); ++t)
            for (Index h = h0; h < h1; ++h)
              for (Index i = 0; i < 3; ++i)
                sum +=
                    static_cast<double>(d_out[static_cast<std::size_t>(((b * 99 + t) * 4 + h) * 3 + i)]) * c.expected(b, h, t, i);
        }
        return sum;
      };
      const auto slope = [&](float& x, Index row, Index h0, Index h1) {
        const float before = x;
        x = before + 0.01f;
        const double above = loss(row, h0, h1), up = static_cast<double>(x);
        x = before - 0.01f;
        const double below = loss(row, h0, h1), down = static_cast<double>(x);
        x = before;
        return (above - below) / (up - down);
      };
      const auto near = [](double a, float b) { return std::abs(a - static_cast<double>(b)) < 1e-3 * (1 + std::abs(a)); };
      auto check = [&, n = std::size_t{0}](float& x, float gradient, Index row, Index h0, Index h1) mutable {
        if (slopes.size() == n) slopes.push_back(slope(x, row, h0, h1));
        CHECK(near(slopes[n++], gradient));
      };
      const std::size_t last = c.q.size() - 3, late = 131 * 10 + 59 * 10 + 4;
      check(c.q[41], d_q[41], 0, 0, 1);
      check(c.q[last], d_q[last], 1, 3, 4);
      check(c.k[17], d_k[17], 0, 2, 4);
      check(c.k[late], d_k[late], 1, 0, 2);
      CHECK(d_k[131 * 10 + 60 * 10] == 0.0f);
      check(c.v[8], d_v[8], 0, 0, 4);
      check(c.run.scale, d_scale, -1, 0, 4);
      if (!c.additive.empty()) check(c.additive[2], d_additive[2], -1, 0, 4);
    });
  }
}

TEST_CASE("weights of attention sum to 1, and with dropout the kept ones grow") {
  Case c(1, 2, 50, 70, 8, 4);
  c.weights.resize(2 * 50 * 70);
  c.attend_now();
  for (std::size_t row = 0; row < 100; ++row) {
    double sum = 0;
    for (std::size_t k = 0; k < 70; ++k) sum += static_cast<double>(c.weights[row * 70 + k]);
    CHECK(sum == doctest::Approx(1.0));
  }
  const std::vector<float> before = c.weights;
  c.run.dropout = {0.25f, 5, 6, 7};
  c.run.weights_dropped = true;
  c.attend_now();
  std::size_t dropped = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (c.weights[i] == 0.0f)
      ++dropped;
    else
      CHECK(c.weights[i] == doctest::Approx(static_cast<double>(before[i]) / 0.75));
  }
  CHECK(dropped > before.size() / 5);
  CHECK(dropped < before.size() * 3 / 10);
  // out is what the dropped weights make of the values
  double sum = 0;
  for (std::size_t k = 0; k < 70; ++k)
    sum += static_cast<double>(c.weights[(50 + 3) * 70 + k]) * static_cast<double>(c.v[(k * 2 + 1) * 4 + 2]);
  CHECK(static_cast<double>(c.out[(3 * 2 + 1) * 4 + 2]) == doctest::Approx(sum));
}

#endif

}  // namespace rekur::layers
