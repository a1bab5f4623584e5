// Layers as functions of their weights, for frameworks that keep the weights themselves. rekur.jax checks what comes here.
#include <utility>

#include "bindings.hpp"
#include "layer_calls.hpp"

namespace rekur::bindings {
namespace {

// A call with what keeps its arrays alive.
struct Held {
  PyBatch batch;
  std::vector<py::object> keep;
  LayerCall call;
};

Held held(const std::string& spec, const py::sequence& weights, const py::sequence& inputs, const py::object& steps) {
  Held h;
  h.batch = to_batch(inputs, steps);
  h.call.spec = spec;
  h.call.batch = h.batch.batch;
  for (const py::handle w : weights) {
    h.call.weights.push_back(kept_view(w, "weights", h.keep));
    if (h.call.weights.back().dtype != DType::float32) throw py::type_error("weights: expected float32, got int32");
  }
  return h;
}

py::tuple run(const std::string& spec, const py::sequence& weights, const py::sequence& inputs, const py::object& steps,
              bool keep) {
  const Held h = held(spec, weights, inputs, steps);
  std::vector<View> views;
  auto outputs = new_outputs(layer_output_shapes(h.call), views);
  py::array_t<std::uint32_t> token(2);
  std::uint32_t* const numbers = keep ? token.mutable_data() : nullptr;
  {
    const ReleaseGil release;
    layer_run(h.call, views, numbers);
  }
  return py::make_tuple(std::move(outputs), keep ? py::object(token) : py::none());
}

std::vector<py::object> back(const std::string& spec, const py::sequence& weights, const py::sequence& inputs,
                             const py::object& steps, const py::array_t<std::uint32_t, py::array::c_style>& token,
                             const py::sequence& output_gradients, const std::vector<bool>& wanted) {
  const Held h = held(spec, weights, inputs, steps);
  const std::vector<Shape> shapes = layer_output_shapes(h.call);
  const std::size_t nw = h.call.weights.size(), ni = h.call.batch.inputs.size();
  if (token.size() != 2 || output_gradients.size() != shapes.size() || wanted.size() != nw + ni)
    throw py::value_error("layer_back: expected a token of two numbers, a gradient for each output, a flag for each operand");
  std::vector<ConstView> dy(shapes.size());
  std::vector<py::object> keep;
  for (std::size_t k = 0; k < shapes.size(); ++k) {
    const py::object gradient = output_gradients[k];
    if (gradient.is_none()) continue;
    dy[k] = kept_view(gradient, "output gradient", keep);
    if (dy[k].shape != shapes[k] || dy[k].dtype != DType::float32)
      throw py::value_error("output gradient " + std::to_string(k) + ": expected float32 of shape " + rekur::to_string(shapes[k]));
  }
  std::vector<py::object> results;
  std::vector<float*> dw(nw, nullptr);
  std::vector<View> dx(ni);
  for (std::size_t k = 0; k < nw + ni; ++k) {
    if (!wanted[k]) continue;
    Floats array = new_floats(k < nw ? h.call.weights[k].shape : h.call.batch.inputs[k - nw].shape);
    if (k < nw)
      dw[k] = array.mutable_data();
    else
      dx[k - nw] = writable(array);
    results.push_back(std::move(array));
  }
  const std::uint32_t numbers[2] = {token.at(0), token.at(1)};
  {
    const ReleaseGil release;
    layer_back(h.call, numbers, dy, dw, dx);
  }
  return results;
}

}  // namespace

void bind_layer_calls(py::module_& m) {
  m.def("layer_run", &run, py::arg("spec"), py::arg("weights"), py::arg("inputs"), py::arg("steps"), py::arg("keep"));
  m.def("layer_back", &back, py::arg("spec"), py::arg("weights"), py::arg("inputs"), py::arg("steps"), py::arg("token"),
        py::arg("output_gradients"), py::arg("wanted"));
  m.def("set_tape_memory", &set_tape_memory, py::arg("limit"));
  m.def("tape_memory", &tape_memory);
  m.def("_idle_memory", &idle_memory);  // for the tests
  m.def("layer_calls_address", [] { return reinterpret_cast<std::uintptr_t>(&layer_calls()); });
}

}  // namespace rekur::bindings
