// Random numbers as a pure function of (seed, step, stream, index): Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy
// as 1, 2, 3", SC 2011). There is no state to carry along, so any thread can draw any element. Every function here gives the same
// bits on every machine: nothing of the C library's mathematics is used but the correctly rounded square root.
#pragma once

#include <array>
#include <cstdint>

#include "rekur/tensor.hpp"

namespace rekur::random {

using Words = std::array<std::uint32_t, 4>;
using Four = std::array<double, 4>;

Words philox4x32(Words counter, std::array<std::uint32_t, 2> key) noexcept;

// Draws addressed by an index below 2^34. Layout, shared with the dropout kernels: key = low and high word of the seed; counter =
// (index / 4, stream, low word of step, high word of step); element index takes output word index % 4.
class Stream {
 public:
  static constexpr std::uint64_t kMaxIndex = std::uint64_t{1} << 34;

  Stream(std::uint64_t seed, std::uint64_t step, std::uint32_t stream) noexcept : seed_(seed), step_(step), stream_(stream) {}

  Words block(std::uint64_t index) const noexcept;  // the draws of elements index / 4 * 4 …+ 3
  std::uint32_t bits(std::uint64_t index) const noexcept { return block(index)[index % 4]; }
  // In [0, 1), a multiple of 2^-24: the same number as float and as double.
  double uniform(std::uint64_t index) const noexcept { return uniforms(index)[index % 4]; }
  // Standard normal by Box and Muller from the 32 bits of each of a pair of words; never 0, below 6.8 in magnitude.
  double normal(std::uint64_t index) const noexcept { return normals(index)[index % 4]; }
  // Of elements index / 4 * 4 … + 3, for little more than the price of one.
  Four uniforms(std::uint64_t index) const noexcept;
  Four normals(std::uint64_t index) const noexcept;

 private:
  std::uint64_t seed_, step_;
  std::uint32_t stream_;
};

}  // namespace rekur::random
