// A graph as streams run it: its layers' ops in order, holding the weights of one version packed for one ISA. Nothing in it refers
// to the graph, and nothing in it ever changes: any number of streams share it.
#pragma once

#include <memory>
#include <span>
#include <string>
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
    std::vector<int> whole;  // by input: which of the program's whole inputs it is, or -1; empty: none is
#endif
  };

  // An input of the model that is the initial state number `state` of an instruction's op. beginning: which of `beginnings` it is;
  // -1 where it steps, too.
  struct Initial {
    int tensor, beginning;
    std::size_t instruction, state;
  };

  // What it was made from.
  std::uint64_t version = 0;
  const isa::Table* isa = nullptr;
  bool single_row = false;  // for a batch of one

  std::vector<TensorInfo> arrays;  // one step's, by tensor of the graph; the batch unknown
  std::vector<Instruction> instructions;
  std::vector<int> inputs, outputs;  // arrays
  std::vector<std::string> output_names;

  // What there is before the first step, by the model's inputs that do not step: those that are whole, of which an array with a
  // time axis is never made, and those that are nothing but initial states.
  struct Beginning {
    TensorInfo info;  // as the model has it
    int array = -1;   // of one that is whole; else -1
    bool timed = false;
  };
  std::vector<Beginning> beginnings;
  std::vector<Initial> initial;
  bool has_whole = false;
  std::vector<std::string> whole;         // what it was made from
  std::shared_ptr<const void> keep_file;  // what has the panels that it reads where a file has them
  Index stored = 0;                       // floats of those
};

// whole: inputs of the model that do not step. Throws Error naming the layer that cannot go one step at a time, and why.
std::shared_ptr<Program> make_program(const Topology& topology, const Stores& stores, bool single_row,
                                      std::span<const std::string> whole = {});

#if REKUR_SEQUENCE
// Of a loop's body (graph/loop.hpp), whose layers have these weights, in the order of its parameters.
std::shared_ptr<const Program> make_lent_program(const Topology& topology, const float* weights,
                                                 std::span<const std::string> whole);
#endif

}  // namespace rekur::graph
