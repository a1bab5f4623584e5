// SimpleRNN, LSTM, GRU, RNN and Bidirectional: one or two directions of any cell, from the graph's arrays to the recurrent engine
// and back.
//   inputs   x (B, T, I); of a program its further inputs a step (B, T, H) or (B, T, 1); the initial states of each direction (B,
//   H) outputs  y (B, T, H·) or the last (B, H·), then with return_state the final states of each direction (B, H)
// What the engine does not do is done here: learned initial states, residual connections, masks of the recurrent kernel.
//   recurrent.cpp            shapes, parameters, the cell, a stream
//   recurrent_run.cpp        forward passes and what both passes keep
//   recurrent_gradients.cpp  backward passes
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "layers/cell_form.hpp"
#include "layers/cell_masks.hpp"
#include "layers/directions.hpp"
#include "layers/layer.hpp"
#include "layers/masked_steps.hpp"
#include "layers/recurrent_settings.hpp"
#include "layers/recurrent_weights.hpp"
#include "layers/residual.hpp"
#include "layers/run_recurrences.hpp"
#include "recurrent/windows.hpp"
#include "runtime/lines.hpp"

namespace rekur::layers {

class RecurrentLayer final : public Layer {
 public:
  RecurrentLayer(const std::string& type, const std::string& name, RecurrentSettings settings, std::size_t directions,
                 MergeMode mode);

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::vector<ParamSpec> parameters(std::span<const TensorSpec> inputs) const override;
#if REKUR_TRAINING
  void compute_in(Precision precision) override;
#endif
  void build(std::span<const TensorSpec> inputs) override;
  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override;
  MaskedStep masked_step() const override { return s_.zero_output_for_mask ? MaskedStep::zeros : MaskedStep::first_state; }
  bool adds_last_input() const override { return s_.residual && !s_.return_sequences; }
  std::size_t first_initial_state() const override { return 1 + s_.step_inputs; }

  void prepare(const float* weights, std::uint64_t version, bool training) const override;
  Index tape_size(std::span<const TensorSpec> inputs, bool training) const override { return layout(inputs, training).size; }
#if REKUR_TRAINING
  Index remat_tape_size(std::span<const TensorSpec> inputs) const override { return layout(inputs, true, true).size; }
#endif
  Walk walk(bool training) const override;
  void forward(const Context& run) const override;
  void forward_stack(std::span<const LayerCall> upwards) const override;
#if REKUR_TRAINING
  Index backward_scratch(std::span<const TensorSpec> inputs) const override;
  bool writes_gradients() const override { return true; }
  void backward(const Context& run) const override;
  void backward_stack(std::span<const LayerCall> downwards) const override;
#endif

 private:
  // What a program reads a step beside the input's product: of a layer, which then is in no stack. By direction.
  using StepInputs = std::array<std::array<recurrent::Strided<const float>, recurrent::kMostStepInputs>, 2>;
  using StepGradients = std::array<std::array<recurrent::Strided<float>, recurrent::kMostStepInputs>, 2>;
#if REKUR_TRAINING
  using Lease = RunRecurrences::Lease;
#else
  struct Lease {};
#endif
  using Leases = std::array<Lease, kMostStacked>;

  Index output_features() const { return D_ == 2 && mode_ == MergeMode::concat ? 2 * output_width() : output_width(); }
  Index output_width() const { return s_.state_width(0); }  // of a direction
  // States that each direction is given, of so many inputs: the first ones.
  std::size_t given(std::size_t inputs) const { return (inputs - first_initial_state()) / D_; }
  std::size_t steps_given() const { return s_.step_inputs + (s_.reads_x ? 1 : 0); }
  // The layer's input that the i-th of them is: the last may be x itself.
  std::size_t step_source(std::size_t i) const { return i < s_.step_inputs ? 1 + i : 0; }
  void check_step_input(const TensorSpec& x, const TensorSpec& given, std::size_t i) const;

  // --- what does the steps ---

  CellForm form(std::span<const TensorSpec> inputs, bool training) const;

  // Training has a form of its own where masks are drawn for its steps.
  const CellForm& form_of(bool training) const { return training && !training_.recurrences.empty() ? training_ : inference_; }
  Index input_size() const { return inference_.recurrences[0].input_size(); }

  template <class T>
  recurrent::Weights<T> direction_weights(T* base, std::size_t d) const {
    recurrent::Weights<T> weights = weights_.of(base, d);
    if constexpr (std::is_const_v<T>) {
      if (assembles_kernel(s_)) weights.recurrent_kernel = assembled_[d].data();
    }
    return weights;
  }

  // Recurrent weight dropout: Merity et al., "Regularizing and optimizing LSTM language models", 2018.
  bool masks_kernel(bool training) const { return training && s_.recurrent_weight_dropout > 0; }
  Index recurrent_size() const { return whole_kernel_size(s_); }  // the engine's

  // The weights that a run computes with, and what computes with them, ready.
  recurrent::Weights<const float> weights_of(const Context& run, std::size_t d) const;
  const Recurrences& engines(const Context& run, Lease& lease) const;

  // --- what a run keeps ---

  // Offsets in the tape (in inference: the workspace), by direction.
  struct Layout {
    std::array<Index, 2> engine{}, sequence{}, last{}, kernel_mask{}, masked_kernel{};
    std::array<std::array<Index, recurrent::kMostStates>, 2> initial{};
    std::array<CellMasks::Places, 2> masks{};
    Index run = 0;  // the run's number, where kernels are masked
    Index size = 0;
  };
  Layout layout(std::span<const TensorSpec> inputs, bool training, bool remat = false) const;
  Layout layout(const Context& run) const { return layout(run.input_specs, run.training, run.remat); }

  // Whether the directions write sequences of their own, to be joined afterwards. The engine's backward pass reads what its forward
  // pass left, which with a residual connection is not the output.
  bool own_sequences(bool training) const {
    return s_.return_sequences && ((D_ == 2 && mode_ != MergeMode::concat) || (training && s_.residual));
  }

  // --- a run ---

  // The engine's run of a direction.
  void describe(const Context& run, const Layout& at, const recurrent::Recurrence& engine, std::size_t d, recurrent::Forward& f,
                StepInputs& step_inputs) const;
  void fill_initial(const Context& run) const;
  void join_outputs(const Context& run, const recurrent::Forward* runs) const;
  ValidSteps valid_steps(const Context& run) const;
  MaskedSteps masked_steps(const Context& run, bool reverse) const;
  // Whether rows whose last step a mask leaves out have zeros for their last output; task(b) for those rows.
  bool zeroes_last(const Context& run) const;
  template <class Task>
  void over_masked_last(const Context& run, const Task& task) const {
    const RowSteps steps = run.steps();
    for (Index b = 0; b < run.batch(); ++b)
      if (!steps.is_valid(b, s_.reverse ? 0 : steps.T - 1)) task(b);
  }
  void add_residual(const Context& run) const;

#if REKUR_TRAINING
  void draw_masks(const Context& run) const;

  void describe_backward(const Context& run, const Recurrences& engines, recurrent::Backward* runs, StepInputs& step_inputs,
                         StepGradients& d_step) const;
  template <class Take>
  void share_sequence_gradient(const Context& run, recurrent::Backward* runs, const Take& take) const;
  template <class Take>
  void share_last_gradient(const Context& run, recurrent::Backward* runs, const Take& take) const;
  void add_residual_gradient(const Context& run) const;
  void mask_gradients(const Context& run) const;
  void share_kernel_gradients(const Context& run, const recurrent::Backward* runs) const;
  void add_step_gradients(const Context& run, const recurrent::Backward* runs, const StepGradients& d_step) const;
  void add_input_gradients(const Context& run, const recurrent::Backward* runs) const;
  void add_state_gradients(const Context& run, const recurrent::Backward* runs) const;
#endif

  RecurrentSettings s_;
#if REKUR_TRAINING
#endif
  std::size_t D_, S_;  // directions, states
  MergeMode mode_;
  RecurrentWeights weights_{s_};
  const CellMasks masks_{s_};
  CellForm inference_, training_;  // training_ may be empty
  mutable std::array<AssembledKernel, 2> assembled_;
#if REKUR_TRAINING
  RunRecurrences run_recurrences_;
#endif
};

// The runs of a call, of which most have one: the others are not made, since a call of one step takes a microsecond.
template <class Run>
class RunList {
 public:
  Run* add(std::size_t directions) {
    Run* const first = data() + size_;
    for (std::size_t d = 0; d < directions; ++d) new (data() + size_++) Run();
    if (first != data()) first->source = first - 1;
    return first;
  }
  std::span<const Run> all() { return {data(), size_}; }

 private:
  Run* data() { return reinterpret_cast<Run*>(memory_); }

  alignas(Run) std::byte memory_[Layer::kMostStacked * sizeof(Run)];
  std::size_t size_ = 0;
};

}  // namespace rekur::layers
