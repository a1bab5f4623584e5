// Weights rounded to a WeightType.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "rekur/tensor.hpp"

namespace rekur::graph {

// The name that everybody writes: "float32", "bf16", "fp16".
const char* name_of(WeightType type);

float widened(WeightType type, std::uint16_t half);

// Each becomes the nearest number of the type, in place. Throws Error naming the weight that is finite and has no finite one.
void round_weights(WeightType type, std::span<float> weights, std::string_view name);

// The same as the type's own sixteen bits; not for float32.
std::vector<std::uint16_t> halves(WeightType type, std::span<const float> weights, std::string_view name);

}  // namespace rekur::graph
