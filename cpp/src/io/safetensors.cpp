#include "io/safetensors_format.hpp"
#include "io/text.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>

#include "io/input_file.hpp"
#include "io/json.hpp"
#include "rekur/detail/half.hpp"
#include "runtime/function_ref.hpp"
#include "runtime/sort.hpp"

namespace rekur::safetensors {

static_assert(std::endian::native == std::endian::little, "arrays are taken from the file as they stand there, little-endian");

namespace {

struct TypeInfo {
  std::string_view name;
  Index size;
};
constexpr std::array<TypeInfo, 17> kTypes = {{{"BOOL", 1},
                                              {"U8", 1},
                                              {"I8", 1},
                                              {"F8_E5M2", 1},
                                              {"F8_E4M3", 1},
                                              {"F8_E8M0", 1},
                                              {"I16", 2},
                                              {"U16", 2},
                                              {"F16", 2},
                                              {"BF16", 2},
                                              {"I32", 4},
                                              {"U32", 4},
                                              {"F32", 4},
                                              {"C64", 8},
                                              {"F64", 8},
                                              {"I64", 8},
                                              {"U64", 8}}};
static_assert(kTypes.size() == static_cast<std::size_t>(Type::u64) + 1);

// Where an array stands, relative to the end of the header.
struct Entry {
  std::string name;
  Type type;
  Shape shape;
  Index begin, end;
};

struct Header {
  std::map<std::string, std::string> metadata;
  std::vector<Entry> entries;
  std::vector<Index> order;  // of the entries in the file
};

Index dimension_or_offset(const json::Reader& reader, const char* key, const json::Value& value) {
  if (!value.is_integer() || value.integer() < 0) reader.refuse(key, "an array of integers, none negative");
  return value.integer();
}

Entry read_entry(const json::Member& member) {
  json::Reader reader(member.value, compose("tensor %", {json::describe(json::Value(member.key))}));
  Entry entry{member.key, Type::f32, {}, 0, 0};
  const std::string type = reader.string("dtype");
  const auto found = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeInfo& info) { return info.name == type; });
  if (found == kTypes.end()) reader.refuse("dtype", "a type known here, such as \"F32\"");
  entry.type = static_cast<Type>(found - kTypes.begin());
  for (const json::Value& value : reader.array("shape")) entry.shape.push_back(dimension_or_offset(reader, "shape", value));
  const json::Array& offsets = reader.array("data_offsets");
  if (offsets.size() != 2) reader.refuse("data_offsets", "[begin, end]");
  entry.begin = dimension_or_offset(reader, "data_offsets", offsets[0]);
  entry.end = dimension_or_offset(reader, "data_offsets", offsets[1]);
  reader.finish();
  if (entry.end < entry.begin) reader.refuse("data_offsets", "[begin, end] with begin <= end");
  if (entry.end - entry.begin != byte_count(entry.shape, entry.type)) {
    reader.fail("shape % of % does not take the % bytes that 'data_offsets' give it", {entry.shape, type, entry.end - entry.begin});
  }
  return entry;
}

Header read_header(std::string_view text, std::uint64_t data_size) {
  if (text.empty() || text.front() != '{') throw_error("the header does not begin with '{'");
  const json::Value document = json::parse(text);
  Header header;
  for (const json::Member& member : document.object()) {
    if (member.key != kMetadata) {
      header.entries.push_back(read_entry(member));
      continue;
    }
    if (!member.value.is_object()) throw_error("'__metadata__' must be an object, got %", {json::describe(member.value)});
    for (const auto& [key, value] : member.value.object()) {
      if (!value.is_string()) throw_error("'__metadata__' must hold strings only, got %", {json::describe(value)});
      header.metadata.emplace(key, value.string());
    }
  }
  header.order = sorted(header.entries.size(), [entries = header.entries.data()](Index a, Index b) {
    return entries[a].begin != entries[b].begin ? entries[a].begin < entries[b].begin : entries[a].end < entries[b].end;
  });
  Index expected = 0;
  for (const Index i : header.order) {
    const Entry& entry = header.entries[static_cast<std::size_t>(i)];
    if (entry.begin != expected) {
      throw_error("tensor %: its data begin at byte %, not where the data before them end (%)",
                  {json::describe(json::Value(entry.name)), entry.begin, expected});
    }
    expected = entry.end;
  }
  if (static_cast<std::uint64_t>(expected) != data_size) {
    throw_error("the header describes % bytes of data, the file has %", {expected, data_size});
  }
  return header;
}

// The header, and where the data begin, over anything that can copy `size` bytes at `offset` to `out`. Offsets asked for lie within
// file_size.
std::pair<Header, std::uint64_t> read_header_from(std::uint64_t file_size,
                                                  FunctionRef<void(std::uint64_t offset, void* out, std::size_t size)> copy) {
  if (file_size < kLengthSize) throw_error("too short for a safetensors file (% bytes)", {file_size});
  std::uint64_t length = 0;
  copy(0, &length, kLengthSize);
  if (length > kMaxHeader) throw_error("not a safetensors file, or one with a header of more than 100 MB");
  if (length > file_size - kLengthSize) {
    throw_error("truncated: a header of % bytes in a file of %", {length, file_size});
  }
  const std::uint64_t data_start = kLengthSize + length;
  std::string text(static_cast<std::size_t>(length), '\0');
  copy(kLengthSize, text.data(), text.size());
  return {read_header(text, file_size - data_start), data_start};
}

File read_from(std::uint64_t file_size, FunctionRef<void(std::uint64_t offset, void* out, std::size_t size)> copy) {
  auto [header, data_start] = read_header_from(file_size, copy);
  File file;
  file.metadata = std::move(header.metadata);
  for (const Index i : header.order) {
    Entry& entry = header.entries[static_cast<std::size_t>(i)];
    std::vector<std::byte> bytes(static_cast<std::size_t>(entry.end - entry.begin));
    copy(data_start + static_cast<std::uint64_t>(entry.begin), bytes.data(), bytes.size());
    file.tensors.emplace(std::move(entry.name), Array{entry.type, std::move(entry.shape), std::move(bytes)});
  }
  return file;
}

// What parse and parse_in_place have in common.
template <class Read>
auto parse_by(std::span<const std::byte> bytes, std::string_view source, const Read& read) {
  try {
    return read([&](std::uint64_t offset, void* out, std::size_t n) {
      if (n > 0) std::memcpy(out, bytes.data() + offset, n);
    });
  } catch (const OutOfMemory&) {
    throw;
  } catch (const Error& error) {
    throw_io_error("cannot read %: %", {source, error.what()});
  }
}

template <class T>
constexpr Type type_of() {
  if constexpr (std::is_same_v<T, float>) return Type::f32;
  if constexpr (std::is_same_v<T, double>) return Type::f64;
  if constexpr (std::is_same_v<T, std::int32_t>) return Type::i32;
  if constexpr (std::is_same_v<T, std::int64_t>) return Type::i64;
}

}  // namespace

Index byte_count(const Shape& shape, Type type) {
  Shape others = shape;
  std::erase(others, 0);
  element_count(others);
  return element_count(shape) * size(type);
}

std::string_view name(Type type) { return kTypes[static_cast<std::size_t>(type)].name; }
Index size(Type type) { return kTypes[static_cast<std::size_t>(type)].size; }

File read(const std::string& path) {
  const io::InputFile file(path);
  try {
    return read_from(file.size(), [&](std::uint64_t offset, void* out, std::size_t n) { file.read(offset, out, n); });
  } catch (const IoError&) {
    throw;
  } catch (const Error& error) {
    throw_io_error("cannot read '%': %", {path, error.what()});
  }
}

File parse(std::span<const std::byte> bytes, std::string_view source) {
  return parse_by(bytes, source, [&](const auto& copy) { return read_from(bytes.size(), copy); });
}

Contents parse_in_place(std::span<const std::byte> bytes, std::string_view source) {
  return parse_by(bytes, source, [&](const auto& copy) {
    auto [header, data_start] = read_header_from(bytes.size(), copy);
    Contents contents;
    contents.metadata = std::move(header.metadata);
    for (Entry& entry : header.entries)
      contents.tensors.emplace(std::move(entry.name),
                               ArrayView{entry.type, std::move(entry.shape),
                                         bytes.subspan(static_cast<std::size_t>(data_start) + static_cast<std::size_t>(entry.begin),
                                                       static_cast<std::size_t>(entry.end - entry.begin))});
    return contents;
  });
}

namespace {

void expect_type(const ArrayView& array, std::string_view tensor_name, Type expected) {
  if (array.type != expected)
    throw_error("tensor %: expected %, got %", {json::describe(json::Value(tensor_name)), name(expected), name(array.type)});
}

}  // namespace

template <class T>
std::vector<T> values(const ArrayView& array, std::string_view tensor_name) {
  expect_type(array, tensor_name, type_of<T>());
  std::vector<T> result(array.bytes.size() / sizeof(T));
  if (!result.empty()) std::memcpy(result.data(), array.bytes.data(), result.size() * sizeof(T));
  return result;
}

void widen(const ArrayView& array, std::string_view tensor_name, float* to) {
  if (array.type != Type::bf16 && array.type != Type::f16) {
    expect_type(array, tensor_name, Type::f32);
    if (!array.bytes.empty()) std::memcpy(to, array.bytes.data(), array.bytes.size());
    return;
  }
  for (std::size_t i = 0; i < array.bytes.size() / sizeof(std::uint16_t); ++i) {
    std::uint16_t half;
    std::memcpy(&half, array.bytes.data() + i * sizeof half, sizeof half);
    to[i] = array.type == Type::bf16 ? detail::float_of_bf16(half) : detail::float_of_fp16(half);
  }
}

std::vector<float> widened(const Array& array, std::string_view tensor_name) {
  std::vector<float> result(static_cast<std::size_t>(element_count(array.shape)));
  widen({array.type, array.shape, array.bytes}, tensor_name, result.data());
  return result;
}

template <class T>
ArrayView view(Shape shape, std::span<const T> elements) {
  return {type_of<T>(), std::move(shape), std::as_bytes(elements)};
}

template std::vector<float> values<float>(const ArrayView&, std::string_view);
template std::vector<double> values<double>(const ArrayView&, std::string_view);
template std::vector<std::int32_t> values<std::int32_t>(const ArrayView&, std::string_view);
template std::vector<std::int64_t> values<std::int64_t>(const ArrayView&, std::string_view);
template ArrayView view<float>(Shape, std::span<const float>);
template ArrayView view<double>(Shape, std::span<const double>);
template ArrayView view<std::int32_t>(Shape, std::span<const std::int32_t>);
template ArrayView view<std::int64_t>(Shape, std::span<const std::int64_t>);

Views views(const File& file) {
  Views result;
  for (const auto& [tensor_name, array] : file.tensors)
    result.emplace(tensor_name, ArrayView{array.type, array.shape, array.bytes});
  return result;
}

}  // namespace rekur::safetensors
