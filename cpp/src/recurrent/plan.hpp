// Who computes what: slices of a batch, the threads that share a slice by hidden units, and how a call goes through time.
//
// A call walks its runs in chunks of time steps. Each slice of each run is a task, done by a group of `members` threads:
//   batch slices   as many slices as threads, one member each: nothing is shared but the weights
//   hidden slices  few rows: the members of a group split the hidden units and meet once a step
//   wavefront      a stack of layers on few rows: a layer a thread, each a chunk behind the one it reads
// None of it changes a bit of the result: a row does not depend on the rows beside it, a unit not on its neighbours.
#pragma once

#include <algorithm>
#include <atomic>
#include <span>

#include "recurrent/recurrence.hpp"
#include "rekur/runtime.hpp"
#include "runtime/parallel.hpp"
#include "runtime/scratch.hpp"

namespace rekur::recurrent {

// A share of a batch: rows in descending order of length, so that at any time step the active ones are the first few.
// A slice is walked from one time step to the next in either direction; rows join or leave at their length.
struct Slice {
  std::span<Index> row;     // batch index
  std::span<Index> length;  // of row[j], > 0, descending

  Index rows() const { return static_cast<Index>(row.size()); }
  Index steps() const { return row.empty() ? 0 : length[0]; }
  // Rows whose length is greater than t.
  Index active(Index t) const {
    if (row.empty()) return 0;
    if (length.back() > t) return rows();
    return std::partition_point(length.begin(), length.end(), [t](Index l) { return l > t; }) - length.begin();
  }
};

inline Index length_of(const Forward& f, Index b) { return f.lengths ? f.lengths[b] : f.T; }

// Outputs of a training run: its y, or the tape's own.
inline Strided<float> outputs(const Forward& f) {
  if (f.y || !f.tape) return f.y;
  const auto& r = Engine::impl(*f.layer);
  return {f.tape + f.T * f.B * r.record(padded(r.H)), r.H, f.B * r.H};
}

inline const Forward& forward_of(const Forward& run) { return run; }
inline const Forward& forward_of(const Backward& run) { return run.forward; }

// How the threads of a call share it.
struct Plan {
  int threads = 1;         // of the parallel region
  int members = 1;         // threads that share a slice
  int groups = 1;          // of `members` threads each
  Index slices = 1;        // of each run
  bool wavefront = false;  // layers that read one another's output run a chunk apart, on different groups
  bool stacked = false;    // there are such layers
  bool alone() const { return threads == 1; }

  // The group that does slice s of run r.
  int group_of(Index r, Index runs, Index s) const {
    const Index task = wavefront ? s * runs + r : stacked ? s : r * slices + s;
    return static_cast<int>(task % groups);
  }
};

// `work`: floating-point operations of all runs. unit_grain: hidden units a member takes at least.
template <class Run>
Plan make_plan(std::span<const Run> runs, double work, Index unit_grain);

// Floating-point operations of a run's forward pass; an estimate for choosing threads.
double flops(const Forward& f);

// The slices of a run; rows without a valid step are in none.
std::span<Slice> slice_rows(const Forward& f, Index slices, Scratch& scratch);

// Runs make(plan).run(thread) on the plan's threads. If the system has fewer for us, one does it all.
template <class Make>
void run_planned(Plan plan, Scratch& scratch, Make&& make) {
  {
    auto call = make(plan);
    if (runtime::run_team(plan.threads, [&](int thread) { call.run(thread); })) return;
  }
  scratch.release();
  plan = Plan{.stacked = plan.stacked};
  auto call = make(plan);
  runtime::run_team(1, [&](int thread) { call.run(thread); });
}

// Deals out the numbers [0, count) to the threads of a region, each number once: first those of its own share, where what a thread
// has just written is likely to be needed, then what others have left of theirs. All threads call `deal` alike, and meet after it.
class Dealer {
 public:
  Dealer(int threads, Scratch& scratch) : threads_(threads), shares_(scratch.take<Share>(2 * threads).data()) {
    for (int i = 0; i < 2 * threads; ++i) new (&shares_[i]) Share;
  }

  // `round`: the thread's own count of these calls.
  template <class F>
  void deal(Index count, int thread, Index round, F&& f) {
    Share* const shares = shares_ + round % 2 * threads_;
    for (int n = 0; n < threads_; ++n) {
      const int owner = (thread + n) % threads_;
      const Index begin = count * owner / threads_, end = count * (owner + 1) / threads_;
      for (Index i; (i = begin + shares[owner].taken.fetch_add(1, std::memory_order_relaxed)) < end;) f(i);
    }
    // Nobody reads the last round's any more; all will see this after they have met.
    shares_[(round + 1) % 2 * threads_ + thread].taken.store(0, std::memory_order_relaxed);
  }

 private:
  struct Share {
    alignas(64) std::atomic<Index> taken{0};
  };

  const int threads_;
  Share* shares_;  // of this round and the next
};

}  // namespace rekur::recurrent
