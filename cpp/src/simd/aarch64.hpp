// Instructions that some processors of 64-bit ARM have and this unit's need not, put together by hand: not every assembler lets a
// unit ask for them in between. Who calls them asks the system first (isa/aarch64.hpp). Included by the ISA units only.
#pragma once

#include "simd/vec.hpp"

#if defined(__aarch64__)

// Numbers of registers by their names.
__asm__(
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
    ".equ .Lrekur_v\\n, \\n\n.endr");

namespace rekur {
namespace {

// What an instruction of two operands that adds to a third makes of them.
template <int Code, class V>
REKUR_INLINE V by_hand(V sums, V a, V b) {
  __asm__(".inst %c3 | .Lrekur_%0 | .Lrekur_%1 << 5 | .Lrekur_%2 << 16" : "+w"(sums) : "w"(a), "w"(b), "i"(Code));
  return sums;
}

// Four numbers of eight bits a lane: their products are added to the lane.
REKUR_INLINE IVec sdot(IVec sums, IVec a, IVec b) { return by_hand<0x4e809400>(sums, a, b); }
// Eight numbers of eight bits in each half: both halves of a times both of b, the first row of products first.
REKUR_INLINE IVec smmla(IVec sums, IVec a, IVec b) { return by_hand<0x4e80a400>(sums, a, b); }
// Lanes' upper and lower halves, of bf16: a fused multiply-add each.
REKUR_INLINE Vec bfmlalt(Vec sums, Vec a, Vec b) { return by_hand<0x6ec0fc00>(sums, a, b); }
REKUR_INLINE Vec bfmlalb(Vec sums, Vec a, Vec b) { return by_hand<0x2ec0fc00>(sums, a, b); }

}  // namespace
}  // namespace rekur

#endif
