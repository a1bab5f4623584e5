// A recurrent layer's step as a spec writes the cell of an RNN layer, its options written into the equations: what exporters read.
#include <algorithm>
#include <string>
#include <vector>

#include "bindings.hpp"
#include "layers/activation_spec.hpp"
#include "layers/cell_rewriting.hpp"
#include "layers/compiled_programs.hpp"
#include "layers/recurrent_settings.hpp"

namespace rekur::bindings {
namespace {

using recurrent::CellProgram;
using recurrent::Role;

json::Value index(int value) { return static_cast<std::int64_t>(value); }

json::Value name_of(equations::Op op) {
  for (const equations::Operation& known : equations::operations())
    if (known.op == op) return known.name;
  throw Error("a cell's equations have an operation that a spec has no name for");
}

// The inputs in the order of a spec: products of the input, recurrent ones, states, weights, inputs of the step.
class Writer {
 public:
  explicit Writer(const CellProgram& cell) : cell_(cell), place_(cell.equations.nodes.size()) {
    std::vector<int> order(cell.inputs.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
    const auto role = [&](int i) { return cell_.inputs[static_cast<std::size_t>(i)]; };
    std::sort(order.begin(), order.end(), [&](int a, int b) {
      return role(a).kind != role(b).kind ? role(a).kind < role(b).kind : role(a).index < role(b).index;
    });
    for (std::size_t v = 0; v < place_.size(); ++v) place_[v] = static_cast<int>(v);
    for (std::size_t k = 0; k < order.size(); ++k) place_[static_cast<std::size_t>(order[k])] = static_cast<int>(k);
    for (const int i : order) inputs_.emplace_back(role(i).kind, cell.equations.inputs[static_cast<std::size_t>(i)]);
  }

  json::Value write() const {
    json::Object object{{"name", cell_.name}, {"states", strings(cell_.states)}, {"kernel", strings(named(Role::kernel))}};
    json::Array recurrent, weights;
    for (std::size_t b = 0; b < cell_.recurrent.size(); ++b) {
      const recurrent::Source& source = cell_.recurrent[b];
      json::Value from = source.state >= 0 ? json::Value(cell_.states[static_cast<std::size_t>(source.state)])
                                           : index(place_[static_cast<std::size_t>(source.value)]);
      recurrent.emplace_back(json::Array{cell_.products[b], std::move(from)});
    }
    for (const std::string& name : named(Role::weight))
      weights.emplace_back(json::Object{{"name", name}, {"initializer", "zeros"}});
    object.set("recurrent", std::move(recurrent));
    if (cell_.recurrent_bias) object.set("recurrent_bias", true);
    if (!weights.empty()) object.set("weights", std::move(weights));
    std::vector<std::string> steps = named(Role::step_input);
    if (!steps.empty() && steps.back() == "x") steps.pop_back();
    if (!steps.empty()) object.set("step_inputs", strings(steps));
    object.set("equations", equations());
    return object;
  }

 private:
  static json::Array strings(const std::vector<std::string>& names) { return {names.begin(), names.end()}; }

  std::vector<std::string> named(Role::Kind kind) const {
    std::vector<std::string> names;
    for (const auto& [role, name] : inputs_)
      if (role == kind) names.push_back(name);
    return names;
  }

  json::Value equations() const {
    json::Array inputs, nodes, outputs;
    for (const auto& [kind, name] : inputs_) inputs.emplace_back(name);
    for (std::size_t v = inputs_.size(); v < cell_.equations.nodes.size(); ++v) {
      const equations::Node& node = cell_.equations.nodes[v];
      json::Array parts;
      if (node.constant) {
        parts = {"constant", static_cast<double>(node.value)};
      } else {
        parts.emplace_back(node.op == equations::Op::activate ? layers::activation_value(node.f) : name_of(node.op));
        for (const int from : node.from)
          if (from >= 0) parts.push_back(index(place_[static_cast<std::size_t>(from)]));
      }
      nodes.emplace_back(std::move(parts));
    }
    for (const int value : cell_.equations.outputs) outputs.push_back(index(place_[static_cast<std::size_t>(value)]));
    return json::Object{{"inputs", std::move(inputs)}, {"nodes", std::move(nodes)}, {"outputs", std::move(outputs)}};
  }

  const CellProgram& cell_;
  std::vector<int> place_;  // of values
  std::vector<std::pair<Role::Kind, std::string>> inputs_;
};

// Empty where in inference the layer's step is its cell's, unchanged, and says all that there is to say.
std::string inference_cell(const std::string& layer) {
  const json::Value value = json::parse(layer);
  json::Reader reader(value, "layer");
  const std::string type = reader.string("type");
  const layers::RecurrentSettings s = layers::read_recurrent(reader, type);
  reader.finish();
  const bool rewrites = layers::rewrites(s.options, layers::Form::inference);
  if (!rewrites && (s.program || s.projection_size == 0)) return "";
  const CellProgram cell = s.program ? *s.program : layers::program_of(*s.cell, s.activations);
  if (!rewrites) return json::write(Writer(cell).write());
  return json::write(Writer(layers::rewritten(cell, s.options, layers::Form::inference, s.use_bias, s.output_reads)).write());
}

}  // namespace

void bind_cells(py::module_& m) { m.def("inference_cell", &inference_cell, py::arg("layer")); }

}  // namespace rekur::bindings
