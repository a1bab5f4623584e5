// Masking: a step all of whose features are mask_value is none. It stays, as zeros; who reads steps leaves it out
// (layers/time.hpp).
#include <algorithm>
#include <cmath>
#include <limits>

#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"

namespace rekur::layers {
namespace {

class Masking final : public Layer {
 public:
  Masking(const std::string& type, const std::string& name, float mask_value) : Layer(type, name), mask_value_(mask_value) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    std::vector<TensorSpec> outputs = infer_like_input(inputs);
    if (!outputs[0].has_time()) fail("expected a sequence of shape (B, T, F), got %", {inputs[0].shape});
    return outputs;
  }

  bool makes_mask() const override { return true; }
  void mask(const Context& run, std::uint8_t* valid) const override {
    const Index steps = run.batch() * run.input_specs[0].shape[1];
    for (Index i = 0; i < steps; ++i)
      if (masked(run, i)) valid[i] = 0;
  }

  void forward(const Context& run) const override {
    const Index n = step_size(run);
    over_rows(run.batch() * run.input_specs[0].shape[1], n, 1, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        if (masked(run, i))
          std::fill_n(run.outputs[0] + i * n, n, 0.0f);
        else
          std::copy_n(run.input() + i * n, n, run.outputs[0] + i * n);
      }
    });
  }

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    if (run.d_outputs[0] == nullptr || run.d_inputs[0] == nullptr) return;
    const Index n = step_size(run);
    const auto& k = isa::kernels();
    over_rows(run.batch() * run.input_specs[0].shape[1], n, 1, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i)
        if (!masked(run, i)) k.add(run.d_inputs[0] + i * n, run.d_outputs[0] + i * n, run.d_inputs[0] + i * n, n);
    });
  }
#endif

  // A step's flags come behind its output.
  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    const Index n = element_count({build.inputs[0].shape.begin() + 1, build.inputs[0].shape.end()});
    return make_stream_op([n, value = mask_value_](const StreamCall& c) {
      for (Index row = 0; row < c.batch; ++row) {
        const float* const x = c.input() + row * n;
        const bool there = std::any_of(x, x + n, [value](float v) { return v != value; });
        c.output(1)[row] = there ? 1.0f : 0.0f;
        if (there)
          std::copy_n(x, n, c.output() + row * n);
        else
          std::fill_n(c.output() + row * n, n, 0.0f);
      }
    });
  }
  StepAxes step_axes() const override { return StepAxes::own; }

 private:
  static Index step_size(const Context& run) {
    Index n = 1;
    for (std::size_t d = 2; d < run.input_specs[0].shape.size(); ++d) n *= run.input_specs[0].shape[d];
    return n;
  }
  // Keras: not any(x != mask_value).
  bool masked(const Context& run, Index step) const {
    const Index n = step_size(run);
    const float* const x = run.input() + step * n;
    return std::all_of(x, x + n, [this](float value) { return value == mask_value_; });
  }

  float mask_value_;
};

}  // namespace

std::unique_ptr<Layer> make_masking(json::Reader& spec, const std::string& type, const std::string& name) {
  const double value = spec.number("mask_value", 0);
  if (!(std::abs(value) <= static_cast<double>(std::numeric_limits<float>::max())))
    spec.refuse("mask_value", "a finite float32 number");
  return std::make_unique<Masking>(type, name, static_cast<float>(value));
}

}  // namespace rekur::layers
