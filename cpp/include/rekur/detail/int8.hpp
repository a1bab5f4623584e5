// Rows of floats that become integers for products of eight bits: the engine's (simd/int8.hpp, which has the arithmetic) and those
// of fixed-size layers (static_int8.hpp). Included after vec.hpp and math.hpp, as often as those are.
namespace rekur {
namespace REKUR_SIMD_NAMESPACE {

// A product that no compiler contracts with what is added to it: the engine is compiled without that, but not who includes
// static.hpp.
template <class T>
REKUR_INLINE T apart(T product) {
#if defined(__AVX512F__)
  __asm__("" : "+v"(product));
#elif defined(__FMA__)
  __asm__("" : "+x"(product));
#elif defined(__ARM_NEON) && defined(__ARM_FEATURE_FMA)
  __asm__("" : "+w"(product));
#elif defined(REKUR_FUSES)
  if constexpr (sizeof(T) == sizeof(float))
    __asm__("" : "+f"(product));
  else {
    std::int32_t nothing = 0;  // no operand can be one of the vectors here
    __asm__("" : "+r"(nothing));
    product = (T)((IVec)product ^ nothing);
  }
#endif
  return product;
}

// The largest lane of each.
struct Largest {
  std::int32_t a, b;
};
REKUR_INLINE Largest largest_of_lanes(IVec a, IVec b) {
  typedef std::int32_t Four REKUR_VECTOR(16);
#if REKUR_VEC_BYTES == 64
  typedef std::int32_t Eight REKUR_VECTOR(32);
  const Eight a8 = REKUR_SHUFFLE(a, a, 0, 1, 2, 3, 4, 5, 6, 7), a9 = REKUR_SHUFFLE(a, a, 8, 9, 10, 11, 12, 13, 14, 15);
  const Eight b8 = REKUR_SHUFFLE(b, b, 0, 1, 2, 3, 4, 5, 6, 7), b9 = REKUR_SHUFFLE(b, b, 8, 9, 10, 11, 12, 13, 14, 15);
  const Eight a_eight = a8 > a9 ? a8 : a9, b_eight = b8 > b9 ? b8 : b9;
#elif REKUR_VEC_BYTES == 32
  const IVec a_eight = a, b_eight = b;
#endif
#if REKUR_VEC_BYTES >= 32
  const Four a4 = REKUR_SHUFFLE(a_eight, a_eight, 0, 1, 2, 3), a5 = REKUR_SHUFFLE(a_eight, a_eight, 4, 5, 6, 7);
  const Four b4 = REKUR_SHUFFLE(b_eight, b_eight, 0, 1, 2, 3), b5 = REKUR_SHUFFLE(b_eight, b_eight, 4, 5, 6, 7);
  const Four a_four = a4 > a5 ? a4 : a5, b_four = b4 > b5 ? b4 : b5;
#else
  const Four a_four = a, b_four = b;
#endif
  // Of both side by side.
  const Four low = REKUR_SHUFFLE(a_four, b_four, 0, 1, 4, 5), high = REKUR_SHUFFLE(a_four, b_four, 2, 3, 6, 7);
  const Four two = low > high ? low : high;
  return {two[0] > two[1] ? two[0] : two[1], two[2] > two[3] ? two[2] : two[3]};
}

// How a row is rounded: x stands for `scale` (q - zero_point), q = min(round(x · inverse) + zero_point, 255).
struct RowRounding {
  float scale, inverse;  // NaN and 0 of a row that is not finite, which gives NaN everywhere
  std::int32_t zero_point;
};

REKUR_INLINE RowRounding row_rounding(Index K, const float* x) {
  // Of numbers above 0 the bits are in the order of the numbers, and those of what is not finite above all.
  IVec high{}, low{};
  const auto see = [&](Vec v) REKUR_INLINED {
    const IVec bits = as_int(v), minus = bits ^ kSignBit;
    high = bits > high ? bits : high;
    low = minus > low ? minus : low;
  };
  Index k = 0;
  for (; k + kWidth <= K; k += kWidth) see(load(x + k));
  if (k < K) see(load_partial(x + k, K - k));
  const Largest ends = largest_of_lanes(high, low);
  float top, bottom;
  REKUR_COPY(&top, &ends.a, sizeof top);
  REKUR_COPY(&bottom, &ends.b, sizeof bottom);
  bottom = -bottom;
  const float range = top - bottom;
  const bool finite = ends.a < 0x7F800000 && ends.b < 0x7F800000 && range <= 3.0e38f;
  const float scale = finite ? range * (1.0f / 255.0f) : REKUR_NAN, inverse = finite && range > 1e-30f ? 255.0f / range : 0.0f;
  // Rounded to an integer, to the nearest even one, in the lowest bits.
  const float shifted = finite ? kRound - apart(bottom * inverse) : kRound;
  std::int32_t zero_point;
  REKUR_COPY(&zero_point, &shifted, sizeof zero_point);
  return {scale, inverse, zero_point - kRoundBits};
}

// put(k, the numbers q of the vector of elements from k on) for all of a row. Behind the last element stand numbers of zeros.
template <class Put>
REKUR_INLINE void each_number(const RowRounding& r, Index K, const float* x, const Put& put) {
  const IVec add = set1i(r.zero_point - kRoundBits), most = set1i(255);
  const auto of = [&](Vec v) REKUR_INLINED {
    const IVec q = as_int(apart(v * r.inverse) + kRound) + add;
    return q > most ? most : q;
  };
  const Index whole = K - K % kWidth;
  for (Index k = 0; k < whole; k += kWidth) put(k, of(load(x + k)));
  if (whole < K) put(whole, of(load_partial(x + whole, K - whole)));
}

}  // namespace REKUR_SIMD_NAMESPACE
}  // namespace rekur
