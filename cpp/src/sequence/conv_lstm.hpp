// ConvLSTM1D and ConvLSTM2D: an LSTM whose states are images and whose products are convolutions (Shi et al., arXiv:1506.04214).
//   inputs   x (B, T, positions…, channels); h and c (B, positions'…, filters)
//   outputs  y (B, T, positions'…, filters) or the last (B, positions'…, filters), then with return_state h and c
//   kernel [taps…, channels, 4 · filters] with the gates i, f, g, o; recurrent_kernel [taps…, filters, 4 · filters];
//   bias [4 · filters]
// The input's convolution of all steps is one product, or in inference one of some steps that make enough rows; that of h, whose
// windows are padded to its own size, is one a step.
//   conv_lstm.cpp      settings, shapes, parameters, a stream
//   conv_lstm_run.cpp  forward and backward
#pragma once

#include <string>
#include <vector>

#include "layers/masked_steps.hpp"
#include "rekur/detail/cells/cell_info.hpp"
#include "runtime/lines.hpp"
#include "sequence/convolution.hpp"

namespace rekur::layers {

struct ConvLstmSettings {
  std::size_t rank = 0;  // axes of positions
  Index filters = 0;
  std::array<ConvolutionAxis, kSpace> axes = {};  // the last `rank` of them
  cells::Activations activations = {};
  float dropout = 0, recurrent_dropout = 0;
  bool use_bias = true, return_sequences = false, return_state = false, reverse = false, zero_output_for_mask = false;
  std::string kernel_initializer, recurrent_initializer, bias_initializer;
};

class ConvLstm final : public Layer {
 public:
  ConvLstm(const std::string& type, const std::string& name, ConvLstmSettings settings);

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::vector<ParamSpec> parameters(std::span<const TensorSpec> inputs) const override;
  void build(std::span<const TensorSpec> inputs) override;
  void prepare(const float* weights, std::uint64_t version, bool training) const override;
  bool joins_time() const override { return false; }
  std::size_t first_initial_state() const override { return 1; }
  StepAxes step_axes() const override { return StepAxes::own; }
  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override;
  MaskedStep masked_step() const override { return s_.zero_output_for_mask ? MaskedStep::zeros : MaskedStep::first_state; }

  Index tape_size(std::span<const TensorSpec> inputs, bool training) const override { return layout(inputs, training).size; }
  void forward(const Context& run) const override;
#if REKUR_TRAINING
  Index backward_scratch(std::span<const TensorSpec> inputs) const override;
  void backward(const Context& run) const override;
#endif

 private:
  static constexpr Index kGates = 4;

  // Offsets in the tape (in inference: the workspace).
  struct Layout {
    Index gates = 0, c = 0, h = 0, none = 0, lists = 0;
    Index x_mask = 0, masked_x = 0, h_mask = 0, masked_h = 0;  // of dropout
    Index steps = 0;                                           // whose gates stand there
    Index size = 0;
  };
  Layout layout(std::span<const TensorSpec> inputs, bool training) const;
  struct Run;

  Index recurrent_at() const { return input_.kernel_size(); }  // in the weights
  Index bias_at() const { return input_.kernel_size() + recurrent_.kernel_size(); }
  Shape output_space(const Shape& x) const;

  void recur(const Run& run, Index k) const;
#if REKUR_TRAINING
  void draw_masks(const Run& run) const;
  void kernel_gradients(const Run& run) const;
  void step_back(const Run& run, Index k, float* dh, float* dc, float* masked) const;
#endif

  ConvLstmSettings s_;
  Convolution input_, recurrent_;
#if REKUR_TRAINING
  // With dropout, each gate sees a copy of its own: groups of channels.
  Convolution dropped_input_, dropped_recurrent_;
#endif
  ConvolutionSide x_side_, y_side_;
};

}  // namespace rekur::layers
