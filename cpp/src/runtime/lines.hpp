// Memory in whole lines of a cache: what begins with one shares it with nothing before, and vectors of any width may be read there.
#pragma once

#include "rekur/tensor.hpp"

namespace rekur {

inline constexpr Index kLineFloats = 16;  // 64 bytes

// How many blocks of a size hold n of something.
constexpr Index block_count(Index n, Index block) { return (n + block - 1) / block; }

// Floats in whole lines.
constexpr Index aligned(Index floats) { return block_count(floats, kLineFloats) * kLineFloats; }

}  // namespace rekur
