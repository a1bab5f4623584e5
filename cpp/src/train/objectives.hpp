// What a training configuration says is minimised.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/json.hpp"
#include "train/losses.hpp"

namespace rekur::graph {
class Graph;
}

namespace rekur::train {

// What is minimised at one output of the model.
struct Objective {
  std::string output;
  std::optional<Loss> loss;
  double weight = 1;
  bool raw = false;  // the loss takes the place of the output's final activation
  Scores scores = Scores::values;
};

// One an output of the graph, in their order: "losses" and "loss_weights". Throws for a loss that does not fit its output.
std::vector<Objective> read_objectives(json::Reader& config, const graph::Graph& graph);

}  // namespace rekur::train
