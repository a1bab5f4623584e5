// Flip: y[b, t] = x[b, L_b - 1 - t]: the steps of each row from its end. Steps past a row's length are zeros. A mask is no length:
// all steps are turned around, and the mask stays as it is, as in Keras.
#include <algorithm>

#include "layers/elementwise.hpp"
#include "layers/registry.hpp"

namespace rekur::layers {
namespace {

class Flip final : public Layer {
 public:
  Flip(const std::string& type, const std::string& name) : Layer(type, name) {}

  bool crosses_resets() const override { return true; }

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 1, 1);
    expect_features(inputs[0]);
    if (inputs[0].shape.size() < 3) fail("expected a sequence of shape (B, T, F), got %", {inputs[0].shape});
    return one(inputs[0]);
  }

  void forward(const Context& run) const override {
    const Index n = numbers_a_step(run.input_specs[0].shape);
    over_steps(run, [&](Index to, Index from) {
      float* y = run.outputs[0] + to * n;
      if (from == kNone)
        std::fill_n(y, n, 0.0f);
      else
        std::copy_n(run.input() + from * n, n, y);
    });
  }

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    if (run.d_outputs[0] == nullptr || run.d_inputs[0] == nullptr) return;
    const Index n = numbers_a_step(run.input_specs[0].shape);
    const auto& k = isa::kernels();
    over_steps(run, [&](Index to, Index from) {
      if (from != kNone) k.add(run.d_inputs[0] + from * n, run.d_outputs[0] + to * n, run.d_inputs[0] + from * n, n);
    });
  }
#endif

  std::unique_ptr<const StreamOp> stream(const StreamBuild&) const override {
    cannot_stream("it begins at the end of the sequence");
  }

 private:
  static constexpr Index kNone = -1;

  static Index numbers_a_step(const Shape& shape) {
    Index n = 1;
    for (std::size_t i = 2; i < shape.size(); ++i) n *= shape[i];
    return n;
  }

  // move(to, from) for each step of each row, counted through the batch; from is kNone past a row's length.
  template <class Move>
  static void over_steps(const Context& run, const Move& move) {
    const RowSteps steps = run.steps();
    const Index T = steps.T, n = numbers_a_step(run.input_specs[0].shape);
    over_rows(run.input_specs[0].shape[0], T * n, 1, [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row) {
        const Index length = steps.mask ? T : steps.length(row);
        for (Index t = 0; t < T; ++t) move(row * T + t, t < length ? row * T + length - 1 - t : kNone);
      }
    });
  }
};

}  // namespace

std::unique_ptr<Layer> make_flip(json::Reader&, const std::string& type, const std::string& name) {
  return std::make_unique<Flip>(type, name);
}

}  // namespace rekur::layers
