#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "runtime/random.hpp"

using rekur::random::philox4x32;
using rekur::random::Stream;
using rekur::random::Words;

TEST_CASE("random: Philox4x32-10 gives the published test vectors") {
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("random: a stream is addressed as documented") {
  const Stream stream(0x1122334455667788u, 0x99aabbccddeeff00u, 7);
  const Words expected = philox4x32({5, 7, 0xddeeff00, 0x99aabbcc}, {0x55667788, 0x11223344});
  for (std::uint64_t i = 0; i < 4; ++i) {
    CHECK(stream.bits(20 + i) == expected[i]);
    CHECK(stream.uniform(20 + i) == (expected[i] >> 8) / 16777216.0);
    CHECK(static_cast<double>(static_cast<float>(stream.uniform(20 + i))) == stream.uniform(20 + i));
  }
}

TEST_CASE("random: normals follow Box and Muller to the last bits") {
  const Stream stream(3, 1, 4);
  double worst = 0;
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const Words words = stream.block(i);
    const std::size_t pair = i % 4 / 2 * 2;
    const long double u = (words[pair] + 0.5L) / 4294967296.0L, v = (words[pair + 1] + 0.5L) / 4294967296.0L;
    const long double angle = 6.283185307179586476925286766559L * v;
    const long double expected = std::sqrt(-2 * std::log(u)) * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
    worst = std::max(worst, static_cast<double>(std::abs(expected - static_cast<long double>(stream.normal(i)))));
  }
  CHECK(worst < 4e-15);
}

TEST_CASE("random: moments and independence of draws") {
  const std::uint64_t n = 400000;
  for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}}) {
    const Stream stream(seed, 0, 0), next(seed, 0, 1);
    double mean = 0, square = 0, cube = 0, fourth = 0, uniform = 0, uniform_square = 0, neighbours = 0, streams = 0;
    double previous = 0;
    for (std::uint64_t i = 0; i < n; ++i) {
      const double z = stream.normal(i), u = stream.uniform(i) - 0.5;
      mean += z, square += z * z, cube += z * z * z, fourth += z * z * z * z;
      uniform += u, uniform_square += u * u;
      neighbours += z * previous, streams += z * next.normal(i);
      previous = z;
    }
    const double tolerance = 5 / std::sqrt(static_cast<double>(n));  // five standard errors of a mean of unit variance
    CHECK(std::abs(mean / n) < tolerance);
    CHECK(std::abs(square / n - 1) < tolerance * std::sqrt(2.0));
    CHECK(std::abs(cube / n) < tolerance * std::sqrt(15.0));
    CHECK(std::abs(fourth / n - 3) < tolerance * std::sqrt(96.0));
    CHECK(std::abs(uniform / n) < tolerance * std::sqrt(1 / 12.0));
    CHECK(std::abs(uniform_square / n - 1 / 12.0) < tolerance * std::sqrt(1 / 180.0));
    CHECK(std::abs(neighbours / n) < tolerance);
    CHECK(std::abs(streams / n) < tolerance);
  }
}
