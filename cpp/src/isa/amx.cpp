#include "isa/amx.hpp"

#include "isa/dispatch.hpp"

#if REKUR_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace rekur::isa {

#if REKUR_AMX

namespace {

constexpr int kTileData = 18;  // the number of the registers' state, to processor and system

#ifdef REKUR_HAVE_AVX512
bool system_keeps_tiles() {
  constexpr long kGetSupported = 0x1021;
  unsigned long supported = 0;
  return syscall(SYS_arch_prctl, kGetSupported, &supported) == 0 && (supported >> kTileData & 1) != 0;
}
#endif

}  // namespace

bool has_amx() {
#ifdef REKUR_HAVE_AVX512
  static const bool here = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned kBf16 = 1u << 22, kTiles = 1u << 24, kInt8 = 1u << 25, kAll = kBf16 | kTiles | kInt8;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kAll) == kAll && system_keeps_tiles();
  }();
  return here;
#else
  return false;
#endif
}

bool uses_amx() { return table().amx && take_amx(); }

bool take_amx() {
  static const bool given = [] {
    constexpr long kRequest = 0x1023;
    return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
  }();
  return given;
}

#else

bool has_amx() { return false; }
bool uses_amx() { return false; }
bool take_amx() { return false; }

#endif

}  // namespace rekur::isa
