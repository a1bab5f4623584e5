#include "import/builder.hpp"

#include <algorithm>

#include "import/values.hpp"

namespace rekur::foreign {
namespace {

json::Object with(std::initializer_list<std::pair<std::string_view, json::Value>> members) { return json::Object(members); }

}  // namespace

Floats transposed(const Floats& matrix, Index rows, Index columns) {
  Floats turned(matrix.size());
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < columns; ++j)
      turned[static_cast<std::size_t>(j * rows + i)] = matrix[static_cast<std::size_t>(i * columns + j)];
  return turned;
}

Builder::Builder() = default;

Sequence Builder::input(Index features) {
  json::Array shape;
  shape.emplace_back(nullptr);
  shape.emplace_back(features);
  layers_.emplace_back(with({{"type", "Input"}, {"name", "input"}, {"shape", shape}, {"dtype", "float32"}}));
  names_.insert("input");
  return {"input", features};
}

Sequence Builder::call(const char* type, std::string name, const std::vector<Sequence>& inputs, json::Object keys, Index features) {
  // Each takes some kilobytes, however few bytes of the file it is made of.
  if (layers_.size() == kMostLayers) throw_error("it has more than % layers", {kMostLayers});
  const std::string base = name;
  for (Index& k = tried_[base]; names_.count(name) != 0;) name = compose("%_%", {base, ++k});
  names_.insert(name);
  json::Array references;
  for (const Sequence& input : inputs) references.emplace_back(input.name);
  json::Object layer = with({{"type", type}, {"name", name}, {"inputs", references}});
  for (const auto& [key, value] : keys) layer.set(key, value);
  layers_.emplace_back(std::move(layer));
  return {std::move(name), features};
}

void Builder::weights(const Sequence& layer, const char* name, Floats values) {
  weights_[compose("%/%", {layer.name, name})] = std::move(values);
}

Sequence Builder::dense(const Sequence& x, std::string name, const json::Value& activation, Index units, Floats kernel,
                        std::optional<Floats> bias) {
  const Sequence y = call("Dense", std::move(name), {x},
                          with({{"units", units},
                                {"activation", activation},
                                {"use_bias", bias.has_value()},
                                {"kernel_initializer", "glorot_uniform"},
                                {"bias_initializer", "zeros"}}),
                          units);
  weights(y, "kernel", std::move(kernel));
  if (bias) weights(y, "bias", std::move(*bias));
  return y;
}

Sequence Builder::convolution(const Sequence& x, std::string name, const json::Value& activation, const Product& product,
                              Index dilation) {
  const Index inner = product.inputs / product.groups;
  if (dilation > kLongest || (product.taps - 1) * dilation > kLongest)
    throw_error("% looks back % steps of % apart, more than % in all", {name, product.taps - 1, dilation, kLongest});
  const Sequence y = call("Conv1D", std::move(name), {x},
                          with({{"filters", product.outputs},
                                {"kernel_size", product.taps},
                                {"strides", 1},
                                {"padding", "causal"},
                                {"dilation_rate", product.taps > 1 ? dilation : Index{1}},
                                {"groups", product.groups},
                                {"activation", activation},
                                {"use_bias", product.bias.has_value()},
                                {"kernel_initializer", "glorot_uniform"},
                                {"bias_initializer", "zeros"}}),
                          product.outputs);
  Floats kernel(product.kernel.size());  // (taps, inputs of a group, outputs)
  for (Index o = 0; o < product.outputs; ++o)
    for (Index i = 0; i < inner; ++i)
      for (Index t = 0; t < product.taps; ++t)
        kernel[static_cast<std::size_t>((t * inner + i) * product.outputs + o)] =
            product.kernel[static_cast<std::size_t>((o * inner + i) * product.taps + t)];
  weights(y, "kernel", std::move(kernel));
  if (product.bias) weights(y, "bias", *product.bias);
  return y;
}

Sequence Builder::product(const Sequence& x, std::string name, const Product& product, Index dilation) {
  if (product.taps != 1 || product.groups != 1) return convolution(x, std::move(name), "linear", product, dilation);
  return dense(x, std::move(name), "linear", product.outputs, transposed(product.kernel, product.outputs, product.inputs),
               product.bias);
}

Sequence Builder::recurrent(const Sequence& x, std::string name, Recurrent layer) {
  const std::string_view type = layer.type;
  json::Object keys = with({{"units", layer.units},
                            {"activation", "tanh"},
                            {"use_bias", layer.bias.has_value()},
                            {"return_sequences", true},
                            {"return_state", false},
                            {"reverse", false},
                            {"kernel_initializer", "glorot_uniform"},
                            {"recurrent_initializer", "orthogonal"},
                            {"bias_initializer", type == "LSTM" ? "unit_forget" : "zeros"}});
  if (type != "SimpleRNN") keys.set("recurrent_activation", "sigmoid");
  if (type == "GRU") keys.set("reset_after", true);
  if (layer.states) keys.set("learn_initial_state", true);
  const Sequence y = call(layer.type, std::move(name), {x}, std::move(keys), layer.units);
  weights(y, "kernel", std::move(layer.kernel));
  weights(y, "recurrent_kernel", std::move(layer.recurrent_kernel));
  if (layer.bias) weights(y, "bias", std::move(*layer.bias));
  if (layer.states) {
    weights(y, "initial_h", std::move(layer.states->first));
    weights(y, "initial_c", std::move(layer.states->second));
  }
  return y;
}

Sequence Builder::activation(const Sequence& x, std::string name, json::Value activation) {
  return call("Activation", std::move(name), {x}, with({{"activation", std::move(activation)}}), x.features);
}

Sequence Builder::prelu(const Sequence& x, std::string name, Floats slopes) {
  json::Array axes;
  axes.emplace_back(1);
  const Sequence y = call("PReLU", std::move(name), {x}, with({{"alpha_initializer", "zeros"}, {"shared_axes", axes}}), x.features);
  weights(y, "alpha", std::move(slopes));
  return y;
}

Sequence Builder::batch_normalization(const Sequence& x, std::string name, Statistics statistics) {
  const bool affine = statistics.gamma.has_value();
  const Sequence y = call("BatchNormalization", std::move(name), {x},
                          with({{"momentum", 0.99},
                                {"epsilon", statistics.epsilon},
                                {"center", affine},
                                {"scale", affine},
                                {"beta_initializer", "zeros"},
                                {"gamma_initializer", "ones"},
                                {"moving_mean_initializer", "zeros"},
                                {"moving_variance_initializer", "ones"}}),
                          x.features);
  if (affine) {
    weights(y, "gamma", std::move(*statistics.gamma));
    weights(y, "beta", std::move(*statistics.beta));
  }
  weights(y, "moving_mean", std::move(statistics.mean));
  weights(y, "moving_variance", std::move(statistics.variance));
  return y;
}

Sequence Builder::rescaling(const Sequence& x, std::string name, json::Value scale, json::Value offset) {
  return call("Rescaling", std::move(name), {x}, with({{"scale", std::move(scale)}, {"offset", std::move(offset)}}), x.features);
}

Sequence Builder::slice(const Sequence& x, std::string name, Index start, Index stop) {
  return call("Slice", std::move(name), {x}, with({{"start", start}, {"stop", stop}}), stop - start);
}

Sequence Builder::merge(const char* type, std::string name, const std::vector<Sequence>& inputs) {
  return call(type, std::move(name), inputs, {}, inputs.front().features);
}

Sequence Builder::broadcast_sum(const Sequence& x, const Sequence& single) {
  return call("Lambda", "lambda", {x, single},
              with({{"equations", json::parse(R"({"inputs":["x0","x1"],"nodes":[["add",0,1]],"outputs":[2]})")}}), x.features);
}

Model Builder::model(const Sequence& output, const char* name) const {
  json::Array inputs, outputs;
  inputs.emplace_back("input");
  outputs.emplace_back(output.name);
  json::Object spec =
      with({{"format", "rekur"}, {"version", 1}, {"name", name}, {"layers", layers_}, {"inputs", inputs}, {"outputs", outputs}});
  if (sample_rate_ > 0) spec.set("signal", with({{"sample_rate", sample_rate_}}));
  Model model(json::write(spec));
  Floats flat(model.weight_count());
  for (const ParameterInfo& info : model.parameters()) {
    const auto found = weights_.find(info.name);
    if (found == weights_.end() || static_cast<Index>(found->second.size()) != element_count(info.shape))
      throw_error("parameter '%' of shape % did not come with as many numbers", {info.name, info.shape});
    std::copy(found->second.begin(), found->second.end(), flat.begin() + info.offset);
  }
  model.set_weights(flat);
  return model;
}

}  // namespace rekur::foreign
