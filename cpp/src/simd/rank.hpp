// The greatest numbers of a row that comes in pieces, and ln Σ e^x of it all. Included by the ISA units only.
#pragma once

#include "simd/pointwise.hpp"

namespace rekur {
namespace {

// Into what is there, which descends: in front of it none that is as great. A NaN is none of them.
inline void insert_ranked(float value, std::int32_t place, simd::RankedRow& row) {
  Index i = row.filled < row.count ? row.filled++ : row.count - 1;
  for (; i > 0 && row.values[i - 1] < value; --i) {
    row.values[i] = row.values[i - 1];
    row.places[i] = row.places[i - 1];
  }
  row.values[i] = value;
  row.places[i] = place;
}

// Whether a lane is above the bound.
REKUR_INLINE bool any_above(Vec v, Vec bound) {
#if REKUR_VEC_BYTES == 64
  return _mm512_cmp_ps_mask((__m512)v, (__m512)bound, _CMP_GT_OQ) != 0;
#elif REKUR_VEC_BYTES == 32
  return _mm256_movemask_ps((__m256)(v > bound)) != 0;
#else
  const IVec above = v > bound;
  std::int32_t any = 0;
  for (int lane = 0; lane < kWidth; ++lane) any |= above[lane];
  return any != 0;
#endif
}

inline void rank(const float* x, Index n, Index first, simd::RankedRow& row) {
  constexpr Index kBlock = 64;  // few blocks have a number that counts
  const Vec lowest = set1(-REKUR_INFINITY);
  Vec most = lowest;
  for (Index i0 = 0; i0 < n; i0 += kBlock) {
    const Index end = i0 + kBlock < n ? i0 + kBlock : n;
    Vec best = lowest;
    Index i = i0;
    for (; i + kWidth <= end; i += kWidth) best = at_least(best, load(x + i));
    if (i < end) best = at_least(best, fill_beyond(load_partial(x + i, end - i), end - i, -REKUR_INFINITY));
    most = at_least(most, best);
    if (row.filled == row.count && !any_above(best, set1(row.values[row.count - 1]))) continue;
    for (i = i0; i < end; ++i)
      if (x[i] == x[i] && (row.filled < row.count || x[i] > row.values[row.count - 1]))
        insert_ranked(x[i], static_cast<std::int32_t>(first + i), row);
  }
  float largest = most[0];
  for (int lane = 1; lane < kWidth; ++lane) largest = most[lane] > largest ? most[lane] : largest;
  if (largest > row.largest) {
    // -inf - -inf would be no number; nothing has been added up then.
    if (row.sum != 0) row.sum *= REKUR_EXP((double)row.largest - (double)largest);
    row.largest = largest;
  }
  const float shift = REKUR_ABS(row.largest) <= REKUR_FLOAT_MAX ? row.largest : 0.0f;
  row.sum += (double)exp_and_sum(x, shift, nullptr, n);
}

}  // namespace
}  // namespace rekur
