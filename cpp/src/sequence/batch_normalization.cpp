// BatchNormalization: every feature to mean 0 and variance 1. Ioffe and Szegedy, arXiv:1502.03167.
//   in training  mean, variance (biased) over the n valid (row, step) pairs of the batch
//   otherwise, and where the layer is not trained, the running ones
//   x̂ = (x - mean) / sqrt(variance + epsilon)   y = x̂ ⊙ gamma + beta
//   g = dy ⊙ gamma   dx = (g - [x valid] (Σ g + x̂ Σ g x̂) / n) / sqrt(variance + epsilon)   dgamma = Σ dy ⊙ x̂   dbeta = Σ dy
// Behind a step that succeeded: running = momentum running + (1 - momentum) batch's, unless nothing was valid.
#include <cmath>
#include <limits>

#include "layers/activation_spec.hpp"
#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"

namespace rekur::layers {
namespace {

#if REKUR_TRAINING
constexpr Index kColumns = 64;  // of a thread's sums at a time
#endif

class BatchNormalization final : public Layer {
 public:
  struct Settings {
    float momentum, epsilon;
    bool scale, center;
    std::string gamma_initializer, beta_initializer, mean_initializer, variance_initializer;
  };

  BatchNormalization(const std::string& type, const std::string& name, Settings settings)
      : Layer(type, name), s_(std::move(settings)) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override { return infer_like_input(inputs); }

  void build(std::span<const TensorSpec> inputs) override { n_ = features_of(inputs[0].shape); }

  std::vector<ParamSpec> parameters(std::span<const TensorSpec> inputs) const override {
    const Index n = features_of(inputs[0].shape);
    std::vector<ParamSpec> specs;
    if (s_.scale) add_parameter(specs, "", "gamma", {n}, s_.gamma_initializer, n);
    if (s_.center) add_parameter(specs, "", "beta", {n}, s_.beta_initializer, n);
    add_parameter(specs, "", "moving_mean", {n}, s_.mean_initializer, n);
    add_parameter(specs, "", "moving_variance", {n}, s_.variance_initializer, n);
    specs[specs.size() - 2].trainable = specs.back().trainable = false;
    return specs;
  }

  // What is observed (mean, variance, the number of pairs: 0 where the running statistics were used), then what x is multiplied by,
  // what is added, and 1 / sqrt(variance + epsilon).
  Index tape_size(std::span<const TensorSpec> inputs, bool) const override { return 5 * features_of(inputs[0].shape) + 1; }

  void forward(const Context& run) const override {
    const Index n = n_;
    float *const scale = run.tape + 2 * n + 1, *const offset = scale + n, *const inverse = offset + n;
    const float *mean = moving(run.weights), *variance = mean + n;
#if REKUR_TRAINING
    if (run.training) {
      run.tape[2 * n] = 0;
      if (!run.frozen) {
        observe(run);
        mean = run.tape, variance = mean + n;
      }
    }
#endif
    fold(run.weights, mean, variance, scale, offset, inverse);
    const auto& k = isa::kernels();
    over_rows(rows_of(run.input_specs[0].shape), n, 2, [&](Index begin, Index end) {
      k.affine(run.input() + begin * n, scale, offset, run.outputs[0] + begin * n, end - begin, n);
    });
  }

#if REKUR_TRAINING
  Index observed(std::span<const TensorSpec> inputs) const override { return 2 * features_of(inputs[0].shape) + 1; }

  void follow(const float* observed, float* weights) const override {
    if (observed[2 * n_] == 0) return;
    float* running = weights + (moving(weights) - weights);
    for (Index i = 0; i < 2 * n_; ++i) running[i] = running[i] * s_.momentum + observed[i] * (1 - s_.momentum);
  }

  Index backward_scratch(std::span<const TensorSpec> inputs) const override { return 2 * features_of(inputs[0].shape); }

  void backward(const Context& run) const override {
    const float* dy = run.d_outputs[0];
    if (dy == nullptr) return;
    const Index rows = rows_of(run.input_specs[0].shape), n = n_;
    const float count = run.tape[2 * n], *const x = run.input();
    const float* const mean = count > 0 ? run.tape : moving(run.weights);
    const float *const scale = run.tape + 2 * n + 1, *const inverse = scale + 2 * n;
    float *const sums = run.scratch, *const products = sums + n;  // of dy, of dy x̂
    over_columns(rows, n, 5, [&](Index from, Index to) {
      for (Index begin = from; begin < to; begin += kColumns) {
        const Index width = std::min(kColumns, to - begin);
        double sum[kColumns] = {}, product[kColumns] = {};
        for (Index row = 0; row < rows; ++row) {
          for (Index c = 0; c < width; ++c) {
            const Index i = begin + c;
            const double d = static_cast<double>(dy[row * n + i]);
            if (d == 0) continue;  // padding may hold NaN
            sum[c] += d;
            product[c] += d * static_cast<double>((x[row * n + i] - mean[i]) * inverse[i]);
          }
        }
        for (Index c = 0; c < width; ++c) {
          sums[begin + c] = static_cast<float>(sum[c]);
          products[begin + c] = static_cast<float>(product[c]);
        }
      }
    });
    if (run.d_weights != nullptr) {
      float* to = run.d_weights;
      if (s_.scale) {
        for (Index i = 0; i < n; ++i) to[i] += products[i];
        to += n;
      }
      for (Index i = 0; s_.center && i < n; ++i) to[i] += sums[i];
    }
    float* const dx = run.d_inputs[0];
    if (dx == nullptr) return;
    const Valid valid(run);
    const float share = count > 0 ? 1 / count : 0;
    over_rows(rows, n, 6, [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row) {
        const Index at = row * n;
        if (!valid(row)) {
          for (Index i = 0; i < n; ++i) dx[at + i] += scale[i] * dy[at + i];
          continue;
        }
        for (Index i = 0; i < n; ++i) {
          const float normal = (x[at + i] - mean[i]) * inverse[i];
          dx[at + i] += scale[i] * (dy[at + i] - share * (sums[i] + normal * products[i]));
        }
      }
    });
  }
#endif

  StepAxes step_axes() const override { return StepAxes::rows; }
  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    std::vector<float> values(static_cast<std::size_t>(3 * n_));
    const float* mean = moving(build.weights);
    fold(build.weights, mean, mean + n_, values.data(), values.data() + n_, values.data() + 2 * n_);
    return make_stream_op([n = n_, values = std::move(values), &k = isa::kernels()](const StreamCall& c) {
      k.affine(c.input(), values.data(), values.data() + n, c.output(), c.batch, n);
    });
  }

 private:
  const float* moving(const float* weights) const { return weights + (s_.scale ? n_ : 0) + (s_.center ? n_ : 0); }

  void fold(const float* weights, const float* mean, const float* variance, float* scale, float* offset, float* inverse) const {
    const float* const beta = s_.center ? weights + (s_.scale ? n_ : 0) : nullptr;
    for (Index i = 0; i < n_; ++i) {
      inverse[i] = 1 / std::sqrt(variance[i] + s_.epsilon);
      scale[i] = s_.scale ? inverse[i] * weights[i] : inverse[i];
      offset[i] = (beta ? beta[i] : 0) - mean[i] * scale[i];
    }
  }

#if REKUR_TRAINING
  // Which rows of features count.
  class Valid {
   public:
    explicit Valid(const Context& run) : steps_(run.steps()) {
      const Shape& shape = run.input_specs[0].shape;
      if (steps_.lengths == nullptr || shape.size() < 3) return;
      T_ = shape[1];
      inner_ = rows_of(shape) / std::max<Index>(shape[0] * T_, 1);
    }
    bool operator()(Index row) const {
      if (T_ == 0) return true;
      const Index pair = row / inner_;
      return steps_.is_valid(pair / T_, pair % T_);
    }

   private:
    RowSteps steps_;
    Index T_ = 0, inner_ = 1;  // T 0: all of them
  };

  // Mean and variance in two passes, in double; threads share the columns.
  void observe(const Context& run) const {
    const Index rows = rows_of(run.input_specs[0].shape), n = n_;
    const float* const x = run.input();
    const Valid valid(run);
    Index count = 0;
    for (Index row = 0; row < rows; ++row) count += valid(row) ? 1 : 0;
    run.tape[2 * n] = static_cast<float>(count);
    const double share = count > 0 ? 1 / static_cast<double>(count) : 0;
    over_columns(rows, n, 6, [&](Index from, Index to) {
      for (Index begin = from; begin < to; begin += kColumns) {
        const Index width = std::min(kColumns, to - begin);
        double sum[kColumns] = {}, square[kColumns] = {};
        for (Index row = 0; row < rows; ++row)
          if (valid(row))
            for (Index c = 0; c < width; ++c) sum[c] += static_cast<double>(x[row * n + begin + c]);
        for (Index c = 0; c < width; ++c) sum[c] *= share;
        for (Index row = 0; row < rows; ++row) {
          if (!valid(row)) continue;
          for (Index c = 0; c < width; ++c) {
            const double away = static_cast<double>(x[row * n + begin + c]) - sum[c];
            square[c] += away * away;
          }
        }
        for (Index c = 0; c < width; ++c) {
          run.tape[begin + c] = static_cast<float>(sum[c]);
          run.tape[n + begin + c] = static_cast<float>(square[c] * share);
        }
      }
    });
  }
#endif

  Settings s_;
  Index n_ = 0;
};

}  // namespace

std::unique_ptr<Layer> make_batch_normalization(json::Reader& spec, const std::string& type, const std::string& name) {
  const double epsilon = spec.number("epsilon", 1e-3), momentum = spec.number("momentum", 0.99);
  using Limits = std::numeric_limits<float>;
  if (!(epsilon >= static_cast<double>(Limits::min()) && epsilon <= static_cast<double>(Limits::max())))
    spec.refuse("epsilon", "a positive float32 number");
  if (!(momentum >= 0 && momentum <= 1)) spec.refuse("momentum", "from 0 to 1");
  BatchNormalization::Settings settings;
  settings.epsilon = static_cast<float>(epsilon);
  settings.momentum = static_cast<float>(momentum);
  settings.scale = spec.boolean("scale", true);
  settings.center = spec.boolean("center", true);
  settings.gamma_initializer = read_initializer(spec, "gamma_initializer", "ones");
  settings.beta_initializer = read_initializer(spec, "beta_initializer", "zeros");
  settings.mean_initializer = read_initializer(spec, "moving_mean_initializer", "zeros");
  settings.variance_initializer = read_initializer(spec, "moving_variance_initializer", "ones");
  return std::make_unique<BatchNormalization>(type, name, std::move(settings));
}

}  // namespace rekur::layers
