// A cell's equations with options written into them (cell_options.hpp). What is derived, planned, streamed and exported for any
// cell is so for one with options, too.
#pragma once

#include "layers/cell_options.hpp"
#include "recurrent/program.hpp"

#if REKUR_EQUATIONS

namespace rekur::layers {

// In training masks are inputs of the equations; in inference their expectation stands in their place.
enum class Form : std::uint8_t { inference, training };

// Whether the options change the equations in that form.
bool rewrites(const CellOptions& options, Form form);

// bias: the layer has biases. With normalised sums they are weights a unit of the program, the first ones, since they come after
// the norm: the kernel's blocks, then those of the recurrent kernel where the cell has a recurrent bias. The gains that
// `cell_options.hpp` names follow the cell's own weights.
// output_reads: the state whose new value is normalised where the output reads it; -1: the output itself is.
recurrent::CellProgram rewritten(const recurrent::CellProgram& cell, const CellOptions& options, Form form, bool bias,
                                 int output_reads);

}  // namespace rekur::layers

#endif
