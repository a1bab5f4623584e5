// The extension's contents page. What each part offers is typed in python/rekur/_core.pyi; a new layer changes nothing here.
#include "bindings.hpp"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ engine of rekur. Private: use the classes of `rekur` instead.";
  m.attr("__version__") = rekur::version();
  rekur::bindings::bind_errors(m);
  rekur::bindings::bind_runtime(m);
  rekur::bindings::bind_model(m);
  rekur::bindings::bind_train(m);
  rekur::bindings::bind_io(m);
  rekur::bindings::bind_cells(m);
  rekur::bindings::bind_equations(m);
  rekur::bindings::bind_static(m);
  rekur::bindings::bind_sequence(m);
  rekur::bindings::bind_stream(m);
  rekur::bindings::bind_stack(m);
  rekur::bindings::bind_layer_calls(m);
}
