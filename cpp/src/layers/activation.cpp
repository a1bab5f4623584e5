// y = f(x), elementwise or (softmax) over the last axis.
#include "layers/activation_spec.hpp"
#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"

namespace rekur::layers {
namespace {

class ActivationLayer final : public Layer {
 public:
  ActivationLayer(const std::string& type, const std::string& name, ActivationSpec f) : Layer(type, name), f_(f) {}

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
    if (!run.raw) activate_backward(f_, run.outputs[0], run.d_outputs[0], run.d_outputs[0], rows, n);
    accumulate(run.d_outputs[0], run.d_inputs[0], rows * n);
  }

  FinalActivation final_activation() const override { return f_.final_activation(); }
#endif

  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    return make_stream_op([f = f_, n = features_of(build.inputs[0].shape), &k = isa::kernels()](const StreamCall& c) {
      activate(k, f, c.input(), c.output(), c.batch, n);
    });
  }

 private:
  ActivationSpec f_;
};

}  // namespace

std::unique_ptr<Layer> make_activation(json::Reader& spec, const std::string& type, const std::string& name) {
  return std::make_unique<ActivationLayer>(type, name, read_activation(spec, "activation", nullptr, true));
}

}  // namespace rekur::layers
