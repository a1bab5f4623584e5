// A model put together layer by layer, with the weights of each: a spec as rekur.convert makes it in Python, and what goes into it.
#pragma once

#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "io/json.hpp"
#include "rekur/model.hpp"

namespace rekur::foreign {

using Floats = std::vector<float>;

inline constexpr std::size_t kMostLayers = std::size_t{1} << 13;  // of a model, with its input

// What a layer gives, or the input: a sequence of so many features.
struct Sequence {
  std::string name;
  Index features = 0;
};

// Of a product of each step, or of some: (outputs, inputs of a group, taps), the oldest tap first.
struct Product {
  Index inputs, outputs, taps, groups;
  Floats kernel;
  std::optional<Floats> bias;
};

struct Recurrent {
  const char* type;  // of the layer
  Index units;
  Floats kernel, recurrent_kernel;
  std::optional<Floats> bias;
  std::optional<std::pair<Floats, Floats>> states = {};  // of an LSTM
};

class Builder {
 public:
  Builder();

  Sequence input(Index features);
  // Names with a `_1` behind are made of one that is taken.
  Sequence dense(const Sequence& x, std::string name, const json::Value& activation, Index units, Floats kernel,
                 std::optional<Floats> bias);
  Sequence convolution(const Sequence& x, std::string name, const json::Value& activation, const Product& product, Index dilation);
  // A Dense where a convolution is not needed.
  Sequence product(const Sequence& x, std::string name, const Product& product, Index dilation = 1);
  Sequence recurrent(const Sequence& x, std::string name, Recurrent layer);
  Sequence activation(const Sequence& x, std::string name, json::Value activation);
  Sequence prelu(const Sequence& x, std::string name, Floats slopes);
  struct Statistics {
    std::optional<Floats> gamma, beta;  // both or none
    Floats mean, variance;
    double epsilon;
  };
  Sequence batch_normalization(const Sequence& x, std::string name, Statistics statistics);
  Sequence rescaling(const Sequence& x, std::string name, json::Value scale, json::Value offset);
  Sequence slice(const Sequence& x, std::string name, Index start, Index stop);
  // Add, Multiply, Subtract.
  Sequence merge(const char* type, std::string name, const std::vector<Sequence>& inputs);
  // x plus a single feature.
  Sequence broadcast_sum(const Sequence& x, const Sequence& single);

  void set_sample_rate(double rate) { sample_rate_ = rate; }  // 0: nobody has said
  Model model(const Sequence& output, const char* name) const;

 private:
  Sequence call(const char* type, std::string name, const std::vector<Sequence>& inputs, json::Object keys, Index features);
  void weights(const Sequence& layer, const char* name, Floats values);

  double sample_rate_ = 0;
  json::Array layers_;
  std::set<std::string> names_;
  std::map<std::string, Index> tried_;  // by name: how many numbers behind it are taken
  std::map<std::string, Floats> weights_;
};

// Rows become columns: (rows, columns) to (columns, rows).
Floats transposed(const Floats& matrix, Index rows, Index columns);

}  // namespace rekur::foreign
