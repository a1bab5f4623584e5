#include "layers/cell_masks.hpp"

#include "layers/masks.hpp"

namespace rekur::layers {

Index CellMasks::x_copies() const {
  return drops_input() && s_->options.recurrent_dropout > 0 && s_->cell != nullptr ? s_->kernel_blocks : 1;
}

void CellMasks::point(const Context& run, const Places& at, recurrent::Forward& f) const {
  const Index width = run.input_specs[0].shape[2] * x_copies();
  if (drops_input()) f.x = {run.tape + at.masked_x, f.T * width, width};
  if (s_->options.recurrent_dropout > 0) f.masks[0] = {run.tape + at.recurrent, recurrent_width(), 0};
  for (std::size_t k = 0; k < s_->states.size(); ++k)
    if (zoneout(k) > 0) f.masks[1 + k] = {run.tape + at.zoneout[k], f.T * s_->units, s_->units};
}

#if REKUR_TRAINING

void CellMasks::draw(const Context& run, const Places& at, std::size_t direction) const {
  const Shape& x = run.input_specs[0].shape;
  const CellOptions& o = s_->options;
  if (drops_input()) {
    float* const mask = run.tape + at.x;
    draw_mask(run, purpose(direction, 0), o.dropout, mask, x[0] * x_copies() * x[2]);
    multiply_sequence(run.input(0), mask, run.tape + at.masked_x, x[0], x[1], x[2], x_copies());
  }
  if (o.recurrent_dropout > 0)
    draw_mask(run, purpose(direction, 1), o.recurrent_dropout, run.tape + at.recurrent, x[0] * recurrent_width());
  for (std::size_t k = 0; k < s_->states.size(); ++k)
    if (zoneout(k) > 0)
      draw_step_mask(run, purpose(direction, 2 + static_cast<std::uint32_t>(k)), zoneout(k), run.tape + at.zoneout[k],
                     x[0] * x[1] * s_->units);
}

void CellMasks::add_input_gradient(const Context& run, const Places& at, const float* d_seen) const {
  const Shape& x = run.input_specs[0].shape;
  add_masked_sequence(d_seen, run.tape + at.x, run.d_inputs[0], x[0], x[1], x[2], x_copies());
}

#endif

}  // namespace rekur::layers
