// What a stream does at a step, as data: for those who write a model out as a program of its own (python/rekur/_static/).
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bindings.hpp"
#include "equations/code.hpp"
#include "graph/graph.hpp"
#include "graph/program.hpp"
#include "isa/int8.hpp"
#include "layers/cell_form.hpp"
#include "layers/cell_rewriting.hpp"
#include "layers/compiled_programs.hpp"
#include "layers/equations_spec.hpp"
#include "layers/recurrent_weights.hpp"
#include "layers/selective_ssm.hpp"
#include "rekur/stream.hpp"
#include "simd/pack.hpp"

namespace rekur::bindings {
namespace {

using equations::Code;
using equations::Listing;
using recurrent::Program;

// --- equations ---

const char* kind_name(Listing::Kind kind) {
  static constexpr const char* kNames[] = {"input", "output", "constant", "operation"};
  return kNames[static_cast<std::size_t>(kind)];
}

py::dict listing_of(const Code& code) {
  const Listing& listing = code.listing();
  py::list values;
  for (const Listing::Value& v : listing.values()) {
    py::list from;
    for (const int operand : v.from)
      if (operand >= 0) from.append(operand);
    py::dict value;
    value["kind"] = kind_name(v.kind);
    value["number"] = v.number;
    value["op"] = equations::name_of(v.op);
    value["function"] = equations::name_of(v.f);
    value["parameters"] = equations::has_parameters(v.f);
    value["reduces"] = equations::reduces(v.op);
    value["operands"] = from;
    value["row"] = v.row;
    value["pass"] = v.pass;
    values.append(value);
  }
  py::dict result;
  result["values"] = values;
  result["outputs"] = listing.outputs();
  result["output_by_row"] = listing.output_by_row();
  result["passes"] = listing.passes();
  const std::span<const float> constants = code.listed_constants();
  result["constants"] = copied<float>({static_cast<Index>(constants.size())}, constants.data());
  return result;
}

// Of a Lambda or an activation, given as {"equations": …}; by_row: which inputs are a number a row.
py::dict written_equations(const std::string& text, const std::vector<bool>& by_row) {
  const json::Value value = json::parse(text);
  json::Reader reader(value, "equations");
  const equations::Equations equations = layers::read_equations(reader, "equations");
  std::vector<equations::Extent> extents;
  for (const bool row : by_row) extents.push_back(row ? equations::Extent::row : equations::Extent::feature);
  const equations::Graph graph(equations, extents);
  std::vector<equations::Wanted> wanted;
  for (const int output : graph.outputs()) wanted.push_back({output});
  return listing_of(Code(graph, wanted));
}

// --- recurrent layers ---

// Those that a step without training and masks has.
const char* place_name(Program::Place place) {
  switch (place) {
    case Program::Place::input:
      return "input";
    case Program::Place::product:
      return "product";
    case Program::Place::before:
      return "before";
    case Program::Place::after:
      return "after";
    case Program::Place::weight:
      return "weight";
    case Program::Place::step:
      return "step";
    case Program::Place::slot:
      return "slot";
    case Program::Place::y:
      return "y";
    default:
      throw Error("a cell's step without training reads what only training has");
  }
}

py::list stands(const std::vector<Program::Stand>& all) {
  py::list list;
  for (const Program::Stand& s : all) list.append(py::make_tuple(place_name(s.place), s.index));
  return list;
}

py::object array_or_none(const float* values, Index size) {
  if (values == nullptr) return py::none();
  return copied<float>({size}, values);
}

// A recurrent layer, given as JSON, of so many input features, and of so many of its further inputs: its step as a program,
// whatever its cell, and its weights as the engine takes them.
py::dict written_cell(const std::string& layer, Index features, const std::vector<Index>& step_features, const Floats& weights) {
  const json::Value value = json::parse(layer);
  json::Reader reader(value, "layer");
  const layers::RecurrentSettings s = layers::read_recurrent(reader, reader.string("type"));
  reader.finish();
  std::vector<bool> by_row;
  for (const Index width : step_features) by_row.push_back(width == 1 && s.units != 1);
  if (s.reads_x) by_row.push_back(false);
  recurrent::CellProgram cell = s.program ? *s.program : layers::program_of(*s.cell, s.activations);
  if (layers::rewrites(s.options, layers::Form::inference))
    cell = layers::rewritten(cell, s.options, layers::Form::inference, s.use_bias, s.output_reads);
  cell.projects = s.projection_size > 0;
  const Program program(cell, by_row);
  const recurrent::Description& d = program.description();

  layers::RecurrentWeights places(s);
  places.place(features, 0);
  const recurrent::Weights<const float> w = places.of(weights.data(), 0);
  std::vector<float> whole;
  const float* recurrent_kernel = w.recurrent_kernel;
  if (layers::assembles_kernel(s)) {
    whole.resize(static_cast<std::size_t>(layers::whole_kernel_size(s)));
    layers::assemble_kernel(s, places.own_kernel(weights.data(), 0), places.matrices(weights.data(), 0), whole.data());
    recurrent_kernel = whole.data();
  }
  const Index H = s.units, P = s.state_width(0);
  const Index biases = d.kernel_blocks + (d.recurrent_bias ? d.recurrent_blocks : 0);

  py::dict result;
  result["units"] = H;
  result["width"] = P;
  result["states"] = s.states;
  result["reads_x"] = s.reads_x;
  result["int8_input"] = s.precision == Precision::int8 && d.x_count > 0 && isa::takes_int8(features, d.kernel_blocks * H);
  result["return_state"] = s.return_state;
  result["residual"] = s.residual;
  result["kernel_blocks"] = d.kernel_blocks;
  result["recurrent_blocks"] = d.recurrent_blocks;
  result["recurrent_bias"] = d.recurrent_bias;
  result["slots"] = d.slots;
  result["x_first"] = d.x_first;
  result["x_count"] = d.x_count;
  result["phases"] = d.phases;
  result["kernel_block"] = d.kernel_block;
  result["recurrent_block"] = d.recurrent_block;
  py::list products;
  for (const recurrent::Product& p : d.products) {
    py::dict product;
    product["phase"] = p.phase;
    product["first"] = p.first;
    product["count"] = p.count;
    product["state"] = p.state;
    product["slot"] = p.slot;
    product["projects"] = p.projects;
    product["int8"] =
        s.precision == Precision::int8 && isa::takes_int8(p.state == 0 ? P : H, p.projects ? P : d.recurrent_blocks * H);
    products.append(product);
  }
  result["products"] = products;
  py::list parts;
  for (const Program::Part& part : program.inference()) {
    py::dict one;
    one["inputs"] = stands(part.inputs);
    one["outputs"] = stands(part.outputs);
    one["code"] = listing_of(part.code);
    parts.append(one);
  }
  result["parts"] = parts;
  result["kernel"] = array_or_none(w.kernel, features * d.kernel_blocks * H);
  result["recurrent_kernel"] = array_or_none(recurrent_kernel, (d.projects ? P : H) * d.recurrent_blocks * H);
  result["bias"] = array_or_none(w.bias, biases * H);
  result["unit_weights"] = array_or_none(w.unit_weights, static_cast<Index>(d.unit_weights.size()) * H);
  result["projection"] = array_or_none(w.projection, H * P);
  return result;
}

// The integers of a matrix [K, N] of eight bits, and the scale of each column.
py::tuple int8_matrix(const Floats& matrix) {
  if (matrix.ndim() != 2) throw Error("int8_matrix: expected an array of shape (K, N)");
  const auto K = static_cast<Index>(matrix.shape(0)), N = static_cast<Index>(matrix.shape(1));
  py::array_t<std::int8_t> numbers({matrix.shape(0), matrix.shape(1)});
  Floats scales(matrix.shape(1));
  for (Index n = 0; n < N; n += simd::kInt8Columns)
    simd::int8_scales(K, std::min(simd::kInt8Columns, N - n), matrix.data() + n, N, scales.mutable_data() + n);
  for (Index i = 0; i < K * N; ++i)
    numbers.mutable_data()[i] = static_cast<std::int8_t>(simd::int8_of(matrix.data()[i], scales.data()[i % N]));
  return py::make_tuple(numbers, scales);
}

// -e^x as the engine computes it for a SelectiveSSM.
Floats negative_exponentials(const Floats& x) {
  Floats y(x.size());
  std::transform(x.data(), x.data() + x.size(), y.mutable_data(), layers::negative_exponential);
  return y;
}

// --- streams ---

const char* masked_name(layers::MaskedStep kind) {
  static constexpr const char* kNames[] = {"computed", "first_state", "last_output", "zeros", "refused"};
  return kNames[static_cast<std::size_t>(kind)];
}

// A stream's program: arrays (name, shape of a step, dtype; flags of a mask have no name), which of them are inputs and outputs,
// and the steps in order, each with the layer of the spec, its arrays, its states (name, units, what they begin as or None), the
// array that says whether it is taken or -1, what its output is where it is not, and whether the last input is added to that.
// Throws as Stream does.
py::dict stream_program(const Model& model) {
  std::vector<float> weights(model.weight_count());
  model.copy_weights(weights);
  graph::Graph graph(model.spec());
  graph.set_weights(weights);
  const std::shared_ptr<const graph::Program> program = graph.program(true);
  const graph::Topology topology = graph::read_topology(model.spec());
  py::list arrays, steps;
  for (const TensorInfo& array : program->arrays)
    arrays.append(py::make_tuple(array.name, to_tuple(array.shape), to_string(array.dtype)));
  for (const graph::Program::Instruction& instruction : program->instructions) {
    std::string layer;
    for (const graph::Node& node : topology.nodes)
      if (node.name == instruction.layer) layer = topology.owners[static_cast<std::size_t>(node.owner)];
    py::list states;
    for (const layers::StreamState& state : instruction.op->states(1))
      states.append(py::make_tuple(state.name, state.units, array_or_none(state.initial, state.units)));
    py::dict step;
    step["layer"] = layer;
    step["inputs"] = instruction.inputs;
    step["outputs"] = instruction.outputs;
    step["states"] = states;
#if REKUR_SEQUENCE
    step["flags"] = instruction.flags;
    step["masked"] = masked_name(instruction.masked_step);
    step["adds_last_input"] = instruction.adds_last_input;
#else
    step["flags"] = -1;
    step["masked"] = masked_name(layers::MaskedStep::computed);
    step["adds_last_input"] = false;
#endif
    steps.append(step);
  }
  py::dict result;
  result["arrays"] = arrays;
  result["inputs"] = program->inputs;
  result["outputs"] = program->outputs;
  result["steps"] = steps;
  return result;
}

// The outputs of a stream of one row, step by step: inputs [steps, …], outputs [steps, …]. For tests.
std::vector<Floats> stream_steps(const Model& model, const py::sequence& inputs) {
  Stream stream(model, {.batch = 1});
  if (inputs.size() != stream.inputs().size()) throw Error("stream_steps: another number of inputs");
  std::vector<ConstView> views;
  for (const py::handle input : inputs) views.push_back(view(input, "input"));
  const Index steps = views.empty() ? 0 : views[0].shape[0];
  std::vector<Floats> outputs;
  std::vector<float*> y;
  std::vector<Index> sizes, input_sizes;
  for (const TensorInfo& output : stream.outputs()) {
    Shape shape = output.shape;
    sizes.push_back(element_count(shape));
    shape[0] = steps;
    outputs.push_back(new_floats(shape));
    y.push_back(outputs.back().mutable_data());
  }
  std::vector<const void*> x;
  for (std::size_t i = 0; i < views.size(); ++i) {
    x.push_back(views[i].data);
    input_sizes.push_back(element_count(stream.inputs()[i].shape));
    if (element_count(views[i].shape) != steps * input_sizes.back()) throw Error("stream_steps: another shape");
  }
  for (Index t = 0; t < steps; ++t) {
    stream.step(x, y);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<const float*>(x[i]) + input_sizes[i];
    for (std::size_t k = 0; k < y.size(); ++k) y[k] += sizes[k];
  }
  return outputs;
}

}  // namespace

void bind_static(py::module_& m) {
  m.def("written_equations", &written_equations, py::arg("equations"), py::arg("by_row"));
  m.def("written_cell", &written_cell, py::arg("layer"), py::arg("features"), py::arg("step_features"), py::arg("weights"));
  m.def("int8_matrix", &int8_matrix, py::arg("matrix"));
  m.def("negative_exponentials", &negative_exponentials, py::arg("x"));
  m.def("stream_program", &stream_program, py::arg("model"));
  m.def("stream_steps", &stream_steps, py::arg("model"), py::arg("inputs"));
}

}  // namespace rekur::bindings
