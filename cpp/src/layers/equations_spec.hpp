// How a spec writes equations:
//
//   {"inputs": ["x"], "nodes": [["sigmoid", 0], ["multiply", 0, 1]], "outputs": [2]}                       y = x σ(x)
//
// Values are counted from the inputs on: here 0 is x, 1 its sigmoid, 2 the product. A node is [operation, value, …], ["constant",
// number], or, for an activation with parameters, [{"name": "leaky_relu", "alpha": 0.1}, value].
#pragma once

#include <string_view>
#include <vector>

#include "equations/equations.hpp"
#include "io/json.hpp"

namespace rekur::layers {

// Reads the object under `key`; throws Error, with the reader's context, for anything that the lines above do not say.
equations::Equations read_equations(json::Reader& reader, const char* key);

// The operations that are no activations, in alphabetical order.
std::vector<std::string_view> operation_names();

}  // namespace rekur::layers
