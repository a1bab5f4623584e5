#include "train/orthogonal.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/parallel.hpp"

namespace rekur::train {
namespace {

constexpr Index kLanes = 4;  // partial sums of a product, added in a fixed order: vectors may be used, the result is still one
constexpr Index kGroup = 4;  // rows removed in one pass

using Lanes = std::array<double, kLanes>;

double total(const Lanes& sums) { return (sums[0] + sums[2]) + (sums[1] + sums[3]); }

double dot(const double* a, const double* b, Index n) {
  Lanes sums{};
  Index i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::size_t k = 0; k < kLanes; ++k) sums[k] += a[i + static_cast<Index>(k)] * b[i + static_cast<Index>(k)];
  }
  for (std::size_t k = 0; i < n; ++i, ++k) sums[k] += a[i] * b[i];
  return total(sums);
}

// row -= Σ (unit · row) unit over kGroup orthonormal rows.
void remove_group(const std::array<const double*, kGroup>& units, double* row, Index n) {
  const double *u0 = units[0], *u1 = units[1], *u2 = units[2], *u3 = units[3];
  Lanes s0{}, s1{}, s2{}, s3{};
  Index i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::size_t k = 0; k < kLanes; ++k) s0[k] += u0[i + static_cast<Index>(k)] * row[i + static_cast<Index>(k)];
    for (std::size_t k = 0; k < kLanes; ++k) s1[k] += u1[i + static_cast<Index>(k)] * row[i + static_cast<Index>(k)];
    for (std::size_t k = 0; k < kLanes; ++k) s2[k] += u2[i + static_cast<Index>(k)] * row[i + static_cast<Index>(k)];
    for (std::size_t k = 0; k < kLanes; ++k) s3[k] += u3[i + static_cast<Index>(k)] * row[i + static_cast<Index>(k)];
  }
  for (std::size_t k = 0; i < n; ++i, ++k) {
    s0[k] += u0[i] * row[i];
    s1[k] += u1[i] * row[i];
    s2[k] += u2[i] * row[i];
    s3[k] += u3[i] * row[i];
  }
  const double d0 = total(s0), d1 = total(s1), d2 = total(s2), d3 = total(s3);
  for (i = 0; i < n; ++i) row[i] -= (d0 * u0[i] + d1 * u1[i]) + (d2 * u2[i] + d3 * u3[i]);
}

void remove_one(const double* unit, double* row, Index n) {
  const double d = dot(unit, row, n);
  for (Index i = 0; i < n; ++i) row[i] -= d * unit[i];
}

void normalize(double* row, Index n) {
  const double scale = 1 / std::sqrt(dot(row, row, n));
  for (Index i = 0; i < n; ++i) row[i] *= scale;
}

}  // namespace

void orthonormalize_rows(Index rows, Index columns, std::span<double> matrix) {
  // Right-looking, by panels: once a panel's rows are orthonormal they are removed from each later row while that row is in the
  // cache. A row's arithmetic is one task's and its order is fixed, so the result does not depend on the threads.
  constexpr Index kPanel = 32;
  const auto row = [&](Index i) { return matrix.data() + i * columns; };
  const auto remove = [&](Index begin, Index end, Index from) {
    Index j = begin;
    for (; j + kGroup <= end; j += kGroup) remove_group({row(j), row(j + 1), row(j + 2), row(j + 3)}, row(from), columns);
    for (; j < end; ++j) remove_one(row(j), row(from), columns);
  };
  for (Index begin = 0; begin < rows; begin += kPanel) {
    const Index end = std::min(begin + kPanel, rows);
    for (Index i = begin; i < end; ++i) {
      remove(begin, i, i);
      normalize(row(i), columns);
    }
    const double work = 4.0 * static_cast<double>(rows - end) * static_cast<double>((end - begin) * columns);
    runtime::parallel_tasks(rows - end, work, [&](Index i) { remove(begin, end, end + i); });
  }
}

}  // namespace rekur::train
