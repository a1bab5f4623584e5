#include "train/legendre.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "io/text.hpp"
#include "runtime/interrupt.hpp"

namespace rekur::train {
namespace {

using Matrix = std::vector<double>;

Matrix product(const Matrix& a, const Matrix& b, std::size_t n) {
  Matrix c(n * n, 0.0);
  for (std::size_t i = 0; i < n; ++i) {
    if (i % 64 == 0) runtime::check_interrupt();
    for (std::size_t k = 0; k < n; ++k)
      for (std::size_t j = 0; j < n; ++j) c[i * n + j] += a[i * n + k] * b[k * n + j];
  }
  return c;
}

// e^a by Taylor's series of a / 2^s, squared s times.
Matrix exponential(Matrix a, std::size_t n) {
  double norm = 0;
  for (std::size_t i = 0; i < n; ++i) {
    double row = 0;
    for (std::size_t j = 0; j < n; ++j) row += std::abs(a[i * n + j]);
    norm = std::max(norm, row);
  }
  int squarings = 0;
  for (; norm > 0.5; norm /= 2) ++squarings;
  for (double& x : a) x = std::ldexp(x, -squarings);
  Matrix sum(n * n, 0.0);
  for (std::size_t i = 0; i < n; ++i) sum[i * n + i] = 1;
  Matrix term = sum;
  for (int k = 1; k <= 14; ++k) {
    term = product(term, a, n);
    for (std::size_t i = 0; i < n * n; ++i) sum[i] += term[i] /= k;
  }
  for (; squarings > 0; --squarings) sum = product(sum, sum, n);
  return sum;
}

}  // namespace

void fill_legendre(const Shape& shape, double theta, std::string_view context, std::span<float> out) {
  if (shape.empty() || shape.size() > 2 || shape.front() != shape.back())
    throw_error("%: 'legendre' is for a square matrix or a vector, not for the shape %", {context, shape});
  const auto d = static_cast<std::size_t>(shape[0]), n = d + 1;
  Matrix whole(n * n, 0.0);  // A and B side by side: its exponential holds both of the step
  for (std::size_t i = 0; i < d; ++i) {
    const double scale = static_cast<double>(2 * i + 1) / theta;
    for (std::size_t j = 0; j < d; ++j) whole[i * n + j] = scale * (i < j || (i - j) % 2 == 0 ? -1.0 : 1.0);
    whole[i * n + d] = scale * (i % 2 == 0 ? 1.0 : -1.0);
  }
  const Matrix held = exponential(std::move(whole), n);
  for (std::size_t i = 0; i < d; ++i) {
    if (shape.size() == 1) out[i] = static_cast<float>(held[i * n + d]);
    for (std::size_t j = 0; shape.size() == 2 && j < d; ++j) out[j * d + i] = static_cast<float>(held[i * n + j]);
  }
}

}  // namespace rekur::train
