#include "graph/time_axes.hpp"

#include <algorithm>

#include "graph/plan.hpp"
#include "io/text.hpp"

namespace rekur::graph {

int TimeAxes::find_or_add(const TimeAxis& axis) {
  for (std::size_t i = 0; i < all.size(); ++i) {
    const TimeAxis& a = all[i];
    const bool same = a.kind == axis.kind && a.source == axis.source && a.other == axis.other && a.change == axis.change;
    if (same && axis.kind != TimeAxis::Kind::own && axis.kind != TimeAxis::Kind::masked) return static_cast<int>(i);
  }
  all.push_back(axis);
  return static_cast<int>(all.size()) - 1;
}

int TimeAxes::unmasked(int axis) const {
  for (const TimeAxis* at = &all[static_cast<std::size_t>(axis)]; at->kind == TimeAxis::Kind::masked && at->source >= 0;
       at = &all[static_cast<std::size_t>(axis)])
    axis = at->source;
  return axis;
}

int TimeAxes::add(const layers::Layer& layer, int node, std::span<const layers::TensorSpec> inputs, std::span<const int> tensors,
                  int first, std::span<layers::TensorSpec> outputs) {
  using Kind = TimeAxis::Kind;
  int common = -1;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const layers::TensorSpec& input = inputs[i];
    if (!input.has_time() || !layer.joins_time() || input.time_source == common) continue;
    common =
        common < 0
            ? input.time_source
            : find_or_add({.kind = Kind::joined, .source = common, .other = input.time_source, .node = node, .tensor = tensors[i]});
  }
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    layers::TensorSpec& output = outputs[k];
    const layers::TimeChange change = std::exchange(output.change, {});
    if (!output.has_time()) {
      output.time_source = -1;
      continue;
    }
    if (layer.joins_time() && output.time_source >= 0) output.time_source = common;
    if (change.own || output.time_source < 0)
      output.time_source = find_or_add({.kind = layer.joins_masks() ? Kind::masked : Kind::own, .node = node});
    else if (change.changed)
      output.time_source =
          find_or_add({.kind = Kind::changed, .source = unmasked(output.time_source), .node = node, .change = change});
    else if (layer.makes_mask())
      output.time_source = find_or_add({.kind = Kind::masked, .source = output.time_source, .node = node});
    TimeAxis& axis = all[static_cast<std::size_t>(output.time_source)];
    if (axis.tensor < 0) axis.tensor = first + static_cast<int>(k);
  }
  return common;
}

void RunSteps::begin(const Topology& topology, const Plan& plan) {
  topology_ = &topology;
  plan_ = &plan;
  any_ = false;
}

const Shape& RunSteps::shape_of(int axis) const {
  const int tensor = topology_->axes.all[static_cast<std::size_t>(axis)].tensor;
  return plan_->tensors[static_cast<std::size_t>(tensor)].shape;
}

// Flags into what layers read. Steps that are the first ones of each row need no list.
void RunSteps::set_valid(int axis, std::vector<std::uint8_t> valid) {
  const Index B = shape_of(axis)[0], T = shape_of(axis)[1];
  Memory& memory = memory_[static_cast<std::size_t>(axis)];
  memory.valid = std::move(valid);
  memory.lengths.assign(static_cast<std::size_t>(B), 0);
  memory.list.assign(memory.valid.size(), 0);
  bool full = true, listed = false;
  for (Index row = 0; row < B; ++row) {
    std::int32_t count = 0;
    for (Index t = 0; t < T; ++t) {
      if (!memory.valid[static_cast<std::size_t>(row * T + t)]) continue;
      listed = listed || count != t;
      memory.list[static_cast<std::size_t>(row * T + count++)] = static_cast<std::int32_t>(t);
    }
    memory.lengths[static_cast<std::size_t>(row)] = count;
    full = full && count == T;
  }
  layers::RowSteps& steps = steps_[static_cast<std::size_t>(axis)];
  if (full) return;
  steps.lengths = memory.lengths.data();
  steps.mask = true;
  if (!listed) return;
  steps.list = memory.list.data();
  steps.valid = memory.valid.data();
}

std::vector<std::uint8_t> RunSteps::flags(int axis) const {
  const layers::RowSteps& steps = steps_[static_cast<std::size_t>(axis)];
  const Index B = shape_of(axis)[0], T = shape_of(axis)[1];
  std::vector<std::uint8_t> valid(static_cast<std::size_t>(B * T));
  for (Index row = 0; row < B; ++row)
    for (Index t = 0; t < T; ++t) valid[static_cast<std::size_t>(row * T + t)] = steps.is_valid(row, t);
  return valid;
}

void RunSteps::start() {
  if (any_) return;
  any_ = true;
  steps_.assign(topology_->axes.all.size(), {});
  memory_.resize(steps_.size());
  for (std::size_t axis = 0; axis < steps_.size(); ++axis)
    steps_[axis].T = topology_->axes.all[axis].tensor < 0 ? 1 : shape_of(static_cast<int>(axis))[1];
}

// A reset at a step that is left out is one of the next valid step.
void RunSteps::pack_resets(int axis) {
  Memory& memory = memory_[static_cast<std::size_t>(axis)];
  if (memory.given_resets == nullptr) return;
  layers::RowSteps& steps = steps_[static_cast<std::size_t>(axis)];
  const Index B = shape_of(axis)[0], T = steps.T;
  memory.resets.assign(static_cast<std::size_t>(B * T), 0);
  for (Index row = 0; row < B; ++row)
    for (Index k = 0, t = 0; k < steps.length(row); ++k)
      for (; t <= steps.at(row, k); ++t)
        if (memory.given_resets[row * T + t]) memory.resets[static_cast<std::size_t>(row * T + k)] = 1;
  steps.resets = memory.resets.data();
}

void RunSteps::inherit_resets(int axis, int from) {
  const std::uint8_t* const given = memory_[static_cast<std::size_t>(from)].given_resets;
  if (given != nullptr) memory_[static_cast<std::size_t>(axis)].given_resets = given;
}

void RunSteps::check_resets(int node) const {
  if (!any_) return;
  const Node& n = topology_->nodes[static_cast<std::size_t>(node)];
  for (const int tensor : n.inputs) {
    const layers::TensorSpec& spec = topology_->tensors[static_cast<std::size_t>(tensor)];
    if (n.layer->crosses_resets() && spec.has_time() && steps_[static_cast<std::size_t>(spec.time_source)].resets != nullptr)
      n.layer->fail("looks across the borders that the resets of % set within a row", {name(spec.time_source)});
  }
}

void RunSteps::set_input(int input, std::span<const std::int32_t> lengths, std::span<const std::uint8_t> mask,
                         std::span<const std::uint8_t> resets) {
  const Index T = shape_of(input)[1];
  const auto finish = [&] {
    if (std::none_of(resets.begin(), resets.end(), [](std::uint8_t r) { return r != 0; })) return;
    start();
    memory_[static_cast<std::size_t>(input)].given_resets = resets.data();
    pack_resets(input);
  };
  const bool shorter = std::any_of(lengths.begin(), lengths.end(), [T](std::int32_t l) { return l != T; });
  const bool masked = std::any_of(mask.begin(), mask.end(), [](std::uint8_t m) { return m == 0; });
  if (!shorter && !masked) return finish();
  start();
  if (shorter) steps_[static_cast<std::size_t>(input)].lengths = lengths.data();
  if (!masked) return finish();
  std::vector<std::uint8_t> valid = flags(input);
  for (std::size_t i = 0; i < valid.size(); ++i) valid[i] = valid[i] != 0 && mask[i] != 0;
  set_valid(input, std::move(valid));
  finish();
}

void RunSteps::set_input(int input, const layers::RowSteps& steps) {
  if (steps.lengths == nullptr) return;
  start();
  layers::RowSteps& own = steps_[static_cast<std::size_t>(input)];
  own = steps;
  own.T = shape_of(input)[1];
  own.resets = nullptr;
}

void RunSteps::begin_node(int node, FunctionRef<void(std::uint8_t*)> mask) {
  using Kind = TimeAxis::Kind;
  const std::vector<TimeAxis>& all = topology_->axes.all;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const TimeAxis& axis = all[i];
    if (axis.node != node || axis.kind == Kind::own || (!any_ && (axis.kind != Kind::masked || axis.source < 0))) continue;
    start();
    if (axis.source < 0) {
      std::vector<std::uint8_t> valid = flags(static_cast<int>(i));  // all of them, so far
      mask(valid.data());
      set_valid(static_cast<int>(i), std::move(valid));
      continue;
    }
    layers::RowSteps& steps = steps_[i];
    const layers::RowSteps& source = steps_[static_cast<std::size_t>(axis.source)];
    Memory& memory = memory_[i];
    const Index B = axis.tensor < 0 ? 0 : shape_of(static_cast<int>(i))[0];
    if (axis.kind == Kind::changed) {
      if (source.resets != nullptr)
        topology_->nodes[static_cast<std::size_t>(node)].layer->fail(
            "looks across the borders that the resets of % set within a row", {name(axis.source)});
      if (source.lengths == nullptr || source.mask) continue;
      memory.lengths.resize(static_cast<std::size_t>(B));
      for (Index row = 0; row < B; ++row)
        memory.lengths[static_cast<std::size_t>(row)] =
            static_cast<std::int32_t>(std::min(layers::steps_after(axis.change, source.lengths[row]), steps.T));
      steps.lengths = memory.lengths.data();
      continue;
    }
    if (axis.kind == Kind::joined) {
      const layers::RowSteps& other = steps_[static_cast<std::size_t>(axis.other)];
      if (!source.mask && !other.mask) {
        bool same = true;
        for (Index row = 0; row < B; ++row) same = same && source.length(row) == other.length(row);
        if (!same) {
          const layers::Layer& layer = *topology_->nodes[static_cast<std::size_t>(node)].layer;
          layer.fail("joins sequences of different lengths, those of % and of %", {name(axis.source), name(axis.other)});
        }
        steps.lengths = source.lengths;
        inherit_resets(static_cast<int>(i), axis.other);
        inherit_resets(static_cast<int>(i), axis.source);
        pack_resets(static_cast<int>(i));
        continue;
      }
      std::vector<std::uint8_t> valid = flags(axis.source);
      for (Index row = 0; row < B; ++row)
        for (Index t = 0; t < steps.T; ++t) valid[static_cast<std::size_t>(row * steps.T + t)] &= other.is_valid(row, t) ? 1 : 0;
      set_valid(static_cast<int>(i), std::move(valid));
      inherit_resets(static_cast<int>(i), axis.other);
      inherit_resets(static_cast<int>(i), axis.source);
      pack_resets(static_cast<int>(i));
      continue;
    }
    std::vector<std::uint8_t> valid = flags(axis.source);
    mask(valid.data());
    set_valid(static_cast<int>(i), std::move(valid));
    inherit_resets(static_cast<int>(i), axis.source);
    pack_resets(static_cast<int>(i));
  }
}

// As messages call an axis: by the input or the call where it begins.
std::string RunSteps::name(int axis) const {
  const TimeAxis& a = topology_->axes.all[static_cast<std::size_t>(axis)];
  const int tensor = a.node < 0 ? topology_->inputs[static_cast<std::size_t>(axis)] : a.tensor;
  const Node& node = topology_->nodes[static_cast<std::size_t>(topology_->producer[static_cast<std::size_t>(tensor)])];
  return compose(a.node < 0 ? "input '%'" : "'%'", {node.name});
}

}  // namespace rekur::graph
