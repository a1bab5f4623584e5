// A number that tells whether floats have changed, at the speed of reading them. Included by the ISA units only.
#pragma once

#include <algorithm>
#include <cstdint>

#include "simd/vec.hpp"

namespace rekur {
namespace {

// Each lane of each vector of a block goes through x -> rotate((state ^ x) · odd): one to one in x, so a single change is always
// seen, and any others but for one case in 2³² a lane. It is not meant against somebody who looks for two of one fingerprint.
inline std::uint64_t fingerprint(const float* x, Index n) {
  using Bits = std::uint32_t REKUR_VECTOR(kWidth * sizeof(float));
  constexpr Index kLanes = 4;  // vectors at a time: a product takes several cycles
  Bits state[kLanes];
  for (Index v = 0; v < kLanes; ++v)
    for (Index i = 0; i < kWidth; ++i) state[v][i] = 0x9E3779B9u * static_cast<std::uint32_t>(v * kWidth + i + 1);
  const auto take = [&](Index v, Vec bits) REKUR_INLINED {
    const Bits mixed = (state[v] ^ (Bits)bits) * 0x9E3779B1u;
    state[v] = mixed << 13 | mixed >> 19;
  };
  Index i = 0;
  for (; i + kLanes * kWidth <= n; i += kLanes * kWidth) {
    REKUR_UNROLL
    for (Index v = 0; v < kLanes; ++v) take(v, load(x + i + v * kWidth));
  }
  for (Index v = 0; i < n; i += kWidth, ++v) take(v, load_partial(x + i, std::min<Index>(n - i, kWidth)));
  std::uint64_t all = static_cast<std::uint64_t>(n);
  for (const Bits& lanes : state)
    for (Index lane = 0; lane < kWidth; ++lane) {
      all = (all ^ lanes[lane]) * 0x9E3779B97F4A7C15u;
      all ^= all >> 32;
    }
  return all;
}

}  // namespace
}  // namespace rekur
