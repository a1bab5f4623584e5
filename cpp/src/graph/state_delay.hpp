// How far back a step reads its states: at a rate above the model's, more than one step (RateMatch).
#pragma once

#include "rekur/tensor.hpp"

namespace rekur::graph {

inline constexpr double kMostDelay = 4096;  // more is a mistake, and memory

// A step reads near · s(`steps` back) + far · s(`steps` + 1 back). The last one is where the op has left it; those before stand in
// `past` slots, which the newest of them walks around.
struct StateDelay {
  Index past = 0;   // 0: the step before is read, as it is
  Index steps = 1;  // whole ones
  float near = 1, far = 0;
  Index newest = 0;

  StateDelay() = default;
  explicit StateDelay(double delay)
      : steps(static_cast<Index>(delay)), far(static_cast<float>(delay - static_cast<double>(steps))) {
    near = static_cast<float>(1 - (delay - static_cast<double>(steps)));
    past = far == 0 ? steps - 1 : steps;
  }

  // Of the states `age` steps before the last one, 1 to `past`.
  Index slot(Index age) const { return (newest + age - 1) % past; }
};

}  // namespace rekur::graph
