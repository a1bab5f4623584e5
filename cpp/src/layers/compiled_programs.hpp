// The compiled cells once more, as programs: what options rewrite (cell_rewriting.hpp).
#pragma once

#include "recurrent/program.hpp"
#include "rekur/detail/cells/cell_info.hpp"

#if REKUR_EQUATIONS

namespace rekur::layers {

// Its parameters are the compiled cell's, and its outputs too, to the bit: the operations are those of
// rekur/detail/cells/, in their order.
recurrent::CellProgram program_of(const cells::CellInfo& cell, const cells::Activations& functions);

}  // namespace rekur::layers

#endif
