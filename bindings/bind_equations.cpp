// Equations that are compiled where the library runs: their C++, and what a compiler made of it (python/rekur/_compile.py).
#include <dlfcn.h>

#include <memory>

#include "bindings.hpp"
#include "equations/compiled.hpp"
#include "isa/dispatch.hpp"

namespace rekur::bindings {
namespace {

using equations::Compiled;

// One of them, kept alive.
struct Known {
  std::shared_ptr<const Compiled> equations;
};

std::vector<Known> known(const std::vector<std::shared_ptr<const Compiled>>& all) {
  std::vector<Known> found;
  for (const auto& each : all) found.push_back({each});
  return found;
}

std::vector<Known> heard(const py::function& make) {
  const equations::Listener listener;
  make();
  return known(listener.heard());
}

std::string text(const std::vector<Known>& all) {
  std::vector<std::shared_ptr<const Compiled>> equations;
  for (const Known& each : all) equations.push_back(each.equations);
  return equations::functions_text(equations);
}

// Whether there is a function for the instruction set in use.
bool is_compiled(const Known& known) {
  return known.equations->function[isa::kernels().number].load(std::memory_order_acquire) != nullptr;
}

// The object stays: its functions may be in use until the program ends.
void load_equations(const std::string& path) {
  void* const object = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (object == nullptr) throw IoError(dlerror());
  const void* const table = dlsym(object, "rekur_equations");
  if (table == nullptr) throw IoError("'" + path + "' holds no compiled equations");
  equations::add_compiled(*static_cast<const simd::CompiledTable*>(table));
}

}  // namespace

void bind_equations(py::module_& m) {
  py::class_<Known>(m, "Equations")
      .def_property_readonly("signature", [](const Known& k) { return k.equations->signature; })
      .def_property_readonly("compiled", &is_compiled);
  m.def("all_equations", [] { return known(equations::all_equations()); });
  m.def("equations_heard", &heard, py::arg("make"));
  m.def("equations_text", &text, py::arg("equations"));
  m.def("load_equations", &load_equations, py::arg("path"));
  m.def("equations_abi", [] { return simd::kCompiledAbi; });
  m.def("_use_compiled", &equations::use_compiled, py::arg("use"));
}

}  // namespace rekur::bindings
