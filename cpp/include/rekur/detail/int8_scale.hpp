// Which matrices are of eight bits, and what their weights become: integers of -127 to 127 times a scale a column.
#pragma once

#include <cstdint>

#include "rekur/detail/compiler.hpp"

namespace rekur::detail {

// Whether a product of rows of K with K x N weights is of eight bits in a layer whose precision that is. Small ones stay float32:
// to make integers of a row takes longer than they save. So do sums of so many that they could overflow.
constexpr bool takes_int8(long long K, long long N) noexcept { return K >= 16 && K <= 65536 && N >= (4096 + K - 1) / K; }

// The scale of a column whose largest magnitude this is. It has 16 bits of precision, so that its multiples by integers of seven
// bits and a sign are floats: a column of such multiples has the same scale, and rounding it again changes nothing.
REKUR_INLINE float int8_scale(float largest) noexcept {
  std::uint32_t bits;
  const float scale = largest / 127.0f;
  REKUR_COPY(&bits, &scale, sizeof bits);
  if ((bits & 0x7F800000u) == 0) return 0;  // which the engine takes for 0
  if ((bits & 0x7F800000u) != 0x7F800000u) bits = (bits + 0xFFu) & ~0xFFu;
  float result;
  REKUR_COPY(&result, &bits, sizeof result);
  return result;
}

// The integer that a weight is of its column's scale, the nearest, of two the even one; 0 where either is no number.
REKUR_INLINE int int8_of(float weight, float scale) noexcept {
  constexpr float kRound = 12582912.0f;  // a float's lowest bit is worth 1 there
  const float q = scale > 0 ? weight / scale : 0.0f;
  return q >= 127 ? 127 : q <= -127 ? -127 : q == q ? static_cast<int>(q + kRound - kRound) : 0;
}

}  // namespace rekur::detail
