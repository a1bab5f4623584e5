// The ISA unit's vector and its functions: rekur/detail/{vec,math,activation}.hpp in the unit's own anonymous namespace.
// Included only by the ISA units (src/isa/isa_*.cpp), which define REKUR_VEC_BYTES.
#pragma once

#ifndef REKUR_VEC_BYTES
#error "simd/vec.hpp is for the ISA units only (they define REKUR_VEC_BYTES)"
#endif

// REKUR_COMPACT (cpp/cmake/size.cmake): what few programs need most is compiled for size.
#ifndef REKUR_COMPACT_KERNELS
#define REKUR_COMPACT_KERNELS 0
#endif

#define REKUR_SIMD_NAMESPACE  // none: `namespace {`
#include "rekur/detail/vec.hpp"
//
#include "rekur/detail/weights.hpp"
//
#include "rekur/detail/math.hpp"
//
#include "rekur/detail/activation.hpp"

namespace rekur {
namespace {

inline constexpr bool kCompact = REKUR_COMPACT_KERNELS;

// Lanes from n on become `fill`.
REKUR_INLINE Vec fill_beyond(Vec v, Index n, float fill) {
  for (Index i = n; i < kWidth; ++i) v[i] = fill;
  return v;
}

// The first of shares of `left` that are at most `most` each, as few as can be, and even at the end: without a division, which
// takes as long as some tiles.
REKUR_INLINE Index even_share(Index left, Index most) { return left >= 2 * most ? most : left > most ? (left + 1) / 2 : left; }

}  // namespace
}  // namespace rekur
