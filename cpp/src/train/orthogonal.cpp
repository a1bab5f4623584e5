#include "train/orthogonal.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "isa/dispatch.hpp"
#include "runtime/interrupt.hpp"
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

// The rows of a matrix, and what it takes to remove some of them from others by two products.
class SplitRows {
 public:
  SplitRows(Index rows, Index columns, double* data)
      : columns_(columns),
        data_(data),
        panel_(isa::kernels().panel_f64),
        as_rows_(static_cast<std::size_t>(std::min(rows, kPanel) * round_up(columns))),
        as_columns_(static_cast<std::size_t>(round_up(std::min(rows, kPanel)) * columns)),
        coefficients_(static_cast<std::size_t>(runtime::threads_for(1e18, rows) * kChunk * kPanel)) {}

  // Rows [begin, end) one after the other, by halves: half of a half's work is then products.
  void orthonormalize(Index begin, Index end) {
    if (end - begin > kSmall) {
      const Index middle = begin + (end - begin) / 2;
      orthonormalize(begin, middle);
      remove(begin, middle, middle, end);
      orthonormalize(middle, end);
      return;
    }
    for (Index i = begin; i < end; ++i) {
      Index j = begin;
      for (; j + kGroup <= i; j += kGroup) remove_group({row(j), row(j + 1), row(j + 2), row(j + 3)}, row(i), columns_);
      for (; j < i; ++j) remove_one(row(j), row(i), columns_);
      normalize(row(i), columns_);
    }
  }

  // R -= (R Qᵀ) Q for the orthonormal rows Q = [begin, end), at most kPanel, and the rows R = [from, to), dealt out in chunks.
  // Somebody who interrupts waits for a slice of them.
  void remove(Index begin, Index end, Index from, Index to) {
    const Index count = end - begin, chunks = (to - from + kChunk - 1) / kChunk;
    if (chunks == 0) return;
    const double work = 4.0 * static_cast<double>(to - from) * static_cast<double>(count * columns_);
    const int threads = work < kWorthThreads ? 1
                                             : std::min(runtime::threads_for(work, chunks),
                                                        static_cast<int>(coefficients_.size() / (kChunk * kPanel)));
    pack(begin, count, threads);
    const Index slice = std::max(static_cast<Index>(kSlice * static_cast<double>(chunks) / work), Index{1}) * threads;
    for (Index done = 0; done < chunks; done += slice) {
      if (done > 0) runtime::check_interrupt();
      runtime::numbered_tasks(threads, std::min(slice, chunks - done), [&](Index i, int thread) {
        const Index first = from + (done + i) * kChunk, rows = std::min(kChunk, to - first);
        double* coefficients = coefficients_.data() + thread * kChunk * kPanel;
        const simd::Kernels& kernels = isa::kernels();
        kernels.product_f64(rows, count, columns_, row(first), columns_, as_columns_.data(), coefficients, count, false);
        kernels.product_f64(rows, columns_, count, coefficients, count, as_rows_.data(), row(first), columns_, true);
      });
    }
  }

  static constexpr Index kPanel = 256;

 private:
  static constexpr Index kSmall = 8;
  static constexpr Index kChunk = 40;
  // A meeting of the threads costs a time slice where another process has one of the cores; below so many operations, a
  // millisecond's, that is more than what is shared.
  static constexpr double kWorthThreads = 5e7;
  static constexpr double kSlice = 2e9;  // operations of each thread: some 50 ms

  Index round_up(Index n) const { return (n + panel_ - 1) / panel_ * panel_; }
  double* row(Index i) const { return data_ + i * columns_; }

  // Q and Qᵀ in the panels of the product.
  void pack(Index begin, Index count, int threads) {
    runtime::numbered_tasks(threads, (columns_ + panel_ - 1) / panel_, [&](Index j, int) {
      const Index first = j * panel_, columns = std::min(panel_, columns_ - first);
      double* out = as_rows_.data() + first * count;
      for (Index k = 0; k < count; ++k, out += panel_) {
        std::copy_n(row(begin + k) + first, columns, out);
        std::fill(out + columns, out + panel_, 0.0);
      }
    });
    runtime::numbered_tasks(threads, (count + panel_ - 1) / panel_, [&](Index j, int) {
      const Index first = j * panel_, rows = std::min(panel_, count - first);
      double* out = as_columns_.data() + first * columns_;
      for (Index n = 0; n < panel_; ++n) {
        for (Index k = 0; k < columns_; ++k) out[k * panel_ + n] = n < rows ? row(begin + first + n)[k] : 0.0;
      }
    });
  }

  Index columns_;
  double* data_;
  Index panel_;
  std::vector<double> as_rows_, as_columns_, coefficients_;
};

}  // namespace

void orthonormalize_rows(Index rows, Index columns, std::span<double> matrix) {
  // Once a panel's rows are orthonormal they are removed from all later rows. A row's arithmetic is one task's and its order is
  // fixed, so the result does not depend on the threads; the products have the same bits on every instruction set.
  SplitRows all(rows, columns, matrix.data());
  for (Index begin = 0; begin < rows; begin += SplitRows::kPanel) {
    const Index end = std::min(begin + SplitRows::kPanel, rows);
    all.orthonormalize(begin, end);
    all.remove(begin, end, end, rows);
    runtime::check_interrupt();
  }
}

}  // namespace rekur::train
