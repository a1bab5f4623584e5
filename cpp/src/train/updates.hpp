// What a step changes: the weights of the layers that are trained at that moment, and where the optimiser's slots have theirs. A
// layer has slots from the first step on that trains it, and keeps them.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "graph/graph.hpp"
#include "train/clipping.hpp"
#include "train/optimizers.hpp"
#include "train/rules.hpp"

namespace rekur::train {

class Updates {
 public:
  explicit Updates(const graph::Graph& graph);

  // Takes over which layers are trained now; gives slots to these, and to those of `wanted` (by layer; empty: none). Where memory
  // runs out everything is as before.
  void follow(Optimizer& optimizer, const std::vector<char>& wanted = {});

  const graph::Trained& trained() const { return *trained_; }

  // Prepares the gradients, flat as the graph's parameters, and makes step number `iteration`; then parameters are held to their
  // constraints, and layers follow what they have observed of the batch (Graph::observed); empty: there was none. `seed`: of noise.
  void apply(graph::Graph& graph, Optimizer& optimizer, const Clipping& clipping, std::span<float> gradients,
             std::span<const float> observed, std::uint64_t iteration, std::uint64_t seed) const;

  // Averages, if there are any, take the place of the weights.
  void finalize(graph::Graph& graph, const Optimizer& optimizer) const;

  // Between a slot and a flat buffer as long as the parameters, in which what has no slots is zero.
  std::vector<float> spread(std::span<const float> slot) const;
  void gather(std::span<const float> flat, std::span<float> slot) const;
  // Sets the flags of the layers for which a flat buffer holds anything but zeros.
  void find_set(std::span<const float> flat, std::vector<char>& set) const;

 private:
  // One of three: an update by the optimiser, a parameter held to its constraint, a layer that follows what it has observed.
  struct Change {
    graph::Segment segment;
    Index slot = 0;
    float rate = 0;
    bool decayed = true;
    std::shared_ptr<const Constraint> constraint = {};
    const layers::Layer* layer = nullptr;
    Index observed = 0;  // where that begins

    bool is_update() const { return constraint == nullptr && layer == nullptr; }
  };

  static Piece piece(const Change& change, float* weights, std::span<float> gradients);
  float prepare(const Hyperparameters& hyper, const Clipping& clipping, std::span<float> gradients, std::uint64_t number,
                std::uint64_t seed) const;

  const graph::Graph& graph_;
  std::shared_ptr<const graph::Trained> trained_;
  std::vector<char> has_slots_;             // by layer
  std::vector<graph::Segment> slots_;       // of those layers: what stands in a slot, one after the other
  std::vector<Change> changes_;             // what is trained, those of one rate together; constraints; followers
  std::vector<graph::Segment> segments_;    // the same, in the same order
  std::vector<Range> ranges_, parameters_;  // of the gradients that are clipped
  std::vector<Index> columns_;              // of those parameters of two axes and more; 0: of one
  std::vector<std::string> not_decayed_;    // of the optimiser, when these were made
};

}  // namespace rekur::train
