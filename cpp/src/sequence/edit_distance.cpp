#include "sequence/edit_distance.hpp"

#include <algorithm>
#include <new>
#include <numeric>
#include <vector>

#include "runtime/calls.hpp"
#include "runtime/locks.hpp"
#include "runtime/parallel.hpp"

namespace rekur::sequence {
namespace {

// Row by row of the table of distances between beginnings; what both begin or end with costs nothing.
std::int64_t distance(const std::int32_t* a, Index n, const std::int32_t* b, Index m) {
  while (n > 0 && m > 0 && *a == *b) ++a, ++b, --n, --m;
  while (n > 0 && m > 0 && a[n - 1] == b[m - 1]) --n, --m;
  std::vector<std::int64_t> row(static_cast<std::size_t>(m + 1));
  std::iota(row.begin(), row.end(), 0);
  for (Index i = 0; i < n; ++i) {
    std::int64_t before = row[0]++;  // of the beginnings without both last labels
    for (std::size_t j = 1; j < row.size(); ++j) {
      const std::int64_t replaced = before + (a[i] != b[j - 1] ? 1 : 0);
      before = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

void edit_distances(const std::int32_t* a, const std::int32_t* a_sizes, const std::int32_t* b, const std::int32_t* b_sizes,
                    Index count, std::int64_t* distances) {
  const runtime::Call call;
  std::vector<Index> a_at(static_cast<std::size_t>(count)), b_at(a_at.size());
  double work = 0;
  for (Index i = 0, p = 0, q = 0; i < count; ++i) {
    a_at[static_cast<std::size_t>(i)] = p;
    b_at[static_cast<std::size_t>(i)] = q;
    p += a_sizes[i];
    q += b_sizes[i];
    work += 3.0 * static_cast<double>(a_sizes[i]) * static_cast<double>(b_sizes[i]);
  }
  runtime::Atomic<bool> failed = false;  // a task must not throw
  runtime::parallel_tasks(count, work, [&](Index i) {
    try {
      const auto k = static_cast<std::size_t>(i);
      distances[i] = distance(a + a_at[k], a_sizes[i], b + b_at[k], b_sizes[i]);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
  });
  if (failed) throw std::bad_alloc();
}

}  // namespace rekur::sequence
