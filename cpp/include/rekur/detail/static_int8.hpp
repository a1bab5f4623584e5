// Products of eight bits for layers of sizes known to the compiler: static.hpp's and those that are written out. Rows are rounded
// as int8.hpp has it and simd/int8.hpp says; weights go in groups of four rows, the four numbers of a column side by side, so that
// a vector holds a group of as many columns as it has lanes, whatever the instruction set. Sums are of integers and exact.
namespace rekur {
namespace REKUR_SIMD_NAMESPACE {

// The four numbers of a row's group, and each lane of `sums` with what they are multiplied by those of a group of weights.
struct Int8Dots {
#if REKUR_STATIC_DOT && defined(__AVX2__)
  // q as it is.
  static constexpr bool kCentred = false;
  static constexpr std::int32_t kLess = 0;
  using Number = std::uint8_t;
  using Group = IVec;
  REKUR_INLINE static Group group(const Number* p) { return broadcast(p); }
  REKUR_INLINE static IVec add(IVec sums, Group row, IVec weights) {
#if REKUR_VEC_BYTES == 64
    return (IVec)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)row, (__m512i)weights);
#elif defined(__AVX512VNNI__) && REKUR_VEC_BYTES == 32
    return (IVec)_mm256_dpbusd_epi32((__m256i)sums, (__m256i)row, (__m256i)weights);
#elif defined(__AVX512VNNI__)
    return (IVec)_mm_dpbusd_epi32((__m128i)sums, (__m128i)row, (__m128i)weights);
#elif REKUR_VEC_BYTES == 32
    return (IVec)_mm256_dpbusd_avx_epi32((__m256i)sums, (__m256i)row, (__m256i)weights);
#else
    return (IVec)_mm_dpbusd_avx_epi32((__m128i)sums, (__m128i)row, (__m128i)weights);
#endif
  }
#elif defined(__ARM_NEON)
  // Less 128, with a sign.
  static constexpr bool kCentred = false;
  static constexpr std::int32_t kLess = 128;
  using Number = std::int8_t;
  using Group = IVec;
  REKUR_INLINE static Group group(const Number* p) { return broadcast(p); }
  REKUR_INLINE static IVec add(IVec sums, Group row, IVec weights) {
    const int8x16_t a = vreinterpretq_s8_s32((int32x4_t)row), b = vreinterpretq_s8_s32((int32x4_t)weights);
#if REKUR_STATIC_DOT
    return (IVec)vdotq_s32((int32x4_t)sums, a, b);
#else
    // Two products of -128 to 127 and -127 to 127 are a number of sixteen bits.
    const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_s8(vget_high_s8(a), vget_high_s8(b));
#if defined(__aarch64__)
    const int16x8_t pairs = vpaddq_s16(low, high);
#else
    const int16x8_t pairs = vcombine_s16(vpadd_s16(vget_low_s16(low), vget_high_s16(low)),  //
                                         vpadd_s16(vget_low_s16(high), vget_high_s16(high)));
#endif
    return (IVec)vpadalq_s16((int32x4_t)sums, pairs);
#endif
  }
#else
  // q - z in sixteen bits: the first and the third number of a group, then the second and the fourth.
  static constexpr bool kCentred = true;
  static constexpr std::int32_t kLess = 0;
  using Number = std::int16_t;
#if (REKUR_VEC_BYTES == 64 && defined(__AVX512BW__)) || REKUR_VEC_BYTES == 32 || (REKUR_VEC_BYTES == 16 && defined(__SSE2__))
  struct Group {
    IVec even, odd;
  };
  REKUR_INLINE static Group group(const Number* p) { return {broadcast(p), broadcast(p + 2)}; }
  REKUR_INLINE static IVec add(IVec sums, Group row, IVec weights) {
#if REKUR_VEC_BYTES == 64
    const __m512i w = (__m512i)weights;
    const __m512i even = _mm512_maskz_srai_epi16((__mmask32)-1, _mm512_maskz_slli_epi16((__mmask32)-1, w, 8), 8);
    const __m512i odd = _mm512_maskz_srai_epi16((__mmask32)-1, w, 8);
    return sums + (IVec)_mm512_maskz_madd_epi16((__mmask16)-1, (__m512i)row.even, even) +
           (IVec)_mm512_maskz_madd_epi16((__mmask16)-1, (__m512i)row.odd, odd);
#elif REKUR_VEC_BYTES == 32
    const __m256i w = (__m256i)weights;
    return sums + (IVec)_mm256_madd_epi16((__m256i)row.even, _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8)) +
           (IVec)_mm256_madd_epi16((__m256i)row.odd, _mm256_srai_epi16(w, 8));
#else
    const __m128i w = (__m128i)weights;
    return sums + (IVec)_mm_madd_epi16((__m128i)row.even, _mm_srai_epi16(_mm_slli_epi16(w, 8), 8)) +
           (IVec)_mm_madd_epi16((__m128i)row.odd, _mm_srai_epi16(w, 8));
#endif
  }
#elif REKUR_STATIC_DOT
  // A microcontroller's two products at once.
  struct Group {
    std::int32_t even, odd;
  };
  REKUR_INLINE static Group group(const Number* p) { return {four_bytes(p), four_bytes(p + 2)}; }
  REKUR_INLINE static IVec add(IVec sums, Group row, IVec weights) {
    for (int lane = 0; lane < kWidth; ++lane) {
      const auto w = static_cast<std::uint32_t>(weights[lane]);
      const std::int32_t first = REKUR_ARM_SMLAD(row.even, REKUR_ARM_SXTB16(static_cast<std::int32_t>(w)), sums[lane]);
      sums[lane] = REKUR_ARM_SMLAD(row.odd, REKUR_ARM_SXTB16(static_cast<std::int32_t>(w >> 8 | w << 24)), first);
    }
    return sums;
  }
#else
  struct Group {
    std::int32_t first, second, third, fourth;
  };
  REKUR_INLINE static Group group(const Number* p) { return {p[0], p[2], p[1], p[3]}; }
  REKUR_INLINE static IVec add(IVec sums, Group row, IVec weights) {
    return sums + (weights << 24 >> 24) * row.first + (weights << 16 >> 24) * row.second + (weights << 8 >> 24) * row.third +
           (weights >> 24) * row.fourth;
  }
#endif
#endif

  // Numbers, of which the lanes of `q` are in order, to where the row has them.
  REKUR_INLINE static void put(Number* to, IVec q) {
    if constexpr (kCentred) {
#if REKUR_VEC_BYTES == 64
      q = REKUR_SHUFFLE(q, q, 0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
#elif REKUR_VEC_BYTES == 32
      q = REKUR_SHUFFLE(q, q, 0, 2, 1, 3, 4, 6, 5, 7);
#else
      q = REKUR_SHUFFLE(q, q, 0, 2, 1, 3);
#endif
    }
    typedef Number Numbers REKUR_VECTOR(kWidth * sizeof(Number));
    const Numbers numbers = REKUR_CONVERT_VECTOR(q, Numbers);
    REKUR_COPY(to, &numbers, sizeof numbers);
  }

 private:
  REKUR_INLINE static std::int32_t four_bytes(const void* p) {
    std::int32_t four;
    REKUR_COPY(&four, p, sizeof four);
    return four;
  }
  REKUR_INLINE static IVec broadcast(const void* p) { return set1i(four_bytes(p)); }
};

constexpr int int8_groups(int K) { return (K + 3) / 4; }

// A row of K numbers, rounded.
template <int K>
struct Int8Row {
  float scale;
  std::int32_t zero;  // what Σ p is multiplied by, so that 0 gives nothing
  alignas(64) Int8Dots::Number numbers[(K + 15) / 16 * 16];

  // x [K]
  explicit Int8Row(const float* x) {
    const RowRounding rounding = row_rounding(K, x);
    const std::int32_t less = Int8Dots::kCentred ? rounding.zero_point : Int8Dots::kLess;
    scale = rounding.scale;
    zero = less - rounding.zero_point;
    const IVec subtracted = set1i(less);
    each_number(rounding, K, x, [&](Index k, IVec q) REKUR_INLINED { Int8Dots::put(numbers + k, q - subtracted); });
  }
};

REKUR_INLINE IVec load_group(const void* p) {
  IVec v;
  REKUR_COPY(&v, p, sizeof v);
  return v;
}

// What NV vectors of sums begin as: place(v) is where the columns of vector v stand among those that `sums` has a number each.
template <int NV, int K, class Place>
REKUR_INLINE void int8_start(const Int8Row<K>& row, const std::int32_t* sums, IVec* acc, const Place& place) {
  REKUR_UNROLL
  for (int v = 0; v < NV; ++v) acc[v] = Int8Dots::kCentred ? IVec{} : load_group(sums + place(v)) * set1i(row.zero);
}

// bias + s t Σ (q - z) p of a vector of columns.
template <int K>
REKUR_INLINE Vec int8_sum(const Int8Row<K>& row, IVec acc, Vec scales, Vec bias) {
  return bias + apart(REKUR_CONVERT_VECTOR(acc, Vec) * (scales * set1(row.scale)));
}

}  // namespace REKUR_SIMD_NAMESPACE
}  // namespace rekur
