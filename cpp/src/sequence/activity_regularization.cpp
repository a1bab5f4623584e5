// ActivityRegularization: y = x; adds (l1 Σ |x| + l2 Σ x²) / B to the loss of a training step or an evaluation, of what counts.
#include <cmath>

#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"
#include "sequence/counted_rows.hpp"

namespace rekur::layers {
namespace {

class ActivityRegularization final : public Layer {
 public:
  ActivityRegularization(const std::string& type, const std::string& name, float l1, float l2)
      : Layer(type, name), l1_(l1), l2_(l2) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override { return infer_like_input(inputs); }

  void forward(const Context& run) const override { copy(run.input(), run.outputs[0], element_count(run.input_specs[0].shape)); }

#if REKUR_TRAINING
  bool has_penalty() const override { return l1_ != 0 || l2_ != 0; }

  double penalty(const Context& run) const override {
    const float* x = run.input();
    const CountedRows rows(run);
    double magnitude = 0, square = 0;
    for (Index b = 0; b < run.batch(); ++b) {
      for (Index i = rows.begin(b); i < rows.end(b); ++i) {
        magnitude += std::abs(static_cast<double>(x[i]));
        square += static_cast<double>(x[i]) * static_cast<double>(x[i]);
      }
    }
    return (static_cast<double>(l1_) * magnitude + static_cast<double>(l2_) * square) / static_cast<double>(run.rows_of_whole());
  }

  void backward(const Context& run) const override {
    float* dx = run.d_inputs[0];
    if (dx == nullptr) return;
    const Index n = element_count(run.input_specs[0].shape);
    if (run.d_outputs[0] != nullptr) accumulate(run.d_outputs[0], dx, n);
    if (!run.penalties) return;
    const auto rows_of_whole = static_cast<float>(run.rows_of_whole());
    const float l1 = l1_ / rows_of_whole, l2 = 2 * l2_ / rows_of_whole;
    const float* x = run.input();
    const CountedRows rows(run);
    over_rows(run.batch(), rows.size, 3, [&](Index begin, Index end) {
      for (Index b = begin; b < end; ++b)
        for (Index i = rows.begin(b); i < rows.end(b); ++i) dx[i] += l2 * x[i] + (x[i] > 0 ? l1 : x[i] < 0 ? -l1 : 0);
    });
  }
#endif

  std::unique_ptr<const StreamOp> stream(const StreamBuild&) const override { return nullptr; }

 private:
  [[maybe_unused]] float l1_, l2_;  // of training alone
};

}  // namespace

std::unique_ptr<Layer> make_activity_regularization(json::Reader& spec, const std::string& type, const std::string& name) {
  const auto factor = [&](const char* key) {
    const double value = spec.number(key, 0);
    if (!(value >= 0 && value <= 3.4e38)) spec.refuse(key, "0 or more");
    return static_cast<float>(value);
  };
  const float l1 = factor("l1"), l2 = factor("l2");
  return std::make_unique<ActivityRegularization>(type, name, l1, l2);
}

}  // namespace rekur::layers
