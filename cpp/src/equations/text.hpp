// Equations as C++: a function for their listing, in the words of simd/compiled.hpp, with the interpreter's bits.
#pragma once

#include <string>

#include "equations/listing.hpp"

namespace rekur::equations {

// `inline void name(…)`, a CompiledCode.
std::string function_text(const Listing& listing, const std::string& name);

}  // namespace rekur::equations
