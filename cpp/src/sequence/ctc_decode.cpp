#include <algorithm>
#include <cmath>
#include <new>
#include <utility>
#include <vector>

#include "rekur/denormals.hpp"
#include "runtime/calls.hpp"
#include "runtime/locks.hpp"
#include "runtime/parallel.hpp"
#include "sequence/ctc.hpp"
#include "sequence/log_sums.hpp"

namespace rekur::sequence {
namespace {

// A label sequence, by its last label and the sequence before it. Every one that was ever kept stays, once: a search goes back to
// them.
struct Prefix {
  std::int32_t label;
  Index before, length;
  double scored;           // alpha times its log p so far, and beta times its length
  Index kept = -1;         // its number among those that are kept now
  Index next_scores = -1;  // where what each further label would add to `scored` begins; -1: nobody asked yet
  std::vector<std::pair<std::int32_t, Index>> longer = {};
};

// A prefix that is kept: logs of the probabilities of the paths that spell it and end in a blank, and of those that do not.
struct Kept {
  Index prefix;
  double blank, label, total;
};

// What may be kept after a step: a kept prefix again, or with a label more (which no kept prefix is).
struct Candidate {
  Index number;        // of the kept prefix
  std::int32_t label;  // -1: none
  double total;
};

// NaN stands before all: it is to be seen. Of equal ones the first.
bool better(double a, double b) { return a > b || (std::isnan(a) && !std::isnan(b)); }

class Search {
 public:
  Search(const CtcDecoding& what, const CtcBeam& beam) : w_(what), beam_(beam) {}

  void run(Index b, std::int32_t* labels, double* values) {
    prefixes_.push_back({.label = -1, .before = -1, .length = 0, .scored = 0.0});
    kept_.push_back({0, 0.0, kNothing, 0.0});
    log_p_.resize(static_cast<std::size_t>(w_.C));
    const Index n = w_.lengths == nullptr ? w_.T : w_.lengths[b];
    for (Index t = 0; t < n; ++t) step(w_.logits + (b * w_.T + t) * w_.C);
    if (beam_.scorer != nullptr && beam_.scorer->knows(NGram::kEnd)) {
      for (Kept& k : kept_) k.total += beam_.alpha * score(k.prefix, NGram::kEnd);
      std::stable_sort(kept_.begin(), kept_.end(), [](const Kept& x, const Kept& y) { return better(x.total, y.total); });
    }
    for (Index k = 0; k < beam_.paths; ++k) {
      std::int32_t* const to = labels + (k * w_.B + b) * w_.T;
      std::fill_n(to, w_.T, -1);
      values[b * beam_.paths + k] = kNothing;
      if (k >= static_cast<Index>(kept_.size())) continue;
      const Kept& found = kept_[static_cast<std::size_t>(k)];
      values[b * beam_.paths + k] = found.total;
      for (Index p = found.prefix; p > 0; p = at(p).before) to[at(p).length - 1] = at(p).label;
    }
  }

 private:
  Prefix& at(Index prefix) { return prefixes_[static_cast<std::size_t>(prefix)]; }

  // log p of a label behind a prefix.
  double score(Index prefix, std::int32_t label) {
    const NGram& scorer = *beam_.scorer;
    context_.assign(1, label);
    Index p = prefix;
    for (; p > 0 && static_cast<Index>(context_.size()) < scorer.order(); p = at(p).before) context_.push_back(at(p).label);
    if (p == 0 && static_cast<Index>(context_.size()) < scorer.order() && scorer.knows(NGram::kBegin))
      context_.push_back(NGram::kBegin);
    std::reverse(context_.begin(), context_.end());
    return scorer.score(context_.data(), static_cast<Index>(context_.size()));
  }

  // What each label would add to what the prefix has scored; null: nothing.
  const double* next_scores(Index prefix) {
    if (beam_.scorer == nullptr) return nullptr;
    if (at(prefix).next_scores < 0) {
      at(prefix).next_scores = static_cast<Index>(scores_.size());
      for (std::int32_t k = 0; k < w_.C; ++k) scores_.push_back(k == w_.blank ? 0.0 : beam_.alpha * score(prefix, k));
    }
    return scores_.data() + at(prefix).next_scores;
  }

  double added(const double* scores, std::int32_t label) const { return beam_.beta + (scores == nullptr ? 0.0 : scores[label]); }

  // The prefix with a label more.
  Index longer(Index prefix, std::int32_t label) {
    for (const auto& [known, longer] : at(prefix).longer)
      if (known == label) return longer;
    const auto made = static_cast<Index>(prefixes_.size());
    const double scored = at(prefix).scored + added(next_scores(prefix), label);
    const Index length = at(prefix).length + 1;
    prefixes_.push_back({.label = label, .before = prefix, .length = length, .scored = scored});
    at(prefix).longer.emplace_back(label, made);
    return made;
  }

  // log p of the paths that spell a kept prefix and go on with a label. A label again needs a blank before it.
  double reached(const Kept& k, std::int32_t label) {
    const bool again = k.prefix > 0 && at(k.prefix).label == label;
    return (again ? k.blank : log_add(k.blank, k.label)) + log_p_[static_cast<std::size_t>(label)];
  }

  void step(const float* x) {
    const double sum = log_sum_exp(x, w_.C);
    for (Index c = 0; c < w_.C; ++c) log_p_[static_cast<std::size_t>(c)] = static_cast<double>(x[c]) - sum;
    const auto count = static_cast<Index>(kept_.size());
    for (Index i = 0; i < count; ++i) at(kept_[static_cast<std::size_t>(i)].prefix).kept = i;
    candidates_.clear();
    next_.clear();
    is_kept_.assign(static_cast<std::size_t>(count * w_.C), 0);
    for (Index i = 0; i < count; ++i) {
      const Kept& k = kept_[static_cast<std::size_t>(i)];
      const Prefix& prefix = at(k.prefix);
      Kept same = {k.prefix, log_add(k.blank, k.label) + log_p_[static_cast<std::size_t>(w_.blank)], kNothing, 0};
      if (k.prefix > 0) {
        same.label = k.label + log_p_[static_cast<std::size_t>(prefix.label)];
        const Index before = at(prefix.before).kept;
        if (before >= 0) {
          same.label = log_add(same.label, reached(kept_[static_cast<std::size_t>(before)], prefix.label));
          is_kept_[static_cast<std::size_t>(before * w_.C + prefix.label)] = 1;
        }
      }
      same.total = log_add(same.blank, same.label) + prefix.scored;
      next_.push_back(same);
      candidates_.push_back({i, -1, same.total});
    }
    for (Index i = 0; i < count; ++i) {
      const Kept& k = kept_[static_cast<std::size_t>(i)];
      const double* const scores = next_scores(k.prefix);
      const double scored = at(k.prefix).scored, whole = log_add(k.blank, k.label);
      const std::int32_t last = k.prefix > 0 ? at(k.prefix).label : -1;
      for (std::int32_t c = 0; c < w_.C; ++c) {
        if (c == w_.blank || is_kept_[static_cast<std::size_t>(i * w_.C + c)] != 0) continue;
        const double from = c == last ? k.blank : whole;
        if (from == kNothing) continue;
        candidates_.push_back({i, c, from + log_p_[static_cast<std::size_t>(c)] + (scored + added(scores, c))});
      }
    }
    keep();
  }

  void keep() {
    // By number where they are equal, so that what is kept does not depend on how the library sorts.
    const auto order = [](const Candidate& a, const Candidate& b) {
      if (better(a.total, b.total)) return true;
      if (better(b.total, a.total)) return false;
      return a.number != b.number ? a.number < b.number : a.label < b.label;
    };
    const auto most = static_cast<std::ptrdiff_t>(std::min(static_cast<std::size_t>(beam_.width), candidates_.size()));
    if (most < static_cast<std::ptrdiff_t>(candidates_.size()))
      std::nth_element(candidates_.begin(), candidates_.begin() + most, candidates_.end(), order);
    std::sort(candidates_.begin(), candidates_.begin() + most, order);
    const std::vector<Kept> before = std::exchange(kept_, {});
    for (const Kept& k : before) at(k.prefix).kept = -1;
    for (std::ptrdiff_t i = 0; i < most; ++i) {
      const Candidate& c = candidates_[static_cast<std::size_t>(i)];
      if (c.label < 0) {
        kept_.push_back(next_[static_cast<std::size_t>(c.number)]);
        continue;
      }
      const Kept& from = before[static_cast<std::size_t>(c.number)];
      const double label = reached(from, c.label);
      kept_.push_back({longer(from.prefix, c.label), kNothing, label, c.total});
    }
  }

  const CtcDecoding& w_;
  const CtcBeam& beam_;
  std::vector<Prefix> prefixes_;
  std::vector<Kept> kept_, next_;
  std::vector<Candidate> candidates_;
  std::vector<char> is_kept_;  // [number][class]: whether that prefix with that label more is kept, too
  std::vector<double> log_p_, scores_;
  std::vector<std::int32_t> context_;
};

}  // namespace

void ctc_greedy(const CtcDecoding& what, bool merge_repeated, std::int32_t* labels, float* values) {
  const runtime::Call call;
  const FlushDenormals flush;
  const double work = static_cast<double>(what.B) * static_cast<double>(what.T * what.C);
  runtime::parallel_tasks(what.B, work, [&](Index b) {
    std::int32_t* const to = labels + b * what.T;
    std::fill_n(to, what.T, -1);
    const Index n = what.lengths == nullptr ? what.T : what.lengths[b];
    float sum = 0;
    Index found = 0;
    std::int32_t before = -1;
    for (Index t = 0; t < n; ++t) {
      const float* const x = what.logits + (b * what.T + t) * what.C;
      // The first of the largest; NaN counts as larger than all, as in NumPy.
      std::int32_t best = 0;
      for (std::int32_t k = 1; k < what.C && !std::isnan(x[best]); ++k)
        if (x[k] > x[best] || std::isnan(x[k])) best = k;
      sum += x[best];
      if (best != what.blank && !(merge_repeated && best == before)) to[found++] = best;
      before = best;
    }
    values[b] = sum;
  });
}

void ctc_beam(const CtcDecoding& what, const CtcBeam& beam, std::int32_t* labels, double* values) {
  const runtime::Call call;
  const FlushDenormals flush;
  const double each = 20.0 * static_cast<double>(what.T * what.C) * static_cast<double>(beam.width);
  runtime::Atomic<bool> failed = false;  // a task must not throw
  runtime::parallel_tasks(what.B, each * static_cast<double>(what.B), [&](Index b) {
    try {
      Search(what, beam).run(b, labels, values);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
  });
  if (failed) throw std::bad_alloc();
}

// --- n-grams ---

namespace {

std::uint64_t hash_of(const std::int32_t* labels, Index n) {
  std::uint64_t h = 0x9E3779B97F4A7C15u;
  for (Index i = 0; i < n; ++i) {
    h = (h ^ static_cast<std::uint32_t>(labels[i])) * 0xFF51AFD7ED558CCDu;
    h ^= h >> 32;
  }
  return h;
}

}  // namespace

void NGram::add(const std::int32_t* labels, Index n, Entry entry) {
  places_.push_back({static_cast<Index>(labels_.size()), n});
  labels_.insert(labels_.end(), labels, labels + n);
  entries_.push_back(entry);
}

void NGram::finish() {
  std::size_t size = 16;
  while (size < 2 * places_.size()) size *= 2;
  slots_.assign(size, -1);
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const std::int32_t* const labels = labels_.data() + places_[i].at;
    const Index n = places_[i].size;
    std::size_t slot = hash_of(labels, n) & (size - 1);
    for (; slots_[slot] >= 0; slot = (slot + 1) & (size - 1)) {
      const Place& other = places_[static_cast<std::size_t>(slots_[slot])];
      if (other.size == n && std::equal(labels, labels + n, labels_.data() + other.at)) break;
    }
    slots_[slot] = static_cast<Index>(i);
  }
}

const NGram::Entry* NGram::find(const std::int32_t* labels, Index n) const {
  const std::size_t size = slots_.size();
  for (std::size_t slot = hash_of(labels, n) & (size - 1); slots_[slot] >= 0; slot = (slot + 1) & (size - 1)) {
    const auto i = static_cast<std::size_t>(slots_[slot]);
    if (places_[i].size == n && std::equal(labels, labels + n, labels_.data() + places_[i].at)) return &entries_[i];
  }
  return nullptr;
}

double NGram::score(const std::int32_t* labels, Index n) const {
  const Index given = std::min(n, order_);
  labels += n - given;
  double backoff = 0;
  for (Index size = given; size > 0; --size, ++labels) {
    if (const Entry* const whole = find(labels, size)) return backoff + whole->log_p;
    if (size == 1) break;
    if (const Entry* const context = find(labels, size - 1)) backoff += context->backoff;
  }
  return backoff + unknown_;
}

}  // namespace rekur::sequence
