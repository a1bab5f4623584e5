// How this machine multiplies numbers of bf16.
#pragma once

#include "rekur/tensor.hpp"

namespace rekur::isa {

// Whether the instruction set in use has an instruction for pairs of them; else two fused multiply-adds give the same bits.
bool has_bf16_instruction();

// What kernels/steps.hpp asks for.
inline Index bf16_group() { return has_bf16_instruction() ? 2 : 1; }

}  // namespace rekur::isa
