// AddLoss: adds the sum or the mean of all that its input holds to the loss of a training step or an evaluation. Nothing can read
// its output: other runs leave it out with all that only it needs.
#include <algorithm>
#include <numeric>

#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "sequence/counted_rows.hpp"

namespace rekur::layers {
namespace {

class AddLoss final : public Layer {
 public:
  AddLoss(const std::string& type, const std::string& name, bool mean) : Layer(type, name), mean_(mean) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 1, 1);
    expect_features(inputs[0]);
    return one({.shape = {inputs[0].shape[0], 1}});
  }

  bool only_adds() const override { return true; }
  void forward(const Context& /*run*/) const override {}

#if REKUR_TRAINING
  bool has_penalty() const override { return true; }

  double penalty(const Context& run) const override {
    const CountedRows rows(run);
    double all = 0;
    for (Index b = 0; b < rows.batch; ++b) all = std::accumulate(run.input() + rows.begin(b), run.input() + rows.end(b), all);
    return all / divisor(run, rows);
  }

  void backward(const Context& run) const override {
    float* const dx = run.d_inputs[0];
    if (dx == nullptr) return;
    const CountedRows rows(run);
    const auto slope = static_cast<float>(1 / divisor(run, rows));
    over_rows(rows.batch, rows.size, 1, [&](Index begin, Index end) {
      for (Index b = begin; b < end; ++b)
        for (Index i = rows.begin(b); i < rows.end(b); ++i) dx[i] += slope;
    });
  }
#endif

 private:
#if REKUR_TRAINING
  // Of a part of a batch: the mean of the parts' means, each by its rows.
  double divisor(const Context& run, const CountedRows& rows) const {
    if (!mean_) return 1;
    return static_cast<double>(std::max<Index>(rows.count(), 1)) * static_cast<double>(run.rows_of_whole()) /
           static_cast<double>(run.batch());
  }
#endif

  [[maybe_unused]] bool mean_;  // of training alone
};

}  // namespace

std::unique_ptr<Layer> make_add_loss(json::Reader& spec, const std::string& type, const std::string& name) {
  const std::string reduction = spec.string("reduction", "sum");
  if (reduction != "sum" && reduction != "mean") spec.refuse("reduction", "\"sum\" or \"mean\"");
  return std::make_unique<AddLoss>(type, name, reduction == "mean");
}

}  // namespace rekur::layers
