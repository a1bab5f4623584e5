// A graph's parameters: how they are laid out, in whose store they stand, who may change them.
#include <algorithm>
#include <cstring>
#include <utility>

#include "graph/graph.hpp"
#include "io/text.hpp"
#include "isa/dispatch.hpp"
#include "runtime/locks.hpp"
#include "runtime/own_memory.hpp"

namespace rekur::graph {
namespace {

constexpr Index kMaxParameters = Index{1} << 40;

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
