// What of a layer's input counts where a penalty is taken of it: steps past a row's length do not; those of a mask do, as in Keras.
#pragma once

#include "layers/layer.hpp"

namespace rekur::layers {

struct CountedRows {
  RowSteps steps;
  Index batch, size, a_step;  // rows; elements of a row, and of one of its steps

  explicit CountedRows(const Context& run) : steps(run.steps()), batch(run.batch()) {
    const Shape& shape = run.input_specs[0].shape;
    size = element_count({shape.begin() + 1, shape.end()});
    a_step = shape.size() > 2 ? element_count({shape.begin() + 2, shape.end()}) : size;
  }
  // The elements of row b that count are [begin(b), end(b)).
  Index begin(Index b) const { return b * size; }
  Index end(Index b) const { return b * size + (steps.mask ? size : steps.length(b) * a_step); }
  Index count() const {
    Index n = 0;
    for (Index b = 0; b < batch; ++b) n += end(b) - begin(b);
    return n;
  }
};

}  // namespace rekur::layers
