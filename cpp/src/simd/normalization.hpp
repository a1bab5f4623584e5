// Rows of features normalised, scaled and shifted. Included by the ISA units only.
// A row is summed by sixteens, in an order that depends on its length alone; sums over rows run in ascending order, columns apart.
#pragma once

#include "simd/kernels.hpp"
#include "simd/vec.hpp"

namespace rekur {
namespace {

inline void affine(const float* x, const float* scale, const float* offset, float* y, Index rows, Index n) {
  for (Index row = 0; row < rows; ++row, x += n, y += n) {
    for (Index i = 0; i < n; i += kWidth) {
      const Index count = lanes(i, n);
      store_partial(y + i, fma(load_partial(x + i, count), load_partial(scale + i, count), load_partial(offset + i, count)), count);
    }
  }
}

// --- layer normalisation ---

inline constexpr Index kMoments = 3;  // floats a row

struct Moments {
  Vec shift, rest, inverse;

  explicit Moments(const float* of_row) : shift(set1(of_row[0])), rest(set1(of_row[1])), inverse(set1(of_row[2])) {}
  REKUR_INLINE Vec normalize(Vec x) const { return ((x - shift) - rest) * inverse; }
};

// The second pass sums differences from the first pass's mean: their own mean is what rounding took from it.
REKUR_INLINE void find_moments(const float* x, float epsilon, float* moments, Index n) {
  const float size = static_cast<float>(n);
  RowSum sum;
  by_sixteens(n, [&](Index i, Index count, int j) REKUR_INLINED { sum.s[j] += load_partial(x + i, count); });
  const float shift = sum.total() / size;
  RowSum differences, squares;
  by_sixteens(n, [&](Index i, Index count, int j) REKUR_INLINED {
    const Vec d = first_lanes(load_partial(x + i, count) - set1(shift), count);
    differences.s[j] += d;
    squares.s[j] = fma(d, d, squares.s[j]);
  });
  const float rest = differences.total() / size;
  float variance = squares.total() / size - rest * rest;
  if (variance < 0) variance = 0;  // by rounding; a NaN stays
  moments[0] = shift;
  moments[1] = rest;
  const Vec deviation = sqrt(set1(variance + epsilon));
  moments[2] = 1.0f / deviation[0];
}

inline void layer_norm(const float* x, const float* gamma, const float* beta, float epsilon, float* y, float* moments, Index rows,
                       Index n) {
  float own[kMoments];
  for (Index row = 0; row < rows; ++row, x += n, y += n) {
    float* of_row = moments ? moments + kMoments * row : own;
    find_moments(x, epsilon, of_row, n);
    const Moments m(of_row);
    for (Index i = 0; i < n; i += kWidth) {
      const Index count = lanes(i, n);
      const Vec scale = gamma ? load_partial(gamma + i, count) : set1(1.0f);
      const Vec offset = beta ? load_partial(beta + i, count) : zero();
      store_partial(y + i, fma(m.normalize(load_partial(x + i, count)), scale, offset), count);
    }
  }
}

inline void layer_norm_backward(const float* x, const float* moments, const float* gamma, const float* dy, float* dx, Index rows,
                                Index n) {
  const float size = static_cast<float>(n);
  for (Index row = 0; row < rows; ++row, x += n, dy += n, dx += n) {
    const Moments m(moments + kMoments * row);
    const auto gradient = [&](Index i, Index count) {
      const Vec g = load_partial(dy + i, count);
      return gamma ? g * load_partial(gamma + i, count) : g;
    };
    RowSum sum, products;
    by_sixteens(n, [&](Index i, Index count, int j) REKUR_INLINED {
      const Vec g = gradient(i, count);
      sum.s[j] += g;
      products.s[j] = fma(g, m.normalize(load_partial(x + i, count)), products.s[j]);
    });
    const Vec mean = set1(sum.total() / size), slope = set1(products.total() / size);
    for (Index i = 0; i < n; i += kWidth) {
      const Index count = lanes(i, n);
      const Vec along = fma(-m.normalize(load_partial(x + i, count)), slope, gradient(i, count) - mean);
      store_partial(dx + i, fma(along, m.inverse, load_partial(dx + i, count)), count);
    }
  }
}

// N vectors of columns, the last of them of `count` floats.
template <int N>
REKUR_INLINE void affine_gradients_of(const float* x, const float* moments, const float* dy, Index rows, Index stride, Index count,
                                      float* d_gamma, float* d_beta) {
  const auto width = [count](int v) { return v + 1 < N ? Index{kWidth} : count; };
  Vec products[N], sums[N];
  REKUR_UNROLL
  for (int v = 0; v < N; ++v) {
    products[v] = d_gamma ? load_partial(d_gamma + v * kWidth, width(v)) : zero();
    sums[v] = d_beta ? load_partial(d_beta + v * kWidth, width(v)) : zero();
  }
  const float itself[kMoments] = {0.0f, 0.0f, 1.0f};
  for (Index row = 0; row < rows; ++row, x += stride, dy += stride) {
    const Moments m(moments ? moments + kMoments * row : itself);
    REKUR_UNROLL
    for (int v = 0; v < N; ++v) {
      const Vec g = load_partial(dy + v * kWidth, width(v));
      products[v] = fma(g, m.normalize(load_partial(x + v * kWidth, width(v))), products[v]);
      sums[v] += g;
    }
  }
  REKUR_UNROLL
  for (int v = 0; v < N; ++v) {
    if (d_gamma) store_partial(d_gamma + v * kWidth, products[v], width(v));
    if (d_beta) store_partial(d_beta + v * kWidth, sums[v], width(v));
  }
}

inline void affine_gradients(const float* x, const float* moments, const float* dy, Index rows, Index n, Index stride,
                             float* d_gamma, float* d_beta) {
  const auto at = [](float* sums, Index i) { return sums ? sums + i : nullptr; };
  constexpr int kVectors = 4;
  Index i = 0;
  for (; i + kVectors * kWidth <= n; i += kVectors * kWidth)
    affine_gradients_of<kVectors>(x + i, moments, dy + i, rows, stride, kWidth, at(d_gamma, i), at(d_beta, i));
  for (; i < n; i += kWidth)
    affine_gradients_of<1>(x + i, moments, dy + i, rows, stride, lanes(i, n), at(d_gamma, i), at(d_beta, i));
}

}  // namespace
}  // namespace rekur
