// Writing safetensors.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>

#include "io/atomic_file.hpp"
#include "io/json.hpp"
#include "io/safetensors_format.hpp"
#include "io/text.hpp"
#include "runtime/sort.hpp"

namespace rekur::safetensors {
namespace {

// The file's beginning, up to the arrays' bytes, and the arrays in the order in which they follow.
struct Layout {
  std::string head;
  std::vector<std::span<const std::byte>> data;
};

Layout lay_out(const std::map<std::string, std::string>& metadata, const Views& tensors, std::span<const std::string> first) {
  // By type, then by name, which is how they stand in the map.
  std::vector<const Views::value_type*> all;
  std::vector<Index> rank;  // the first ones' places; behind them all are equal
  for (const auto& tensor : tensors) {
    all.push_back(&tensor);
    rank.push_back(static_cast<Index>(first.size()));
  }
  for (std::size_t i = 0; i < first.size(); ++i) {
    const auto found = tensors.find(first[i]);
    if (found == tensors.end()) throw_error("tensor '%' is to come first, and there is none", {first[i]});
    rank[static_cast<std::size_t>(std::distance(tensors.begin(), found))] = static_cast<Index>(i);
  }
  const std::vector<Index> order = sorted(all.size(), [&](Index a, Index b) {
    const auto i = static_cast<std::size_t>(a), k = static_cast<std::size_t>(b);
    return rank[i] != rank[k] ? rank[i] < rank[k] : all[i]->second.type > all[k]->second.type;
  });
  // The header is written entry by entry: json::Object looks for a key before it adds one, and there may be many.
  Layout layout;
  std::string text;
  const auto add = [&](std::string_view key, json::Value value) {
    text += (text.empty() ? "{" : ",") + json::write(json::Value(key)) + ":" + json::write(value);
  };
  if (!metadata.empty()) {
    json::Object strings;
    for (const auto& [key, value] : metadata) {
      if (!json::is_utf8(key) || !json::is_utf8(value)) throw_error("metadata %: not UTF-8", {json::describe(json::Value(key))});
      strings.set(key, value);
    }
    add(kMetadata, std::move(strings));
  }
  Index offset = 0;
  for (const Index i : order) {
    const auto& [tensor_name, array] = *all[static_cast<std::size_t>(i)];
    const std::string quoted = json::describe(json::Value(tensor_name));
    if (!json::is_utf8(tensor_name)) throw_error("tensor of shape %: its name is not UTF-8", {array.shape});
    if (tensor_name == kMetadata) throw_error("tensor %: the format keeps this name for itself", {quoted});
    const Index bytes = byte_count(array.shape, array.type);
    if (static_cast<std::uint64_t>(bytes) != array.bytes.size()) {
      throw_error("tensor %: shape % of % takes % bytes, got %",
                  {quoted, array.shape, name(array.type), bytes, array.bytes.size()});
    }
    if (bytes > std::numeric_limits<Index>::max() - offset) throw_error("tensor %: too large for one file", {quoted});
    json::Array shape(array.shape.begin(), array.shape.end());
    add(tensor_name,
        json::Object{
            {"dtype", name(array.type)}, {"shape", std::move(shape)}, {"data_offsets", json::Array{offset, offset + bytes}}});
    layout.data.push_back(array.bytes);
    offset += bytes;
  }
  text += text.empty() ? "{}" : "}";
  // So that the data are aligned where the file is mapped: as the reference writer does, or on a cache line.
  const std::size_t border = first.empty() ? 8 : 64;
  text.append((border - (kLengthSize + text.size()) % border) % border, ' ');
  if (text.size() > kMaxHeader) throw_error("safetensors: a header of more than 100 MB, which no reader takes");
  const auto length = static_cast<std::uint64_t>(text.size());
  layout.head.resize(kLengthSize);
  std::memcpy(layout.head.data(), &length, kLengthSize);
  layout.head += text;
  return layout;
}

}  // namespace

std::vector<std::byte> serialize(const std::map<std::string, std::string>& metadata, const Views& tensors,
                                 std::span<const std::string> first) {
  const Layout layout = lay_out(metadata, tensors, first);
  const auto head = std::as_bytes(std::span(layout.head));
  std::vector<std::byte> bytes(head.begin(), head.end());
  for (const auto piece : layout.data) bytes.insert(bytes.end(), piece.begin(), piece.end());
  return bytes;
}

void write(const std::string& path, const std::map<std::string, std::string>& metadata, const Views& tensors,
           std::span<const std::string> first) {
  const Layout layout = lay_out(metadata, tensors, first);
  std::vector<std::span<const std::byte>> pieces{std::as_bytes(std::span(layout.head))};
  pieces.insert(pieces.end(), layout.data.begin(), layout.data.end());
  io::write_atomically(path, pieces);
}

}  // namespace rekur::safetensors
