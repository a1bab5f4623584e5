// FoldTime: (B, T, …) as (B·T, …): every step is a row of its own. UnfoldTime: back, by the shape of its second input.
// What stands between them is applied to every time step, which is Keras's TimeDistributed.
#include <cstring>

#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"

namespace rekur::layers {
namespace {

// The same numbers in another shape: output 0 is input 0.
class Refold : public Layer {
 public:
  Refold(const std::string& type, const std::string& name) : Layer(type, name) {}

  bool joins_time() const override { return false; }
  bool passes_through(bool training) const override { return !training; }

  void forward(const Context& run) const override {
    std::memcpy(run.outputs[0], run.inputs[0], static_cast<std::size_t>(element_count(run.input_specs[0].shape)) * sizeof(float));
  }

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    if (run.d_outputs[0] == nullptr || run.d_inputs[0] == nullptr) return;
    accumulate(run.d_outputs[0], run.d_inputs[0], element_count(run.input_specs[0].shape));
  }
#endif

  std::unique_ptr<const StreamOp> stream(const StreamBuild&) const override;
};

class FoldTime final : public Refold {
 public:
  using Refold::Refold;

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 1, 1);
    const Shape& x = inputs[0].shape;
    if (inputs[0].dtype == DType::float32) expect_features(inputs[0]);
    if (!inputs[0].has_time() || x.size() > kMostAxes) fail("expected a sequence of shape (B, T, …), got %", {x});
    TensorSpec output{{x.begin() + 1, x.end()}, inputs[0].dtype, -1, {.own = true}};
    Index& rows = output.shape[0];
    rows = x[0] == kUnknown || x[1] == kUnknown ? kUnknown : element_count({x[0], x[1]});
    return one(std::move(output));
  }
};

class UnfoldTime final : public Refold {
 public:
  using Refold::Refold;

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 2, 2);
    expect_features(inputs[0]);
    const Shape &x = inputs[0].shape, &like = inputs[1].shape;
    if (!inputs[1].has_time()) fail("expected a sequence as its second input, got %", {like});
    if (x.size() >= kMostAxes) fail("expected an input of at most % axes, got %", {kMostAxes - 1, x});
    const bool known = x[0] != kUnknown && like[0] != kUnknown && like[1] != kUnknown;
    if (known && x[0] != element_count({like[0], like[1]}))
      fail("expected as many rows as its second input has steps, got % for %", {x, like});
    TensorSpec output{{like[0], like[1]}, DType::float32, inputs[1].time_source};
    output.shape.insert(output.shape.end(), x.begin() + 1, x.end());
    return one(std::move(output));
  }
};

std::unique_ptr<const StreamOp> Refold::stream(const StreamBuild& build) const {
  // A step of (B, T, F) is a row already.
  if (build.inputs[0].shape.size() == 2 && build.outputs[0].shape.size() == 2) return nullptr;
  cannot_stream("a time step that is a sequence by itself is no single step to the layers within");
}

}  // namespace

std::unique_ptr<Layer> make_fold_time(json::Reader&, const std::string& type, const std::string& name) {
  return std::make_unique<FoldTime>(type, name);
}

std::unique_ptr<Layer> make_unfold_time(json::Reader&, const std::string& type, const std::string& name) {
  return std::make_unique<UnfoldTime>(type, name);
}

}  // namespace rekur::layers
