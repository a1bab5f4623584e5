// Numbers of sixteen bits in ordinary arithmetic: bf16, the upper half of a float, and fp16, IEEE's binary16. Rounded to the
// nearest, of two to the even one. What flushing of denormals does to them is nothing: no step of this has one.
#pragma once

#include <cstdint>

#include "rekur/detail/compiler.hpp"

namespace rekur::detail {

REKUR_INLINE constexpr float float_of_bf16(std::uint16_t h) noexcept {
  return REKUR_BIT_CAST(float, static_cast<std::uint32_t>(h) << 16);
}

REKUR_INLINE constexpr std::uint16_t bf16_of(float x) noexcept {
  const auto bits = REKUR_BIT_CAST(std::uint32_t, x);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);  // a NaN stays one
  return static_cast<std::uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

REKUR_INLINE constexpr float float_of_fp16(std::uint16_t h) noexcept {
  const std::uint32_t sign = (h & 0x8000u) << 16, rest = (h & 0x7FFFu) << 13;
  if (rest < 0x00800000u) {  // zero, or one that has less than eleven bits: multiples of 2⁻²⁴
    const float magnitude = static_cast<float>(h & 0x03FFu) * 0x1p-24f;
    return REKUR_BIT_CAST(float, sign | REKUR_BIT_CAST(std::uint32_t, magnitude));
  }
  return REKUR_BIT_CAST(float, sign | (rest + (rest < 0x0F800000u ? 0x38000000u : 0x70000000u)));
}

REKUR_INLINE constexpr std::uint16_t fp16_of(float x) noexcept {
  const auto bits = REKUR_BIT_CAST(std::uint32_t, x);
  const std::uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
  std::uint32_t rounded;
  if (magnitude > 0x7F800000u)  // NaN
    rounded = 0x7E00u;
  else if (magnitude >= 0x47800000u)  // 2¹⁶
    rounded = 0x7C00u;
  else if (magnitude < 0x38800000u)  // 2⁻¹⁴: a half and more has the multiples of 2⁻²⁴
    rounded = REKUR_BIT_CAST(std::uint32_t, REKUR_BIT_CAST(float, magnitude) + 0.5f) - 0x3F000000u;
  else
    rounded = (magnitude - 0x38000000u + 0x0FFFu + (magnitude >> 13 & 1u)) >> 13;
  return static_cast<std::uint16_t>(sign | rounded);
}

}  // namespace rekur::detail
