// The (row, step) pairs of a call within the rows' lengths; those whose output is seen, all of them or the last of each row, and
// where in the output that is; and room for the addresses of what stands at them.
#pragma once

#include "runtime/scratch.hpp"
#include "simd/kernels.hpp"

namespace rekur::layers {

struct RowList {
  Index valid = 0, seen = 0;
  const std::int32_t* lengths;  // or null: all T steps
  Index *rows, *seen_rows, *output_rows;
  const float **addresses, **second_addresses;
  float** addresses_to;

  // reverse: the last step of a row is the one at its beginning.
  RowList(Index B, Index T, const std::int32_t* lengths_of_rows, bool sequences, bool reverse, Scratch& scratch)
      : lengths(lengths_of_rows) {
    rows = scratch.take<Index>(B * T).data();
    seen_rows = sequences ? rows : scratch.take<Index>(B).data();
    output_rows = sequences ? rows : scratch.take<Index>(B).data();
    addresses = scratch.take<const float*>(B * T).data();
    second_addresses = scratch.take<const float*>(B * T).data();
    addresses_to = scratch.take<float*>(B * T).data();
    for (Index b = 0; b < B; ++b) {
      const Index steps = lengths ? lengths[b] : T;
      for (Index t = 0; t < steps; ++t) rows[valid++] = b * T + t;
      if (sequences || steps == 0) continue;
      seen_rows[seen] = b * T + (reverse ? 0 : steps - 1);
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
