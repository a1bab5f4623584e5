// Slice: features [start, stop) of the last axis; negative ones count from its end.
#include <algorithm>
#include <optional>

#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"

namespace rekur::layers {
namespace {

class Slice final : public Layer {
 public:
  // No stop: to the end.
  Slice(const std::string& type, const std::string& name, Index start, std::optional<Index> stop)
      : Layer(type, name), start_(start), stop_(stop) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 1, 1);
    expect_features(inputs[0]);
    const Index n = features_of(inputs[0].shape);
    const Index start = from_start(start_, n), stop = from_start(stop_.value_or(n), n);
    const bool within = start >= 0 && start <= n && stop >= 0 && stop <= n;
    if (!within || start >= stop) {
      fail("features [%, %) % the input's % (input shape %)",
           {start_, (stop_ ? compose("%", {*stop_}) : "end"), (within ? "are none of" : "do not lie within"), n, inputs[0].shape});
    }
    TensorSpec output = inputs[0];
    output.shape.back() = stop - start;
    return one(std::move(output));
  }

  void forward(const Context& run) const override {
    const Index from = features_of(run.input_specs[0].shape), to = features_of(run.output_specs[0].shape);
    over_rows(rows_of(run.output_specs[0].shape), to, 1, [&](Index begin, Index end) {
      const float* first = run.input() + from_start(start_, from);
      for (Index row = begin; row < end; ++row) std::copy_n(first + row * from, to, run.outputs[0] + row * to);
    });
  }

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    if (run.d_outputs[0] == nullptr || run.d_inputs[0] == nullptr) return;
    const Index from = features_of(run.input_specs[0].shape), to = features_of(run.output_specs[0].shape);
    const auto& k = isa::kernels();
    over_rows(rows_of(run.output_specs[0].shape), to, 1, [&](Index begin, Index end) {
      float* first = run.d_inputs[0] + from_start(start_, from);
      for (Index row = begin; row < end; ++row) k.add(first + row * from, run.d_outputs[0] + row * to, first + row * from, to);
    });
  }
#endif

  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    const Index from = features_of(build.inputs[0].shape), to = features_of(build.outputs[0].shape);
    return make_stream_op([first = from_start(start_, from), from, to](const StreamCall& c) {
      for (Index row = 0; row < c.batch; ++row) std::copy_n(c.input() + first + row * from, to, c.output() + row * to);
    });
  }

 private:
  static Index from_start(Index place, Index n) { return place < 0 ? place + n : place; }

  Index start_;
  std::optional<Index> stop_;
};

}  // namespace

std::unique_ptr<Layer> make_slice(json::Reader& spec, const std::string& type, const std::string& name) {
  const Index start = spec.integer("start", 0);
  const json::Value* stop = spec.find("stop");
  const bool given = stop != nullptr && !stop->is_null();
  if (given && !stop->is_integer()) spec.refuse("stop", "an integer or null (the end)");
  return std::make_unique<Slice>(type, name, start, given ? std::optional<Index>(stop->integer()) : std::nullopt);
}

}  // namespace rekur::layers
