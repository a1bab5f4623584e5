// y = f(x), elementwise or (softmax) over the last axis.
#include "layers/activation_spec.hpp"
#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"

namespace rekur::layers {
namespace {

class ActivationLayer final : public Layer {
 public:
  ActivationLayer(const std::string& type, const std::string& name, ActivationSpec f) : Layer(type, name), f_(std::move(f)) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override { return infer_like_input(inputs); }

  void forward(const Context& run) const override {
    const Shape& shape = run.input_specs[0].shape;
    activate(run.raw ? ActivationSpec{} : f_, run.input(), run.outputs[0], rows_of(shape), features_of(shape));
  }

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    if (run.d_outputs[0] == nullptr || run.d_inputs[0] == nullptr) return;
    const Shape& shape = run.input_specs[0].shape;
    const Index rows = rows_of(shape), n = features_of(shape);
    if (!run.raw) activate_backward(f_, run.input(), run.outputs[0], run.d_outputs[0], run.d_outputs[0], rows, n);
    accumulate(run.d_outputs[0], run.d_inputs[0], rows * n);
  }

  FinalActivation final_activation() const override { return f_.final_activation(); }
#endif

  StepAxes step_axes() const override { return StepAxes::rows; }
  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    return std::make_unique<Op>(f_, features_of(build.inputs[0].shape));
  }

 private:
  class Op final : public StreamOp {
   public:
    Op(const ActivationSpec& f, Index features) : f_(f), features_(features), kernels_(isa::kernels()) {}
    bool rowwise() const override { return true; }
    Index memory(Index) const override { return activate_memory(f_, features_); }
    void step(const StreamCall& c, int) const noexcept override {
      activate(kernels_, f_, c.input(), c.output(), c.batch, features_, c.memory);
    }

   private:
    ActivationSpec f_;
    Index features_;
    const simd::Kernels& kernels_;
  };

  ActivationSpec f_;
};

}  // namespace

std::unique_ptr<Layer> make_activation(json::Reader& spec, const std::string& type, const std::string& name) {
  return std::make_unique<ActivationLayer>(type, name, read_activation(spec, "activation", nullptr, true));
}

}  // namespace rekur::layers
