#pragma once

#define REKUR_INLINE inline __attribute__((always_inline))
// What a lambda needs to be a part of the loop around it.
#define REKUR_INLINED __attribute__((always_inline))

// Before a loop over a constant number of registers: such a loop must be unrolled whole for its arrays to live in registers.
#if defined(__clang__)
#define REKUR_UNROLL _Pragma("clang loop unroll(full)")
#define REKUR_UNROLL_FOUR _Pragma("clang loop unroll_count(4)")
#else
#define REKUR_UNROLL _Pragma("GCC unroll 32")
#define REKUR_UNROLL_FOUR _Pragma("GCC unroll 4")
#endif
