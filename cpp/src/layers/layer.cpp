#include "layers/layer.hpp"
#include "io/text.hpp"

#include "layers/stream_op.hpp"

namespace rekur::layers {

void Layer::fail(std::initializer_list<Part> message) const { throw_error({type_, " '", name_, "': ", compose(message)}); }

void Layer::cannot_stream(std::initializer_list<Part> reason) const { fail({"cannot go one step at a time: ", compose(reason)}); }

std::unique_ptr<const StreamOp> Layer::stream(const StreamBuild&) const { cannot_stream({"this layer does not say how"}); }

void Layer::expect_inputs(std::span<const TensorSpec> inputs, std::size_t least, std::size_t most) const {
  if (inputs.size() >= least && inputs.size() <= most) return;
  const char* const what = most == 1 ? " input" : " inputs";
  if (most == static_cast<std::size_t>(-1)) fail({"expected at least ", least, what, ", got ", inputs.size()});
  if (most == least) fail({"expected ", least, what, ", got ", inputs.size()});
  fail({"expected ", least, " to ", most, what, ", got ", inputs.size()});
}

void Layer::expect_features(const TensorSpec& input) const {
  if (input.dtype != DType::float32) fail({"expected a float32 input, got int32 ids of shape ", input.shape});
  if (input.shape.size() != 2 && input.shape.size() != 3) {
    fail({"expected an input of shape (B, F) or (B, T, F), got ", input.shape});
  }
  if (input.shape.back() == kUnknown) {
    fail({"the number of features (the last dimension) must be known, got ", input.shape});
  }
  if (input.shape.back() < 1) fail({"expected at least one feature (the last dimension), got ", input.shape});
}

Index parameter_size(const Layer& layer, const ParamSpec& parameter) {
  try {
    return element_count(parameter.shape);
  } catch (const Error&) {
    layer.fail({"its ", parameter.name, " of shape ", parameter.shape, " is too large"});
  }
}

Index rows_of(const Shape& shape) {
  Index rows = 1;
  for (std::size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return rows;
}

}  // namespace rekur::layers
