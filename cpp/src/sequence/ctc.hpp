// Connectionist temporal classification: labels whose places in time nobody said. Graves et al., ICML 2006.
//
//   B rows · T steps · C classes, one of them the blank · L labels at most · S = 2 L + 1 states: blank, label, blank, …, blank
//
// A path gives every step a class; it spells what is left when repeated classes are merged and blanks then dropped. The value of a
// row is -log of the sum of the probabilities of all paths that spell its labels.
#pragma once

#include <cstdint>
#include <vector>

#include "rekur/tensor.hpp"

namespace rekur::sequence {

#if REKUR_TRAINING
struct CtcBatch {
  Index B, T, C, L;
  const float* logits;               // [B][T][C]; normalised here, so logarithms of probabilities are the same
  const std::int32_t* labels;        // [B][L], none of them the blank
  const std::int32_t* label_counts;  // [B]
  const std::uint8_t* valid;         // [B][T]: which steps are there; null: all
  std::int32_t blank;
};

// values [B]: infinite where the labels do not fit into the steps. d_logits [B][T][C], unless null: the derivatives of each row's
// value, 0 where it is infinite and at steps that are not there. The same bits for any number of threads and any batch.
//
// Sums of products in double, scaled at each step; where something that was lost below the smallest double could be seen in the
// result (which each row is asked), all over again in logarithms.
void ctc_loss(const CtcBatch& batch, double* values, float* d_logits);
#endif

// Labels that a model has seen one after the other, and how probable the next one is: log p(w | context) of the longest context
// that is known, with Katz's backing off: log p(w | c) = backoff(c) + log p(w | c without its first label) where (c, w) is not.
class NGram {
 public:
  static constexpr std::int32_t kBegin = -1, kEnd = -2;  // before the first label, behind the last one

  struct Entry {
    double log_p, backoff;
  };

  // `order`: the most labels of an n-gram. `unknown`: log p of a label that is no unigram.
  NGram(Index order, double unknown) : order_(order), unknown_(unknown) {}

  // n-grams [n] labels each; the last one given of those that are the same counts.
  void add(const std::int32_t* labels, Index n, Entry entry);
  // Puts what was added in order; before the first question.
  void finish();

  Index order() const { return order_; }
  Index size() const { return static_cast<Index>(entries_.size()); }
  bool knows(std::int32_t label) const { return find(&label, 1) != nullptr; }
  // log p(labels[n - 1] | the labels before it), of which it takes the last order() - 1.
  double score(const std::int32_t* labels, Index n) const;

 private:
  const Entry* find(const std::int32_t* labels, Index n) const;

  Index order_;
  double unknown_;
  struct Place {
    Index at, size;
  };
  std::vector<std::int32_t> labels_;  // of all n-grams, one behind the other
  std::vector<Place> places_;
  std::vector<Entry> entries_;
  std::vector<Index> slots_;  // an open hash table: numbers of n-grams, -1 where there is none
};

struct CtcDecoding {
  Index B, T, C;
  const float* logits;          // [B][T][C]
  const std::int32_t* lengths;  // [B]; null: all T
  std::int32_t blank;
};

// The most probable class of each step: labels [B][T], -1 behind a row's; values [B]: the sum of the largest logits.
void ctc_greedy(const CtcDecoding& what, bool merge_repeated, std::int32_t* labels, float* values);

struct CtcBeam {
  Index width, paths;             // prefixes that are kept; of those that are given, at most as many
  const NGram* scorer = nullptr;  // null: none
  double alpha = 0, beta = 0;     // what it weighs; what a label is worth
};

// Prefix beam search: labels [paths][B][T], -1 behind; values [B][paths]: log of the probability of all paths in the beam that
// spell them, plus alpha times the scorer's log p and beta times their number, best first; -inf where there are fewer prefixes.
// Of equal ones the one that was found first stands before the other.
void ctc_beam(const CtcDecoding& what, const CtcBeam& beam, std::int32_t* labels, double* values);

}  // namespace rekur::sequence
