// Affine and Rescaling: y = x ⊙ scale + offset over the last axis, with parameters gamma and beta or with constants.
//   dx = dy ⊙ gamma   dgamma = Σ_rows dy ⊙ x   dbeta = Σ_rows dy
#include <cmath>
#include <limits>

#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"

namespace rekur::layers {
namespace {

class Scaling : public Layer {
 public:
  using Layer::Layer;

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override { return infer_like_input(inputs); }

 protected:
  // `by` and `offset` repeat every `width` elements.
  static void scale(const Context& run, Index width, const float* by, const float* offset) {
    const auto& k = isa::kernels();
    over_periods(run, width, [&](Index begin, Index rows, Index n) {
      k.affine(run.input() + begin, by, offset, run.outputs[0] + begin, rows, n);
    });
  }

#if REKUR_TRAINING
  static void scale_backward(const Context& run, Index width, const float* by) {
    if (run.d_inputs[0] == nullptr) return;
    const auto& k = isa::kernels();
    over_periods(run, width, [&](Index begin, Index rows, Index n) {
      for (Index at = begin; at < begin + rows * n; at += n) k.multiply_add(run.d_outputs[0] + at, by, run.d_inputs[0] + at, n);
    });
  }
#endif

  // The same for streams.
  static std::unique_ptr<const StreamOp> stream_scale(const StreamBuild& build, std::vector<float> by, std::vector<float> offset) {
    const Index features = features_of(build.inputs[0].shape);
    return make_stream_op([by = std::move(by), offset = std::move(offset), features, &k = isa::kernels()](const StreamCall& c) {
      const Index width = static_cast<Index>(by.size()), n = c.batch * features, rest = n % width;
      k.affine(c.input(), by.data(), offset.data(), c.output(), n / width, width);
      k.affine(c.input() + n - rest, by.data(), offset.data(), c.output() + n - rest, 1, rest);
    });
  }

 private:
  // task(begin, rows, n): rows of n elements from element `begin` on; the last row may be shorter than the others.
  template <class Task>
  static void over_periods(const Context& run, Index width, const Task& task) {
    const Index size = element_count(run.input_specs[0].shape), rest = size % width;
    over_rows(size / width, width, 2, [&](Index begin, Index end) { task(begin * width, end - begin, width); });
    if (rest > 0) task(size - rest, 1, rest);
  }
};

class Affine final : public Scaling {
 public:
  Affine(const std::string& type, const std::string& name, bool center) : Scaling(type, name), center_(center) {}

  void build(std::span<const TensorSpec> inputs) override {
    if (!center_) zeros_.assign(static_cast<std::size_t>(features_of(inputs[0].shape)), 0.0f);
  }

  std::vector<ParamSpec> parameters(std::span<const TensorSpec> inputs) const override {
    const Index n = features_of(inputs[0].shape);
    std::vector<ParamSpec> specs;
    add_parameter(specs, "", "gamma", {n}, "\"ones\"", n);
    if (center_) add_parameter(specs, "", "beta", {n}, "\"zeros\"", n);
    return specs;
  }

  void forward(const Context& run) const override {
    const Index n = features_of(run.input_specs[0].shape);
    scale(run, n, run.weights, beta(run.weights, n));
  }

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    const float* dy = run.d_outputs[0];
    if (dy == nullptr) return;
    const Index n = features_of(run.input_specs[0].shape);
    if (run.d_weights != nullptr) {
      const Index rows = rows_of(run.input_specs[0].shape);
      const auto& k = isa::kernels();
      over_columns(rows, n, 3, [&](Index begin, Index end) {
        k.affine_gradients(run.input() + begin, nullptr, dy + begin, rows, end - begin, n, run.d_weights + begin,
                           center_ ? run.d_weights + n + begin : nullptr);
      });
    }
    scale_backward(run, n, run.weights);
  }
#endif

  StepAxes step_axes() const override { return StepAxes::rows; }
  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    const Index n = features_of(build.inputs[0].shape);
    const float *gamma = build.weights, *offset = beta(gamma, n);
    return stream_scale(build, {gamma, gamma + n}, {offset, offset + n});
  }

 private:
  const float* beta(const float* weights, Index n) const { return center_ ? weights + n : zeros_.data(); }

  bool center_;
  std::vector<float> zeros_;
};

class Rescaling final : public Scaling {
 public:
  // One value for all features, or one each.
  using Values = std::vector<float>;

  Rescaling(const std::string& type, const std::string& name, Values scale, bool scales, Values offset, bool offsets)
      : Scaling(type, name), scale_(std::move(scale)), offset_(std::move(offset)), scales_(scales), offsets_(offsets) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    std::vector<TensorSpec> outputs = Scaling::infer(inputs);
    if (scales_) check_values(inputs[0], "scale", scale_);
    if (offsets_) check_values(inputs[0], "offset", offset_);
    return outputs;
  }

  void build(std::span<const TensorSpec> inputs) override {
    // Two numbers repeat however long the row; a list has the row's length, which the spec has paid for.
    constexpr std::size_t kUniform = 256;
    const auto n = scales_ || offsets_ ? static_cast<std::size_t>(features_of(inputs[0].shape)) : kUniform;
    // A copy each: assign may give its memory back before it reads an element of its own, and libc++'s does.
    if (!scales_) scale_ = Values(n, scale_[0]);
    if (!offsets_) offset_ = Values(n, offset_[0]);
  }

  void forward(const Context& run) const override { scale(run, width(), scale_.data(), offset_.data()); }

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    if (run.d_outputs[0] != nullptr) scale_backward(run, width(), scale_.data());
  }
#endif

  StepAxes step_axes() const override { return StepAxes::rows; }
  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override { return stream_scale(build, scale_, offset_); }

 private:
  Index width() const { return static_cast<Index>(scale_.size()); }

  void check_values(const TensorSpec& input, const char* key, const Values& values) const {
    if (static_cast<Index>(values.size()) == features_of(input.shape)) return;
    fail("'%': expected a number or % of them, one a feature, got % (input shape %)",
         {key, features_of(input.shape), values.size(), input.shape});
  }

  Values scale_, offset_;
  bool scales_, offsets_;  // whether a list was given
};

// Whether a list stands there; it may be of any length, but not empty.
bool read_values(json::Reader& spec, const char* key, double fallback, std::vector<float>& values) {
  const json::Value* given = spec.find(key);
  const bool list = given != nullptr && given->is_array();
  const json::Value missing(fallback);
  const std::span<const json::Value> numbers = list ? std::span(given->array()) : std::span(given != nullptr ? given : &missing, 1);
  if (numbers.empty()) spec.refuse(key, "a number or a list of numbers, one a feature");
  values.reserve(numbers.size());
  for (const json::Value& number : numbers) {
    if (!number.is_number()) spec.refuse(key, "a number or a list of numbers, one a feature");
    if (!(std::abs(number.number()) <= static_cast<double>(std::numeric_limits<float>::max()))) {
      spec.fail("'%' must hold finite float32 numbers, got %", {key, json::describe(number)});
    }
    values.push_back(static_cast<float>(number.number()));
  }
  return list;
}

}  // namespace

std::unique_ptr<Layer> make_affine(json::Reader& spec, const std::string& type, const std::string& name) {
  return std::make_unique<Affine>(type, name, spec.boolean("center", true));
}

std::unique_ptr<Layer> make_rescaling(json::Reader& spec, const std::string& type, const std::string& name) {
  Rescaling::Values scale, offset;
  const bool scales = read_values(spec, "scale", 1, scale), offsets = read_values(spec, "offset", 0, offset);
  return std::make_unique<Rescaling>(type, name, std::move(scale), scales, std::move(offset), offsets);
}

}  // namespace rekur::layers
