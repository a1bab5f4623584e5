#include "sequence/sampler.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "io/text.hpp"
#include "isa/dispatch.hpp"
#include "runtime/random.hpp"

namespace rekur::sequence {
namespace {

// A label's uniform number in [0, 1): row and number as `step` and `index` of the generator.
double uniform(const Sampling& s, std::uint64_t row, std::uint64_t number) noexcept {
  constexpr std::uint32_t kStream = 0x6c61626c;  // apart from what layers draw
  return random::Stream(s.seed, row, kStream).uniform(number % random::Stream::kMaxIndex);
}

}  // namespace

bool is_sampling(const Sampling& s) noexcept {
  return std::isfinite(s.temperature) && s.temperature >= 0 && s.top_k >= 0 && s.top_p > 0 && s.top_p <= 1 &&
         std::isfinite(s.repetition_penalty) && s.repetition_penalty > 0;
}

void check_sampling(const Sampling& s) {
  if (!(std::isfinite(s.temperature) && s.temperature >= 0))
    throw_error("decode: temperature must be finite and at least 0, got %", {std::to_string(s.temperature)});
  if (s.top_k < 0) throw_error("decode: top_k must be at least 0, got %", {s.top_k});
  if (!(s.top_p > 0 && s.top_p <= 1)) throw_error("decode: top_p must be above 0 and at most 1, got %", {std::to_string(s.top_p)});
  if (!(std::isfinite(s.repetition_penalty) && s.repetition_penalty > 0))
    throw_error("decode: repetition_penalty must be finite and above 0, got %", {std::to_string(s.repetition_penalty)});
}

Sampler::Sampler(Index classes)
    : order_(static_cast<std::size_t>(classes)),
      values_(static_cast<std::size_t>(classes)),
      weights_(static_cast<std::size_t>(classes)),
      seen_(static_cast<std::size_t>(classes)) {}

Index Sampler::draw(Index count, double u) const noexcept {
  double total = 0;
  for (Index i = 0; i < count; ++i) total += weights_[static_cast<std::size_t>(i)];
  const double goal = u * total;
  double sum = 0;
  Index last = 0;
  for (Index i = 0; i < count; ++i) {
    const double weight = weights_[static_cast<std::size_t>(i)];
    if (weight <= 0) continue;
    last = i;
    sum += weight;
    if (sum > goal) break;
  }
  return last;
}

Index Sampler::nucleus(const float* z, Index count, double total, const Sampling& s, double u) noexcept {
  double own = 0;
  for (Index i = 0; i < count; ++i) own += weights_[static_cast<std::size_t>(i)] = std::exp(static_cast<double>(z[i]) - z[0]);
  if (total == 0) total = own;
  double sum = 0;
  Index kept = 0;
  while (kept < count && (kept == 0 || sum < static_cast<double>(s.top_p) * total))
    sum += weights_[static_cast<std::size_t>(kept++)];
  return draw(s.top_p < 1 ? kept : count, u);
}

std::int32_t Sampler::choose_ranked(std::span<const float> values, std::span<const std::int32_t> places, const Sampling& s,
                                    std::uint64_t row, std::uint64_t number) noexcept {
  if (places.empty() || values[0] == -INFINITY) return -1;
  if (s.temperature == 0) return places[0];
  if (!std::isfinite(values[0])) return places[0];
  for (std::size_t i = 0; i < values.size(); ++i) values_[i] = (values[i] - values[0]) / s.temperature;
  const Index i = nucleus(values_.data(), static_cast<Index>(values.size()), 0, s, uniform(s, row, number));
  return places[static_cast<std::size_t>(i)];
}

std::int32_t Sampler::choose(std::span<float> logits, const Sampling& s, std::span<const std::int32_t> history, std::uint64_t row,
                             std::uint64_t number) noexcept {
  const auto V = static_cast<Index>(logits.size());
  if (s.repetition_penalty != 1) {
    for (const std::int32_t label : history) {
      const auto l = static_cast<std::size_t>(label);
      if (seen_[l] != 0) continue;
      seen_[l] = 1;
      logits[l] = logits[l] > 0 ? logits[l] / s.repetition_penalty : logits[l] * s.repetition_penalty;
    }
    for (const std::int32_t label : history) seen_[static_cast<std::size_t>(label)] = 0;
  }
  float best;
  std::int32_t place = -1;
  simd::RankedRow ranked{1, &best, &place};
  isa::kernels().rank(logits.data(), V, 0, ranked);
  if (ranked.filled == 0 || best == -INFINITY || std::isnan(ranked.sum)) return -1;
  if (s.temperature == 0 || !std::isfinite(best)) return place;
  // The greatest is 0 then, so that none overflows however low the temperature is.
  for (float& z : logits) z = (z - best) / s.temperature;
  const double u = uniform(s, row, number);
  if (s.top_k == 0 && s.top_p == 1) {
    isa::kernels().softmax(logits.data(), logits.data(), 1, V);
    std::copy(logits.begin(), logits.end(), weights_.begin());
    return static_cast<std::int32_t>(draw(V, u));
  }
  std::iota(order_.begin(), order_.end(), 0);
  const auto before = [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  };
  double total = 0;  // of all, where top_p counts them
  if (s.top_k == 0) {
    simd::RankedRow scaled{1, &best, &place};
    isa::kernels().rank(logits.data(), V, 0, scaled);
    total = scaled.sum;
  }
  const Index most = s.top_k > 0 ? std::min(s.top_k, V) : V;
  // Few labels make up most of what a network expects: more are put in order only where they are asked for.
  for (Index count = std::min<Index>(most, 64);; count = std::min(most, 8 * count)) {
    std::partial_sort(order_.begin(), order_.begin() + count, order_.end(), before);
    double sum = 0;
    for (Index i = 0; i < count; ++i) {
      values_[static_cast<std::size_t>(i)] = logits[static_cast<std::size_t>(order_[static_cast<std::size_t>(i)])];
      sum += std::exp(static_cast<double>(values_[static_cast<std::size_t>(i)]));
    }
    if (count < most && (s.top_k > 0 || sum < static_cast<double>(s.top_p) * total)) continue;
    const Index i = nucleus(values_.data(), count, total, s, u);
    return order_[static_cast<std::size_t>(i)];
  }
}

}  // namespace rekur::sequence
