#include "layers/equations_spec.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "io/suggest.hpp"
#include "layers/activation_spec.hpp"

namespace rekur::layers {
namespace {

using equations::Equations;
using equations::Node;

// Reads the nodes one by one; messages say which.
class NodeReader {
 public:
  NodeReader(json::Reader& reader, Equations& equations) : reader_(reader), equations_(equations) {}

  void read(const json::Value& value) {
    if (!value.is_array() || value.array().empty()) refuse("an array that begins with an operation", value);
    const json::Array& parts = value.array();
    Node node;
    if (parts[0].is_string() && parts[0].string() == "constant") {
      if (parts.size() != 2 || !parts[1].is_number()) refuse("[\"constant\", number]", value);
      if (!(std::abs(parts[1].number()) <= static_cast<double>(std::numeric_limits<float>::max())))
        refuse("a constant that is a finite float32 number", value);
      node.constant = true;
      node.value = static_cast<float>(parts[1].number());
    } else {
      operation(parts[0], node);
      const auto operands = static_cast<std::size_t>(equations::operands_of(node.op));
      if (parts.size() != operands + 1) fail("expected % operands, got %", {operands, parts.size() - 1});
      for (std::size_t i = 0; i < operands; ++i) node.from[i] = operand(parts[i + 1]);
    }
    equations_.nodes.push_back(node);
  }

  int operand(const json::Value& value) const {
    const auto count = static_cast<Index>(equations_.nodes.size());
    if (!value.is_integer() || value.integer() < 0 || value.integer() >= count)
      fail("expected a value before it, 0 to %, got %", {count - 1, json::describe(value)});
    return static_cast<int>(value.integer());
  }

  [[noreturn]] void fail(const char* format, Parts parts) const {
    reader_.fail("equations: node %: %", {number(), compose(format, parts)});
  }

 private:
  std::size_t number() const { return equations_.nodes.size() - equations_.inputs.size(); }

  [[noreturn]] void refuse(const char* expected, const json::Value& value) const {
    fail("expected %, got %", {expected, json::describe(value)});
  }

  void operation(const json::Value& value, Node& node) const {
    if (value.is_string()) {
      for (const equations::Operation& known : equations::operations())
        if (value.string() == known.name) {
          node.op = known.op;
          return;
        }
    } else if (!value.is_object()) {
      refuse("an operation", value);
    }
    // What is no operation must be an activation.
    if (value.is_string()) {
      std::vector<std::string_view> names = operation_names();
      const std::vector<std::string_view> activations = activation_names();
      names.insert(names.end(), activations.begin(), activations.end());
      if (std::find(activations.begin(), activations.end(), value.string()) == activations.end())
        fail("%", {unknown_name("operation", value.string(), names)});
    }
    const json::Value object(json::Object{{"operation", value}});
    json::Reader reader(object, compose("%: equations: node %", {reader_.context(), number()}));
    node.op = simd::Op::activate;
    node.f = read_activation(reader, "operation", nullptr, false).function;
  }

  json::Reader& reader_;
  Equations& equations_;
};

}  // namespace

std::vector<std::string_view> operation_names() {
  std::vector<std::string_view> names;
  for (const equations::Operation& known : equations::operations()) names.emplace_back(known.name);
  return names;
}

Equations read_equations(json::Reader& reader, const char* key) {
  json::Reader object(reader.get(key), compose("%: %", {reader.context(), key}));
  Equations equations;
  const json::Array& inputs = object.array("inputs");
  if (inputs.empty() || inputs.size() > equations::kMostInputs)
    object.fail("expected 1 to % inputs, got %", {equations::kMostInputs, inputs.size()});
  for (const json::Value& name : inputs) {
    if (!name.is_string()) object.refuse("inputs", "an array of names");
    if (std::find(equations.inputs.begin(), equations.inputs.end(), name.string()) != equations.inputs.end())
      object.fail("two inputs are named '%'", {name.string()});
    equations.inputs.push_back(name.string());
  }
  equations.nodes.resize(inputs.size());
  const json::Array& nodes = object.array("nodes");
  if (nodes.size() > equations::kMostNodes) object.fail("expected at most % nodes, got %", {equations::kMostNodes, nodes.size()});
  NodeReader node(reader, equations);
  for (const json::Value& value : nodes) node.read(value);
  const json::Array& outputs = object.array("outputs");
  if (outputs.empty() || outputs.size() > equations::kMostOutputs)
    object.fail("expected 1 to % outputs, got %", {equations::kMostOutputs, outputs.size()});
  for (const json::Value& value : outputs) {
    const auto count = static_cast<Index>(equations.nodes.size());
    if (!value.is_integer() || value.integer() < 0 || value.integer() >= count)
      object.fail("an output is a value, 0 to %, got %", {count - 1, json::describe(value)});
    equations.outputs.push_back(static_cast<int>(value.integer()));
  }
  object.finish();
  return equations;
}

}  // namespace rekur::layers
