#include "layers/registry.hpp"

#include <algorithm>

#include "io/suggest.hpp"

namespace rekur::layers {
namespace {

struct Type {
  const char* name;
  Factory make;
};

#if !REKUR_EQUATIONS
std::unique_ptr<Layer> make_lambda(json::Reader& spec, const std::string&, const std::string&) {
  spec.fail("this rekur was built without equations (REKUR_EQUATIONS=OFF)");
}
#endif

#if !REKUR_MATRIX
std::unique_ptr<Layer> make_gated_linear_attention(json::Reader& spec, const std::string&, const std::string&) {
  spec.fail("this rekur was built without layers whose state is a matrix (REKUR_MATRIX=OFF)");
}
constexpr Factory make_mlstm = make_gated_linear_attention, make_selective_ssm = make_gated_linear_attention;
#endif

#if !REKUR_SEQUENCE
std::unique_ptr<Layer> refuse_sequence(json::Reader& spec, const std::string&, const std::string&) {
  spec.fail("this rekur was built without layers around recurrence (REKUR_SEQUENCE=OFF)");
}
constexpr Factory make_flip = refuse_sequence, make_masking = refuse_sequence, make_fold_time = refuse_sequence,
                  make_unfold_time = refuse_sequence, make_attention = refuse_sequence, make_additive_attention = refuse_sequence,
                  make_multi_head_attention = refuse_sequence, make_group_query_attention = refuse_sequence,
                  make_activity_regularization = refuse_sequence, make_add_loss = refuse_sequence,
                  make_batch_normalization = refuse_sequence, make_dot = refuse_sequence, make_noise = refuse_sequence,
                  make_parameter = refuse_sequence, make_prelu = refuse_sequence, make_position_embedding = refuse_sequence,
                  make_sine_position_encoding = refuse_sequence, make_rotary_embedding = refuse_sequence;
constexpr Factory make_average_pooling = refuse_sequence, make_conv_lstm = refuse_sequence, make_conv1d = refuse_sequence,
                  make_conv1d_transpose = refuse_sequence, make_cropping = refuse_sequence, make_depthwise_conv1d = refuse_sequence,
                  make_flatten = refuse_sequence, make_global_average_pooling = refuse_sequence,
                  make_global_max_pooling = refuse_sequence, make_max_pooling = refuse_sequence, make_permute = refuse_sequence,
                  make_repeat_vector = refuse_sequence, make_reshape = refuse_sequence, make_broadcast = refuse_sequence,
                  make_up_sampling = refuse_sequence, make_padding = refuse_sequence, make_zero_padding = refuse_sequence,
                  make_crf = refuse_sequence, make_loop = refuse_sequence;
#endif

constexpr Type kTypes[] = {
    {"Activation", make_activation},
    {"ActivityRegularization", make_activity_regularization},
    {"Add", make_add},
    {"AddLoss", make_add_loss},
    {"AdditiveAttention", make_additive_attention},
    {"Affine", make_affine},
    {"AlphaDropout", make_noise},
    {"Attention", make_attention},
    {"AveragePooling1D", make_average_pooling},
    {"BatchNormalization", make_batch_normalization},
    {"Bidirectional", make_bidirectional},
    {"Broadcast", make_broadcast},
    {"CRF", make_crf},
    {"Concatenate", make_concatenate},
    {"Conv1D", make_conv1d},
    {"Conv1DTranspose", make_conv1d_transpose},
    {"ConvLSTM1D", make_conv_lstm},
    {"ConvLSTM2D", make_conv_lstm},
    {"Cropping1D", make_cropping},
    {"Dense", make_dense},
    {"DepthwiseConv1D", make_depthwise_conv1d},
    {"Divide", make_divide},
    {"Dot", make_dot},
    {"Dropout", make_dropout},
    {"Embedding", make_embedding},
    {"Flatten", make_flatten},
    {"Flip", make_flip},
    {"FoldTime", make_fold_time},
    {"GRU", make_recurrent},
    {"GatedLinearAttention", make_gated_linear_attention},
    {"GaussianDropout", make_noise},
    {"GaussianNoise", make_noise},
    {"GlobalAveragePooling1D", make_global_average_pooling},
    {"GlobalMaxPooling1D", make_global_max_pooling},
    {"GroupQueryAttention", make_group_query_attention},
    {"Input", make_input},
    {"LSTM", make_recurrent},
    {"Lambda", make_lambda},
    {"LayerNormalization", make_layer_normalization},
    {"Loop", make_loop},
    {"MLSTM", make_mlstm},
    {"Masking", make_masking},
    {"MaxPooling1D", make_max_pooling},
    {"MultiHeadAttention", make_multi_head_attention},
    {"Multiply", make_multiply},
    {"PReLU", make_prelu},
    {"Padding1D", make_padding},
    {"Parameter", make_parameter},
    {"Permute", make_permute},
    {"PositionEmbedding", make_position_embedding},
    {"RNN", make_recurrent},
    {"RepeatVector", make_repeat_vector},
    {"Rescaling", make_rescaling},
    {"Reshape", make_reshape},
    {"RotaryEmbedding", make_rotary_embedding},
    {"SelectiveSSM", make_selective_ssm},
    {"SimpleRNN", make_recurrent},
    {"SinePositionEncoding", make_sine_position_encoding},
    {"Slice", make_slice},
    {"SpatialDropout1D", make_noise},
    {"Step", make_step},
    {"Subtract", make_subtract},
    {"UnfoldTime", make_unfold_time},
    {"UpSampling1D", make_up_sampling},
    {"ZeroPadding1D", make_zero_padding},
};

std::vector<std::string> read_references(json::Reader& reader) {
  std::vector<std::string> references;
  const json::Value* inputs = reader.find("inputs");
  if (inputs == nullptr) return references;
  if (!inputs->is_array()) reader.refuse("inputs", "an array of layer names");
  for (const json::Value& reference : inputs->array()) {
    if (!reference.is_string()) reader.refuse("inputs", "an array of layer names");
    references.push_back(reference.string());
  }
  return references;
}

#if REKUR_TRAINING
// {"kernel": {"name": "l2", …}, …}: what each says is read by whoever acts on it.
std::vector<ParamRule> read_rules(json::Reader& reader, const char* key) {
  std::vector<ParamRule> rules;
  if (reader.find(key) == nullptr) return rules;
  for (const json::Member& member : reader.object(key)) {
    if (!member.value.is_object()) reader.refuse(key, "an object of objects by parameter");
    rules.push_back({std::string(member.key), json::write(member.value)});
  }
  return rules;
}
#endif

}  // namespace

bool is_name(const std::string& text) {
  return !text.empty() && text.size() <= 255 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
  });
}

std::vector<std::string> type_names() {
  std::vector<std::string> names;
  for (const Type& type : kTypes) names.emplace_back(type.name);
  return names;
}

Parsed parse_layer(const json::Value& value, std::size_t position) {
  json::Reader anonymous(value, compose("layer %", {position}));
  const std::string type = anonymous.string("type");
  const auto* found = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const Type& t) { return type == t.name; });
  if (found == std::end(kTypes)) anonymous.fail("%", {unknown_name("layer type", type, type_names())});
  const std::string name = anonymous.string("name");
  if (!is_name(name)) anonymous.refuse("name", "1 to 255 letters, digits, '_', '.' or '-'");

  json::Reader reader(value, compose("% '%'", {type, name}));
  reader.find("type");
  reader.find("name");
  Parsed parsed;
  parsed.references = read_references(reader);
  parsed.layer = found->make(reader, type, name);
#if REKUR_TRAINING
  std::vector<ParamRule> regularizers = read_rules(reader, "regularizers"), constraints = read_rules(reader, "constraints");
  parsed.layer->set_rules(std::move(regularizers), std::move(constraints));
#else  // only training goes by them
  reader.find("regularizers");
  reader.find("constraints");
#endif
  reader.finish();
  return parsed;
}

}  // namespace rekur::layers
