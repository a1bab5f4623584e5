// foreign::load: a file or some memory, what it is, and errors that name it.
#include "rekur/import.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

#include "import/formats.hpp"
#include "io/input_file.hpp"
#include "io/json.hpp"
#include "io/text.hpp"
#include "isa/dispatch.hpp"

namespace rekur::foreign {
namespace {

constexpr std::uint64_t kLimit = std::uint64_t{1} << 30;  // bytes of a file that is read

std::vector<std::byte> contents(const std::string& path) {
  const io::InputFile file(path);
  if (file.size() > kLimit)
    throw_io_error("'%': it has % bytes, more than the % that are read of such a file", {path, file.size(), kLimit});
  std::vector<std::byte> bytes(static_cast<std::size_t>(file.size()));
  file.read(0, bytes.data(), bytes.size());
  return bytes;
}

// Its header's length, below 100 MB, and its header.
bool is_safetensors(std::string_view text) {
  if (text.size() < 9 || text[8] != '{') return false;
  std::uint64_t size = 0;
  for (int k = 7; k >= 0; --k) size = size << 8 | static_cast<unsigned char>(text[static_cast<std::size_t>(k)]);
  return size <= 100'000'000;
}

}  // namespace

Model load(const std::string& path, const Options& options) {
  const std::vector<std::byte> bytes = contents(path);
  return load(bytes, compose("'%'", {path}), options);
}

Model load(std::span<const std::byte> file, const std::string& source, const Options& options) {
  std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (is_safetensors(text)) return Model::load(file, source);
  constexpr std::string_view kMark = "\xEF\xBB\xBF";  // of UTF-8, which some editors put in front
  if (text.substr(0, kMark.size()) == kMark) text.remove_prefix(kMark.size());
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{')
    throw_io_error("%: neither a JSON object nor a model of rekur, by its first bytes", {source});
  isa::table();  // what there is none for is no fault of the file
  try {
    const json::Value value = json::parse(text);
    const json::Object& object = value.object();
    if (is_rtneural(object)) return rtneural(object);
    if (is_guitarml(object)) return guitarml(object);
    if (is_nam(object)) return nam(object, options.settled);
    throw_error(
        "expected Neural Amp Modeler's keys (architecture, config, weights), GuitarML's (model_data, state_dict) or RTNeural's "
        "(in_shape, layers); it has none of these");
  } catch (const OutOfMemory&) {
    throw;
  } catch (const Error& error) {
    throw_io_error("%: %", {source, error.what()});
  }
}

}  // namespace rekur::foreign
