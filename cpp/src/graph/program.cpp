// Graph → program.
#include "graph/program.hpp"

#include <algorithm>
#include <string>

#include "graph/graph.hpp"
#include "runtime/locks.hpp"

namespace rekur::graph {
namespace {

// An op whose rows are those within the steps.
class RowsOp final : public layers::StreamOp {
 public:
  RowsOp(std::unique_ptr<const layers::StreamOp> op, Index rows) : op_(std::move(op)), rows_(rows) {}

  Index memory(Index batch) const override { return op_->memory(element_count({batch, rows_})); }
  Index block_memory(Index batch, Index steps) const override { return op_->block_memory(element_count({batch, rows_}), steps); }
  bool rowwise() const override { return op_->rowwise(); }
  void step(const layers::StreamCall& call, int turn) const noexcept override { op_->step(all_rows(call), turn); }
  void steps(const layers::StreamCall& call, int turn, Index count) const noexcept override {
    op_->steps(all_rows(call), turn, count);
  }

 private:
  layers::StreamCall all_rows(layers::StreamCall call) const {
    call.batch *= rows_;
    return call;
  }

  std::unique_ptr<const layers::StreamOp> op_;
  Index rows_;
};

class Compiler {
 public:
  // lent: all weights in the order of the parameters, of a body that is gone through a step at a time; null: those of the stores.
  Compiler(const Topology& topology, const Stores* stores, const float* lent, Program& program)
      : t_(topology),
        stores_(stores),
        lent_(lent),
        p_(program),
        whole_(topology.tensors.size(), -1),
        begins_(topology.tensors.size(), -1),
        constant_(topology.tensors.size(), false) {}

  void run() {
    find_whole();
    check_time();
    for (const layers::TensorSpec& tensor : t_.tensors) {
      steps_.push_back(one_step(tensor));
      root_.push_back(static_cast<int>(root_.size()));
    }
    for (const Node& node : t_.nodes)
      if (node.used && !node.for_penalty && !node.source) add(node);
    for (const int tensor : t_.outputs) {
      p_.outputs.push_back(read(tensor));
      p_.output_names.push_back(tensor_name(t_, tensor));
      if (is_whole_sequence(p_.outputs.back())) node_of(tensor).layer->cannot_stream("it is an output, and there as a whole");
    }
    // An input that is nothing but an initial state gives way to the state.
    for (const int tensor : t_.inputs)
      if (begins_[static_cast<std::size_t>(tensor)] < 0) p_.inputs.push_back(tensor);
    for (std::size_t tensor = 0; tensor < t_.tensors.size(); ++tensor)
      p_.arrays.push_back({node_of(static_cast<int>(tensor)).name, steps_[tensor].shape, steps_[tensor].dtype});
    for (Index flags = 0; flags < flag_arrays_; ++flags) p_.arrays.push_back({"", {kUnknown, 1}, DType::float32});
  }

 private:
  // The inputs that do not step.
  void find_whole() {
    for (const std::string& name : p_.whole) {
      const bool known = std::any_of(t_.inputs.begin(), t_.inputs.end(), [&](int tensor) { return node_of(tensor).name == name; });
      if (!known) throw_error("stream: the model has no input '%' that could be whole", {name});
    }
    for (const int tensor : t_.inputs) {
      const layers::TensorSpec& input = t_.tensors[static_cast<std::size_t>(tensor)];
      const std::string& name = node_of(tensor).name;
      const bool whole = std::find(p_.whole.begin(), p_.whole.end(), name) != p_.whole.end();
      if (!whole && (is_read(tensor) || !is_initial_state(tensor))) continue;
      if (whole && input.dtype != DType::float32) node_of(tensor).layer->cannot_stream("ids cannot be whole");
      const bool timed = whole && input.has_time();
      if (whole) whole_[static_cast<std::size_t>(tensor)] = static_cast<int>(p_.beginnings.size());
      begins_[static_cast<std::size_t>(tensor)] = static_cast<int>(p_.beginnings.size());
      p_.beginnings.push_back({{name, input.shape, input.dtype}, whole ? tensor : -1, timed});
      constant_[static_cast<std::size_t>(tensor)] = whole && !timed;
      p_.has_whole = p_.has_whole || whole;
    }
  }

  bool constant(int tensor) const { return constant_[static_cast<std::size_t>(tensor)] != 0; }
  bool is_whole(int tensor) const { return whole_[static_cast<std::size_t>(tensor)] >= 0; }
  bool is_whole_sequence(int tensor) const {
    return is_whole(tensor) && p_.beginnings[static_cast<std::size_t>(whole_[static_cast<std::size_t>(tensor)])].timed;
  }

  // All other inputs step together, so there must be a time, and one only.
  void check_time() const {
    Index steps = kUnknown;
    bool timed = false;
    for (const int tensor : t_.inputs) {
      const layers::TensorSpec& input = t_.tensors[static_cast<std::size_t>(tensor)];
      if (!input.has_time() || begins_[static_cast<std::size_t>(tensor)] >= 0) continue;
      timed = true;
      if (steps == kUnknown) steps = input.shape[1];
      if (input.shape[1] != kUnknown && input.shape[1] != steps)
        node_of(tensor).layer->cannot_stream("all inputs step together, but this one has % time steps and another %",
                                             {input.shape[1], steps});
    }
    if (!timed) throw_error("model: cannot go one step at a time: none of its inputs has a time axis");
  }

  static layers::TensorSpec one_step(layers::TensorSpec tensor) {
    if (tensor.has_time())
      tensor.shape.erase(tensor.shape.begin() + 1);
    else
      tensor.time_source = -1;
    return tensor;
  }

  void add(const Node& node) {
    const layers::Layer& layer = *node.layer;
    const std::size_t sequences = std::min(node.inputs.size(), layer.first_initial_state());
    std::vector<Program::Initial> initial;
    for (std::size_t i = sequences; i < node.inputs.size(); ++i) {
      const Node& source = t_.nodes[static_cast<std::size_t>(t_.producer[static_cast<std::size_t>(node.inputs[i])])];
      if (!source.source)
        layer.cannot_stream(
            "its initial state is computed by % '%', and a step cannot tell whether it is the first; make it an input of the model",
            {source.layer->type(), source.layer->name()});
      initial.push_back({node.inputs[i], begins_[static_cast<std::size_t>(node.inputs[i])], 0, i - sequences});
    }
    Program::Instruction instruction;
    std::vector<layers::TensorSpec> inputs;
    std::uint32_t whole = 0;
    for (std::size_t i = 0; i < sequences; ++i) {
      const int tensor = node.inputs[i];
      instruction.inputs.push_back(read(tensor));
      inputs.push_back(steps_[static_cast<std::size_t>(tensor)]);
#if REKUR_SEQUENCE
      if (!is_whole_sequence(tensor)) continue;
      if (!layer.takes_whole(i) || i >= 32)
        layer.cannot_stream(
            "its input '%' is there as a whole, which attention reads, and no step; make what is computed of it alone an input "
            "of the model",
            {node_of(tensor).name});
      inputs.back() = t_.tensors[static_cast<std::size_t>(tensor)];
      whole |= 1u << i;
      instruction.whole.resize(sequences, -1);
      instruction.whole[i] = whole_[static_cast<std::size_t>(tensor)];
#endif
    }
    for (int k = 0; k < node.output_count; ++k) instruction.outputs.push_back(node.first_output + k);
    const auto outputs =
        std::span(steps_).subspan(static_cast<std::size_t>(node.first_output), static_cast<std::size_t>(node.output_count));
    instruction.layer = node.name;
    // In a body there are no steps but the one, so nothing that is made of it waits for others.
    const bool constants = lent_ != nullptr || (!node.inputs.empty() && constant(node.inputs[0]));
    const float* const weights =
        lent_ != nullptr ? lent_ + node.weights_begin : (*stores_)[node.store].weights.data() + node.weights_at;
    const bool lasting = lent_ == nullptr && node.store == 0 && stores_->own().weights.is_borrowed();
    instruction.op = layer.stream({inputs, outputs, weights, p_.single_row, whole, constants, lasting});
    const bool same = std::all_of(node.inputs.begin(), node.inputs.end(), [&](int tensor) { return constant(tensor); }) &&
                      node.layer->walk(false) == layers::Walk::none;
    for (int k = 0; k < node.output_count; ++k) constant_[static_cast<std::size_t>(node.first_output + k)] = same;
    if (instruction.op != nullptr && !inputs.empty() && inputs[0].shape.size() > 2) {
      const Shape& step = inputs[0].shape;
      if (layer.step_axes() == layers::StepAxes::refused || std::find(step.begin() + 1, step.end(), kUnknown) != step.end())
        layer.cannot_stream("a step of its input is %, and not one row of features", {step});
      if (layer.step_axes() == layers::StepAxes::rows)
        instruction.op = std::make_unique<RowsOp>(std::move(instruction.op), element_count({step.begin() + 1, step.end() - 1}));
    }
#if REKUR_SEQUENCE
    if (instruction.op != nullptr && layer.masked_step() != layers::MaskedStep::computed) add_mask(node, instruction);
    const int own = layer.makes_mask() ? new_flags() : kAll;
    if (own != kAll) instruction.outputs.push_back(own);
#endif
    for (Program::Initial& state : initial) {
      state.instruction = p_.instructions.size();
      if (instruction.op != nullptr) p_.initial.push_back(state);
    }
    if (instruction.op != nullptr)
      p_.instructions.push_back(std::move(instruction));
    else
      root_[static_cast<std::size_t>(node.first_output)] = instruction.inputs[0];
#if REKUR_SEQUENCE
    if (own != kAll) {
      const int axis = t_.tensors[static_cast<std::size_t>(node.first_output)].time_source;
      const int before = flags_of(t_.axes.all[static_cast<std::size_t>(axis)].source);
      flags_[static_cast<std::size_t>(axis)] = both(before, own, node.name);
    }
#endif
  }

#if REKUR_SEQUENCE
  static constexpr int kAll = -1, kNotKnown = -2;

  // Rows that a mask leaves out keep their states.
  void add_mask(const Node& node, Program::Instruction& instruction) {
    const layers::Layer& layer = *node.layer;
    if (layer.masked_step() == layers::MaskedStep::refused) {
      for (const int tensor : node.inputs)
        if (!is_whole_sequence(tensor) && flags_of(t_.tensors[static_cast<std::size_t>(tensor)].time_source) != kAll)
          layer.cannot_stream(layer.type() != "Loop"
                                  ? "a mask says which of its keys there are; feed a model without the mask the steps there are"
                                  : "a mask leaves out some of its steps, and it gives more than one output; feed a model without "
                                    "the mask the steps there are");
      return;
    }
    instruction.flags = flags_of(node.axis >= 0 ? node.axis : t_.tensors[static_cast<std::size_t>(node.inputs[0])].time_source);
    instruction.masked_step = layer.masked_step();
    instruction.adds_last_input = layer.adds_last_input();
  }

  // The array that says which rows have the step at hand, a number a row.
  int flags_of(int axis) {
    if (axis < 0) return kAll;
    if (flags_.empty()) flags_.assign(t_.axes.all.size(), kNotKnown);
    int& known = flags_[static_cast<std::size_t>(axis)];
    if (known != kNotKnown) return known;
    const TimeAxis& a = t_.axes.all[static_cast<std::size_t>(axis)];
    const int made = a.kind == TimeAxis::Kind::joined
                         ? both(flags_of(a.source), flags_of(a.other), t_.nodes[static_cast<std::size_t>(a.node)].name)
                         : kAll;
    return flags_[static_cast<std::size_t>(axis)] = made;
  }

  int new_flags() { return static_cast<int>(t_.tensors.size()) + static_cast<int>(flag_arrays_++); }

  int both(int a, int b, const std::string& name) {
    if (a == kAll || b == kAll || a == b) return a == kAll ? b : a;
    const int made = new_flags();
    Program::Instruction join;
    join.layer = name;
    join.op = layers::make_stream_op([](const layers::StreamCall& c) {
      for (Index row = 0; row < c.batch; ++row) c.output()[row] = c.input(0)[row] * c.input(1)[row];
    });
    join.inputs = {a, b};
    join.outputs = {made};
    p_.instructions.push_back(std::move(join));
    return made;
  }
#endif

  // The array where a tensor stands.
  int read(int tensor) const { return root_[static_cast<std::size_t>(tensor)]; }

  // Whether anything but an initial state is made of it.
  bool is_read(int tensor) const {
    return std::find(t_.outputs.begin(), t_.outputs.end(), tensor) != t_.outputs.end() ||
           std::any_of(t_.nodes.begin(), t_.nodes.end(), [&](const Node& node) {
             const auto sequences = static_cast<std::ptrdiff_t>(std::min(node.inputs.size(), node.layer->first_initial_state()));
             return node.used && !node.for_penalty &&
                    std::find(node.inputs.begin(), node.inputs.begin() + sequences, tensor) != node.inputs.begin() + sequences;
           });
  }

  bool is_initial_state(int tensor) const {
    return std::any_of(t_.nodes.begin(), t_.nodes.end(), [&](const Node& node) {
      const std::size_t first = std::min(node.inputs.size(), node.layer->first_initial_state());
      return node.used && !node.for_penalty &&
             std::find(node.inputs.begin() + static_cast<std::ptrdiff_t>(first), node.inputs.end(), tensor) != node.inputs.end();
    });
  }

  const Node& node_of(int tensor) const {
    return t_.nodes[static_cast<std::size_t>(t_.producer[static_cast<std::size_t>(tensor)])];
  }

  const Topology& t_;
  const Stores* stores_;
  const float* lent_;
  Program& p_;
  std::vector<layers::TensorSpec> steps_;  // by tensor
  std::vector<int> root_;                  // tensor -> the one whose array it shares
  std::vector<int> whole_, begins_;        // tensor -> which of the beginnings a whole input, or any, is; -1: it steps
  std::vector<char> constant_;             // by tensor: made of whole vectors alone
  std::vector<int> flags_;                 // time axis -> array
  Index flag_arrays_ = 0;                  // behind those of the tensors
};

}  // namespace

std::shared_ptr<Program> make_program(const Topology& topology, const Stores& stores, bool single_row,
                                      std::span<const std::string> whole) {
  auto program = std::make_shared<Program>();
  program->version = stores.version();
  program->isa = &isa::table();
  program->single_row = single_row;
  program->whole.assign(whole.begin(), whole.end());
  Compiler(topology, &stores, nullptr, *program).run();
  return program;
}

#if REKUR_SEQUENCE
std::shared_ptr<const Program> make_lent_program(const Topology& topology, const float* weights,
                                                 std::span<const std::string> whole) {
  auto program = std::make_shared<Program>();
  program->isa = &isa::table();
  program->whole.assign(whole.begin(), whole.end());
  Compiler(topology, nullptr, weights, *program).run();
  return program;
}
#endif

// The weights are held.
std::shared_ptr<const Program> Graph::made_program(bool single_row, std::span<const std::string> whole,
                                                   runtime::Panels& panels) const {
  const runtime::PanelScope scope(&panels);
  const std::shared_ptr<Program> program = make_program(topology_, stores_, single_row, whole);
  program->stored = panels.used();
  program->keep_file = keep_file_;
  return program;
}

std::shared_ptr<const Program> Graph::own_program(bool single_row, std::span<const std::string> whole) const {
  const HeldStores hold(stores_);
  return made_program(single_row, whole);
}

std::shared_ptr<const Program> Graph::made_program(bool single_row, std::span<const std::string> whole) const {
  std::span<const runtime::Panel> stored;
  for (const PackedProgram& packed : panels_)
    if (whole.empty() && panels_version_ == stores_.version() && packed.single_row == single_row && packed.isa == isa::table().name)
      stored = packed.panels;
  runtime::Panels panels(stored, !stored.empty());
  return made_program(single_row, whole, panels);
}

#if REKUR_TRAINING
void Graph::make_panels(bool single_row, FunctionRef<void(std::span<const runtime::Panel>)> task) const {
  const HeldStores hold(stores_);
  runtime::Panels panels({}, true);
  const std::shared_ptr<const Program> program = made_program(single_row, {}, panels);
  task(panels.made());
}
#endif

std::shared_ptr<const Program> Graph::program(bool single_row, std::span<const std::string> whole) const {
  const HeldStores hold(stores_);
  const runtime::Guard lock(programs_mutex_);
  std::erase_if(programs_, [](const auto& program) { return program.expired(); });
  for (const std::weak_ptr<const Program>& known : programs_) {
    std::shared_ptr<const Program> program = known.lock();
    if (program && program->version == stores_.version() && program->isa == &isa::table() && program->single_row == single_row &&
        std::equal(program->whole.begin(), program->whole.end(), whole.begin(), whole.end()))
      return program;
  }
  std::shared_ptr<const Program> made = made_program(single_row, whole);
  programs_.push_back(made);
  return made;
}

}  // namespace rekur::graph
