// LayerNormalization: every row of features to mean 0 and variance 1, then scaled and shifted. Ba, Kiros and Hinton,
// arXiv:1607.06450.
//   x̂ = (x - mean) / sqrt(variance + epsilon)   y = x̂ ⊙ gamma + beta       mean and variance over the last axis
//   g = dy ⊙ gamma   dx = (g - mean g - x̂ mean(g x̂)) / sqrt(variance + epsilon)   dgamma = Σ_rows dy ⊙ x̂   dbeta = Σ_rows dy
#include <limits>

#include "layers/activation_spec.hpp"
#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"

namespace rekur::layers {
namespace {

constexpr Index kMoments = 3;  // of a row, on the tape: see simd::Kernels::layer_norm

class LayerNormalization final : public Layer {
 public:
  struct Settings {
    float epsilon;
    bool scale, center;
    std::string gamma_initializer, beta_initializer;
  };

  LayerNormalization(const std::string& type, const std::string& name, Settings settings)
      : Layer(type, name), s_(std::move(settings)) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override { return infer_like_input(inputs); }

  std::vector<ParamSpec> parameters(std::span<const TensorSpec> inputs) const override {
    const Index n = features_of(inputs[0].shape);
    std::vector<ParamSpec> specs;
    if (s_.scale) add_parameter(specs, "", "gamma", {n}, s_.gamma_initializer, n);
    if (s_.center) add_parameter(specs, "", "beta", {n}, s_.beta_initializer, n);
    return specs;
  }

  Index tape_size(std::span<const TensorSpec> inputs, bool training) const override {
    return training ? kMoments * rows_of(inputs[0].shape) : 0;
  }

  void forward(const Context& run) const override {
    const Index n = features_of(run.input_specs[0].shape);
    const auto& k = isa::kernels();
    over_rows(rows_of(run.input_specs[0].shape), n, 8, [&](Index begin, Index end) {
      float* moments = run.training ? run.tape + kMoments * begin : nullptr;
      k.layer_norm(run.input() + begin * n, gamma(run.weights, n), beta(run.weights, n), s_.epsilon, run.outputs[0] + begin * n,
                   moments, end - begin, n);
    });
  }

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    const float* dy = run.d_outputs[0];
    if (dy == nullptr) return;
    const Index rows = rows_of(run.input_specs[0].shape), n = features_of(run.input_specs[0].shape);
    const auto& k = isa::kernels();
    if (float *d_gamma = gamma(run.d_weights, n), *d_beta = beta(run.d_weights, n); d_gamma != nullptr || d_beta != nullptr) {
      over_columns(rows, n, 4, [&](Index begin, Index end) {
        k.affine_gradients(run.input() + begin, run.tape, dy + begin, rows, end - begin, n, d_gamma ? d_gamma + begin : nullptr,
                           d_beta ? d_beta + begin : nullptr);
      });
    }
    if (run.d_inputs[0] == nullptr) return;
    over_rows(rows, n, 12, [&](Index begin, Index end) {
      k.layer_norm_backward(run.input() + begin * n, run.tape + kMoments * begin, gamma(run.weights, n), dy + begin * n,
                            run.d_inputs[0] + begin * n, end - begin, n);
    });
  }
#endif

  StepAxes step_axes() const override { return StepAxes::rows; }
  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    const Index n = features_of(build.inputs[0].shape);
    const auto copy_of = [n](const float* from) { return from ? std::vector<float>(from, from + n) : std::vector<float>(); };
    return make_stream_op([n, gamma = copy_of(gamma(build.weights, n)), beta = copy_of(beta(build.weights, n)),
                           epsilon = s_.epsilon, &k = isa::kernels()](const StreamCall& c) {
      k.layer_norm(c.input(), gamma.empty() ? nullptr : gamma.data(), beta.empty() ? nullptr : beta.data(), epsilon, c.output(),
                   nullptr, c.batch, n);
    });
  }

 private:
  // Null where there is none.
  template <class T>
  T* gamma(T* parameters, Index) const {
    return s_.scale ? parameters : nullptr;
  }
  template <class T>
  T* beta(T* parameters, Index n) const {
    return !s_.center || parameters == nullptr ? nullptr : parameters + (s_.scale ? n : 0);
  }

  Settings s_;
};

}  // namespace

std::unique_ptr<Layer> make_layer_normalization(json::Reader& spec, const std::string& type, const std::string& name) {
  const double epsilon = spec.number("epsilon", 1e-3);
  // As float32, and no denormal, which would count as 0: rows of equal features would be 0 / 0.
  using Limits = std::numeric_limits<float>;
  if (!(epsilon >= static_cast<double>(Limits::min()) && epsilon <= static_cast<double>(Limits::max()))) {
    spec.refuse("epsilon", "a positive float32 number");
  }
  LayerNormalization::Settings settings;
  settings.epsilon = static_cast<float>(epsilon);
  settings.scale = spec.boolean("scale", true);
  settings.center = spec.boolean("center", true);
  settings.gamma_initializer = read_initializer(spec, "gamma_initializer", "ones");
  settings.beta_initializer = read_initializer(spec, "beta_initializer", "zeros");
  return std::make_unique<LayerNormalization>(type, name, std::move(settings));
}

}  // namespace rekur::layers
