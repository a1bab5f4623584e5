// A model's file whose contents are used where they lie. It is a safetensors file like any other:
//
//   the parameters, as float32 in the model's order, which together are its flat buffer, from a multiple of 64 bytes on
//   rekur.padding                                 bytes up to the next multiple of 64
//   rekur.panels/ISA/one|rows/NUMBER/LAYOUT       panel after panel, whole cache lines (runtime/panels.hpp)
//   whatever else rides along
//
// The metadata `rekur.panels` says of which weights the panels are.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "graph/graph.hpp"
#include "io/safetensors.hpp"

namespace rekur::graph {

inline constexpr const char* kPanelsKey = "rekur.panels";
inline constexpr std::string_view kPanelPrefix = "rekur.panels/", kPadding = "rekur.padding";

// Where the parameters stand one after the other as the flat buffer has them; null: they do not.
const float* flat_in_place(std::span<const ParameterInfo> parameters, const safetensors::Views& tensors);

// What kPanelsKey says of these weights. Looks at some 65,000 of them, whatever their number: whoever trains a model changes them
// all.
std::string sample_of(std::span<const float> weights);

std::string panel_name(const std::string& isa, bool single_row, std::size_t number, std::uint64_t layout);

// Those that the file has, of these weights. What cannot be used is left out, and packed when it is needed.
PackedPanels panels_of(const safetensors::Contents& file, std::span<const float> weights);

// Takes out what is no tensor of the caller's.
void drop_panels(safetensors::Contents& file);

}  // namespace rekur::graph
