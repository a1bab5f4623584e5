// Step: y[b] = x[b, t_b], one time step of each row. t_b = index, or counted from the row's own end where index < 0.
// A row that has no such step gives zeros and takes no gradient.
#include <algorithm>
#include <limits>

#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"

namespace rekur::layers {
namespace {

constexpr Index kNone = -1;

class Step final : public Layer {
 public:
  Step(const std::string& type, const std::string& name, Index index) : Layer(type, name), index_(index) {}

  // A sequence in which no row could have the step is an error; rows that end before it are not.
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 1, 1);
    expect_features(inputs[0]);
    const Shape& shape = inputs[0].shape;
    if (shape.size() != 3) fail("expected a sequence of shape (B, T, F), got %", {shape});
    const Index least = index_ < 0 ? -index_ : index_ + 1;
    if (shape[1] != kUnknown && shape[1] < least) {
      fail("expected a sequence of at least %% for index %, got % (input shape %)",
           {least, (least == 1 ? " step" : " steps"), index_, shape[1], shape});
    }
    return one({{shape[0], shape[2]}, DType::float32, -1});
  }

  void forward(const Context& run) const override {
    const Index n = features_of(run.input_specs[0].shape);
    over_rows(run.batch(), n, 1, [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row) {
        float* to = run.outputs[0] + row * n;
        const Index from = find(run, row);
        if (from == kNone)
          std::fill_n(to, n, 0.0f);
        else
          std::copy_n(run.input() + from, n, to);
      }
    });
  }

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    if (run.d_outputs[0] == nullptr || run.d_inputs[0] == nullptr) return;
    const Index n = features_of(run.input_specs[0].shape);
    const auto& k = isa::kernels();
    over_rows(run.batch(), n, 1, [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row) {
        const Index at = find(run, row);
        if (at != kNone) k.add(run.d_inputs[0] + at, run.d_outputs[0] + row * n, run.d_inputs[0] + at, n);
      }
    });
  }
#endif

  // The last step of a sequence that ends here is the one at hand.
  std::unique_ptr<const StreamOp> stream(const StreamBuild&) const override {
    if (index_ != -1) cannot_stream("step % of a sequence cannot be told from one step of it", {index_});
    return nullptr;
  }

 private:
  // Where the row's step begins in the input, or kNone.
  Index find(const Context& run, Index row) const {
    const Shape& shape = run.input_specs[0].shape;
    const RowSteps rows = run.steps();
    const Index steps = rows.mask ? shape[1] : rows.length(row);  // Keras: x[:, index], whatever a mask says
    const Index step = index_ < 0 ? steps + index_ : index_;
    return step >= 0 && step < steps ? (row * shape[1] + step) * shape[2] : kNone;
  }

  Index index_;
};

}  // namespace

std::unique_ptr<Layer> make_step(json::Reader& spec, const std::string& type, const std::string& name) {
  using Limits = std::numeric_limits<std::int32_t>;
  const Index index = spec.integer("index");
  if (index < Limits::min() || index > Limits::max()) spec.refuse("index", "an integer of 32 bits");
  return std::make_unique<Step>(type, name, index);
}

}  // namespace rekur::layers
