// Sums of numbers whose logarithms are known, in double. -inf is a sum of nothing; NaN stays NaN.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "rekur/tensor.hpp"

namespace rekur::sequence {

inline constexpr double kNothing = -std::numeric_limits<double>::infinity();

inline double log_add(double a, double b) {
  if (a < b) std::swap(a, b);
  if (b == kNothing) return a;
  return a + std::log1p(std::exp(b - a));
}

template <class T>
double log_sum_exp(const T* x, Index n) {
  double most = kNothing;
  for (Index i = 0; i < n; ++i) most = x[i] > most || std::isnan(x[i]) ? static_cast<double>(x[i]) : most;
  if (most == kNothing || std::isnan(most)) return most;
  double sum = 0;
  for (Index i = 0; i < n; ++i) sum += std::exp(static_cast<double>(x[i]) - most);
  return most + std::log(sum);
}

}  // namespace rekur::sequence
