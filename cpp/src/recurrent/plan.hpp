// Who computes what: slices of a batch, the threads that share a slice by hidden units, and how a call goes through time.
//
// A call walks its runs in chunks of time steps. Each slice of each run is a task; the tasks are dealt out to groups of `members`
// threads, each a track of the team's work (runtime/team.hpp):
//   batch slices   as many slices as threads, one member each: nothing is shared but the weights
//   hidden slices  few rows: the members of a group split the hidden units and meet once a step
//   wavefront      a stack of layers on few rows: a layer a thread, each a chunk behind the one it reads
// None of it changes a bit of the result: a row does not depend on the rows beside it, a unit not on its neighbours. So it does not
// matter which thread does what is planned for which, or whether it comes at all.
#pragma once

#include <algorithm>
#include <span>

#include "recurrent/recurrence.hpp"
#include "rekur/runtime.hpp"
#include "runtime/parallel.hpp"
#include "runtime/scratch.hpp"
#include "runtime/team.hpp"

namespace rekur::recurrent {

// A share of a batch: rows in descending order of length, so that at any time step the active ones are the first few.
// A slice is walked from one time step to the next in either direction; rows join or leave at their length.
struct Slice {
  std::span<Index> row;     // batch index
  std::span<Index> length;  // of row[j], > 0, descending

  Index rows() const { return static_cast<Index>(row.size()); }
  Index steps() const { return row.empty() ? 0 : length[0]; }
  // Whether the rows stand evenly spaced in the batch.
  bool even() const {
    for (std::size_t j = 2; j < row.size(); ++j)
      if (row[j] - row[j - 1] != row[1] - row[0]) return false;
    return true;
  }
  // Rows whose length is greater than t.
  Index active(Index t) const {
    if (row.empty()) return 0;
    if (length.back() > t) return rows();
    return std::partition_point(length.begin(), length.end(), [t](Index l) { return l > t; }) - length.begin();
  }
};

inline Index length_of(const Forward& f, Index b) { return f.lengths ? f.lengths[b] : f.T; }

// Row b's record of step t in the tape of a training run, of floats or (Recurrence::Impl::kept) of pairs in bf16.
inline Index rows_of_tape(const Forward& f) { return f.tape_rows > 0 ? f.tape_rows : f.B; }
inline float* record_of(const Forward& f, const Recurrence::Impl& r, Index Hp, Index b, Index t) {
  return f.tape + (t * rows_of_tape(f) + b) * r.record(Hp);
}

// The addresses of `count` rows that stand evenly spaced.
template <class T>
void list_evenly(T** to, T* first, Index apart, Index count) {
  for (Index i = 0; i < count; ++i) to[i] = first + i * apart;
}

// The records, and behind them the outputs where the tape keeps them. Then come, of a cell with such, the sums of the gradients of
// weights a unit.
inline Index records_size(const Recurrence::Impl& r, Index steps, Index B, bool own_output) {
  return element_count({steps, B, r.record(padded(r.H)) + (own_output ? r.P : 0)});
}

inline Index unit_sums_size(const Recurrence::Impl& r, Index B) { return element_count({B, r.cell.swept * padded(r.H)}); }

// Outputs of a training run: its y, or the tape's own.
inline Strided<float> outputs(const Forward& f) {
  if (f.y || !f.tape) return f.y;
  const auto& r = Engine::impl(*f.layer);
  return {f.tape + f.T * f.B * r.record(padded(r.H)), r.P, f.B * r.P};
}

inline const Forward& forward_of(const Forward& run) { return run; }
inline const Forward& forward_of(const Backward& run) { return run.forward; }

// How the threads of a call share it.
struct Plan {
  int threads = 1;         // of the call
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

// Threads that so much work is worth, at most `most`.
int threads_of(double work, Index most);

// Floating-point operations of a run's forward pass; an estimate for choosing threads.
double flops(const Forward& f);

// The slices of a run; rows without a valid step are in none.
std::span<Slice> slice_rows(const Forward& f, Index slices, Scratch& scratch);

// The tasks (r * slices + s) of each group, in the order of the runs.
class Groups {
 public:
  Groups(const Plan& plan, Index runs, Scratch& scratch) : most_(0) {
    const Index tasks = runs * plan.slices;
    first_ = scratch.take<Index>(plan.groups + 1).data();
    tasks_ = scratch.take<Index>(tasks).data();
    Index n = 0;
    for (int g = 0; g < plan.groups; ++g) {
      first_[g] = n;
      for (Index task = 0; task < tasks; ++task)
        if (plan.group_of(task / plan.slices, runs, task % plan.slices) == g) tasks_[n++] = task;
      most_ = std::max(most_, n - first_[g]);
    }
    first_[plan.groups] = n;
  }

  std::span<const Index> of(int g) const { return {tasks_ + first_[g], tasks_ + first_[g + 1]}; }
  Index most() const { return most_; }  // tasks of a group

 private:
  Index *first_, *tasks_, most_;
};

// n divided by `by`, and what remains: mostly at once.
struct Quotient {
  Index whole, rest;
};
inline Quotient divide(Index n, Index by) {
  if (n < by) return {0, n};
  if (by == 1) return {n, 0};
  return {n / by, n % by};
}

// Steps, counted from where a run begins, whose (step, row) pairs are summed together for the gradients of weights by AMX, some 32
// of them (simd::Kernels::gemm_tn_bf16). Windows and chunks of steps end where such a group does, so how they are cut changes no
// sum.
inline Index steps_together(Index B) { return B > 0 && B < 32 ? 32 / B : 1; }

inline Index up_to(Index n, Index multiple) { return (n + multiple - 1) / multiple * multiple; }

}  // namespace rekur::recurrent
