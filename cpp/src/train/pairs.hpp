// The (row, step) pairs that a loss is a mean over, and what each counts. Shared by all kinds of losses.
#pragma once

#include <cstdint>
#include <span>

#include "layers/time.hpp"
#include "rekur/tensor.hpp"

namespace rekur::train {

// The output of one layer, seen as rows of F features.
struct Rows {
  Index B = 0, T = 1, F = 0;
  Shape shape = {};                   // of the output but for its features: (B) or (B, T), …; T counts all of them
  layers::RowSteps valid_steps = {};  // of its time axis
  Index places = 1;                   // pairs a step: more than one where there are axes between T and F
  Index whole = 0;                    // N of a larger batch that these are a part of; 0: they are all there is
  Index whole_rows = 0;               // B of that batch

  bool is_valid(Index row, Index t) const { return valid_steps.is_valid(row, places == 1 ? t : t / places); }
  Index pairs() const { return B * T; }
  Index valid() const;
  Index divisor() const { return whole > 0 ? whole : valid(); }  // N
  Index row_divisor() const { return whole_rows > 0 ? whole_rows : B; }
};

// (B, F), (B, T, F), ….
Rows rows_of(const Shape& output, const layers::RowSteps& steps);

// What a pair counts: the sample weight of its row, or its own; 0 past the row's length. `weights`: none, B or B·T of them.
class PairWeights {
 public:
  PairWeights(std::span<const float> weights, const Rows& rows)
      : weights_(weights), rows_(rows), per_step_(static_cast<Index>(weights.size()) == rows.pairs()) {}

  double operator()(Index pair) const { return (*this)(pair / rows_.T, pair % rows_.T); }
  double operator()(Index b, Index t) const {
    if (!rows_.is_valid(b, t)) return 0;
    return weights_.empty() ? 1.0 : static_cast<double>(weights_[static_cast<std::size_t>(per_step_ ? b * rows_.T + t : b)]);
  }

 private:
  std::span<const float> weights_;
  Rows rows_;
  bool per_step_;
};

// Partial sums cover blocks of about so many elements, whatever the number of threads.
inline constexpr Index kBlockElements = 4096;
inline Index block_pairs(Index features) { return features < kBlockElements ? kBlockElements / features : 1; }

}  // namespace rekur::train
