#include "train/orthogonal.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/parallel.hpp"

namespace rekur::train {
namespace {

// Eight partial sums, added in a fixed order: the compiler may use vectors and the result is still one.
double dot(const double* a, const double* b, Index n) {
  constexpr Index kLanes = 8;
  std::array<double, kLanes> sums{};
  Index i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (Index k = 0; k < kLanes; ++k) sums[static_cast<std::size_t>(k)] += a[i + k] * b[i + k];
  }
  for (Index k = 0; i < n; ++i, ++k) sums[static_cast<std::size_t>(k)] += a[i] * b[i];
  for (std::size_t width = kLanes / 2; width > 0; width /= 2) {
    for (std::size_t k = 0; k < width; ++k) sums[k] += sums[k + width];
  }
  return sums[0];
}

void remove_projection(const double* unit, double* row, Index n) {
  const double d = dot(unit, row, n);
  for (Index i = 0; i < n; ++i) row[i] -= d * unit[i];
}

void normalize(double* row, Index n) {
  const double scale = 1 / std::sqrt(dot(row, row, n));
  for (Index i = 0; i < n; ++i) row[i] *= scale;
}

}  // namespace

void orthonormalize_rows(Index rows, Index columns, std::span<double> matrix) {
  // Right-looking, by panels: once a panel's rows are orthonormal they are removed from each later row while that row is in the cache.
  // A row's arithmetic is one task's and its order is fixed, so the result does not depend on the threads.
  constexpr Index kPanel = 32;
  const auto row = [&](Index i) { return matrix.data() + i * columns; };
  for (Index begin = 0; begin < rows; begin += kPanel) {
    const Index end = std::min(begin + kPanel, rows);
    for (Index i = begin; i < end; ++i) {
      for (Index j = begin; j < i; ++j) remove_projection(row(j), row(i), columns);
      normalize(row(i), columns);
    }
    const double work = 4.0 * static_cast<double>(rows - end) * static_cast<double>((end - begin) * columns);
    runtime::parallel_tasks(rows - end, work, [&](Index i) {
      for (Index j = begin; j < end; ++j) remove_projection(row(j), row(end + i), columns);
    });
  }
}

}  // namespace rekur::train
