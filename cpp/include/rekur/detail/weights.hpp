// Rows of weights as products read them, a vector at a time: of floats, or of sixteen bits that become floats in a register.
// Included where vec.hpp is and like it.
//
// Rows of sixteen bits go in pairs, in as many bytes as one row of floats. What W::row(p, i) gives is row i of the pair whose
// vector stands at p: of bf16 the lanes of both rows are in turns, so that one load serves both; of fp16 one row's are behind the
// other's.
#if !defined(REKUR_VEC_BYTES) || !defined(REKUR_SIMD_NAMESPACE)
#error "weights.hpp: include rekur/static.hpp, or inside the engine simd/vec.hpp in an ISA unit"
#endif

namespace rekur {
namespace REKUR_SIMD_NAMESPACE {

typedef std::uint16_t Halves REKUR_VECTOR(REKUR_VEC_BYTES / 2);

// A vector of numbers of sixteen bits that stand one after the other.
REKUR_INLINE Vec widen_bf16(const std::uint16_t* p) {
#if REKUR_VEC_BYTES == 64
  const UVec bits = (UVec)_mm512_maskz_cvtepu16_epi32((__mmask16)-1, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif REKUR_VEC_BYTES == 32
  const UVec bits = (UVec)_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
  Halves half;
  REKUR_COPY(&half, p, sizeof half);
  const UVec bits = REKUR_CONVERT_VECTOR(half, UVec);
#endif
  return (Vec)(bits << 16);
}

REKUR_INLINE Vec widen_fp16(const std::uint16_t* p) {
#if REKUR_VEC_BYTES == 64
  return (Vec)_mm512_maskz_cvtph_ps((__mmask16)-1, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif REKUR_VEC_BYTES == 32 && defined(__F16C__)
  return (Vec)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__F16C__)
  return (Vec)_mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#elif defined(__aarch64__)
  float16x4_t half;
  REKUR_COPY(&half, p, sizeof half);
  return (Vec)vcvt_f32_f16(half);
#else
  // Finite ones alone, which is what is kept so. None of it is a denormal, and so none is flushed.
  Halves half;
  REKUR_COPY(&half, p, sizeof half);
  const IVec bits = REKUR_CONVERT_VECTOR(half, IVec), rest = (bits & 0x7FFF) << 13;
  const Vec small = (Vec)(rest + 0x38800000) - set1(0x1p-14f);
  return (Vec)((IVec)select(rest < 0x00800000, small, (Vec)(rest + 0x38000000)) | (bits & 0x8000) << 16);
#endif
}

struct FloatRows {
  static constexpr int kTogether = 1;
  REKUR_INLINE static Vec row(const float* p, int) { return load(p); }
  REKUR_INLINE static Vec add(Vec a, Vec b, Vec sum) { return fma(a, b, sum); }
};

struct Bf16Rows {
  static constexpr int kTogether = 2;
  REKUR_INLINE static Vec row(const float* p, int i) {
    UVec pair;
    REKUR_COPY(&pair, p, sizeof pair);
    return (Vec)(i == 0 ? pair << 16 : pair & 0xFFFF0000u);
  }
  REKUR_INLINE static Vec add(Vec a, Vec b, Vec sum) { return fma(a, b, sum); }
};

struct Fp16Rows {
  static constexpr int kTogether = 2;
  REKUR_INLINE static Vec add(Vec a, Vec b, Vec sum) { return fma(a, b, sum); }
  REKUR_INLINE static Vec row(const float* p, int i) {
    return widen_fp16(reinterpret_cast<const std::uint16_t*>(p) + i * (REKUR_VEC_BYTES / 4));
  }
};

// task(k, where row k's vectors stand, i) for all rows, in ascending order; a row of floats, or a pair of rows, is `stride` floats.
template <class W, class Task>
REKUR_INLINE void each_row(Index K, const float* w, Index stride, const Task& task) {
  Index k = 0;
  for (; k + W::kTogether <= K; k += W::kTogether, w += stride) {
    REKUR_UNROLL
    for (int i = 0; i < W::kTogether; ++i) task(k + i, w, i);
  }
  if constexpr (W::kTogether > 1)
    if (k < K) task(k, w, 0);
}

}  // namespace REKUR_SIMD_NAMESPACE
}  // namespace rekur
