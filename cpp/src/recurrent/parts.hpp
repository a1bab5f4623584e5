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

// Of these runs, all of one batch: 1 where they are better done as a whole.
Index parts_of(std::span<const Backward> runs);

// The part's runs, `parts` times as many as there are whole ones: part by part, in each in the order of the runs. What they need is
// taken from the scratch.
std::span<Backward> cut(std::span<const Backward> runs, Index parts, Scratch& scratch);

// After all of them: the weight gradients of the first parts, which stand where the whole run's belong, get those of the others.
void add_up(std::span<const Backward> cut, Index parts);

}  // namespace rekur::recurrent
