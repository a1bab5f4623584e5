// One step of an optimiser over a range of the flat buffers. Included by the ISA units only. The equations stand in kernels.hpp.
#pragma once

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

inline void rmsprop(float* w, const float* g, float* square, float* velocity, Index n, float lr, float rho, float momentum,
                    float eps, float grad_scale) {
  for (Index i = 0; i < n; i += kWidth) {
    const Index count = lanes(i, n);
    const Vec gradient = set1(grad_scale) * load_partial(g + i, count);
    const Vec a = fma(set1(rho), load_partial(square + i, count), set1(1.0f - rho) * gradient * gradient);
    store_partial(square + i, a, count);
    Vec change = -(set1(lr) * gradient) / sqrt(a + set1(eps));
    if (velocity) {
      change = fma(set1(momentum), load_partial(velocity + i, count), change);
      store_partial(velocity + i, change, count);
    }
    store_partial(w + i, load_partial(w + i, count) + change, count);
  }
}

inline void adam(float* w, const float* g, float* m, float* v, Index n, float lr, float b1, float b2, float eps, float c1, float c2,
                 float decay, float grad_scale) {
  const Vec rate = set1(lr * __builtin_sqrtf(c2) / c1);
  const Vec shrink = set1(lr * decay);
  for (Index i = 0; i < n; i += kWidth) {
    const Index count = lanes(i, n);
    const Vec gradient = set1(grad_scale) * load_partial(g + i, count);
    const Vec first = fma(set1(b1), load_partial(m + i, count), set1(1.0f - b1) * gradient);
    const Vec second = fma(set1(b2), load_partial(v + i, count), set1(1.0f - b2) * gradient * gradient);
    store_partial(m + i, first, count);
    store_partial(v + i, second, count);
    const Vec old = load_partial(w + i, count);
    const Vec step = rate * first / (sqrt(second) + set1(eps));
    store_partial(w + i, old - fma(shrink, old, step), count);
  }
}

}  // namespace
}  // namespace rekur
