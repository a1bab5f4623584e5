#include "sequence/crf_chain.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>

#include "rekur/denormals.hpp"
#include "runtime/calls.hpp"
#include "runtime/locks.hpp"
#include "runtime/parallel.hpp"
#include "sequence/log_sums.hpp"

namespace rekur::sequence {
namespace {

constexpr double kSure = 1e-270;  // a sum of exponentials of at most 1 from which on none that was lost counts
constexpr double kLargest = 600;  // the largest logarithm that is taken out of products of exponentials

// One row at a time: its sums forward, a(t, j) = log Σ exp(score of what ends in j at t), and backward, b(t, i) = log Σ exp(score
// of what follows i at t).
class Sums {
 public:
  Sums(const Chain& chain, Index T)
      : c_(chain), K_(chain.K()), weight_(size(K_)), sum_(size(K_)), a_(size(T * K_)), b_(size(T * K_)) {}

  void take(const ChainBatch& batch, Index row) {
    e_ = batch.emissions + row * batch.T * K_;
    steps_ = &batch.steps;
    row_ = row;
    n_ = batch.steps.length(row);
  }

  Index n() const { return n_; }
  Index at(Index t) const { return steps_->at(row_, t); }
  const float* e(Index t) const { return e_ + at(t) * K_; }
  double* a(Index t) { return a_.data() + t * K_; }
  double* b(Index t) { return b_.data() + t * K_; }

  double forward() {
    for (Index j = 0; j < K_; ++j) a(0)[j] = c_.start(j) + static_cast<double>(e(0)[j]);
    for (Index t = 1; t < n_; ++t) {
      onwards(a(t - 1), a(t));
      for (Index j = 0; j < K_; ++j) a(t)[j] += static_cast<double>(e(t)[j]);
    }
    for (Index j = 0; j < K_; ++j) sum_[at_(j)] = a(n_ - 1)[j] + c_.end(j);
    return log_z_ = log_sum_exp(sum_.data(), K_);
  }

  void backward() {
    for (Index i = 0; i < K_; ++i) b(n_ - 1)[i] = c_.end(i);
    std::vector<double>& next = next_;
    next.resize(size(K_));
    for (Index t = n_ - 1; t > 0; --t) {
      for (Index j = 0; j < K_; ++j) next[at_(j)] = b(t)[j] + static_cast<double>(e(t)[j]);
      product(next.data(), c_.backwards(), false, b(t - 1));
    }
  }

  double marginal(Index t, Index j) { return std::exp(a(t)[j] + b(t)[j] - log_z_); }
  double log_z() const { return log_z_; }

  // to(j) = log Σ_i exp(from(i) + A(i, j)).
  void onwards(const double* from, double* to) { product(from, c_.onwards(), true, to); }

  // each(i, u_i, j, v_j): the pair's probability at steps t - 1, t is u_i · exp(A(i, j) - most) · v_j; for tags whose factors would
  // leave the range of doubles, one by one, each(i, j, p).
  template <class Column, class Single>
  void pairs(Index t, Column&& column, Single&& single) {
    const double* const before = a(t - 1);
    const double most = *std::max_element(before, before + K_);
    for (Index i = 0; i < K_; ++i) weight_[at_(i)] = std::exp(before[i] - most);
    for (Index j = 0; j < K_; ++j) {
      const double after = static_cast<double>(e(t)[j]) + b(t)[j] - log_z_;
      const double log_v = after + c_.most() + most;
      if (log_v < kLargest) {
        column(j, std::exp(log_v));
        continue;
      }
      column(j, 0.0);
      for (Index i = 0; i < K_; ++i) single(i, j, std::exp(before[i] + c_.transition(i, j) + after));
    }
  }
  const double* weight() const { return weight_.data(); }

 private:
  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }
  static std::size_t at_(Index n) { return static_cast<std::size_t>(n); }

  // By one product with exp(A - most); a sum of which too little is left, one by one.
  void product(const double* from, const double* matrix, bool ahead, double* to) {
    const double most = *std::max_element(from, from + K_);
    double* const sum = sum_.data();
    std::fill_n(sum, K_, 0.0);
    for (Index i = 0; i < K_; ++i) {
      const double u = std::exp(from[i] - most);
      const double* const row = matrix + i * K_;
      for (Index j = 0; j < K_; ++j) sum[j] += u * row[j];
    }
    for (Index j = 0; j < K_; ++j) {
      if (sum[j] > kSure && sum[j] <= std::numeric_limits<double>::max()) {
        to[j] = most + c_.most() + std::log(sum[j]);
        continue;
      }
      for (Index i = 0; i < K_; ++i) weight_[at_(i)] = from[i] + (ahead ? c_.transition(i, j) : c_.transition(j, i));
      to[j] = log_sum_exp(weight_.data(), K_);
    }
  }

  const Chain& c_;
  Index K_, n_ = 0, row_ = 0;
  const float* e_ = nullptr;
  const layers::RowSteps* steps_ = nullptr;
  std::vector<double> weight_, sum_, next_ = {}, a_, b_;
  double log_z_ = 0;
};

double work_of(const Chain& chain, const ChainBatch& batch) {
  return static_cast<double>(batch.B * batch.T) * static_cast<double>(chain.K() * (4 * chain.K() + 60));
}

// each(first, last, block) for blocks of rows, whose number depends on the batch alone; a task must not throw.
constexpr Index kMostBlocks = 16;
Index rows_a_block(Index B) { return std::max<Index>((B + kMostBlocks - 1) / kMostBlocks, 1); }

template <class Each>
void over_blocks(const Chain& chain, const ChainBatch& batch, Each&& each) {
  const runtime::Call call;
  const FlushDenormals flush;
  runtime::Atomic<bool> failed = false;
  const Index rows = rows_a_block(batch.B), blocks = (batch.B + rows - 1) / rows;
  runtime::parallel_tasks(blocks, work_of(chain, batch), [&](Index block) {
    try {
      each(block * rows, std::min(batch.B, (block + 1) * rows), block);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
  });
  if (failed) throw std::bad_alloc();
}

double score(const Chain& chain, Sums& row, const std::int32_t* tags) {
  double sum = 0;
  for (Index t = 0; t < row.n(); ++t) {
    const std::int32_t tag = tags[row.at(t)];
    sum += static_cast<double>(row.e(t)[tag]) + (t == 0 ? chain.start(tag) : chain.transition(tags[row.at(t - 1)], tag));
  }
  return row.n() == 0 ? 0 : sum + chain.end(tags[row.at(row.n() - 1)]);
}

}  // namespace

Chain::Chain(Index K, const float* transitions, const float* start, const float* end)
    : K_(K),
      transitions_(transitions),
      start_(start),
      end_(end),
      onwards_(static_cast<std::size_t>(K * K)),
      backwards_(static_cast<std::size_t>(K * K)) {
  most_ = static_cast<double>(*std::max_element(transitions, transitions + K * K));
  if (!std::isfinite(most_)) most_ = 0;
  for (Index i = 0; i < K; ++i)
    for (Index j = 0; j < K; ++j)
      onwards_[static_cast<std::size_t>(i * K + j)] = backwards_[static_cast<std::size_t>(j * K + i)] =
          std::exp(transition(i, j) - most_);
}

void chain_marginals(const Chain& chain, const ChainBatch& batch, float* marginals) {
  const Index K = chain.K();
  over_blocks(chain, batch, [&](Index first, Index last, Index) {
    Sums sums(chain, batch.T);
    for (Index b = first; b < last; ++b) {
      float* const to = marginals + b * batch.T * K;
      std::fill_n(to, batch.T * K, 0.0f);
      sums.take(batch, b);
      if (sums.n() == 0) continue;
      sums.forward();
      sums.backward();
      for (Index t = 0; t < sums.n(); ++t)
        for (Index k = 0; k < K; ++k) to[sums.at(t) * K + k] = static_cast<float>(sums.marginal(t, k));
    }
  });
}

void chain_log_norm(const Chain& chain, const ChainBatch& batch, double* values) {
  over_blocks(chain, batch, [&](Index first, Index last, Index) {
    Sums sums(chain, batch.T);
    for (Index b = first; b < last; ++b) {
      sums.take(batch, b);
      values[b] = sums.n() == 0 ? 0 : sums.forward();
    }
  });
}

void chain_scores(const Chain& chain, const ChainBatch& batch, const std::int32_t* tags, double* values) {
  Sums row(chain, 0);
  for (Index b = 0; b < batch.B; ++b) {
    row.take(batch, b);
    values[b] = score(chain, row, tags + b * batch.T);
  }
}

void chain_viterbi(const Chain& chain, const ChainBatch& batch, Index paths, std::int32_t* tags, double* scores) {
  const Index K = chain.K(), N = paths;
  struct From {
    double score;
    Index tag, rank;
  };
  over_blocks(chain, batch, [&](Index first, Index last, Index) {
    Sums row(chain, 0);
    // [K][N] the best scores that end in a tag, and where they came from at each step.
    std::vector<double> best(static_cast<std::size_t>(K * N)), next(best.size());
    std::vector<std::int32_t> from(static_cast<std::size_t>(std::max<Index>(batch.T, 1) * K * N));
    std::vector<From> all(static_cast<std::size_t>(K * N));
    const auto better = [](const From& x, const From& y) {
      if (x.score > y.score) return true;
      if (y.score > x.score) return false;
      return x.tag != y.tag ? x.tag < y.tag : x.rank < y.rank;
    };
    // The best N of the sequences in `all`, and of what they score; -inf is none.
    const auto choose = [&](double* to, std::int32_t* where) {
      if (N == 1) {
        const From* found = &all[0];
        for (const From& one : all)
          if (one.score > found->score) found = &one;
        to[0] = found->score;
        where[0] = static_cast<std::int32_t>(found->tag);
        return;
      }
      std::partial_sort(all.begin(), all.begin() + N, all.end(), better);
      for (Index k = 0; k < N; ++k) {
        to[k] = all[static_cast<std::size_t>(k)].score;
        where[k] = static_cast<std::int32_t>(all[static_cast<std::size_t>(k)].tag * N + all[static_cast<std::size_t>(k)].rank);
      }
    };
    std::vector<std::int32_t> ends(static_cast<std::size_t>(N));
    std::vector<double> found(static_cast<std::size_t>(N));
    for (Index b = first; b < last; ++b) {
      row.take(batch, b);
      const Index n = row.n();
      for (Index k = 0; k < N; ++k) {
        std::fill_n(tags + (k * batch.B + b) * batch.T, batch.T, -1);
        scores[b * N + k] = kNothing;
      }
      if (n == 0) {
        scores[b * N] = 0;
        continue;
      }
      bool nan = false;
      const auto known = [&](double x) {  // NaN has no place in an order
        nan = nan || std::isnan(x);
        return std::isnan(x) ? kNothing : x;
      };
      std::fill(best.begin(), best.end(), kNothing);
      for (Index t = 0; t < n; ++t) {
        for (Index j = 0; j < K; ++j) {
          const auto e = static_cast<double>(row.e(t)[j]);
          double* const to = next.data() + j * N;
          if (t == 0) {
            std::fill_n(to, N, kNothing);
            to[0] = e + chain.start(j);
          } else {
            for (Index i = 0; i < K; ++i)
              for (Index k = 0; k < N; ++k)
                all[static_cast<std::size_t>(i * N + k)] = {
                    known(best[static_cast<std::size_t>(i * N + k)] + chain.transition(i, j)), i, k};
            choose(to, from.data() + (t * K + j) * N);
            for (Index k = 0; k < N; ++k) to[k] += e;
          }
        }
        std::swap(best, next);
      }
      for (Index i = 0; i < K; ++i)
        for (Index k = 0; k < N; ++k)
          all[static_cast<std::size_t>(i * N + k)] = {known(best[static_cast<std::size_t>(i * N + k)] + chain.end(i)), i, k};
      choose(found.data(), ends.data());
      for (Index k = 0; k < N; ++k) {
        const double value = found[static_cast<std::size_t>(k)];
        scores[b * N + k] = nan ? std::numeric_limits<double>::quiet_NaN() : value;
        if (value == kNothing && k > 0) continue;
        std::int32_t place = ends[static_cast<std::size_t>(k)];
        for (Index t = n - 1; t >= 0; --t) {
          tags[(k * batch.B + b) * batch.T + row.at(t)] = static_cast<std::int32_t>(place / N);
          if (t > 0) place = from[static_cast<std::size_t>(t * K * N + place)];
        }
      }
    }
  });
}

#if REKUR_TRAINING
void chain_loss(const Chain& chain, const ChainBatch& batch, const std::int32_t* tags, const double* weights, double* values,
                float* d_emissions, double* d_chain) {
  const Index K = chain.K(), rows = rows_a_block(batch.B), size = chain_size(K);
  std::vector<double> parts(d_chain == nullptr ? 0 : static_cast<std::size_t>((batch.B + rows - 1) / rows * size));
  over_blocks(chain, batch, [&](Index first, Index last, Index block) {
    Sums sums(chain, batch.T);
    double* const A = d_chain == nullptr ? nullptr : parts.data() + block * size;
    std::vector<double> columns(static_cast<std::size_t>(K)), products(static_cast<std::size_t>(A == nullptr ? 0 : K * K));
    for (Index b = first; b < last; ++b) {
      float* const dx = d_emissions == nullptr ? nullptr : d_emissions + b * batch.T * K;
      if (dx != nullptr) std::fill_n(dx, batch.T * K, 0.0f);
      const std::int32_t* const y = tags + b * batch.T;
      const double w = weights == nullptr ? 1 : weights[b];
      sums.take(batch, b);
      values[b] = 0;
      if (w == 0 || sums.n() == 0) continue;
      values[b] = sums.forward() - score(chain, sums, y);
      if (dx == nullptr) continue;
      sums.backward();
      const Index n = sums.n();
      for (Index t = 0; t < n; ++t)
        for (Index k = 0; k < K; ++k)
          dx[sums.at(t) * K + k] = static_cast<float>(w * (sums.marginal(t, k) - (y[sums.at(t)] == k ? 1 : 0)));
      if (A == nullptr) continue;
      double *const start = A + K * K, *const end = start + K;
      for (Index k = 0; k < K; ++k) {
        start[k] += w * (sums.marginal(0, k) - (y[sums.at(0)] == k ? 1 : 0));
        end[k] += w * (sums.marginal(n - 1, k) - (y[sums.at(n - 1)] == k ? 1 : 0));
      }
      std::fill(products.begin(), products.end(), 0.0);
      for (Index t = 1; t < n; ++t) {
        sums.pairs(
            t, [&](Index j, double v) { columns[static_cast<std::size_t>(j)] = v; },
            [&](Index i, Index j, double p) { A[i * K + j] += w * p; });
        for (Index i = 0; i < K; ++i) {
          const double u = sums.weight()[i];
          double* const to = products.data() + i * K;
          for (Index j = 0; j < K; ++j) to[j] += u * columns[static_cast<std::size_t>(j)];
        }
        A[y[sums.at(t - 1)] * K + y[sums.at(t)]] -= w;
      }
      for (Index i = 0; i < K * K; ++i) A[i] += w * products[static_cast<std::size_t>(i)] * chain.onwards()[i];
    }
  });
  for (std::size_t i = 0; i < parts.size(); ++i) d_chain[i % static_cast<std::size_t>(size)] += parts[i];
}

// Marginals are the derivatives of log Z by the emissions, and second derivatives may change places: what d_marginals goes back to
// is how marginals, and pairs of them, change when the emissions change along d_marginals. Each sum forward and backward has such a
// change, a mean of those that it is a sum of.
void chain_marginals_backward(const Chain& chain, const ChainBatch& batch, const float* d_marginals, float* d_emissions,
                              double* d_chain) {
  const Index K = chain.K(), rows = rows_a_block(batch.B), size = chain_size(K);
  std::vector<double> parts(d_chain == nullptr ? 0 : static_cast<std::size_t>((batch.B + rows - 1) / rows * size));
  over_blocks(chain, batch, [&](Index first, Index last, Index block) {
    Sums sums(chain, batch.T);
    std::vector<double> da(static_cast<std::size_t>(batch.T * K)), db(da.size());
    const auto share = [](double part, double whole) { return part == kNothing ? 0 : std::exp(part - whole); };
    for (Index b = first; b < last; ++b) {
      sums.take(batch, b);
      const Index n = sums.n();
      if (n == 0) continue;
      const double log_z = sums.forward();
      sums.backward();
      const auto g = [&](Index t, Index k) { return static_cast<double>(d_marginals[(b * batch.T + sums.at(t)) * K + k]); };
      double dz = 0;
      for (Index t = 0; t < n; ++t)
        for (Index k = 0; k < K; ++k) dz += sums.marginal(t, k) * g(t, k);
      for (Index t = 0; t < n; ++t) {
        for (Index j = 0; j < K; ++j) {
          double sum = 0;
          if (t > 0) {
            const double whole = sums.a(t)[j] - static_cast<double>(sums.e(t)[j]);
            for (Index i = 0; i < K; ++i)
              sum += share(sums.a(t - 1)[i] + chain.transition(i, j), whole) * da[static_cast<std::size_t>((t - 1) * K + i)];
          }
          da[static_cast<std::size_t>(t * K + j)] = g(t, j) + sum;
        }
      }
      for (Index t = n - 1; t >= 0; --t) {
        for (Index i = 0; i < K; ++i) {
          double sum = 0;
          if (t + 1 < n)
            for (Index j = 0; j < K; ++j)
              sum += share(chain.transition(i, j) + static_cast<double>(sums.e(t + 1)[j]) + sums.b(t + 1)[j], sums.b(t)[i]) *
                     (g(t + 1, j) + db[static_cast<std::size_t>((t + 1) * K + j)]);
          db[static_cast<std::size_t>(t * K + i)] = sum;
        }
      }
      const auto of = [&](Index t, Index k) {
        return sums.marginal(t, k) * (da[static_cast<std::size_t>(t * K + k)] + db[static_cast<std::size_t>(t * K + k)] - dz);
      };
      if (d_emissions != nullptr) {
        for (Index t = 0; t < n; ++t)
          for (Index k = 0; k < K; ++k) d_emissions[(b * batch.T + sums.at(t)) * K + k] += static_cast<float>(of(t, k));
      }
      if (d_chain == nullptr) continue;
      double* const A = parts.data() + block * size;
      for (Index k = 0; k < K; ++k) {
        A[K * K + k] += of(0, k);
        A[K * K + K + k] += of(n - 1, k);
      }
      for (Index t = 1; t < n; ++t)
        for (Index i = 0; i < K; ++i)
          for (Index j = 0; j < K; ++j) {
            const double p =
                std::exp(sums.a(t - 1)[i] + chain.transition(i, j) + static_cast<double>(sums.e(t)[j]) + sums.b(t)[j] - log_z);
            A[i * K + j] +=
                p * (da[static_cast<std::size_t>((t - 1) * K + i)] + g(t, j) + db[static_cast<std::size_t>(t * K + j)] - dz);
          }
    }
  });
  for (std::size_t i = 0; i < parts.size(); ++i) d_chain[i % static_cast<std::size_t>(size)] += parts[i];
}
#endif

}  // namespace rekur::sequence
