// In what a model's matrices are kept.
#pragma once

#include <cstdint>

namespace rekur {

// How the matrices of a model (kernels, recurrent kernels, embeddings) are kept: as they are, or rounded to sixteen bits, the upper
// half of a float or IEEE's binary16. Arithmetic, states and all other weights stay float32.
enum class WeightType : std::uint8_t { float32, bf16, fp16 };

}  // namespace rekur
