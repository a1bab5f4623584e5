// Which Python exception an exception of the library or of its memory becomes.
#include <cstring>
#include <new>
#include <stdexcept>

#include "bindings.hpp"

namespace rekur::bindings {
namespace {

// Paths need not be UTF-8; Python's own spelling of their bytes is surrogates.
py::object message(const char* what) {
  PyObject* const text = PyUnicode_DecodeUTF8(what, static_cast<py::ssize_t>(std::strlen(what)), "surrogateescape");
  if (!text) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(text);
}

void set(PyObject* type, const char* what) {
  const py::object text = message(what);
  PyErr_SetObject(type, text.ptr());
}

// An OSError of the class that its number has in Python: FileNotFoundError, IsADirectoryError, PermissionError, …
void set_io(const IoError& error) {
  const py::object text = message(error.what());
  if (error.system_error() == 0) {
    PyErr_SetObject(PyExc_OSError, text.ptr());
    return;
  }
  // Of two arguments OSError makes the class; the message is to be the library's alone, so it is made again of one.
  const py::object os_error = py::reinterpret_borrow<py::object>(PyExc_OSError);
  const py::object type =
      py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(Py_TYPE(os_error(error.system_error(), text).ptr())));
  const py::object exception = type(text);
  exception.attr("errno") = error.system_error();
  PyErr_SetObject(type.ptr(), exception.ptr());
}

void translate(std::exception_ptr pointer) {
  try {
    if (pointer) std::rethrow_exception(pointer);
  } catch (const OutOfMemory& error) {
    set(PyExc_MemoryError, error.what());
  } catch (const IoError& error) {
    set_io(error);
  } catch (const Error& error) {
    set(PyExc_ValueError, error.what());
  } catch (const std::length_error&) {  // a container that no memory could hold
    set(PyExc_MemoryError, "not enough memory");
  } catch (const std::bad_alloc&) {
    set(PyExc_MemoryError, "not enough memory");
  }
}

}  // namespace

void bind_errors(py::module_&) { py::register_local_exception_translator(&translate); }

}  // namespace rekur::bindings
