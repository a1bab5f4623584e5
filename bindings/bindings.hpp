// What the parts of the extension share: conversions between NumPy arrays and the library's views.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rekur/model.hpp"
#include "rekur/runtime.hpp"
#include "rekur/train.hpp"

namespace rekur::bindings {

namespace py = pybind11;

// Lets other Python threads run while the engine computes. When the interpreter ends meanwhile, this thread must not take the GIL
// again: up to Python 3.13 taking it ends the thread there and then, by unwinding its stack, and destructors that never throw turn
// that into the end of the program (SIGABRT). So such a thread sleeps from then on, as from Python 3.14 on by itself, holding
// nothing of the engine, and the program ends as it would have.
class ReleaseGil {
 public:
  ReleaseGil() : state_(PyEval_SaveThread()) {}
  ~ReleaseGil() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {  // that unwinding: nothing else is thrown there. Leaving the handler would go on with it.
      sleep_for_ever();
    }
  }
  ReleaseGil(const ReleaseGil&) = delete;
  ReleaseGil& operator=(const ReleaseGil&) = delete;

 private:
  [[noreturn]] static void sleep_for_ever();

  PyThreadState* state_;
};

using Floats = py::array_t<float, py::array::c_style>;
using Ints = py::array_t<std::int32_t, py::array::c_style>;

void bind_errors(py::module_& m);
void bind_runtime(py::module_& m);
void bind_model(py::module_& m);
void bind_train(py::module_& m);
void bind_io(py::module_& m);
void bind_cells(py::module_& m);
void bind_equations(py::module_& m);
void bind_static(py::module_& m);
void bind_sequence(py::module_& m);
void bind_stream(py::module_& m);
void bind_stack(py::module_& m);
void bind_layer_calls(py::module_& m);

// A C-contiguous float32 or int32 array, seen in place; TypeError (naming `what`) for anything else: the extension never converts.
ConstView view(const py::handle& array, const char* what);
// The same, and what keeps its memory alive. Integers are copied: were an id, a length or a class changed by another thread after
// it was checked, or before backward reads it again, the arithmetic would leave its arrays.
ConstView kept_view(const py::handle& array, const char* what, std::vector<py::object>& keep);
const float* float_data(const py::handle& array, const char* what, Index expected);

Floats new_floats(const Shape& shape);
// An array of its own. (py::array_t's constructor from a pointer forgets to look whether there was memory for the copy.)
template <class T>
py::array_t<T, py::array::c_style> copied(const Shape& shape, const T* values) {
  py::array_t<T, py::array::c_style> array(std::vector<py::ssize_t>(shape.begin(), shape.end()));
  std::copy_n(values, array.size(), array.mutable_data());
  return array;
}
View writable(Floats& array);
std::vector<Floats> new_outputs(const std::vector<Shape>& shapes, std::vector<View>& views);

// (B, None, F) for a Shape, None for an unknown dimension; and back.
py::tuple to_tuple(const Shape& shape);
Shape to_shape(const py::handle& tuple);
const char* to_string(DType dtype);
DType to_dtype(const std::string& name);

// A batch as Python hands it over. It keeps the arrays alive while the GIL is released.
struct PyBatch {
  std::vector<py::object> keep;
  Batch batch;
};
// steps: None, a list of lengths, or a dict of "lengths", "masks" and "resets"; each list has one entry an input.
PyBatch to_batch(const py::sequence& inputs, const py::object& steps);

Floats to_array(const Tensor& tensor);
Tensor to_tensor(const py::handle& array, const char* what);

}  // namespace rekur::bindings
