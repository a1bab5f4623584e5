// In what a model's matrices are kept.
#pragma once

#include <cstdint>

namespace rekur {

// How the matrices of a model (kernels, recurrent kernels, embeddings) are kept: as they are, rounded to sixteen bits, the upper
// half of a float or IEEE's binary16, or to eight: integers of -127 to 127 times a scale a column. Of sixteen bits arithmetic stays
// float32. Products of eight bits are of integers in layers that say so (docs/spec.md, "precision"). States and all other weights
// are float32.
enum class WeightType : std::uint8_t { float32, bf16, fp16, int8 };

}  // namespace rekur
