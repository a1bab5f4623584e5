// Products of eight bits: where they are worth it, and how this machine takes them.
#pragma once

#include "rekur/detail/int8_scale.hpp"
#include "rekur/tensor.hpp"
#include "runtime/locks.hpp"

namespace rekur::isa {

// detail::takes_int8, where there are products of eight bits.
inline constexpr bool takes_int8(Index K, Index N) { return REKUR_INT8 && detail::takes_int8(K, N); }

#if REKUR_INT8

// Numbers of a lane that an instruction multiplies and adds: 4 where the instruction set in use has one for it, else 2; with AMX
// kAmx besides. Panels are packed by it.
Index int8_group();

// For tests: false, and it is 2. To be followed by set_isa, since packed weights remember.
extern runtime::Atomic<bool> four_together;

#else

inline Index int8_group() { return 0; }

#endif

}  // namespace rekur::isa
