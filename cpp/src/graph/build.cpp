// Spec → graph.
#include <algorithm>
#include <cstring>
#include <utility>

#include "graph/graph.hpp"
#include "io/json.hpp"
#include "io/suggest.hpp"
#include "io/text.hpp"
#include "isa/dispatch.hpp"
#include "layers/registry.hpp"
#include "runtime/locks.hpp"
#include "runtime/own_memory.hpp"
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

#if REKUR_TRAINING
// What is said of a parameter, whose name may have a direction in front; empty where nothing is.
std::string rule_for(std::string_view parameter, const std::vector<layers::ParamRule>& rules, std::vector<char>& used) {
  const std::string_view name = parameter.substr(parameter.rfind('/') + 1);
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (rules[i].parameter != name) continue;
    used[i] = true;
    return rules[i].rule;
  }
  return "";
}

void check_ruled(const layers::Layer& layer, const char* key, const std::vector<layers::ParamRule>& rules,
                 const std::vector<char>& used) {
  for (std::size_t i = 0; i < rules.size(); ++i)
    if (!used[i]) layer.fail("'%': it has no parameter '%'", {key, rules[i].parameter});
}
#endif

std::uint64_t next_id() {
  static runtime::Atomic<std::uint64_t> last{0};
  return ++last;
}

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

Graph::Graph(const std::string& spec_json) : spec_(spec_json), id_(next_id()), pool_(std::make_shared<ArenaPool>()) {
  build();
  lay_out_parameters({});
}

#if REKUR_TRAINING
Graph::Graph(const std::string& spec_json, std::span<const SharedLayer> shared)
    : spec_(spec_json), id_(next_id()), pool_(std::make_shared<ArenaPool>()) {
  build();
  lay_out_parameters(shared);
}
#endif

Graph::Graph(const std::string& spec_json, WithoutWeights)
    : spec_(spec_json), id_(next_id()), pool_(std::make_shared<ArenaPool>()) {
  build();
  lay_out_parameters({}, false);
}

void Graph::build() {
  isa::table();  // throws if this machine can run none of the kernels: no layer has to expect that
  topology_ = read_topology(spec_);
  const auto info = [&](int tensor) {
    const layers::TensorSpec& spec = topology_.tensors[static_cast<std::size_t>(tensor)];
    return TensorInfo{tensor_name(topology_, tensor), spec.shape, spec.dtype};
  };
  for (const int tensor : topology_.inputs) input_infos_.push_back(info(tensor));
  for (const int tensor : topology_.outputs) output_infos_.push_back(info(tensor));
#if REKUR_TRAINING
  const std::size_t owners = topology_.owners.size();
  trained_ =
      std::make_shared<const Trained>(Trained{.owner = std::vector<char>(owners, true), .rate = std::vector<float>(owners, 1)});
#endif
}

Graph::~Graph() = default;

// In the order of the spec's layers, whoever's store they stand in.
void Graph::lay_out_parameters([[maybe_unused]] std::span<const SharedLayer> shared, bool own_weights) {
  std::vector<Node*> first_call(topology_.owners.size());
  for (Node& node : topology_.nodes)
    if (!node.again) first_call[static_cast<std::size_t>(node.owner)] = &node;
  Index own = 0;
  for (Node* const first : first_call) {
    Node& node = *first;
    node.weights_begin = parameter_count_;
    [[maybe_unused]] const std::size_t first_parameter = parameter_infos_.size();
#if REKUR_TRAINING
    std::vector<char> ruled[2] = {std::vector<char>(node.layer->regularizers().size()),
                                  std::vector<char>(node.layer->constraints().size())};
#endif
    std::vector<layers::TensorSpec> inputs;
    for (const int tensor : node.inputs) inputs.push_back(topology_.tensors[static_cast<std::size_t>(tensor)]);
    for (layers::ParamSpec& parameter : node.layer->parameters(inputs)) {
      parameter_infos_.push_back({compose("%/%", {node.layer->name(), parameter.name}), parameter.shape, parameter_count_,
                                  parameter.matrix, parameter.int8});
      parameter_count_ += layers::parameter_size(*node.layer, parameter);
      if (parameter_count_ > kMaxParameters) node.layer->fail("the model would have more than 2^40 parameters");
      parameter.context = compose("% '%': initializer of %", {node.layer->type(), node.layer->name(), parameter.name});
#if REKUR_TRAINING
      // A loop's parameters come with the rules of the layers within.
      if (std::string rule = rule_for(parameter.name, node.layer->regularizers(), ruled[0]); !rule.empty())
        parameter.regularizer = std::move(rule);
      if (std::string rule = rule_for(parameter.name, node.layer->constraints(), ruled[1]); !rule.empty())
        parameter.constraint = std::move(rule);
#endif
      parameter_specs_.push_back(std::move(parameter));
      parameter_owner_.push_back(node.owner);
    }
    node.weights_end = parameter_count_;
    const SharedLayer* with = nullptr;
#if REKUR_TRAINING
    check_ruled(*node.layer, "regularizers", node.layer->regularizers(), ruled[0]);
    check_ruled(*node.layer, "constraints", node.layer->constraints(), ruled[1]);
    for (const SharedLayer& s : shared)
      if (s.layer == node.layer->name() && node.weights_size() > 0) with = &s;
    if (with != nullptr) share(node, *with, first_parameter);
#endif
    if (with == nullptr) node.weights_at = std::exchange(own, own + node.weights_size());
  }
  for (Node& node : topology_.nodes) {
    if (!node.again) continue;
    const Node& first = *first_call[static_cast<std::size_t>(node.owner)];
    node.store = first.store;
    node.weights_at = first.weights_at;
    node.weights_begin = first.weights_begin;
    node.weights_end = first.weights_end;
  }
#if REKUR_TRAINING
  for (const SharedLayer& with : shared)
    if (std::find(topology_.owners.begin(), topology_.owners.end(), with.layer) == topology_.owners.end())
      throw_error("model: there is no layer '%' that could share weights", {with.layer});
#endif
  if (own_weights) stores_.own().weights = Arena(own, "the parameters");
  segments_ = segments_of(std::vector<char>(topology_.owners.size(), true));
}

#if REKUR_TRAINING
void Graph::share(Node& node, const SharedLayer& with, std::size_t first_parameter) {
  const Graph& other = *with.of;
  const auto found = std::find_if(other.topology_.nodes.begin(), other.topology_.nodes.end(), [&](const Node& theirs) {
    return other.topology_.owners[static_cast<std::size_t>(theirs.owner)] == with.theirs;
  });
  if (found == other.topology_.nodes.end())
    throw_error("model: there is no layer '%' whose weights could be shared", {with.theirs});
  std::vector<const ParameterInfo*> theirs;
  for (std::size_t i = 0; i < other.parameter_infos_.size(); ++i)
    if (other.parameter_owner_[i] == found->owner) theirs.push_back(&other.parameter_infos_[i]);
  const std::size_t count = parameter_infos_.size() - first_parameter;
  for (std::size_t i = 0; i < std::max(count, theirs.size()); ++i) {
    const Shape none, &here = i < count ? parameter_infos_[first_parameter + i].shape : none,
                      &there = i < theirs.size() ? theirs[i]->shape : none;
    if (here == there) continue;
    node.layer->fail("its weights are those of '%', which was called on other inputs: shape % there, % here",
                     {with.theirs, there, here});
  }
  node.store = stores_.add(other.stores_.shared(found->store));
  node.weights_at = found->weights_at;
}

Segment Graph::segment_of(std::size_t parameter) const {
  const ParameterInfo& info = parameter_infos_[parameter];
  for (const Node& node : topology_.nodes)
    if (!node.again && node.owner == parameter_owner_[parameter])
      return {node.store, node.weights_at + info.offset - node.weights_begin, info.offset, element_count(info.shape)};
  return {};
}
#endif

std::vector<Segment> Graph::segments_of(const std::vector<char>& owners) const {
  std::vector<const Node*> nodes(owners.size());
  for (const Node& node : topology_.nodes)
    if (!node.again && node.weights_size() > 0) nodes[static_cast<std::size_t>(node.owner)] = &node;
  std::vector<Segment> segments;
  for (std::size_t i = 0; i < owners.size(); ++i) {
    const Node* const node = nodes[i];
    if (node == nullptr || !owners[i]) continue;
    if (!segments.empty()) {
      Segment& last = segments.back();
      if (last.store == node->store && last.at + last.size == node->weights_at && last.flat + last.size == node->weights_begin) {
        last.size += node->weights_size();
        continue;
      }
    }
    segments.push_back({node->store, node->weights_at, node->weights_begin, node->weights_size()});
  }
  return segments;
}

std::span<const float> Graph::weights() const {
  if (stores_.size() > 1) return {};
  return {stores_.own().weights.data(), static_cast<std::size_t>(parameter_count_)};
}

bool Graph::weights_are_borrowed() const {
  const HeldStores held(stores_);
  return stores_.own().weights.is_borrowed();
}

void Graph::take_panels(PackedPanels panels, std::shared_ptr<const void> keep) {
  panels_ = std::move(panels);
  panels_version_ = stores_.version();
  keep_file_ = std::move(keep);
}

Arena Graph::arena_of(Index floats, const char* purpose) const {
  const runtime::MemoryScope scope(&memory_);
  return Arena(floats, purpose);
}

void Graph::change_weights(std::span<const Segment> segments, FunctionRef<void(const Segment&, std::span<float>)> change) {
  const HeldStores held(stores_, segments);
  for (int i = 0; i < stores_.size(); ++i) {
    Store& store = stores_[i];
    if (!stands_in(segments, i)) continue;
    if (store.weights.is_borrowed()) {
      Arena own = arena_of(store.weights.size(), "a copy of the parameters");
      std::memcpy(own.data(), store.weights.data(), static_cast<std::size_t>(own.size()) * sizeof(float));
      store.weights = std::move(own);
    }
    ++store.version;
  }
  for (const Segment& s : segments) change(s, std::span(stores_[s.store].weights.data() + s.at, static_cast<std::size_t>(s.size)));
}

void Graph::set_weights(std::span<const float> flat) {
  change_weights(segments_, [&](const Segment& segment, std::span<float> weights) {
    std::memmove(weights.data(), flat.data() + segment.flat, weights.size_bytes());
  });
}

}  // namespace rekur::graph
