#include "isa/int8.hpp"

#if REKUR_INT8

#include "isa/aarch64.hpp"
#include "isa/amx.hpp"
#include "isa/dispatch.hpp"
#include "runtime/locks.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
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

// Of how many numbers there are instructions.
bool has(Index together) {
#if defined(__x86_64__)
  static const bool vnni_512 = bit_of_leaf_7(0, 2, 11), vnni_256 = bit_of_leaf_7(1, 0, 4);  // AVX512_VNNI, AVX-VNNI
  const int width = kernels().width;
  return together == 4 && (width == 16 ? vnni_512 : width == 8 && vnni_256);
#elif defined(__aarch64__)
  return together == 8 ? aarch64().int8_tiles : aarch64().dot_products;
#else
  return together < 0;
#endif
}

}  // namespace

runtime::Atomic<Index> most_together{8};

Index int8_group() {
  const Index most = most_together.load(std::memory_order_relaxed);
  if (most >= 8 && has(8)) return 8;
  if (most < 4 || !has(4)) return 2;
  return uses_amx() ? 4 | kAmx : 4;
}

}  // namespace rekur::isa

#endif
