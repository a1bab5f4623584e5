// Transposition in blocks of a vector by a vector, in registers. Included by the ISA units only.
#pragma once

#include <utility>

#include "simd/vec.hpp"

namespace rekur {
namespace {

// Exchanges the blocks of S lanes that stand on the wrong side of a pair of rows.
template <int S, int... L>
REKUR_INLINE void exchange(Vec& a, Vec& b, std::integer_sequence<int, L...>) {
  const Vec low = REKUR_SHUFFLE(a, b, ((L & S) ? L - S + kWidth : L)...);
  b = REKUR_SHUFFLE(a, b, ((L & S) ? L + kWidth : L + S)...);
  a = low;
}

// Halves, then quarters, … of the square change places (Eklundh, 1972).
template <int S>
REKUR_INLINE void exchange_all(Vec (&row)[kWidth]) {
  if constexpr (S > 0) {
    REKUR_UNROLL
    for (int i = 0; i < kWidth; ++i)
      if ((i & S) == 0) exchange<S>(row[i], row[i + S], std::make_integer_sequence<int, kWidth>{});
    exchange_all<S / 2>(row);
  }
}

inline void transpose(Index rows, Index columns, const float* from, Index from_stride, float* to, Index to_stride) {
  for (Index r = 0; r < rows; r += kWidth)
    for (Index c = 0; c < columns; c += kWidth) {
      const Index nr = lanes(r, rows), nc = lanes(c, columns);
      const float* source = from + r * from_stride + c;
      float* target = to + c * to_stride + r;
      if (nr < kWidth || nc < kWidth) {
        for (Index i = 0; i < nr; ++i)
          for (Index j = 0; j < nc; ++j) target[j * to_stride + i] = source[i * from_stride + j];
        continue;
      }
      Vec row[kWidth];
      REKUR_UNROLL
      for (int i = 0; i < kWidth; ++i) row[i] = load(source + i * from_stride);
      exchange_all<kWidth / 2>(row);
      REKUR_UNROLL
      for (int i = 0; i < kWidth; ++i) store(target + i * to_stride, row[i]);
    }
}

}  // namespace
}  // namespace rekur
