#include "layers/time.hpp"

#include <algorithm>

namespace rekur::layers {

Index steps_after(const TimeChange& change, Index steps) {
  if (steps == kUnknown || steps == 0) return steps;
  const Index last = steps * change.up + change.add - change.span;
  return last < 0 ? 0 : last / change.stride + 1;
}

}  // namespace rekur::layers
