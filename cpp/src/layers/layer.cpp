#include "layers/layer.hpp"
#include "io/text.hpp"

#include "layers/stream_op.hpp"
#include "runtime/checked.hpp"

namespace rekur::layers {

Layer::Layer(const std::string& type, const std::string& name) : type_(type), name_(name) {}

Layer::~Layer() = default;

void Layer::fail(const char* format, Parts parts) const { throw_error("% '%': %", {type_, name_, compose(format, parts)}); }

void Layer::cannot_stream(const char* format, Parts parts) const {
  fail("cannot go one step at a time: %", {compose(format, parts)});
}

std::unique_ptr<const StreamOp> Layer::stream(const StreamBuild&) const { cannot_stream("this layer does not say how"); }

void Layer::expect_inputs(std::span<const TensorSpec> inputs, std::size_t least, std::size_t most) const {
  if (inputs.size() >= least && inputs.size() <= most) return;
  const char* const what = most == 1 ? " input" : " inputs";
  if (most == static_cast<std::size_t>(-1)) fail("expected at least %%, got %", {least, what, inputs.size()});
  if (most == least) fail("expected %%, got %", {least, what, inputs.size()});
  fail("expected % to %%, got %", {least, most, what, inputs.size()});
}

void Layer::expect_features(const TensorSpec& input) const {
  if (input.dtype != DType::float32) fail("expected a float32 input, got int32 ids of shape %", {input.shape});
  if (input.shape.size() < 2 || input.shape.size() > kMostAxes) {
    fail("expected an input of shape (B, F), (B, T, F) or of up to % axes, got %", {kMostAxes, input.shape});
  }
  if (input.shape.back() == kUnknown) {
    fail("the number of features (the last dimension) must be known, got %", {input.shape});
  }
  if (input.shape.back() < 1) fail("expected at least one feature (the last dimension), got %", {input.shape});
}

#if REKUR_SEQUENCE
void Layer::change_time(TensorSpec& output, const TimeChange& change) const {
  Index& steps = output.shape[1];
  Index most = 0;
  if (steps != kUnknown && (multiply_overflows(steps, change.up, &most) || add_overflows(most, change.add, &most)))
    fail("what it makes of % steps are more than can be counted", {steps});
  output.change = change;
  steps = steps_after(change, steps);
}
#endif

std::vector<TensorSpec> Layer::infer_like_input(std::span<const TensorSpec> inputs) const {
  expect_inputs(inputs, 1, 1);
  expect_features(inputs[0]);
  return one(inputs[0]);
}

std::vector<TensorSpec> one(TensorSpec output) {
  std::vector<TensorSpec> outputs;
  outputs.push_back(std::move(output));
  return outputs;
}

void add_parameter(std::vector<ParamSpec>& specs, std::string_view prefix, const char* name, std::initializer_list<Index> shape,
                   std::string_view initializer, Index units) {
  specs.push_back({compose("%%", {prefix, name}), shape, std::string(initializer), units});
  const std::string_view own = name;
  specs.back().matrix = own.ends_with("kernel") || own == "convolution" || own == "embeddings";
}

Index parameter_size(const Layer& layer, const ParamSpec& parameter) {
  try {
    return element_count(parameter.shape);
  } catch (const Error&) {
    layer.fail("its % of shape % is too large", {parameter.name, parameter.shape});
  }
}

Index rows_of(const Shape& shape) {
  Index rows = 1;
  for (std::size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return rows;
}

}  // namespace rekur::layers
