#include "bindings.hpp"

namespace rekur::bindings {
namespace {

struct PyTargets {
  std::vector<py::object> keep;
  Targets targets;
};

LossFunction to_loss(py::handle function);

PyTargets to_targets(const Batch& batch, const py::sequence& targets, const py::object& weights, const py::object& losses) {
  PyTargets t;
  if (!losses.is_none()) {
    for (const py::handle function : losses) {
      t.keep.push_back(py::reinterpret_borrow<py::object>(function));
      t.targets.losses.push_back(function.is_none() ? LossFunction() : to_loss(function));
    }
  }
  for (const py::handle y : targets) {
    t.targets.targets.push_back(y.is_none() ? ConstView{} : kept_view(y, "target", t.keep));
  }
  t.targets.sample_weights.resize(t.targets.targets.size());
  if (weights.is_none()) return t;
  const auto given = weights.cast<py::sequence>();
  if (given.size() != t.targets.targets.size())
    throw py::value_error("sample_weights: expected one entry for each of " + std::to_string(t.targets.targets.size()) +
                          " outputs, got " + std::to_string(given.size()));
  for (std::size_t i = 0; i < given.size(); ++i) {
    const py::object entry = given[i];
    if (entry.is_none()) continue;
    const ConstView v = kept_view(entry, "sample_weight", t.keep);
    if (v.dtype != DType::float32) throw py::type_error("sample_weight: expected float32, got int32");
    // The library sees their number only: an empty array would mean none at all, a transposed one would pass for (B, T).
    const Index rows = batch.inputs.empty() || batch.inputs[0].shape.empty() ? 0 : batch.inputs[0].shape[0];
    if (v.shape.empty() || v.shape.size() > 2 || v.shape[0] != rows)
      throw py::value_error("sample_weight: expected shape (B,) or (B, T) for " + std::to_string(rows) + " rows, got " +
                            rekur::to_string(v.shape));
    t.targets.sample_weights[i] = {v.f32(), static_cast<std::size_t>(element_count(v.shape))};
  }
  return t;
}

// A loss of the caller's own in Python: function(output, want_gradient) returns float64 values, one a row or step, and the float32
// gradient in the shape of the output, or None. Somebody else keeps the function alive.
LossFunction to_loss(py::handle function) {
  return [function](const LossCall& call) {
    const py::gil_scoped_acquire gil;
    const auto output = copied(call.output.shape, call.output.f32());
    const auto result = function(output, !call.gradient.empty()).cast<py::tuple>();
    const auto take = [](const py::handle& given, auto& to, const char* what) {
      using Element = typename std::remove_reference_t<decltype(to)>::value_type;
      if (!py::isinstance<py::array_t<Element, py::array::c_style>>(given)) throw py::type_error(std::string("own loss: ") + what);
      const auto array = py::reinterpret_borrow<py::array_t<Element, py::array::c_style>>(given);
      if (static_cast<std::size_t>(array.size()) != to.size()) throw py::value_error(std::string("own loss: ") + what);
      std::copy_n(array.data(), to.size(), to.begin());
    };
    take(result[0], call.values, "expected float64 values, one a row or step");
    if (!call.gradient.empty()) take(result[1], call.gradient, "expected a float32 gradient in the shape of the output");
  };
}

using Result = std::tuple<double, std::vector<double>, std::optional<std::vector<Floats>>, std::vector<Index>>;

template <class Call>
Result run(const Model& model, const py::sequence& inputs, const py::sequence& targets, const py::object& lengths,
           const py::object& sample_weights, bool want_outputs, const py::object& own_losses, const Call& call) {
  const PyBatch b = to_batch(inputs, lengths);
  const PyTargets t = to_targets(b.batch, targets, sample_weights, own_losses);
  std::vector<View> views;
  std::optional<std::vector<Floats>> outputs;
  if (want_outputs) {
    std::vector<Shape> shapes;
    for (const ConstView& x : b.batch.inputs) shapes.push_back(x.shape);
    outputs = new_outputs(model.output_shapes(shapes), views);
  }
  StepResult r;
  {
    const ReleaseGil release;
    r = call(b.batch, t.targets, views);
  }
  return {r.loss, std::move(r.output_losses), std::move(outputs), std::move(r.counts)};
}

// A trainer together with the model it trains.
struct PyTrainer {
  py::object keep;
  Model& model;
  Trainer trainer;

  PyTrainer(py::object model_object, const std::string& config)
      : keep(std::move(model_object)), model(keep.cast<Model&>()), trainer(model, config) {}
};

}  // namespace

void bind_train(py::module_& m) {
  py::class_<PyTrainer>(m, "Trainer")
      .def(py::init([](const py::object& model, const std::string& config) {
             if (!py::isinstance<Model>(model)) throw py::type_error("Trainer: expected a Model");
             return std::make_unique<PyTrainer>(model, config);
           }),
           py::arg("model"), py::arg("config"))
      .def(
          "step",
          [](PyTrainer& self, const py::sequence& inputs, const py::sequence& targets, const py::object& lengths,
             const py::object& sample_weights, bool want_outputs, const py::object& own_losses) {
            return run(self.model, inputs, targets, lengths, sample_weights, want_outputs, own_losses,
                       [&](const Batch& b, const Targets& t, std::span<const View> out) { return self.trainer.step(b, t, out); });
          },
          py::arg("inputs"), py::arg("targets"), py::arg("lengths") = py::none(), py::arg("sample_weights") = py::none(),
          py::arg("want_outputs") = false, py::arg("own_losses") = py::none())
      .def(
          "evaluate",
          [](const PyTrainer& self, const py::sequence& inputs, const py::sequence& targets, const py::object& lengths,
             const py::object& sample_weights, bool want_outputs, const py::object& own_losses) {
            return run(
                self.model, inputs, targets, lengths, sample_weights, want_outputs, own_losses,
                [&](const Batch& b, const Targets& t, std::span<const View> out) { return self.trainer.evaluate(b, t, out); });
          },
          py::arg("inputs"), py::arg("targets"), py::arg("lengths") = py::none(), py::arg("sample_weights") = py::none(),
          py::arg("want_outputs") = false, py::arg("own_losses") = py::none())
      .def("sums_size",
           [](PyTrainer& self) {
             const ReleaseGil release;
             return self.trainer.sums_size();
           })
      .def(
          "add",
          [](PyTrainer& self, const py::sequence& inputs, const py::sequence& targets, const py::object& lengths,
             const py::object& sample_weights, bool want_outputs, const py::object& own_losses, std::vector<Index> counts,
             Index rows, std::uint64_t number, Floats sums, const py::object& ready) {
            StepPart part{.counts = std::move(counts), .rows = rows, .number = number};
            if (!ready.is_none()) {
              part.ready = [&ready](Index begin, Index end) {
                const py::gil_scoped_acquire gil;
                ready(begin, end);
              };
            }
            const std::span<float> to(sums.mutable_data(), static_cast<std::size_t>(sums.size()));
            return run(
                self.model, inputs, targets, lengths, sample_weights, want_outputs, own_losses,
                [&](const Batch& b, const Targets& t, std::span<const View> out) { return self.trainer.add(b, t, part, to, out); });
          },
          py::arg("inputs"), py::arg("targets"), py::arg("lengths"), py::arg("sample_weights"), py::arg("want_outputs"),
          py::arg("own_losses"), py::arg("counts"), py::arg("rows"), py::arg("number"), py::arg("sums"),
          py::arg("ready") = py::none())
      .def(
          "finish",
          [](PyTrainer& self, const Floats& sums) {
            const std::span<const float> given(sums.data(), static_cast<std::size_t>(sums.size()));
            const ReleaseGil release;
            return self.trainer.finish(given);
          },
          py::arg("sums"))
      .def(
          "apply_gradients",
          [](PyTrainer& self, const Floats& flat) {
            const std::span<const float> gradients(flat.data(), static_cast<std::size_t>(flat.size()));
            const ReleaseGil release;
            self.trainer.apply_gradients(gradients);
          },
          py::arg("flat"))
      .def(
          "set_optimizer", [](PyTrainer& self, const std::string& config) { self.trainer.set_optimizer(config); },
          py::arg("config"), py::call_guard<ReleaseGil>())
      .def(
          "finalize", [](PyTrainer& self) { self.trainer.finalize(); }, py::call_guard<ReleaseGil>())
      // Whatever waits for a step lets go of the GIL, which a loss of the caller's own takes within the step.
      .def(
          "set_remat",
          [](PyTrainer& self, bool remat) {
            const ReleaseGil release;
            self.trainer.set_remat(remat);
          },
          py::arg("remat"))
      .def_property_readonly("iterations",
                             [](const PyTrainer& self) {
                               const ReleaseGil release;
                               return self.trainer.iterations();
                             })
      .def("state",
           [](const PyTrainer& self) {
             std::map<std::string, Tensor> state;
             {
               const ReleaseGil release;
               state = self.trainer.state();
             }
             py::dict slots;
             for (const auto& [name, tensor] : state) slots[py::str(name)] = to_array(tensor);
             return slots;
           })
      .def(
          "set_state",
          [](PyTrainer& self, const py::dict& slots, std::uint64_t iterations) {
            std::map<std::string, Tensor> state;
            for (const auto& [name, array] : slots)
              state[name.cast<std::string>()] = to_tensor(array, name.cast<std::string>().c_str());
            const ReleaseGil release;
            self.trainer.set_state(state, iterations);
          },
          py::arg("slots"), py::arg("iterations"));
}

}  // namespace rekur::bindings
