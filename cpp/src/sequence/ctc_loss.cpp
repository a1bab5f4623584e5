#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "isa/dispatch.hpp"
#include "rekur/denormals.hpp"
#include "runtime/calls.hpp"
#include "runtime/parallel.hpp"
#include "runtime/scratch.hpp"
#include "sequence/ctc.hpp"
#include "sequence/log_sums.hpp"

#if REKUR_TRAINING
namespace rekur::sequence {
namespace {

constexpr double kLeast = -708;    // log of the smallest normal double
constexpr double kWhole = 1e-300;  // a number from here on has lost nothing
constexpr double kUnseen = -25;    // log of what may be missing of a sum: 1.4e-11 of it
constexpr Index kBefore = 2;       // zeros before the states of a step, where those would be that they are reached from
constexpr float kPlain = 1e-30f;   // from here on a float holds a probability with all its digits

// Memory of a thread.
struct Memory {
  std::span<double> alpha, beta, emitted, sums, most, skips;
  std::span<float> p;
  std::span<std::int32_t> steps, first, last;

  Memory(Scratch& scratch, const CtcBatch& b)
      : alpha(scratch.take<double>((b.T + 1) * row(b))),
        beta(scratch.take<double>(2 * row(b))),
        emitted(scratch.take<double>((b.T + 1) * row(b))),
        sums(scratch.take<double>(b.T + 1)),
        most(scratch.take<double>(b.T + 1)),
        skips(scratch.take<double>(row(b))),
        p(scratch.take<float>(b.C)),
        steps(scratch.take<std::int32_t>(b.T + 1)),
        first(scratch.take<std::int32_t>(b.T + 1)),
        last(scratch.take<std::int32_t>(b.T + 1)) {}

  // States of a step, zeros before and behind.
  static Index row(const CtcBatch& b) { return 2 * b.L + 1 + 2 * kBefore; }
};

// Four sums side by side: one alone would wait for each addition.
double sum_of(const double* x, Index n) {
  double sums[4] = {};
  Index i = 0;
  for (; i + 4 <= n; i += 4)
    for (Index k = 0; k < 4; ++k) sums[k] += x[i + k];
  for (; i < n; ++i) sums[i % 4] += x[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// One row of the batch.
class Row {
 public:
  Row(const CtcBatch& batch, Index b, Memory& memory)
      : b_(batch), m_(memory), x_(batch.logits + b * batch.T * batch.C), labels_(batch.labels + b * batch.L) {
    count_ = batch.label_counts[b];
    S_ = 2 * count_ + 1;
    width_ = Memory::row(batch);
    for (Index t = 0; t < batch.T; ++t)
      if (batch.valid == nullptr || batch.valid[b * batch.T + t] != 0)
        m_.steps[static_cast<std::size_t>(n_++)] = static_cast<std::int32_t>(t);
  }

  double value(float* dx) {
    if (dx != nullptr) std::fill_n(dx, b_.T * b_.C, 0.0f);
    Index least = count_;
    for (Index k = 1; k < count_; ++k) least += labels_[k] == labels_[k - 1];
    if (n_ < least) return std::numeric_limits<double>::infinity();
    if (n_ == 0) return 0;
    find_windows();
    for (Index s = 0; s < width_; ++s) m_.skips[static_cast<std::size_t>(s)] = s < S_ && skips(s) ? 1 : 0;
    double log_p;
    if (!scaled(dx, log_p)) log_p = in_logarithms(dx);
    if (dx != nullptr && std::isinf(log_p)) std::fill_n(dx, b_.T * b_.C, 0.0f);
    return -log_p;
  }

 private:
  double* alpha(Index k) { return m_.alpha.data() + k * width_ + kBefore; }
  double* beta(Index k) { return m_.beta.data() + (k % 2) * width_ + kBefore; }
  double* emitted(Index k) { return m_.emitted.data() + k * width_ + kBefore; }
  const float* x(Index k) const { return x_ + m_.steps[static_cast<std::size_t>(k)] * b_.C; }
  float* at(float* dx, Index k) const { return dx + m_.steps[static_cast<std::size_t>(k)] * b_.C; }
  std::int32_t label(Index s) const { return s % 2 == 0 ? b_.blank : labels_[s / 2]; }
  // Whether a label may follow the one before it without a blank between them.
  bool skips(Index s) const { return s % 2 == 1 && s > 1 && labels_[s / 2] != labels_[s / 2 - 1]; }
  // The states that a path can be in at step k and still end in time: from first(k) on, before behind(k). All of them are reached.
  void find_windows() {
    const auto at = [](Index k) { return static_cast<std::size_t>(k); };
    auto last = static_cast<std::int32_t>(std::min<Index>(S_ - 1, 1));
    for (Index k = 0; k < n_; ++k) {
      m_.last[at(k)] = last;
      if (last + 1 < S_) last += last + 2 < S_ && skips(last + 2) ? 2 : 1;
    }
    auto first = static_cast<std::int32_t>(std::max<Index>(S_ - 2, 0));
    for (Index k = n_ - 1; k >= 0; --k) {
      m_.first[at(k)] = first;
      if (first > 0) first -= skips(first) ? 2 : 1;
    }
  }
  Index first(Index k) const { return m_.first[static_cast<std::size_t>(k)]; }
  Index behind(Index k) const { return m_.last[static_cast<std::size_t>(k)] + 1; }

  // Probabilities of the states' classes; their largest bounds what a path can gain there.
  void emit(Index k, float* p) {
    isa::kernels().softmax(x(k), p, 1, b_.C);
    float sum = std::numeric_limits<float>::quiet_NaN();
    const auto of = [&](std::int32_t c) {
      if (p[c] >= kPlain) return static_cast<double>(p[c]);
      if (std::isnan(sum)) isa::kernels().log_sum_exp(x(k), &sum, 1, b_.C);
      return std::exp(static_cast<double>(x(k)[c]) - static_cast<double>(sum));
    };
    double* const e = emitted(k);
    const double blank = of(b_.blank);
    double most = blank;
    for (Index s = 0; s < S_; s += 2) e[s] = blank;
    for (Index s = 1; s < S_; s += 2) {
      e[s] = of(labels_[s / 2]);
      most = std::max(most, e[s]);
    }
    m_.most[static_cast<std::size_t>(k)] = std::log(std::min(1.0, 3 * most));
  }

  // Whether no sum lost more than can be seen of P. Where a number of a step was too small for a double, what is missing is below
  // kLeast beside the sum of the step before (in the order of the sums), and gains at most `most` at each of the steps that follow.
  bool certain(double log_p, bool backwards) const {
    if (!lost_) return true;
    double sum = 0, others = 0;
    for (Index k = 0; k < n_; ++k) sum += m_.sums[static_cast<std::size_t>(k)];
    const double states = std::log(static_cast<double>(S_));
    for (Index i = 0; i < n_; ++i) {
      const auto k = static_cast<std::size_t>(backwards ? i : n_ - 1 - i);
      sum -= m_.sums[k];
      if (!(kLeast + states + sum + others < log_p + kUnseen)) return false;
      others += m_.most[k];
    }
    return true;
  }
  void look(const double* x, Index n) {
    double least = x[0];
    for (Index i = 1; i < n; ++i) least = std::min(least, x[i]);
    lost_ = lost_ || !(least >= kWhole);
  }

  // log P and, unless null, its negative derivatives; false where that takes logarithms.
  bool scaled(float* dx, double& log_p) {
    log_p = 0;
    lost_ = false;
    const double* const skip = m_.skips.data();
    for (Index k = 0; k < n_; ++k) {
      emit(k, dx == nullptr ? m_.p.data() : at(dx, k));
      const double* const e = emitted(k);
      double* const to = alpha(k);
      std::fill(to - kBefore, to + S_ + kBefore, 0.0);
      const Index from = first(k), end = behind(k);
      if (k == 0) {
        std::copy(e + from, e + end, to + from);
      } else {
        const double* const a = alpha(k - 1);
        for (Index s = from; s < end; ++s) to[s] = (a[s] + a[s - 1] + skip[s] * a[s - 2]) * e[s];
      }
      const double sum = sum_of(to + from, end - from);
      if (!(sum > 0)) return false;  // nothing is left, or NaN
      look(to + from, end - from);
      const double scale = 1 / sum;
      if (!std::isfinite(scale)) return false;
      for (Index s = from; s < end; ++s) to[s] *= scale;
      m_.sums[static_cast<std::size_t>(k)] = std::log(sum);
      log_p += m_.sums[static_cast<std::size_t>(k)];
    }
    const double* const last = alpha(n_ - 1);
    const double ends = last[S_ - 1] + (S_ > 1 ? last[S_ - 2] : 0.0);
    if (!(ends > 0)) return false;
    log_p += std::log(ends);
    return certain(log_p, false) && (dx == nullptr || scaled_back(dx, log_p));
  }

  bool scaled_back(float* dx, double log_p) {
    lost_ = false;
    const double* const skip = m_.skips.data();
    for (Index k = n_ - 1; k >= 0; --k) {
      double* const to = beta(k);
      std::fill(to - kBefore, to + S_ + kBefore, 0.0);
      const Index from = first(k), end = behind(k);
      if (k == n_ - 1) {
        std::fill(to + from, to + end, 1.0);
      } else {
        const double* const b = beta(k + 1);  // times what is emitted there
        for (Index s = from; s < end; ++s) to[s] = b[s] + b[s + 1] + skip[s + 2] * b[s + 2];
      }
      const double sum = sum_of(to + from, end - from);
      const double* const a = alpha(k);
      double blank = 0, labels = 0;
      for (Index s = from + from % 2; s < end; s += 2) blank += a[s] * to[s];
      for (Index s = from + (from + 1) % 2; s < end; s += 2) labels += a[s] * to[s];
      const double share = blank + labels;
      if (!(share > 1e-250)) return false;
      float* const d = at(dx, k);
      const double one = 1 / share;
      d[b_.blank] -= static_cast<float>(blank * one);
      for (Index s = from + (from + 1) % 2; s < end; s += 2) d[label(s)] -= static_cast<float>(a[s] * to[s] * one);
      m_.sums[static_cast<std::size_t>(k)] = std::log(sum);
      const double* const e = emitted(k);
      const double scale = 1 / sum;
      look(to + from, end - from);
      for (Index s = from; s < end; ++s) to[s] *= scale * e[s];
      look(to + from, end - from);
    }
    return certain(log_p, true);
  }

  double in_logarithms(float* dx) {
    for (Index k = 0; k < n_; ++k) {
      const double sum = log_sum_exp(x(k), b_.C);
      double* const e = emitted(k);
      for (Index s = 0; s < S_; ++s) e[s] = static_cast<double>(x(k)[label(s)]) - sum;
      double* const to = alpha(k);
      std::fill(to - kBefore, to + S_ + kBefore, kNothing);
      const double* const a = k == 0 ? nullptr : alpha(k - 1);
      for (Index s = first(k); s < behind(k); ++s)
        to[s] = e[s] + (k == 0 ? 0.0 : log_add(log_add(a[s], a[s - 1]), skips(s) ? a[s - 2] : kNothing));
    }
    const double* const last = alpha(n_ - 1);
    const double log_p = S_ > 1 ? log_add(last[S_ - 1], last[S_ - 2]) : last[0];
    if (dx == nullptr || std::isinf(log_p)) return log_p;
    for (Index k = n_ - 1; k >= 0; --k) {
      double* const to = beta(k);
      std::fill(to - kBefore, to + S_ + kBefore, kNothing);
      const double* const b = beta(k + 1);
      isa::kernels().softmax(x(k), at(dx, k), 1, b_.C);
      for (Index s = first(k); s < behind(k); ++s) {
        to[s] = k == n_ - 1 ? 0.0 : log_add(log_add(b[s], b[s + 1]), s + 2 < S_ && skips(s + 2) ? b[s + 2] : kNothing);
        at(dx, k)[label(s)] -= static_cast<float>(std::exp(alpha(k)[s] + to[s] - log_p));
      }
      for (Index s = first(k); s < behind(k); ++s) to[s] += emitted(k)[s];
    }
    return log_p;
  }

  const CtcBatch& b_;
  Memory& m_;
  const float* x_;
  const std::int32_t* labels_;
  Index count_ = 0, S_ = 1, n_ = 0, width_ = 0;
  bool lost_ = false;  // whether a number was too small for a double
};

}  // namespace

void ctc_loss(const CtcBatch& batch, double* values, float* d_logits) {
  const runtime::Call call;
  const FlushDenormals flush;
  const double work = static_cast<double>(batch.B * batch.T) * static_cast<double>(20 * batch.C + 40 * (2 * batch.L + 1));
  const int threads = runtime::threads_for(work, batch.B);
  ScratchUse scratch;
  std::vector<Memory> memory;
  for (int i = 0; i < threads; ++i) memory.emplace_back(*scratch, batch);
  runtime::numbered_tasks(threads, batch.B, [&](Index b, int thread) {
    Row row(batch, b, memory[static_cast<std::size_t>(thread)]);
    values[b] = row.value(d_logits == nullptr ? nullptr : d_logits + b * batch.T * batch.C);
  });
}

}  // namespace rekur::sequence
#endif
