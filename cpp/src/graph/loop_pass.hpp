// What loop.cpp and loop_run.cpp share: plans by number of rows, and where a run's numbers stand in the tape.
#pragma once

#include <map>

#include "graph/loop.hpp"
#include "runtime/locks.hpp"

namespace rekur::graph {

struct Loop::Plans {
  std::shared_ptr<const Plan> whole;                     // of all rows
  runtime::Mutex mutex;                                  // of those below
  std::map<Index, std::shared_ptr<const Plan>> by_rows;  // of fewer

  std::shared_ptr<const Plan> of(const Topology& topology, Index rows);
};

// Offsets in the tape (in inference: the workspace), in floats.
struct Loop::Places {
  Index seed = 0;                                   // seed, step, stream and time of the run, for a step that is run again
  std::vector<Index> x, constants, lists, state;    // by step input, by constant (rows in order, and their valid steps), by state
  Index states = 0, states_stride = 0;              // all states before a step, and from one step to the next
  Index arena = 0, arena_stride = 0;                // of the body's runs
  bool keeps_states = false, keeps_arenas = false;  // one for each step; otherwise states are two in turns, arena and x one
  Index size = 0;
};

}  // namespace rekur::graph
