#include "layers/recurrent_settings.hpp"

#include <algorithm>
#include <limits>

#include "io/suggest.hpp"
#include "layers/activation_spec.hpp"
#include "recurrent/recurrent.hpp"

namespace rekur::layers {
namespace {

// The layer types that are a cell in the time loop, as data.
struct RecurrentType {
  const char* type;
  const char* (*cell)(json::Reader& spec);  // by the keys that choose one
  bool gated;                               // has "recurrent_activation"
};

const char* gru_cell(json::Reader& spec) { return spec.boolean("reset_after", true) ? "gru" : "gru_reset_before"; }

const char* lstm_cell(json::Reader& spec) {
  const bool peepholes = spec.boolean("peepholes", false), coupled = spec.boolean("coupled_gates", false);
  if (peepholes) return coupled ? "lstm_peephole_coupled" : "lstm_peephole";
  return coupled ? "lstm_coupled" : "lstm";
}

const char* simple_rnn_cell(json::Reader&) { return "simple_rnn"; }

constexpr RecurrentType kTypes[] = {
    {"GRU", gru_cell, true},
    {"LSTM", lstm_cell, true},
    {"SimpleRNN", simple_rnn_cell, false},
};

// ±clip of the pre-activations; infinity where the key is missing.
float read_clip(json::Reader& spec) {
  if (spec.find("clip") == nullptr) return std::numeric_limits<float>::infinity();
  const double clip = spec.number("clip");
  if (!(clip >= std::numeric_limits<float>::min() && clip <= std::numeric_limits<float>::max()))
    spec.refuse("clip", "a float32 number above 0");
  return static_cast<float>(clip);
}

}  // namespace

RecurrentSettings read_recurrent(json::Reader& spec, const std::string& type) {
  const auto* found = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const RecurrentType& t) { return type == t.type; });
  if (found == std::end(kTypes)) {
    std::vector<std::string_view> names;
    for (const RecurrentType& t : kTypes) names.emplace_back(t.type);
    spec.fail("%", {unknown_name("recurrent layer type", type, names)});
  }
  RecurrentSettings s;
  s.units = spec.positive_integer("units");
  s.activations.candidate = read_activation(spec, "activation", "tanh", false).function;
  s.activations.output = s.activations.candidate;
  s.activations.clip = read_clip(spec);
  s.activations.gate.kind = ActivationKind::sigmoid;
  if (found->gated) s.activations.gate = read_activation(spec, "recurrent_activation", "sigmoid", false).function;
  const char* const cell = found->cell(spec);
  s.cell = recurrent::find_cell(cell);
  if (s.cell == nullptr)
    spec.fail("it needs the cell '%', which this rekur was built without (REKUR_CELLS: %)", {cell, REKUR_CELLS});
  if (s.cell->states > 1 && spec.find("output_activation") != nullptr)
    s.activations.output = read_activation(spec, "output_activation", nullptr, false).function;
  s.use_bias = spec.boolean("use_bias", true);
  s.return_sequences = spec.boolean("return_sequences", false);
  s.return_state = spec.boolean("return_state", false);
  s.reverse = spec.boolean("reverse", false);
  s.kernel_initializer = read_initializer(spec, "kernel_initializer", "glorot_uniform");
  s.recurrent_initializer = read_initializer(spec, "recurrent_initializer", "orthogonal");
  s.bias_initializer = read_initializer(spec, "bias_initializer", s.cell->forget_gate >= 0 ? "unit_forget" : "zeros");
  if (s.cell->peepholes > 0) s.peephole_initializer = read_initializer(spec, "peephole_initializer", "zeros");
  return s;
}

void add_recurrent_parameters(std::vector<ParamSpec>& specs, const RecurrentSettings& s, Index input_size, const char* prefix) {
  const Index H = s.units, GH = s.cell->gates * H;
  add_parameter(specs, prefix, "kernel", {input_size, GH}, s.kernel_initializer, H);
  add_parameter(specs, prefix, "recurrent_kernel", {H, GH}, s.recurrent_initializer, H);
  if (s.use_bias && s.cell->recurrent_bias)
    add_parameter(specs, prefix, "bias", {2, GH}, s.bias_initializer, H);
  else if (s.use_bias)
    add_parameter(specs, prefix, "bias", {GH}, s.bias_initializer, H);
  if (s.use_bias && s.cell->forget_gate >= 0) specs.back().forget = s.cell->kernel_block[s.cell->forget_gate] * H;
  if (s.cell->peepholes > 0) add_parameter(specs, prefix, "peephole", {s.cell->peepholes, H}, s.peephole_initializer, H);
}

}  // namespace rekur::layers
