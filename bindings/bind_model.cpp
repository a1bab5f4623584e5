#include "bindings.hpp"
#include "graph/rounding.hpp"
#include "graph/topology.hpp"
#include "rekur/detail/few_outputs.hpp"
#include "runtime/interrupt.hpp"

namespace rekur::bindings {
namespace {

py::list describe(const std::vector<TensorInfo>& tensors) {
  py::list list;
  for (const TensorInfo& t : tensors) list.append(py::make_tuple(t.name, to_tuple(t.shape), to_string(t.dtype)));
  return list;
}

std::vector<std::pair<py::tuple, std::string>> infer(const std::string& layer, const py::sequence& inputs) {
  std::vector<TensorInfo> in;
  for (const py::handle item : inputs) {
    const auto pair = item.cast<std::pair<py::object, std::string>>();
    in.push_back({.name = "", .shape = to_shape(pair.first), .dtype = to_dtype(pair.second)});
  }
  std::vector<std::pair<py::tuple, std::string>> out;
  for (const TensorInfo& t : infer_layer(layer, in)) out.emplace_back(to_tuple(t.shape), to_string(t.dtype));
  return out;
}

const char* name_of(graph::TimeAxis::Kind kind) {
  using Kind = graph::TimeAxis::Kind;
  switch (kind) {
    case Kind::input:
      return "input";
    case Kind::own:
      return "own";
    case Kind::changed:
      return "changed";
    case Kind::masked:
      return "masked";
    case Kind::joined:
      return "joined";
  }
  return "";
}

// What exporters read of a graph: by tensor its shape and time axis, by call the axis that its inputs have in common, the table of
// axes.
py::tuple time_axes(const std::string& spec) {
  const graph::Topology graph = graph::read_topology(spec);
  py::dict tensors, common;
  for (std::size_t i = 0; i < graph.tensors.size(); ++i)
    tensors[py::str(graph::tensor_name(graph, static_cast<int>(i)))] =
        py::make_tuple(to_tuple(graph.tensors[i].shape), graph.tensors[i].time_source);
  for (const graph::Node& node : graph.nodes) common[py::str(node.name)] = node.axis;
  py::list axes;
  for (const graph::TimeAxis& axis : graph.axes.all) {
    const layers::TimeChange& c = axis.change;
    axes.append(py::make_tuple(name_of(axis.kind), axis.source, axis.other,
                               axis.tensor < 0 ? std::string() : graph::tensor_name(graph, axis.tensor),
                               py::make_tuple(c.up, c.add, c.span, c.stride)));
  }
  return py::make_tuple(tensors, common, axes);
}

// The names and shapes of a model's parameters, in its order, without the memory that they take.
py::list parameter_shapes(const std::string& spec) {
  const graph::Topology graph = graph::read_topology(spec);
  py::list list;
  for (const graph::Node& node : graph.nodes) {
    if (node.again) continue;
    std::vector<layers::TensorSpec> inputs;
    for (const int tensor : node.inputs) inputs.push_back(graph.tensors[static_cast<std::size_t>(tensor)]);
    for (const layers::ParamSpec& parameter : node.layer->parameters(inputs))
      list.append(py::make_tuple(node.layer->name() + "/" + parameter.name, to_tuple(parameter.shape)));
  }
  return list;
}

std::vector<Shape> shapes_of(const Batch& batch) {
  std::vector<Shape> shapes;
  for (const ConstView& x : batch.inputs) shapes.push_back(x.shape);
  return shapes;
}

// shared: by layer, (the model, the layer there) whose weights it has.
Model make(const std::string& spec, const std::map<std::string, std::pair<py::object, std::string>>& shared) {
  std::vector<SharedLayer> with;
  for (const auto& [layer, theirs] : shared) with.push_back({layer, &theirs.first.cast<const Model&>(), theirs.second});
  return Model(spec, with);
}

std::vector<Floats> predict(const Model& model, const py::sequence& inputs, const py::object& lengths) {
  const PyBatch b = to_batch(inputs, lengths);
  std::vector<View> views;
  auto outputs = new_outputs(model.output_shapes(shapes_of(b.batch)), views);
  {
    const ReleaseGil release;
    model.predict(b.batch, views);
  }
  return outputs;
}

// By output: bool (B, T), or None where all steps are there.
py::list valid_steps(const Model& model, const py::sequence& inputs, const py::object& lengths) {
  const PyBatch b = to_batch(inputs, lengths);
  std::vector<std::vector<std::uint8_t>> valid;
  {
    const ReleaseGil release;
    valid = model.valid_steps(b.batch);
  }
  const std::vector<Shape> shapes = model.output_shapes(shapes_of(b.batch));
  py::list result;
  for (std::size_t k = 0; k < valid.size(); ++k) {
    if (valid[k].empty() || shapes[k].size() < 3) {
      result.append(py::none());
      continue;
    }
    py::array_t<bool> flags({shapes[k][0], shapes[k][1]});
    std::copy(valid[k].begin(), valid[k].end(), flags.mutable_data());
    result.append(flags);
  }
  return result;
}

// A tape as Python holds it: with the arrays it points into.
struct PyTape {
  Tape tape;
  PyBatch batch;
  std::vector<Shape> output_shapes;
  bool used = false;
};

std::pair<std::vector<Floats>, std::unique_ptr<PyTape>> forward(const Model& model, const py::sequence& inputs,
                                                                const py::object& lengths, std::uint64_t seed, std::uint64_t step) {
  auto tape = std::make_unique<PyTape>();
  tape->batch = to_batch(inputs, lengths);
  tape->output_shapes = model.output_shapes(shapes_of(tape->batch.batch));
  std::vector<View> views;
  auto outputs = new_outputs(tape->output_shapes, views);
  {
    const ReleaseGil release;
    tape->tape = model.forward(tape->batch.batch, views, seed, step);
  }
  return {std::move(outputs), std::move(tape)};
}

std::pair<Floats, py::list> backward(const Model& model, PyTape& tape, const py::sequence& output_gradients) {
  if (tape.used) throw py::value_error("this tape has been used: backward consumes it");
  const auto& shapes = tape.output_shapes;
  if (output_gradients.size() != shapes.size())
    throw py::value_error("backward: expected " + std::to_string(shapes.size()) + " output gradients, got " +
                          std::to_string(output_gradients.size()));
  std::vector<ConstView> dy(shapes.size());
  std::vector<py::object> keep;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    keep.push_back(output_gradients[i]);
    if (keep.back().is_none()) continue;
    dy[i] = view(keep.back(), "output gradient");
    if (dy[i].shape != shapes[i] || dy[i].dtype != DType::float32)
      throw py::value_error("output gradient " + std::to_string(i) + ": expected float32 of shape " + rekur::to_string(shapes[i]) +
                            ", got " + to_string(dy[i].dtype) + " of shape " + rekur::to_string(dy[i].shape));
  }
  std::vector<View> dx;
  py::list input_gradients;
  for (const ConstView& x : tape.batch.batch.inputs) {
    if (x.dtype == DType::float32) {
      Floats array = new_floats(x.shape);
      dx.push_back(writable(array));
      input_gradients.append(array);
    } else {
      dx.push_back({});
      input_gradients.append(py::none());
    }
  }
  Floats weights(static_cast<py::ssize_t>(model.weight_count()));
  const std::span<float> dw(weights.mutable_data(), model.weight_count());
  tape.used = true;
  {
    const ReleaseGil release;
    model.backward(std::move(tape.tape), dy, dw, dx);
  }
  return {std::move(weights), std::move(input_gradients)};
}

// Ends a long computation when Ctrl-C has been pressed.
void raise_signals() {
  const py::gil_scoped_acquire acquire;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

void initialize(Model& model, std::uint64_t seed, const std::vector<std::string>& keep) {
  // Python handles signals on its main thread only; others need not ask.
  const py::module_ threading = py::module_::import("threading");
  const bool main = threading.attr("current_thread")().is(threading.attr("main_thread")());
  const runtime::InterruptCheck check(main ? &raise_signals : nullptr);
  const ReleaseGil release;
  model.initialize(seed, keep);
}

// One of graph::name_of.
WeightType weight_type(const std::string& name) {
  for (const WeightType type : {WeightType::float32, WeightType::bf16, WeightType::fp16, WeightType::int8})
    if (name == graph::name_of(type)) return type;
  throw py::value_error("unknown type of weights: " + name);
}

// (integers, scales) of every matrix of eight bits, one after the other.
py::tuple int8_weights(const Model& model) {
  std::vector<float> flat(model.weight_count());
  model.copy_weights(flat);
  std::vector<std::int8_t> numbers;
  std::vector<float> scales;
  for (const ParameterInfo& p : model.parameters()) {
    if (!p.int8) continue;
    const auto size = static_cast<std::size_t>(element_count(p.shape));
    const graph::Int8Matrix matrix = graph::int8_matrix(std::span(flat).subspan(static_cast<std::size_t>(p.offset), size), p);
    numbers.insert(numbers.end(), matrix.numbers.begin(), matrix.numbers.end());
    scales.insert(scales.end(), matrix.scales.begin(), matrix.scales.end());
  }
  return py::make_tuple(py::array_t<std::int8_t>(static_cast<py::ssize_t>(numbers.size()), numbers.data()),
                        py::array_t<float>(static_cast<py::ssize_t>(scales.size()), scales.data()));
}

void save(const Model& model, const std::string& path, const std::optional<py::dict>& tensors,
          const std::optional<std::map<std::string, std::string>>& metadata, const std::string& weights) {
  const WeightType type = weight_type(weights);
  Model::Extras extras;
  if (tensors)
    for (const auto& [name, array] : *tensors)
      extras.tensors[name.cast<std::string>()] = to_tensor(array, name.cast<std::string>().c_str());
  if (metadata) extras.metadata = *metadata;
  const ReleaseGil release;
  model.save(path, extras, type);
}

void pack(const Model& model, const std::string& path, const std::vector<std::string>& isas, bool one_row, bool more_rows,
          const std::map<std::string, std::string>& metadata) {
  const ReleaseGil release;
  model.pack(path, {.isas = isas, .one_row = one_row, .more_rows = more_rows}, {.tensors = {}, .metadata = metadata});
}

Model map_file(const std::string& path) {
  const ReleaseGil release;
  return Model::map(path);
}

py::tuple load_model(const std::string& path) {
  Model::Extras extras;
  std::optional<Model> model;
  {
    const ReleaseGil release;
    model.emplace(Model::load(path, extras));
  }
  py::dict tensors;
  for (const auto& [name, tensor] : extras.tensors) tensors[py::str(name)] = to_array(tensor);
  return py::make_tuple(std::move(*model), tensors, extras.metadata);
}

}  // namespace

void bind_model(py::module_& m) {
  m.def("infer_layer", &infer, py::arg("layer"), py::arg("inputs"));
  m.def("few_outputs", &detail::few_outputs, py::arg("inputs"), py::arg("outputs"));
  m.def("load", &load_model, py::arg("path"));
  m.def("time_axes", &time_axes, py::arg("spec"));
  m.def("parameter_shapes", &parameter_shapes, py::arg("spec"));
  py::class_<PyTape>(m, "Tape");
  py::class_<Model>(m, "Model")
      .def(py::init(&make), py::arg("spec"), py::arg("shared") = py::dict())
      .def_property_readonly("training",
                             [](const Model& self) {
                               py::list list;
                               for (const LayerTraining& t : self.training())
                                 list.append(py::make_tuple(t.layer, t.trained, t.learning_rate_scale));
                               return list;
                             })
      .def("set_trained", &Model::set_trained, py::arg("layer"), py::arg("trained"), py::arg("learning_rate_scale") = 1.0f)
      .def_property(
          "signal", [](const Model& self) { return py::make_tuple(self.signal().sample_rate, self.signal().latency); },
          [](Model& self, const std::pair<double, Index>& signal) { self.set_signal({signal.first, signal.second}); })
      .def_property_readonly("spec", &Model::spec)
      .def_property_readonly("inputs", [](const Model& self) { return describe(self.inputs()); })
      .def_property_readonly("outputs", [](const Model& self) { return describe(self.outputs()); })
      .def_property_readonly("parameters",
                             [](const Model& self) {
                               py::list list;
                               for (const auto& p : self.parameters())
                                 list.append(py::make_tuple(p.name, to_tuple(p.shape), p.offset));
                               return list;
                             })
      .def("initialize", &initialize, py::arg("seed"), py::arg("keep") = std::vector<std::string>())
      .def("get_weights",
           [](const Model& self) {
             Floats flat(static_cast<py::ssize_t>(self.weight_count()));
             const std::span<float> into(flat.mutable_data(), self.weight_count());
             const ReleaseGil release;
             self.copy_weights(into);
             return flat;
           })
      .def(
          "rounded_weights",
          [](const Model& self, const std::string& type) {
            Floats flat(static_cast<py::ssize_t>(self.weight_count()));
            const std::span<float> into(flat.mutable_data(), self.weight_count());
            const WeightType to = weight_type(type);
            const ReleaseGil release;
            self.copy_weights(into, to);
            return flat;
          },
          py::arg("type"))
      .def_property_readonly("matrices",
                             [](const Model& self) {
                               std::vector<std::string> names;
                               for (const ParameterInfo& p : self.parameters())
                                 if (p.matrix) names.push_back(p.name);
                               return names;
                             })
      .def_property_readonly("int8_matrices",
                             [](const Model& self) {
                               std::vector<std::string> names;
                               for (const ParameterInfo& p : self.parameters())
                                 if (p.int8) names.push_back(p.name);
                               return names;
                             })
      .def("int8_weights", &int8_weights)
      .def(
          "set_weights",
          [](Model& self, const py::object& flat) {
            const std::size_t n = self.weight_count();
            self.set_weights({float_data(flat, "weights", static_cast<Index>(n)), n});
          },
          py::arg("flat"))
      .def(
          "output_shapes",
          [](const Model& self, const py::sequence& shapes) {
            std::vector<Shape> given;
            for (const py::handle shape : shapes) given.push_back(to_shape(shape));
            py::list list;
            for (const Shape& shape : self.output_shapes(given)) list.append(to_tuple(shape));
            return list;
          },
          py::arg("inputs"))
      .def(
          "run_memory",
          [](const Model& self, const py::sequence& shapes, bool training, bool remat) {
            std::vector<Shape> given;
            for (const py::handle shape : shapes) given.push_back(to_shape(shape));
            return self.run_memory(given, training, remat);
          },
          py::arg("inputs"), py::arg("training") = false, py::arg("remat") = false)
      .def("layers_across_time", &Model::layers_across_time)
      .def("valid_steps", &valid_steps, py::arg("inputs"), py::arg("lengths") = py::none())
      .def("predict", &predict, py::arg("inputs"), py::arg("lengths") = py::none())
      .def("forward", &forward, py::arg("inputs"), py::arg("lengths") = py::none(), py::arg("seed") = 0, py::arg("step") = 0)
      .def("backward", &backward, py::arg("tape"), py::arg("output_gradients"))
      .def("save", &save, py::arg("path"), py::arg("tensors") = py::none(), py::arg("metadata") = py::none(),
           py::arg("weights") = "float32")
      .def("pack", &pack, py::arg("path"), py::arg("isas"), py::arg("one_row"), py::arg("more_rows"), py::arg("metadata"))
      .def_static("map", &map_file, py::arg("path"))
      .def_property_readonly("mapped_bytes", &Model::mapped_bytes);
}

}  // namespace rekur::bindings
