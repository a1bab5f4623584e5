// Sorting, once: every std::sort of another type or order is two kilobytes of code.
#pragma once

#include <span>
#include <vector>

#include "rekur/tensor.hpp"
#include "runtime/function_ref.hpp"

namespace rekur {

// `before` must tell any two of them apart.
void sort(std::span<Index> indices, FunctionRef<bool(Index a, Index b)> before);

// 0 … n - 1 in such an order; equals stay in theirs.
std::vector<Index> sorted(std::size_t n, FunctionRef<bool(Index a, Index b)> before);

}  // namespace rekur
