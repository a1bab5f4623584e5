// Sums and products of sizes that somebody else chose.
#pragma once

#include <concepts>
#include <limits>

namespace rekur {

// Whether a + b does not fit; if it does, the sum is in *sum.
template <std::integral T>
constexpr bool add_overflows(T a, std::type_identity_t<T> b, T* sum) noexcept {
#if defined(__GNUC__) || defined(__clang__)
  return __builtin_add_overflow(a, b, sum);
#else
  using Limits = std::numeric_limits<T>;
  if (b > 0 ? a > Limits::max() - b : b < 0 && a < Limits::min() - b) return true;
  *sum = a + b;
  return false;
#endif
}

// Whether a * b does not fit; if it does, the product is in *product.
template <std::integral T>
constexpr bool multiply_overflows(T a, std::type_identity_t<T> b, T* product) noexcept {
#if defined(__GNUC__) || defined(__clang__)
  return __builtin_mul_overflow(a, b, product);
#else
  using Limits = std::numeric_limits<T>;
  if (a > 0 ? (b > 0 ? a > Limits::max() / b : b < 0 && b < Limits::min() / a)
            : a < 0 && (b > 0 ? a < Limits::min() / b : b < 0 && a < Limits::max() / b))
    return true;
  *product = a * b;
  return false;
#endif
}

}  // namespace rekur
