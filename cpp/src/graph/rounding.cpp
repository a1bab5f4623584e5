#include "graph/rounding.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "io/json.hpp"
#include "io/text.hpp"
#include "rekur/detail/half.hpp"
#include "simd/pack.hpp"

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

const char* name_of(WeightType type) {
  static constexpr const char* names[] = {"float32", "bf16", "fp16", "int8"};
  return names[static_cast<std::size_t>(type)];
}

bool takes(WeightType type, const ParameterInfo& parameter) { return type == WeightType::int8 ? parameter.int8 : parameter.matrix; }

void expect_any(WeightType type, [[maybe_unused]] const std::vector<ParameterInfo>& parameters) {
#if !REKUR_INT8
  if (type == WeightType::int8) throw_error("model: this rekur was built without products of eight bits (REKUR_INT8=OFF)");
#else
  const bool any = std::any_of(parameters.begin(), parameters.end(), [](const ParameterInfo& info) { return info.int8; });
  if (type == WeightType::int8 && !any)
    throw_error(
        "model: no matrix of it is of eight bits: no layer has the precision int8, or what has is small (docs/precision.md)");
#endif
}

std::vector<std::uint16_t> halves(WeightType type, std::span<const float> weights, std::string_view name) {
  std::vector<std::uint16_t> result(weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    result[i] = half(type, weights[i]);
    check(type, weights[i], result[i], i, name);
  }
  return result;
}

void round_weights(WeightType type, std::span<float> weights, const ParameterInfo& parameter) {
  if (type == WeightType::float32) return;
#if REKUR_INT8
  if (type == WeightType::int8) {
    const Int8Matrix matrix = int8_matrix(weights, parameter);
    return widen(matrix.numbers, matrix.scales, parameter.name, weights.data());
  }
#endif
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::uint16_t rounded = half(type, weights[i]);
    check(type, weights[i], rounded, i, parameter.name);
    weights[i] = widened(type, rounded);
  }
}

#if REKUR_INT8
Int8Matrix int8_matrix(std::span<const float> weights, const ParameterInfo& parameter) {
  for (std::size_t i = 0; i < weights.size(); ++i)
    if (!(std::abs(weights[i]) <= 3.4e38f))  // of a larger one the multiple may be infinite
      throw_error("weight '%': element % is %, which eight bits do not have",
                  {parameter.name, i, json::describe(json::Value(static_cast<double>(weights[i])))});
  const Index N = columns_of(parameter.shape), K = static_cast<Index>(weights.size()) / std::max<Index>(N, 1);
  Int8Matrix result;
  result.scales.resize(static_cast<std::size_t>(N));
  for (Index n = 0; n < N; n += simd::kInt8Columns)
    simd::int8_scales(K, std::min(simd::kInt8Columns, N - n), weights.data() + n, N, result.scales.data() + n);
  for (std::size_t i = 0; i < weights.size(); ++i)
    result.numbers.push_back(static_cast<std::int8_t>(simd::int8_of(weights[i], result.scales[i % result.scales.size()])));
  return result;
}

void widen(std::span<const std::int8_t> numbers, std::span<const float> scales, std::string_view name, float* to) {
  for (std::size_t n = 0; n < scales.size(); ++n)
    if (!(scales[n] >= 0 && scales[n] <= std::numeric_limits<float>::max() / 127))
      throw_error("parameter '%': scale %: expected a number of 0 to 2.67e36, got %",
                  {name, n, json::describe(json::Value(static_cast<double>(scales[n])))});
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (numbers[i] == -128) throw_error("parameter '%': integer % is -128, not one of -127 to 127", {name, i});
    to[i] = static_cast<float>(numbers[i]) * scales[i % scales.size()];
  }
}
#endif

}  // namespace rekur::graph
