// Functions of a vector that nothing but equations asks for: log, log1p, sin, cos, erf, and smaller ones; activations of many
// vectors of which none is waited for. Included by the ISA units and by compiled equations only.
//
// Measured against float64 (tests/test_equations.cpp), on every ISA: log within 1.5 ULP, log1p 2.5, sin and cos 2.5 ULP or 6e-8
// near their zeros, erf 2.5. NaN in, NaN out. What is denormal is taken for zero, as everywhere in the engine.
#pragma once

#include "simd/vec.hpp"

namespace rekur {
namespace {

// NaN where either is; at_most and at_least keep that of their first operand.
REKUR_INLINE Vec minimum(Vec a, Vec b) { return select(b != b, b, at_most(a, b)); }
REKUR_INLINE Vec maximum(Vec a, Vec b) { return select(b != b, b, at_least(a, b)); }
REKUR_INLINE Vec truth(IVec mask) { return as_float(mask & as_int(set1(1.0f))); }

// NaN where there is one.
inline float largest_lane(Vec v) {
  float largest = v[0];
  for (int lane = 1; lane < kWidth; ++lane) largest = v[lane] > largest || v[lane] != v[lane] ? v[lane] : largest;
  return largest;
}

// sigmoid, to the bit, where vectors follow one another and none is waited for. Two bounds in front stand for the limits behind: on
// the way to the result, but fewer operations.
REKUR_INLINE Vec sigmoid_of_many(Vec x) { return sigmoid_within(at_most(at_least(x, set1(-88.0f)), set1(88.0f))); }

// activation<K>, likewise.
template <ActivationKind K>
REKUR_INLINE Vec activation_of_many(const Activation& f, Vec x) {
  if constexpr (K == ActivationKind::sigmoid)
    return sigmoid_of_many(x);
  else
    return activation<K>(f, x);
}

REKUR_INLINE Vec as_numbers(IVec v) { return REKUR_CONVERT_VECTOR(v, Vec); }

// x = 2^k m with 1/√2 <= m < √2, and ln m = 2 atanh(s), s = (m - 1) / (m + 1), by the polynomial of log1p. ln 2 is split: k · high
// is exact.
REKUR_INLINE Vec log(Vec x) {
  constexpr std::int32_t kHalfRoot = 0x3f3504f3;                              // the bits of 1/√2
  const IVec bits = (IVec)((UVec)x - static_cast<std::uint32_t>(kHalfRoot));  // of -0, whose logarithm is chosen below, too
  const Vec k = as_numbers(bits >> 23);
  const Vec u = as_float((bits & 0x007fffff) + kHalfRoot) - set1(1.0f);
  const Vec s = u / (set1(2.0f) + u), z = s * s;
  Vec q = set1(0x1.1ed7bep-2f);
  q = fma(q, z, set1(0x1.1ebd0ep-2f));
  q = fma(q, z, set1(0x1.99d208p-2f));
  q = fma(q, z, set1(0x1.555502p-1f));
  // 2s = u - s u, which loses nothing where u is small.
  const Vec m = fma(s, fma(z, q, -u), fma(k, set1(-2.12194440e-4f), u));
  const Vec y = fma(k, set1(0.693359375f), m);
  const Vec infinity = set1(REKUR_INFINITY);
  Vec out = select(x < infinity, y, x);  // infinity and NaN are their own
  out = select(x < zero(), set1(REKUR_NAN), out);
  return select(abs(x) < set1(REKUR_FLOAT_MIN), -infinity, out);
}

// ln(1 + x): what rounding took from 1 + x is added to the first order.
REKUR_INLINE Vec log1p(Vec x) {
  const Vec u = set1(1.0f) + x;
  const Vec y = log(u) + (x - (u - set1(1.0f))) / u;
  return select((u == zero()) | (u == set1(REKUR_INFINITY)), log(u), y);
}

// x - n π/2 for the nearest whole n, whose last two bits come too. Four parts of π/2, the first three of nine bits so that their
// products are exact without a fused multiply-add, too, are enough up to kFar; beyond it each number
// goes through double precision's own sine.
inline constexpr float kFar = 32768.0f;

struct Quadrant {
  Vec r;
  IVec n;
};

REKUR_INLINE Quadrant quadrant(Vec x) {
  const Vec shifted = fma(x, set1(0x1.45f306p-1f), set1(12582912.0f));  // 1.5 · 2^23 rounds to a whole number
  const Vec n = shifted - set1(12582912.0f);
  Vec r = fma(n, set1(-0x1.92p+0f), x);
  r = fma(n, set1(-0x1.fbp-12f), r);
  r = fma(n, set1(-0x1.51p-22f), r);
  return {fma(n, set1(-0x1.0b4612p-34f), r), as_int(shifted)};
}

REKUR_INLINE Vec sine_inside(Vec r) {
  const Vec z = r * r;
  const Vec p = fma(fma(fma(set1(0x1.6cb824p-19f), z, set1(-0x1.a00f12p-13f)), z, set1(0x1.111108p-7f)), z, set1(-0x1.555556p-3f));
  return fma(r * z, p, r);
}

REKUR_INLINE Vec cosine_inside(Vec r) {
  const Vec z = r * r;
  const Vec q = fma(fma(fma(set1(-0x1.2417f8p-22f), z, set1(0x1.a010c6p-16f)), z, set1(-0x1.6c16b8p-10f)), z, set1(0x1.555556p-5f));
  return fma(z * z, q, fma(z, set1(-0.5f), set1(1.0f)));
}

// sin(x + ahead π/2)
REKUR_INLINE Vec sine(Vec x, std::int32_t ahead) {
  const Quadrant q = quadrant(x);
  const IVec n = q.n + ahead;
  const Vec y = select((n & 1) == 0, sine_inside(q.r), cosine_inside(q.r));
  return flip(y, (n & 2) << 30);
}

inline Vec far_sine(Vec x, Vec y, std::int32_t ahead) {
  for (int i = 0; i < kWidth; ++i)
    if (!(REKUR_ABS(x[i]) <= kFar))
      y[i] = static_cast<float>(ahead ? REKUR_COS(static_cast<double>(x[i])) : REKUR_SIN(static_cast<double>(x[i])));
  return y;
}

REKUR_INLINE bool any(IVec mask) {
  std::int32_t found = 0;
  for (int i = 0; i < kWidth; ++i) found |= mask[i];
  return found != 0;
}

REKUR_INLINE Vec sin(Vec x) {
  const Vec y = sine(x, 0);
  return REKUR_EXPECT(any(~(abs(x) <= set1(kFar))), 0) ? far_sine(x, y, 0) : select(x == zero(), x, y);  // -0 stays
}

REKUR_INLINE Vec cos(Vec x) {
  const Vec y = sine(x, 1);
  return REKUR_EXPECT(any(~(abs(x) <= set1(kFar))), 0) ? far_sine(x, y, 1) : y;
}

// x + x P(x²) up to 1, and 1 - e^Q(x) beyond, where Q approximates ln erfc. Both minimax, fitted by Lawson's iteration.
REKUR_INLINE Vec erf(Vec x) {
  const Vec z = x * x, t = at_most(abs(x), set1(4.0f));
  Vec p = set1(-0x1.4383fp-17f);
  p = fma(p, z, set1(0x1.d82688p-14f));
  p = fma(p, z, set1(-0x1.bcbe98p-11f));
  p = fma(p, z, set1(0x1.5628eep-8f));
  p = fma(p, z, set1(-0x1.b829a8p-6f));
  p = fma(p, z, set1(0x1.ce2f08p-4f));
  p = fma(p, z, set1(-0x1.812746p-2f));
  p = fma(p, z, set1(0x1.06eba8p-3f));
  Vec q = set1(-0x1.5d71dap-16f);
  q = fma(q, t, set1(0x1.c45912p-12f));
  q = fma(q, t, set1(-0x1.10625p-8f));
  q = fma(q, t, set1(0x1.9aebbp-6f));
  q = fma(q, t, set1(-0x1.bb4548p-4f));
  q = fma(q, t, set1(-0x1.444d1ep-1f));
  q = fma(q, t, set1(-0x1.212626p+0f));
  q = fma(q, t, set1(0x1.62d8acp-13f));
  return select(z <= set1(1.0f), fma(x, p, x), copysign(set1(1.0f) - exp(q), x));
}

}  // namespace
}  // namespace rekur
