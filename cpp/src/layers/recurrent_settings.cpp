#include "layers/recurrent_settings.hpp"

#include "layers/cell_matrices.hpp"

#include <algorithm>
#include <limits>

#include "io/suggest.hpp"
#include "isa/int8.hpp"
#include "layers/activation_spec.hpp"
#include "layers/cell_spec.hpp"
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

constexpr RecurrentType kRecurrentTypes[] = {
    {"GRU", gru_cell, true},
    {"LSTM", lstm_cell, true},
    {"SimpleRNN", simple_rnn_cell, false},
};
constexpr const char* kProgramType = "RNN";

// ±clip of the pre-activations; infinity where the key is missing.
float read_clip(json::Reader& spec) {
  if (spec.find("clip") == nullptr) return std::numeric_limits<float>::infinity();
  const double clip = spec.number("clip");
  if (!(clip >= std::numeric_limits<float>::min() && clip <= std::numeric_limits<float>::max()))
    spec.refuse("clip", "a float32 number above 0");
  return static_cast<float>(clip);
}

// What the layers with a compiled cell have of their own.
void read_compiled(json::Reader& spec, const RecurrentType& type, RecurrentSettings& s) {
  s.activations.candidate = read_activation(spec, "activation", "tanh", false).function;
  s.activations.output = s.activations.candidate;
  s.activations.clip = read_clip(spec);
  s.activations.gate.kind = ActivationKind::sigmoid;
  if (type.gated) s.activations.gate = read_activation(spec, "recurrent_activation", "sigmoid", false).function;
  const char* const cell = type.cell(spec);
  s.cell = recurrent::find_cell(cell);
  if (s.cell == nullptr)
    spec.fail("it needs the cell '%', which this rekur was built without (REKUR_CELLS: %)", {cell, REKUR_CELLS});
  if (s.cell->states > 1 && spec.find("output_activation") != nullptr)
    s.activations.output = read_activation(spec, "output_activation", nullptr, false).function;
  s.states = {"h"};
  if (s.cell->states > 1) s.states.emplace_back("c");
  s.output_reads = s.cell->states - 1 > 0 ? 1 : -1;
  s.kernel_blocks = s.recurrent_blocks = s.cell->gates;
  s.recurrent_bias = s.bias_rows = s.cell->recurrent_bias;
  if (s.cell->forget_gate >= 0) s.forget_block = s.cell->kernel_block[s.cell->forget_gate];
  if (s.cell->peepholes > 0)
    s.unit_weights.push_back({"peephole", read_initializer(spec, "peephole_initializer", "zeros"), s.cell->peepholes});
}

void read_projection(json::Reader& spec, RecurrentSettings& s) {
  if (spec.find("projection_size") == nullptr) return;
  s.projection_size = spec.positive_integer("projection_size");
  if (s.projection_size >= s.units)
    spec.fail("'projection_size' must be less than units, which are %, got %", {s.units, s.projection_size});
  if (s.options.recurrent_dropout > 0 || (!s.options.zoneout.empty() && s.options.zoneout[0] > 0))
    spec.fail("projection_size: % '%' unit by unit, so that it cannot be a projection to another width",
              {s.options.recurrent_dropout > 0 ? "the masks of recurrent_dropout read" : "zoneout reads", s.states[0]});
  if (assembles_kernel(s)) spec.fail("projection_size: its cell has matrices of its own, or heads, which see h alone");
  s.projection_initializer = read_initializer(spec, "projection_initializer", "glorot_uniform");
  for (const UnitWeights& weights : s.unit_weights)
    if (weights.name == "projection_kernel") spec.fail("projection_size: its cell has a weight '%' already", {weights.name});
#if !REKUR_EQUATIONS
  spec.fail("projection_size needs equations, without which this rekur was built (REKUR_EQUATIONS)", {});
#endif
}

// The options that act around the step, of any cell.
void read_options(json::Reader& spec, RecurrentSettings& s) {
  s.residual = spec.boolean("residual", false);
  s.recurrent_weight_dropout = read_rate(spec, "recurrent_weight_dropout");
  if (s.recurrent_weight_dropout > 0 && s.recurrent_blocks == 0)
    spec.fail("recurrent_weight_dropout: its cell has no recurrent kernel that could be masked", {});
  read_projection(spec, s);
  if (s.recurrent_weight_dropout > 0 && assembles_kernel(s))
    spec.fail("recurrent_weight_dropout: its cell has matrices of its own, or heads, which are not masked", {});
  s.learn_initial_state = spec.boolean("learn_initial_state", false);
  for (const UnitWeights& weights : s.unit_weights)
    for (const std::string& state : s.states)
      if (s.learn_initial_state && weights.name == compose("initial_%", {state}))
        spec.fail("learn_initial_state: its cell has a weight named '%' already", {weights.name});
  for (const CellMatrix& matrix : s.matrices)
    for (const std::string& state : s.states)
      if (s.learn_initial_state && matrix.name == compose("initial_%", {state}))
        spec.fail("learn_initial_state: its cell has a matrix named '%' already", {matrix.name});
}

#if REKUR_EQUATIONS
// The parameters of normalised sums and states; and whether there is what the options ask for.
void add_gains(const json::Reader& spec, RecurrentSettings& s) {
  const CellOptions& o = s.options;
  if (o.recurrent_dropout > 0 && s.recurrent_blocks == 0) spec.fail("recurrent_dropout: its cell has no recurrent product", {});
  if (o.normalize_sums && s.kernel_blocks + s.recurrent_blocks == 0)
    spec.fail("layer_normalization: its cell has no product whose sums could be normalised", {});
  const auto add = [&](const char* name, const std::string& initializer, Index rows, bool flat) {
    for (const UnitWeights& own : s.unit_weights)
      if (own.name == name) spec.fail("layer_normalization: its cell has a weight '%' of its own", {name});
    for (const CellMatrix& own : s.matrices)
      if (own.name == name) spec.fail("layer_normalization: its cell has a matrix '%' of its own", {name});
    s.unit_weights.push_back({name, initializer, rows, flat});
  };
  if (o.normalize_sums && s.kernel_blocks > 0) add("kernel_gamma", o.gamma_initializer, s.kernel_blocks, true);
  if (o.normalize_sums && s.recurrent_blocks > 0) add("recurrent_gamma", o.gamma_initializer, s.recurrent_blocks, true);
  if (o.normalize_state) {
    add("state_gamma", o.gamma_initializer, 0, false);
    add("state_beta", o.beta_initializer, 0, false);
  }
}
#endif

}  // namespace

RecurrentSettings read_recurrent(json::Reader& spec, const std::string& type) {
  const auto* found =
      std::find_if(std::begin(kRecurrentTypes), std::end(kRecurrentTypes), [&](const RecurrentType& t) { return type == t.type; });
  const bool program = type == kProgramType;
  if (found == std::end(kRecurrentTypes) && !program) {
    std::vector<std::string_view> names{kProgramType};
    for (const RecurrentType& t : kRecurrentTypes) names.emplace_back(t.type);
    spec.fail("%", {unknown_name("recurrent layer type", type, names)});
  }
  RecurrentSettings s;
  s.units = spec.positive_integer("units");
  if (program)
    read_cell(spec, s);
  else
    read_compiled(spec, *found, s);
  s.options = read_cell_options(spec, s.states);
#if REKUR_EQUATIONS
  add_gains(spec, s);
#endif
  s.use_bias = spec.boolean("use_bias", true);
  s.return_sequences = spec.boolean("return_sequences", false);
  s.zero_output_for_mask = spec.boolean("zero_output_for_mask", false);
  s.return_state = spec.boolean("return_state", false);
  const std::optional<Precision> precision = read_precision(spec);
  s.said_precision = precision.has_value();
  s.precision = precision.value_or(Precision::float32);
  s.reverse = spec.boolean("reverse", false);
  s.kernel_initializer = read_initializer(spec, "kernel_initializer", "glorot_uniform");
  s.recurrent_initializer = read_initializer(spec, "recurrent_initializer", "orthogonal");
  s.bias_initializer = read_initializer(spec, "bias_initializer", s.forget_block >= 0 ? "unit_forget" : "zeros");
  read_options(spec, s);
  return s;
}

#if REKUR_INT8
namespace {

// Whether the engine's product that reads a matrix is of eight bits (recurrent/packing.cpp). A kernel that is put together of
// others has their columns, so its scales are theirs.
bool reads_int8(const RecurrentSettings& s, std::string_view name, Index input_size) {
  if (name.ends_with("projection_kernel")) return isa::takes_int8(s.units, s.projection_size);
  if (name.ends_with("recurrent_kernel") || !name.ends_with("kernel"))
    return isa::takes_int8(s.state_width(0), s.recurrent_blocks * s.units);
  return isa::takes_int8(input_size, s.kernel_blocks * s.units);
}

}  // namespace
#endif

void add_recurrent_parameters(std::vector<ParamSpec>& specs, const RecurrentSettings& s, Index input_size, const char* prefix,
                              std::size_t given) {
  const Index H = s.units, XH = s.kernel_blocks * H, RH = s.recurrent_blocks * H;
  const std::size_t first = specs.size();
  if (XH > 0) add_parameter(specs, prefix, "kernel", {input_size, XH}, s.kernel_initializer, H);
  if (own_kernel_columns(s) > 0) {  // the size itself may be too large to be told
    const Index rows = s.heads > 1 ? H / s.heads : s.state_width(0);
    add_parameter(specs, prefix, "recurrent_kernel", {rows, own_kernel_columns(s)}, s.recurrent_initializer, H);
  }
  if (s.use_bias && s.bias_rows)
    add_parameter(specs, prefix, "bias", {2, XH}, s.bias_initializer, H);
  else if (s.use_bias && XH > 0)
    add_parameter(specs, prefix, "bias", {XH}, s.bias_initializer, H);
  if (s.use_bias && s.forget_block >= 0) specs.back().forget = s.forget_block * H;
  if (s.use_bias && s.recurrent_bias && !s.bias_rows) add_parameter(specs, prefix, "recurrent_bias", {RH}, "\"zeros\"", H);
  for (const UnitWeights& weights : s.unit_weights) {
    add_parameter(specs, prefix, weights.name.c_str(), {H}, weights.initializer, H);
    specs.back().matrix = false;  // whatever its name
    if (weights.flat)
      specs.back().shape[0] *= weights.rows;
    else if (weights.rows > 0)
      specs.back().shape.insert(specs.back().shape.begin(), weights.rows);
  }
  if (s.projection_size > 0) add_parameter(specs, prefix, "projection_kernel", {H, s.projection_size}, s.projection_initializer, H);
  for (const CellMatrix& matrix : s.matrices) {
    add_parameter(specs, prefix, matrix.name.c_str(), {H, H}, matrix.initializer, H);
    specs.back().matrix = true;
  }
#if REKUR_INT8
  if (s.precision == Precision::int8)
    for (std::size_t k = first; k < specs.size(); ++k) specs[k].int8 = specs[k].matrix && reads_int8(s, specs[k].name, input_size);
#endif
  for (const std::string& name : s.fixed)
    for (std::size_t k = first; k < specs.size(); ++k)
      if (specs[k].name == compose("%%", {prefix, name})) specs[k].trainable = false;
  for (std::size_t k = given; s.learn_initial_state && k < s.states.size(); ++k)
    add_parameter(specs, prefix, compose("initial_%", {s.states[k]}).c_str(), {s.state_width(k)}, "\"zeros\"", H);
}

}  // namespace rekur::layers
