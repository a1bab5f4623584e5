#pragma once

#define REKUR_INLINE inline __attribute__((always_inline))

// Before a loop over a constant number of registers: such a loop must be unrolled whole for its arrays to live in registers.
#if defined(__clang__)
#define REKUR_UNROLL _Pragma("clang loop unroll(full)")
#else
#define REKUR_UNROLL _Pragma("GCC unroll 32")
#endif
