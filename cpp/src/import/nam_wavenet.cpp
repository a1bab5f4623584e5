// Neural Amp Modeler's WaveNet: arrays of dilated causal convolutions, all of which see the input, and a head.
#include <algorithm>
#include <map>

#include "import/nam_network.hpp"
#include "import/values.hpp"

namespace rekur::foreign {
namespace {

// In the order in which their weights stand.
constexpr const char* kFilms[] = {"conv_pre_film",       "conv_post_film",       "input_mixin_pre_film", "input_mixin_post_film",
                                  "activation_pre_film", "activation_post_film", "layer1x1_post_film",   "head1x1_post_film"};

struct Film {
  bool shifts;
  Index groups;
};

// What all layers of an array have in common, and what each has.
struct Layers {
  Index features, channels, bottleneck;  // of its input; between its layers; within a layer
  std::vector<Index> sizes, dilations;   // by layer
  std::vector<const json::Value*> activations, gates;
  std::vector<std::string> modes;
  bool residual = true;                           // whether a layer has a product to the next
  Index out = 0, out_size = 1, out_dilation = 1;  // of the head
  bool out_bias = false;
  Index to_head = 0;  // outputs of a product to the head; 0: there is none
  Index groups_input, groups_mixin, groups_residual = 1, groups_to_head = 1;
  std::map<std::string, Film> films;
};

// One value for all layers, or an array of one each.
std::vector<const json::Value*> by_layer(const json::Object& config, const char* key, std::size_t number, const std::string& what) {
  const json::Value* const value = config.find(key);
  if (value == nullptr || !value->is_array()) return std::vector<const json::Value*>(number, value);
  if (value->array().size() != number)
    throw_error("%: %: expected %, one for each of the dilations, got %", {what, key, number, value->array().size()});
  std::vector<const json::Value*> values;
  for (const json::Value& element : value->array()) values.push_back(&element);
  return values;
}

void read_head(const json::Object& config, const std::string& what, Layers& layers) {
  if (find(config, "head") == nullptr) {
    layers.out = width(config, "head_size", what);
    layers.out_bias = flag(config, "head_bias", what);
    return;
  }
  const std::string where = compose("%: head", {what});
  const json::Object& head = object_of(config, "head", what);
  expect_known(head, {"out_channels", "kernel_size", "head_dilation", "bias"}, where);
  layers.out = width(head, "out_channels", where);
  layers.out_size = count(head, "kernel_size", where);
  layers.out_dilation = count(head, "head_dilation", where, 1);
  layers.out_bias = flag(head, "bias", where);
}

void read_products(const json::Object& config, const std::string& what, Layers& layers) {
  if (find(config, "layer1x1") != nullptr) {
    const std::string where = compose("%: layer1x1", {what});
    const json::Object& entry = object_of(config, "layer1x1", what);
    expect_known(entry, {"active", "groups"}, where);
    layers.residual = flag(entry, "active", where);
    layers.groups_residual = count(entry, "groups", where);
  }
  if (find(config, "head1x1") != nullptr) {
    const std::string where = compose("%: head1x1", {what});
    const json::Object& entry = object_of(config, "head1x1", what);
    expect_known(entry, {"active", "out_channels", "groups"}, where);
    if (flag(entry, "active", where)) {
      layers.to_head = width(entry, "out_channels", where);
      layers.groups_to_head = count(entry, "groups", where);
    }
  }
  if (!layers.residual && layers.bottleneck != layers.channels)
    throw_error("%: bottleneck: expected % channels without layer1x1, got %", {what, layers.channels, layers.bottleneck});
}

void read_films(const json::Object& config, const std::string& what, Layers& layers) {
  for (const char* place : kFilms) {
    const json::Value* const value = find(config, place);
    if (value == nullptr || (value->is_boolean() && !value->boolean())) continue;
    const std::string where = compose("%: %", {what, place});
    const json::Object& entry = object_of(config, place, what);
    expect_known(entry, {"active", "shift", "groups"}, where);
    if (flag(entry, "active", where, true))
      layers.films[place] = {flag(entry, "shift", where, true), count(entry, "groups", where, 1)};
  }
  if (layers.films.count("layer1x1_post_film") != 0 && !layers.residual)
    throw_error("%: layer1x1_post_film: there is no layer1x1", {what});
  if (layers.films.count("head1x1_post_film") != 0 && layers.to_head == 0)
    throw_error("%: head1x1_post_film: there is no head1x1", {what});
}

std::vector<std::string> read_modes(const json::Object& config, std::size_t number, const std::string& what) {
  if (config.find("gating_mode") == nullptr)
    return std::vector<std::string>(number, flag(config, "gated", what, false) ? "gated" : "none");
  std::vector<std::string> modes;
  for (const json::Value* mode : by_layer(config, "gating_mode", number, what)) {
    if (!mode->is_string() || (mode->string() != "none" && mode->string() != "gated" && mode->string() != "blended"))
      throw_error("%: gating_mode: expected none, gated or blended, got %", {what, json::describe(*mode)});
    modes.push_back(mode->string());
  }
  return modes;
}

Layers read_layers(const json::Value& value, const std::string& what, Index condition) {
  const json::Object& config = object_of(&value, what);
  expect_known(config,
               {"input_size",
                "condition_size",
                "channels",
                "bottleneck",
                "kernel_size",
                "kernel_sizes",
                "dilations",
                "activation",
                "gated",
                "gating_mode",
                "secondary_activation",
                "head",
                "head_size",
                "head_bias",
                "groups_input",
                "groups_input_mixin",
                "layer1x1",
                "head1x1",
                "slimmable",
                "conv_pre_film",
                "conv_post_film",
                "input_mixin_pre_film",
                "input_mixin_post_film",
                "activation_pre_film",
                "activation_post_film",
                "layer1x1_post_film",
                "head1x1_post_film"},
               what);
  if (const Index size = count(config, "condition_size", what); size != condition)
    throw_error("%: condition_size: expected %, got %", {what, condition, size});
  Layers layers;
  layers.features = width(config, "input_size", what);
  layers.channels = width(config, "channels", what);
  layers.bottleneck = width(config, "bottleneck", what, layers.channels);
  for (const json::Value& dilation : array_of(config, "dilations", what))
    layers.dilations.push_back(count(&dilation, compose("%: dilations", {what})));
  const std::size_t number = layers.dilations.size();
  const json::Value* const sizes = config.find("kernel_sizes");
  const char* const key = sizes != nullptr ? "kernel_sizes" : "kernel_size";
  if ((sizes != nullptr) == (config.find("kernel_size") != nullptr)) throw_error("%: expected kernel_size or kernel_sizes", {what});
  if (config.find(key)->is_array() != (sizes != nullptr))
    throw_error("%: %: expected %", {what, key, sizes != nullptr ? "an array" : "a number"});
  for (const json::Value* size : by_layer(config, key, number, what))
    layers.sizes.push_back(count(size, compose("%: %", {what, key})));
  layers.activations = by_layer(config, "activation", number, what);
  layers.modes = read_modes(config, number, what);
  static const json::Value kSigmoid("Sigmoid");
  layers.gates = config.find("secondary_activation") == nullptr ? std::vector<const json::Value*>(number, &kSigmoid)
                                                                : by_layer(config, "secondary_activation", number, what);
  layers.groups_input = count(config, "groups_input", what, 1);
  layers.groups_mixin = count(config, "groups_input_mixin", what, 1);
  read_head(config, what, layers);
  read_products(config, what, layers);
  read_films(config, what, layers);
  return layers;
}

NamTensor activated(NamNetwork& network, const Layers& layers, std::size_t k, const NamTensor& z, const std::string& name) {
  const auto activation = [&](const NamTensor& x, const json::Value* given, const char* label) {
    return network.activation(x, given, compose("%_%", {name, label}), compose("config: %: %", {name, label}));
  };
  const std::string& mode = layers.modes[k];
  if (mode == "none") return activation(z, layers.activations[k], "activation");
  const NamTensor before = network.cut(z, 0, layers.bottleneck, name + "_first");
  NamTensor gate = network.cut(z, layers.bottleneck, 2 * layers.bottleneck, name + "_second");
  const NamTensor after = activation(before, layers.activations[k], "activation");
  gate = activation(gate, layers.gates[k], "gate");
  if (mode == "gated") return network.multiply(name + "_gated", after, gate);
  // gate⊙after + (1 − gate)⊙before
  const NamTensor change = network.subtract(name + "_change", after, before);
  return network.add(name + "_blended", {before, network.multiply(name + "_part", gate, change)});
}

// What goes on to the next layer, and what goes to the head. What the last layer of all hands on, nobody reads.
std::pair<NamTensor, NamTensor> run_layer(NamNetwork& network, const Layers& layers, std::size_t k, const NamTensor& x,
                                          const NamTensor& condition, WeightList& weights, const std::string& name, bool last) {
  const Index inner = layers.bottleneck, seen = condition.sequence.features;
  const std::string& mode = layers.modes[k];
  const Index wide = inner * (mode == "none" ? 1 : 2);
  // Weights stand there in another order than that of their use.
  const Product conv = weights.product(layers.channels, wide, name, layers.sizes[k], true, layers.groups_input);
  const Product mixin = weights.product(seen, wide, name, 1, false, layers.groups_mixin);
  std::optional<Product> residual, to_head;
  if (layers.residual) residual = weights.product(inner, layers.channels, name, 1, true, layers.groups_residual);
  if (layers.to_head != 0) to_head = weights.product(inner, layers.to_head, name, 1, true, layers.groups_to_head);
  const Index widths[] = {layers.channels, wide, seen, wide, wide, inner, layers.channels, layers.to_head};
  std::map<std::string, Product> films;
  for (std::size_t p = 0; p < std::size(kFilms); ++p) {
    const auto film = layers.films.find(kFilms[p]);
    if (film == layers.films.end()) continue;
    films[kFilms[p]] = weights.product(seen, widths[p] * (film->second.shifts ? 2 : 1), name, 1, true, film->second.groups);
  }
  // y⊙scale + shift, both of which are a product of the condition.
  const auto film = [&](const char* place, const NamTensor& y) {
    const auto found = films.find(place);
    if (found == films.end()) return y;
    const std::string label = compose("%_%", {name, place});
    const NamTensor both = network.product(condition, found->second, label);
    if (!layers.films.at(place).shifts) return network.multiply(label + "_scaled", y, both);
    const Index channels = y.sequence.features;
    const NamTensor scale = network.cut(both, 0, channels, label + "_scale");
    const NamTensor shift = network.cut(both, channels, 2 * channels, label + "_shift");
    return network.add(label + "_output", {network.multiply(label + "_scaled", y, scale), shift});
  };
  NamTensor z = network.product(film("conv_pre_film", x), conv, name + "_conv", layers.dilations[k]);
  z = film("conv_post_film", z);
  const NamTensor mixed = network.product(film("input_mixin_pre_film", condition), mixin, name + "_mixin");
  z = network.add(name + "_input", {z, film("input_mixin_post_film", mixed)});
  z = activated(network, layers, k, film("activation_pre_film", z), name);
  z = film("activation_post_film", z);
  const NamTensor head = to_head ? film("head1x1_post_film", network.product(z, *to_head, name + "_to_head")) : z;
  if (last || !residual) return {x, head};
  // In other modes the engine reads the weights of the FiLM and leaves it out.
  const bool modulated = mode == "blended" && films.count("layer1x1_post_film") != 0;
  NamTensor handed = network.product(z, *residual, name + "_residual", 1, !modulated);
  if (modulated) handed = film("layer1x1_post_film", handed);
  return {network.add(name + "_output", {x, handed}), head};
}

// What some files have behind all arrays: activations, each before a convolution.
NamTensor behind(NamNetwork& network, const NamTensor& x, const json::Object& config, WeightList& weights) {
  const std::string what = compose("%: config: head", {network.what()});
  expect_known(config, {"in_channels", "channels", "out_channels", "kernel_sizes", "activation"}, what);
  if (find(config, "in_channels") != nullptr && count(config, "in_channels", what) != x.sequence.features)
    throw_error("%: in_channels: expected %", {what, x.sequence.features});
  const json::Array& sizes = array_of(config, "kernel_sizes", what);
  const Index inner = width(config, "channels", what), out = width(config, "out_channels", what);
  std::vector<Product> products;
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    const Index taps = count(&sizes[k], compose("%: kernel_sizes", {what}));
    products.push_back(
        weights.product(k == 0 ? x.sequence.features : inner, k + 1 == sizes.size() ? out : inner, compose("head%", {k}), taps));
  }
  NamTensor y = network.scaled(x, weights.one(), "head_scale");
  for (std::size_t k = 0; k < products.size(); ++k) {
    y = network.activation(y, config.find("activation"), compose("head%_activation", {k}), "config: head: activation");
    y = network.product(y, products[k], compose("head%", {k}));
  }
  return y;
}

}  // namespace

NamTensor nam_wavenet(NamNetwork& network, const NamTensor& x, const json::Object& config, WeightList& weights,
                      const NamTensor& condition) {
  const std::string what = compose("%: config", {network.what()});
  expect_known(config, {"layers", "head", "head_scale", "in_channels", "condition_dsp"}, what);
  std::vector<Layers> arrays;
  for (const json::Value& entry : array_of(config, "layers", what))
    arrays.push_back(read_layers(entry, compose("%: layers[%]", {what, arrays.size()}), condition.sequence.features));
  NamTensor y = x;
  std::optional<NamTensor> head;
  for (std::size_t a = 0; a < arrays.size(); ++a) {
    const Layers& layers = arrays[a];
    const std::string place = compose("%: layers[%]", {what, a}), name = compose("array%", {a});
    const Index reads = layers.to_head != 0 ? layers.to_head : layers.bottleneck;
    if (layers.features != y.sequence.features)
      throw_error("%: input_size: expected %, as come to it, got %", {place, y.sequence.features, layers.features});
    if (head && head->sequence.features != reads)
      throw_error("%: the array before has % outputs, its own head reads %", {place, head->sequence.features, reads});
    y = network.product(y, weights.product(y.sequence.features, layers.channels, name, 1, false), name + "_rechannel");
    std::vector<NamTensor> terms;
    if (head) terms.push_back(*head);
    for (std::size_t k = 0; k < layers.sizes.size(); ++k) {
      const bool last = a + 1 == arrays.size() && k + 1 == layers.sizes.size();
      auto [next, term] = run_layer(network, layers, k, y, condition, weights, compose("%_layer%", {name, k}), last);
      y = std::move(next);
      terms.push_back(std::move(term));
    }
    const NamTensor total = terms.size() > 1 ? network.add(name + "_sum", terms) : terms.front();
    const std::string label = name + "_head";
    const Product product = weights.product(total.sequence.features, layers.out, label, layers.out_size, layers.out_bias);
    head = network.product(total, product, label, layers.out_dilation);
  }
  if (find(config, "head") != nullptr) return behind(network, *head, object_of(config, "head", what), weights);
  return network.scaled(*head, weights.one(), "head_scale");
}

}  // namespace rekur::foreign
