#include "io/safetensors.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>

#include "io/atomic_file.hpp"
#include "io/descriptor.hpp"
#include "io/json.hpp"

namespace rekur::safetensors {

static_assert(std::endian::native == std::endian::little, "arrays are taken from the file as they stand there, little-endian");

namespace {

constexpr std::size_t kLengthSize = 8;
constexpr std::uint64_t kMaxHeader = 100'000'000;  // the reference reader's limit
constexpr char kMetadata[] = "__metadata__";

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

// A shape whose other dimensions overflow is refused even where one of them is zero.
Index byte_count(const Shape& shape, Type type) {
  Shape others = shape;
  std::erase(others, 0);
  element_count(others);
  return element_count(shape) * size(type);
}

// Where an array stands, relative to the end of the header.
struct Entry {
  std::string name;
  Type type;
  Shape shape;
  Index begin, end;
};

struct Header {
  std::map<std::string, std::string> metadata;
  std::vector<Entry> entries;  // in the order of the file
};

Index dimension_or_offset(const json::Reader& reader, std::string_view key, const json::Value& value) {
  if (!value.is_integer() || value.integer() < 0) reader.fail(key, "an array of integers, none negative");
  return value.integer();
}

Entry read_entry(const json::Member& member) {
  json::Reader reader(member.value, "tensor " + json::describe(json::Value(member.key)));
  Entry entry{member.key, Type::f32, {}, 0, 0};
  const std::string type = reader.string("dtype");
  const auto found = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeInfo& info) { return info.name == type; });
  if (found == kTypes.end()) reader.fail("dtype", "a type known here, such as \"F32\"");
  entry.type = static_cast<Type>(found - kTypes.begin());
  for (const json::Value& value : reader.array("shape")) entry.shape.push_back(dimension_or_offset(reader, "shape", value));
  const json::Array& offsets = reader.array("data_offsets");
  if (offsets.size() != 2) reader.fail("data_offsets", "[begin, end]");
  entry.begin = dimension_or_offset(reader, "data_offsets", offsets[0]);
  entry.end = dimension_or_offset(reader, "data_offsets", offsets[1]);
  reader.finish();
  if (entry.end < entry.begin) reader.fail("data_offsets", "[begin, end] with begin <= end");
  if (entry.end - entry.begin != byte_count(entry.shape, entry.type)) {
    reader.fail("shape " + to_string(entry.shape) + " of " + type + " does not take the " +
                std::to_string(entry.end - entry.begin) + " bytes that 'data_offsets' give it");
  }
  return entry;
}

Header read_header(std::string_view text, std::uint64_t data_size) {
  if (text.empty() || text.front() != '{') throw Error("the header does not begin with '{'");
  const json::Value document = json::parse(text);
  Header header;
  for (const json::Member& member : document.object()) {
    if (member.key != kMetadata) {
      header.entries.push_back(read_entry(member));
      continue;
    }
    if (!member.value.is_object()) throw Error("'__metadata__' must be an object, got " + json::describe(member.value));
    for (const auto& [key, value] : member.value.object()) {
      if (!value.is_string()) throw Error("'__metadata__' must hold strings only, got " + json::describe(value));
      header.metadata.emplace(key, value.string());
    }
  }
  std::sort(header.entries.begin(), header.entries.end(),
            [](const Entry& a, const Entry& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  Index expected = 0;
  for (const Entry& entry : header.entries) {
    if (entry.begin != expected) {
      throw Error("tensor " + json::describe(json::Value(entry.name)) + ": its data begin at byte " + std::to_string(entry.begin) +
                  ", not where the data before them end (" + std::to_string(expected) + ")");
    }
    expected = entry.end;
  }
  if (static_cast<std::uint64_t>(expected) != data_size) {
    throw Error("the header describes " + std::to_string(expected) + " bytes of data, the file has " + std::to_string(data_size));
  }
  return header;
}

// The whole of reading, over anything that can copy `size` bytes at `offset` to `out`. Offsets asked for lie within file_size.
File read_from(std::uint64_t file_size, const std::function<void(std::uint64_t offset, void* out, std::size_t size)>& copy) {
  if (file_size < kLengthSize) throw Error("too short for a safetensors file (" + std::to_string(file_size) + " bytes)");
  std::uint64_t length = 0;
  copy(0, &length, kLengthSize);
  if (length > kMaxHeader) throw Error("not a safetensors file, or one with a header of more than 100 MB");
  if (length > file_size - kLengthSize) {
    throw Error("truncated: a header of " + std::to_string(length) + " bytes in a file of " + std::to_string(file_size));
  }
  const std::uint64_t data_start = kLengthSize + length;
  std::string text(static_cast<std::size_t>(length), '\0');
  copy(kLengthSize, text.data(), text.size());
  Header header = read_header(text, file_size - data_start);
  File file;
  file.metadata = std::move(header.metadata);
  for (Entry& entry : header.entries) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(entry.end - entry.begin));
    copy(data_start + static_cast<std::uint64_t>(entry.begin), bytes.data(), bytes.size());
    file.tensors.emplace(std::move(entry.name), Array{entry.type, std::move(entry.shape), std::move(bytes)});
  }
  return file;
}

void read_fully(int fd, std::uint64_t offset, void* out, std::size_t size, const std::string& path) {
  constexpr std::size_t kMost = std::size_t{1} << 30;
  for (std::size_t done = 0; done < size;) {
    const ssize_t got =
        ::pread(fd, static_cast<char*>(out) + done, std::min(size - done, kMost), static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) io::throw_system_error("read", path);
    if (got == 0) throw IoError("cannot read '" + path + "': it became shorter meanwhile");
    done += static_cast<std::size_t>(got);
  }
}

// The file's beginning, up to the arrays' bytes, and the arrays in the order in which they follow.
struct Layout {
  std::string head;
  std::vector<std::span<const std::byte>> data;
};

Layout lay_out(const std::map<std::string, std::string>& metadata, const Views& tensors) {
  std::vector<const Views::value_type*> order;
  for (const auto& tensor : tensors) order.push_back(&tensor);
  std::stable_sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->second.type > b->second.type; });
  // The header is written entry by entry: json::Object looks for a key before it adds one, and there may be many.
  Layout layout;
  std::string text;
  const auto add = [&](std::string_view key, json::Value value) {
    text += (text.empty() ? "{" : ",") + json::write(json::Value(key)) + ":" + json::write(value);
  };
  if (!metadata.empty()) {
    json::Object strings;
    for (const auto& [key, value] : metadata) strings.set(key, value);
    add(kMetadata, std::move(strings));
  }
  Index offset = 0;
  for (const auto* tensor : order) {
    const auto& [tensor_name, array] = *tensor;
    const std::string quoted = json::describe(json::Value(tensor_name));
    if (tensor_name == kMetadata) throw Error("tensor " + quoted + ": the format keeps this name for itself");
    const Index bytes = byte_count(array.shape, array.type);
    if (static_cast<std::uint64_t>(bytes) != array.bytes.size()) {
      throw Error("tensor " + quoted + ": shape " + to_string(array.shape) + " of " + std::string(name(array.type)) + " takes " +
                  std::to_string(bytes) + " bytes, got " + std::to_string(array.bytes.size()));
    }
    if (bytes > std::numeric_limits<Index>::max() - offset) throw Error("tensor " + quoted + ": too large for one file");
    json::Array shape(array.shape.begin(), array.shape.end());
    add(tensor_name,
        json::Object{
            {"dtype", name(array.type)}, {"shape", std::move(shape)}, {"data_offsets", json::Array{offset, offset + bytes}}});
    layout.data.push_back(array.bytes);
    offset += bytes;
  }
  text += text.empty() ? "{}" : "}";
  text.append((8 - text.size() % 8) % 8, ' ');  // so that the data are aligned where the file is mapped
  if (text.size() > kMaxHeader) throw Error("safetensors: a header of more than 100 MB, which no reader takes");
  const auto length = static_cast<std::uint64_t>(text.size());
  layout.head.resize(kLengthSize);
  std::memcpy(layout.head.data(), &length, kLengthSize);
  layout.head += text;
  return layout;
}

template <class T>
constexpr Type type_of() {
  if constexpr (std::is_same_v<T, float>) return Type::f32;
  if constexpr (std::is_same_v<T, double>) return Type::f64;
  if constexpr (std::is_same_v<T, std::int32_t>) return Type::i32;
  if constexpr (std::is_same_v<T, std::int64_t>) return Type::i64;
}

}  // namespace

std::string_view name(Type type) { return kTypes[static_cast<std::size_t>(type)].name; }
Index size(Type type) { return kTypes[static_cast<std::size_t>(type)].size; }

File read(const std::string& path) {
  if (path.find('\0') != path.npos) throw IoError("cannot read '" + path + "': the path contains a null character");
  // O_NONBLOCK: opening a pipe by mistake must not wait for its other end.
  const io::Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (!fd.open() || ::fstat(fd.get(), &status) != 0) io::throw_system_error("read", path);
  if (S_ISDIR(status.st_mode)) io::throw_system_error("read", path, EISDIR);
  if (!S_ISREG(status.st_mode)) throw IoError("cannot read '" + path + "': not a regular file");
  try {
    return read_from(static_cast<std::uint64_t>(status.st_size),
                     [&](std::uint64_t offset, void* out, std::size_t n) { read_fully(fd.get(), offset, out, n, path); });
  } catch (const IoError&) {
    throw;
  } catch (const Error& error) {
    throw IoError("cannot read '" + path + "': " + error.what());
  }
}

File parse(std::span<const std::byte> bytes, std::string_view source) {
  try {
    return read_from(bytes.size(), [&](std::uint64_t offset, void* out, std::size_t n) {
      if (n > 0) std::memcpy(out, bytes.data() + offset, n);
    });
  } catch (const Error& error) {
    throw IoError("cannot read " + std::string(source) + ": " + error.what());
  }
}

Views views(const File& file) {
  Views result;
  for (const auto& [tensor_name, array] : file.tensors)
    result.emplace(tensor_name, ArrayView{array.type, array.shape, array.bytes});
  return result;
}

std::vector<std::byte> serialize(const std::map<std::string, std::string>& metadata, const Views& tensors) {
  const Layout layout = lay_out(metadata, tensors);
  const auto head = std::as_bytes(std::span(layout.head));
  std::vector<std::byte> bytes(head.begin(), head.end());
  for (const auto piece : layout.data) bytes.insert(bytes.end(), piece.begin(), piece.end());
  return bytes;
}

void write(const std::string& path, const std::map<std::string, std::string>& metadata, const Views& tensors) {
  const Layout layout = lay_out(metadata, tensors);
  std::vector<std::span<const std::byte>> pieces{std::as_bytes(std::span(layout.head))};
  pieces.insert(pieces.end(), layout.data.begin(), layout.data.end());
  io::write_atomically(path, pieces);
}

template <class T>
std::vector<T> values(const Array& array, std::string_view tensor_name) {
  if (array.type != type_of<T>()) {
    throw Error("tensor " + json::describe(json::Value(tensor_name)) + ": expected " + std::string(name(type_of<T>())) + ", got " +
                std::string(name(array.type)));
  }
  std::vector<T> result(array.bytes.size() / sizeof(T));
  if (!result.empty()) std::memcpy(result.data(), array.bytes.data(), result.size() * sizeof(T));
  return result;
}

template <class T>
ArrayView view(Shape shape, std::span<const T> elements) {
  return {type_of<T>(), std::move(shape), std::as_bytes(elements)};
}

template std::vector<float> values<float>(const Array&, std::string_view);
template std::vector<double> values<double>(const Array&, std::string_view);
template std::vector<std::int32_t> values<std::int32_t>(const Array&, std::string_view);
template std::vector<std::int64_t> values<std::int64_t>(const Array&, std::string_view);
template ArrayView view<float>(Shape, std::span<const float>);
template ArrayView view<double>(Shape, std::span<const double>);
template ArrayView view<std::int32_t>(Shape, std::span<const std::int32_t>);
template ArrayView view<std::int64_t>(Shape, std::span<const std::int64_t>);

}  // namespace rekur::safetensors
