#include "graph/rounding.hpp"

#include <bit>
#include <cmath>

#include "io/json.hpp"
#include "io/text.hpp"
#include "rekur/detail/half.hpp"

namespace rekur::graph {
namespace {

std::uint16_t half(WeightType type, float x) { return type == WeightType::bf16 ? detail::bf16_of(x) : detail::fp16_of(x); }

void check(WeightType type, float x, std::uint16_t rounded, std::size_t at, std::string_view name) {
  if (!std::isfinite(x) || std::isfinite(widened(type, rounded))) return;
  throw_error("weight '%': element % is %, and the largest number of % is %",
              {name, at, json::describe(json::Value(static_cast<double>(x))), name_of(type),
               (type == WeightType::bf16 ? "3.3895e38" : "65504; bf16 has the range of float32")});
}

}  // namespace

float widened(WeightType type, std::uint16_t h) {
  return type == WeightType::bf16 ? detail::float_of_bf16(h) : detail::float_of_fp16(h);
}

const char* name_of(WeightType type) { return type == WeightType::bf16 ? "bf16" : type == WeightType::fp16 ? "fp16" : "float32"; }

std::vector<std::uint16_t> halves(WeightType type, std::span<const float> weights, std::string_view name) {
  std::vector<std::uint16_t> result(weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    result[i] = half(type, weights[i]);
    check(type, weights[i], result[i], i, name);
  }
  return result;
}

void round_weights(WeightType type, std::span<float> weights, std::string_view name) {
  if (type == WeightType::float32) return;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::uint16_t rounded = half(type, weights[i]);
    check(type, weights[i], rounded, i, name);
    weights[i] = widened(type, rounded);
  }
}

}  // namespace rekur::graph
