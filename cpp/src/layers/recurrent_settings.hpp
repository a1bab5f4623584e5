// What a spec says about a recurrent layer, whatever its cell.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/json.hpp"
#include "layers/cell_options.hpp"
#include "layers/layer.hpp"
#include "recurrent/program.hpp"
#include "rekur/detail/cells/cell_info.hpp"

namespace rekur::layers {

// The weights a unit of a cell: rows of one parameter, or a parameter each.
struct UnitWeights {
  std::string name, initializer;
  Index rows;         // 0: a vector [units] by itself
  bool flat = false;  // [rows·units] instead of [rows, units]
};

// A matrix [units, units] of a cell's own, which recurrent products may share.
struct CellMatrix {
  std::string name, initializer;
};

struct RecurrentSettings {
  const cells::CellInfo* cell = nullptr;  // a compiled one, or
  std::shared_ptr<const recurrent::CellProgram> program;
  bool reads_x = false;  // the program's last input a step is x itself

  // Of either.
  std::vector<std::string> states;
  Index kernel_blocks = 0, recurrent_blocks = 0, forget_block = -1;
  bool recurrent_bias = false;
  bool bias_rows = false;  // both biases are rows of one parameter
  std::vector<UnitWeights> unit_weights;
  std::size_t step_inputs = 0;  // beside x
  std::vector<CellMatrix> matrices;
  std::vector<int> block_matrix;   // by recurrent block its matrix, -1: it is one of recurrent_kernel's; empty: all are
  Index heads = 1;                 // of recurrent_kernel, whose blocks are then diagonal in as many blocks
  std::vector<std::string> fixed;  // parameters that are not trained
  CellOptions options;
  int output_reads = -1;  // the state whose new value is normalised where the output reads it; -1: the output itself

  Index units = 0;
  cells::Activations activations;
  bool use_bias = true, return_sequences = false, return_state = false, reverse = false;
  Precision precision = Precision::float32;  // of its products
  bool said_precision = false;               // by the spec
  bool zero_output_for_mask = false;         // outputs at steps that a mask leaves out: zeros, not the one before
  std::string kernel_initializer, recurrent_initializer, bias_initializer;

  // Around the step.
  bool learn_initial_state = false;    // a state that none is given for begins as a parameter
  bool residual = false;               // the output is x + h
  float recurrent_weight_dropout = 0;  // rate, of the recurrent kernel's elements
  Index projection_size = 0;           // the first state is a projection to so many units; 0: it is none
  std::string projection_initializer;

  Index state_width(std::size_t state) const { return state == 0 && projection_size > 0 ? projection_size : units; }
};

// Reads all keys of a recurrent layer of this type ("LSTM") but "type", "name" and "inputs".
RecurrentSettings read_recurrent(json::Reader& spec, const std::string& type);

// Adds the parameters of one direction, in order; their names begin with `prefix`. given: initial states that are inputs.
void add_recurrent_parameters(std::vector<ParamSpec>& specs, const RecurrentSettings& settings, Index input_size,
                              const char* prefix, std::size_t given);

}  // namespace rekur::layers
