// A vector of floats, and the dozen operations the kernels are written in.
//
// Included, without a guard, once for every width and instruction set that something is compiled for: REKUR_VEC_BYTES says how
// wide, REKUR_SIMD_NAMESPACE where it lives. The engine's ISA units (src/isa/isa_*.cpp, by simd/vec.hpp) have one width each and an
// anonymous namespace, so that the linker can never merge an AVX-512 copy of a function into code for an older machine; for the
// same reason nothing here uses a standard container. static.hpp has a namespace for each instruction set and width.
// The engine is compiled with -ffp-contract=off: a fused multiply-add happens where `fma` says so, and nowhere else; this is what
// makes a row's result independent of the tile it was computed in.
#if !defined(REKUR_VEC_BYTES) || !defined(REKUR_SIMD_NAMESPACE)
#error "vec.hpp: include rekur/static.hpp, or inside the engine simd/vec.hpp in an ISA unit"
#endif
#if (REKUR_VEC_BYTES == 64 && !defined(__AVX512F__)) || (REKUR_VEC_BYTES == 32 && !defined(__AVX2__))
#error "vec.hpp: vectors wider than the instruction set's"
#endif

#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "rekur/detail/compiler.hpp"
#if !defined(REKUR_VECTOR)
#error "rekur: the engine and static.hpp compute with vectors that g++, clang and clang-cl have"
#endif

namespace rekur {

using Index = std::int64_t;  // as in tensor.hpp

namespace REKUR_SIMD_NAMESPACE {

inline constexpr int kWidth = REKUR_VEC_BYTES / 4;  // floats in a vector
inline constexpr Index kLine = 16;                  // floats in a cache line

#if defined(__AVX512F__) || defined(__aarch64__) || defined(__riscv_vector)
inline constexpr int kRegisters = 32;
#else
inline constexpr int kRegisters = 16;
#endif

// The AVX-512 intrinsics below are the maskz forms with every lane on: the same instructions, without g++ 12's false warnings about
// the undefined vector inside the plain forms.
typedef float Vec REKUR_VECTOR(REKUR_VEC_BYTES);
typedef std::int32_t IVec REKUR_VECTOR(REKUR_VEC_BYTES);
typedef std::uint32_t UVec REKUR_VECTOR(REKUR_VEC_BYTES);

REKUR_INLINE Vec load(const float* p) {
  Vec v;
  REKUR_COPY(&v, p, sizeof v);
  return v;
}

REKUR_INLINE void store(float* p, Vec v) { REKUR_COPY(p, &v, sizeof v); }

REKUR_INLINE Vec set1(float s) { return s - Vec{}; }  // not `s + Vec{}`: that would turn -0 into +0
REKUR_INLINE Vec zero() { return Vec{}; }
REKUR_INLINE IVec set1i(std::int32_t s) { return s - IVec{}; }

#if REKUR_VEC_BYTES == 64 || defined(__FMA__) || (defined(__ARM_NEON) && defined(__ARM_FEATURE_FMA)) || defined(REKUR_FUSES)
inline constexpr bool kFused = true;
#else
inline constexpr bool kFused = false;
#endif

// a * b + c, rounded once where the machine can: kFused (everywhere but baseline x86-64, ARM before VFPv4 and what has no vectors).
REKUR_INLINE Vec fma(Vec a, Vec b, Vec c) {
#if REKUR_VEC_BYTES == 64
  return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif REKUR_VEC_BYTES == 32 && defined(__FMA__)
  return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__FMA__)
  return (Vec)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c);
#elif defined(__ARM_NEON) && defined(__ARM_FEATURE_FMA)
  return (Vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#elif defined(__ARM_NEON)
  return (Vec)vmlaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#elif defined(REKUR_FUSES)
  REKUR_FUSES
  return a * b + c;
#else
  return a * b + c;
#endif
}

REKUR_INLINE IVec as_int(Vec v) { return (IVec)v; }
REKUR_INLINE Vec as_float(IVec v) { return (Vec)v; }

// Lanes of a where the mask is all ones, of b where it is zero.
REKUR_INLINE Vec select(IVec mask, Vec a, Vec b) { return mask ? a : b; }

// A NaN in `v` stays a NaN; `bound` must not be one. (x86's min and max return their second operand if either is a NaN.)
REKUR_INLINE Vec at_most(Vec v, Vec bound) {
#if REKUR_VEC_BYTES == 64
  return (Vec)_mm512_maskz_min_ps((__mmask16)-1, (__m512)bound, (__m512)v);
#elif REKUR_VEC_BYTES == 32
  return (Vec)_mm256_min_ps((__m256)bound, (__m256)v);
#elif defined(__SSE2__)
  return (Vec)_mm_min_ps((__m128)bound, (__m128)v);
#else
  return select(v > bound, bound, v);
#endif
}

REKUR_INLINE Vec at_least(Vec v, Vec bound) {
#if REKUR_VEC_BYTES == 64
  return (Vec)_mm512_maskz_max_ps((__mmask16)-1, (__m512)bound, (__m512)v);
#elif REKUR_VEC_BYTES == 32
  return (Vec)_mm256_max_ps((__m256)bound, (__m256)v);
#elif defined(__SSE2__)
  return (Vec)_mm_max_ps((__m128)bound, (__m128)v);
#else
  return select(v < bound, bound, v);
#endif
}

inline constexpr std::int32_t kSignBit = (std::int32_t)0x80000000;
REKUR_INLINE Vec abs(Vec v) { return (Vec)((IVec)v & ~kSignBit); }
REKUR_INLINE Vec negative_abs(Vec v) { return (Vec)((IVec)v | kSignBit); }
REKUR_INLINE Vec copysign(Vec magnitude, Vec sign) { return (Vec)(((IVec)magnitude & ~kSignBit) | ((IVec)sign & kSignBit)); }
REKUR_INLINE Vec flip(Vec v, IVec sign_bits) { return (Vec)((IVec)v ^ sign_bits); }

REKUR_INLINE Vec sqrt(Vec v) {
#if REKUR_VEC_BYTES == 64
  return (Vec)_mm512_maskz_sqrt_ps((__mmask16)-1, (__m512)v);
#elif REKUR_VEC_BYTES == 32
  return (Vec)_mm256_sqrt_ps((__m256)v);
#elif defined(__aarch64__)
  return (Vec)vsqrtq_f32((float32x4_t)v);
#elif defined(__SSE2__)
  return (Vec)_mm_sqrt_ps((__m128)v);
#else
  for (int i = 0; i < kWidth; ++i) v[i] = REKUR_SQRT(v[i]);
  return v;
#endif
}

#if REKUR_VEC_BYTES == 32 && defined(__AVX2__)
// All ones in the first n lanes.
REKUR_INLINE __m256i lanes_below(Index n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
#endif

// The first n floats (0 <= n <= kWidth) at p; the other lanes are zero. Reads nothing beyond them.
REKUR_INLINE Vec load_partial(const float* p, Index n) {
#if REKUR_VEC_BYTES == 64
  return (Vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
#elif REKUR_VEC_BYTES == 32 && defined(__AVX2__)
  if (n == kWidth) return load(p);
  return (Vec)_mm256_maskload_ps(p, lanes_below(n));
#else
  if (n == kWidth) return load(p);
  Vec v{};
  for (Index i = 0; i < n; ++i) v[i] = p[i];
  return v;
#endif
}

REKUR_INLINE void store_partial(float* p, Vec v, Index n) {
#if REKUR_VEC_BYTES == 64
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), (__m512)v);
#elif REKUR_VEC_BYTES == 32 && defined(__AVX2__)
  if (n == kWidth) return store(p, v);
  _mm256_maskstore_ps(p, lanes_below(n), (__m256)v);
#else
  if (n == kWidth) return store(p, v);
  for (Index i = 0; i < n; ++i) p[i] = v[i];
#endif
}

// The first n lanes (0 <= n <= kWidth) of v; the others zero.
REKUR_INLINE Vec first_lanes(Vec v, Index n) {
  if (n == kWidth) return v;
  IVec index;
  for (int i = 0; i < kWidth; ++i) index[i] = i;
  return select(index < static_cast<std::int32_t>(n), v, zero());
}

// Lanes that hold data when a row of n floats is walked from `i` in steps of a vector.
REKUR_INLINE Index lanes(Index i, Index n) { return n - i < kWidth ? n - i : kWidth; }

// How many of the K numbers of a row go to the first sum of a step's product (a recurrent one, or a projection), from the bias on,
// in ascending order; the others go to a second, from 0 on, and then both are added. Few units are few sums, each a chain of
// additions that wait for one another, and a step waits for them: two chains are half as long. Of more units there are other sums
// to make meanwhile, and each is one. Even, since rows of sixteen bits stand in pairs. The engine, streams and fixed-size layers
// ask here, so that they agree.
constexpr Index first_sum(Index K) { return K >= 4 && K <= 16 ? (K + 2) / 4 * 2 : K; }

// Vectors of sixteen sums, and those folded as few_outputs.hpp says.
inline constexpr int kSixteen = 16 / kWidth;

REKUR_INLINE float fold_sixteen(const Vec (&s)[kSixteen]) {
  typedef float Four REKUR_VECTOR(16);
#if REKUR_VEC_BYTES == 64
  typedef float Eight REKUR_VECTOR(32);
  const Eight eight = REKUR_SHUFFLE(s[0], s[0], 0, 1, 2, 3, 4, 5, 6, 7) + REKUR_SHUFFLE(s[0], s[0], 8, 9, 10, 11, 12, 13, 14, 15);
#elif REKUR_VEC_BYTES == 32
  const Vec eight = s[0] + s[1];
#endif
#if REKUR_VEC_BYTES >= 32
  const Four four = REKUR_SHUFFLE(eight, eight, 0, 1, 2, 3) + REKUR_SHUFFLE(eight, eight, 4, 5, 6, 7);
#else
  const Four four = (s[0] + s[2]) + (s[1] + s[3]);
#endif
  const Four two = four + REKUR_SHUFFLE(four, four, 2, 3, 0, 1);
  return two[0] + two[1];
}

// Sums over the numbers of a row go by sixteens: number i to sum i % 16, folded at the end, so that no vector's width changes a
// bit.
struct RowSum {
  Vec s[kSixteen] = {};

  REKUR_INLINE float total() const { return fold_sixteen(s); }
};

// f(i, n, j) for the vectors of a row of N numbers: n of them from the i-th on, in vector j of the sixteen.
template <class F>
REKUR_INLINE void by_sixteens(Index N, const F& f) {
  Index i = 0;
  for (; i + 16 <= N; i += 16) {
    REKUR_UNROLL
    for (int j = 0; j < kSixteen; ++j) f(i + j * kWidth, Index{kWidth}, j);
  }
  REKUR_UNROLL
  for (int j = 0; j < kSixteen; ++j)
    if (i + j * kWidth < N) f(i + j * kWidth, lanes(i + j * kWidth, N), j);
}

// One output of few: Σ a[k] w[k] + bias (null: 0). w goes on to a whole number of sixteens, with zeros.
REKUR_INLINE float dot_by_sixteens(Index K, const float* a, const float* w, const float* bias) {
  Vec s[kSixteen] = {load_partial(bias, bias ? 1 : 0)};
  Index k = 0;
  for (; k + 16 <= K; k += 16) {
    REKUR_UNROLL
    for (int i = 0; i < kSixteen; ++i) s[i] = fma(load(a + k + i * kWidth), load(w + k + i * kWidth), s[i]);
  }
  if (k < K) {
    REKUR_UNROLL
    for (int i = 0; i < kSixteen; ++i) {
      const Index rest = K - k - i * kWidth, n = rest < 0 ? 0 : rest < kWidth ? rest : kWidth;
      s[i] = fma(n > 0 ? load_partial(a + k + i * kWidth, n) : zero(), load(w + k + i * kWidth), s[i]);
    }
  }
  return fold_sixteen(s);
}

}  // namespace REKUR_SIMD_NAMESPACE
}  // namespace rekur
