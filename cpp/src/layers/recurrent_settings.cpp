#include "layers/recurrent_settings.hpp"

#include <algorithm>

#include "io/suggest.hpp"
#include "layers/activation_spec.hpp"
#include "recurrent/recurrent.hpp"

namespace rekur::layers {
namespace {

// The layer types that are a cell in the time loop, as data.
struct RecurrentType {
  const char* type;
  const char* cell;
  const char* reset_before;  // the cell for "reset_after": false; null where there is no such key
  bool gated;                // has "recurrent_activation"
  const char* bias_initializer;
};

constexpr RecurrentType kTypes[] = {
    {"GRU", "gru", "gru_reset_before", true, "zeros"},
    {"LSTM", "lstm", nullptr, true, "unit_forget"},
    {"SimpleRNN", "simple_rnn", nullptr, false, "zeros"},
};

}  // namespace

RecurrentSettings read_recurrent(json::Reader& spec, const std::string& type) {
  const auto* found = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const RecurrentType& t) { return type == t.type; });
  if (found == std::end(kTypes)) {
    std::vector<std::string> names;
    for (const RecurrentType& t : kTypes) names.emplace_back(t.type);
    spec.fail(unknown_name("recurrent layer type", type, names));
  }
  RecurrentSettings s;
  s.units = spec.positive_integer("units");
  s.activations.candidate = read_activation(spec, "activation", "tanh", false).function;
  s.activations.output = s.activations.candidate;
  s.activations.gate.kind = ActivationKind::sigmoid;
  if (found->gated) s.activations.gate = read_activation(spec, "recurrent_activation", "sigmoid", false).function;
  const bool reset_before = found->reset_before != nullptr && !spec.boolean("reset_after", true);
  s.cell = recurrent::find_cell(reset_before ? found->reset_before : found->cell);
  if (s.cell == nullptr) spec.fail("this build has no cell for it");
  s.use_bias = spec.boolean("use_bias", true);
  s.return_sequences = spec.boolean("return_sequences", false);
  s.return_state = spec.boolean("return_state", false);
  s.reverse = spec.boolean("reverse", false);
  s.kernel_initializer = read_initializer(spec, "kernel_initializer", "glorot_uniform");
  s.recurrent_initializer = read_initializer(spec, "recurrent_initializer", "orthogonal");
  s.bias_initializer = read_initializer(spec, "bias_initializer", found->bias_initializer);
  return s;
}

std::vector<ParamSpec> recurrent_parameters(const RecurrentSettings& s, Index input_size, const std::string& prefix) {
  const Index GH = s.cell->gates * s.units;
  std::vector<ParamSpec> specs{
      {prefix + "kernel", {input_size, GH}, s.kernel_initializer, s.units},
      {prefix + "recurrent_kernel", {s.units, GH}, s.recurrent_initializer, s.units},
  };
  if (s.use_bias) {
    specs.push_back({prefix + "bias", s.cell->recurrent_bias ? Shape{2, GH} : Shape{GH}, s.bias_initializer, s.units});
  }
  return specs;
}

}  // namespace rekur::layers
