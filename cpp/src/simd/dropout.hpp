// Dropout by Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), one counter a lane.
// Included by the ISA units only. runtime/random.hpp draws the same numbers one at a time.
#pragma once

#include "simd/kernels.hpp"
#include "simd/vec.hpp"

namespace rekur {
namespace {

typedef std::uint64_t UVec64 REKUR_VECTOR(REKUR_VEC_BYTES);

struct HighLow {
  UVec high, low;
};

// The products of 32-bit lanes with a constant, as high and low words.
REKUR_INLINE HighLow wide_multiply(UVec v, std::uint32_t m) {
#if defined(__ARM_NEON)
  const uint32x2_t factor = vdup_n_u32(m);
  const uint32x4_t first = vreinterpretq_u32_u64(vmull_u32(vget_low_u32((uint32x4_t)v), factor));
  const uint32x4_t last = vreinterpretq_u32_u64(vmull_u32(vget_high_u32((uint32x4_t)v), factor));
  const uint32x4x2_t words = vuzpq_u32(first, last);
  return {(UVec)words.val[1], (UVec)words.val[0]};
#else
  const UVec factor = m - UVec{};
#if defined(__AVX512F__)
  const UVec64 even = (UVec64)_mm512_maskz_mul_epu32((__mmask8)-1, (__m512i)v, (__m512i)factor);
  const UVec64 odd = (UVec64)_mm512_maskz_mul_epu32((__mmask8)-1, (__m512i)((UVec64)v >> 32), (__m512i)factor);
#elif defined(__AVX2__)
  const UVec64 even = (UVec64)_mm256_mul_epu32((__m256i)v, (__m256i)factor);
  const UVec64 odd = (UVec64)_mm256_mul_epu32((__m256i)((UVec64)v >> 32), (__m256i)factor);
#elif defined(__SSE2__)
  const UVec64 even = (UVec64)_mm_mul_epu32((__m128i)v, (__m128i)factor);
  const UVec64 odd = (UVec64)_mm_mul_epu32((__m128i)((UVec64)v >> 32), (__m128i)factor);
#else
  UVec64 even{}, odd{};
  for (int i = 0; i < kWidth / 2; ++i) {
    even[i] = std::uint64_t{v[2 * i]} * factor[2 * i];
    odd[i] = std::uint64_t{v[2 * i + 1]} * factor[2 * i + 1];
  }
#endif
  const UVec64 low_word = (UVec64)(std::uint64_t{0xffffffffu} - UVec64{});
  return {(UVec)((even >> 32) | (odd & ~low_word)), (UVec)((even & low_word) | (odd << 32))};
#endif
}

// Ten rounds on the counters c (word by word), in place.
REKUR_INLINE void philox(UVec c[4], std::uint64_t key) {
  std::uint32_t k0 = (std::uint32_t)key, k1 = (std::uint32_t)(key >> 32);
  for (int round = 0; round < 10; ++round, k0 += 0x9e3779b9u, k1 += 0xbb67ae85u) {
    const HighLow p = wide_multiply(c[0], 0xd2511f53u);
    const HighLow q = wide_multiply(c[2], 0xcd9e8d57u);
    c[0] = q.high ^ c[1] ^ k0;
    c[1] = q.low;
    c[2] = p.high ^ c[3] ^ k1;
    c[3] = p.low;
  }
}

// a[0] b[0] a[1] b[1] … as two vectors.
REKUR_INLINE void interleave(Vec a, Vec b, Vec& first, Vec& last) {
#if REKUR_VEC_BYTES == 64
  first = REKUR_SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  last = REKUR_SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif REKUR_VEC_BYTES == 32
  first = REKUR_SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  last = REKUR_SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
  first = REKUR_SHUFFLE(a, b, 0, 4, 1, 5);
  last = REKUR_SHUFFLE(a, b, 2, 6, 3, 7);
#endif
}

// The 4·kWidth uniform numbers in [0, 1), multiples of 2^-24, of the counters from `first_counter` on.
REKUR_INLINE void uniform_block(std::uint64_t seed, std::uint64_t step, std::uint32_t stream, std::uint64_t first_counter,
                                Vec u[4]) {
  UVec lane;
  for (int i = 0; i < kWidth; ++i) lane[i] = (std::uint32_t)i;
  UVec c[4] = {lane + (std::uint32_t)first_counter, stream - UVec{}, (std::uint32_t)step - UVec{},
               (std::uint32_t)(step >> 32) - UVec{}};
  philox(c, seed);
  Vec w[4];
  for (int i = 0; i < 4; ++i) w[i] = REKUR_CONVERT_VECTOR((IVec)(c[i] >> 8), Vec) * set1(0x1p-24f);
  // From words of counters to counters of words: w0 w1 w2 w3 of the first counter, then of the second, …
  Vec even[2], odd[2];
  interleave(w[0], w[2], even[0], even[1]);
  interleave(w[1], w[3], odd[0], odd[1]);
  interleave(even[0], odd[0], u[0], u[1]);
  interleave(even[1], odd[1], u[2], u[3]);
}

inline void dropout(std::uint64_t seed, std::uint64_t step, std::uint32_t stream, Index i0, float rate, const float* x, float* mask,
                    float* out, Index n) {
  const Vec kept = set1(1.0f / (1.0f - rate));
  Index i = -(i0 % 4);  // a block starts at a whole counter: before the range, perhaps
  for (; i < n; i += 4 * kWidth) {
    Vec u[4];
    uniform_block(seed, step, stream, (std::uint64_t)(i0 + i) / 4, u);
    float factors[4 * kWidth];
    for (int v = 0; v < 4; ++v) store(factors + v * kWidth, select(u[v] >= set1(rate), kept, zero()));
    const Index begin = i < 0 ? -i : 0;
    const Index end = n - i < 4 * kWidth ? n - i : 4 * kWidth;
    for (Index j = begin; j < end; j += kWidth) {
      const Vec m = load_partial(factors + j, lanes(j, end));
      store_partial(mask + i + j, m, lanes(j, end));
      if (x) store_partial(out + i + j, load_partial(x + i + j, lanes(j, end)) * m, lanes(j, end));
    }
  }
}

}  // namespace
}  // namespace rekur
