// Spec → topology.
#include <algorithm>
#include <utility>

#include "graph/graph.hpp"
#include "io/json.hpp"
#include "io/suggest.hpp"
#include "io/text.hpp"
#include "layers/registry.hpp"
#include "runtime/sort.hpp"

namespace rekur::graph {
namespace {

// "layer" or "layer:k".
struct Reference {
  std::string_view layer;
  int output = 0;
  bool valid = true;

  explicit Reference(std::string_view text) {
    const std::size_t colon = text.find(':');
    layer = text.substr(0, colon);
    if (colon == text.npos) return;
    const std::string_view digits = text.substr(colon + 1);
    valid = !digits.empty() && digits.size() <= 4 && digits.find_first_not_of("0123456789") == digits.npos;
    for (const char digit : digits) output = valid ? 10 * output + (digit - '0') : 0;
  }
};

std::vector<std::string> read_names(json::Reader& reader, const char* key) {
  std::vector<std::string> names;
  for (const json::Value& name : reader.array(key)) {
    if (!name.is_string()) reader.refuse(key, "an array of layer names");
    names.push_back(name.string());
  }
  if (names.empty()) reader.refuse(key, "an array of at least one layer name");
  return names;
}

// Whether a layer's object, made for the first, serves for the second: it has looked at features and types, not at batch and time.
bool alike(std::span<const layers::TensorSpec> a, std::span<const layers::TensorSpec> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const layers::TensorSpec& x, const layers::TensorSpec& y) {
    const bool features = x.dtype == DType::int32 || x.shape.empty() || y.shape.empty() || x.shape.back() == y.shape.back();
    return x.dtype == y.dtype && x.shape.size() == y.shape.size() && features;
  });
}

class Builder {
 public:
  Builder(json::Reader& spec, Topology& topology) : spec_(spec), t_(topology) {}

  void build() {
    const std::string format = spec_.string("format");
    if (format != "rekur") spec_.refuse("format", "\"rekur\"");
    const Index version = spec_.integer("version");
    if (version != 1 && version != 2) spec_.refuse("version", "1 or 2 (the ones that this library knows)");
    spec_.string("name", "model");
    layers_ = &spec_.array("layers");
    const json::Array* const calls = version == 2 ? &spec_.array("calls") : nullptr;
    const std::vector<std::string> inputs = read_names(spec_, "inputs");
    const std::vector<std::string> outputs = read_names(spec_, "outputs");
    read_signal();
    spec_.finish();

    read_layers(calls != nullptr);
    if (calls != nullptr)
      read_calls(*calls);
    else
      for (std::size_t i = 0; i < parsed_.size(); ++i)
        calls_.push_back({t_.owners[i], static_cast<int>(i), std::move(parsed_[i].references)});
    for (const Planned& call : calls_) names_.push_back(call.name);
    by_name_ = sorted(names_.size(), [this](Index a, Index b) { return name(a) < name(b); });
    for (std::size_t i = 1; i < by_name_.size(); ++i) {
      if (name(by_name_[i]) != name(by_name_[i - 1])) continue;
      const layers::Layer& layer = layer_of(calls_[static_cast<std::size_t>(by_name_[i])]);
      if (calls == nullptr) layer.fail("there is more than one layer of this name");
      layer.fail("there is more than one call named '%'", {name(by_name_[i])});
    }
    position_of_.assign(names_.size(), -1);
    for (std::size_t i = 0; i < inputs.size(); ++i) list_input(inputs[i], static_cast<int>(i));
    t_.inputs.assign(inputs.size(), -1);
    t_.axes.all.resize(inputs.size());
    first_call_.assign(parsed_.size(), -1);
    for (Planned& call : calls_) add(call);
    for (const std::string& output : outputs) add_output(output);
    mark_last_calls();
    mark_used();
  }

 private:
  // A node to be.
  struct Planned {
    std::string name;
    int owner;  // layer
    std::vector<std::string> references;
  };

  void read_signal() {
    const json::Value* const value = spec_.find("signal");
    if (value == nullptr) return;
    json::Reader reader(*value, "model: 'signal'");
    if (reader.find("sample_rate") != nullptr) {
      t_.signal.sample_rate = reader.number("sample_rate");
      if (!(t_.signal.sample_rate > 0)) reader.refuse("sample_rate", "a number of Hz above 0");
    }
    t_.signal.latency = reader.integer("latency", 0);
    if (!is_latency(t_.signal.latency)) reader.refuse("latency", "a number of samples from 0 to 2147483647");
    reader.finish();
  }

  void read_layers(bool apart) {
    for (std::size_t i = 0; i < layers_->size(); ++i) {
      parsed_.push_back(layers::parse_layer((*layers_)[i], i));
      const layers::Layer& layer = *parsed_.back().layer;
      if (apart && (*layers_)[i].object().find("inputs") != nullptr) layer.fail("'inputs' stand with its calls in version 2");
      t_.owners.push_back(layer.name());
    }
    const std::vector<Index> order = sorted(t_.owners.size(), [this](Index a, Index b) { return owner(a) < owner(b); });
    for (std::size_t i = 1; apart && i < order.size(); ++i)
      if (owner(order[i]) == owner(order[i - 1]))
        parsed_[static_cast<std::size_t>(order[i])].layer->fail("there is more than one layer of this name");
  }

  // Inputs are there without being called.
  void read_calls(const json::Array& calls) {
    std::vector<char> called(parsed_.size(), false);
    for (std::size_t i = 0; i < parsed_.size(); ++i) {
      if (parsed_[i].layer->type() != "Input") continue;
      called[i] = true;
      calls_.push_back({t_.owners[i], static_cast<int>(i), {}});
    }
    for (std::size_t i = 0; i < calls.size(); ++i) {
      json::Reader call(calls[i], compose("call %", {i}));
      const std::string layer = call.string("layer");
      const auto found = std::find(t_.owners.begin(), t_.owners.end(), layer);
      if (found == t_.owners.end()) {
        const std::vector<std::string_view> known(t_.owners.begin(), t_.owners.end());
        call.fail("%", {unknown_name("layer", layer, known)});
      }
      const auto owner = static_cast<std::size_t>(found - t_.owners.begin());
      if (parsed_[owner].layer->type() == "Input") call.fail("'%' is an Input, which is not called", {layer});
      const std::string name = call.string("name", layer.c_str());
      if (!layers::is_name(name)) call.refuse("name", "1 to 255 letters, digits, '_', '.' or '-'");
      called[owner] = true;
      calls_.push_back({name, static_cast<int>(owner), read_names(call, "inputs")});
      call.finish();
    }
    for (std::size_t i = 0; i < called.size(); ++i)
      if (!called[i]) parsed_[i].layer->fail("is not called");
  }

  const layers::Layer& layer_of(const Planned& call) const { return *parsed_[static_cast<std::size_t>(call.owner)].layer; }

  void list_input(const std::string& name, int position) {
    const Index found = find(name);
    if (found < 0) spec_.fail("inputs: %", {unknown_name("layer", name, all_names())});
    const layers::Layer& layer = layer_of(calls_[static_cast<std::size_t>(found)]);
    if (layer.type() != "Input") spec_.fail("inputs: '%' is a layer of type %, not Input", {name, layer.type()});
    if (std::exchange(position_of_[static_cast<std::size_t>(found)], position) >= 0)
      spec_.fail("inputs: '%' is listed twice", {name});
  }

  void add(const Planned& call) {
    Node node;
    const auto owner = static_cast<std::size_t>(call.owner);
    int& first = first_call_[owner];
    node.name = call.name;
    node.owner = call.owner;
    node.again = first >= 0;
    node.layer = node.again ? t_.nodes[static_cast<std::size_t>(first)].layer : std::move(parsed_[owner].layer);
    node.source = node.layer->type() == "Input";
    const std::string where = compose("% '%'", {node.layer->type(), node.name});
    std::vector<layers::TensorSpec> inputs;
    for (const std::string& reference : call.references) {
      node.inputs.push_back(resolve(reference, compose("%: input", {where})));
      inputs.push_back(t_.tensors[static_cast<std::size_t>(node.inputs.back())]);
    }
    const bool other = node.again && !alike(inputs_of(t_.nodes[static_cast<std::size_t>(first)]), inputs);
    if (other) node.layer = layers::parse_layer((*layers_)[owner], owner).layer;
    const layers::Layer& layer = *node.layer;
    std::vector<layers::TensorSpec> outputs = layer.infer(inputs);
    if (!node.again || other) node.layer->build(inputs);
    if (other) check_parameters(t_.nodes[static_cast<std::size_t>(first)], layer, inputs);
    if (!node.again) first = static_cast<int>(t_.nodes.size());
    node.first_output = static_cast<int>(t_.tensors.size());
    node.output_count = static_cast<int>(outputs.size());
    const int position = position_of_[t_.nodes.size()];
    if (node.source) {
      if (position < 0) layer.fail("is not listed in the model's inputs");
      t_.inputs[static_cast<std::size_t>(position)] = node.first_output;
      outputs[0].time_source = outputs[0].has_time() ? position : -1;
      t_.axes.all[static_cast<std::size_t>(position)].tensor = node.first_output;
    } else {
      node.axis = t_.axes.add(layer, static_cast<int>(t_.nodes.size()), inputs, node.inputs, node.first_output, outputs);
    }
    for (layers::TensorSpec& output : outputs) {
      t_.tensors.push_back(std::move(output));
      t_.producer.push_back(static_cast<int>(t_.nodes.size()));
      t_.input_of.push_back(position);
    }
    t_.nodes.push_back(std::move(node));
  }

  std::vector<layers::TensorSpec> inputs_of(const Node& node) const {
    std::vector<layers::TensorSpec> inputs;
    for (const int tensor : node.inputs) inputs.push_back(t_.tensors[static_cast<std::size_t>(tensor)]);
    return inputs;
  }

  void check_parameters(const Node& first, const layers::Layer& layer, std::span<const layers::TensorSpec> inputs) const {
    const std::vector<layers::ParamSpec> there = first.layer->parameters(inputs_of(first)), here = layer.parameters(inputs);
    for (std::size_t i = 0; i < here.size(); ++i) {
      if (i < there.size() && there[i].name == here[i].name && there[i].shape == here[i].shape) continue;
      layer.fail("the call '%' needs its weight '%' of shape %, and an earlier one %",
                 {names_[t_.nodes.size()], here[i].name, here[i].shape, i < there.size() ? there[i].shape : Shape()});
    }
  }

  void add_output(const std::string& name) {
    const int tensor = resolve(name, compose("%: output", {spec_.context()}));
    if (t_.tensors[static_cast<std::size_t>(tensor)].dtype != DType::float32) {
      spec_.fail("output '%' is an array of int32 ids; outputs must be float32", {name});
    }
    t_.outputs.push_back(tensor);
  }

  // The tensor of a reference to a layer that is there already.
  int resolve(const std::string& text, const std::string& where) const {
    const Reference reference(text);
    if (!reference.valid) throw_error("% '%' must be \"layer\" or \"layer:k\", k a number", {where, text});
    const Index found = find(reference.layer);
    if (found < 0) throw_error("% '%': %", {where, text, unknown_name("layer", reference.layer, all_names())});
    if (static_cast<std::size_t>(found) >= t_.nodes.size()) {
      throw_error("% '%' does not come before it: layers must stand in topological order, without cycles", {where, text});
    }
    const Node& node = t_.nodes[static_cast<std::size_t>(found)];
    if (node.layer->only_adds()) node.layer->fail("it adds to the loss, and gives nothing that % could read", {where});
    if (reference.output >= node.output_count) {
      throw_error("% '%': % '%' has %%", {where, text, node.layer->type(), reference.layer, node.output_count,
                                          (node.output_count == 1 ? " output" : " outputs")});
    }
    return node.first_output + reference.output;
  }

  void mark_last_calls() {
    std::vector<int> last(t_.owners.size(), -1);
    for (std::size_t i = 0; i < t_.nodes.size(); ++i) last[static_cast<std::size_t>(t_.nodes[i].owner)] = static_cast<int>(i);
    for (const int node : last) t_.nodes[static_cast<std::size_t>(node)].last = true;
  }

  void mark_used() {
    t_.readers.assign(t_.tensors.size(), 0);
    for (const int tensor : t_.outputs) {
      ++t_.readers[static_cast<std::size_t>(tensor)];
      t_.nodes[static_cast<std::size_t>(t_.producer[static_cast<std::size_t>(tensor)])].used = true;
    }
    mark_behind(false);
#if REKUR_TRAINING
    for (Node& node : t_.nodes)
      if (!node.used && node.layer->only_adds()) node.used = node.for_penalty = true;
    mark_behind(true);
#endif
  }

  // What nodes that are used read, of those that outputs depend on or of those that only penalties do.
  void mark_behind(bool for_penalty) {
    for (auto node = t_.nodes.rbegin(); node != t_.nodes.rend(); ++node) {
      if (!node->used || node->for_penalty != for_penalty) continue;
      for (const int tensor : node->inputs) {
        ++t_.readers[static_cast<std::size_t>(tensor)];
        Node& source = t_.nodes[static_cast<std::size_t>(t_.producer[static_cast<std::size_t>(tensor)])];
        if (!source.used) source.used = true, source.for_penalty = for_penalty;
      }
    }
  }

  std::string_view name(Index call) const { return names_[static_cast<std::size_t>(call)]; }

  // The call of this name, or -1.
  Index find(std::string_view wanted) const {
    const auto at = std::lower_bound(by_name_.begin(), by_name_.end(), wanted,
                                     [this](Index layer, std::string_view than) { return name(layer) < than; });
    return at != by_name_.end() && name(*at) == wanted ? *at : -1;
  }

  std::vector<std::string_view> all_names() const {
    std::vector<std::string_view> all;
    for (const Index layer : by_name_) all.push_back(name(layer));
    return all;
  }

  std::string_view owner(Index layer) const { return t_.owners[static_cast<std::size_t>(layer)]; }

  json::Reader& spec_;
  Topology& t_;
  const json::Array* layers_ = nullptr;
  std::vector<layers::Parsed> parsed_;  // by layer; an object moves to its first call's node
  std::vector<Planned> calls_;
  std::vector<int> first_call_;          // by layer: a node, or -1
  std::vector<std::string_view> names_;  // of the calls, which keep them
  std::vector<Index> by_name_;           // calls
  std::vector<int> position_of_;         // by call: where the model's inputs list it, or -1
};

}  // namespace

std::string tensor_name(const Topology& topology, int tensor) {
  const Node& node = topology.nodes[static_cast<std::size_t>(topology.producer[static_cast<std::size_t>(tensor)])];
  const int output = tensor - node.first_output;
  return output == 0 ? node.name : compose("%:%", {node.name, output});
}

Topology read_topology(const std::string& spec_json) {
  Topology topology;
  const json::Value value = json::parse(spec_json);
  json::Reader reader(value, "model");
  Builder(reader, topology).build();
  return topology;
}

}  // namespace rekur::graph
