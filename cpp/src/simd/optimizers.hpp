// One step of an optimiser over a range of the flat buffers. Included by the ISA units only. The equations stand in kernels.hpp.
#pragma once

#include "simd/functions.hpp"
#include "simd/kernels.hpp"
#include "simd/vec.hpp"

namespace rekur {
namespace {

inline void sgd(float* w, const float* g, float* velocity, Index n, float lr, float momentum, bool nesterov, float grad_scale) {
  for (Index i = 0; i < n; i += kWidth) {
    const Index count = lanes(i, n);
    const Vec step = set1(lr) * (set1(grad_scale) * load_partial(g + i, count));
    Vec change = -step;
    if (velocity) {
      const Vec v = fma(set1(momentum), load_partial(velocity + i, count), -step);
      store_partial(velocity + i, v, count);
      change = nesterov ? fma(set1(momentum), v, -step) : v;
    }
    store_partial(w + i, load_partial(w + i, count) + change, count);
  }
}

inline void rmsprop(float* w, const float* g, float* square, float* mean, float* velocity, Index n, float lr, float rho,
                    float momentum, float eps, float grad_scale) {
  for (Index i = 0; i < n; i += kWidth) {
    const Index count = lanes(i, n);
    const Vec gradient = set1(grad_scale) * load_partial(g + i, count);
    const Vec a = fma(set1(rho), load_partial(square + i, count), set1(1.0f - rho) * gradient * gradient);
    store_partial(square + i, a, count);
    Vec spread = a;
    if (mean) {
      const Vec center = fma(set1(rho), load_partial(mean + i, count), set1(1.0f - rho) * gradient);
      store_partial(mean + i, center, count);
      spread = at_least(fma(-center, center, a), zero());
    }
    Vec change = -(set1(lr) * gradient) / sqrt(spread + set1(eps));
    if (velocity) {
      change = fma(set1(momentum), load_partial(velocity + i, count), change);
      store_partial(velocity + i, change, count);
    }
    store_partial(w + i, load_partial(w + i, count) + change, count);
  }
}

inline void adam(float* w, const float* g, float* m, float* v, float* largest, Index n, float lr, float b1, float b2, float eps,
                 float c1, float c2, float decay, float grad_scale) {
  const Vec rate = set1(lr * REKUR_SQRT(c2) / c1);
  const Vec shrink = set1(lr * decay);
  for (Index i = 0; i < n; i += kWidth) {
    const Index count = lanes(i, n);
    const Vec gradient = set1(grad_scale) * load_partial(g + i, count);
    const Vec first = fma(set1(b1), load_partial(m + i, count), set1(1.0f - b1) * gradient);
    Vec second = fma(set1(b2), load_partial(v + i, count), set1(1.0f - b2) * gradient * gradient);
    store_partial(m + i, first, count);
    store_partial(v + i, second, count);
    if (largest) {
      second = at_least(second, load_partial(largest + i, count));
      store_partial(largest + i, second, count);
    }
    const Vec old = load_partial(w + i, count);
    const Vec step = rate * first / (sqrt(second) + set1(eps));
    store_partial(w + i, old - fma(shrink, old, step), count);
  }
}

// x to a power >= 0.
REKUR_INLINE Vec power(Vec x, float exponent) {
  if (exponent == 0.5f) return sqrt(x);
  if (exponent == 0.0f) return set1(1.0f);
  return exponent == 1.0f ? x : exp(set1(exponent) * log(x));
}

inline void optimize(simd::OptimizerRule rule, const simd::OptimizerNumbers& k, float* w, float* g, float* a, float* b, Index n) {
  using simd::OptimizerRule;
  // change(gradient, w, a, b) gives what w becomes, and changes a and b.
  const auto each = [&](const auto& change) {
    for (Index i = 0; i < n; i += kWidth) {
      const Index count = lanes(i, n);
      Vec first = load_partial(a + i, count), second = b ? load_partial(b + i, count) : zero();
      const Vec result = change(set1(k.scale) * load_partial(g + i, count), load_partial(w + i, count), first, second);
      store_partial(a + i, first, count);
      if (b) store_partial(b + i, second, count);
      store_partial((rule == OptimizerRule::lamb ? g : w) + i, result, count);
    }
  };
  const Vec lr = set1(k.lr), eps = set1(k.epsilon);
  const auto mean = [](float beta, Vec before, Vec x) { return fma(set1(beta), before, set1(1.0f - beta) * x); };
  switch (rule) {
    case OptimizerRule::nadam:
      return each([&](Vec x, Vec old, Vec& m, Vec& v) {
        m = mean(k.beta_1, m, x);
        v = mean(k.beta_2, v, x * x);
        return old - lr * fma(set1(k.p), m, set1(k.q) * x) / (sqrt(set1(k.r) * v) + eps);
      });
    case OptimizerRule::adamax:
      return each([&](Vec x, Vec old, Vec& m, Vec& u) {
        m = mean(k.beta_1, m, x);
        u = at_least(abs(x), set1(k.beta_2) * u);
        return old - lr * m / (set1(k.p) * (u + eps));
      });
    case OptimizerRule::adagrad:
      return each([&](Vec x, Vec old, Vec& sum, Vec&) {
        sum = fma(x, x, sum);
        return old - lr * x / sqrt(sum + eps);
      });
    case OptimizerRule::adadelta:
      return each([&](Vec x, Vec old, Vec& square, Vec& moved) {
        square = mean(k.beta_2, square, x * x);
        const Vec step = -(sqrt(moved + eps) * x) / sqrt(square + eps);
        moved = mean(k.beta_2, moved, step * step);
        return fma(lr, step, old);
      });
    case OptimizerRule::ftrl:
      return each([&](Vec x, Vec old, Vec& sum, Vec& linear) {
        const Vec grown = fma(x, x, sum), after = power(grown, k.p) / lr;
        linear = linear + (fma(set1(k.q), old, x) - (after - power(sum, k.p) / lr) * old);
        sum = grown;
        const Vec limit = set1(k.beta_1);
        return (at_most(at_least(linear, -limit), limit) - linear) / (after + set1(k.r));
      });
    case OptimizerRule::lion:
      return each([&](Vec x, Vec old, Vec& m, Vec&) {
        const Vec way = mean(k.beta_1, m, x);
        m = mean(k.beta_2, m, x);
        const Vec sign = select(way > zero(), set1(1.0f), select(way < zero(), set1(-1.0f), way));
        return old - lr * sign;
      });
    case OptimizerRule::lamb:
      return each([&](Vec x, Vec, Vec& m, Vec& v) {
        m = mean(k.beta_1, m, x);
        v = mean(k.beta_2, v, x * x);
        return set1(k.p) * m / (sqrt(set1(k.r) * v) + eps);
      });
  }
}

inline void mix(float keep, float* to, float add, const float* from, Index n) {
  for (Index i = 0; i < n; i += kWidth) {
    const Index count = lanes(i, n);
    store_partial(to + i, fma(set1(keep), load_partial(to + i, count), set1(add) * load_partial(from + i, count)), count);
  }
}

}  // namespace
}  // namespace rekur
