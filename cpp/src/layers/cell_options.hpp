// Options of every cell: what acts inside a step, whatever the cell's equations are (docs/architecture.md, "The spec").
#pragma once

#include <string>
#include <vector>

#include "io/json.hpp"

namespace rekur::layers {

struct CellOptions {
  // Rates of what is dropped in training: of x, and of what the recurrent products multiply; masks are drawn once a sequence.
  float dropout = 0, recurrent_dropout = 0;
};

// Reads the keys; `states`: the names of the cell's states.
CellOptions read_cell_options(json::Reader& spec, const std::vector<std::string>& states);

// Reads a rate of dropping: a number of at least 0 whose float32 is below 1; 0 where the key is missing.
float read_rate(json::Reader& spec, const char* key);

}  // namespace rekur::layers
