// Layers that disturb what goes through them in training, and are the identity in inference.
//   SpatialDropout1D  y = x ⊙ m, one m for all steps of a feature of a row: 1/(1 - rate) or 0
//   GaussianNoise     y = x + n, n normal with deviation stddev
//   GaussianDropout   y = x ⊙ n, n normal with mean 1 and deviation sqrt(rate / (1 - rate))
//   AlphaDropout      y = a (kept ? x : alpha') + b, which leaves mean 0 and variance 1 as they are (Klambauer et al.,
//                     arXiv:1706.02515)
#include <algorithm>
#include <cmath>

#include "layers/cell_options.hpp"
#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"
#if REKUR_TRAINING
#include "runtime/random.hpp"
#endif

namespace rekur::layers {
namespace {

class Noise : public Layer {
 public:
  Noise(const std::string& type, const std::string& name, float amount) : Layer(type, name), amount_(amount) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override { return infer_like_input(inputs); }

  // The factors by which gradients are multiplied.
  Index tape_size(std::span<const TensorSpec> inputs, bool training) const override {
    return training && amount_ > 0 ? factors(inputs[0].shape) : 0;
  }

  void forward(const Context& run) const override {
    if (!run.training || amount_ == 0) return copy(run.input(), run.outputs[0], element_count(run.input_specs[0].shape));
#if REKUR_TRAINING
    disturb(run);
#endif
  }

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    if (run.d_outputs[0] == nullptr || run.d_inputs[0] == nullptr) return;
    const Index n = element_count(run.input_specs[0].shape);
    if (amount_ == 0 || factors(run.input_specs[0].shape) == 0) return accumulate(run.d_outputs[0], run.d_inputs[0], n);
    const auto& k = isa::kernels();
    over_elements(n, 2, [&](Index begin, Index end) {
      k.multiply_add(run.d_outputs[0] + begin, run.tape + begin, run.d_inputs[0] + begin, end - begin);
    });
  }
#endif

  bool passes_through(bool training) const override { return !training || amount_ == 0; }
  std::unique_ptr<const StreamOp> stream(const StreamBuild&) const override { return nullptr; }

 protected:
  virtual Index factors(const Shape& shape) const { return element_count(shape); }
#if REKUR_TRAINING
  virtual void disturb(const Context& run) const = 0;

  // task(i, draws) for every fourth element: the numbers of element i and those behind it, which depend on i alone.
  template <class Task>
  static void over_fours(const Context& run, const Task& task) {
    const random::Stream draws(run.seed, run.drawn_step(), run.stream);
    const Index n = element_count(run.input_specs[0].shape);
    over_elements(n, 60, [&](Index begin, Index end) {
      for (Index i = begin; i < end; i += 4) task(i, std::min<Index>(4, end - i), draws);
    });
  }
#endif

  float amount_;
};

class SpatialDropout final : public Noise {
 public:
  using Noise::Noise;

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    std::vector<TensorSpec> outputs = infer_like_input(inputs);
    if (inputs[0].shape.size() != 3) fail("expected an input of shape (B, T, F), got %", {inputs[0].shape});
    return outputs;
  }

 protected:
  Index factors(const Shape& shape) const override { return shape[0] * shape[2]; }

#if REKUR_TRAINING
  void disturb(const Context& run) const override {
    const auto& k = isa::kernels();
    k.dropout(run.seed, run.step, run.stream, 0, amount_, nullptr, run.tape, nullptr, factors(run.input_specs[0].shape));
    const Index T = run.input_specs[0].shape[1], n = run.input_specs[0].shape[2];
    over_rows(run.batch() * T, n, 1, [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row)
        k.multiply(run.input() + row * n, run.tape + row / T * n, run.outputs[0] + row * n, n);
    });
  }

 public:
  void backward(const Context& run) const override {
    if (amount_ == 0 || run.d_outputs[0] == nullptr || run.d_inputs[0] == nullptr) return Noise::backward(run);
    const auto& k = isa::kernels();
    const Index T = run.input_specs[0].shape[1], n = run.input_specs[0].shape[2];
    over_rows(run.batch() * T, n, 2, [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row)
        k.multiply_add(run.d_outputs[0] + row * n, run.tape + row / T * n, run.d_inputs[0] + row * n, n);
    });
  }
#endif
};

class GaussianNoise final : public Noise {
 public:
  using Noise::Noise;

 protected:
  Index factors(const Shape&) const override { return 0; }

#if REKUR_TRAINING
  void disturb(const Context& run) const override {
    over_fours(run, [&](Index i, Index n, const random::Stream& draws) {
      const random::Four normals = draws.normals(static_cast<std::uint64_t>(i));
      for (Index k = 0; k < n; ++k)
        run.outputs[0][i + k] = run.input()[i + k] + amount_ * static_cast<float>(normals[static_cast<std::size_t>(k)]);
    });
  }
#endif
};

class GaussianDropout final : public Noise {
 public:
  using Noise::Noise;

#if REKUR_TRAINING
 protected:
  void disturb(const Context& run) const override {
    const float deviation = std::sqrt(amount_ / (1 - amount_));
    over_fours(run, [&](Index i, Index n, const random::Stream& draws) {
      const random::Four normals = draws.normals(static_cast<std::uint64_t>(i));
      for (Index k = 0; k < n; ++k) {
        run.tape[i + k] = 1 + deviation * static_cast<float>(normals[static_cast<std::size_t>(k)]);
        run.outputs[0][i + k] = run.input()[i + k] * run.tape[i + k];
      }
    });
  }
#endif
};

class AlphaDropout final : public Noise {
 public:
  using Noise::Noise;

#if REKUR_TRAINING
 protected:
  void disturb(const Context& run) const override {
    constexpr double kDropped = -1.6732632423543772848170429916717 * 1.0507009873554804934193349852946;  // SELU's least value
    const double rate = static_cast<double>(amount_);
    const double a = 1 / std::sqrt((1 - rate) * (1 + rate * kDropped * kDropped)), b = -a * kDropped * rate;
    const auto scale = static_cast<float>(a), offset = static_cast<float>(b), dropped = static_cast<float>(a * kDropped + b);
    over_fours(run, [&](Index i, Index n, const random::Stream& draws) {
      const random::Four uniforms = draws.uniforms(static_cast<std::uint64_t>(i));
      for (Index k = 0; k < n; ++k) {
        const bool kept = uniforms[static_cast<std::size_t>(k)] >= rate;
        run.tape[i + k] = kept ? scale : 0;
        run.outputs[0][i + k] = kept ? scale * run.input()[i + k] + offset : dropped;
      }
    });
  }
#endif
};

}  // namespace

std::unique_ptr<Layer> make_noise(json::Reader& spec, const std::string& type, const std::string& name) {
  if (type == "GaussianNoise") {
    const double stddev = spec.number("stddev");
    if (!(stddev >= 0 && stddev <= 1)) spec.refuse("stddev", "from 0 to 1");
    return std::make_unique<GaussianNoise>(type, name, static_cast<float>(stddev));
  }
  spec.get("rate");
  const float rate = read_rate(spec, "rate");
  if (type == "SpatialDropout1D") return std::make_unique<SpatialDropout>(type, name, rate);
  if (type == "GaussianDropout") return std::make_unique<GaussianDropout>(type, name, rate);
  return std::make_unique<AlphaDropout>(type, name, rate);
}

}  // namespace rekur::layers
