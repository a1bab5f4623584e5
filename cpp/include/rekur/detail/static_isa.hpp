// The includer's instruction set, as a name, the bytes of its widest vector, whether it has an instruction that multiplies and adds
// numbers of eight bits (static_int8.hpp), and the bytes of weights that its first-level cache holds besides other things: of 32
// KB, but of 48 KB where instructions tell that, as AVX-VNNI beside AVX-512 does. Without a guard: who includes it takes the macros
// away again where they would meet others'.
#if defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__FMA__) && \
    defined(__AVX512VNNI__)
#if defined(__AVXVNNI__)
#define REKUR_STATIC_ISA static_avx512_avxvnni
#define REKUR_STATIC_NEAR (44 * 1024)
#else
#define REKUR_STATIC_ISA static_avx512_vnni
#endif
#define REKUR_STATIC_BYTES 64
#define REKUR_STATIC_DOT 1
#elif defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__FMA__)
#define REKUR_STATIC_ISA static_avx512
#define REKUR_STATIC_BYTES 64
#elif defined(__AVX512F__) && defined(__FMA__)
#define REKUR_STATIC_ISA static_avx512f
#define REKUR_STATIC_BYTES 64
#elif defined(__AVX2__) && defined(__FMA__) && defined(__AVXVNNI__)
#define REKUR_STATIC_ISA static_avx2_vnni
#define REKUR_STATIC_BYTES 32
#define REKUR_STATIC_DOT 1
#elif defined(__AVX2__) && defined(__FMA__)
#define REKUR_STATIC_ISA static_avx2_fma
#define REKUR_STATIC_BYTES 32
#elif defined(__AVX2__)
#define REKUR_STATIC_ISA static_avx2
#define REKUR_STATIC_BYTES 32
#elif defined(__AVX__) && defined(__FMA__)
#define REKUR_STATIC_ISA static_avx_fma
#define REKUR_STATIC_BYTES 16
#elif defined(__AVX__)
#define REKUR_STATIC_ISA static_avx
#define REKUR_STATIC_BYTES 16
#elif defined(__SSE4_1__)
#define REKUR_STATIC_ISA static_sse4
#define REKUR_STATIC_BYTES 16
#elif defined(__SSE2__)
#define REKUR_STATIC_ISA static_sse2
#define REKUR_STATIC_BYTES 16
#elif defined(__aarch64__) && defined(__ARM_NEON) && defined(__ARM_FEATURE_DOTPROD)
#define REKUR_STATIC_ISA static_neon_dot
#define REKUR_STATIC_BYTES 16
#define REKUR_STATIC_DOT 1
#elif defined(__ARM_NEON) && defined(__ARM_FEATURE_FMA)
#define REKUR_STATIC_ISA static_neon_fma
#define REKUR_STATIC_BYTES 16
#elif defined(__ARM_NEON)
#define REKUR_STATIC_ISA static_neon
#define REKUR_STATIC_BYTES 16
#elif defined(__riscv_vector) && defined(__clang__)
#define REKUR_STATIC_ISA static_rvv
#define REKUR_STATIC_BYTES 16
#elif defined(__ARM_FEATURE_SIMD32)
#define REKUR_STATIC_ISA static_simd32
#define REKUR_STATIC_BYTES 16
#define REKUR_STATIC_DOT 1
#else
#define REKUR_STATIC_ISA static_generic
#define REKUR_STATIC_BYTES 16
#endif
#ifndef REKUR_STATIC_NEAR
#define REKUR_STATIC_NEAR (32 * 1024)
#endif
#ifndef REKUR_STATIC_DOT
#define REKUR_STATIC_DOT 0
#endif
