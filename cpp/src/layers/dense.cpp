// Dense: y = f(x W + b), over the last axis.
//   x [rows, in]   W [in, units]   b [units]   y [rows, units]       rows = B or B·T
//   z = x W + b [rows, units] is kept where f' is not a function of y (activations of the user's own)
//   dz = dy ⊙ f'(y)   dx = dz Wᵀ   dW = xᵀ dz   db = Σ_rows dz
#include <algorithm>
#include <array>
#include <cmath>
#include <new>

#include "isa/bf16.hpp"
#include "isa/halves.hpp"
#include "isa/int8.hpp"
#include "layers/activation_spec.hpp"
#include "layers/dense_products.hpp"
#include "layers/elementwise.hpp"
#include "layers/packed.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"
#include "rekur/detail/compiler.hpp"
#include "rekur/detail/few_outputs.hpp"
#include "runtime/checked.hpp"
#include "runtime/lines.hpp"
#include "runtime/scratch.hpp"
#include "simd/pack.hpp"

namespace rekur::layers {
namespace {

// Dense in a stream. In memory: the addresses of the rows of x and of y, then what the activation needs.
class DenseOp final : public StreamOp {
 public:
  DenseOp(const float* weights, Index in, Index units, bool use_bias, const ActivationSpec& f, Precision precision)
      : int8_(precision == Precision::int8),
        bf16_(precision == Precision::bf16),
        in_(in),
        units_(units),
        few_(detail::few_outputs(in, units)),
        linear_(f.is_linear()),
        f_(f),
        kernels_(isa::kernels()),
        dots_(isa::table_for(in).simd.dots) {
#if REKUR_INT8
    if (int8_) {
      kernel_.prepare_int8(weights, in, units, units, use_bias ? weights + in * units : nullptr, 1);
      return;
    }
#endif
#if REKUR_BF16
    if (bf16_) {
      kernel_.prepare_bf16(weights, in, units, units, 1, 1);
      if (use_bias) bias_.assign(weights + in * units, weights + (in + 1) * units);
      return;
    }
#endif
    if (!few_) type_ = isa::kept_as(in * units, {{weights, static_cast<std::size_t>(in * units)}});
    if (few_)
      kernel_.prepare_dots(weights, in, units, units, 1, 1);
    else if (!isa::kHalves || type_ == WeightType::float32)
      kernel_.prepare(weights, in, units, units, 1, 1);
    else
      kernel_.prepare_half(type_, weights, in, units, 1);
    if (use_bias) bias_.assign(weights + in * units, weights + (in + 1) * units);
  }

  bool rowwise() const override { return true; }
  Index memory(Index batch) const override {
    Index floats = element_count({batch, 2 * kAddress + narrow(1)});  // throws where that is too many
    if (add_overflows(floats, activate_memory(f_, units_) + kLineFloats, &floats))
      throw_error("Dense: % rows do not fit in memory", {batch});
    return floats;
  }

  void step(const StreamCall& c, int) const noexcept override {
    sums(c);
    if (!linear_) [[unlikely]]
      activate(kernels_, f_, c.output(), c.output(), c.batch, units_, c.memory + addresses(c.batch) + narrow(c.batch));
  }

#if REKUR_SEQUENCE
  bool ranks() const override { return linear_ || f_.softmax; }
  void step_raw(const StreamCall& c) const noexcept override { sums(c); }

  // A few hundred columns at a time, whose sums stay in the cache: they, and before them what is known of the rows so far.
  Index rank_memory(Index batch) const override {
    return ranked_size(batch) + element_count({batch, few_ ? units_ : ranked_columns()});
  }

  void rank(const StreamCall& c, const Ranking& r) const noexcept override {
    auto* const ranked = reinterpret_cast<simd::RankedRow*>(r.memory);
    float* const sums_of_rows = r.memory + ranked_size(c.batch);
    const float** const x = reinterpret_cast<const float**>(c.memory);
    float** const y = reinterpret_cast<float**>(c.memory + c.batch * kAddress);
    const Index columns = few_ ? units_ : ranked_columns();
    for (Index row = 0; row < c.batch; ++row) {
      x[row] = c.input() + row * in_;
      y[row] = sums_of_rows + row * columns;
      new (ranked + row) simd::RankedRow{r.count, r.values + row * r.count, r.places + row * r.count};
    }
    if (few_)
      dots_(c.batch, units_, in_, c.input(), kernel_.data(), bias_.empty() ? nullptr : bias_.data(), sums_of_rows);
    else
      round_rows(c.batch, x, c.memory + addresses(c.batch));
    for (Index n0 = 0; n0 < units_; n0 += columns) {
      const Index n = std::min(columns, units_ - n0);
      if (!few_) product(c.batch, n0, n, x, y);
      for (Index row = 0; row < c.batch; ++row) kernels_.rank(y[row], n, n0, ranked[row]);
    }
    for (Index row = 0; row < c.batch; ++row) {
      const double largest = std::isfinite(ranked[row].largest) ? static_cast<double>(ranked[row].largest) : 0.0;
      r.log_sums[row] = static_cast<float>(largest + std::log(ranked[row].sum));
      r.filled[row] = ranked[row].filled;
    }
  }
#endif

 private:
  static constexpr Index kAddress = sizeof(void*) / sizeof(float);

  void sums(const StreamCall& c) const noexcept {
    if (few_) [[likely]]
      dots_(c.batch, units_, in_, c.input(), kernel_.data(), bias_.empty() ? nullptr : bias_.data(), c.output());
    else
      product(c);
  }

  REKUR_NOINLINE void product(const StreamCall& c) const noexcept {
    const float** const x = reinterpret_cast<const float**>(c.memory);
    float** const y = reinterpret_cast<float**>(c.memory + c.batch * kAddress);
    for (Index row = 0; row < c.batch; ++row) {
      x[row] = c.input() + row * in_;
      y[row] = c.output() + row * units_;
    }
    round_rows(c.batch, x, c.memory + addresses(c.batch));
    product(c.batch, 0, units_, x, y);
  }

  // Where products are of rounded rows: those, in `to`, in the place of x.
  void round_rows([[maybe_unused]] Index rows, [[maybe_unused]] const float** x, [[maybe_unused]] float* to) const noexcept {
#if REKUR_INT8
    if (int8_) {
      const Index stride = simd::int8_row_floats(in_);
      kernels_.narrow(kernel_.group(), rows, in_, x, 0, to, stride);
      for (Index row = 0; row < rows; ++row) x[row] = to + row * stride;
    }
#endif
#if REKUR_BF16
    if (bf16_) {
      const Index stride = simd::bf16_row_floats(in_);
      kernels_.narrow_bf16(rows, in_, x, 0, to, stride);
      for (Index row = 0; row < rows; ++row) x[row] = to + row * stride;
    }
#endif
  }

  // Columns [n0, n0 + n) of the sums, n0 a multiple of a panel: row i to y[i].
  void product(Index rows, Index n0, Index n, const float* const* x, float* const* y) const noexcept {
    const float* const bias = bias_.empty() ? nullptr : bias_.data() + n0;
#if REKUR_INT8
    if (int8_) return kernels_.gemm_int8(kernel_.group(), rows, n, in_, x, kernel_.columns(n0), y, 0);
#endif
    const Index pairs = (in_ + 1) / 2;
#if REKUR_BF16
    if (bf16_) return kernels_.gemm_bf16(kernel_.group(), rows, n, in_, x, kernel_.data() + n0 * pairs, bias, y, 0, false);
#endif
    if (!isa::kHalves || type_ == WeightType::float32)
      kernels_.gemm(rows, n, in_, x, kernel_.data() + n0 * in_, bias, y, 0, false);
    else
      kernels_.gemm_half(type_, rows, n, in_, x, kernel_.data() + n0 * pairs, bias, y);
  }

#if REKUR_SEQUENCE
  // Whole panels, some 512 numbers.
  Index ranked_columns() const { return std::max<Index>(1, 512 / kernels_.panel) * kernels_.panel; }
  static Index ranked_size(Index batch) {
    return block_count(element_count({batch, sizeof(simd::RankedRow)}), sizeof(float) * kLineFloats) * kLineFloats;
  }
#endif

  // Floats, whole cache lines of them. A step asks for it, so it allocates nothing.
  static Index addresses(Index batch) { return aligned(batch * 2 * kAddress); }

  // … of rows that are rounded.
  Index narrow(Index batch) const { return batch * (int8_ ? simd::int8_row_floats(in_) : bf16_ ? simd::bf16_row_floats(in_) : 0); }

  bool int8_, bf16_;
  Index in_, units_;
  bool few_, linear_;
  ActivationSpec f_;
  const simd::Kernels& kernels_;
  decltype(simd::Kernels::dots) dots_;
  PackedMatrix kernel_;
  WeightType type_ = WeightType::float32;
  std::vector<float> bias_;
};

class Dense final : public Layer {
 public:
  struct Settings {
    Index units;
    ActivationSpec activation;
    bool use_bias;
    std::string kernel_initializer, bias_initializer;
    Precision precision = Precision::float32;
    bool said_precision = false;  // by the spec
  };

  Dense(const std::string& type, const std::string& name, Settings settings) : Layer(type, name), s_(std::move(settings)) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 1, 1);
    expect_features(inputs[0]);
    TensorSpec output = inputs[0];
    output.shape.back() = s_.units;
    return one(std::move(output));
  }

  std::vector<ParamSpec> parameters(std::span<const TensorSpec> inputs) const override {
    std::vector<ParamSpec> specs;
    add_parameter(specs, "", "kernel", {features_of(inputs[0].shape), s_.units}, s_.kernel_initializer, s_.units);
    specs.back().int8 = int8(features_of(inputs[0].shape));
    if (s_.use_bias) add_parameter(specs, "", "bias", {s_.units}, s_.bias_initializer, s_.units);
    return specs;
  }

  void build(std::span<const TensorSpec> inputs) override { in_ = features_of(inputs[0].shape); }

#if REKUR_TRAINING
  void compute_in(Precision precision) override {
    if (!s_.said_precision) s_.precision = precision;
  }
#endif

  void prepare(const float* weights, std::uint64_t version, bool training) const override {
#if REKUR_BF16
    if (bf16()) {
      kernel_bf16_.prepare_bf16(weights, in_, s_.units, s_.units, 1, version);
      if (training) transposed_bf16_.prepare_bf16(weights, s_.units, in_, 1, s_.units, version);
      return;
    }
#endif
#if REKUR_INT8
    if (int8(in_))
      kernel_.prepare_int8(weights, in_, s_.units, s_.units, s_.use_bias ? weights + in_ * s_.units : nullptr, version);
    else
#endif
        if (detail::few_outputs(in_, s_.units))
      kernel_.prepare_dots(weights, in_, s_.units, s_.units, 1, version);
    else
      kernel_.prepare(weights, in_, s_.units, s_.units, 1, version);
    if (!training) return;
#if REKUR_INT8
    // The gradient by x is that of the product that was computed, of the rounded kernel; that of the kernel goes straight through.
    if (int8(in_)) {
      rounded_.prepare(weights, in_, s_.units, version);
      weights = rounded_.data();
    }
#endif
    transposed_.prepare(weights, s_.units, in_, 1, s_.units, version);
  }

  void forward(const Context& run) const override {
    const Index rows = rows_of(run.input_specs[0].shape);
    const float* bias = s_.use_bias ? run.weights + in_ * s_.units : nullptr;
    float* const z = run.training && s_.activation.keeps_input() ? run.tape : run.outputs[0];
#if REKUR_BF16
    if (bf16())
      dense_product_bf16(rows, s_.units, in_, run.input(), kernel_bf16_.data(), bias, z, false);
    else
#endif
#if REKUR_INT8
        if (int8(in_))
      dense_product_int8(rows, s_.units, in_, run.input(), kernel_, z);
    else
#endif
        if (detail::few_outputs(in_, s_.units))
      dense_dots(rows, s_.units, in_, run.input(), kernel_.data(), bias, z);
    else
      dense_product(rows, s_.units, in_, run.input(), kernel_.data(), bias, z, false);
    if (!run.raw) activate(s_.activation, z, run.outputs[0], rows, s_.units);
  }

  Index tape_size(std::span<const TensorSpec> inputs, bool training) const override {
    return training && s_.activation.keeps_input() ? element_count({rows_of(inputs[0].shape), s_.units}) : 0;
  }

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    float* dz = run.d_outputs[0];
    if (dz == nullptr) return;
    const Index rows = rows_of(run.input_specs[0].shape), units = s_.units;
    if (!run.raw) activate_backward(s_.activation, run.tape, run.outputs[0], dz, dz, rows, units);
    if (run.d_weights != nullptr) {
      dense_product_tn(rows, in_, units, run.input(), dz, run.d_weights, bf16());
      if (s_.use_bias) dense_sums(rows, units, dz, run.d_weights + in_ * units);
    }
    if (run.d_inputs[0] == nullptr) return;
#if REKUR_BF16
    if (bf16())
      dense_product_bf16(rows, in_, units, dz, transposed_bf16_.data(), nullptr, run.d_inputs[0], true);
    else
#endif
      dense_product(rows, in_, units, dz, transposed_.data(), nullptr, run.d_inputs[0], true);
  }

  FinalActivation final_activation() const override { return s_.activation.final_activation(); }
#endif

  StepAxes step_axes() const override { return StepAxes::rows; }
  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    return std::make_unique<DenseOp>(build.weights, in_, s_.units, s_.use_bias, s_.activation,
                                     int8(in_) ? Precision::int8
                                     : bf16()  ? Precision::bf16
                                               : Precision::float32);
  }

 private:
  bool bf16() const { return REKUR_BF16 && s_.precision == Precision::bf16 && !detail::few_outputs(in_, s_.units); }
  // A few outputs' dot products stay float32: they take less time than making integers of a row.
  bool int8(Index in) const {
    return s_.precision == Precision::int8 && isa::takes_int8(in, s_.units) && !detail::few_outputs(in, s_.units);
  }

  Settings s_;
  Index in_ = 0;
#if REKUR_TRAINING
#endif
  mutable PackedMatrix kernel_, transposed_;
#if REKUR_BF16
  mutable PackedMatrix kernel_bf16_, transposed_bf16_;
#endif
#if REKUR_INT8
  mutable RoundedMatrix rounded_;
#endif
};

}  // namespace

std::unique_ptr<Layer> make_dense(json::Reader& spec, const std::string& type, const std::string& name) {
  Dense::Settings settings;
  settings.units = spec.positive_integer("units");
  settings.activation = read_activation(spec, "activation", "linear", true);
  settings.use_bias = spec.boolean("use_bias", true);
  const std::optional<Precision> precision = read_precision(spec);
  settings.said_precision = precision.has_value();
  settings.precision = precision.value_or(Precision::float32);
  settings.kernel_initializer = read_initializer(spec, "kernel_initializer", "glorot_uniform");
  settings.bias_initializer = read_initializer(spec, "bias_initializer", "zeros");
  return std::make_unique<Dense>(type, name, std::move(settings));
}

}  // namespace rekur::layers
