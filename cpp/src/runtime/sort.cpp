#include "runtime/sort.hpp"

#include <algorithm>
#include <numeric>

namespace rekur {

void sort(std::span<Index> indices, FunctionRef<bool(Index a, Index b)> before) {
  std::make_heap(indices.begin(), indices.end(), before);  // half of std::sort's code, and nobody waits for it
  std::sort_heap(indices.begin(), indices.end(), before);
}

std::vector<Index> sorted(std::size_t n, FunctionRef<bool(Index a, Index b)> before) {
  std::vector<Index> indices(n);
  std::iota(indices.begin(), indices.end(), Index{0});
  sort(indices, [&](Index a, Index b) { return before(a, b) || (!before(b, a) && a < b); });
  return indices;
}

}  // namespace rekur
