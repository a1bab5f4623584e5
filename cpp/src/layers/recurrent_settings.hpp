// What a spec says about a recurrent layer, whatever its cell.
#pragma once

#include <string>

#include "io/json.hpp"
#include "layers/layer.hpp"
#include "rekur/detail/cells/cell_info.hpp"

namespace rekur::layers {

struct RecurrentSettings {
  const cells::CellInfo* cell = nullptr;
  Index units = 0;
  cells::Activations activations;
  bool use_bias = true, return_sequences = false, return_state = false, reverse = false;
  std::string kernel_initializer, recurrent_initializer, bias_initializer, peephole_initializer;
};

// Reads all keys of a recurrent layer of this type ("LSTM") but "type", "name" and "inputs".
RecurrentSettings read_recurrent(json::Reader& spec, const std::string& type);

// Adds the parameters of one direction, in order; their names begin with `prefix`.
void add_recurrent_parameters(std::vector<ParamSpec>& specs, const RecurrentSettings& settings, Index input_size,
                              const char* prefix);

}  // namespace rekur::layers
