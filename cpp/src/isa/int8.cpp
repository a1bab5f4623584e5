#include "isa/int8.hpp"

#if REKUR_INT8

#include "isa/amx.hpp"
#include "isa/dispatch.hpp"
#include "runtime/locks.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace rekur::isa {
namespace {

#if defined(__x86_64__)
// Not every compiler's __builtin_cpu_supports knows them.
bool bit_of_leaf_7(unsigned subleaf, int reg, int bit) {
  unsigned r[4];
  return __get_cpuid_count(7, subleaf, &r[0], &r[1], &r[2], &r[3]) != 0 && (r[reg] >> bit & 1u) != 0;
}
#endif

// By the width of the vectors in use.
bool has_four(int width) {
#if defined(__x86_64__)
  static const bool vnni_512 = bit_of_leaf_7(0, 2, 11), vnni_256 = bit_of_leaf_7(1, 0, 4);  // AVX512_VNNI, AVX-VNNI
  return width == 16 ? vnni_512 : width == 8 && vnni_256;
#elif defined(__aarch64__) && defined(__linux__)
  static const bool dot = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  return dot && width == 4;
#else
  return width < 0;
#endif
}

}  // namespace

runtime::Atomic<bool> four_together{true};

Index int8_group() {
  if (!four_together.load(std::memory_order_relaxed) || !has_four(kernels().width)) return 2;
  return uses_amx() ? 4 | kAmx : 4;
}

}  // namespace rekur::isa

#endif
