// One layer's call: collects the pointers that its Context shows.
#pragma once

#include <vector>

#include "graph/plan.hpp"

namespace rekur::graph {

// Reused from layer to layer, so that a run allocates next to nothing.
struct Call {
  std::vector<const void*> inputs;
  std::vector<float*> outputs, d_outputs, d_inputs;
  layers::Context context;

  // Shapes and values of node i. The values of outputs lie in the arena or in the caller's views: they may be written.
  void point(std::size_t i, const Node& node, const Plan& plan, const std::vector<const void*>& values, const RunSteps& steps) {
    inputs.clear();
    outputs.clear();
    for (const int tensor : node.inputs) inputs.push_back(values[static_cast<std::size_t>(tensor)]);
    for (int k = 0; k < node.output_count; ++k) {
      const void* value = values[static_cast<std::size_t>(node.first_output + k)];
      outputs.push_back(static_cast<float*>(const_cast<void*>(value)));
    }
    context = {};
    context.input_specs = plan.inputs[i];
    context.output_specs =
        std::span(plan.tensors).subspan(static_cast<std::size_t>(node.first_output), static_cast<std::size_t>(node.output_count));
    context.inputs = inputs;
    context.outputs = outputs;
    context.remat = plan.remat;
    if (!steps.any()) return;
    context.axes = steps.all();
    context.common_axis = node.axis;
    context.lengths = context.steps().lengths;
  }
};

}  // namespace rekur::graph
