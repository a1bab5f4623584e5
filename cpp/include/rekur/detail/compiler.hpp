// What compilers differ in, by names of our own: no other header says an attribute, a builtin or a pragma of one compiler. Vectors
// need g++, clang or clang-cl; all else has a form that any C++20 compiler takes. It is also a part of the headers that
// `rekur.export_static` writes, which include nothing else.
#pragma once

#if defined(__GNUC__) || defined(__clang__)
#define REKUR_NOINLINE __attribute__((noinline))
// What a lambda needs to be a part of the loop around it.
#define REKUR_INLINED __attribute__((always_inline))
#define REKUR_INLINE inline REKUR_INLINED
// `typedef float Four REKUR_VECTOR(16);`: a vector of 16 bytes.
#define REKUR_VECTOR(bytes) __attribute__((vector_size(bytes)))
// The same, of vectors that stand in memory that is aligned to less and is an array of something.
#define REKUR_VECTOR_AT(bytes, alignment) __attribute__((vector_size(bytes), aligned(alignment), may_alias))
#define REKUR_SHUFFLE(...) __builtin_shufflevector(__VA_ARGS__)
#define REKUR_CONVERT_VECTOR(vector, type) __builtin_convertvector(vector, type)
#define REKUR_COPY(to, from, bytes) __builtin_memcpy(to, from, bytes)
#define REKUR_PREFETCH(...) __builtin_prefetch(__VA_ARGS__)
#define REKUR_EXPECT(condition, value) __builtin_expect(condition, value)
#define REKUR_INFINITY __builtin_inff()
#define REKUR_NAN __builtin_nanf("")
#define REKUR_ABS(x) __builtin_fabsf(x)
#define REKUR_SQRT(x) __builtin_sqrtf(x)
#define REKUR_COS(x) __builtin_cos(x)
#define REKUR_SIN(x) __builtin_sin(x)
#define REKUR_EXP(x) __builtin_exp(x)
#define REKUR_LOG(x) __builtin_log(x)
#define REKUR_LOGF(x) __builtin_logf(x)
#if defined(__ARM_FEATURE_DSP)  // a microcontroller's products of sixteen bits, two at once
#define REKUR_ARM_SMLAD(a, b, sum) __builtin_arm_smlad(a, b, sum)
#define REKUR_ARM_SXTB16(x) __builtin_arm_sxtb16(x)
#endif
#if defined(__riscv_vector) && defined(__clang__)
// In a function of `a * b + c`, which becomes one instruction: there is no builtin that takes the vectors above.
#define REKUR_FUSES _Pragma("clang fp contract(on)")
#endif
// A vector changes its type by a cast, which is all that an old-style cast can do to it.
#define REKUR_VECTOR_CASTS_BEGIN _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wold-style-cast\"")
#define REKUR_VECTOR_CASTS_END _Pragma("GCC diagnostic pop")
#else
#include <math.h>
#include <string.h>
#define REKUR_NOINLINE
#define REKUR_INLINED
#define REKUR_INLINE inline
#define REKUR_COPY(to, from, bytes) memcpy(to, from, bytes)
#define REKUR_PREFETCH(...) (static_cast<void>(0))
#define REKUR_EXPECT(condition, value) (condition)
#define REKUR_INFINITY INFINITY
#define REKUR_NAN NAN
#define REKUR_ABS(x) fabsf(x)
#define REKUR_SQRT(x) sqrtf(x)
#define REKUR_COS(x) cos(x)
#define REKUR_SIN(x) sin(x)
#define REKUR_EXP(x) exp(x)
#define REKUR_LOG(x) log(x)
#define REKUR_LOGF(x) logf(x)
#endif
#define REKUR_FLOAT_MAX 3.40282347e+38f
#define REKUR_FLOAT_MIN 1.17549435e-38f
#define REKUR_BIT_CAST(type, x) __builtin_bit_cast(type, x)  // g++ >= 11, clang, MSVC, also in C++17

// Before a loop over a constant number of registers: such a loop must be unrolled whole for its arrays to live in registers.
#if defined(__clang__)
#define REKUR_UNROLL _Pragma("clang loop unroll(full)")
#define REKUR_UNROLL_FOUR _Pragma("clang loop unroll_count(4)")
#elif defined(__GNUC__)
#define REKUR_UNROLL _Pragma("GCC unroll 32")
#define REKUR_UNROLL_FOUR _Pragma("GCC unroll 4")
#else
#define REKUR_UNROLL
#define REKUR_UNROLL_FOUR
#endif
