// The safetensors format: named arrays and string metadata in one file of which nothing is ever evaluated.
//
//   8 bytes, little-endian: N · N bytes: a JSON object, padded with spaces · the arrays' bytes, back to back
//
// The reader refuses whatever the format's reference reader refuses, and unknown keys besides. It allocates only what the real size
// of the file backs, never what a number in the header says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rekur/tensor.hpp"

namespace rekur::safetensors {

// The element types of the format that fill whole bytes, in the order in which the reference writer sorts them.
enum class Type : std::uint8_t {
  boolean,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  f8_e8m0,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  c64,
  f64,
  i64,
  u64
};
std::string_view name(Type type);  // "F32"
Index size(Type type);             // in bytes

// Bytes are row-major and little-endian, as they stand in the file.
struct Array {
  Type type = Type::f32;
  Shape shape;
  std::vector<std::byte> bytes;
};

// The same, owned by somebody else: what a writer needs.
struct ArrayView {
  Type type = Type::f32;
  Shape shape;
  std::span<const std::byte> bytes;
};

struct File {
  std::map<std::string, std::string> metadata;
  std::map<std::string, Array> tensors;
};

// Both throw IoError naming the file (or `source`) and the fault.
File read(const std::string& path);
File parse(std::span<const std::byte> bytes, std::string_view source = "safetensors in memory");

using Views = std::map<std::string, ArrayView>;
Views views(const File& file);

// What is in a file that is in memory, its arrays where they stand there. Throws as `parse` does.
struct Contents {
  std::map<std::string, std::string> metadata;
  Views tensors;
};
Contents parse_in_place(std::span<const std::byte> bytes, std::string_view source = "safetensors in memory");

// Deterministic: the same contents give the same bytes. Throws Error if a name is not UTF-8 or is "__metadata__", or if an array's
// bytes are not what its shape and type say. write() is atomic (io/atomic_file.hpp) and throws IoError.
// first: tensors that come before all others, in that order; then the arrays begin at a multiple of 64 bytes. Else the bytes are
// those of the reference writer.
std::vector<std::byte> serialize(const std::map<std::string, std::string>& metadata, const Views& tensors,
                                 std::span<const std::string> first = {});
void write(const std::string& path, const std::map<std::string, std::string>& metadata, const Views& tensors,
           std::span<const std::string> first = {});

// Elements as float, double, std::int32_t or std::int64_t: of exactly that type in the file, nothing is converted.
// Throws Error naming the tensor otherwise.
template <class T>
std::vector<T> values(const ArrayView& array, std::string_view tensor_name);
template <class T>
std::vector<T> values(const Array& array, std::string_view tensor_name) {
  return values<T>(ArrayView{array.type, array.shape, array.bytes}, tensor_name);
}

// As float, where they are float, bf16 or fp16 in the file: every such number is a float. Throws Error naming the tensor otherwise.
void widen(const ArrayView& array, std::string_view tensor_name, float* to);
std::vector<float> widened(const Array& array, std::string_view tensor_name);

template <class T>
ArrayView view(Shape shape, std::span<const T> values);

}  // namespace rekur::safetensors
