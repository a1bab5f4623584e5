// How a spec writes a cell of one's own: the key "cell" of an RNN layer (docs/spec.md).
#pragma once

#include "io/json.hpp"
#include "layers/recurrent_settings.hpp"

namespace rekur::layers {

// Reads "cell" into the settings; fails where this rekur was built without equations.
void read_cell(json::Reader& spec, RecurrentSettings& settings);

}  // namespace rekur::layers
