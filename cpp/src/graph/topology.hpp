// The graph as a data structure: nodes in topological order, the tensors between them.
#pragma once

#include <memory>
#include <vector>

#include "layers/layer.hpp"

namespace rekur::graph {

struct Node {
  std::unique_ptr<layers::Layer> layer;
  std::vector<int> inputs;  // tensors
  int first_output = 0;     // its outputs are the tensors [first_output, first_output + output_count)
  int output_count = 0;
  Index weights_begin = 0, weights_end = 0;  // in the flat buffer
  bool used = false;                         // some model output depends on it; others are not run
  bool source = false;                       // an Input
};

struct Topology {
  std::vector<Node> nodes;
  std::vector<layers::TensorSpec> tensors;  // with unknown dimensions
  std::vector<int> producer;                // tensor -> node
  std::vector<int> readers;                 // tensor -> how often a used node reads it or the outputs list it
  std::vector<int> inputs, outputs;         // tensors, in the model's order
  std::vector<int> input_of;                // tensor -> which model input it is, or -1

  bool is_output(int tensor) const;
};

}  // namespace rekur::graph
