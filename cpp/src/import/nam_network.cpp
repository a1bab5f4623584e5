#include "import/nam_network.hpp"

#include <algorithm>
#include <cmath>

#include "import/values.hpp"

namespace rekur::foreign {
namespace {

// A product of steps that are all alike, without the bias.
Values at_rest(const Product& product, const Values& values) {
  const Index inner = product.inputs / product.groups, outer = product.outputs / product.groups;
  Values reached(static_cast<std::size_t>(product.outputs));
  for (Index o = 0; o < product.outputs; ++o) {
    double sum = 0;
    for (Index i = 0; i < inner; ++i) {
      double taps = 0;
      for (Index t = 0; t < product.taps; ++t) taps += product.kernel[static_cast<std::size_t>((o * inner + i) * product.taps + t)];
      sum += taps * values[static_cast<std::size_t>(o / outer * inner + i)];
    }
    reached[static_cast<std::size_t>(o)] = sum;
  }
  return reached;
}

bool any(const Values& values) {
  return std::any_of(values.begin(), values.end(), [](double value) { return value != 0; });
}

}  // namespace

WeightList::WeightList(const json::Object& file, const std::string& what)
    : values_([&]() -> const json::Array& {
        const json::Value* const value = find(file, "weights");
        if (value == nullptr || !value->is_array())
          throw_error("%: expected an array of numbers, got %", {what, value == nullptr ? "none" : json::describe(*value)});
        return value->array();
      }()),
      what_(what) {}

Floats WeightList::take(Index count) {
  const Index end = static_cast<Index>(place_) + count;  // of 64 bits where size_t has 32
  if (end > static_cast<Index>(values_.size()))
    throw_error("%: expected an array of at least % numbers, got %", {what_, end, values_.size()});
  Floats taken(static_cast<std::size_t>(count));
  for (float& value : taken) value = number(&values_[place_++], what_);
  return taken;
}

Product WeightList::product(Index inputs, Index outputs, const std::string& what, Index taps, bool bias, Index groups) {
  if (inputs % groups != 0 || outputs % groups != 0)
    throw_error("%: % groups do not divide % channels and %", {what, groups, inputs, outputs});
  const Index columns = inputs / groups * outputs;  // below 2^32
  if (taps > (Index{1} << 30)) throw_error("%: a kernel of % taps", {what, taps});
  Product product{inputs, outputs, taps, groups, take(columns * taps), {}};
  if (bias) product.bias = take(outputs);
  return product;
}

void WeightList::finish() const {
  if (place_ != values_.size()) throw_error("%: expected an array of % numbers, got %", {what_, place_, values_.size()});
}

NamNetwork NamNetwork::within(const std::string& what, const std::string& prefix) const {
  NamNetwork inner(*builder_, what, settled_);
  inner.prefix_ = prefix_ + prefix;
  return inner;
}

NamNetwork::Tensor NamNetwork::input(Index features) {
  const Values zeros(static_cast<std::size_t>(features));
  return {builder_->input(features), zeros, zeros};
}

Floats NamNetwork::floats(const Values& values, const std::string& name) const {
  Floats found;
  for (const double value : values) {
    const auto rounded = static_cast<float>(value);
    if (!std::isfinite(rounded))
      throw_error("%: %: at rest, after silence, it is not finite: Options::settled = false leaves it", {what_, name});
    found.push_back(rounded);
  }
  return found;
}

NamNetwork::Tensor NamNetwork::moved(const Tensor& x, const Values& less, const std::string& name) {
  Values offset(less.size());
  for (std::size_t i = 0; i < offset.size(); ++i) offset[i] = x.less[i] - less[i];
  if (!any(offset)) return x;
  json::Array offsets;
  for (const float value : floats(offset, name)) offsets.emplace_back(static_cast<double>(value));
  return {builder_->rescaling(x.sequence, named(name) + "_offset", 1.0, std::move(offsets)), x.rest, less};
}

NamNetwork::Tensor NamNetwork::product(const Tensor& given, const Product& product, const std::string& name, Index dilation,
                                       bool added) {
  const Tensor x = product.taps > 1 && settled_ ? moved(given, given.rest, name) : given;
  const Values reached = at_rest(product, x.less);
  Values rest = at_rest(product, x.rest), less(rest.size());
  if (product.bias)
    for (std::size_t i = 0; i < rest.size(); ++i) rest[i] += (*product.bias)[i];
  Product emitted = product;
  if (!product.bias && (product.taps == 1 || added)) {
    less = reached;
  } else if (any(reached) || (added && settled_)) {
    if (added && settled_) less = rest;
    Values bias(rest.size());
    for (std::size_t i = 0; i < bias.size(); ++i)
      bias[i] = (product.bias ? static_cast<double>((*product.bias)[i]) : 0.0) + reached[i] - less[i];
    emitted.bias = floats(bias, name);
  }
  return {builder_->product(x.sequence, named(name), emitted, dilation), std::move(rest), std::move(less)};
}

NamNetwork::Tensor NamNetwork::normalised(const Tensor& x, WeightList& weights, const std::string& name) {
  const Index channels = x.sequence.features;
  Floats mean = weights.take(channels), variance = weights.take(channels), gamma = weights.take(channels),
         beta = weights.take(channels);
  const double epsilon = weights.one();
  if (epsilon < 0 || std::any_of(variance.begin(), variance.end(), [](float value) { return value < 0; }))
    throw_error("%: %: expected variances and an epsilon that are not negative", {what_, name});
  Values rest(x.rest.size());
  Values shifted(x.rest.size());
  for (std::size_t i = 0; i < rest.size(); ++i) {
    rest[i] = static_cast<double>(gamma[i]) * (x.rest[i] - mean[i]) / std::sqrt(variance[i] + epsilon) + beta[i];
    shifted[i] = mean[i] - x.less[i];
  }
  if (any(x.less)) mean = floats(shifted, name);
  const Sequence y = builder_->batch_normalization(x.sequence, named(name), {gamma, beta, mean, variance, epsilon});
  return {y, rest, Values(rest.size())};
}

NamNetwork::Tensor NamNetwork::activation(const Tensor& given, const json::Value* activation, const std::string& name,
                                          const std::string& what) {
  const Tensor x = whole(given, name);
  const NamActivation found = nam_activation(activation, x.sequence.features, compose("%: %", {what_, what}));
  Values rest(x.rest.size());
  for (std::size_t i = 0; i < rest.size(); ++i) rest[i] = found.function(x.rest[i], i);
  const Sequence y = found.activation.is_null() ? builder_->prelu(x.sequence, named(name), found.slopes)
                                                : builder_->activation(x.sequence, named(name), found.activation);
  return {y, rest, Values(rest.size())};
}

NamNetwork::Tensor NamNetwork::add(const std::string& name, const std::vector<Tensor>& tensors) {
  std::vector<Sequence> sequences;
  Values rest(tensors.front().rest.size()), less(rest.size());
  for (const Tensor& tensor : tensors) {
    sequences.push_back(tensor.sequence);
    for (std::size_t i = 0; i < rest.size(); ++i) {
      rest[i] += tensor.rest[i];
      less[i] += tensor.less[i];
    }
  }
  return {builder_->merge("Add", named(name), sequences), rest, less};
}

NamNetwork::Tensor NamNetwork::subtract(const std::string& name, const Tensor& first, const Tensor& second) {
  Values rest(first.rest.size()), less(rest.size());
  for (std::size_t i = 0; i < rest.size(); ++i) {
    rest[i] = first.rest[i] - second.rest[i];
    less[i] = first.less[i] - second.less[i];
  }
  return {builder_->merge("Subtract", named(name), {first.sequence, second.sequence}), rest, less};
}

NamNetwork::Tensor NamNetwork::multiply(const std::string& name, const Tensor& first, const Tensor& second) {
  const Tensor a = whole(first, name), b = whole(second, name);
  Values rest(a.rest.size());
  for (std::size_t i = 0; i < rest.size(); ++i) rest[i] = a.rest[i] * b.rest[i];
  return {builder_->merge("Multiply", named(name), {a.sequence, b.sequence}), rest, Values(rest.size())};
}

NamNetwork::Tensor NamNetwork::cut(const Tensor& x, Index start, Index stop, const std::string& name) {
  const auto part = [&](const Values& values) { return Values(values.begin() + start, values.begin() + stop); };
  return {builder_->slice(x.sequence, named(name), start, stop), part(x.rest), part(x.less)};
}

NamNetwork::Tensor NamNetwork::scaled(const Tensor& x, float scale, const std::string& name) {
  Values rest = x.rest, less = x.less;
  for (double& value : rest) value *= scale;
  for (double& value : less) value *= scale;
  return {builder_->rescaling(x.sequence, named(name), static_cast<double>(scale), 0.0), rest, less};
}

}  // namespace rekur::foreign
