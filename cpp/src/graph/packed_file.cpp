#include "graph/packed_file.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdint>
#include <cstring>

#include "io/text.hpp"
#include "rekur/runtime.hpp"

namespace rekur::graph {
namespace {

bool is_aligned(const void* p, std::uintptr_t to) { return reinterpret_cast<std::uintptr_t>(p) % to == 0; }

std::string hexadecimal(std::uint64_t n) {
  std::string text(16, '0');
  for (std::size_t i = 16; i-- > 0; n >>= 4) text[i] = "0123456789abcdef"[n & 15];
  return text;
}

template <class T>
bool read_number(std::string_view text, T& number, int base) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return error == std::errc() && end == text.data() + text.size();
}

// The next part of a name, up to a '/'.
std::string_view part(std::string_view& name) {
  const std::string_view found = name.substr(0, name.find('/'));
  name.remove_prefix(std::min(name.size(), found.size() + 1));
  return found;
}

}  // namespace

const float* flat_in_place(std::span<const ParameterInfo> parameters, const safetensors::Views& tensors) {
  const std::byte *begin = nullptr, *end = nullptr;
  for (const ParameterInfo& info : parameters) {
    const auto found = tensors.find(info.name);
    if (found == tensors.end() || found->second.type != safetensors::Type::f32 || found->second.shape != info.shape) return nullptr;
    const std::span<const std::byte> bytes = found->second.bytes;
    if (bytes.empty()) continue;
    if (begin == nullptr) begin = end = bytes.data();
    if (bytes.data() != end) return nullptr;
    end = bytes.data() + bytes.size();
  }
  return is_aligned(begin, alignof(float)) ? reinterpret_cast<const float*>(begin) : nullptr;
}

std::string sample_of(std::span<const float> weights) {
  std::uint64_t hash = 14695981039346656037u;
  const auto add = [&hash](std::uint64_t n) { hash = (hash ^ n) * 1099511628211u; };
  add(weights.size());
  const std::size_t apart = weights.size() / 65536 + 1;
  for (std::size_t i = 0; i < weights.size(); i += apart) add(std::bit_cast<std::uint32_t>(weights[i]));
  return hexadecimal(hash);
}

std::string panel_name(const std::string& isa, bool single_row, std::size_t number, std::uint64_t layout) {
  return compose("%%/%/%/%", {kPanelPrefix, isa, (single_row ? "one" : "rows"), number, hexadecimal(layout)});
}

PackedPanels panels_of(const safetensors::Contents& file, std::span<const float> weights) {
  PackedPanels all;
  const auto of = file.metadata.find(kPanelsKey);
  if (of == file.metadata.end() || of->second != sample_of(weights)) return all;
  // Those of other machines are of no use here, and whoever wrote the file may have invented any number of them.
  const std::vector<std::string> here = available_isas();
  for (auto tensor = file.tensors.lower_bound(std::string(kPanelPrefix)); tensor != file.tensors.end(); ++tensor) {
    std::string_view name = tensor->first;
    if (!name.starts_with(kPanelPrefix)) break;
    name.remove_prefix(kPanelPrefix.size());
    const std::string isa(part(name));
    if (std::find(here.begin(), here.end(), isa) == here.end()) continue;
    const std::string_view rows = part(name), number = part(name), layout = part(name);
    std::size_t i = 0;
    runtime::Panel panel{0, 0, nullptr};
    const std::span<const std::byte> bytes = tensor->second.bytes;
    if (!read_number(number, i, 10) || i >= file.tensors.size() || !read_number(layout, panel.layout, 16) || !name.empty() ||
        (rows != "one" && rows != "rows") || tensor->second.type != safetensors::Type::f32 || !is_aligned(bytes.data(), 64))
      continue;
    panel.size = static_cast<Index>(bytes.size() / sizeof(float));
    panel.data = reinterpret_cast<const float*>(bytes.data());
    const auto same = [&](const PackedProgram& p) { return p.isa == isa && p.single_row == (rows == "one"); };
    auto program = std::find_if(all.begin(), all.end(), same);
    if (program == all.end()) program = all.insert(all.end(), {isa, rows == "one", {}});
    // One that is missing is of no size that there is.
    if (program->panels.size() <= i) program->panels.resize(i + 1, {0, -1, nullptr});
    program->panels[i] = panel;
  }
  return all;
}

void drop_panels(safetensors::Contents& file) {
  std::erase_if(file.tensors,
                [](const auto& tensor) { return tensor.first.starts_with(kPanelPrefix) || tensor.first == kPadding; });
  file.metadata.erase(kPanelsKey);
}

}  // namespace rekur::graph
