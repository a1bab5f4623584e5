// RTNeural's files, and those of AIDA-X, which have gains and a skip connection besides. Arrays are as Keras has them.
#include <algorithm>
#include <cmath>

#include "import/chain.hpp"
#include "import/formats.hpp"
#include "import/values.hpp"

namespace rekur::foreign {
namespace {

constexpr double kLoudest = 400;    // decibels
constexpr Index kOneForAll = 4096;  // features to which one number of the file is given

// Features of [rows, steps, features].
Index features_of(const json::Value* shape, const std::string& what) {
  if (shape == nullptr || !shape->is_array() || shape->array().empty() || shape->array().size() > 3)
    throw_error("%: expected [rows, steps, features], got %", {what, shape == nullptr ? "none" : json::describe(*shape)});
  const Index features = count(&shape->array().back(), what);
  if (features > kWidest) throw_error("%: expected at most % features, got %", {what, kWidest, features});
  return features;
}

// Sizes along time may be arrays of one number.
Index size_of(const json::Object& entry, const char* key, const std::string& what) {
  const json::Value* value = find(entry, key);
  if (value != nullptr && value->is_array() && !value->array().empty()) value = &value->array().back();
  return count(value, compose("%: %", {what, key}));
}

double gain(const json::Object& file, const char* key) {
  const json::Value* const value = find(file, key);
  if (value == nullptr || !value->is_number()) return 1.0;
  if (!(std::abs(value->number()) <= kLoudest)) throw_error("%: expected decibels of at most 400 either way", {key});
  return std::pow(10.0, value->number() / 20);
}

std::string activation_of(const json::Object& entry, const std::string& what) {
  const json::Value* const value = find(entry, "activation");
  if (value == nullptr || (value->is_string() && value->string().empty())) return "linear";
  constexpr std::string_view kNames[] = {"tanh", "relu", "sigmoid", "softmax", "elu", "linear"};
  if (!value->is_string() || std::find(std::begin(kNames), std::end(kNames), value->string()) == std::end(kNames))
    throw_error("%: RTNeural has no activation %", {what, json::describe(*value)});
  return value->string();
}

// The arrays of a layer.
class Arrays {
 public:
  Arrays(const json::Object& entry, std::string what) : what_(std::move(what)) {
    const json::Value* const value = entry.find("weights");
    if (value == nullptr) return;
    if (!value->is_array()) throw_error("%: weights: expected an array, got %", {what_, json::describe(*value)});
    array_ = &value->array();
  }

  std::size_t size() const { return array_ == nullptr ? 0 : array_->size(); }
  void expect(std::size_t least, std::size_t most) const {
    if (size() < least || size() > most) throw_error("%: expected % arrays, got %", {what_, most, size()});
  }
  const json::Value& operator[](std::size_t k) const { return (*array_)[k]; }
  Floats take(std::size_t k, const Shape& shape) const { return numbers(&(*array_)[k], shape, compose("%: array %", {what_, k})); }

 private:
  std::string what_;
  const json::Array* array_ = nullptr;
};

// How many numbers there are in arrays within arrays.
std::size_t size_of(const json::Value& value) {
  if (!value.is_array()) return 1;
  std::size_t size = 0;
  for (const json::Value& element : value.array()) size += size_of(element);
  return size;
}

Sequence convolution(Builder& builder, const Sequence& x, const json::Object& entry, const Arrays& arrays, Index outputs,
                     const std::string& what) {
  const Index taps = size_of(entry, "kernel_size", what), dilation = size_of(entry, "dilation", what);
  const Index groups = count(entry, "groups", what, 1);
  if (x.features % groups != 0 || outputs % groups != 0)
    throw_error("%: % groups do not divide % features and %", {what, groups, x.features, outputs});
  arrays.expect(2, 2);
  const Index inner = x.features / groups;
  const Floats kernel = arrays.take(0, {taps, inner, outputs});
  Product product{x.features, outputs, taps, groups, Floats(kernel.size()), arrays.take(1, {outputs})};
  for (Index t = 0; t < taps; ++t)
    for (Index i = 0; i < inner; ++i)
      for (Index o = 0; o < outputs; ++o)
        product.kernel[static_cast<std::size_t>((o * inner + i) * taps + t)] =
            kernel[static_cast<std::size_t>((t * inner + i) * outputs + o)];
  return builder.convolution(x, "conv1d", activation_of(entry, what), product, dilation);
}

Sequence read_recurrent(Builder& builder, const Sequence& x, const json::Object& entry, const Arrays& arrays, Index units,
                        bool lstm, const std::string& what) {
  const std::string activation = activation_of(entry, what);
  if (activation != "linear" && activation != "tanh")
    throw_error("%: RTNeural's has tanh, whatever the file says: it says %", {what, activation});
  const Index wide = (lstm ? 4 : 3) * units;
  arrays.expect(3, 3);
  Recurrent layer{lstm ? "LSTM" : "GRU", units, arrays.take(0, {x.features, wide}), arrays.take(1, {units, wide}),
                  arrays.take(2, lstm ? Shape{wide} : Shape{2, wide})};
  return builder.recurrent(x, lstm ? "lstm" : "gru", std::move(layer));
}

Sequence batch_normalization(Builder& builder, const Sequence& x, const json::Object& entry, const Arrays& arrays,
                             const std::string& what) {
  const std::size_t affine = arrays.size() == 4 ? 2 : 0;
  arrays.expect(2 + affine, 2 + affine);
  const json::Value* const epsilon = find(entry, "epsilon");
  if (epsilon == nullptr || !epsilon->is_number())
    throw_error("%: epsilon: expected a number, got %", {what, epsilon == nullptr ? "none" : json::describe(*epsilon)});
  Builder::Statistics statistics;
  if (affine != 0) {
    statistics.gamma = arrays.take(0, {x.features});
    statistics.beta = arrays.take(1, {x.features});
  }
  statistics.mean = arrays.take(affine, {x.features});
  statistics.variance = arrays.take(affine + 1, {x.features});
  statistics.epsilon = epsilon->number();
  return builder.batch_normalization(x, "batch_normalization", std::move(statistics));
}

Sequence read_layer(Builder& builder, const Sequence& x, const json::Object& entry, const std::string& type,
                    const std::string& what) {
  const Arrays arrays(entry, what);
  if (type == "activation") return builder.activation(x, "activation", activation_of(entry, what));
  const Index outputs = features_of(find(entry, "shape"), compose("%: shape", {what}));
  if (type == "dense" || type == "time-distributed-dense") {
    arrays.expect(1, 2);
    Floats kernel = arrays.take(0, {x.features, outputs});
    std::optional<Floats> bias;
    if (arrays.size() > 1) bias = arrays.take(1, {outputs});
    return builder.dense(x, "dense", activation_of(entry, what), outputs, std::move(kernel), std::move(bias));
  }
  if (type == "conv1d") return convolution(builder, x, entry, arrays, outputs, what);
  if (type == "lstm" || type == "gru") return read_recurrent(builder, x, entry, arrays, outputs, type == "lstm", what);
  if (type == "prelu") {
    arrays.expect(1, 1);
    const Index slopes = size_of(arrays[0]) == 1 ? 1 : x.features;
    if (slopes == 1 && x.features > kOneForAll) throw_error("%: one slope for % features", {what, x.features});
    Floats alpha = arrays.take(0, {1, slopes});
    alpha.resize(static_cast<std::size_t>(x.features), alpha.front());
    return builder.prelu(x, "p_re_lu", std::move(alpha));
  }
  if (type == "batchnorm") return batch_normalization(builder, x, entry, arrays, what);
  throw_error("%: there is no such layer here", {what});
}

}  // namespace

bool is_rtneural(const json::Object& file) {
  const json::Value* const layers = file.find("layers");
  return layers != nullptr && layers->is_array() && file.find("in_shape") != nullptr;
}

Model rtneural(const json::Object& file) {
  Builder builder;
  const json::Value* const metadata = find(file, "metadata");  // where AIDA-X looks first
  const double said = metadata != nullptr && metadata->is_object() ? rate(metadata->object(), {"samplerate"}, "metadata") : 0;
  builder.set_sample_rate(said > 0 ? said : rate(file, {"samplerate"}, "RTNeural"));
  const Index features = features_of(find(file, "in_shape"), "in_shape");
  const Around around(builder, features, count(file, "in_skip", "RTNeural", 0, 0), gain(file, "in_gain"), gain(file, "out_gain"));
  Sequence x = around.input();
  std::size_t k = 0;
  for (const json::Value& value : array_of(file, "layers", "RTNeural")) {
    const std::string where = compose("layer %", {k++});
    const json::Object& entry = object_of(&value, where);
    const json::Value* const type = find(entry, "type");
    if (type == nullptr || !type->is_string()) throw_error("%: expected an object with a type", {where});
    const std::string what = compose("% (%)", {where, type->string()});
    x = read_layer(builder, x, entry, type->string(), what);
    // What the next layer reads the file says, too.
    if (const json::Value* const shape = find(entry, "shape");
        shape != nullptr && features_of(shape, what + ": shape") != x.features)
      throw_error("%: shape: expected % features", {what, x.features});
  }
  return around.model(x);
}

}  // namespace rekur::foreign
