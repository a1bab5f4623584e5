// Equations carried out over all rows of a call, which threads share.
#pragma once

#include "equations/code.hpp"

namespace rekur::layers {

// As Code::run_rows, on several threads where that is worth it: each has memory of its own, and a border between them changes no
// bit.
void carry_out(const equations::Code& code, const float* const* inputs, float* const* outputs, Index rows, Index features);

}  // namespace rekur::layers
