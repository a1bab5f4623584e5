// A linear chain over tags: p(y | x) = exp(score(y)) / Z. Lafferty, McCallum & Pereira, ICML 2001.
//
//   B rows · T steps · K tags · e [T][K] emissions · A [K][K] transitions, of the tag before by the tag after
//
//   score(y) = start(y_0) + Σ_t e_t(y_t) + Σ_t A(y_t-1, y_t) + end(y_last)      Z = Σ exp(score) over all tag sequences
//
// Steps that are not there are not in the chain: those before and behind them are neighbours. Sums are kept in logarithms and in
// double. Nothing depends on the number of threads, and nothing of a row on the other rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "layers/time.hpp"
#include "rekur/tensor.hpp"

namespace rekur::sequence {

// A chain's weights, and what is computed of them once.
class Chain {
 public:
  // A [K][K]; start and end [K], null: zeros.
  Chain(Index K, const float* transitions, const float* start, const float* end);

  Index K() const { return K_; }
  double transition(Index i, Index j) const { return static_cast<double>(transitions_[i * K_ + j]); }
  double start(Index j) const { return start_ == nullptr ? 0 : static_cast<double>(start_[j]); }
  double end(Index j) const { return end_ == nullptr ? 0 : static_cast<double>(end_[j]); }

  // exp(A - most()), rows of the tag before; the same by the tag after.
  const double* onwards() const { return onwards_.data(); }
  const double* backwards() const { return backwards_.data(); }
  double most() const { return most_; }

 private:
  Index K_;
  const float *transitions_, *start_, *end_;
  std::vector<double> onwards_, backwards_;
  double most_ = 0;
};

struct ChainBatch {
  Index B, T;
  const float* emissions;  // [B][T][K]
  layers::RowSteps steps;
};

// p(y_t = k | x) [B][T][K]; zeros at steps that are not there.
void chain_marginals(const Chain& chain, const ChainBatch& batch, float* marginals);

// log Z of each row.
void chain_log_norm(const Chain& chain, const ChainBatch& batch, double* values);

// The best tag sequences: tags [paths][B][T], -1 at steps that are not there and behind the last sequence that there is; scores
// [B][paths], best first, -inf where there are fewer. Of equal ones that with the smaller tags at its end comes first. NaN among
// what a row is made of gives it NaN.
void chain_viterbi(const Chain& chain, const ChainBatch& batch, Index paths, std::int32_t* tags, double* scores);

// score(y) of tags [B][T], those of steps that are there.
void chain_scores(const Chain& chain, const ChainBatch& batch, const std::int32_t* tags, double* values);

#if REKUR_TRAINING
// Derivatives by a chain's weights, in double: transitions [K][K], start [K], end [K], one behind the other.
inline Index chain_size(Index K) { return K * K + 2 * K; }

// values [B]: log Z - score(tags); unless null, derivatives of Σ_b weights[b] · value_b: d_emissions [B][T][K], all of it, is
// written, and to d_chain, unless null, is added. A row of weight 0 is not there: its tags are not read, its value is 0. weights:
// null, all 1.
void chain_loss(const Chain& chain, const ChainBatch& batch, const std::int32_t* tags, const double* weights, double* values,
                float* d_emissions, double* d_chain);

// Of d_marginals, what chain_marginals goes backward to: d_emissions [B][T][K] is added to, and so is d_chain, either unless null.
void chain_marginals_backward(const Chain& chain, const ChainBatch& batch, const float* d_marginals, float* d_emissions,
                              double* d_chain);
#endif

}  // namespace rekur::sequence
