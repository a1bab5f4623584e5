// Where everything a run needs stands in its arena, for one set of input shapes.
//
// Time is counted in layer calls: node i runs forward at i and (in training) backward at 2N - 1 - i. Everything lives from the call
// that first writes it to the call that last reads it, and things that never live at once may share memory. In inference this
// shrinks a deep model to its two or three largest tensors; in training, gradients reuse what backward has left behind. Layers that
// run as a stack run at once: whatever one of them needs lives from the first call to the last.
#pragma once

#include <memory>
#include <vector>

#include "graph/topology.hpp"

namespace rekur::graph {

inline constexpr Index kNowhere = -1;

struct Plan {
  std::vector<Shape> input_shapes;
  bool training = false, remat = false;
  bool lent = false;        // of a run within a layer's run (Lent, graph.hpp)
  std::uint64_t epoch = 0;  // of the instruction set: how wide its vectors are goes into the size of a tape

  std::vector<layers::TensorSpec> tensors;              // every dimension known
  std::vector<std::vector<layers::TensorSpec>> inputs;  // per node: what it is called with
  std::vector<int> root;                                // tensor -> the tensor whose array it shares (mostly itself)
  // Offsets in the arena, in floats; gradients and scratch in what passes (see passing_size).
  std::vector<Index> value;            // per tensor
  std::vector<Index> gradient;         // per tensor; kNowhere for ids, model inputs and in inference
  std::vector<Index> output_gradient;  // per output: its own place where a tensor is listed a second time, else kNowhere
  std::vector<Index> tape, scratch;    // per node
  // Per node: where the gradients of its weights stand until they are added to those of a later call of the same layer.
  std::vector<Index> gradient_apart;
  // Per node: the first and the last node of the stack it runs in (Layer::walk); itself, if it runs alone.
  std::vector<Index> stack_first, stack_last;
  Index arena_size = 0;
  // Of a lent run: what is there in its backward pass alone has an arena of its own, which the next such run may have for its own.
  // Both sizes are bounds then, which no plan of fewer rows exceeds.
  Index passing_size = 0;
};

// Runs shape inference with the shapes of a run and (unless `layout` is false) lays out the arena. Throws Error where shapes do not
// fit.
std::shared_ptr<const Plan> make_plan(const Topology& topology, const std::vector<Shape>& inputs, bool training, bool remat = false,
                                      bool layout = true);

// A plan for lent runs: gradients of weights are added to what is there.
std::shared_ptr<const Plan> make_lent_plan(const Topology& topology, const std::vector<Shape>& inputs, bool training);
// The same for fewer rows, in the same places.
std::shared_ptr<const Plan> narrowed(const Topology& topology, const Plan& plan, const std::vector<Shape>& inputs);

}  // namespace rekur::graph
