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

inline void rank(const float* x, Index n, Index first, simd::RankedRow& row) {
  constexpr Index kBlock = 64;  // few blocks have a number that counts
  for (Index i0 = 0; i0 < n; i0 += kBlock) {
    const Index end = i0 + kBlock < n ? i0 + kBlock : n;
    const bool full = row.filled == row.count;
    if (full && row.count > 0 && !(row_maximum(x + i0, end - i0) > row.values[row.count - 1])) continue;
    for (Index i = i0; i < end; ++i)
      if (x[i] == x[i] && (row.filled < row.count || x[i] > row.values[row.count - 1]))
        insert_ranked(x[i], static_cast<std::int32_t>(first + i), row);
  }
  const float largest = row_maximum(x, n);
  if (largest > row.largest) {
    // -inf - -inf would be no number; nothing has been added up then.
    if (row.sum != 0) row.sum *= __builtin_exp((double)row.largest - (double)largest);
    row.largest = largest;
  }
  const float shift = __builtin_fabsf(row.largest) <= __FLT_MAX__ ? row.largest : 0.0f;
  row.sum += (double)exp_and_sum(x, shift, nullptr, n);
}

}  // namespace
}  // namespace rekur
