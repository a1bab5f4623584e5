// Forward passes of a recurrent layer, and what a backward pass finds of them.
#include <algorithm>
#include <cstring>

#include "layers/elementwise.hpp"
#include "layers/masks.hpp"
#include "layers/recurrent_layer.hpp"

namespace rekur::layers {

void RecurrentLayer::prepare(const float* weights, std::uint64_t version, bool training) const {
  if (masks_kernel(training)) return;  // each run packs what it has masked
  for (std::size_t d = 0; d < D_; ++d) {
    if (assembles_kernel(s_)) assembled_[d].prepare(s_, weights_.own_kernel(weights, d), weights_.matrices(weights, d), version);
    form_of(training).recurrences[d].prepare(direction_weights(weights, d), version);
  }
}

// What a layer above leaves of a step's further inputs, or of an x of which a masked copy is made, is not there before it is done
// with the whole sequence; a residual layer's output is there when its own is.
Walk RecurrentLayer::walk(bool training) const {
  if (D_ == 2 || steps_given() > 0 || s_.residual || (training && masks_.drops_input())) return Walk::none;
  return s_.reverse ? Walk::backwards : Walk::onwards;
}

// The weights that a run computes with.
recurrent::Weights<const float> RecurrentLayer::weights_of(const Context& run, std::size_t d) const {
  recurrent::Weights<const float> weights = direction_weights(run.weights, d);
  if (masks_kernel(run.training)) weights.recurrent_kernel = run.tape + layout(run).masked_kernel[d];
  return weights;
}

// What computes with them, ready.
const Recurrences& RecurrentLayer::engines(const Context& run, Lease& lease) const {
#if REKUR_TRAINING
  if (masks_kernel(run.training)) {
    std::uint64_t number;
    std::memcpy(&number, run.tape + layout(run).run, sizeof number);
    lease = run_recurrences_.borrow(number, [&] { return make_recurrences(s_, form_of(true), input_size(), D_); });
    for (std::size_t d = 0; d < D_; ++d) lease.recurrences()[d].prepare(weights_of(run, d), number);
    return lease.recurrences();
  }
#endif
  static_cast<void>(lease);
  return form_of(run.training).recurrences;
}

void RecurrentLayer::fill_initial(const Context& run) const {
  if (!s_.learn_initial_state) return;
  const Layout at = layout(run);
  for (std::size_t d = 0; d < D_; ++d)
    for (std::size_t s = 0; s < S_; ++s) {
      if (!weights_.learned(s)) continue;
      const float* const from = weights_.initial(run.weights, d, s);
      float* const to = run.tape + at.initial[d][s];
      const Index width = s_.state_width(s);
      over_rows(run.batch(), width, 1, [&](Index begin, Index end) {
        for (Index b = begin; b < end; ++b) std::copy_n(from, width, to + b * width);
      });
    }
}

ValidSteps RecurrentLayer::valid_steps(const Context& run) const {
  return {run.batch(), run.input_specs[0].shape[1], output_features(), run.steps()};
}

MaskedSteps RecurrentLayer::masked_steps(const Context& run, bool reverse) const {
  return {run.steps(), run.batch(), output_width(), reverse, s_.zero_output_for_mask};
}

void RecurrentLayer::add_residual(const Context& run) const {
  if (!s_.residual) return;
  if (s_.return_sequences)
    add_steps(valid_steps(run), run.input(), run.outputs[0]);
  else
    add_step_to_rows(valid_steps(run), s_.reverse, run.input(), run.outputs[0]);
}

RecurrentLayer::Layout RecurrentLayer::layout(std::span<const TensorSpec> inputs, bool training, bool remat) const {
  const Shape& x = inputs[0].shape;
  const Index window = remat ? recurrent::window_steps(x[1], x[0]) : 0;
  Layout at;
  if (masks_kernel(training)) at.run = 0, at.size = aligned(1);
  const auto reserve = [&](Index floats) { return std::exchange(at.size, at.size + aligned(floats)); };
  for (std::size_t d = 0; d < D_; ++d) {
    if (training) at.engine[d] = reserve(form_of(true).recurrences[d].tape_size(x[1], x[0], !s_.return_sequences, window));
    if (own_sequences(training)) at.sequence[d] = reserve(element_count({x[0], x[1], output_width()}));
    if (D_ == 2 && !s_.return_sequences && !s_.return_state) at.last[d] = reserve(element_count({x[0], output_width()}));
    for (std::size_t s = 0; s < S_; ++s)
      if (weights_.learned(s)) at.initial[d][s] = reserve(element_count({x[0], s_.state_width(s)}));
    if (training) at.masks[d] = masks_.places(x, reserve);
    if (masks_kernel(training)) {
      at.kernel_mask[d] = reserve(recurrent_size());
      at.masked_kernel[d] = reserve(recurrent_size());
    }
  }
  return at;
}

void RecurrentLayer::forward(const Context& run) const {
  const LayerCall call{this, &run};
  forward_stack({&call, 1});
}

void RecurrentLayer::forward_stack(std::span<const LayerCall> upwards) const {
  RunList<recurrent::Forward> runs;
  StepInputs step_inputs;
  Leases leases;
  for (std::size_t i = 0; i < upwards.size(); ++i) {
    const auto& layer = static_cast<const RecurrentLayer&>(*upwards[i].layer);
    const Context& run = *upwards[i].run;
    layer.fill_initial(run);
#if REKUR_TRAINING
    if (run.training) layer.draw_masks(run);
#endif
    const Layout at = layer.layout(run);
    const Recurrences& engines = layer.engines(run, leases[i]);
    recurrent::Forward* const own = runs.add(layer.D_);
    for (std::size_t d = 0; d < layer.D_; ++d) layer.describe(run, at, engines[d], d, own[d], step_inputs);
  }
  recurrent::forward(runs.all());
  const recurrent::Forward* own = runs.all().data();
  for (const LayerCall& call : upwards) {
    const auto& layer = static_cast<const RecurrentLayer&>(*call.layer);
    layer.join_outputs(*call.run, own);
    own += layer.D_;
  }
}

void RecurrentLayer::describe(const Context& run, const Layout& at, const recurrent::Recurrence& engine, std::size_t d,
                              recurrent::Forward& f, StepInputs& step_inputs) const {
  const Shape& x = run.input_specs[0].shape;
  const Index B = x[0], T = x[1], I = x[2], P = output_width();
  f.layer = &engine;
  f.T = T;
  f.B = B;
  f.x = {run.input(0), T * I, I};
  if (run.training) masks_.point(run, at.masks[d], f);
  for (std::size_t i = 0; i < steps_given(); ++i) {
    const Shape& shape = run.input_specs[step_source(i)].shape;
    step_inputs[d][i] = {i < s_.step_inputs ? run.input(1 + i) : f.x.data, shape[1] * shape[2], shape[2]};
  }
  f.step = step_inputs[d].data();
  f.lengths = run.lengths;
  f.list = run.steps().list;
  f.resets = run.steps().resets;
  f.reverse = D_ == 2 ? d == 1 : s_.reverse;
  const std::size_t first = first_initial_state() + d * S_;
  for (std::size_t s = 0; s < S_; ++s) {
    if (first + s < run.inputs.size()) {
      f.initial[s] = run.input(first + s);
    } else if (weights_.learned(s)) {
      f.initial[s] = run.tape + at.initial[d][s];
      f.learned = static_cast<std::uint8_t>(f.learned | 1 << s);
    }
  }
  if (own_sequences(run.training)) {
    f.y = {run.tape + at.sequence[d], T * P, P};
  } else if (s_.return_sequences) {
    const Index width = static_cast<Index>(D_) * P;
    f.y = {run.outputs[0] + static_cast<Index>(d) * P, T * width, width};
  }
  for (std::size_t s = 0; s < S_ && s_.return_state; ++s) f.final[s] = run.outputs[1 + d * S_ + s];
  if (!s_.return_sequences && !s_.return_state) f.final[0] = D_ == 2 ? run.tape + at.last[d] : run.outputs[0];
  f.tape = run.training ? run.tape + at.engine[d] : nullptr;
  f.window = run.remat ? recurrent::window_steps(T, B) : 0;
}

#if REKUR_TRAINING
// The masks of a training run, and x as each direction sees it.
void RecurrentLayer::draw_masks(const Context& run) const {
  const Layout at = layout(run);
  for (std::size_t d = 0; d < D_; ++d) masks_.draw(run, at.masks[d], d);
  if (!masks_kernel(true)) return;
  const std::uint64_t number = run_recurrences_.new_run();
  std::memcpy(run.tape + at.run, &number, sizeof number);
  const auto& k = isa::kernels();
  for (std::size_t d = 0; d < D_; ++d) {
    const float* const kernel = direction_weights(run.weights, d).recurrent_kernel;
    float *const mask = run.tape + at.kernel_mask[d], *const masked = run.tape + at.masked_kernel[d];
    draw_mask(run, CellMasks::purpose(d, 15), s_.recurrent_weight_dropout, mask, recurrent_size());
    over_elements(recurrent_size(), 1,
                  [&](Index begin, Index end) { k.multiply(kernel + begin, mask + begin, masked + begin, end - begin); });
  }
}
#endif

// After the engine's forward pass: what several of its outputs make together.
void RecurrentLayer::join_outputs(const Context& run, const recurrent::Forward* runs) const {
  const Index B = run.batch(), P = output_width();
  if (run.steps().mask && s_.return_sequences)
    for (std::size_t d = 0; d < D_; ++d) fill_masked_steps(masked_steps(run, runs[d].reverse), runs[d].y, runs[d].initial[0]);
  if (own_sequences(run.training)) {
    const Index rows = B * run.input_specs[0].shape[1];
    if (D_ == 2)
      merge(mode_, runs[0].y.data, runs[1].y.data, run.outputs[0], rows, P);
    else
      copy(runs[0].y.data, run.outputs[0], rows * P);
  } else if (!s_.return_sequences && D_ == 2) {
    merge(mode_, runs[0].final[0], runs[1].final[0], run.outputs[0], B, P);
  } else if (!s_.return_sequences && s_.return_state) {
    copy(runs[0].final[0], run.outputs[0], B * P);
  }
  if (zeroes_last(run)) over_masked_last(run, [&](Index b) { std::fill_n(run.outputs[0] + b * P, P, 0.0f); });
  add_residual(run);
}

bool RecurrentLayer::zeroes_last(const Context& run) const {
  return s_.zero_output_for_mask && !s_.return_sequences && run.steps().mask;
}

}  // namespace rekur::layers
