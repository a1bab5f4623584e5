#include "sequence/conv_lstm.hpp"

#include <algorithm>
#include <limits>

#include "io/suggest.hpp"
#include "isa/dispatch.hpp"
#include "layers/activation_spec.hpp"
#include "layers/cell_options.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"
#include "runtime/checked.hpp"

namespace rekur::layers {
namespace {

ConvolutionSide side_of(const Shape& shape, std::size_t first) {
  ConvolutionSide side;
  Position sizes{1, 1, 1};
  const std::size_t rank = shape.size() - 1 - first;
  for (std::size_t a = 0; a < rank; ++a) sizes[kSpace - rank + a] = shape[first + a];
  side.around = {sizes[0], sizes[1]};
  side.n = sizes[2];
  return side;
}

// h's own: as large as what it reads.
std::array<ConvolutionAxis, kSpace> recurrent_axes(const ConvLstmSettings& s) {
  std::array<ConvolutionAxis, kSpace> axes;
  for (std::size_t a = 0; a < kSpace; ++a) axes[a] = {.taps = s.axes[a].taps, .same = true};
  return axes;
}

void place_convolution(Convolution& c, const std::array<ConvolutionAxis, kSpace>& axes, Index channels, Index filters,
                       Index groups) {
  c.axes = axes;
  c.groups = groups;
  c.large_channels = channels * groups;
  c.small_channels = filters;
}

// A step: both convolutions, then the gates. h stands in two places, since neighbours read each other.
class ConvLstmOp final : public StreamOp {
 public:
  ConvLstmOp(const float* weights, const ConvLstmSettings& s, Index channels, const ConvolutionSide& x, const ConvolutionSide& y)
      : s_(s), channels_(channels), x_(x), y_(y), kernels_(isa::kernels()), gates_(isa::table().gates) {
    place_convolution(input_, s.axes, channels, 4 * s.filters, 1);
    place_convolution(recurrent_, recurrent_axes(s), s.filters, 4 * s.filters, 1);
    input_.prepare_gather(weights, 1);
    recurrent_.prepare_gather(weights + input_.kernel_size(), 1);
    const float* const bias = weights + input_.kernel_size() + recurrent_.kernel_size();
    if (s.use_bias) bias_.assign(bias, bias + 4 * s.filters);
  }

  Index memory(Index batch) const override {
    Index floats = element_count({batch, 7, aligned(state())});
    if (add_overflows(floats, copies(), &floats)) throw_error("ConvLSTM: % rows do not fit in memory", {batch});
    return floats;
  }

  std::vector<StreamState> states(Index batch) const override {
    const Index all = batch * aligned(state());
    return {{"h", state(), state(), {0, all}}, {"c", state(), state(), {2 * all, 2 * all}}};
  }

  bool recurs() const override { return true; }

  void step(const StreamCall& c, int turn) const noexcept override {
    const Index all = c.batch * aligned(state()), Q = y_.positions();
    float* const before = c.memory + turn * all;
    float* const after = c.memory + (1 - turn) * all;
    float *const cell = c.memory + 2 * all, *const gates = c.memory + 3 * all, *const copies = c.memory + 7 * all;
    const Images<float> sums{gates, 4 * state()};
    input_.gather_here(kernels_, c.batch, x_, {c.input(), x_.positions() * channels_}, y_, bias_.empty() ? nullptr : bias_.data(),
                       sums, false, copies);
    recurrent_.gather_here(kernels_, c.batch, y_, {before, state()}, y_, nullptr, sums, true, copies);
    gates_.forward({c.batch * Q, s_.filters, gates, cell, cell, after, &s_.activations});
    std::copy_n(after, c.batch * state(), c.output());
  }

 private:
  Index state() const { return y_.positions() * s_.filters; }
  Index copies() const { return std::max(input_.gather_memory(), recurrent_.gather_memory()); }

  ConvLstmSettings s_;
  Index channels_;
  ConvolutionSide x_, y_;
  const simd::Kernels& kernels_;
  const kernels::GateKernels& gates_;
  Convolution input_, recurrent_;
  std::vector<float> bias_;
};

}  // namespace

ConvLstm::ConvLstm(const std::string& type, const std::string& name, ConvLstmSettings settings)
    : Layer(type, name), s_(std::move(settings)) {}

Shape ConvLstm::output_space(const Shape& x) const {
  Shape space;
  for (std::size_t a = 0; a < s_.rank; ++a) {
    const ConvolutionAxis& axis = s_.axes[kSpace - s_.rank + a];
    const Index n = x[2 + a], windows = axis.same ? (n - 1) / axis.stride + 1 : (n - axis.span()) / axis.stride + 1;
    if (n < 1 || (!axis.same && n < axis.span()))
      fail("expected an input of at least % positions along axis %, which its windows span, got %",
           {axis.same ? 1 : axis.span(), 2 + a, x});
    space.push_back(windows);
  }
  return space;
}

std::vector<TensorSpec> ConvLstm::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs(inputs, 1, 3);
  const Shape& x = inputs[0].shape;
  const char* const wanted = s_.rank == 1 ? "(B, T, W, C)" : "(B, T, H, W, C)";
  if (inputs[0].dtype != DType::float32 || x.size() != s_.rank + 3) fail("expected a float32 input of shape %, got %", {wanted, x});
  for (std::size_t a = 2; a < x.size(); ++a)
    if (x[a] == kUnknown) fail("every axis of its input % but the batch and the time must be known, got %", {wanted, x});
  expect_features(inputs[0]);
  const Shape space = output_space(x);
  Shape state{x[0]};
  state.insert(state.end(), space.begin(), space.end());
  state.push_back(s_.filters);
  for (std::size_t i = 1; i < inputs.size(); ++i) {
    const Shape& given = inputs[i].shape;
    if (inputs[i].dtype != DType::float32 || given.size() != state.size() ||
        !std::equal(given.begin() + 1, given.end(), state.begin() + 1))
      fail("expected initial state % of shape %, got %", {i, state, given});
  }
  TensorSpec y{state, DType::float32, -1};
  if (s_.return_sequences) {
    y.shape.insert(y.shape.begin() + 1, x[1]);
    y.time_source = inputs[0].time_source;
  }
  std::vector<TensorSpec> outputs{y};
  for (int k = 0; s_.return_state && k < 2; ++k) outputs.push_back({state, DType::float32, -1});
  return outputs;
}

std::vector<ParamSpec> ConvLstm::parameters(std::span<const TensorSpec> inputs) const {
  std::vector<ParamSpec> specs;
  const auto add = [&](const char* name, Index channels, const std::string& initializer) {
    add_parameter(specs, "", name, {}, initializer, s_.filters);
    Shape& shape = specs.back().shape;
    for (std::size_t a = kSpace - s_.rank; a < kSpace; ++a) shape.push_back(s_.axes[a].taps);
    shape.push_back(channels);
    shape.push_back(element_count({kGates, s_.filters}));
  };
  add("kernel", features_of(inputs[0].shape), s_.kernel_initializer);
  add("recurrent_kernel", s_.filters, s_.recurrent_initializer);
  if (s_.use_bias) {
    add_parameter(specs, "", "bias", {kGates * s_.filters}, s_.bias_initializer, s_.filters);
    specs.back().forget = s_.filters;
  }
  return specs;
}

void ConvLstm::build(std::span<const TensorSpec> inputs) {
  const Shape& x = inputs[0].shape;
  const Index channels = features_of(x), sums = kGates * s_.filters;
  Shape y = output_space(x);
  y.push_back(s_.filters);
  x_side_ = side_of(x, 2);
  y_side_ = side_of(y, 0);
  place_convolution(input_, s_.axes, channels, sums, 1);
  place_convolution(recurrent_, recurrent_axes(s_), s_.filters, sums, 1);
#if REKUR_TRAINING
  place_convolution(dropped_input_, s_.axes, channels, sums, kGates);
  place_convolution(dropped_recurrent_, recurrent_axes(s_), s_.filters, sums, kGates);
#endif
}

void ConvLstm::prepare(const float* weights, std::uint64_t version, [[maybe_unused]] bool training) const {
#if REKUR_TRAINING
  const Convolution& input = training && s_.dropout > 0 ? dropped_input_ : input_;
  const Convolution& recurrent = training && s_.recurrent_dropout > 0 ? dropped_recurrent_ : recurrent_;
  if (training) {
    input.prepare_scatter(weights, version);
    recurrent.prepare_scatter(weights + recurrent_at(), version);
  }
#else
  const Convolution &input = input_, &recurrent = recurrent_;
#endif
  input.prepare_gather(weights, version);
  recurrent.prepare_gather(weights + recurrent_at(), version);
}

std::unique_ptr<const StreamOp> ConvLstm::stream(const StreamBuild& build) const {
  if (s_.reverse) cannot_stream("it begins at the end of the sequence, which no step but the last knows");
  if (!s_.return_sequences || s_.return_state)
    cannot_stream("an output without the time axis has its positions there; return_sequences=True and return_state=False go");
  return std::make_unique<ConvLstmOp>(build.weights, s_, features_of(build.inputs[0].shape), x_side_, y_side_);
}

namespace {

// A number for all axes, or an array of one an axis.
std::array<Index, kSpace> read_axes(json::Reader& spec, const char* key, std::size_t rank, Index fallback) {
  std::array<Index, kSpace> found{1, 1, 1};
  const json::Value* value = fallback == 0 ? &spec.get(key) : spec.find(key);
  for (std::size_t a = 0; a < rank; ++a) found[kSpace - rank + a] = fallback;
  if (value == nullptr) return found;
  const bool several = value->is_array();
  if (several ? value->array().size() != rank : !value->is_integer()) spec.refuse(key, "an integer, or an array of one an axis");
  for (std::size_t a = 0; a < rank; ++a) {
    const json::Value& number = several ? value->array()[a] : *value;
    if (!number.is_integer() || number.integer() < 1 || number.integer() > std::numeric_limits<std::int32_t>::max())
      spec.refuse(key, "of integers from 1 to 2147483647");
    found[kSpace - rank + a] = number.integer();
  }
  return found;
}

}  // namespace

std::unique_ptr<Layer> make_conv_lstm(json::Reader& spec, const std::string& type, const std::string& name) {
  static constexpr std::string_view paddings[] = {"valid", "same"};
  ConvLstmSettings s;
  s.rank = type == "ConvLSTM1D" ? 1 : 2;
  s.filters = spec.positive_integer("filters");
  const auto taps = read_axes(spec, "kernel_size", s.rank, 0), strides = read_axes(spec, "strides", s.rank, 1);
  const auto dilation = read_axes(spec, "dilation_rate", s.rank, 1);
  const std::string padding = spec.string("padding", "valid");
  if (padding != paddings[0] && padding != paddings[1]) spec.fail("%", {unknown_name("padding", padding, paddings)});
  for (std::size_t a = 0; a < kSpace; ++a)
    s.axes[a] = {.taps = taps[a], .stride = strides[a], .dilation = dilation[a], .same = padding == paddings[1]};
  if (*std::max_element(strides.begin(), strides.end()) > 1 && *std::max_element(dilation.begin(), dilation.end()) > 1)
    spec.fail("'strides' and 'dilation_rate' cannot both be above 1");
  s.activations.candidate = s.activations.output = read_activation(spec, "activation", "tanh", false).function;
  s.activations.gate = read_activation(spec, "recurrent_activation", "sigmoid", false).function;
  s.use_bias = spec.boolean("use_bias", true);
  s.return_sequences = spec.boolean("return_sequences", false);
  s.return_state = spec.boolean("return_state", false);
  s.reverse = spec.boolean("reverse", false);
  s.zero_output_for_mask = spec.boolean("zero_output_for_mask", false);
  s.dropout = read_rate(spec, "dropout");
  s.recurrent_dropout = read_rate(spec, "recurrent_dropout");
  s.kernel_initializer = read_initializer(spec, "kernel_initializer", "glorot_uniform");
  s.recurrent_initializer = read_initializer(spec, "recurrent_initializer", "orthogonal");
  s.bias_initializer = read_initializer(spec, "bias_initializer", "unit_forget");
  return std::make_unique<ConvLstm>(type, name, std::move(s));
}

}  // namespace rekur::layers
