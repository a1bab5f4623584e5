// Which weights are packed in sixteen bits.
#pragma once

#include <initializer_list>
#include <span>

#include "rekur/tensor.hpp"
#include "runtime/locks.hpp"

namespace rekur::isa {

#ifdef REKUR_FLOAT_PANELS

// The compact library: they are widened when they are packed, with the same bits.
inline constexpr bool kHalves = false;
inline WeightType kept_as(Index, std::initializer_list<std::span<const float>>) { return WeightType::float32; }

#else

inline constexpr bool kHalves = true;

// bf16 or fp16 where every one of these numbers is of that type and they, `floats` with what stands around them, are so many that
// half as many bytes pay for being widened; else float32. A model's weights are of such a type where they were rounded to it, and
// no longer when they have been trained on: nobody has to say so.
WeightType kept_as(Index floats, std::initializer_list<std::span<const float>> matrices);

// Bytes that are at hand for the next step: the size of the first-level data cache. For tests: 0, and everything is kept so; or
// more than there can be, and nothing is.
extern runtime::Atomic<Index> bytes_at_hand;

#endif

}  // namespace rekur::isa
