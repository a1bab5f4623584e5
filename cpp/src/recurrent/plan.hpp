// Who computes what: the rows of a run, longest first, dealt out to slices that need nothing of one another.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "recurrent/recurrence.hpp"
#include "rekur/runtime.hpp"
#include "runtime/parallel.hpp"

namespace rekur::recurrent {

// A share of a batch: rows in descending order of length, so that at any time step the active ones are the first few.
// A slice is walked from one time step to the next in either direction; rows join or leave at their length.
struct Slice {
  std::vector<Index> row;     // batch index
  std::vector<Index> length;  // of row[j], > 0, descending

  Index rows() const { return static_cast<Index>(row.size()); }
  Index steps() const { return row.empty() ? 0 : length[0]; }
  // Rows whose length is greater than t.
  Index active(Index t) const {
    return std::partition_point(length.begin(), length.end(), [t](Index l) { return l > t; }) - length.begin();
  }
};

inline Index length_of(const Forward& f, Index b) { return f.lengths ? f.lengths[b] : f.T; }

// Slices of a run of B rows for `threads` threads. Below four rows a slice the weights are read for too little work.
inline std::vector<Slice> slice_rows(const Forward& f, int threads) {
  if (f.T == 0) return {};
  std::vector<Index> order;
  order.reserve(static_cast<std::size_t>(f.B));
  for (Index b = 0; b < f.B; ++b)
    if (length_of(f, b) > 0) order.push_back(b);
  if (f.lengths) std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return f.lengths[a] > f.lengths[b]; });
  const Index rows = static_cast<Index>(order.size());
  const Index count = std::clamp<Index>(rows / 4, 1, threads);
  std::vector<Slice> slices(static_cast<std::size_t>(rows == 0 ? 0 : count));
  for (Index j = 0; j < rows; ++j) {
    Slice& s = slices[static_cast<std::size_t>(j % count)];  // dealt like cards: every slice gets its share of long rows
    s.row.push_back(order[static_cast<std::size_t>(j)]);
    s.length.push_back(length_of(f, order[static_cast<std::size_t>(j)]));
  }
  return slices;
}

// Outputs of a training run: its y, or the tape's own.
inline Strided<float> outputs(const Forward& f) {
  if (f.y || !f.tape) return f.y;
  const auto& r = Engine::impl(*f.layer);
  return {f.tape + f.T * f.B * r.record(padded(r.H)), r.H, f.B * r.H};
}

// Floating-point operations of a run's forward pass; an estimate for choosing threads.
inline double flops(const Forward& f) {
  const auto& r = Engine::impl(*f.layer);
  return 2.0 * r.cell.gates * static_cast<double>(r.H) * static_cast<double>(r.I + r.H + 16) * static_cast<double>(f.B) *
         static_cast<double>(f.T);
}

inline const Forward& forward_of(const Forward& run) { return run; }
inline const Forward& forward_of(const Backward& run) { return run.forward; }

// Cuts runs into slices and runs a Task(run, slice) for each, all sharing the threads of one parallel region, each with
// scratch_size() floats of its own. The scratch stays with the calling thread for its next call. Returns the work of a forward
// pass.
template <class Task, class Run>
double run_slices(std::span<const Run> runs) {
  double work = 0;
  std::vector<std::vector<Slice>> slices;
  for (const Run& run : runs) slices.push_back(slice_rows(forward_of(run), num_threads()));
  std::vector<Task> tasks;
  std::vector<Index> scratch_at{0};
  for (std::size_t i = 0; i < runs.size(); ++i) {
    work += flops(forward_of(runs[i]));
    for (const Slice& slice : slices[i]) {
      tasks.emplace_back(runs[i], slice);
      scratch_at.push_back(scratch_at.back() + (tasks.back().scratch_size() + 15) / 16 * 16);
    }
  }
  thread_local Buffer scratch;
  float* base = scratch.reserve(scratch_at.back());
  runtime::parallel_tasks(static_cast<Index>(tasks.size()), work,
                          [&](Index i) { tasks[static_cast<std::size_t>(i)].run(base + scratch_at[static_cast<std::size_t>(i)]); });
  return work;
}

}  // namespace rekur::recurrent
