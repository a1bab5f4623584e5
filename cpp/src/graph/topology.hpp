// The graph as a data structure: calls of layers in topological order, the tensors between them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "graph/time_axes.hpp"
#include "layers/layer.hpp"
#include "rekur/model.hpp"

namespace rekur::graph {

// A call of a layer. Calls of one layer have the same weights; those on inputs of the same features also the same object.
struct Node {
  std::shared_ptr<layers::Layer> layer;
  std::string name;         // of its outputs: the layer's, or where it is called more than once one of the call's own
  int owner = 0;            // which of the spec's layers
  bool again = false;       // an earlier node is a call of the same layer
  bool last = false;        // no later node is
  std::vector<int> inputs;  // tensors
  int first_output = 0;     // its outputs are the tensors [first_output, first_output + output_count)
  int output_count = 0;
  int store = 0;                             // of the graph's, that its weights stand in
  Index weights_at = 0;                      // there
  Index weights_begin = 0, weights_end = 0;  // in a flat buffer of the graph's parameters
  bool used = false;                         // some model output depends on it, or a penalty; others are not run
  bool for_penalty = false;                  // no output does: only runs that want penalties run it
  bool source = false;                       // an Input
  int axis = -1;                             // the time axis that its inputs have in common (Layer::joins_time)

  Index weights_size() const { return weights_end - weights_begin; }
};

struct Topology {
  std::vector<Node> nodes;
  std::vector<std::string> owners;          // names of the spec's layers
  std::vector<layers::TensorSpec> tensors;  // with unknown dimensions
  std::vector<int> producer;                // tensor -> node
  std::vector<int> readers;                 // tensor -> how often a used node reads it or the outputs list it
  std::vector<int> inputs, outputs;         // tensors, in the model's order
  std::vector<int> input_of;                // tensor -> which model input it is, or -1
  TimeAxes axes;                            // the first ones: those of the inputs
  Signal signal;

  bool is_output(int tensor) const;
};

inline bool is_latency(Index samples) { return samples >= 0 && samples <= 0x7fffffff; }

// Of a spec. Throws Error naming the layer at fault.
Topology read_topology(const std::string& spec_json);

// "lstm" or "lstm:1".
std::string tensor_name(const Topology& topology, int tensor);

}  // namespace rekur::graph
