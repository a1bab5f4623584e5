// Products of eight bits: where they are worth it, and how this machine takes them.
#pragma once

#include "rekur/detail/int8_scale.hpp"
#include "rekur/tensor.hpp"
#include "runtime/locks.hpp"

namespace rekur::isa {

// detail::takes_int8, where there are products of eight bits.
inline constexpr bool takes_int8(Index K, Index N) { return REKUR_INT8 && detail::takes_int8(K, N); }

#if REKUR_INT8

// Numbers of a row that an instruction multiplies by those of a column: 8 where the processor has one that takes two rows and two
// columns (64-bit ARM's smmla), 4 where it has one for that, else 2; with AMX kAmx besides. Panels are packed by it.
Index int8_group();

// For tests: it is no more than this. To be followed by set_isa, since packed weights remember.
extern runtime::Atomic<Index> most_together;

#else

inline Index int8_group() { return 0; }

#endif

}  // namespace rekur::isa
