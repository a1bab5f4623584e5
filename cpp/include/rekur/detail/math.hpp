// exp, tanh, sigmoid and softplus of a vector: branch-free, one division at most. Included after vec.hpp, as often as that is.
//
// Measured against float64 over every exponent (tests/test_math.cpp), on every ISA, with or without FMA: exp within 1.3 ULP,
// tanh 2.5, sigmoid 2.5 and 9e-8, softplus 2.7. NaN in, NaN out; the limits at ±inf are exact; tanh keeps the sign of
// zero. On a Zen 5 core a vector of 16 takes about 7 cycles (exp), 8 (tanh), 7 (sigmoid), and 43 and 40 from x to the result.
namespace rekur {
namespace REKUR_SIMD_NAMESPACE {

// x = n ln 2 + r with |r| <= ln 2 / 2. Adding 1.5·2^23 rounds to an integer and leaves it in the low bits; ln 2 is split so that n
// · high is exact for |n| < 2^13, with or without a fused multiply-add.
struct Reduced {
  Vec n;
  IVec n_bits;  // n + the bits of 1.5·2^23
  Vec r;
};

inline constexpr float kRound = 12582912.0f;
inline constexpr std::int32_t kRoundBits = 0x4b400000;

// x = `times` · y with times a power of two (and perhaps a sign): n is made of y, without waiting for x.
REKUR_INLINE Reduced reduce(Vec x, Vec y, float times) {
  const Vec shifted = fma(y, set1(times * 1.44269504088896341f), set1(kRound));
  const Vec n = shifted - set1(kRound);
  // Side by side; the sum of fma's results is nothing that a compiler may contract.
  return {n, as_int(shifted), fma(n, set1(-0.693359375f), x) + fma(n, set1(2.12194440e-4f), zero())};
}

// The same sooner: with a fused multiply-add ln 2 is one float, and r lacks n · kRest.
REKUR_INLINE Reduced reduce_soon(Vec x, Vec y, float times) {
  if constexpr (!kFused) return reduce(x, y, times);
  const Vec shifted = fma(y, set1(times * 1.44269504088896341f), set1(kRound));
  const Vec n = shifted - set1(kRound);
  return {n, as_int(shifted), fma(n, set1(-0x1.62e43p-1f), x)};
}
inline constexpr float kRest = 0x1.05c61p-29f;

// e^r - 1 for |r| <= ln 2 / 2, relative error of 1 + it 3.2e-9 before rounding. Minimax for |error| · r², fitted by Lawson's
// iteration. By Estrin's scheme: three products deep, where Horner's is five. `first`: r, or more of it for the term that counts.
REKUR_INLINE Vec expm1_reduced(Vec r, Vec first) {
  const Vec r2 = r * r;
  const Vec low = fma(set1(0x1.55548ep-3f), r, set1(0.5f)), high = fma(set1(0x1.123c78p-7f), r, set1(0x1.55545cp-5f));
  return fma(fma(set1(0x1.6db5bcp-10f), r2, high), r2 * r2, fma(low, r2, first));
}
REKUR_INLINE Vec expm1_reduced(Vec r) { return expm1_reduced(r, r); }

// 2^n for -127 <= n <= 128, where -127 gives 0 and 128 gives infinity.
REKUR_INLINE Vec power_of_two(IVec n_bits) {
  const UVec biased = (UVec)n_bits - (std::uint32_t)(kRoundBits - 127);
  return (Vec)(biased << 23);
}

// 2^-n for -127 <= n <= 127, where 127 gives 0.
REKUR_INLINE Vec inverse_power_of_two(IVec n_bits) {
  const UVec biased = (std::uint32_t)(kRoundBits + 127) - (UVec)n_bits;
  return (Vec)(biased << 23);
}

// e^x for x <= 89 (or NaN).
REKUR_INLINE Vec exp_below(Vec x) {
  x = at_least(x, set1(-104.0f));  // beyond this the result is 0 anyway
  const Reduced s = reduce(x, x, 1.0f);
  const Vec y = set1(1.0f) + expm1_reduced(s.r);
#if REKUR_VEC_BYTES == 64
  return (Vec)_mm512_maskz_scalef_ps((__mmask16)-1, (__m512)y, (__m512)s.n);
#else
  // 2^n in two factors: n reaches from -150 (denormal results) to 128. The first product is exact.
  const IVec n = (IVec)((UVec)s.n_bits - (std::uint32_t)kRoundBits);
  const IVec half = n >> 1;
  const Vec first = (Vec)(((UVec)half + 127u) << 23);
  const Vec second = (Vec)(((UVec)n - (UVec)half + 127u) << 23);
  return y * first * second;
#endif
}

REKUR_INLINE Vec exp(Vec x) { return exp_below(at_most(x, set1(89.0f))); }  // beyond it infinity

// e^x - 1 for x <= 0 (or NaN), to full relative precision near 0; -1 from -20 down.
REKUR_INLINE Vec expm1_nonpositive(Vec x) {
  x = at_least(x, set1(-20.0f));
  const Reduced s = reduce(x, x, 1.0f);
  const Vec scale = power_of_two(s.n_bits);
  return fma(scale, expm1_reduced(s.r), scale - set1(1.0f));
}

// A cell waits for tanh and sigmoid twice a step, so what can be done beside the chain to the result is kept off it: arguments
// whose result is a limit are computed like all others, whatever that gives, and replaced at the end. Of e^-x = 2^n (1 + p) they
// are fractions, taken times t = 2^-n, which rounds nothing and leaves one addition behind p.

// tanh |x| = (1 - e) / (1 + e) with e = e^(-2|x|): never beyond ±1, relative precision at both ends, denormals pass through. The
// denominator has the sign of x.
REKUR_INLINE Vec tanh(Vec x) {
  const Vec y = negative_abs(x), sign = copysign(set1(1.0f), x);
  const Reduced s = reduce_soon(y + y, y, 2.0f);
  const Vec t = inverse_power_of_two(s.n_bits), p = expm1_reduced(s.r);
  const Vec inside = ((t - set1(1.0f)) - p) / fma(p, sign, fma(t, sign, sign));
  return select(y < set1(-10.0f), sign, inside);
}

// 1 / (1 + e^-x) for -88 <= x <= 88 (or NaN), in relative precision as well; 0 where the result would be denormal. What r lacks is
// added to p's first term, and p takes the rest of it times itself: e^(r + d) = 1 + p + d + p d.
REKUR_INLINE Vec sigmoid_within(Vec x) {
  const Reduced s = reduce_soon(-x, x, -1.0f);
  const Vec t = inverse_power_of_two(s.n_bits), one = set1(1.0f);
  if constexpr (kFused) {
    const Vec rest = set1(kRest), p = expm1_reduced(s.r, fma(s.n, rest, s.r));
    return t / fma(p, fma(s.n, rest, one), one + t);
  } else {
    return t / ((one + t) + expm1_reduced(s.r));
  }
}

REKUR_INLINE Vec sigmoid(Vec x) {
  const Vec limit = as_float((as_int(x) >= 0) & as_int(set1(1.0f)));
  return select(abs(x) > set1(88.0f), limit, sigmoid_within(x));
}

// ln(1 + u) for 0 <= u <= 1 (or NaN), in relative precision: 2 atanh(s) with s = u / (2 + u) <= 1/3. Minimax for the relative
// error, 4.5e-9, fitted by Lawson's iteration.
REKUR_INLINE Vec log1p_of_unit(Vec u) {
  const Vec s = u / (set1(2.0f) + u);
  const Vec z = s * s;
  Vec q = set1(0x1.1ed7bep-2f);
  q = fma(q, z, set1(0x1.1ebd0ep-2f));
  q = fma(q, z, set1(0x1.99d208p-2f));
  q = fma(q, z, set1(0x1.555502p-1f));
  return fma(s * z, q, s + s);
}

// ln(1 + e^x), in relative precision at both ends.
REKUR_INLINE Vec softplus(Vec x) { return at_least(x, zero()) + log1p_of_unit(exp(-abs(x))); }

}  // namespace REKUR_SIMD_NAMESPACE
}  // namespace rekur
