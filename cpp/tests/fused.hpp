// What an instruction makes that multiplies and adds with one rounding. std::fma is that in most C libraries, not in MinGW's.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace rekur::tests {

inline float fused(float a, float b, float c) {
  const double product = static_cast<double>(a) * b, sum = product + c, part = sum - product;
  const double lost = (product - (sum - part)) + (c - part);
  // Of an inexact sum the neighbour whose last bit is 1: it rounds to float as the exact sum does.
  if (lost == 0 || (std::bit_cast<std::uint64_t>(sum) & 1) != 0) return static_cast<float>(sum);
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  return static_cast<float>(std::nextafter(sum, lost > 0 ? kInfinity : -kInfinity));
}

}  // namespace rekur::tests
