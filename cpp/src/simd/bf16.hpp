// Products of bf16: both sides rounded to it, to the nearest, of two to the even one, and added to sums in float32 one after the
// other. Included by the ISA units only.
//
// A row is pairs of numbers in 32 bits, k in the upper half and k + 1 in the lower one; so are rows of weights, two in place of
// one. AVX512_BF16 has an instruction for both, which adds the upper halves' product first, rounds, and adds the lower halves'.
// Elsewhere two fused multiply-adds do the same. So sums go over k in ascending order, whatever the pairs, to the same bits. AMX
// has an order of its own (amx.hpp), and is used for all products or for none.
#pragma once

#include "simd/aarch64.hpp"
#include "simd/amx.hpp"

namespace rekur {
namespace {

struct Bf16Pairs {
  static constexpr int kTogether = 1;  // a row of these is a row of pairs
  REKUR_INLINE static Vec row(const float* p, int) { return load(p); }
  REKUR_INLINE static Vec add(Vec a, Vec b, Vec sum) {
    const UVec x = (UVec)a, y = (UVec)b;
    return fma((Vec)(x << 16), (Vec)(y << 16), fma((Vec)(x & 0xFFFF0000u), (Vec)(y & 0xFFFF0000u), sum));
  }
};

#if REKUR_VEC_BYTES == 64
inline constexpr bool kBf16Instruction = true;
struct Bf16Dots : Bf16Pairs {
  REKUR_INLINE static Vec add(Vec a, Vec b, Vec sum) {
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
  }
};
#elif defined(__aarch64__)
inline constexpr bool kBf16Instruction = true;
struct Bf16Dots : Bf16Pairs {
  REKUR_INLINE static Vec add(Vec a, Vec b, Vec sum) { return bfmlalb(bfmlalt(sum, a, b), a, b); }
};
#else
inline constexpr bool kBf16Instruction = false;
using Bf16Dots = Bf16Pairs;
#endif

// Floats of a row of K numbers in pairs, in whole vectors of any width.
constexpr Index bf16_row_floats(Index K) { return ((K + 1) / 2 + 15) / 16 * 16; }

// The upper halves of the lanes, rounded; a NaN stays one.
REKUR_INLINE UVec bf16_halves(Vec v) {
  const UVec bits = (UVec)v, rounded = bits + (0x7FFFu + ((bits >> 16) & 1u));
  return (UVec)(v != v ? (IVec)(bits | 0x400000u) : (IVec)rounded) & 0xFFFF0000u;
}

// Lane by lane.
REKUR_INLINE Vec bf16_pairs(Vec first, Vec second) { return (Vec)(bf16_halves(first) | (bf16_halves(second) >> 16)); }

// Numbers of a row, one after the other, as pairs. `to`: bf16_row_floats(K).
inline void narrow_row_bf16(Index K, const float* x, float* to) {
  typedef std::uint16_t Shorts REKUR_VECTOR(REKUR_VEC_BYTES / 2);
  auto* out = reinterpret_cast<char*>(to);
  for (Index k = 0; k < K; k += kWidth, out += sizeof(Shorts)) {
    const Vec v = k + kWidth <= K ? load(x + k) : load_partial(x + k, K - k);
    const Shorts halves = REKUR_CONVERT_VECTOR(bf16_halves(v) >> 16, Shorts);
    typedef std::uint32_t Pairs REKUR_VECTOR(REKUR_VEC_BYTES / 2);
    const Pairs pairs = ((Pairs)halves << 16) | ((Pairs)halves >> 16);
    REKUR_COPY(out, &pairs, sizeof pairs);
  }
}

// kWidth numbers of such a row, as floats.
REKUR_INLINE UVec widened_bf16(const float* from) {
  typedef std::uint32_t Pairs REKUR_VECTOR(REKUR_VEC_BYTES / 2);
  typedef std::uint64_t Wide REKUR_VECTOR(REKUR_VEC_BYTES);
  Pairs pairs;
  REKUR_COPY(&pairs, from, sizeof pairs);
  const Wide wide = REKUR_CONVERT_VECTOR(pairs, Wide);  // the first of a pair is in place, the second goes above it
  return (UVec)((wide & 0xFFFF0000u) | (wide << 48));
}

// So many whole vectors of them. `to` may not be `from`.
inline void widen_bf16(Index n, const float* from, float* to) {
  for (Index i = 0; i < n; i += kWidth) store(to + i, (Vec)widened_bf16(from + i / 2));
}

inline void pair_rows(const float* first, const float* second, Index n, float* to) {
  for (Index i = 0; i < n; i += kWidth) {
    const Index count = lanes(i, n);
    store(to + i, bf16_pairs(load_partial(first + i, count), second ? load_partial(second + i, count) : zero()));
  }
}

inline void narrow_bf16(Index M, Index K, ConstRows a, Index offset, float* to, Index stride) {
  for (Index m = 0; m < M; ++m) narrow_row_bf16(K, a[m] + offset, to + m * stride);
}

}  // namespace
}  // namespace rekur
