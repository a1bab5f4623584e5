// Draws labels from logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "rekur/decode.hpp"

namespace rekur::sequence {

// Throws Error naming what is out of range.
void check_sampling(const Sampling& sampling);
bool is_sampling(const Sampling& sampling) noexcept;

// What drawing wants in memory, of so many classes. For one thread at a time.
class Sampler {
 public:
  explicit Sampler(Index classes);

  // Of a row's logits, which are overwritten. history: labels that there are already. -1 where a logit is NaN, or all are -inf.
  std::int32_t choose(std::span<float> logits, const Sampling& s, std::span<const std::int32_t> history, std::uint64_t row,
                      std::uint64_t number) noexcept;

  // Of the greatest logits alone, in descending order, which are all that top_k asks for; no history.
  std::int32_t choose_ranked(std::span<const float> values, std::span<const std::int32_t> places, const Sampling& s,
                             std::uint64_t row, std::uint64_t number) noexcept;

 private:
  // The first of `count` weights, as they stand in weights_, whose sum with those before it exceeds u · all of it.
  Index draw(Index count, double u) const noexcept;
  // Of ranked logits divided by the temperature: which is drawn. total: Σ e^(z - z[0]) of all that top_p counts, or 0: of these.
  Index nucleus(const float* z, Index count, double total, const Sampling& s, double u) noexcept;

  std::vector<std::int32_t> order_;
  std::vector<float> values_;
  std::vector<double> weights_;
  std::vector<std::uint8_t> seen_;
};

}  // namespace rekur::sequence
