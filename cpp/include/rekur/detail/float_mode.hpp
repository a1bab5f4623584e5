// How this thread's processor treats denormals: two bits of a control register, on processors that are neither x86 with SSE nor ARM
// nothing. Nothing is moved over a change of it that reads or writes memory.
#pragma once

#include <cstdint>
#if defined(_M_X64) || defined(_M_ARM64)
#include <intrin.h>
#endif

namespace rekur::detail {

#if defined(__SSE2__)
using FloatMode = std::uint32_t;
inline constexpr FloatMode kFlushBits = 0x8040;  // MXCSR: flush to zero, denormals are zero
inline FloatMode float_mode() noexcept {
  FloatMode mode;
  asm volatile("stmxcsr %0" : "=m"(mode) : : "memory");
  return mode;
}
inline void set_float_mode(FloatMode mode) noexcept { asm volatile("ldmxcsr %0" : : "m"(mode) : "memory"); }
#elif defined(__aarch64__)
using FloatMode = std::uint64_t;
inline constexpr FloatMode kFlushBits = FloatMode{1} << 24;  // FPCR: FZ
inline FloatMode float_mode() noexcept {
  FloatMode mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode) : : "memory");
  return mode;
}
inline void set_float_mode(FloatMode mode) noexcept { asm volatile("msr fpcr, %0" : : "r"(mode) : "memory"); }
#elif defined(__arm__) && defined(__ARM_FP)
using FloatMode = std::uint32_t;
inline constexpr FloatMode kFlushBits = FloatMode{1} << 24;  // FPSCR: FZ; NEON flushes in any case
inline FloatMode float_mode() noexcept {
  FloatMode mode;
  asm volatile("vmrs %0, fpscr" : "=r"(mode) : : "memory");
  return mode;
}
inline void set_float_mode(FloatMode mode) noexcept { asm volatile("vmsr fpscr, %0" : : "r"(mode) : "memory"); }
#elif defined(_M_X64)  // no asm there
using FloatMode = std::uint32_t;
inline constexpr FloatMode kFlushBits = 0x8040;
inline FloatMode float_mode() noexcept { return _mm_getcsr(); }
inline void set_float_mode(FloatMode mode) noexcept { _mm_setcsr(mode); }
#elif defined(_M_ARM64)
using FloatMode = std::uint64_t;
inline constexpr FloatMode kFlushBits = FloatMode{1} << 24;
inline FloatMode float_mode() noexcept { return static_cast<FloatMode>(_ReadStatusReg(ARM64_FPCR)); }
inline void set_float_mode(FloatMode mode) noexcept { _WriteStatusReg(ARM64_FPCR, static_cast<__int64>(mode)); }
#else
using FloatMode = std::uint32_t;
inline constexpr FloatMode kFlushBits = 0;
inline FloatMode float_mode() noexcept { return 0; }
inline void set_float_mode(FloatMode) noexcept {}
#endif

}  // namespace rekur::detail
