// The whole of a unit of compiled cells: defines rekur::isa::REKUR_COMPILED_TABLE, the functions of compiled_cells.inc for
// REKUR_VEC_BYTES and the unit's flags. Everything else has internal linkage, as in the ISA units (isa/table.hpp).
#pragma once

#include <iterator>

#include "simd/compiled.hpp"
//
#include "isa/compiled_cells.inc"

namespace rekur::isa {
extern constinit const simd::CompiledTable REKUR_COMPILED_TABLE;
constinit const simd::CompiledTable REKUR_COMPILED_TABLE = {simd::kCompiledAbi, REKUR_ISA_NAME,
                                                            static_cast<int>(std::size(kSignatures)), kSignatures, kFunctions};
}  // namespace rekur::isa
