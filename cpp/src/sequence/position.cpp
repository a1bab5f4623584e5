// Where a step stands, as features:
//   PositionEmbedding     y[b, t] = embeddings[t]                            embeddings [sequence_length, F]
//   SinePositionEncoding  y[b, t, i] = sin(t w^(-(i - i mod 2) / F)), of odd i cos                   w: max_wavelength
//   RotaryEmbedding       y[b, t] = x[b, t] with the pair (i, i + F/2) turned by (t / scaling_factor) w^(-2i / F)
// Angles are computed in double.
#include <array>
#include <cmath>
#include <limits>
#include <memory>

#include "layers/activation_spec.hpp"
#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"
#include "runtime/locks.hpp"

namespace rekur::layers {
namespace {

enum class PositionKind : std::uint8_t { learned, sine, rotary };

struct PositionSettings {
  PositionKind kind = PositionKind::learned;
  Index length = 0;
  double wavelength = 10000, scaling = 1;
  std::string initializer;
};

// The steps that a stream has taken, in two numbers that floats hold exactly.
constexpr double kLow = 1 << 20;

// What step t brings: F numbers of a sine encoding; F/2 cosines and F/2 sines of a rotary one.
void fill_step(const PositionSettings& s, double t, Index F, float* to) {
  if (s.kind == PositionKind::sine) {
    for (Index i = 0; i < F; ++i) {
      const double angle = t * std::pow(s.wavelength, -static_cast<double>(i - i % 2) / static_cast<double>(F));
      to[i] = static_cast<float>(i % 2 ? std::cos(angle) : std::sin(angle));
    }
    return;
  }
  for (Index i = 0; i < F / 2; ++i) {
    const double angle = t / s.scaling * std::pow(s.wavelength, -2.0 * static_cast<double>(i) / static_cast<double>(F));
    to[i] = static_cast<float>(std::cos(angle));
    to[F / 2 + i] = static_cast<float>(std::sin(angle));
  }
}

// y of a row of pairs; `back`: turned the other way, and added.
void turn(const float* x, const float* of_step, Index F, bool back, float* y) {
  const Index half = F / 2;
  const float *c = of_step, *s = of_step + half;
  for (Index i = 0; i < half; ++i) {
    const float a = x[i], b = x[half + i];
    if (back) {
      y[i] += a * c[i] + b * s[i];
      y[half + i] += b * c[i] - a * s[i];
    } else {
      y[i] = a * c[i] - b * s[i];
      y[half + i] = b * c[i] + a * s[i];
    }
  }
}

// In memory: the position of each row, [low, high], then what a step brings.
class PositionOp final : public StreamOp {
 public:
  PositionOp(PositionSettings s, Index F, Index rows, const float* embeddings) : s_(std::move(s)), F_(F), rows_(rows) {
    if (s_.kind == PositionKind::learned) embeddings_.assign(embeddings, embeddings + s_.length * F);
  }

  Index memory(Index batch) const override { return element_count({batch, 2}) + 16 + F_; }
  std::vector<StreamState> states(Index) const override { return {{"position", 2, 2, {0, 0}}}; }

  void step(const StreamCall& c, int) const noexcept override {
    for (Index row = 0; row < c.batch; ++row) {
      float* const at = c.memory + 2 * row;
      const double t = static_cast<double>(at[1]) * kLow + static_cast<double>(at[0]);
      one(c, row, t, c.memory + (2 * c.batch + 15) / 16 * 16);
      at[0] += 1;
      if (at[0] >= static_cast<float>(kLow)) {
        at[0] = 0;
        at[1] += 1;
      }
    }
  }

 private:
  void one(const StreamCall& c, Index row, double t, float* of_step) const noexcept {
    float* const y = c.output() + row * rows_ * F_;
    if (s_.kind == PositionKind::learned) {
      if (t >= 0 && t < static_cast<double>(s_.length))
        std::copy_n(embeddings_.data() + static_cast<Index>(t) * F_, F_, y);
      else
        std::fill_n(y, F_, std::numeric_limits<float>::quiet_NaN());
      return;
    }
    fill_step(s_, t, F_, s_.kind == PositionKind::sine ? y : of_step);
    if (s_.kind == PositionKind::sine) return;
    for (Index i = 0; i < rows_; ++i) turn(c.input() + (row * rows_ + i) * F_, of_step, F_, false, y + i * F_);
  }

  PositionSettings s_;
  Index F_, rows_;
  std::vector<float> embeddings_;
};

class PositionLayer final : public Layer {
 public:
  PositionLayer(const std::string& type, const std::string& name, PositionSettings settings)
      : Layer(type, name), s_(std::move(settings)) {}

  bool crosses_resets() const override { return true; }

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 1, 1);
    expect_features(inputs[0]);
    const Shape& x = inputs[0].shape;
    const std::size_t most = s_.kind == PositionKind::rotary ? 4 : 3;
    if (x.size() < 3 || x.size() > most)
      fail("expected a sequence (B, T, F)%, got %", {s_.kind == PositionKind::rotary ? " or (B, T, N, F)" : "", x});
    if (s_.kind == PositionKind::rotary && x.back() % 2 != 0) fail("expected an even number of features, got %", {x});
    if (s_.kind == PositionKind::learned && x[1] > s_.length)
      fail("a sequence of % steps is longer than sequence_length, %", {x[1], s_.length});
    return one(inputs[0]);
  }

  std::vector<ParamSpec> parameters(std::span<const TensorSpec> inputs) const override {
    std::vector<ParamSpec> specs;
    const Index F = features_of(inputs[0].shape);
    if (s_.kind == PositionKind::learned) add_parameter(specs, "", "embeddings", {s_.length, F}, s_.initializer, F);
    return specs;
  }

  void forward(const Context& run) const override {
    const Sizes z(run);
    const auto [table, numbers] = steps(run, z);
    const bool rotary = s_.kind == PositionKind::rotary;
    over_rows(z.B * z.T, z.rows * z.F, 3, [&, from = numbers](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        const float* const of_step = from + i % z.T * z.F;
        if (!rotary) std::copy_n(of_step, z.F, run.outputs[0] + i * z.F);
        for (Index r = i * z.rows; rotary && r < (i + 1) * z.rows; ++r)
          turn(run.input() + r * z.F, of_step, z.F, false, run.outputs[0] + r * z.F);
      }
    });
  }

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    const float* const dy = run.d_outputs[0];
    if (dy == nullptr) return;
    const Sizes z(run);
    if (s_.kind == PositionKind::learned && run.d_weights != nullptr) {
      const auto& k = isa::kernels();
      over_rows(z.T, z.F, static_cast<double>(z.B), [&](Index begin, Index end) {
        for (Index b = 0; b < z.B; ++b)
          k.add(run.d_weights + begin * z.F, dy + (b * z.T + begin) * z.F, run.d_weights + begin * z.F, (end - begin) * z.F);
      });
    }
    float* const dx = run.d_inputs[0];
    if (s_.kind != PositionKind::rotary || dx == nullptr) return;
    const auto [table, numbers] = steps(run, z);
    over_rows(z.B * z.T, z.rows * z.F, 3, [&, from = numbers](Index begin, Index end) {
      for (Index r = begin * z.rows; r < end * z.rows; ++r)
        turn(dy + r * z.F, from + r / z.rows % z.T * z.F, z.F, true, dx + r * z.F);
    });
  }
#endif

  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    const Shape& x = build.inputs[0].shape;
    return std::make_unique<PositionOp>(s_, x.back(), x.size() > 2 ? x[1] : 1, build.weights);
  }

 private:
  // Rows of F features a step.
  struct Sizes {
    Index B, T, rows, F;
    explicit Sizes(const Context& run) {
      const Shape& x = run.input_specs[0].shape;
      B = x[0];
      T = x[1];
      rows = x.size() > 3 ? x[2] : 1;
      F = x.back();
    }
  };

  using Table = std::shared_ptr<const std::vector<float>>;
  struct Steps {
    Table table;  // keeps the numbers
    const float* numbers;
  };

  // F numbers of each of the first T steps. Those computed stay for the next call.
  Steps steps(const Context& run, const Sizes& z) const {
    if (s_.kind == PositionKind::learned) return {nullptr, run.weights};
    const runtime::Guard lock(mutex_);
    const auto size = static_cast<std::size_t>(z.T * z.F);
    if (table_ == nullptr || table_->size() < size || features_ != z.F) {
      auto made = std::make_shared<std::vector<float>>(size);
      runtime::parallel_tasks(z.T, 40.0 * static_cast<double>(size),
                              [&](Index t) { fill_step(s_, static_cast<double>(t), z.F, made->data() + t * z.F); });
      table_ = std::move(made);
      features_ = z.F;
    }
    return {table_, table_->data()};
  }

  PositionSettings s_;
  mutable runtime::Mutex mutex_;
  mutable Table table_;
  mutable Index features_ = 0;
};

double read_positive_double(json::Reader& spec, const char* key, double fallback) {
  const double value = spec.number(key, fallback);
  if (!(value > 0 && value <= std::numeric_limits<double>::max())) spec.refuse(key, "a positive number");
  return value;
}

}  // namespace

std::unique_ptr<Layer> make_position_embedding(json::Reader& spec, const std::string& type, const std::string& name) {
  PositionSettings s;
  s.length = spec.positive_integer("sequence_length");
  s.initializer = read_initializer(spec, "initializer", "glorot_uniform");
  return std::make_unique<PositionLayer>(type, name, std::move(s));
}

std::unique_ptr<Layer> make_sine_position_encoding(json::Reader& spec, const std::string& type, const std::string& name) {
  PositionSettings s;
  s.kind = PositionKind::sine;
  s.wavelength = read_positive_double(spec, "max_wavelength", 10000);
  return std::make_unique<PositionLayer>(type, name, std::move(s));
}

std::unique_ptr<Layer> make_rotary_embedding(json::Reader& spec, const std::string& type, const std::string& name) {
  PositionSettings s;
  s.kind = PositionKind::rotary;
  s.wavelength = read_positive_double(spec, "max_wavelength", 10000);
  s.scaling = read_positive_double(spec, "scaling_factor", 1);
  return std::make_unique<PositionLayer>(type, name, std::move(s));
}

}  // namespace rekur::layers
