// Threads: the only file (with its .cpp) that knows OpenMP.
#pragma once

#include <atomic>

#include "rekur/tensor.hpp"
#include "runtime/function_ref.hpp"

namespace rekur::runtime {

// Runs task(i) for i in [0, count), each exactly once, on up to num_threads() threads, denormals flushed on each of them.
// Which thread runs which task is not specified, so a task must write only what is its own; tasks must not throw.
// `work` is an estimate of the total work in floating-point operations: below about 100,000 one thread does it all.
void parallel_tasks(Index count, double work, FunctionRef<void(Index)> task);

// The same on `threads` threads (threads_for(work, count)), each told by its number, 0 … threads - 1: for memory of its own.
void numbered_tasks(int threads, Index count, FunctionRef<void(Index, int thread)> task);

// Splits [0, n) into ranges whose borders are multiples of `grain` and runs task(begin, end) on them in parallel.
void parallel_range(Index n, Index grain, double work, FunctionRef<void(Index, Index)> task);

inline constexpr Index kAllThreads = 1 << 20;

// Threads worth using for so much work, at most `most`; 1 inside a parallel region, ours or the caller's.
int threads_for(double work, Index most);

// Runs body(0) … body(threads - 1) at the same time, denormals flushed, so that they may wait for one another. body must not throw.
// False, with nothing run, if the system gives fewer threads.
bool run_team(int threads, FunctionRef<void(int)> body);

// A meeting point of `threads` threads that run at the same time. It spins: about 50 ns between two cores, where an OpenMP barrier
// takes 200 and a parallel region 500; a thread that has waited long lets others run.
class Barrier {
 public:
  explicit Barrier(int threads) noexcept : threads_(threads) {}
  void wait() noexcept {
    if (threads_ > 1) meet();
  }

 private:
  void meet() noexcept;

  const int threads_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> round_{0};
};

// How far a thread has come, for others that run at the same time and wait for it. They spin, as at a Barrier.
class Progress {
 public:
  void advance() noexcept { done_.store(done_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }
  // Until advance() has been called `count` times; what was written before is then seen.
  void wait_for(Index count) const noexcept;

 private:
  alignas(128) std::atomic<Index> done_{0};
};

}  // namespace rekur::runtime
