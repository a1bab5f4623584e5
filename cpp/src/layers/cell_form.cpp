#include "layers/cell_form.hpp"

#include "layers/cell_masks.hpp"
#include "layers/cell_rewriting.hpp"
#include "layers/compiled_programs.hpp"

namespace rekur::layers {

CellForm make_form(const RecurrentSettings& s, std::span<const TensorSpec> inputs, std::size_t directions, bool training) {
  CellForm form;
#if REKUR_EQUATIONS
  const Form kind = training ? Form::training : Form::inference;
  if (s.program || s.projection_size > 0 || rewrites(s.options, kind)) {
    std::vector<bool> by_row;
    for (std::size_t i = 1; i <= s.step_inputs; ++i) by_row.push_back(features_of(inputs[i].shape) == 1 && s.units != 1);
    if (s.reads_x) by_row.push_back(false);
    try {
      recurrent::CellProgram cell = s.program ? *s.program : program_of(*s.cell, s.activations);
      if (rewrites(s.options, kind)) cell = rewritten(cell, s.options, kind, s.use_bias, s.output_reads);
      cell.projects = s.projection_size > 0;
      form.program = std::make_shared<const recurrent::Program>(cell, by_row);
    } catch (const Error& error) {
      throw_error("%%", {s.projection_size > 0 ? "projection_size: " : "", error.what()});
    }
  }
#endif
  form.input_by_block = training && CellMasks(s).x_copies() > 1;
  form.recurrences = make_recurrences(s, form, features_of(inputs[0].shape), directions);
  return form;
}

Recurrences make_recurrences(const RecurrentSettings& s, [[maybe_unused]] const CellForm& form, Index input_size,
                             std::size_t directions) {
  Recurrences made;
  for (std::size_t d = 0; d < directions; ++d) {
#if REKUR_EQUATIONS
    if (form.program) {
      made.emplace_back(form.program, input_size, s.units, s.state_width(0), s.use_bias && !s.options.normalize_sums,
                        form.input_by_block);
      made.back().set_precision(s.precision);
      continue;
    }
#endif
    made.emplace_back(*s.cell, s.activations, input_size, s.units, s.use_bias);
    made.back().set_precision(s.precision);
  }
  return made;
}

}  // namespace rekur::layers
