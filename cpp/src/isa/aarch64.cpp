#include "isa/aarch64.hpp"

#if defined(__aarch64__)

#if defined(__linux__)
#include <sys/auxv.h>
#endif

namespace rekur::isa {
namespace {

// Bits of Linux, which older headers do not name.
bool bit(unsigned long word, int at) { return (word >> at & 1) != 0; }

Aarch64 find_aarch64() {
  Aarch64 has{};
#if defined(__linux__)
  const unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
  has.dot_products = bit(first, 20);
  has.int8_tiles = bit(second, 13);
  has.bf16 = bit(second, 14);
#endif
#if defined(__ARM_FEATURE_DOTPROD)
  has.dot_products = true;
#endif
#if defined(__ARM_FEATURE_MATMUL_INT8)
  has.int8_tiles = true;
#endif
#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
  has.bf16 = true;
#endif
  return has;
}

}  // namespace

const Aarch64& aarch64() {
  static const Aarch64 has = find_aarch64();
  return has;
}

}  // namespace rekur::isa

#endif
