// What the text of compiled equations is written in (equations/text.cpp): vectors of a row, whole groups of them first. Included by
// the ISA units of cells that are compiled in, and by what rekur.compile_cells compiles where it runs.
//
// All operations of a vector are done in registers, from loads to stores; several vectors side by side, since one alone would wait
// for its own results. An output may stand where an input does: what is read of a place is read before it is written.
#pragma once

#include "simd/functions.hpp"
#include "simd/instruction.hpp"

namespace rekur {
namespace {

// Vectors of a group that goes through time, where each waits for its own step before.
inline constexpr int kTogether = kRegisters == 32 ? 4 : 2;

// Vectors that go together, all of them whole, or one of which some lanes may be beyond the row.
template <int N, bool Whole>
struct Group {
  static constexpr int count = N;
  static constexpr bool whole = Whole;
};

// f(group, first number, lanes of its last vector) for the vectors of a row, N together.
template <int N, class F>
REKUR_INLINE void each_group(Index features, const F& f) {
  Index j = 0;
  for (; j + N * kWidth <= features; j += N * kWidth) f(Group<N, true>{}, j, Index{kWidth});
  for (; j < features; j += kWidth) f(Group<1, false>{}, j, lanes(j, features));
}

template <class G>
REKUR_INLINE Vec get(G, const float* p, Index n) {
  if constexpr (G::whole)
    return load(p);
  else
    return load_partial(p, n);
}

template <class G>
REKUR_INLINE void put(G, float* p, Vec v, Index n) {
  if constexpr (G::whole)
    store(p, v);
  else
    store_partial(p, v, n);
}

// v where it goes into a reduction of the row.
template <class G>
REKUR_INLINE Vec within(G, Vec v, Index n, float neutral) {
  return G::whole || n == kWidth ? v : fill_beyond(v, n, neutral);
}

// Which of the sixteen sums' vectors vector u of a group that begins at j goes to.
template <class G>
REKUR_INLINE Index sum_of(G, Index j, int u) {
  return (G::count % kSixteen == 0 ? u : j / kWidth + u) % kSixteen;
}

REKUR_INLINE float* row_of(const simd::Operand& operand, Index row, Index j) { return operand.data + row * operand.stride + j; }

template <ActivationKind K>
REKUR_INLINE Vec activated(Vec x, float alpha, float beta) {
  return activation_of_many<K>({K, alpha, beta}, x);
}

template <ActivationKind K>
REKUR_INLINE Vec sloped(Vec y, Vec dy, float alpha, float beta) {
  return dy * activation_slope<K>({K, alpha, beta}, y);
}

}  // namespace
}  // namespace rekur
