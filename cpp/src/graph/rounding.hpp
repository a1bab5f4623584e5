// Weights rounded to a WeightType.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "rekur/model.hpp"

namespace rekur::graph {

// The name that everybody writes: "float32", "bf16", "fp16", "int8".
const char* name_of(WeightType type);

float widened(WeightType type, std::uint16_t half);

// Whether a parameter is one of those that the type is for. Throws Error for int8 where none of a model's is.
bool takes(WeightType type, const ParameterInfo& parameter);
void expect_any(WeightType type, const std::vector<ParameterInfo>& parameters);

// Each becomes the nearest number of the type, in place. Throws Error naming the weight that is finite and has no finite one, or
// for int8 is not finite.
void round_weights(WeightType type, std::span<float> weights, const ParameterInfo& parameter);

// The same as the type's own sixteen bits; only for bf16 and fp16.
std::vector<std::uint16_t> halves(WeightType type, std::span<const float> weights, std::string_view name);

#if REKUR_INT8
// Of eight bits: rows of integers, and a scale for each of their columns.
struct Int8Matrix {
  std::vector<std::int8_t> numbers;
  std::vector<float> scales;
};
Int8Matrix int8_matrix(std::span<const float> weights, const ParameterInfo& parameter);

// The numbers that they stand for. Throws Error naming the parameter where an integer is -128, or a scale is negative or not
// finite.
void widen(std::span<const std::int8_t> numbers, std::span<const float> scales, std::string_view name, float* to);

// Columns of a matrix: the numbers of its last axis.
inline Index columns_of(const Shape& shape) { return shape.empty() ? 1 : shape.back(); }
#endif

}  // namespace rekur::graph
