#include "runtime/parallel.hpp"

#include <algorithm>

#include "rekur/denormals.hpp"
#include "rekur/runtime.hpp"
#include "runtime/locks.hpp"
#include "runtime/spare.hpp"
#include "runtime/team.hpp"

namespace rekur::runtime {

namespace {

REKUR_THREAD_LOCAL int limit = 0;  // 0: num_threads()

}  // namespace

ThreadLimit::ThreadLimit(int threads) noexcept : before_(limit) { limit = threads; }
ThreadLimit::~ThreadLimit() { limit = before_; }

int threads_for(double work, Index most) {
#if REKUR_THREADS
  constexpr double kWorthThreads = 1e5;  // floating-point operations; to call others costs up to a microsecond
  if (most < 2 || limit == 1 || work < kWorthThreads || in_team()) return 1;
  return spare_threads(static_cast<int>(std::min<Index>(most, limit > 0 ? limit : num_threads())));
#else
  static_cast<void>(work), static_cast<void>(most);
  return 1;
#endif
}

void parallel_tasks(Index count, double work, FunctionRef<void(Index)> task) {
  numbered_tasks(threads_for(work, count), count, [&](Index i, int) { task(i); });
}

void numbered_tasks(int threads, Index count, FunctionRef<void(Index, int)> task) {
  if (threads == 1) {
    const FlushDenormals flush;
    for (Index i = 0; i < count; ++i) task(i, 0);
    return;
  }
  run(threads, {.pieces = count, .piece = task});
}

void parallel_range(Index n, Index grain, double work, FunctionRef<void(Index, Index)> task) {
  if (n <= 0) return;
  const Index grains = (n - 1) / grain + 1;
  const Index pieces = threads_for(work, grains);
  // Piece i covers whole grains [i * grains / pieces, (i + 1) * grains / pieces), computed without overflow.
  const auto border = [&](Index i) { return std::min(n, (grains / pieces * i + grains % pieces * i / pieces) * grain); };
  parallel_tasks(pieces, work, [&](Index i) { task(border(i), i + 1 == pieces ? n : border(i + 1)); });
}

}  // namespace rekur::runtime
