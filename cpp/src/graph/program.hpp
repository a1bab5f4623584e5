// A graph as streams run it: its layers' ops in order, holding the weights of one version packed for one ISA. Nothing in it refers
// to the graph, and nothing in it ever changes: any number of streams share it.
#pragma once

#include <memory>
#include <vector>

#include "graph/store.hpp"
#include "graph/topology.hpp"
#include "isa/dispatch.hpp"
#include "layers/stream_op.hpp"
#include "rekur/model.hpp"

namespace rekur::graph {

struct Program {
  struct Instruction {
    std::string layer;
    std::unique_ptr<const layers::StreamOp> op;
    std::vector<int> inputs, outputs;  // arrays
#if REKUR_SEQUENCE
    int flags = -1;  // the array that says which rows have the step (held_rows.hpp); -1: all of them
    layers::MaskedStep masked_step = layers::MaskedStep::computed;
    bool adds_last_input = false;
#endif
  };

  // What it was made from.
  std::uint64_t version = 0;
  const isa::Table* isa = nullptr;
  bool single_row = false;  // for a batch of one

  std::vector<TensorInfo> arrays;  // one step's, by tensor of the graph; the batch unknown
  std::vector<Instruction> instructions;
  std::vector<int> inputs, outputs;  // arrays
};

// Throws Error naming the layer that cannot go one step at a time, and why.
std::shared_ptr<const Program> make_program(const Topology& topology, const Stores& stores, bool single_row);

}  // namespace rekur::graph
