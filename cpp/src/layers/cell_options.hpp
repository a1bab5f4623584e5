// Options of every cell: what acts inside a step, whatever the cell's equations are (docs/spec.md).
#pragma once

#include <string>
#include <vector>

#include "io/json.hpp"

namespace rekur::layers {

struct CellOptions {
  // Rates of what is dropped in training: of x, and of what the recurrent products multiply; masks are drawn once a sequence.
  float dropout = 0, recurrent_dropout = 0;
  std::vector<float> zoneout;     // by state, the rate of units that keep what they were; empty: none do
  std::vector<float> state_clip;  // by state, the bound of its new values; empty: none has one
  bool normalize_sums = false, normalize_state = false;
  float epsilon = 0;  // of those
  std::string gamma_initializer, beta_initializer;

  bool normalizes() const { return normalize_sums || normalize_state; }
};

// Reads the keys; `states`: the names of the cell's states.
CellOptions read_cell_options(json::Reader& spec, const std::vector<std::string>& states);

// Reads a rate of dropping: a number of at least 0 whose float32 is below 1; 0 where the key is missing.
float read_rate(json::Reader& spec, const char* key);

}  // namespace rekur::layers
