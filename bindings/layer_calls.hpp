// A layer as a function of its weights: engines by spec, and what forward passes keep for backward passes that may never come.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "layer_calls.h"
#include "rekur/model.hpp"

namespace rekur::bindings {

struct LayerCall {
  std::string spec;
  std::vector<ConstView> weights;  // one after the other they are all the model has
  Batch batch;
};

std::vector<Shape> layer_output_shapes(const LayerCall& call);

// The outputs. token: two numbers by which layer_back finds what a training pass kept; null: inference.
void layer_run(const LayerCall& call, std::span<const View> outputs, std::uint32_t* token);

// Gradients of the weights, cut as they are, and of the inputs; null pointers are not wanted. What the token names is taken, once;
// where it is not there, the layer runs forward again, with the same bits.
void layer_back(const LayerCall& call, const std::uint32_t* token, std::span<const ConstView> output_gradients,
                std::span<float* const> weight_gradients, std::span<const View> input_gradients);

// Bytes that may be kept, of all layers together, and that are; setting them drops the engines that wait for a next call, whose
// bytes are idle_memory().
void set_tape_memory(std::uint64_t limit);
std::uint64_t tape_memory();
std::uint64_t idle_memory();

const rekur_layer_calls& layer_calls();

}  // namespace rekur::bindings
