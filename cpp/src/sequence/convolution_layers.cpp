// Conv1D, DepthwiseConv1D and Conv1DTranspose: y = f(x ∗ W + b) over time.
//   x [B, T, in]   y [B, T', filters]   bias [filters]
//   Conv1D            kernel [K, in / groups, filters]     y_t = Σ_k x_{t · strides + k · dilation_rate - pad} W_k
//   DepthwiseConv1D   kernel [K, in, depth_multiplier]     filters = in · depth_multiplier
//   Conv1DTranspose   kernel [K, filters, in]              the gradient of a Conv1D by its input
//   z = x ∗ W + b is kept where f' is not a function of y
// Steps past a row's length are zeros, and count for nothing in the gradients.
#include <algorithm>

#include "io/suggest.hpp"
#include "isa/int8.hpp"
#include "layers/activation_spec.hpp"
#include "layers/dense_products.hpp"
#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"
#include "runtime/checked.hpp"
#include "runtime/lines.hpp"
#include "runtime/scratch.hpp"
#include "sequence/depthwise.hpp"
#include "simd/pack.hpp"

namespace rekur::layers {
namespace {

enum class Padding : std::uint8_t { valid, same, causal };
enum class ConvolutionKind : std::uint8_t { plain, depthwise, transposed };

struct ConvolutionSettings {
  ConvolutionKind kind = ConvolutionKind::plain;
  Index filters = 0, groups = 1, depth_multiplier = 1;
  ConvolutionAxis axis = {};
  Padding padding = Padding::valid;
  Index output_padding = -1;  // -1: what Keras finds
  ActivationSpec activation = {};
  bool use_bias = true;
  std::string kernel_initializer, bias_initializer;
  Precision precision = Precision::float32;

  // Whether products of so many channels are of eight bits.
  bool int8(Index in) const {
    const bool by_channel = kind != ConvolutionKind::transposed && groups == in && in > 1;
    return precision == Precision::int8 && !by_channel && isa::takes_int8(axis.taps * (in / groups), filters / groups);
  }
};

// A convolution's step: the last steps of the input are its state, and with the present one the window that a product reads.
class ConvolutionOp final : public StreamOp {
 public:
  ConvolutionOp(const float* weights, const ConvolutionSettings& s, Index in)
      : s_(s), in_(in), span_(s.axis.span()), kernels_(isa::kernels()), windows_(isa::table().windows) {
    const Index K = s.axis.taps, size = K * in / s.groups * s.filters;
    if (s.use_bias) bias_.assign(weights + size, weights + size + s.filters);
    if (s.groups == in && in > 1) {
      kernel_.assign(weights, weights + size);
#if REKUR_INT8
    } else if (s.int8(in)) {
      const Index N = s.filters / s.groups;
      for (Index g = 0; g < s.groups; ++g)
        narrow_.emplace_back(std::make_unique<PackedMatrix>())
            ->prepare_int8(weights + g * N, K * in / s.groups, N, s.filters, s.use_bias ? bias_.data() + g * N : nullptr, 1);
#endif
    } else {
      // One matrix of all groups, zeros between them: a step reads the window once.
      std::vector<float> whole(static_cast<std::size_t>(K * in * s.filters), 0.0f);
      const Index C = in / s.groups, N = s.filters / s.groups;
      for (Index k = 0; k < K; ++k)
        for (Index c = 0; c < in; ++c)
          std::copy_n(weights + (k * C + c % C) * s.filters + c / C * N, N, whole.data() + (k * in + c) * s.filters + c / C * N);
      packed_.prepare(whole.data(), K * in, s.filters, s.filters, 1, 1);
    }
  }

  Index memory(Index batch) const override {
    const Index K = s_.axis.taps;
    Index floats = element_count({batch, element_count({span_ + K, in_}) + (2 + K) * kAddress});
    if (by_channel()) floats += element_count({batch, K * s_.filters});
    if (!narrow_.empty()) floats += element_count({batch, K * in_ + simd::int8_row_floats(K * in_)});
    if (add_overflows(floats, activate_memory(s_.activation, s_.filters) + kPieces * kLineFloats, &floats))
      throw_error("Conv1D: % rows do not fit in memory", {batch});
    return floats;
  }

  std::vector<StreamState> states(Index) const override {
    if (span_ == 1) return {};
    return {{"steps", (span_ - 1) * in_, span_ * in_, {0, 0}}};
  }

  void step(const StreamCall& c, int) const noexcept override {
    const Index K = s_.axis.taps, dilation = s_.axis.dilation, before = (span_ - 1) * in_;
    float* next = c.memory;
    const auto take = [&next](Index floats) {
      float* const at = next;
      next += aligned(floats);
      return at;
    };
    float* const steps = take(c.batch * span_ * in_);
    float* const copies = take(c.batch * K * in_);
    const float** const from = reinterpret_cast<const float**>(take(c.batch * K * kAddress));
    float** const to = reinterpret_cast<float**>(take(c.batch * kAddress));
    const Index multiplier = s_.filters / in_;
    float* const spread = by_channel() ? take(c.batch * K * s_.filters) : nullptr;
    for (Index row = 0; row < c.batch; ++row) {
      float* const window = steps + row * span_ * in_;
      std::copy_n(c.input() + row * in_, in_, window + before);
      to[row] = c.output() + row * s_.filters;
      if (by_channel()) {
        for (Index k = 0; k < K; ++k) {
          float* const tap = spread + (row * K + k) * s_.filters;
          for (Index i = 0; i < s_.filters; ++i) tap[i] = window[k * dilation * in_ + i / multiplier];
          from[row * K + k] = tap;
        }
      } else if (dilation == 1 || K == 1) {
        from[row] = window;
      } else {
        float* const copy = copies + row * K * in_;
        for (Index k = 0; k < K; ++k) std::copy_n(window + k * dilation * in_, in_, copy + k * in_);
        from[row] = copy;
      }
    }
    const float* const bias = bias_.empty() ? nullptr : bias_.data();
    if (by_channel()) windows_.depthwise(c.batch, s_.filters, K, from, kernel_.data(), bias, to, false);
#if REKUR_INT8
    else if (!narrow_.empty())
      product_int8(c.batch, from, to, take(c.batch * K * in_), take(c.batch * simd::int8_row_floats(K * in_)));
#endif
    else
      kernels_.gemm(c.batch, s_.filters, K * in_, from, packed_.data(), bias, to, 0, false);
    for (Index row = 0; row < c.batch; ++row) {
      float* const window = steps + row * span_ * in_;
      std::copy_n(window + in_, before, window);  // to the left: in ascending order it overlaps as it should
    }
    activate(kernels_, s_.activation, c.output(), c.output(), c.batch, s_.filters, take(0));
  }

 private:
  static constexpr Index kAddress = sizeof(void*) / sizeof(float);
  static constexpr Index kPieces = 7;  // of the memory, each from a line on

  bool by_channel() const { return s_.groups == in_ && in_ > 1; }

#if REKUR_INT8
  // Group by group: the integers of a window are those of its group's channels. copies: room for [batch][K · in]
  void product_int8(Index batch, const float** windows, float** to, float* copies, float* numbers) const noexcept {
    const Index K = s_.axis.taps, C = in_ / s_.groups, N = s_.filters / s_.groups, stride = simd::int8_row_floats(K * C);
    for (Index g = 0; g < s_.groups; ++g) {
      const PackedMatrix& kernel = *narrow_[static_cast<std::size_t>(g)];
      for (Index row = 0; row < batch; ++row) {
        const float* window = windows[row];
        if (s_.groups > 1) {
          float* const own = copies + row * K * in_;
          for (Index k = 0; k < K; ++k) std::copy_n(window + k * in_ + g * C, C, own + k * C);
          window = own;
        }
        kernels_.narrow(kernel.group(), 1, K * C, &window, 0, numbers + row * stride, stride);
      }
      for (Index row = 0; row < batch; ++row) {
        const float* const own = numbers + row * stride;
        kernels_.gemm_int8(kernel.group(), 1, N, K * C, &own, kernel.data(), to + row, g * N);
      }
    }
  }
#endif

  ConvolutionSettings s_;
  Index in_, span_;
  const simd::Kernels& kernels_;
  const simd::WindowKernels& windows_;
  PackedMatrix packed_;
  std::vector<std::unique_ptr<PackedMatrix>> narrow_;  // by group, of eight bits
  std::vector<float> kernel_, bias_;
};

class ConvolutionLayer final : public Layer {
 public:
  ConvolutionLayer(const std::string& type, const std::string& name, ConvolutionSettings settings)
      : Layer(type, name), s_(std::move(settings)) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 1, 1);
    expect_features(inputs[0]);
    if (inputs[0].shape.size() != 3) fail("expected a sequence of shape (B, T, F), got %", {inputs[0].shape});
    const Index in = features_of(inputs[0].shape);
    if (in % s_.groups != 0) fail("'groups' must divide the % features of the input, got %", {in, s_.groups});
    TensorSpec output = inputs[0];
    change_time(output, change());
    output.shape[2] = filters(in);
    return one(std::move(output));
  }

  std::vector<ParamSpec> parameters(std::span<const TensorSpec> inputs) const override {
    std::vector<ParamSpec> specs;
    const Index in = features_of(inputs[0].shape), K = s_.axis.taps;
    if (s_.kind == ConvolutionKind::depthwise)
      add_parameter(specs, "", "kernel", {K, in, s_.depth_multiplier}, s_.kernel_initializer, in);
    else if (s_.kind == ConvolutionKind::transposed)
      add_parameter(specs, "", "kernel", {K, s_.filters, in}, s_.kernel_initializer, s_.filters);
    else
      add_parameter(specs, "", "kernel", {K, in / s_.groups, s_.filters}, s_.kernel_initializer, s_.filters);
    specs.back().int8 = s_.int8(in);
    if (s_.use_bias) add_parameter(specs, "", "bias", {filters(in)}, s_.bias_initializer, filters(in));
    return specs;
  }

  void build(std::span<const TensorSpec> inputs) override {
    in_ = features_of(inputs[0].shape);
    filters_ = filters(in_);
    const bool transposed = s_.kind == ConvolutionKind::transposed;
    convolution_.axes[kSpace - 1] = s_.axis;
    convolution_.groups = s_.kind == ConvolutionKind::depthwise ? in_ : s_.groups;
    convolution_.large_channels = transposed ? filters_ : in_;
    convolution_.small_channels = transposed ? in_ : filters_;
    depthwise_ = {s_.axis, filters_};
  }

  void prepare(const float* weights, std::uint64_t version, bool training) const override {
    if (by_channel()) return;
    const bool transposed = s_.kind == ConvolutionKind::transposed;
#if REKUR_INT8
    if (s_.int8(in_)) {
      convolution_.prepare_gather_int8(weights, s_.use_bias ? weights + convolution_.kernel_size() : nullptr, version);
      if (!training) return;
      // The gradient by x is that of the rounded kernel; that of the kernel goes straight through.
      rounded_.prepare(weights, convolution_.kernel_size() / filters_, filters_, version);
      return convolution_.prepare_scatter(rounded_.data(), version);
    }
#endif
    if (!transposed || training) convolution_.prepare_gather(weights, version);
    if (transposed || training) convolution_.prepare_scatter(weights, version);
  }

  Index tape_size(std::span<const TensorSpec> inputs, bool training) const override {
    return z_size(inputs, training) + spread_size(inputs);
  }

  void forward(const Context& run) const override {
    const Index B = run.batch(), rows = rows_of(run.output_specs[0].shape);
    const ConvolutionSide x = input_side(run), y = output_side(run);
    const float* const bias = s_.use_bias ? run.weights + convolution_.kernel_size() : nullptr;
    float* const z = run.training && s_.activation.keeps_input() ? run.tape : run.outputs[0];
    if (by_channel())
      depthwise_.forward(B, x, spread(run), y, run.weights, bias, z);
    else if (s_.kind == ConvolutionKind::transposed)
      convolution_.scatter(B, x, images(run.input(), x, in_), y, bias, images(z, y, filters_), false);
#if REKUR_INT8
    else if (s_.int8(in_))
      convolution_.gather_int8(B, x, images(run.input(), x, in_), y, images(z, y, filters_));
#endif
    else
      convolution_.gather(B, x, images(run.input(), x, in_), y, bias, images(z, y, filters_), false);
    if (!run.raw) activate(s_.activation, z, run.outputs[0], rows, filters_);
  }

#if REKUR_TRAINING
  // The gradient of the input before channels that became several are summed.
  Index backward_scratch(std::span<const TensorSpec> inputs) const override { return spread_size(inputs); }

  void backward(const Context& run) const override {
    float* const dz = run.d_outputs[0];
    if (dz == nullptr) return;
    const Index B = run.batch(), rows = rows_of(run.output_specs[0].shape);
    const ConvolutionSide x = input_side(run), y = output_side(run);
    if (!run.raw) activate_backward(s_.activation, run.tape, run.outputs[0], dz, dz, rows, filters_);
    if (run.d_weights != nullptr) {
      if (by_channel())
        depthwise_.kernel_gradient(B, x, spread_kept(run), y, dz, run.d_weights);
      else if (s_.kind == ConvolutionKind::transposed)
        convolution_.kernel_gradient(B, y, images<const float>(dz, y, filters_), x, images(run.input(), x, in_), run.d_weights);
      else
        convolution_.kernel_gradient(B, x, images(run.input(), x, in_), y, images<const float>(dz, y, filters_), run.d_weights);
      if (s_.use_bias) dense_sums(rows, filters_, dz, run.d_weights + convolution_.kernel_size());
    }
    float* const dx = run.d_inputs[0];
    if (dx == nullptr) return;
    if (by_channel() && filters_ == in_) {
      depthwise_.input_gradient(B, x, dx, y, dz, run.weights);
    } else if (by_channel()) {
      const Index count = rows_of(run.input_specs[0].shape), each = filters_ / in_;
      std::fill_n(run.scratch, count * filters_, 0.0f);
      depthwise_.input_gradient(B, x, run.scratch, y, dz, run.weights);
      over_elements(count * in_, static_cast<double>(each), [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i)
          for (Index m = 0; m < each; ++m) dx[i] += run.scratch[i * each + m];
      });
    } else if (s_.kind == ConvolutionKind::transposed) {
      convolution_.gather(B, y, images<const float>(dz, y, filters_), x, nullptr, images(dx, x, in_), true);
    } else {
      convolution_.scatter(B, y, images<const float>(dz, y, filters_), x, nullptr, images(dx, x, in_), true);
    }
  }

  FinalActivation final_activation() const override { return s_.activation.final_activation(); }
#endif

  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    if (s_.kind == ConvolutionKind::transposed) cannot_stream("a step of its input is several of its output");
    if (s_.padding == Padding::same && s_.axis.span() > 1)
      cannot_stream("steps that are still to come count; padding=\"causal\" leaves them out");
    if (s_.axis.stride != 1) cannot_stream("it has % steps of its input for one of its output", {s_.axis.stride});
    if (s_.padding == Padding::valid && s_.axis.span() > 1)
      cannot_stream("its first step needs % of its input; padding=\"causal\" takes zeros for those that are not there",
                    {s_.axis.span()});
    ConvolutionSettings s = s_;
    s.filters = filters_;
    s.groups = convolution_.groups;
    return std::make_unique<ConvolutionOp>(build.weights, s, in_);
  }

 private:
  Index filters(Index in) const { return s_.kind == ConvolutionKind::depthwise ? in * s_.depth_multiplier : s_.filters; }
  bool by_channel() const { return s_.kind != ConvolutionKind::transposed && convolution_.groups == in_ && in_ > 1; }

  TimeChange change() const {
    const Index span = s_.axis.span(), stride = s_.axis.stride;
    if (s_.kind != ConvolutionKind::transposed) {
      if (s_.padding != Padding::valid) return {.changed = true, .stride = stride};
      return {.changed = true, .span = span, .stride = stride};
    }
    if (s_.output_padding < 0)
      return {.changed = true, .up = stride, .add = s_.padding == Padding::valid ? std::max(span - stride, Index{0}) : 0};
    const Index more = s_.padding == Padding::valid ? span : span % 2;
    return {.changed = true, .up = stride, .add = more + s_.output_padding - stride};
  }

  // Rows of the batch, one after the other.
  template <class T>
  static Images<T> images(T* array, const ConvolutionSide& side, Index channels) {
    return {array, side.positions() * channels};
  }

  ConvolutionSide input_side(const Context& run) const { return {run.input_specs[0].shape[1], run.steps(), true}; }
  ConvolutionSide output_side(const Context& run) const { return {run.output_specs[0].shape[1]}; }

  Index z_size(std::span<const TensorSpec> inputs, bool training) const {
    if (!training || !s_.activation.keeps_input()) return 0;
    return element_count({inputs[0].shape[0], steps_after(change(), inputs[0].shape[1]), filters_});
  }

  // Channels that become several are repeated first: then every one has one of its own.
  Index spread_size(std::span<const TensorSpec> inputs) const {
    return by_channel() && filters_ != in_ ? element_count({rows_of(inputs[0].shape), filters_}) : 0;
  }
  const float* spread_kept(const Context& run) const {
    return filters_ == in_ ? run.input() : run.tape + z_size(run.input_specs, run.training);
  }
  const float* spread(const Context& run) const {
    if (filters_ == in_) return run.input();
    float* const to = run.tape + z_size(run.input_specs, run.training);
    const Index each = filters_ / in_;
    over_elements(rows_of(run.input_specs[0].shape) * in_, static_cast<double>(each), [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) std::fill_n(to + i * each, each, run.input()[i]);
    });
    return to;
  }

  ConvolutionSettings s_;
  Index in_ = 0, filters_ = 0;
  Convolution convolution_;
#if REKUR_INT8
  mutable RoundedMatrix rounded_;
#endif
  Depthwise depthwise_;
};

std::unique_ptr<Layer> make_convolution(json::Reader& spec, const std::string& type, const std::string& name,
                                        ConvolutionKind kind) {
  static constexpr std::string_view paddings[] = {"valid", "same", "causal"};
  const bool transposed = kind == ConvolutionKind::transposed;
  ConvolutionSettings s;
  s.kind = kind;
  if (kind != ConvolutionKind::depthwise) s.filters = spec.positive_integer("filters");
  s.axis.taps = spec.positive_integer("kernel_size");
  s.axis.stride = spec.positive_integer("strides", 1);
  s.axis.dilation = spec.positive_integer("dilation_rate", 1);
  if (s.axis.stride > 1 && s.axis.dilation > 1 && !transposed)
    spec.fail("'strides' and 'dilation_rate' cannot both be above 1, got % and %", {s.axis.stride, s.axis.dilation});
  const std::string padding = spec.string("padding", "valid");
  const auto* const known = std::find(std::begin(paddings), std::end(paddings) - (transposed ? 1 : 0), padding);
  if (known == std::end(paddings) - (transposed ? 1 : 0))
    spec.fail("%", {unknown_name("padding", padding, std::span(paddings).first(transposed ? 2 : 3))});
  s.padding = static_cast<Padding>(known - std::begin(paddings));
  if (kind == ConvolutionKind::plain) s.groups = spec.positive_integer("groups", 1);
  if (kind == ConvolutionKind::plain && s.filters % s.groups != 0)
    spec.fail("'groups' must divide 'filters', got % and %", {s.groups, s.filters});
  if (kind == ConvolutionKind::depthwise) s.depth_multiplier = spec.positive_integer("depth_multiplier", 1);
  const Index span = s.axis.span(), stride = s.axis.stride;
  if (const json::Value* given = transposed ? spec.find("output_padding") : nullptr; given != nullptr && !given->is_null()) {
    s.output_padding = spec.integer("output_padding");
    if (s.output_padding < 0 || s.output_padding >= stride)
      spec.fail("'output_padding' must be at least 0 and less than 'strides', got % and %", {s.output_padding, stride});
  }
  if (!transposed) {
    s.axis.same = s.padding == Padding::same;
    if (s.padding == Padding::causal) s.axis.pad = span - 1;
  } else if (s.padding == Padding::same) {
    // What Keras cuts from both ends of all that the input's steps reach; more of it from the end where it is odd.
    const Index kept = s.output_padding < 0 ? stride + span - 2 : span + span % 2 - 2 + s.output_padding;
    s.axis.pad = span - 1 - std::min((kept + 1) / 2, span - 1);
  }
  s.activation = read_activation(spec, "activation", "linear", true);
  s.use_bias = spec.boolean("use_bias", true);
  if (kind == ConvolutionKind::plain) s.precision = read_precision(spec, false).value_or(Precision::float32);
  s.kernel_initializer =
      read_initializer(spec, kind == ConvolutionKind::depthwise ? "depthwise_initializer" : "kernel_initializer", "glorot_uniform");
  s.bias_initializer = read_initializer(spec, "bias_initializer", "zeros");
  return std::make_unique<ConvolutionLayer>(type, name, std::move(s));
}

}  // namespace

std::unique_ptr<Layer> make_conv1d(json::Reader& spec, const std::string& type, const std::string& name) {
  return make_convolution(spec, type, name, ConvolutionKind::plain);
}

std::unique_ptr<Layer> make_depthwise_conv1d(json::Reader& spec, const std::string& type, const std::string& name) {
  return make_convolution(spec, type, name, ConvolutionKind::depthwise);
}

std::unique_ptr<Layer> make_conv1d_transpose(json::Reader& spec, const std::string& type, const std::string& name) {
  return make_convolution(spec, type, name, ConvolutionKind::transposed);
}

}  // namespace rekur::layers
