// The time axes of a graph's tensors, and in a run the valid steps of each.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "layers/layer.hpp"
#include "runtime/function_ref.hpp"

namespace rekur::graph {

struct Topology;
struct Plan;

// Where a time axis comes from. The first ones are those of the model's inputs, by position.
struct TimeAxis {
  enum class Kind : std::uint8_t {
    input,
    own,      // a layer's own: all steps are valid
    changed,  // `change` of `source`, without its mask
    masked,   // of `source` (-1: of an axis of its own) the steps that a layer finds valid
    joined    // of `source` the steps that are valid in `other` too
  };
  Kind kind = Kind::input;
  int source = -1, other = -1;
  int node = -1;    // where it begins; -1: an input's
  int tensor = -1;  // one that has it
  layers::TimeChange change = {};
};

// The table while the graph is built.
class TimeAxes {
 public:
  std::vector<TimeAxis> all;

  // Node `node` is added: gives its outputs, which the tensors from `first` on will be, their axes. Returns the one that its inputs
  // (those tensors) have in common, or -1.
  int add(const layers::Layer& layer, int node, std::span<const layers::TensorSpec> inputs, std::span<const int> tensors, int first,
          std::span<layers::TensorSpec> outputs);

 private:
  int find_or_add(const TimeAxis& axis);
  int unmasked(int axis) const;
};

// In a run the valid steps of every axis, each when the node where it begins is about to run. What has steps that are none is rare:
// until then nothing is kept.
class RunSteps {
 public:
  // The inputs' own: lengths and masks as the caller gave them, both checked. A row's length is kept where some row is not full.
  void begin(const Topology& topology, const Plan& plan);
  void set_input(int input, std::span<const std::int32_t> lengths, std::span<const std::uint8_t> mask,
                 std::span<const std::uint8_t> resets);

  // … of a run within a layer's run: as that knows them, without resets.
  void set_input(int input, const layers::RowSteps& steps);

  bool any() const { return any_; }
  const layers::RowSteps* all() const { return steps_.data(); }
  layers::RowSteps of(int axis) const { return axis < 0 ? layers::RowSteps{} : steps_[static_cast<std::size_t>(axis)]; }

  // Throws Error where a layer would look across the border of two sequences in a row.
  void check_resets(int node) const;
  // The axes that begin at this node; `mask` writes 0 to flags [B][T] of steps that are none. Throws Error where sequences of
  // different lengths are joined.
  void begin_node(int node, FunctionRef<void(std::uint8_t*)> mask);

 private:
  struct Memory {
    std::vector<std::int32_t> lengths, list;
    std::vector<std::uint8_t> valid, resets;
    const std::uint8_t* given_resets = nullptr;  // [B][T] as the caller gave them, valid or not
  };
  void start();
  void inherit_resets(int axis, int from);
  void pack_resets(int axis);
  std::string name(int axis) const;
  void set_valid(int axis, std::vector<std::uint8_t> valid);
  std::vector<std::uint8_t> flags(int axis) const;
  const Shape& shape_of(int axis) const;

  const Topology* topology_ = nullptr;
  const Plan* plan_ = nullptr;
  std::vector<layers::RowSteps> steps_;
  std::vector<Memory> memory_;
  bool any_ = false;
};

}  // namespace rekur::graph
