// Threads: the only file (with its .cpp) that knows OpenMP.
#pragma once

#include <functional>

#include "rekur/tensor.hpp"

namespace rekur::runtime {

// While it lives, denormal inputs and results are treated as zero on this thread; the caller's mode returns with its end.
class FlushDenormals {
 public:
  FlushDenormals() noexcept;
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  std::uint64_t saved_;
};

// Runs task(i) for i in [0, count), each exactly once, on up to num_threads() threads, denormals flushed on each of them.
// Which thread runs which task is not specified, so a task must write only what is its own; tasks must not throw.
// `work` is an estimate of the total work in floating-point operations: below about 100,000 one thread does it all.
void parallel_tasks(Index count, double work, const std::function<void(Index)>& task);

// Splits [0, n) into ranges whose borders are multiples of `grain` and runs task(begin, end) on them in parallel.
void parallel_range(Index n, Index grain, double work, const std::function<void(Index, Index)>& task);

}  // namespace rekur::runtime
