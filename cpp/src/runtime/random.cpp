#include "runtime/random.hpp"

#include <bit>
#include <cmath>
#include <cstddef>
#include <numbers>

namespace rekur::random {
namespace {

// 1, 1/3, … 1/21: the first term left out of the series of log is below 1e-18 for |s| < 0.1716.
constexpr auto kOddInverses = [] {
  std::array<double, 11> table{};
  for (std::size_t k = 0; k < table.size(); ++k) table[k] = 1.0 / static_cast<double>(2 * k + 1);
  return table;
}();

// log(x) for normal x > 0, to about 2 units in the last place: x = 2^e m with m in [√½, √2), log m = 2 artanh((m-1)/(m+1)).
double log(double x) noexcept {
  auto bits = std::bit_cast<std::uint64_t>(x);
  constexpr std::uint64_t kSqrtHalf = 0x3FE6A09E667F3BCDu;
  const auto exponent = static_cast<std::int64_t>(bits - kSqrtHalf) >> 52;
  bits -= static_cast<std::uint64_t>(exponent) << 52;
  const double m = std::bit_cast<double>(bits);
  const double s = (m - 1) / (m + 1), s2 = s * s;
  double sum = 0;
  for (std::size_t k = kOddInverses.size(); k-- > 0;) sum = sum * s2 + kOddInverses[k];
  return 2 * s * sum + static_cast<double>(exponent) * std::numbers::ln2;
}

// 1/0!, 1/1!, … : Taylor up to x^19, the first term left out is below 1e-20 for |x| < π/4.
constexpr auto kInverseFactorials = [] {
  std::array<double, 20> table{};
  double factorial = 1;  // exact: 19! has 53 significant bits at most
  for (std::size_t k = 0; k < table.size(); ++k) {
    factorial *= k == 0 ? 1.0 : static_cast<double>(k);
    table[k] = 1 / factorial;
  }
  return table;
}();

// sin and cos of the angle (turn + ½) 2^-32 of a full circle.
struct SinCos {
  double sin, cos;
};
SinCos sin_cos(std::uint32_t turn) noexcept {
  // The quadrant is in the top two bits; within it the angle is taken from the quadrant's middle, so |x| < π/4.
  const double x = (static_cast<double>(turn & 0x3FFFFFFFu) + 0.5 - 0x1p29) * (std::numbers::pi * 0x1p-31);
  const double x2 = x * x;
  double sine = 0, cosine = 0;
  for (std::size_t k = kInverseFactorials.size(); k-- > 0;) {
    (k % 2 == 0 ? cosine : sine) = kInverseFactorials[k] - (k % 2 == 0 ? cosine : sine) * x2;
  }
  sine *= x;
  const double s = (sine + cosine) * std::numbers::sqrt2 / 2, c = (cosine - sine) * std::numbers::sqrt2 / 2;  // turned by π/4
  switch (turn >> 30) {
    case 0:
      return {s, c};
    case 1:
      return {c, -s};
    case 2:
      return {-s, -c};
    default:
      return {-c, s};
  }
}

}  // namespace

Words philox4x32(Words counter, std::array<std::uint32_t, 2> key) noexcept {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * counter[0], b = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9u;  // the golden ratio and √3 - 1, as 32-bit fractions
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

Words Stream::block(std::uint64_t index) const noexcept {
  const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
  return philox4x32({low(index / 4), stream_, low(step_), low(step_ >> 32)}, {low(seed_), low(seed_ >> 32)});
}

Four Stream::uniforms(std::uint64_t index) const noexcept {
  const Words words = block(index);
  return {(words[0] >> 8) * 0x1p-24, (words[1] >> 8) * 0x1p-24, (words[2] >> 8) * 0x1p-24, (words[3] >> 8) * 0x1p-24};
}

Four Stream::normals(std::uint64_t index) const noexcept {
  const Words words = block(index);
  Four numbers;
  for (std::size_t pair = 0; pair < 4; pair += 2) {
    const double radius = std::sqrt(-2 * log((words[pair] + 0.5) * 0x1p-32));
    const SinCos angle = sin_cos(words[pair + 1]);
    numbers[pair] = radius * angle.cos;
    numbers[pair + 1] = radius * angle.sin;
  }
  return numbers;
}

}  // namespace rekur::random
