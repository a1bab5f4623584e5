// Backward passes of a recurrent layer.
#include <algorithm>

#include "layers/elementwise.hpp"
#include "layers/recurrent_layer.hpp"

#if REKUR_TRAINING

namespace rekur::layers {

Index RecurrentLayer::backward_scratch(std::span<const TensorSpec> inputs) const {
  const Index B = inputs[0].shape[0], T = inputs[0].shape[1], states = static_cast<Index>(D_ * S_);
  const Index state = aligned(element_count({B, s_.units}));
  Index size = inputs.size() > first_initial_state() || s_.learn_initial_state ? states * state : 0;
  for (std::size_t i = 0; i < steps_given(); ++i)
    size += static_cast<Index>(D_) * aligned(element_count({B, T, features_of(inputs[step_source(i)].shape)}));
  if (masks_.drops_input())
    size += static_cast<Index>(D_) * aligned(element_count({B, T, masks_.x_copies() * features_of(inputs[0].shape)}));
  if (!s_.return_sequences) size += static_cast<Index>(D_) * state;
  if (assembles_kernel(s_)) size += static_cast<Index>(D_) * aligned(recurrent_size());
  if (s_.return_sequences && D_ == 2 && mode_ != MergeMode::concat) size += aligned(element_count({B, T, s_.units}));
  return size;
}

void RecurrentLayer::backward(const Context& run) const {
  const LayerCall call{this, &run};
  backward_stack({&call, 1});
}

void RecurrentLayer::backward_stack(std::span<const LayerCall> downwards) const {
  RunList<recurrent::Backward> runs;
  StepInputs step_inputs;
  StepGradients d_step;
  Leases leases;
  for (std::size_t i = 0; i < downwards.size(); ++i) {
    const auto& layer = static_cast<const RecurrentLayer&>(*downwards[i].layer);
    const Context& run = *downwards[i].run;
    layer.add_residual_gradient(run);
    layer.describe_backward(run, layer.engines(run, leases[i]), runs.add(layer.D_), step_inputs, d_step);
  }
  recurrent::backward(runs.all());
  const recurrent::Backward* own = runs.all().data();
  for (const LayerCall& call : downwards) {
    const auto& layer = static_cast<const RecurrentLayer&>(*call.layer);
    layer.add_state_gradients(*call.run, own);
    layer.mask_gradients(*call.run);
    layer.share_kernel_gradients(*call.run, own);
    layer.add_step_gradients(*call.run, own, d_step);
    if (layer.masks_.drops_input() && call.run->d_inputs[0] != nullptr) layer.add_input_gradients(*call.run, own);
    own += layer.D_;
  }
}

void RecurrentLayer::describe_backward(const Context& run, const Recurrences& engines, recurrent::Backward* runs,
                                       StepInputs& step_inputs, StepGradients& d_step) const {
  const Layout at = layout(run);
  for (std::size_t d = 0; d < D_; ++d) describe(run, at, engines[d], d, runs[d].forward, step_inputs);
  const Index B = run.batch(), I = run.input_specs[0].shape[2], T = run.input_specs[0].shape[1];
  float* scratch = run.scratch;
  const auto take = [&](Index floats) { return std::exchange(scratch, scratch + aligned(floats)); };
  for (std::size_t d = 0; d < D_; ++d) {
    recurrent::Backward& b = runs[d];
    b.weights = weights_of(run, d);
    if (run.d_weights != nullptr) b.d_weights = direction_weights(run.d_weights, d);
    if (assembles_kernel(s_) && run.d_weights != nullptr) b.d_weights.recurrent_kernel = take(recurrent_size());
    b.fresh = true;
    if (run.d_inputs[0] != nullptr) b.dx = {run.d_inputs[0], T * I, I};
    if (b.dx && masks_.drops_input()) {
      b.dx = {take(B * T * I * masks_.x_copies()), T * I * masks_.x_copies(), I * masks_.x_copies()};
      std::fill_n(b.dx.data, B * T * I * masks_.x_copies(), 0.0f);
    }
    for (std::size_t s = 0; s < S_ && s_.return_state; ++s) b.d_final[s] = run.d_outputs[1 + d * S_ + s];
    for (std::size_t i = 0; i < steps_given(); ++i) {
      d_step[d][i] = {};
      if (run.d_inputs[step_source(i)] == nullptr) continue;
      const Index features = run.input_specs[step_source(i)].shape[2];
      d_step[d][i] = {take(B * T * features), T * features, features};
      std::fill_n(d_step[d][i].data, B * T * features, 0.0f);
    }
    b.d_step = d_step[d].data();
  }
  // The same tensor may be the initial state of several: each gradient is computed apart, then they are added in order.
  for (std::size_t d = 0; d < D_; ++d)
    for (std::size_t s = 0; s < S_; ++s) {
      const std::size_t input = first_initial_state() + d * S_ + s;
      if (input < run.inputs.size() ? run.d_inputs[input] == nullptr : !weights_.learned(s) || run.d_weights == nullptr) continue;
      float* const d_initial = take(B * s_.state_width(s));
      std::fill_n(d_initial, B * s_.state_width(s), 0.0f);
      runs[d].d_initial[s] = d_initial;
    }
  if (run.d_outputs[0] != nullptr && s_.return_sequences) share_sequence_gradient(run, runs, take);
  if (run.d_outputs[0] != nullptr && !s_.return_sequences) share_last_gradient(run, runs, take);
}

template <class Take>
void RecurrentLayer::share_sequence_gradient(const Context& run, recurrent::Backward* runs, const Take& take) const {
  const Index B = run.batch(), T = run.input_specs[0].shape[1], H = output_width();
  float* dy = run.d_outputs[0];
  // A direction's own: where steps are masked, it adds up there what arrives at them.
  const auto give = [&](std::size_t d, float* own, Index width) {
    const recurrent::Strided<float> gradient{own, T * width, width};
    if (run.steps().mask) fold_masked_gradients(masked_steps(run, runs[d].forward.reverse), gradient, runs[d].d_initial[0]);
    runs[d].dy = {own, T * width, width};
  };
  if (D_ == 1 || mode_ == MergeMode::concat) {
    const Index width = static_cast<Index>(D_) * H;
    for (std::size_t d = 0; d < D_; ++d) give(d, dy + static_cast<Index>(d) * H, width);
    return;
  }
  float* d_second = dy;
  if (mode_ == MergeMode::mul) {
    d_second = take(B * T * H);
    merge_backward(mode_, runs[0].forward.y.data, runs[1].forward.y.data, dy, dy, d_second, B * T, H);
  } else if (mode_ == MergeMode::ave) {
    const auto& k = isa::kernels();
    over_elements(B * T * H, 1, [&](Index begin, Index end) { k.scale(0.5f, dy + begin, dy + begin, end - begin); });
  }
  if (run.steps().mask && mode_ != MergeMode::mul) {  // each direction adds to its own
    d_second = take(B * T * H);
    copy(dy, d_second, B * T * H);
  }
  give(0, dy, H);
  give(1, d_second, H);
}

// The last output is the final h (return_state shows it once more): their gradients add up.
template <class Take>
void RecurrentLayer::share_last_gradient(const Context& run, recurrent::Backward* runs, const Take& take) const {
  const Index B = run.batch(), H = output_width();
  if (zeroes_last(run)) over_masked_last(run, [&](Index b) { std::fill_n(run.d_outputs[0] + b * H, H, 0.0f); });
  std::array<float*, 2> share{run.d_outputs[0], nullptr};
  if (D_ == 2) {
    share = {take(B * H), take(B * H)};
    merge_backward(mode_, runs[0].forward.final[0], runs[1].forward.final[0], run.d_outputs[0], share[0], share[1], B, H);
  }
  for (std::size_t d = 0; d < D_; ++d) {
    if (runs[d].d_final[0] != nullptr) accumulate(runs[d].d_final[0], share[d], B * H);
    runs[d].d_final[0] = share[d];
  }
}

void RecurrentLayer::add_residual_gradient(const Context& run) const {
  if (!s_.residual || run.d_outputs[0] == nullptr || run.d_inputs[0] == nullptr) return;
  if (s_.return_sequences)
    add_steps(valid_steps(run), run.d_outputs[0], run.d_inputs[0]);
  else
    add_rows_to_step(valid_steps(run), s_.reverse, run.d_outputs[0], run.d_inputs[0]);
}

void RecurrentLayer::mask_gradients(const Context& run) const {
  if (!masks_kernel(true) || run.d_weights == nullptr) return;
  const auto& k = isa::kernels();
  const Layout at = layout(run);
  for (std::size_t d = 0; d < D_; ++d) {
    float* const gradient = direction_weights(run.d_weights, d).recurrent_kernel;
    const float* const mask = run.tape + at.kernel_mask[d];
    over_elements(recurrent_size(), 1,
                  [&](Index begin, Index end) { k.multiply(gradient + begin, mask + begin, gradient + begin, end - begin); });
  }
}

void RecurrentLayer::share_kernel_gradients(const Context& run, const recurrent::Backward* runs) const {
  if (!assembles_kernel(s_) || run.d_weights == nullptr) return;
  for (std::size_t d = 0; d < D_; ++d)
    share_kernel_gradient(s_, runs[d].d_weights.recurrent_kernel, weights_.own_kernel(run.d_weights, d),
                          weights_.matrices(run.d_weights, d));
}

// By direction, in order. Those of x go where the direction leaves its others.
void RecurrentLayer::add_step_gradients(const Context& run, const recurrent::Backward* runs, const StepGradients& d_step) const {
  for (std::size_t d = 0; d < D_; ++d)
    for (std::size_t i = 0; i < steps_given(); ++i) {
      if (!d_step[d][i]) continue;
      float* const to = step_source(i) == 0 ? runs[d].dx.data : run.d_inputs[step_source(i)];
      accumulate(d_step[d][i].data, to, element_count(run.input_specs[step_source(i)].shape));
    }
}

// From what the directions saw of x to x itself.
void RecurrentLayer::add_input_gradients(const Context& run, const recurrent::Backward* runs) const {
  const Layout at = layout(run);
  for (std::size_t d = 0; d < D_; ++d) masks_.add_input_gradient(run, at.masks[d], runs[d].dx.data);
}

// Of those given; and of those learned the sums over the rows, in order.
void RecurrentLayer::add_state_gradients(const Context& run, const recurrent::Backward* runs) const {
  const auto& k = isa::kernels();
  const Index B = run.batch();
  for (std::size_t d = 0; d < D_; ++d)
    for (std::size_t s = 0; s < S_; ++s) {
      const std::size_t input = first_initial_state() + d * S_ + s;
      const Index H = s_.state_width(s);
      const float* const d_initial = runs[d].d_initial[s];
      if (input < run.inputs.size() && run.d_inputs[input] != nullptr) accumulate(d_initial, run.d_inputs[input], B * H);
      if (!weights_.learned(s) || run.d_weights == nullptr) continue;
      float* const sums = weights_.initial(run.d_weights, d, s);
      std::fill_n(sums, H, 0.0f);
      over_columns(B, H, 1, [&](Index begin, Index end) {
        for (Index b = 0; b < B; ++b) k.add(sums + begin, d_initial + b * H + begin, sums + begin, end - begin);
      });
    }
}

}  // namespace rekur::layers

#endif
