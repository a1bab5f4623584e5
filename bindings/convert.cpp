#include "bindings.hpp"

#include <chrono>
#include <thread>

namespace rekur::bindings {
namespace {

constexpr int kAligned = py::detail::npy_api::NPY_ARRAY_ALIGNED_;

std::string describe(const py::handle& value) {
  if (!py::isinstance<py::array>(value)) return py::str(py::type::handle_of(value).attr("__name__"));
  const auto array = py::reinterpret_borrow<py::array>(value);
  const bool dense = (array.flags() & py::array::c_style) != 0, aligned = (array.flags() & kAligned) != 0;
  return std::string(dense ? "" : "non-contiguous ") + (aligned ? "" : "misaligned ") + std::string(py::str(array.dtype())) +
         " array";
}

}  // namespace

void ReleaseGil::sleep_for_ever() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

ConstView view(const py::handle& array, const char* what) {
  const bool floats = Floats::check_(array), ints = Ints::check_(array);
  if (!floats && !ints)
    throw py::type_error(std::string(what) + ": expected a C-contiguous float32 or int32 array, got " + describe(array));
  const auto a = py::reinterpret_borrow<py::array>(array);
  if (!(a.flags() & kAligned)) throw py::type_error(std::string(what) + ": expected an aligned array, got a " + describe(array));
  ConstView v;
  v.data = a.data();
  v.shape.assign(a.shape(), a.shape() + a.ndim());
  v.dtype = floats ? DType::float32 : DType::int32;
  return v;
}

ConstView kept_view(const py::handle& array, const char* what, std::vector<py::object>& keep) {
  ConstView v = view(array, what);
  if (v.dtype == DType::float32) {
    keep.push_back(py::reinterpret_borrow<py::object>(array));
    return v;
  }
  const Ints own = copied(v.shape, v.i32());
  v.data = own.data();
  keep.push_back(own);
  return v;
}

const float* float_data(const py::handle& array, const char* what, Index expected) {
  const ConstView v = view(array, what);
  if (v.dtype != DType::float32) throw py::type_error(std::string(what) + ": expected float32, got int32");
  if (element_count(v.shape) != expected)
    throw py::value_error(std::string(what) + ": expected " + std::to_string(expected) + " values, got shape " +
                          rekur::to_string(v.shape));
  return v.f32();
}

Floats new_floats(const Shape& shape) { return Floats(std::vector<py::ssize_t>(shape.begin(), shape.end())); }

View writable(Floats& array) { return {array.mutable_data(), Shape(array.shape(), array.shape() + array.ndim())}; }

std::vector<Floats> new_outputs(const std::vector<Shape>& shapes, std::vector<View>& views) {
  std::vector<Floats> arrays;
  for (const Shape& shape : shapes) {
    arrays.push_back(new_floats(shape));
    views.push_back(writable(arrays.back()));
  }
  return arrays;
}

py::tuple to_tuple(const Shape& shape) {
  py::tuple t(shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i) t[i] = shape[i] == kUnknown ? py::object(py::none()) : py::int_(shape[i]);
  return t;
}

Shape to_shape(const py::handle& tuple) {
  Shape shape;
  for (const py::handle d : tuple) {
    shape.push_back(d.is_none() ? kUnknown : d.cast<Index>());
    if (!d.is_none() && shape.back() < 0)
      throw py::value_error("a dimension must be None or at least 0, got " + std::string(py::str(d)));
  }
  return shape;
}

const char* to_string(DType dtype) { return dtype == DType::float32 ? "float32" : "int32"; }

DType to_dtype(const std::string& name) {
  if (name == "float32") return DType::float32;
  if (name == "int32") return DType::int32;
  throw py::value_error("expected dtype 'float32' or 'int32', got '" + name + "'");
}

namespace {

// One entry an input of what belongs to time axes.
py::sequence entries(const py::object& given, const char* what, std::size_t inputs) {
  auto list = given.cast<py::sequence>();
  if (list.size() != inputs)
    throw py::value_error(std::string(what) + ": expected one entry for each of " + std::to_string(inputs) + " inputs, got " +
                          std::to_string(list.size()));
  return list;
}

void add_lengths(PyBatch& b, const py::object& given) {
  const py::sequence list = entries(given, "lengths", b.batch.inputs.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    const py::object entry = list[i];
    if (entry.is_none()) continue;
    const ConstView v = kept_view(entry, "lengths", b.keep);
    if (v.dtype != DType::int32 || v.shape.size() != 1) throw py::type_error("lengths: expected an int32 array of shape (B,)");
    // To the library no lengths means that all rows are full, so an empty array must not reach it for rows that are there.
    const Shape& shape = b.batch.inputs[i].shape;
    if (v.shape[0] == 0 && !shape.empty() && shape[0] != 0)
      throw py::value_error("lengths: expected " + std::to_string(shape[0]) + ", one a row, got none");
    b.batch.lengths[i] = {v.i32(), static_cast<std::size_t>(v.shape[0])};
  }
}

// Copied, as integers are: another thread must not change them between the passes.
void add_flags(PyBatch& b, const py::object& given, const char* what, std::vector<std::span<const std::uint8_t>>& to) {
  using Flags = py::array_t<std::uint8_t, py::array::c_style>;
  to.resize(b.batch.inputs.size());
  const py::sequence list = entries(given, what, to.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    const py::object entry = list[i];
    if (entry.is_none()) continue;
    const Shape& shape = b.batch.inputs[i].shape;
    const auto flags = Flags::check_(entry) ? py::reinterpret_borrow<Flags>(entry) : Flags();
    if (!Flags::check_(entry) || flags.ndim() != 2 || shape.size() < 2 || flags.shape(0) != shape[0] || flags.shape(1) != shape[1])
      throw py::type_error(std::string(what) + ": expected a C-contiguous uint8 array of shape (B, T) for input " +
                           std::to_string(i) + " of shape " + rekur::to_string(shape));
    const Flags own = copied({flags.shape(0), flags.shape(1)}, flags.data());
    b.keep.push_back(own);
    to[i] = {own.data(), static_cast<std::size_t>(own.size())};
  }
}

}  // namespace

PyBatch to_batch(const py::sequence& inputs, const py::object& steps) {
  PyBatch b;
  for (const py::handle x : inputs) {
    b.batch.inputs.push_back(kept_view(x, "input", b.keep));
  }
  b.batch.lengths.resize(b.batch.inputs.size());
  if (steps.is_none()) return b;
  if (!py::isinstance<py::dict>(steps)) {
    add_lengths(b, steps);
    return b;
  }
  for (const auto& [key, given] : steps.cast<py::dict>()) {
    const auto name = key.cast<std::string>();
    const auto value = py::reinterpret_borrow<py::object>(given);
    if (name == "lengths")
      add_lengths(b, value);
    else if (name == "masks")
      add_flags(b, value, "masks", b.batch.masks);
    else if (name == "resets")
      add_flags(b, value, "resets", b.batch.resets);
    else
      throw py::value_error("steps: expected 'lengths', 'masks' or 'resets', got '" + name + "'");
  }
  return b;
}

Floats to_array(const Tensor& tensor) { return copied(tensor.shape, tensor.data.data()); }

Tensor to_tensor(const py::handle& array, const char* what) {
  const ConstView v = view(array, what);
  if (v.dtype != DType::float32) throw py::type_error(std::string(what) + ": expected float32, got int32");
  return {v.shape, std::vector<float>(v.f32(), v.f32() + element_count(v.shape))};
}

}  // namespace rekur::bindings
