// Spec → graph.
#include <algorithm>
#include <atomic>
#include <utility>

#include "graph/graph.hpp"
#include "io/json.hpp"
#include "io/suggest.hpp"
#include "io/text.hpp"
#include "isa/dispatch.hpp"
#include "layers/registry.hpp"
#include "runtime/sort.hpp"

namespace rekur::graph {
namespace {

constexpr Index kMaxParameters = Index{1} << 40;

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

class Builder {
 public:
  Builder(json::Reader& spec, Topology& topology) : spec_(spec), t_(topology) {}

  void build() {
    const std::string format = spec_.string("format");
    if (format != "rekur") spec_.refuse("format", "\"rekur\"");
    if (spec_.integer("version") != 1) spec_.refuse("version", "1 (the only one this library knows)");
    spec_.string("name", "model");
    const json::Array& layers = spec_.array("layers");
    const std::vector<std::string> inputs = read_names(spec_, "inputs");
    const std::vector<std::string> outputs = read_names(spec_, "outputs");
    spec_.finish();

    std::vector<layers::Parsed> parsed;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      parsed.push_back(layers::parse_layer(layers[i], i));
      names_.push_back(parsed.back().layer->name());
    }
    by_name_ = sorted(names_.size(), [this](Index a, Index b) { return name(a) < name(b); });
    for (std::size_t i = 1; i < by_name_.size(); ++i) {
      if (name(by_name_[i]) == name(by_name_[i - 1]))
        parsed[static_cast<std::size_t>(by_name_[i])].layer->fail("there is more than one layer of this name");
    }
    position_of_.assign(names_.size(), -1);
    for (std::size_t i = 0; i < inputs.size(); ++i) list_input(inputs[i], static_cast<int>(i), parsed);
    t_.inputs.assign(inputs.size(), -1);
    for (layers::Parsed& p : parsed) add(std::move(p));
    for (const std::string& output : outputs) add_output(output);
    mark_used();
  }

 private:
  void list_input(const std::string& name, int position, const std::vector<layers::Parsed>& parsed) {
    const Index found = find(name);
    if (found < 0) spec_.fail("inputs: %", {unknown_name("layer", name, all_names())});
    const layers::Layer& layer = *parsed[static_cast<std::size_t>(found)].layer;
    if (layer.type() != "Input") spec_.fail("inputs: '%' is a layer of type %, not Input", {name, layer.type()});
    if (std::exchange(position_of_[static_cast<std::size_t>(found)], position) >= 0)
      spec_.fail("inputs: '%' is listed twice", {name});
  }

  void add(layers::Parsed parsed) {
    Node node;
    node.layer = std::move(parsed.layer);
    const layers::Layer& layer = *node.layer;
    node.source = layer.type() == "Input";
    const std::string where = compose("% '%'", {layer.type(), layer.name()});
    std::vector<layers::TensorSpec> inputs;
    for (const std::string& reference : parsed.references) {
      node.inputs.push_back(resolve(reference, compose("%: input", {where})));
      inputs.push_back(t_.tensors[static_cast<std::size_t>(node.inputs.back())]);
    }
    std::vector<layers::TensorSpec> outputs = layer.infer(inputs);
    node.layer->build(inputs);
    node.first_output = static_cast<int>(t_.tensors.size());
    node.output_count = static_cast<int>(outputs.size());
    const int position = position_of_[t_.nodes.size()];
    if (node.source) {
      if (position < 0) layer.fail("is not listed in the model's inputs");
      t_.inputs[static_cast<std::size_t>(position)] = node.first_output;
      if (outputs[0].has_time()) outputs[0].time_source = position;
    }
    for (layers::TensorSpec& output : outputs) {
      t_.tensors.push_back(std::move(output));
      t_.producer.push_back(static_cast<int>(t_.nodes.size()));
      t_.input_of.push_back(position);
    }
    t_.nodes.push_back(std::move(node));
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
    if (reference.output >= node.output_count) {
      throw_error("% '%': % '%' has %%", {where, text, node.layer->type(), reference.layer, node.output_count,
                                          (node.output_count == 1 ? " output" : " outputs")});
    }
    return node.first_output + reference.output;
  }

  void mark_used() {
    t_.readers.assign(t_.tensors.size(), 0);
    for (const int tensor : t_.outputs) {
      ++t_.readers[static_cast<std::size_t>(tensor)];
      t_.nodes[static_cast<std::size_t>(t_.producer[static_cast<std::size_t>(tensor)])].used = true;
    }
    for (auto node = t_.nodes.rbegin(); node != t_.nodes.rend(); ++node) {
      if (!node->used) continue;
      for (const int tensor : node->inputs) {
        ++t_.readers[static_cast<std::size_t>(tensor)];
        t_.nodes[static_cast<std::size_t>(t_.producer[static_cast<std::size_t>(tensor)])].used = true;
      }
    }
  }

  std::string_view name(Index layer) const { return names_[static_cast<std::size_t>(layer)]; }

  // The layer of this name, or -1.
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

  json::Reader& spec_;
  Topology& t_;
  std::vector<std::string_view> names_;  // of the layers, which keep them
  std::vector<Index> by_name_;           // layers
  std::vector<int> position_of_;         // by layer: where the model's inputs list it, or -1
};

std::uint64_t next_id() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

// "lstm" or "lstm:1".
std::string tensor_name(const Topology& topology, int tensor) {
  const Node& node = topology.nodes[static_cast<std::size_t>(topology.producer[static_cast<std::size_t>(tensor)])];
  const int output = tensor - node.first_output;
  return output == 0 ? node.layer->name() : compose("%:%", {node.layer->name(), output});
}

}  // namespace

Graph::Graph(const std::string& spec_json) : spec_(spec_json), id_(next_id()), pool_(std::make_shared<ArenaPool>()) {
  isa::table();  // throws if this machine can run none of the kernels: no layer has to expect that
  const json::Value value = json::parse(spec_json);
  json::Reader reader(value, "model");
  Builder(reader, topology_).build();
  const auto info = [&](int tensor) {
    const layers::TensorSpec& spec = topology_.tensors[static_cast<std::size_t>(tensor)];
    return TensorInfo{tensor_name(topology_, tensor), spec.shape, spec.dtype};
  };
  for (const int tensor : topology_.inputs) input_infos_.push_back(info(tensor));
  for (const int tensor : topology_.outputs) output_infos_.push_back(info(tensor));
  allocate_parameters();
}

Graph::~Graph() = default;

void Graph::allocate_parameters() {
  for (Node& node : topology_.nodes) {
    node.weights_begin = parameter_count_;
    std::vector<layers::TensorSpec> inputs;
    for (const int tensor : node.inputs) inputs.push_back(topology_.tensors[static_cast<std::size_t>(tensor)]);
    for (layers::ParamSpec& parameter : node.layer->parameters(inputs)) {
      parameter_infos_.push_back({compose("%/%", {node.layer->name(), parameter.name}), parameter.shape, parameter_count_});
      parameter_count_ += layers::parameter_size(*node.layer, parameter);
      if (parameter_count_ > kMaxParameters) node.layer->fail("the model would have more than 2^40 parameters");
      parameter.context = compose("% '%': initializer of %", {node.layer->type(), node.layer->name(), parameter.name});
      parameter_specs_.push_back(std::move(parameter));
    }
    node.weights_end = parameter_count_;
  }
  weights_ = Arena(parameter_count_, "the parameters");
}

}  // namespace rekur::graph
