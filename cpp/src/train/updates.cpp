#include "train/updates.hpp"

#include <algorithm>
#include <cmath>

#include "runtime/parallel.hpp"
#include "runtime/random.hpp"

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

constexpr std::uint32_t kNoise = 0xFFFFFFFEu;  // the stream of noise on gradients: layers, which draw too, are numbered from 0
constexpr Index kUpdatesGrain = 4096;

// Takes from each gradient the mean of its column, summed in double in the order of the rows.
void centralize(std::span<float> gradients, Index columns) {
  const Index rows = static_cast<Index>(gradients.size()) / std::max<Index>(columns, 1);
  const Index grain = 64;  // of a parameter whose columns are few a thread does all
  runtime::parallel_range(columns, grain, 3.0 * static_cast<double>(gradients.size()), [&](Index begin, Index end) {
    for (Index c = begin; c < end; ++c) {
      double sum = 0;
      for (Index r = 0; r < rows; ++r) sum += static_cast<double>(gradients[static_cast<std::size_t>(r * columns + c)]);
      const auto mean = static_cast<float>(sum / static_cast<double>(rows));
      for (Index r = 0; r < rows; ++r) gradients[static_cast<std::size_t>(r * columns + c)] -= mean;
    }
  });
}

// Scales the gradients of a range and adds noise, which follows from seed, step and where a gradient stands.
void add_noise(std::span<float> gradients, const Range& range, float scale, double deviation, std::uint64_t seed,
               std::uint64_t iteration) {
  const random::Stream stream(seed, iteration, kNoise);
  runtime::parallel_range(range.size, kUpdatesGrain, 60.0 * static_cast<double>(range.size), [&](Index begin, Index end) {
    random::Four normals{};
    for (Index i = range.begin + begin; i < range.begin + end; ++i) {
      const auto at = static_cast<std::uint64_t>(i);
      if (i == range.begin + begin || at % 4 == 0) normals = stream.normals(at);
      float& g = gradients[static_cast<std::size_t>(i)];
      g = static_cast<float>(static_cast<double>(scale * g) + deviation * normals[at % 4]);
    }
  });
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
  const std::vector<std::string>& not_decayed = optimizer.hyperparameters().not_decayed;
  if (trained_ && trained_->number == now->number && wanted.empty() && not_decayed == not_decayed_) return;
  std::vector<std::string> excluded = not_decayed;
  const auto is_decayed = [&](std::size_t i) {
    return std::find(excluded.begin(), excluded.end(), graph_.parameters()[i].name) == excluded.end();
  };
  const std::size_t layers = has_slots_.size();
  std::vector<char> has_slots = has_slots_;
  for (std::size_t i = 0; i < layers; ++i) has_slots[i] = has_slots[i] || now->owner[i] || (!wanted.empty() && wanted[i]);
  std::vector<graph::Segment> slots = graph_.segments_of(has_slots);

  std::vector<graph::Segment> segments;
  std::vector<Change> changes;
  for (const float rate : optimizer.by_parameter() ? std::vector<float>() : different(now->rate)) {
    std::vector<char> of_rate(layers);
    for (std::size_t i = 0; i < layers; ++i) of_rate[i] = now->owner[i] && now->rate[i] == rate;
    for (const graph::Segment& segment : without_fixed(graph_, graph_.segments_of(of_rate))) {
      segments.push_back(segment);
      changes.push_back({.segment = segment, .slot = slot_of(slots, segment.flat), .rate = rate});
    }
  }
  std::vector<Range> parameters;
  std::vector<Index> column_counts;
  for (std::size_t i = 0; i < graph_.parameters().size(); ++i) {
    const auto owner = static_cast<std::size_t>(graph_.owner_of(i));
    if (!graph_.parameter_specs()[i].trainable || !now->owner[owner]) continue;
    const ParameterInfo& info = graph_.parameters()[i];
    parameters.push_back({info.offset, element_count(info.shape)});
    column_counts.push_back(info.shape.size() > 1 ? info.shape.back() : 0);
    if (!optimizer.by_parameter()) continue;
    segments.push_back(graph_.segment_of(i));
    changes.push_back(
        {.segment = segments.back(), .slot = slot_of(slots, info.offset), .rate = now->rate[owner], .decayed = is_decayed(i)});
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
  std::vector<Range> ranges;
  for (const graph::Segment& segment : without_fixed(graph_, graph_.segments_of(now->owner))) {
    if (!ranges.empty() && ranges.back().begin + ranges.back().size == segment.flat)
      ranges.back().size += segment.size;
    else
      ranges.push_back({segment.flat, segment.size});
  }
  if (has_slots != has_slots_) {
    std::vector<Move> moves;
    Index size = 0, from = 0;
    for (const graph::Segment& segment : slots) size += segment.size;
    for (const graph::Segment& segment : slots_) {
      moves.push_back({from, slot_of(slots, segment.flat), segment.size});
      from += segment.size;
    }
    std::vector<float> weights;
    if (optimizer.begins_with_weights()) {
      const auto hold = graph_.hold_weights();
      weights.reserve(static_cast<std::size_t>(size));
      for (const graph::Segment& segment : slots)
        weights.insert(weights.end(), graph_.data(segment), graph_.data(segment) + segment.size);
    }
    optimizer.resize(size, moves, weights);
  }
  not_decayed_.swap(excluded);
  has_slots_.swap(has_slots);
  slots_.swap(slots);
  segments_.swap(segments);
  changes_.swap(changes);
  ranges_.swap(ranges);
  parameters_.swap(parameters);
  columns_.swap(column_counts);
  trained_ = std::move(now);
}

void Updates::apply(graph::Graph& graph, Optimizer& optimizer, const Clipping& clipping, std::span<float> gradients,
                    std::span<const float> observed, std::uint64_t iteration, std::uint64_t seed) const {
  // Within change_weights, which cannot fail any more when it calls this: a step that is made again accumulates once.
  float scale = 1;
  const auto begin = [&] {
    for (const Change& change : changes_)
      if (change.is_update()) optimizer.accumulate(piece(change, nullptr, gradients), iteration);
    if (optimizer.updates(iteration))
      scale = prepare(optimizer.hyperparameters(), clipping, gradients, optimizer.update_number(iteration), seed);
  };
  const Change* change = changes_.data();
  graph.change_weights(segments_, [&](const graph::Segment&, std::span<float> weights) {
    if (change == changes_.data()) begin();
    if (change->constraint != nullptr)
      change->constraint->apply(weights.data());
    else if (change->layer != nullptr) {
      if (!observed.empty()) change->layer->follow(observed.data() + change->observed, weights.data());
    } else {
      optimizer.update(piece(*change, weights.data(), gradients), scale, iteration);
    }
    ++change;
  });
}

void Updates::finalize(graph::Graph& graph, const Optimizer& optimizer) const {
  const Change* change = changes_.data();
  graph.change_weights(segments_, [&](const graph::Segment&, std::span<float> weights) {
    if (change->is_update()) optimizer.finalize(piece(*change, weights.data(), {}));
    ++change;
  });
}

Piece Updates::piece(const Change& change, float* weights, std::span<float> gradients) {
  return {.weights = weights,
          .gradients = gradients.empty() ? nullptr : gradients.data() + change.segment.flat,
          .slot = change.slot,
          .size = change.segment.size,
          .rate = change.rate,
          .decayed = change.decayed};
}

// Centralises and clips gradients and adds noise to them; returns what is left to multiply them by.
float Updates::prepare(const Hyperparameters& hyper, const Clipping& clipping, std::span<float> gradients, std::uint64_t number,
                       std::uint64_t seed) const {
  for (std::size_t i = 0; hyper.centralization && i < parameters_.size(); ++i) {
    const auto begin = static_cast<std::size_t>(parameters_[i].begin), size = static_cast<std::size_t>(parameters_[i].size);
    if (columns_[i] > 0) centralize(gradients.subspan(begin, size), columns_[i]);
  }
  const float scale = clip(clipping, parameters_, ranges_, gradients);
  if (hyper.noise == 0) return scale;
  const double deviation = std::sqrt(hyper.noise / std::pow(static_cast<double>(number), hyper.noise_decay));
  for (const Range& range : ranges_) add_noise(gradients, range, scale, deviation, seed, number);
  return 1;
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
