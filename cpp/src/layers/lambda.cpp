// Lambda: equations of one's own, at every row alike: y = f(x₀, x₁, …) over the features of a row.
//   dxᵢ = Σ dy ⊙ ∂f/∂xᵢ, derived (equations/derive.cpp)
#include <algorithm>

#include "equations/code.hpp"
#include "isa/dispatch.hpp"
#include "layers/equations_run.hpp"
#include "layers/equations_spec.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"

namespace rekur::layers {
namespace {

using equations::Code;
using equations::Extent;
using equations::Graph;

class Lambda final : public Layer {
 public:
  Lambda(const std::string& type, const std::string& name, equations::Equations f) : Layer(type, name), f_(std::move(f)) {}

  // Inputs have the same number of features, or one, which then goes with every feature of the others.
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, f_.inputs.size(), f_.inputs.size());
    TensorSpec joined;
    for (const TensorSpec& input : inputs) {
      expect_features(input);
      if (joined.shape.empty()) {
        joined = input;
        continue;
      }
      bool fits = input.shape.size() == joined.shape.size();
      for (std::size_t d = 0; fits && d + 1 < input.shape.size(); ++d) fits = unify(joined.shape[d], input.shape[d]);
      Index& features = joined.shape.back();
      if (features == 1) features = input.shape.back();
      if (!fits || (input.shape.back() != features && input.shape.back() != 1))
        fail("expected inputs of equal shapes, or of one feature, got % and %", {inputs[0].shape, input.shape});
      if (joined.time_source < 0) joined.time_source = input.time_source;
    }
    const Graph graph(f_, extents(inputs, joined.shape.back()));
    std::vector<TensorSpec> outputs;
    for (const int value : graph.outputs()) {
      if (graph.extent(value) == Extent::constant) fail("an output does not depend on any input");
      outputs.push_back(joined);
      if (graph.extent(value) == Extent::row) outputs.back().shape.back() = 1;
    }
    return outputs;
  }

  void build(std::span<const TensorSpec> inputs) override {
    features_ = 1;
    for (const TensorSpec& input : inputs) features_ = std::max(features_, features_of(input.shape));
    Graph graph(f_, extents(inputs, features_));
    std::vector<equations::Wanted> wanted;
    for (const int value : graph.outputs()) wanted.push_back({value});
    forward_ = Code(graph, wanted);
#if REKUR_TRAINING
    std::vector<int> arriving;
    for (const int value : graph.outputs()) arriving.push_back(graph.input(graph.extent(value)));
    const std::vector<int> gradients = graph.derive(arriving);
    wanted.clear();
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      if (gradients[i] < 0) continue;  // f does not depend on it
      wanted.push_back({.value = gradients[i], .accumulate = true});
      reached_.push_back(i);
    }
    backward_ = Code(graph, wanted);
#endif
  }

  void forward(const Context& run) const override {
    std::vector<const float*> inputs;
    for (std::size_t i = 0; i < run.inputs.size(); ++i) inputs.push_back(run.input(i));
    carry_out(forward_, inputs.data(), run.outputs.data(), rows_of(run.output_specs[0].shape), features_);
  }

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    std::vector<const float*> inputs;
    std::vector<float*> gradients;
    for (std::size_t i = 0; i < run.inputs.size(); ++i) inputs.push_back(run.input(i));
    for (const float* arriving : run.d_outputs) inputs.push_back(arriving);
    for (const std::size_t i : reached_) gradients.push_back(run.d_inputs[i]);
    if (std::all_of(gradients.begin(), gradients.end(), [](const float* d) { return d == nullptr; })) return;
    if (std::all_of(run.d_outputs.begin(), run.d_outputs.end(), [](const float* d) { return d == nullptr; })) return;
    carry_out(backward_, inputs.data(), gradients.data(), rows_of(run.output_specs[0].shape), features_);
  }
#endif

  StepAxes step_axes() const override { return StepAxes::rows; }
  std::unique_ptr<const StreamOp> stream(const StreamBuild&) const override { return std::make_unique<Op>(forward_, features_); }

 private:
  class Op final : public StreamOp {
   public:
    Op(const Code& code, Index features) : code_(code), features_(features), kernels_(isa::kernels()) {}

    bool rowwise() const override { return true; }
    Index memory(Index) const override { return code_.memory(code_.row_length(features_)); }

    void step(const StreamCall& c, int) const noexcept override {
      const float* inputs[equations::kMostInputs];
      float* outputs[equations::kMostOutputs];
      for (std::size_t i = 0; i < code_.inputs(); ++i) inputs[i] = c.input(static_cast<int>(i));
      for (std::size_t k = 0; k < code_.outputs(); ++k) outputs[k] = c.output(static_cast<int>(k));
      code_.run_rows(kernels_, inputs, outputs, 0, c.batch, features_, c.memory);
    }

   private:
    Code code_;
    Index features_;
    const simd::Kernels& kernels_;
  };

  static bool unify(Index& a, Index b) {
    if (a == kUnknown) a = b;
    return b == kUnknown || a == b;
  }

  static std::vector<Extent> extents(std::span<const TensorSpec> inputs, Index features) {
    std::vector<Extent> found;
    for (const TensorSpec& input : inputs) found.push_back(features_of(input.shape) == features ? Extent::feature : Extent::row);
    return found;
  }

  equations::Equations f_;
  Index features_ = 0;
  Code forward_, backward_;
  std::vector<std::size_t> reached_;  // inputs that the outputs depend on
};

}  // namespace

std::unique_ptr<Layer> make_lambda(json::Reader& spec, const std::string& type, const std::string& name) {
  return std::make_unique<Lambda>(type, name, read_equations(spec, "equations"));
}

}  // namespace rekur::layers
