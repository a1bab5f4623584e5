// Products of eight bits: where they are worth it, and how this machine takes them.
#pragma once

#include <atomic>

#include "rekur/tensor.hpp"

namespace rekur::isa {

// Whether a product of rows of K with K x N weights is of eight bits in a layer whose precision that is. Small ones stay float32:
// to make integers of a row takes longer than they save. So do sums of so many that they could overflow.
inline constexpr bool takes_int8(Index K, Index N) { return REKUR_INT8 && K >= 16 && K <= 65536 && N >= (4096 + K - 1) / K; }

#if REKUR_INT8

// Numbers of a lane that an instruction multiplies and adds: 4 where the instruction set in use has one for it, else 2. Panels are
// packed by it.
Index int8_group();

// For tests: false, and it is 2. To be followed by set_isa, since packed weights remember.
extern std::atomic<bool> four_together;

#else

inline Index int8_group() { return 0; }

#endif

}  // namespace rekur::isa
