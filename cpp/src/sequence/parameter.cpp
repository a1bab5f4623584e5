// Parameter: the layer's weights as a tensor, for every row of its input's batch; beside an input also for every one of its steps.
//   dw = Σ dy over rows, and over steps where all have the same
#include <algorithm>

#include "layers/activation_spec.hpp"
#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"

namespace rekur::layers {
namespace {

class Parameter final : public Layer {
 public:
  Parameter(const std::string& type, const std::string& name, Shape shape, bool beside, std::string initializer)
      : Layer(type, name), shape_(std::move(shape)), beside_(beside), initializer_(std::move(initializer)) {
    // Axes of size 1 in front say no more than their absence: sizes are compared from the last axis on.
    row_.assign(std::find_if(shape_.begin(), shape_.end(), [](Index n) { return n != 1; }), shape_.end());
    if (row_.empty()) row_.push_back(1);
  }

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 1, 1);
    const TensorSpec& x = inputs[0];
    Shape y{x.shape[0]};
    if (!beside_) {
      y.insert(y.end(), row_.begin(), row_.end());
      return one({std::move(y), DType::float32, -1, {.own = true}});
    }
    expect_features(x);
    if (row_.size() >= x.shape.size())
      fail("has weights of shape %, more axes than rows of its input of shape %", {shape_, x.shape});
    const Shape own = aligned(x.shape.size());
    y.insert(y.end(), own.begin(), own.end());
    if (x.has_time()) {
      if (own[0] != 1 && own[0] != x.shape[1])
        fail("has weights of % time steps, and its input of shape % %",
             {own[0], x.shape, x.shape[1] == kUnknown ? "leaves its steps open: give the input's steps" : "has others"});
      y[1] = x.shape[1];
    }
    return one({std::move(y), DType::float32, x.time_source});
  }

  std::vector<ParamSpec> parameters(std::span<const TensorSpec>) const override {
    std::vector<ParamSpec> specs;
    add_parameter(specs, "", "value", {}, initializer_, row_.back());
    specs[0].shape = shape_;
    return specs;
  }

  void build(std::span<const TensorSpec> inputs) override {
    differ_ = beside_ ? inputs[0].has_time() && aligned(inputs[0].shape.size())[0] != 1 : row_.size() > 1;
  }

  void forward(const Context& run) const override {
    const Index n = element_count(row_), copies = copies_of(run);
    over_rows(copies, n, 1, [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row) std::copy_n(run.weights, n, run.outputs[0] + row * n);
    });
  }

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    if (run.d_outputs[0] == nullptr || run.d_weights == nullptr) return;
    const Index n = element_count(row_), copies = copies_of(run);
    const float* const dy = run.d_outputs[0];
    if (n == 1) {
      double sum = 0;
      for (Index row = 0; row < copies; ++row) sum += dy[row];
      run.d_weights[0] += static_cast<float>(sum);
      return;
    }
    const auto& k = isa::kernels();
    over_columns(copies, n, 1, [&](Index begin, Index end) {
      float* const to = run.d_weights + begin;
      for (Index row = 0; row < copies; ++row) k.add(to, dy + row * n + begin, to, end - begin);
    });
  }
#endif

  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    if (differ_) cannot_stream("its weights differ from time step to time step");
    std::vector<float> row(build.weights, build.weights + element_count(row_));
    return make_stream_op([row = std::move(row)](const StreamCall& c) {
      for (Index b = 0; b < c.batch; ++b) std::copy(row.begin(), row.end(), c.output() + b * static_cast<Index>(row.size()));
    });
  }

 private:
  // The shape of the weights beside rows of an input of so many axes, without the batch.
  Shape aligned(std::size_t rank) const {
    Shape found(rank - 1 - row_.size(), 1);
    found.insert(found.end(), row_.begin(), row_.end());
    return found;
  }

  // How often the weights stand in the output, one copy behind the other.
  Index copies_of(const Context& run) const { return element_count(run.output_specs[0].shape) / element_count(row_); }

  Shape shape_, row_;  // of the weights; row_: without axes of size 1 in front
  bool beside_, differ_ = false;
  std::string initializer_;
};

}  // namespace

std::unique_ptr<Layer> make_parameter(json::Reader& spec, const std::string& type, const std::string& name) {
  constexpr const char* kExpected = "an array of at most 4 sizes, each at least 1";
  Shape shape;
  for (const json::Value& value : spec.array("shape")) {
    if (!value.is_integer() || value.integer() < 1 || value.integer() > 2147483647) spec.refuse("shape", kExpected);
    shape.push_back(value.integer());
  }
  if (shape.size() >= kMostAxes) spec.refuse("shape", kExpected);
  const bool beside = spec.boolean("beside", false);
  return std::make_unique<Parameter>(type, name, std::move(shape), beside, read_initializer(spec, "initializer", "glorot_uniform"));
}

}  // namespace rekur::layers
