// Weights of a model's layer for a fixed-size one (static.hpp). Needs the library, for the Model.
//
//   rekur::StaticLstm<1, 32> lstm;
//   rekur::copy_weights(lstm, model, "lstm");   // a direction of a Bidirectional: "rnn/forward", "rnn/backward"
#pragma once

#include <span>
#include <string>

#include "rekur/model.hpp"
#include "rekur/static.hpp"

namespace rekur {

namespace static_detail {

// Finds a layer's parameters by name and holds what was wrong with them first.
class Parameters {
 public:
  Parameters(const Model& model, const std::string& layer) : model_(model), layer_(layer) {}

  // Null if there is none: an error unless it may be missing.
  const float* find(const char* name, const Shape& shape, bool required = true) {
    const std::string full = layer_ + '/' + name;
    for (const ParameterInfo& p : model_.parameters()) {
      if (p.name != full) continue;
      if (p.shape == shape) return model_.weights().data() + p.offset;
      fail("parameter '" + full + "': expected shape " + to_string(shape) + ", got " + to_string(p.shape));
      return nullptr;
    }
    if (required) fail("the model has no parameter '" + full + "' (expected one of shape " + to_string(shape) + ")" + known());
    return nullptr;
  }

  // The same of a matrix, whose products are of eight bits in both or in neither.
  const float* matrix(const char* name, const Shape& shape, bool int8) {
    const float* const found = find(name, shape);
    const std::string full = layer_ + '/' + name;
    for (const ParameterInfo& p : model_.parameters())
      if (p.name == full && p.int8 != int8)
        fail("parameter '" + full +
             (p.int8 ? "' is of eight bits: expected weights = WeightType::int8 of the fixed-size layer's options"
                     : "' is not of eight bits: the layer's precision is not int8, as the fixed-size layer's options say"));
    return found;
  }

  // What a layer with other options would have.
  void forbid(const char* name) {
    const std::string full = layer_ + '/' + name;
    for (const ParameterInfo& p : model_.parameters())
      if (p.name == full) fail("parameter '" + full + "' " + to_string(p.shape) + ": the fixed-size layer has none");
  }

  const std::string& error() const { return error_; }

 private:
  void fail(const std::string& what) {
    if (error_.empty()) error_ = "copy_weights: layer '" + layer_ + "': " + what;
  }

  std::string known() const {
    std::string names;
    for (const ParameterInfo& p : model_.parameters()) names += (names.empty() ? "; it has " : ", ") + p.name;
    return names;
  }

  const Model& model_;
  const std::string layer_;
  std::string error_;
};

}  // namespace static_detail

// What is wrong, or "" if the weights were copied; nothing is, unless all fit. Shapes are compared; that the options agree
// (activations, clip, residual, zoneout, state_clip) is the caller's care.
template <class Layer>
std::string try_copy_weights(Layer& to, const Model& model, const std::string& layer) {
  static_detail::Parameters parameters(model, layer);
  if constexpr (requires { Layer::hidden; }) {
    constexpr Index H = Layer::hidden, columns = Layer::gates * H;
    const float* const kernel = parameters.matrix("kernel", {Layer::in, columns}, Layer::int8_kernel);
    const float* const recurrent = parameters.matrix("recurrent_kernel", {H, columns}, Layer::int8_recurrent_kernel);
    const float* const bias = parameters.find("bias", Layer::bias_rows == 2 ? Shape{2, columns} : Shape{columns}, false);
    parameters.forbid("initial_h");  // it begins at zero
    for (const char* const gain : {"kernel_gamma", "recurrent_gamma", "state_gamma"}) parameters.forbid(gain);
    if constexpr (Layer::peepholes > 0) {
      const float* const peephole = parameters.find("peephole", {Layer::peepholes, H});
      if (parameters.error().empty()) to.set_weights(kernel, recurrent, bias, peephole);
    } else {
      parameters.forbid("peephole");
      if (parameters.error().empty()) to.set_weights(kernel, recurrent, bias);
    }
  } else {
    const float* const kernel = parameters.matrix("kernel", {Layer::in, Layer::out}, Layer::int8_kernel);
    const float* const bias = parameters.find("bias", {Layer::out}, false);
    parameters.forbid("recurrent_kernel");
    if (parameters.error().empty()) to.set_weights(kernel, bias);
  }
  return parameters.error();
}

#if REKUR_THROWS
// The same; throws Error.
template <class Layer>
void copy_weights(Layer& to, const Model& model, const std::string& layer) {
  const std::string error = try_copy_weights(to, model, layer);
  if (!error.empty()) throw Error(error);
}
#endif

}  // namespace rekur
