// Dropout: in training y = x ⊙ m with m = 1/(1 - rate) or 0, each kept with probability 1 - rate; in inference y = x.
#include "layers/cell_options.hpp"
#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"

namespace rekur::layers {
namespace {

class Dropout final : public Layer {
 public:
  Dropout(const std::string& type, const std::string& name, float rate) : Layer(type, name), rate_(rate) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override { return infer_like_input(inputs); }

  // The mask.
  Index tape_size(std::span<const TensorSpec> inputs, bool training) const override {
    return training && rate_ > 0 ? element_count(inputs[0].shape) : 0;
  }

  void forward(const Context& run) const override {
    const Index n = element_count(run.input_specs[0].shape);
    if (!run.training || rate_ == 0) return copy(run.input(), run.outputs[0], n);
#if REKUR_TRAINING
    const auto& k = isa::kernels();
    over_elements(n, 20, [&](Index begin, Index end) {
      k.dropout(run.seed, run.drawn_step(), run.stream, begin, rate_, run.input() + begin, run.tape + begin, run.outputs[0] + begin,
                end - begin);
    });
#endif
  }

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    if (run.d_outputs[0] == nullptr || run.d_inputs[0] == nullptr) return;
    const Index n = element_count(run.input_specs[0].shape);
    if (rate_ == 0) return accumulate(run.d_outputs[0], run.d_inputs[0], n);
    const auto& k = isa::kernels();
    over_elements(n, 2, [&](Index begin, Index end) {
      k.multiply_add(run.d_outputs[0] + begin, run.tape + begin, run.d_inputs[0] + begin, end - begin);
    });
  }
#endif

  bool passes_through(bool training) const override { return !training || rate_ == 0; }
  std::unique_ptr<const StreamOp> stream(const StreamBuild&) const override { return nullptr; }

 private:
  float rate_;
};

}  // namespace

std::unique_ptr<Layer> make_dropout(json::Reader& spec, const std::string& type, const std::string& name) {
  spec.get("rate");
  return std::make_unique<Dropout>(type, name, read_rate(spec, "rate"));
}

}  // namespace rekur::layers
