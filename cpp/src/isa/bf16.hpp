// How this machine multiplies numbers of bf16.
#pragma once

#include "rekur/tensor.hpp"

namespace rekur::isa {

// How the instruction set in use multiplies pairs of them: by an instruction, by two fused multiply-adds, which give the same bits,
// or by AMX (simd/kernels.hpp).
Index bf16_group();

}  // namespace rekur::isa
