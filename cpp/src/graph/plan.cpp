#include "graph/plan.hpp"

#include <algorithm>

#include "graph/arena.hpp"
#include "io/text.hpp"
#include "isa/dispatch.hpp"
#include "runtime/checked.hpp"
#include "runtime/sort.hpp"

namespace rekur::graph {
namespace {

// Something that stands in the arena from call `first` to call `last`, both included.
struct Item {
  Index size;
  Index first, last;
  Index* offset;
};

// Largest first, each at the lowest offset where nothing that lives at the same time stands. Returns the arena's size.
Index place(const std::vector<Item>& items) {
  std::vector<const Item*> placed;  // by offset
  Index total = 0;
  for (const Index i : sorted(items.size(), [all = items.data()](Index a, Index b) { return all[a].size > all[b].size; })) {
    const Item& item = items[static_cast<std::size_t>(i)];
    Index offset = 0;
    for (const Item* other : placed) {
      if (other->first > item.last || item.first > other->last) continue;
      if (*other->offset - offset >= item.size) break;
      offset = std::max(offset, *other->offset + other->size);
    }
    Index end;
    if (add_overflows(offset, item.size, &end)) throw_out_of_memory("the arrays of a run do not fit in memory");
    *item.offset = offset;
    total = std::max(total, end);
    placed.insert(std::find_if(placed.begin(), placed.end(), [&](const Item* other) { return *other->offset > offset; }), &item);
  }
  return total;
}

// Shape inference with a run's shapes.
void infer(const Topology& topology, Plan& plan) {
  plan.tensors = topology.tensors;
  std::vector<layers::TensorSpec> inputs;
  for (const Node& node : topology.nodes) {
    if (node.source) {
      layers::TensorSpec& tensor = plan.tensors[static_cast<std::size_t>(node.first_output)];
      const int position = topology.input_of[static_cast<std::size_t>(node.first_output)];
      const Shape& given = plan.input_shapes[static_cast<std::size_t>(position)];
      expect_sizes(compose("% '%'", {node.layer->type(), node.layer->name()}), given);
      bool fits = given.size() == tensor.shape.size();
      for (std::size_t d = 0; fits && d < given.size(); ++d) fits = tensor.shape[d] == kUnknown || tensor.shape[d] == given[d];
      if (!fits) node.layer->fail("expected an array of shape %, got %", {tensor.shape, given});
      tensor.shape = given;
      element_count(given);
    }
    if (node.source || !node.used) continue;
    inputs.clear();
    for (const int tensor : node.inputs) inputs.push_back(plan.tensors[static_cast<std::size_t>(tensor)]);
    const std::vector<layers::TensorSpec> outputs = node.layer->infer(inputs);
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      element_count(outputs[k].shape);
      layers::TensorSpec& tensor = plan.tensors[static_cast<std::size_t>(node.first_output) + k];
      tensor.shape = outputs[k].shape;  // its time axis is known
      tensor.dtype = outputs[k].dtype;
    }
  }
}

Index sum(const std::vector<Item>& items) {
  Index total = 0;
  for (const Item& item : items)
    if (add_overflows(total, item.size, &total)) throw_out_of_memory("the arrays of a run do not fit in memory");
  return total;
}

class Layout {
 public:
  Layout(const Topology& topology, Plan& plan) : t_(topology), plan_(plan), N_(static_cast<Index>(topology.nodes.size())) {}

  void run() {
    const std::size_t tensors = t_.tensors.size();
    plan_.value.assign(tensors, kNowhere);
    plan_.gradient.assign(tensors, kNowhere);
    plan_.output_gradient.assign(t_.outputs.size(), kNowhere);
    plan_.tape.assign(t_.nodes.size(), kNowhere);
    plan_.scratch.assign(t_.nodes.size(), kNowhere);
    plan_.gradient_apart.assign(t_.nodes.size(), kNowhere);
    for (const Node& node : t_.nodes) {
      std::vector<layers::TensorSpec>& inputs = plan_.inputs.emplace_back();
      for (const int tensor : node.inputs) inputs.push_back(plan_.tensors[static_cast<std::size_t>(tensor)]);
    }
    find_roots();
    find_stacks();
    find_last_readers();
    for (std::size_t tensor = 0; tensor < tensors; ++tensor) add_tensor(tensor);
    for (Index i = 0; i < N_; ++i) add_node(i);
    if (plan_.training) add_output_gradients();
    plan_.arena_size = place(items_);
    if (!plan_.lent) return;
    place(passing_);
    // What stands in the same place in turns is counted as if it did not: so fewer rows never take more. What is not used costs
    // nothing.
    plan_.arena_size = sum(items_);
    plan_.passing_size = sum(passing_);
  }

 private:
  // When a node runs: forward in [begin, end], backward in [backward_begin, backward_end].
  Index begin(Index node) const { return plan_.stack_first[static_cast<std::size_t>(node)]; }
  Index end(Index node) const { return plan_.stack_last[static_cast<std::size_t>(node)]; }
  Index backward_begin(Index node) const { return 2 * N_ - 1 - end(node); }
  Index backward_end(Index node) const { return 2 * N_ - 1 - begin(node); }

  // An array that passes through a layer unchanged is not copied. Outputs of the model have their own: a caller's may stand there.
  void find_roots() {
    plan_.root.resize(t_.tensors.size());
    for (std::size_t tensor = 0; tensor < plan_.root.size(); ++tensor) {
      const Node& node = t_.nodes[static_cast<std::size_t>(t_.producer[tensor])];
      const bool same =
          !plan_.training && !node.source && node.layer->passes_through(false) && !t_.is_output(static_cast<int>(tensor));
      plan_.root[tensor] = same ? plan_.root[static_cast<std::size_t>(node.inputs[0])] : static_cast<int>(tensor);
    }
  }

  int root_of(int tensor) const { return plan_.root[static_cast<std::size_t>(tensor)]; }

  // A stack grows while a layer can run on the one before it and needs nothing else of the stack.
  void find_stacks() {
    plan_.stack_first.resize(t_.nodes.size());
    plan_.stack_last.resize(t_.nodes.size());
    std::vector<Index> stack;
    for (Index i = 0; i < N_; ++i) {
      const Node& node = t_.nodes[static_cast<std::size_t>(i)];
      plan_.stack_first[static_cast<std::size_t>(i)] = plan_.stack_last[static_cast<std::size_t>(i)] = i;
      if (node.source || !node.used || root_of(node.first_output) != node.first_output) continue;
      if (!extends(stack, node)) stack.clear();
      stack.push_back(i);
      for (const Index member : stack) {
        plan_.stack_first[static_cast<std::size_t>(member)] = stack.front();
        plan_.stack_last[static_cast<std::size_t>(member)] = i;
      }
    }
  }

  bool extends(const std::vector<Index>& stack, const Node& node) const {
    if (stack.empty() || stack.size() == layers::Layer::kMostStacked) return false;
    const Node& top = t_.nodes[static_cast<std::size_t>(stack.back())];
    if (root_of(node.inputs[0]) != top.first_output || node.for_penalty != top.for_penalty) return false;
    const auto shape = [&](int tensor) -> const Shape& { return plan_.tensors[static_cast<std::size_t>(tensor)].shape; };
    if (shape(node.inputs[0]) != shape(top.first_output)) return false;  // the same array, seen as something else
    const layers::Walk walk = node.layer->walk(plan_.training);
    if (walk == layers::Walk::none || walk != top.layer->walk(plan_.training)) return false;
    return std::none_of(node.inputs.begin() + 1, node.inputs.end(), [&](int tensor) {
      const Index producer = t_.producer[static_cast<std::size_t>(root_of(tensor))];
      return std::find(stack.begin(), stack.end(), producer) != stack.end();
    });
  }

  void find_last_readers() {
    last_reader_.assign(t_.tensors.size(), kNowhere);
    last_root_reader_ = last_reader_;
    for (Index i = 0; i < N_; ++i) {
      const Node& node = t_.nodes[static_cast<std::size_t>(i)];
      if (!node.used) continue;
      for (const int tensor : node.inputs) {
        last_reader_[static_cast<std::size_t>(tensor)] = i;
        last_root_reader_[static_cast<std::size_t>(plan_.root[static_cast<std::size_t>(tensor)])] = i;
      }
    }
  }

  void add_tensor(std::size_t tensor) {
    const Index producer = t_.producer[tensor];
    const Node& node = t_.nodes[static_cast<std::size_t>(producer)];
    if (node.source || !node.used) return;
    const bool output = t_.is_output(static_cast<int>(tensor));
    const Index size = element_count(plan_.tensors[tensor].shape);
    if (plan_.root[tensor] == static_cast<int>(tensor)) {
      Index last = last_root_reader_[tensor] == kNowhere ? end(producer) : std::max(end(producer), end(last_root_reader_[tensor]));
      if (plan_.training) last = backward_end(producer);
      if (output && !plan_.training) last = 2 * N_;
      add(size, begin(producer), last, plan_.value[tensor]);
    }
    if (plan_.training && (output || last_reader_[tensor] != kNowhere)) {
      pass(size, output ? N_ : backward_begin(last_reader_[tensor]), backward_end(producer), plan_.gradient[tensor]);
    }
  }

  void add_node(Index i) {
    const Node& node = t_.nodes[static_cast<std::size_t>(i)];
    if (node.source || !node.used) return;
    std::vector<layers::TensorSpec> inputs;
    for (const int tensor : node.inputs) inputs.push_back(plan_.tensors[static_cast<std::size_t>(tensor)]);
    Index tape = node.layer->tape_size(inputs, plan_.training);
#if REKUR_TRAINING
    if (plan_.remat) tape = node.layer->remat_tape_size(inputs);
#endif
    add(tape, begin(i), plan_.training ? backward_end(i) : end(i), plan_.tape[static_cast<std::size_t>(i)]);
#if REKUR_TRAINING
    if (!plan_.training) return;
    pass(node.layer->backward_scratch(inputs), backward_begin(i), backward_end(i), plan_.scratch[static_cast<std::size_t>(i)]);
    if ((plan_.lent || !node.last) && node.layer->writes_gradients())
      pass(node.weights_size(), backward_begin(i), backward_end(i), plan_.gradient_apart[static_cast<std::size_t>(i)]);
#endif
  }

  // Where a tensor is listed again, and where it is an input of the model, whose gradient is the caller's array.
  void add_output_gradients() {
    for (std::size_t k = 0; k < t_.outputs.size(); ++k) {
      const auto tensor = static_cast<std::size_t>(t_.outputs[k]);
      const auto first = std::find(t_.outputs.begin(), t_.outputs.end(), t_.outputs[k]) - t_.outputs.begin();
      if (static_cast<std::size_t>(first) == k && t_.input_of[tensor] < 0) continue;
      pass(element_count(plan_.tensors[tensor].shape), N_, N_, plan_.output_gradient[k]);
    }
  }

  void add(Index size, Index first, Index last, Index& offset) { items_.push_back({aligned(size), first, last, &offset}); }
  void pass(Index size, Index first, Index last, Index& offset) {
    (plan_.lent ? passing_ : items_).push_back({aligned(size), first, last, &offset});
  }

  const Topology& t_;
  Plan& plan_;
  const Index N_;
  std::vector<Index> last_reader_, last_root_reader_;
  std::vector<Item> items_, passing_;
};

}  // namespace

bool Topology::is_output(int tensor) const { return std::find(outputs.begin(), outputs.end(), tensor) != outputs.end(); }

std::shared_ptr<const Plan> make_plan(const Topology& topology, const std::vector<Shape>& inputs, bool training, bool remat,
                                      bool layout) {
  auto plan = std::make_shared<Plan>();
  plan->input_shapes = inputs;
  plan->training = training;
  plan->remat = remat;
  plan->epoch = isa::epoch();
  infer(topology, *plan);
  if (layout) Layout(topology, *plan).run();
  return plan;
}

std::shared_ptr<const Plan> make_lent_plan(const Topology& topology, const std::vector<Shape>& inputs, bool training) {
  auto plan = std::make_shared<Plan>();
  plan->input_shapes = inputs;
  plan->training = training;
  plan->lent = true;
  plan->epoch = isa::epoch();
  infer(topology, *plan);
  Layout(topology, *plan).run();
  return plan;
}

std::shared_ptr<const Plan> narrowed(const Topology& topology, const Plan& plan, const std::vector<Shape>& inputs) {
  auto made = std::make_shared<Plan>(plan);
  made->input_shapes = inputs;
  infer(topology, *made);
  for (std::size_t i = 0; i < topology.nodes.size(); ++i) {
    const Node& node = topology.nodes[i];
    for (std::size_t k = 0; k < node.inputs.size(); ++k)
      made->inputs[i][k] = made->tensors[static_cast<std::size_t>(node.inputs[k])];
    if (node.source || !node.used) continue;
    bool fits = node.layer->tape_size(made->inputs[i], plan.training) <= node.layer->tape_size(plan.inputs[i], plan.training);
#if REKUR_TRAINING
    if (plan.training) fits = fits && node.layer->backward_scratch(made->inputs[i]) <= node.layer->backward_scratch(plan.inputs[i]);
#endif
    if (!fits) node.layer->fail("it takes more memory for % rows than for %", {inputs[0][0], plan.input_shapes[0][0]});
  }
  return made;
}

}  // namespace rekur::graph
