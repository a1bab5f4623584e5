// Neural Amp Modeler's files.
#include <algorithm>

#include "import/formats.hpp"
#include "import/nam_network.hpp"
#include "import/values.hpp"

namespace rekur::foreign {
namespace {

constexpr const char* kWeights = "weights";

// The keys that every network has.
const json::Object& network_of(const json::Value* value, const std::string& what) {
  const json::Object& object = object_of(value, what);
  if (!is_nam(object)) throw_error("%: expected an object with architecture, config, weights", {what});
  return object;
}

std::string architecture_of(const json::Object& file) {
  const json::Value* const value = find(file, "architecture");
  return value != nullptr && value->is_string() ? value->string() : "";
}

// Of a container of models of several sizes the last one, which is the whole.
const json::Object& full_size(const json::Object& file) {
  const json::Object* found = &file;
  while (architecture_of(*found) == "SlimmableContainer") {
    const json::Array& models = array_of(object_of(*found, "config", "SlimmableContainer"), "submodels", "config");
    found = &network_of(find(object_of(&models.back(), "config: submodels"), "model"), "config: submodels: model");
  }
  return *found;
}

Floats columns(const Floats& matrix, Index rows, Index width, Index begin, Index end) {
  Floats part;
  for (Index i = 0; i < rows; ++i) part.insert(part.end(), matrix.begin() + i * width + begin, matrix.begin() + i * width + end);
  return part;
}

// LSTM layers with the states that the file begins with, and a head. Of each layer the matrix (4H, I + H) of x and h by rows, i, f,
// g, o; the bias; h; c. Then the head's matrix by rows, and its bias.
Model lstm(const json::Object& file, double sample_rate) {
  const json::Object& config = object_of(file, "config", "LSTM");
  const Index features = width(config, "input_size", "config"), units = width(config, "hidden_size", "config");
  const Index depth = count(config, "num_layers", "config"), outputs = width(config, "out_channels", "config", 1);
  WeightList weights(file, kWeights);
  Builder builder;
  builder.set_sample_rate(sample_rate);
  Sequence x = builder.input(features);
  for (Index k = 0; k < depth; ++k) {
    const Index seen = x.features, wide = seen + units;
    const Floats matrix = weights.take(4 * units * wide);
    Recurrent layer{"LSTM", units, transposed(columns(matrix, 4 * units, wide, 0, seen), 4 * units, seen),
                    transposed(columns(matrix, 4 * units, wide, seen, wide), 4 * units, units), weights.take(4 * units)};
    Floats h = weights.take(units), c = weights.take(units);
    const auto any = [](const Floats& values) { return std::any_of(values.begin(), values.end(), [](float v) { return v != 0; }); };
    if (any(h) || any(c)) layer.states = {std::move(h), std::move(c)};
    x = builder.recurrent(x, "lstm", std::move(layer));
  }
  Floats kernel = transposed(weights.take(outputs * units), outputs, units);
  x = builder.dense(x, "dense", "linear", outputs, std::move(kernel), weights.take(outputs));
  weights.finish();
  return builder.model(x, "sequential");
}

// x where it is the input of a network within another one; else an input is made.
NamTensor graph(NamNetwork& network, const json::Object& file, const NamTensor* given) {
  const std::string kind = architecture_of(file), what = compose("%: config", {network.what()});
  if (kind != "WaveNet" && kind != "ConvNet" && kind != "Linear")
    throw_error("%: its architecture is %; LSTM, WaveNet, ConvNet, Linear and SlimmableContainer are read",
                {network.what(), json::describe(*file.find("architecture"))});
  const json::Object& config = object_of(file, "config", network.what());
  const Index features = width(config, "in_channels", what, 1);
  const NamTensor x = given == nullptr ? network.input(features) : *given;
  if (x.sequence.features != features) throw_error("%: in_channels: expected %, got %", {what, x.sequence.features, features});
  WeightList weights(file, given == nullptr ? kWeights : compose("%: weights", {network.what()}));
  NamTensor condition = x;  // what the layers see besides: the input, or what a network of its own makes of it
  if (kind == "WaveNet" && find(config, "condition_dsp") != nullptr) {
    const std::string where = compose("%: condition_dsp", {what});
    NamNetwork inner = network.within(where, "condition_");
    condition = graph(inner, network_of(find(config, "condition_dsp"), where), &x);
  }
  const NamTensor y = kind == "WaveNet"   ? nam_wavenet(network, x, config, weights, condition)
                      : kind == "ConvNet" ? nam_convnet(network, x, config, weights)
                                          : nam_linear(network, x, config, weights);
  weights.finish();
  return y;
}

}  // namespace

NamTensor nam_convnet(NamNetwork& network, NamTensor x, const json::Object& config, WeightList& weights) {
  const std::string what = compose("%: config", {network.what()});
  expect_known(config, {"channels", "dilations", "batchnorm", "activation", "groups", "in_channels", "out_channels"}, what);
  const Index channels = width(config, "channels", what), outputs = width(config, "out_channels", what, 1);
  const bool normed = flag(config, "batchnorm", what);
  const Index groups = count(config, "groups", what, 1);
  const json::Array& dilations = array_of(config, "dilations", what);
  for (std::size_t k = 0; k < dilations.size(); ++k) {
    const Index dilation = count(&dilations[k], compose("%: dilations", {what}));
    const std::string name = compose("block%", {k});
    const Product product = weights.product(x.sequence.features, channels, name, 2, !normed, groups);
    x = network.product(x, product, name + "_conv", dilation, normed);
    if (normed) x = network.normalised(x, weights, name + "_norm");
    x = network.activation(x, config.find("activation"), name + "_activation", "config: activation");
  }
  return network.product(x, weights.product(channels, outputs, "head"), "head");
}

NamTensor nam_linear(NamNetwork& network, const NamTensor& x, const json::Object& config, WeightList& weights) {
  const std::string what = compose("%: config", {network.what()});
  expect_known(config, {"receptive_field", "bias", "in_channels", "out_channels", "implementation"}, what);
  const Index size = count(config, "receptive_field", what);
  const bool biased = flag(config, "bias", what);
  if (x.sequence.features != 1 || count(config, "out_channels", what, 1) != 1)
    throw_error("%: Linear of one channel is read", {what});
  if (size > kLongest) throw_error("%: receptive_field: expected at most %, got %", {what, kLongest, size});
  Product response = weights.product(1, 1, "linear", size, biased);
  std::reverse(response.kernel.begin(), response.kernel.end());  // its first number is of the step at hand
  return network.product(x, response, "linear");
}

bool is_nam(const json::Object& file) {
  return file.find("architecture") != nullptr && file.find("config") != nullptr && file.find(kWeights) != nullptr;
}

Model nam(const json::Object& given, bool settled) {
  const json::Object& file = full_size(given);
  double sample_rate = rate(given, {"sample_rate"}, "file");
  if (sample_rate == 0) sample_rate = rate(file, {"sample_rate"}, "file");
  if (architecture_of(file) == "LSTM") return lstm(file, sample_rate);
  Builder builder;
  builder.set_sample_rate(sample_rate);
  NamNetwork network(builder, "network", settled);
  const NamTensor y = graph(network, file, nullptr);
  return builder.model(network.output(y), "model");
}

}  // namespace rekur::foreign
