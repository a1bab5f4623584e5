#include "isa/bf16.hpp"

#include "isa/aarch64.hpp"
#include "isa/amx.hpp"
#include "isa/dispatch.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace rekur::isa {
namespace {

bool has_instruction() {
#if defined(__x86_64__)
  static const bool here = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 5 & 1u) != 0;
  }();
  return here && kernels().width == 16;
#elif defined(__aarch64__)
  return aarch64().bf16;
#else
  return false;
#endif
}

}  // namespace

Index bf16_group() {
  if (uses_amx()) return kBf16Dots | kAmx;
  return has_instruction() ? kBf16Dots : kBf16Pairs;
}

}  // namespace rekur::isa
