// How this thread's processor treats denormals.
#pragma once

#include <cstdint>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace rekur::runtime {

#if defined(__SSE2__)
inline constexpr std::uint64_t kFlushBits = 0x8040;  // MXCSR: FTZ and DAZ
inline std::uint64_t float_mode() noexcept { return _mm_getcsr(); }
inline void set_float_mode(std::uint64_t mode) noexcept { _mm_setcsr(static_cast<unsigned>(mode)); }
#elif defined(__aarch64__)
inline constexpr std::uint64_t kFlushBits = std::uint64_t{1} << 24;  // FPCR: FZ
inline std::uint64_t float_mode() noexcept {
  std::uint64_t mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
inline void set_float_mode(std::uint64_t mode) noexcept { asm volatile("msr fpcr, %0" : : "r"(mode)); }
#elif defined(__arm__) && defined(__ARM_FP)
inline constexpr std::uint64_t kFlushBits = std::uint64_t{1} << 24;  // FPSCR: FZ; NEON flushes in any case
inline std::uint64_t float_mode() noexcept {
  std::uint32_t mode;
  asm volatile("vmrs %0, fpscr" : "=r"(mode));
  return mode;
}
inline void set_float_mode(std::uint64_t mode) noexcept {
  asm volatile("vmsr fpscr, %0" : : "r"(static_cast<std::uint32_t>(mode)));
}
#else
inline constexpr std::uint64_t kFlushBits = 0;
inline std::uint64_t float_mode() noexcept { return 0; }
inline void set_float_mode(std::uint64_t) noexcept {}
#endif

// FlushDenormals (parallel.hpp) for what takes some fifty nanoseconds: writing the mode takes four, and reading it back behind a
// write another ten. So a caller who flushes already pays nothing, and another gets back the mode as it was, without the
// exception flags that were raised meanwhile.
class FlushDenormalsBriefly {
 public:
  FlushDenormalsBriefly() noexcept : saved_(float_mode()), own_((saved_ & kFlushBits) != kFlushBits) {
    if (own_) set_float_mode(saved_ | kFlushBits);
  }
  ~FlushDenormalsBriefly() {
    if (own_) set_float_mode(saved_);
  }
  FlushDenormalsBriefly(const FlushDenormalsBriefly&) = delete;
  FlushDenormalsBriefly& operator=(const FlushDenormalsBriefly&) = delete;

 private:
  std::uint64_t saved_;
  bool own_;
};

}  // namespace rekur::runtime
