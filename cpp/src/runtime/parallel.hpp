// Loops on several threads.
#pragma once

#include <optional>

#include "rekur/tensor.hpp"
#include "runtime/function_ref.hpp"
#include "runtime/own_memory.hpp"

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

// As long as it lives, the calling thread's calls use at most so many threads, whatever num_threads() says. At least 1.
class ThreadLimit {
 public:
  explicit ThreadLimit(int threads) noexcept;
  ~ThreadLimit();
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;

 private:
  const int before_;
};

// What is made here is made in this memory, on this thread: others would take theirs from elsewhere, and start. Nothing, where
// there is none.
class OwnMemory {
 public:
  explicit OwnMemory(const Memory& memory) : scope_(&memory) {
    if (memory) alone_.emplace(1);
  }

 private:
  MemoryScope scope_;
  std::optional<ThreadLimit> alone_;
};

// Threads worth using for so much work, at most `most`; 1 within a team's work.
int threads_for(double work, Index most);

}  // namespace rekur::runtime
