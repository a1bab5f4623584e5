// The layer types there are, and how a layer is made from its JSON object.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/json.hpp"
#include "layers/layer.hpp"

namespace rekur::layers {

// Reads the layer's own keys ("type", "name" and "inputs" are the registry's) and makes it. Inputs are not known yet.
using Factory = std::unique_ptr<Layer> (*)(json::Reader& spec, const std::string& type, const std::string& name);

std::unique_ptr<Layer> make_input(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_recurrent(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_bidirectional(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_dense(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_activation(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_dropout(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_embedding(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_flip(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_concatenate(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_add(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_multiply(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_subtract(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_divide(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_affine(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_rescaling(json::Reader&, const std::string& type, const std::string& name);
#if REKUR_EQUATIONS
std::unique_ptr<Layer> make_lambda(json::Reader&, const std::string& type, const std::string& name);
#endif
#if REKUR_MATRIX
std::unique_ptr<Layer> make_gated_linear_attention(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_mlstm(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_selective_ssm(json::Reader&, const std::string& type, const std::string& name);
#endif
#if REKUR_SEQUENCE  // cpp/src/sequence/
std::unique_ptr<Layer> make_attention(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_additive_attention(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_multi_head_attention(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_group_query_attention(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_position_embedding(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_sine_position_encoding(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_rotary_embedding(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_fold_time(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_masking(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_unfold_time(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_add_loss(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_activity_regularization(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_batch_normalization(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_broadcast(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_crf(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_dot(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_noise(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_parameter(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_prelu(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_average_pooling(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_conv1d(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_conv1d_transpose(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_conv_lstm(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_cropping(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_depthwise_conv1d(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_flatten(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_global_average_pooling(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_global_max_pooling(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_loop(json::Reader&, const std::string& type, const std::string& name);  // graph/loop.cpp
std::unique_ptr<Layer> make_max_pooling(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_permute(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_repeat_vector(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_reshape(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_up_sampling(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_padding(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_zero_padding(json::Reader&, const std::string& type, const std::string& name);
#endif
std::unique_ptr<Layer> make_layer_normalization(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_step(json::Reader&, const std::string& type, const std::string& name);
std::unique_ptr<Layer> make_slice(json::Reader&, const std::string& type, const std::string& name);

// Sorted.
std::vector<std::string> type_names();

// Of a layer or a call: 1 to 255 letters, digits, '_', '.' or '-'.
bool is_name(const std::string& text);

// A layer object of a spec, and the references in its "inputs" ("layer" or "layer:k"; empty when the key is missing).
struct Parsed {
  std::unique_ptr<Layer> layer;
  std::vector<std::string> references;
};

// `position` counts from 0; it names the layer in errors until its own name is known.
Parsed parse_layer(const json::Value& value, std::size_t position);

}  // namespace rekur::layers
