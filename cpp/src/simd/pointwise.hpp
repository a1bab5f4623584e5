// Elementwise kernels, row-wise softmax and reductions. Included by the ISA units only.
// Tails go through the same vector code as everything else, so where a range is split never changes a bit.
#pragma once

#include "simd/functions.hpp"
#include "simd/kernels.hpp"

namespace rekur {
namespace {

// y[i] = f(x[i]) for vectors of values.
template <class F>
REKUR_INLINE void map(const float* x, float* y, Index n, const F& f) {
  Index i = 0;
  for (; i + kWidth <= n; i += kWidth) store(y + i, f(load(x + i)));
  if (i < n) store_partial(y + i, f(load_partial(x + i, n - i)), n - i);
}

template <class F>
REKUR_INLINE void map(const float* a, const float* b, float* y, Index n, const F& f) {
  Index i = 0;
  for (; i + kWidth <= n; i += kWidth) store(y + i, f(load(a + i), load(b + i)));
  if (i < n) store_partial(y + i, f(load_partial(a + i, n - i), load_partial(b + i, n - i)), n - i);
}

#if REKUR_COMPACT_KERNELS
inline void activate(Activation f, const float* x, float* y, Index n) {
  const VectorFunction value = function_of(f.kind);
  map(x, y, n, [&](Vec v) { return value(v, f.alpha, f.beta); });
}

inline void activate_backward(Activation f, const float* y, const float* dy, float* dx, Index n) {
  const VectorFunction slope = slope_of(f.kind);
  map(y, dy, dx, n, [&](Vec v, Vec d) { return d * slope(v, f.alpha, f.beta); });
}
#else
inline void activate(Activation f, const float* x, float* y, Index n) {
  with_kind(f.kind, [&](auto k) { map(x, y, n, [&](Vec v) { return activation_of_many<k.kind>(f, v); }); });
}

inline void activate_backward(Activation f, const float* y, const float* dy, float* dx, Index n) {
  with_kind(f.kind, [&](auto k) { map(y, dy, dx, n, [&](Vec v, Vec d) { return d * activation_slope<k.kind>(f, v); }); });
}
#endif

inline void exp_all(const float* x, float* y, Index n) {
  map(x, y, n, [](Vec v) { return exp(v); });
}

inline void add(const float* a, const float* b, float* out, Index n) {
  map(a, b, out, n, [](Vec x, Vec y) { return x + y; });
}

inline void subtract(const float* a, const float* b, float* out, Index n) {
  map(a, b, out, n, [](Vec x, Vec y) { return x - y; });
}

inline void multiply(const float* a, const float* b, float* out, Index n) {
  map(a, b, out, n, [](Vec x, Vec y) { return x * y; });
}

inline void divide(const float* a, const float* b, float* out, Index n) {
  map(a, b, out, n, [](Vec x, Vec y) { return x / y; });
}

inline void multiply_add(const float* a, const float* b, float* out, Index n) {
  Index i = 0;
  for (; i + kWidth <= n; i += kWidth) store(out + i, fma(load(a + i), load(b + i), load(out + i)));
  if (i < n) {
    const Index rest = n - i;
    store_partial(out + i, fma(load_partial(a + i, rest), load_partial(b + i, rest), load_partial(out + i, rest)), rest);
  }
}

inline void scale(float s, const float* a, float* out, Index n) {
  map(a, out, n, [s](Vec x) { return set1(s) * x; });
}

inline void axpy(float s, const float* a, float* out, Index n) {
  map(a, out, out, n, [s](Vec x, Vec y) { return fma(set1(s), x, y); });
}

inline void clamp(float low, float high, float* x, Index n) {
  map(x, x, n, [=](Vec v) { return at_most(at_least(v, set1(low)), set1(high)); });
}

// --- rows ---

// The largest number of a row; a NaN may or may not win. -inf for an empty row.
inline float row_maximum(const float* x, Index n) {
  const Vec lowest = set1(-REKUR_INFINITY);
  Vec best = lowest;
  Index i = 0;
  for (; i + kWidth <= n; i += kWidth) best = at_least(best, load(x + i));
  if (i < n) best = at_least(best, fill_beyond(load_partial(x + i, n - i), n - i, -REKUR_INFINITY));
  float largest = best[0];
  for (int lane = 1; lane < kWidth; ++lane) largest = best[lane] > largest ? best[lane] : largest;
  return largest;
}

// Writes e^(x - shift) to y (null: nowhere) and returns the sum.
inline float exp_and_sum(const float* x, float shift, float* y, Index n) {
  RowSum sum;
  by_sixteens(n, [&](Index i, Index count, int j) REKUR_INLINED {
    const Vec e = first_lanes(exp(load_partial(x + i, count) - set1(shift)), count);
    if (y) store_partial(y + i, e, count);
    sum.s[j] += e;
  });
  return sum.total();
}

inline void softmax(const float* x, float* y, Index rows, Index n) {
  for (Index row = 0; row < rows; ++row, x += n, y += n) {
    const float sum = exp_and_sum(x, row_maximum(x, n), y, n);
    map(y, y, n, [sum](Vec e) { return e / set1(sum); });
  }
}

inline void softmax_backward(const float* y, const float* dy, float* dx, Index rows, Index n) {
  for (Index row = 0; row < rows; ++row, y += n, dy += n, dx += n) {
    RowSum products;
    by_sixteens(n, [&](Index i, Index count, int j) REKUR_INLINED {
      products.s[j] = fma(load_partial(y + i, count), load_partial(dy + i, count), products.s[j]);
    });
    const float dot = products.total();
    map(y, dy, dx, n, [dot](Vec p, Vec d) { return p * (d - set1(dot)); });
  }
}

inline void log_sum_exp(const float* x, float* out, Index rows, Index n) {
  for (Index row = 0; row < rows; ++row, x += n) {
    const float largest = row_maximum(x, n);
    const float shift = REKUR_ABS(largest) <= REKUR_FLOAT_MAX ? largest : 0.0f;  // ±inf and NaN go through exp unharmed
    out[row] = (float)((double)shift + REKUR_LOG((double)exp_and_sum(x, shift, nullptr, n)));
  }
}

// --- reductions ---

typedef double DVec REKUR_VECTOR(REKUR_VEC_BYTES);
typedef float HalfVec REKUR_VECTOR(REKUR_VEC_BYTES / 2);

inline double sum_of_squares(const float* x, Index n) {
  DVec low{}, high{};
  for (Index i = 0; i < n; i += kWidth) {
    const Vec v = load_partial(x + i, lanes(i, n));
    HalfVec half[2];
    REKUR_COPY(half, &v, sizeof v);
    const DVec a = REKUR_CONVERT_VECTOR(half[0], DVec);
    const DVec b = REKUR_CONVERT_VECTOR(half[1], DVec);
    low += a * a;
    high += b * b;
  }
  low += high;
  double s = 0;
  for (int lane = 0; lane < kWidth / 2; ++lane) s += low[lane];
  return s;
}

}  // namespace
}  // namespace rekur
