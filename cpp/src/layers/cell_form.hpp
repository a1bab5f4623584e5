// What does the steps of a recurrent layer: a compiled cell, or a program.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "layers/layer.hpp"
#include "layers/recurrent_settings.hpp"
#include "recurrent/recurrent.hpp"

namespace rekur::layers {

using Recurrences = std::vector<recurrent::Recurrence>;

struct CellForm {
  std::shared_ptr<const recurrent::Program> program;  // null: a compiled cell
  Recurrences recurrences;                            // one a direction
  bool input_by_block = false;                        // each block of the input's product reads an x of its own
};

// Training has a form of its own where masks are drawn for its steps. Throws Error where the equations do not fit.
CellForm make_form(const RecurrentSettings& settings, std::span<const TensorSpec> inputs, std::size_t directions, bool training);

// As many more of the same form.
Recurrences make_recurrences(const RecurrentSettings& settings, const CellForm& form, Index input_size, std::size_t directions);

}  // namespace rekur::layers
