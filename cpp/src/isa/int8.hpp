// Products of eight bits: where they are worth it, and how this machine takes them.
#pragma once

#include <atomic>

#include "rekur/tensor.hpp"

namespace rekur::isa {

// Products of fewer or more summands stay float32: to make integers of a row takes longer than that saves; sums would overflow.
inline constexpr Index kFewestInt8 = 16, kMostInt8 = 65536;
inline constexpr bool takes_int8(Index K) { return REKUR_INT8 && K >= kFewestInt8 && K <= kMostInt8; }

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
