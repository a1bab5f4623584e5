#include <optional>
#include <string>

#include "bindings.hpp"
#include "isa/dispatch.hpp"
#include "layers/equations_spec.hpp"
#include "runtime/cores.hpp"
#include "runtime/parallel.hpp"
#include "runtime/spare.hpp"
#include "runtime/team.hpp"

namespace rekur::bindings {
namespace {

// The vector functions themselves, for tests of their accuracy; denormals as the caller has them.
Floats activate(const std::string& name, float alpha, float beta, const py::object& x) {
  static constexpr std::pair<const char*, ActivationKind> kKinds[] = {
      {"linear", ActivationKind::linear},           {"tanh", ActivationKind::tanh},
      {"sigmoid", ActivationKind::sigmoid},         {"relu", ActivationKind::relu},
      {"leaky_relu", ActivationKind::leaky_relu},   {"elu", ActivationKind::elu},
      {"softsign", ActivationKind::softsign},       {"hard_sigmoid", ActivationKind::hard_sigmoid},
      {"affine", ActivationKind::affine},           {"thresholded_relu", ActivationKind::thresholded_relu},
      {"scaled_tanh", ActivationKind::scaled_tanh}, {"softplus", ActivationKind::softplus}};
  const ConstView v = view(x, "x");
  if (v.dtype != DType::float32) throw py::type_error("x: expected float32, got int32");
  Floats out = new_floats(v.shape);
  const Index n = element_count(v.shape);
  if (name == "exp") {
    isa::kernels().exp(v.f32(), out.mutable_data(), n);
    return out;
  }
  for (const auto& [known, kind] : kKinds) {
    if (name != known) continue;
    isa::kernels().activate({kind, alpha, beta}, v.f32(), out.mutable_data(), n);
    return out;
  }
  throw py::value_error("unknown activation '" + name + "'");
}

// `with ThreadLimit(n):` calls of this thread take at most n threads, whatever set_num_threads says.
class ThreadLimit {
 public:
  explicit ThreadLimit(int threads) : threads_(threads) {
    if (threads < 1) throw py::value_error("ThreadLimit: threads must be at least 1, got " + std::to_string(threads));
  }
  void enter() { limit_.emplace(threads_); }
  void exit(const py::object& /*type*/, const py::object& /*error*/, const py::object& /*traceback*/) { limit_.reset(); }

 private:
  int threads_;
  std::optional<runtime::ThreadLimit> limit_;
};

}  // namespace

void bind_runtime(py::module_& m) {
  m.def("isa", &current_isa);
  m.def("available_isas", &available_isas);
  m.def("set_isa", &set_isa, py::arg("name"));
  m.def("num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads, py::arg("n"));
  m.def("cpu_info", &cpu_info);
  py::class_<ThreadLimit>(m, "ThreadLimit")
      .def(py::init<int>(), py::arg("threads"))
      .def("__enter__", &ThreadLimit::enter)
      .def("__exit__", &ThreadLimit::exit, py::arg("type"), py::arg("error"), py::arg("traceback"));
  // For the tests: what they cannot have of a machine.
  m.def("_allow_any_number_of_threads", &runtime::allow_any_number_of_threads, py::arg("allow"));
  m.def("_disturb_teams", &runtime::disturb_teams, py::arg("seed"));
  m.def("_cgroup_cores", &runtime::cgroup_cores, py::arg("root"));
  m.def("layer_types", &layer_types);
  m.def("operation_names", &layers::operation_names);
  m.def("activate", &activate, py::arg("name"), py::arg("alpha"), py::arg("beta"), py::arg("x"));
}

}  // namespace rekur::bindings
