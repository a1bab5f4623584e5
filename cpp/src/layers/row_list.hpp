// The valid (row, step) pairs of a call, counted along each row's valid steps, which is how the layer keeps its own numbers; where
// in the input they stand (`places`); those whose output is seen, all of them or the last of each row, and where in the output that
// is; and room for the addresses of what stands at them.
#pragma once

#include "layers/time.hpp"
#include "runtime/scratch.hpp"
#include "simd/kernels.hpp"

namespace rekur::layers {

struct RowList {
  Index valid = 0, seen = 0;
  const std::int32_t* lengths;  // or null: all T steps
  Index *rows, *places, *seen_rows, *output_rows;
  const float **addresses, **second_addresses;
  float** addresses_to;

  // How steps are counted. Of a layer that reads rows from their end, backwards counts them as they stand, the one that is read
  // last at 0; turned counts them as they are read.
  enum class Order { onwards, backwards, turned };

  RowList(Index B, const RowSteps& valid_steps, bool sequences, Order order, Scratch& scratch) : lengths(valid_steps.lengths) {
    const Index T = valid_steps.T;
    rows = scratch.take<Index>(B * T).data();
    places = valid_steps.list || order == Order::turned ? scratch.take<Index>(B * T).data() : rows;
    seen_rows = sequences ? rows : scratch.take<Index>(B).data();
    output_rows = sequences ? places : scratch.take<Index>(B).data();
    addresses = scratch.take<const float*>(B * T).data();
    second_addresses = scratch.take<const float*>(B * T).data();
    addresses_to = scratch.take<float*>(B * T).data();
    for (Index b = 0; b < B; ++b) {
      const Index steps = valid_steps.length(b);
      for (Index k = 0; k < steps; ++k, ++valid) {
        rows[valid] = b * T + k;
        places[valid] = b * T + valid_steps.at(b, order == Order::turned ? steps - 1 - k : k);
      }
      if (sequences || steps == 0) continue;
      seen_rows[seen] = b * T + (order == Order::backwards ? 0 : steps - 1);
      output_rows[seen++] = b;
    }
    if (sequences) seen = valid;
  }

  ConstRows fill(const Index* at, const float* base, Index stride) { return fill(at, base, stride, valid); }
  ConstRows fill(const Index* at, const float* base, Index stride, Index count) {
    for (Index i = 0; i < count; ++i) addresses[i] = base + at[i] * stride;
    return addresses;
  }
  ConstRows fill_second(const Index* at, const float* base, Index stride) { return fill_second(at, base, stride, valid); }
  ConstRows fill_second(const Index* at, const float* base, Index stride, Index count) {
    for (Index i = 0; i < count; ++i) second_addresses[i] = base + at[i] * stride;
    return second_addresses;
  }
  Rows fill_to(const Index* at, float* base, Index stride) { return fill_to(at, base, stride, valid); }
  Rows fill_to(const Index* at, float* base, Index stride, Index count) {
    for (Index i = 0; i < count; ++i) addresses_to[i] = base + at[i] * stride;
    return addresses_to;
  }
};

}  // namespace rekur::layers
