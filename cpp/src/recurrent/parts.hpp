// Backward passes of cells none of whose units waits for another (Program::alone), in parts of the batch: a part is a backward pass
// of some rows with weight gradients of its own, which are added up in order at the end. So no thread reads what another has swept,
// and nobody meets: sharing the products instead, as cells with a recurrent product do, would take longer than they do.
//
// How many parts there are follows from the shapes alone, never from the number of threads, so that it changes no bit.
#pragma once

#include <span>

#include "recurrent/recurrent.hpp"
#include "runtime/scratch.hpp"

namespace rekur::recurrent {

// The weight gradients of the parts. Where a call takes one window of the steps after the other (windows.hpp), they are sums over
// all windows before they are added up.
struct PartSums {
  // Of these runs, all of one batch, with all their steps; one part where they are better done as a whole.
  explicit PartSums(std::span<const Backward> runs);

  Index size(std::span<const Backward> runs) const;  // floats of all parts but the first

  Index parts;
  float* memory = nullptr;         // so many; null: the scratch's
  bool first = true, last = true;  // of the windows
};

// The part's runs, `parts` times as many as there are whole ones: part by part, in each in the order of the runs. What they need is
// taken from the scratch.
std::span<Backward> cut(std::span<const Backward> runs, const PartSums& sums, Scratch& scratch);

// After all of them: the weight gradients of the first parts, which stand where the whole run's belong, get those of the others.
void add_up(std::span<const Backward> cut, Index parts);

// The backward pass of a window.
void backward(std::span<const Backward> runs, const PartSums& sums);

}  // namespace rekur::recurrent
