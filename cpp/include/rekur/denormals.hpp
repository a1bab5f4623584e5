// Denormals are numbers next to zero (below 1.2e-38) with which many processors are up to a hundred times slower. States of a
// network that hears silence decay through them.
#pragma once

#include <cstdint>

namespace rekur {

// While it lives, this thread takes denormal inputs and results for zero; the caller's mode returns with its end. A few
// nanoseconds: once a block, not once a sample. Nothing on processors that are neither x86 with SSE nor ARM.
class FlushDenormals {
 public:
  FlushDenormals() noexcept : saved_(mode()) { set_mode(saved_ | kBits); }
  // Only the two modes are put back: exception flags raised meanwhile stay raised.
  ~FlushDenormals() { set_mode((mode() & ~kBits) | (saved_ & kBits)); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
#if defined(__SSE2__)
  using Word = std::uint32_t;
  static constexpr Word kBits = 0x8040;  // flush to zero, denormals are zero
  static Word mode() noexcept {
    Word word;
    asm volatile("stmxcsr %0" : "=m"(word) : : "memory");
    return word;
  }
  static void set_mode(Word word) noexcept { asm volatile("ldmxcsr %0" : : "m"(word) : "memory"); }
#elif defined(__aarch64__)
  using Word = std::uint64_t;
  static constexpr Word kBits = 1u << 24;
  static Word mode() noexcept {
    Word word;
    asm volatile("mrs %0, fpcr" : "=r"(word) : : "memory");
    return word;
  }
  static void set_mode(Word word) noexcept { asm volatile("msr fpcr, %0" : : "r"(word) : "memory"); }
#elif defined(__arm__) && defined(__ARM_FP)
  using Word = std::uint32_t;
  static constexpr Word kBits = 1u << 24;
  static Word mode() noexcept {
    Word word;
    asm volatile("vmrs %0, fpscr" : "=r"(word) : : "memory");
    return word;
  }
  static void set_mode(Word word) noexcept { asm volatile("vmsr fpscr, %0" : : "r"(word) : "memory"); }
#else
  using Word = std::uint32_t;
  static constexpr Word kBits = 0;
  static Word mode() noexcept { return 0; }
  static void set_mode(Word) noexcept {}
#endif

  Word saved_;
};

}  // namespace rekur
