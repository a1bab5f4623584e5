#include "train/updates.hpp"

#include <algorithm>

namespace rekur::train {
namespace {

// Where in a slot what stands at `flat` of the parameters has its own.
Index slot_of(std::span<const graph::Segment> slots, Index flat) {
  Index at = 0;
  for (const graph::Segment& segment : slots) {
    if (flat >= segment.flat && flat < segment.flat + segment.size) return at + flat - segment.flat;
    at += segment.size;
  }
  return at;
}

std::vector<float> different(std::vector<float> values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

// What is left of segments without the parameters that are never trained.
std::vector<graph::Segment> without_fixed(const graph::Graph& graph, std::vector<graph::Segment> segments) {
  for (std::size_t i = 0; i < graph.parameters().size(); ++i) {
    if (graph.parameter_specs()[i].trainable) continue;
    const Index begin = graph.parameters()[i].offset, end = begin + element_count(graph.parameters()[i].shape);
    std::vector<graph::Segment> left;
    for (const graph::Segment& s : segments) {
      const auto keep = [&](Index from, Index to) {
        if (from < to) left.push_back({s.store, s.at + from - s.flat, from, to - from});
      };
      keep(s.flat, std::min(s.flat + s.size, begin));
      keep(std::max(s.flat, end), s.flat + s.size);
    }
    segments.swap(left);
  }
  return segments;
}

}  // namespace

Updates::Updates(const graph::Graph& graph) : graph_(graph), has_slots_(graph.layers().size(), false) {}

void Updates::follow(Optimizer& optimizer, const std::vector<char>& wanted) {
  std::shared_ptr<const graph::Trained> now = graph_.trained();
  if (trained_ && trained_->number == now->number && wanted.empty()) return;
  const std::size_t layers = has_slots_.size();
  std::vector<char> has_slots = has_slots_;
  for (std::size_t i = 0; i < layers; ++i) has_slots[i] = has_slots[i] || now->owner[i] || (!wanted.empty() && wanted[i]);
  std::vector<graph::Segment> slots = graph_.segments_of(has_slots);

  std::vector<graph::Segment> segments;
  std::vector<Change> changes;
  for (const float rate : different(now->rate)) {
    std::vector<char> of_rate(layers);
    for (std::size_t i = 0; i < layers; ++i) of_rate[i] = now->owner[i] && now->rate[i] == rate;
    for (const graph::Segment& segment : without_fixed(graph_, graph_.segments_of(of_rate))) {
      segments.push_back(segment);
      changes.push_back({.segment = segment, .slot = slot_of(slots, segment.flat), .rate = rate});
    }
  }
  for (std::size_t i = 0; i < graph_.parameters().size(); ++i) {
    const layers::ParamSpec& spec = graph_.parameter_specs()[i];
    if (spec.constraint.empty() || !now->owner[static_cast<std::size_t>(graph_.owner_of(i))]) continue;
    segments.push_back(graph_.segment_of(i));
    changes.push_back({.segment = segments.back(), .constraint = std::make_shared<Constraint>(spec.constraint, spec.shape, "")});
  }
  Index observed = 0;
  for (const graph::Graph::Following& one : graph_.following(*now)) {
    segments.push_back(one.segment);
    changes.push_back({.segment = one.segment, .layer = one.layer, .observed = observed});
    observed += one.observed;
  }
  std::vector<Range> ranges, parameters;
  for (const graph::Segment& segment : without_fixed(graph_, graph_.segments_of(now->owner))) {
    if (!ranges.empty() && ranges.back().begin + ranges.back().size == segment.flat)
      ranges.back().size += segment.size;
    else
      ranges.push_back({segment.flat, segment.size});
  }
  for (std::size_t i = 0; i < graph_.parameters().size(); ++i) {
    const ParameterInfo& info = graph_.parameters()[i];
    if (graph_.parameter_specs()[i].trainable && now->owner[static_cast<std::size_t>(graph_.owner_of(i))])
      parameters.push_back({info.offset, element_count(info.shape)});
  }

  if (has_slots != has_slots_) {
    std::vector<Move> moves;
    Index size = 0, from = 0;
    for (const graph::Segment& segment : slots) size += segment.size;
    for (const graph::Segment& segment : slots_) {
      moves.push_back({from, slot_of(slots, segment.flat), segment.size});
      from += segment.size;
    }
    optimizer.resize(size, moves);
  }
  has_slots_.swap(has_slots);
  slots_.swap(slots);
  segments_.swap(segments);
  changes_.swap(changes);
  ranges_.swap(ranges);
  parameters_.swap(parameters);
  trained_ = std::move(now);
}

void Updates::apply(graph::Graph& graph, Optimizer& optimizer, const Clipping& clipping, std::span<float> gradients,
                    std::span<const float> observed, std::uint64_t iteration) const {
  const float scale = clip(clipping, parameters_, ranges_, gradients);
  const Change* change = changes_.data();
  graph.change_weights(segments_, [&](const graph::Segment& segment, std::span<float> weights) {
    if (change->constraint != nullptr)
      change->constraint->apply(weights.data());
    else if (change->layer != nullptr) {
      if (!observed.empty()) change->layer->follow(observed.data() + change->observed, weights.data());
    } else
      optimizer.update({.weights = weights.data(),
                        .gradients = gradients.data() + segment.flat,
                        .slot = change->slot,
                        .size = segment.size,
                        .rate = change->rate},
                       scale, iteration);
    ++change;
  });
}

std::vector<float> Updates::spread(std::span<const float> slot) const {
  std::vector<float> flat(static_cast<std::size_t>(graph_.parameter_count()));
  const float* from = slot.data();
  for (const graph::Segment& segment : slots_) {
    std::copy_n(from, segment.size, flat.data() + segment.flat);
    from += segment.size;
  }
  return flat;
}

void Updates::gather(std::span<const float> flat, std::span<float> slot) const {
  float* to = slot.data();
  for (const graph::Segment& segment : slots_) to = std::copy_n(flat.data() + segment.flat, segment.size, to);
}

void Updates::find_set(std::span<const float> flat, std::vector<char>& set) const {
  for (std::size_t i = 0; i < graph_.parameters().size(); ++i) {
    const ParameterInfo& info = graph_.parameters()[i];
    const float* const begin = flat.data() + info.offset;
    char& any = set[static_cast<std::size_t>(graph_.owner_of(i))];
    any = any || std::any_of(begin, begin + element_count(info.shape), [](float value) { return value != 0; });
  }
}

}  // namespace rekur::train
