#include <cstring>
#include <span>
#include <string_view>

#include "bindings.hpp"
#include "io/atomic_file.hpp"
#include "io/safetensors.hpp"

namespace rekur::bindings {
namespace {

struct DTypeName {
  safetensors::Type type;
  const char* numpy;
};
constexpr DTypeName kTypes[] = {
    {safetensors::Type::boolean, "bool"}, {safetensors::Type::u8, "uint8"},   {safetensors::Type::i8, "int8"},
    {safetensors::Type::i16, "int16"},    {safetensors::Type::u16, "uint16"}, {safetensors::Type::f16, "float16"},
    {safetensors::Type::i32, "int32"},    {safetensors::Type::u32, "uint32"}, {safetensors::Type::f32, "float32"},
    {safetensors::Type::f64, "float64"},  {safetensors::Type::i64, "int64"},  {safetensors::Type::u64, "uint64"}};

py::tuple read(const std::string& path) {
  const safetensors::File file = [&] {
    const ReleaseGil release;
    return safetensors::read(path);
  }();
  py::dict tensors;
  for (const auto& [name, array] : file.tensors) {
    if (array.type == safetensors::Type::bf16) {  // every such number is a float
      const auto numbers = safetensors::widened(array, name);
      py::array_t<float> out(std::vector<py::ssize_t>(array.shape.begin(), array.shape.end()));
      if (!numbers.empty()) std::memcpy(out.mutable_data(), numbers.data(), numbers.size() * sizeof(float));
      tensors[py::str(name)] = out;
      continue;
    }
    const char* numpy = nullptr;
    for (const DTypeName& t : kTypes)
      if (t.type == array.type) numpy = t.numpy;
    if (!numpy)
      throw py::type_error(path + ": tensor '" + name + "' has elements of type " + std::string(safetensors::name(array.type)) +
                           ", which NumPy does not have");
    py::array out(py::dtype(numpy), std::vector<py::ssize_t>(array.shape.begin(), array.shape.end()));
    if (!array.bytes.empty()) std::memcpy(out.mutable_data(), array.bytes.data(), array.bytes.size());
    tensors[py::str(name)] = out;
  }
  return py::make_tuple(file.metadata, tensors);
}

void write(const std::string& path, const std::map<std::string, std::string>& metadata, const py::dict& tensors) {
  safetensors::Views views;
  std::vector<py::array> keep;
  for (const auto& [key, value] : tensors) {
    const auto name = key.cast<std::string>();
    if (!py::isinstance<py::array>(value)) throw py::type_error("tensor '" + name + "': expected an array");
    auto array = py::reinterpret_borrow<py::array>(value);
    const auto dtype = std::string(py::str(array.dtype()));
    const DTypeName* type = nullptr;
    for (const DTypeName& t : kTypes)
      if (dtype == t.numpy) type = &t;
    if (!type) throw py::type_error("tensor '" + name + "': no safetensors type for dtype " + dtype);
    if (!(array.flags() & py::array::c_style)) throw py::type_error("tensor '" + name + "': expected a C-contiguous array");
    views[name] = {type->type,
                   Shape(array.shape(), array.shape() + array.ndim()),
                   {static_cast<const std::byte*>(array.data()), static_cast<std::size_t>(array.nbytes())}};
    keep.push_back(std::move(array));
  }
  const ReleaseGil release;
  safetensors::write(path, metadata, views);
}

void write_file(const std::string& path, const py::bytes& data) {
  const auto bytes = static_cast<std::string_view>(data);
  const ReleaseGil release;
  io::write_atomically(path, std::as_bytes(std::span(bytes)));
}

}  // namespace

void bind_io(py::module_& m) {
  m.def("write_file", &write_file, py::arg("path"), py::arg("data"));
  m.def("check_writable", &io::check_writable, py::arg("path"), py::call_guard<ReleaseGil>());
  m.def("read_safetensors", &read, py::arg("path"));
  m.def("write_safetensors", &write, py::arg("path"), py::arg("metadata"), py::arg("tensors"));
}

}  // namespace rekur::bindings
