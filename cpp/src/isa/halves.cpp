#include "isa/halves.hpp"

#ifndef REKUR_FLOAT_PANELS

#include <bit>

#include "isa/dispatch.hpp"
#include "rekur/detail/half.hpp"
#include "runtime/locks.hpp"

#if defined(__linux__)
#include <unistd.h>
#endif

namespace rekur::isa {
namespace {

Index first_cache() {
  long size = 0;
#if defined(__linux__) && defined(_SC_LEVEL1_DCACHE_SIZE)
  size = ::sysconf(_SC_LEVEL1_DCACHE_SIZE);
#endif
  return size > 0 ? size : 32 * 1024;
}

}  // namespace

runtime::Atomic<Index> bytes_at_hand{first_cache()};

WeightType kept_as(Index floats, std::initializer_list<std::span<const float>> matrices) {
  const Index at_hand = bytes_at_hand.load(std::memory_order_relaxed), bytes = floats * static_cast<Index>(sizeof(float));
  if (at_hand > 0 && (!kernels().halves_pay || bytes <= at_hand)) return WeightType::float32;
  bool bf16 = true, fp16 = at_hand == 0 || bytes > 2 * at_hand;  // which take longer to be widened
  for (const std::span<const float> matrix : matrices)
    for (const float x : matrix) {
      const auto bits = std::bit_cast<std::uint32_t>(x);
      bf16 = bf16 && (bits & 0xFFFFu) == 0;
      // Infinities and NaNs are not asked of every instruction set.
      fp16 = fp16 && (bits & 0x7F800000u) != 0x7F800000u &&
             std::bit_cast<std::uint32_t>(detail::float_of_fp16(detail::fp16_of(x))) == bits;
      if (!bf16 && !fp16) return WeightType::float32;
    }
  return bf16 ? WeightType::bf16 : WeightType::fp16;
}

}  // namespace rekur::isa

#endif
