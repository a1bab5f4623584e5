// Neural Amp Modeler's networks without recurrence, put together while the weights of a file are read off, one list in the order of
// their engine.
//
// A network that has heard silence for long is at rest: every sequence has a value. Settled, it begins there and not with zeros:
// what a convolution reads is the sequence less its value at rest, so that the zeros before the first step stand for it, and biases
// make up for that. Where no bias can, a layer that adds an offset does.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "import/builder.hpp"

namespace rekur::foreign {

using Values = std::vector<double>;  // one a feature

// The numbers of a file, from the first to the last. Throws Error where there are not as many as are asked for.
class WeightList {
 public:
  WeightList(const json::Object& file, const std::string& what);

  Floats take(Index count);
  float one() { return take(1).front(); }
  // Of each output, of each of its inputs the taps; then the biases. Throws where groups do not divide channels.
  Product product(Index inputs, Index outputs, const std::string& what, Index taps = 1, bool bias = true, Index groups = 1);
  void finish() const;

 private:
  const json::Array& values_;
  std::size_t place_ = 0;
  std::string what_;
};

// An activation as a file says it: a layer, and its function.
struct NamActivation {
  json::Value activation;  // null: a PReLU of these slopes
  Floats slopes;
  std::function<double(double, std::size_t)> function;  // of a value of a feature
};
NamActivation nam_activation(const json::Value* given, Index channels, const std::string& what);

class NamNetwork {
 public:
  NamNetwork(Builder& builder, std::string what, bool settled) : builder_(&builder), what_(std::move(what)), settled_(settled) {}
  // A network of the same model, with other names.
  NamNetwork within(const std::string& what, const std::string& prefix) const;

  const std::string& what() const { return what_; }

  struct Tensor {
    Sequence sequence;
    Values rest, less;  // its value at rest, and what was subtracted of it
  };
  Tensor input(Index features);
  // A Dense, or where steps before are seen or channels stand in groups a causal convolution. `added`: the result is added to
  // another one, no more, so it may be without what it is at rest.
  Tensor product(const Tensor& x, const Product& product, const std::string& name, Index dilation = 1, bool added = false);
  Tensor normalised(const Tensor& x, WeightList& weights, const std::string& name);
  Tensor activation(const Tensor& x, const json::Value* given, const std::string& name, const std::string& what);
  Tensor add(const std::string& name, const std::vector<Tensor>& tensors);
  Tensor subtract(const std::string& name, const Tensor& first, const Tensor& second);
  Tensor multiply(const std::string& name, const Tensor& first, const Tensor& second);
  Tensor cut(const Tensor& x, Index start, Index stop, const std::string& name);
  Tensor scaled(const Tensor& x, float scale, const std::string& name);
  Sequence output(const Tensor& x) { return whole(x, "output").sequence; }

 private:
  // The same sequence with something else subtracted.
  Tensor moved(const Tensor& x, const Values& less, const std::string& name);
  Tensor whole(const Tensor& x, const std::string& name) { return moved(x, Values(x.less.size()), name); }
  Floats floats(const Values& values, const std::string& name) const;
  std::string named(const std::string& name) const { return prefix_ + name; }

  Builder* builder_;
  std::string what_, prefix_;
  bool settled_;
};

using NamTensor = NamNetwork::Tensor;

// A network of a file: what its `config` says, on x.
NamNetwork::Tensor nam_wavenet(NamNetwork& network, const NamNetwork::Tensor& x, const json::Object& config, WeightList& weights,
                               const NamNetwork::Tensor& condition);
NamNetwork::Tensor nam_convnet(NamNetwork& network, NamNetwork::Tensor x, const json::Object& config, WeightList& weights);
NamNetwork::Tensor nam_linear(NamNetwork& network, const NamNetwork::Tensor& x, const json::Object& config, WeightList& weights);

}  // namespace rekur::foreign
