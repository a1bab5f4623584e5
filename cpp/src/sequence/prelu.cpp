// PReLU: y = x for x > 0, else alpha ⊙ x, with an alpha for each place of a row, or one along the axes that are shared. He et al.,
// arXiv:1502.01852.
//   dx = dy where x > 0, else dy ⊙ alpha      dalpha = Σ dy x over the places that share it, where x <= 0
#include <algorithm>

#include "layers/activation_spec.hpp"
#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"

namespace rekur::layers {
namespace {

class PReLU final : public Layer {
 public:
  PReLU(const std::string& type, const std::string& name, std::vector<Index> shared, std::string initializer)
      : Layer(type, name), shared_(std::move(shared)), initializer_(std::move(initializer)) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    std::vector<TensorSpec> outputs = infer_like_input(inputs);
    const Shape& shape = inputs[0].shape;
    const Index rank = static_cast<Index>(shape.size());
    for (const Index axis : shared_)
      if (axis >= rank) fail("shared_axes: axis % is none of an input of shape %", {axis, shape});
    for (Index d = 1; d < rank; ++d) {
      if (shape[static_cast<std::size_t>(d)] == kUnknown && !is_shared(d))
        fail("axis % of its input of shape % must be known, or be one of shared_axes: alpha has a value for each place there",
             {d, shape});
    }
    return outputs;
  }

  std::vector<ParamSpec> parameters(std::span<const TensorSpec> inputs) const override {
    std::vector<ParamSpec> specs;
    add_parameter(specs, "", "alpha", {}, initializer_, features_of(inputs[0].shape));
    specs[0].shape = alpha_shape(inputs[0].shape);
    return specs;
  }

  void forward(const Context& run) const override {
    const Shape& shape = run.input_specs[0].shape;
    const Index n = features_of(shape), step = is_shared(static_cast<Index>(shape.size()) - 1) ? 0 : 1;
    const Places places(*this, shape);
    over_rows(rows_of(shape), n, 2, [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row)
        rectify(run.input() + row * n, run.weights + places.of(row), step, run.outputs[0] + row * n, n);
    });
  }

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    const float* dy = run.d_outputs[0];
    if (dy == nullptr) return;
    const Shape& shape = run.input_specs[0].shape;
    const Index rows = rows_of(shape), n = features_of(shape), step = is_shared(static_cast<Index>(shape.size()) - 1) ? 0 : 1;
    const Places places(*this, shape);
    if (float* dx = run.d_inputs[0]) {
      over_rows(rows, n, 3, [&](Index begin, Index end) {
        for (Index row = begin; row < end; ++row) {
          const float *x = run.input() + row * n, *alpha = run.weights + places.of(row), *d = dy + row * n;
          for (Index i = 0; i < n; ++i) dx[row * n + i] += x[i] > 0 ? d[i] : d[i] * alpha[i * step];
        }
      });
    }
    if (run.d_weights == nullptr) return;
    const auto add = [&](Index begin, Index end) {  // every sum in the order of the rows
      for (Index row = 0; row < rows; ++row) {
        const float *x = run.input() + row * n, *d = dy + row * n;
        float* to = run.d_weights + places.of(row);
        for (Index i = begin; i < end; ++i) to[i * step] += x[i] > 0 ? 0.0f : d[i] * x[i];
      }
    };
    if (step == 0)
      add(0, n);
    else
      over_columns(rows, n, 3, add);
  }
#endif

  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    const Shape& shape = build.inputs[0].shape;
    if (rank_ > 2 && !is_shared(1))
      cannot_stream("its alpha differs from time step to time step; shared_axes=[1] gives all the same");
    const Index n = features_of(shape), step = is_shared(rank_ - 1) ? 0 : 1;
    if (rank_ > 3) cannot_stream("its rows have further axes");
    std::vector<float> alpha(build.weights, build.weights + (step == 0 ? 1 : n));
    return make_stream_op([n, step, alpha = std::move(alpha)](const StreamCall& c) {
      for (Index row = 0; row < c.batch; ++row) rectify(c.input() + row * n, alpha.data(), step, c.output() + row * n, n);
    });
  }

  void build(std::span<const TensorSpec> inputs) override { rank_ = static_cast<Index>(inputs[0].shape.size()); }

 private:
  static void rectify(const float* x, const float* alpha, Index step, float* y, Index n) {
    for (Index i = 0; i < n; ++i) y[i] = x[i] > 0 ? x[i] : x[i] * alpha[i * step];
  }

  bool is_shared(Index axis) const { return std::find(shared_.begin(), shared_.end(), axis) != shared_.end(); }

  Shape alpha_shape(const Shape& shape) const {
    Shape alpha;
    for (std::size_t d = 1; d < shape.size(); ++d) alpha.push_back(is_shared(static_cast<Index>(d)) ? 1 : shape[d]);
    return alpha;
  }

  // Where the alpha of a row of features begins.
  class Places {
   public:
    Places(const PReLU& layer, const Shape& shape) {
      Index stride = layer.is_shared(static_cast<Index>(shape.size()) - 1) ? 1 : shape.back();
      for (std::size_t d = shape.size() - 1; d-- > 1;) {
        const bool shared = layer.is_shared(static_cast<Index>(d));
        sizes_[count_] = shape[d];
        strides_[count_++] = shared ? 0 : stride;
        if (!shared) stride *= shape[d];
      }
    }
    Index of(Index row) const {
      Index at = 0;
      for (std::size_t d = 0; d < count_; ++d) {
        at += row % sizes_[d] * strides_[d];
        row /= sizes_[d];
      }
      return at;
    }

   private:
    std::size_t count_ = 0;
    Index sizes_[kMostAxes], strides_[kMostAxes];
  };

  std::vector<Index> shared_;
  std::string initializer_;
  Index rank_ = 2;
};

}  // namespace

std::unique_ptr<Layer> make_prelu(json::Reader& spec, const std::string& type, const std::string& name) {
  std::vector<Index> shared;
  if (spec.find("shared_axes") != nullptr) {
    for (const json::Value& axis : spec.array("shared_axes")) {
      if (!axis.is_integer() || axis.integer() < 1 || axis.integer() >= static_cast<Index>(kMostAxes))
        spec.refuse("shared_axes", "a list of axes from 1 on");
      shared.push_back(axis.integer());
    }
  }
  return std::make_unique<PReLU>(type, name, std::move(shared), read_initializer(spec, "alpha_initializer", "zeros"));
}

}  // namespace rekur::layers
