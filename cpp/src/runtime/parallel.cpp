#include "runtime/parallel.hpp"

#include <algorithm>
#include <thread>

#ifdef _OPENMP
#include <omp.h>
#include <pthread.h>

#include <mutex>
#endif
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "rekur/denormals.hpp"
#include "rekur/runtime.hpp"

namespace rekur::runtime {

namespace {

// Tells the core that it is waiting in a loop.
void pause() {
#if defined(__SSE2__)
  _mm_pause();
#elif defined(__aarch64__) || (defined(__arm__) && __ARM_ARCH >= 7)
  asm volatile("yield");
#endif
}

template <class F>
void spin_until(F&& reached) noexcept {
  constexpr int kSpins = 2000;  // some twenty microseconds: a step's share of work, not a time slice
  for (int spin = 0; !reached(); ++spin)
    if (spin < kSpins)
      pause();
    else
      std::this_thread::yield();
}

[[maybe_unused]] constexpr double kWorthThreads =
    1e5;  // floating-point operations; a parallel region costs one to two microseconds

#ifdef _OPENMP
// A process forked from one whose OpenMP threads had been started has none of them, yet its OpenMP would wait for them forever.
// So such a child computes with one thread; the bits are the same.
std::atomic<bool> threads_lost{false};

void watch_forks() {
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { threads_lost = true; }); });
}
#endif

}  // namespace

int threads_for(double work, Index most) {
#ifdef _OPENMP
  if (most < 2 || work < kWorthThreads || threads_lost || omp_in_parallel()) return 1;
  return static_cast<int>(std::min<Index>(most, num_threads()));
#else
  static_cast<void>(work);
  static_cast<void>(most);
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
#ifdef _OPENMP
  watch_forks();
#pragma omp parallel num_threads(threads)
  {
    const FlushDenormals flush;
#pragma omp for schedule(dynamic, 1)
    for (Index i = 0; i < count; ++i) task(i, omp_get_thread_num());
  }
#endif
}

bool run_team(int threads, FunctionRef<void(int)> body) {
  if (threads == 1) {
    const FlushDenormals flush;
    body(0);
    return true;
  }
#ifdef _OPENMP
  watch_forks();
  std::atomic<bool> complete{true};
#pragma omp parallel num_threads(threads)
  {
    if (omp_get_num_threads() < threads) {
      complete = false;
    } else {
      const FlushDenormals flush;
      body(omp_get_thread_num());
    }
  }
  return complete;
#else
  static_cast<void>(body);
  return false;
#endif
}

void Barrier::meet() noexcept {
  const unsigned round = round_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    return;
  }
  spin_until([&] { return round_.load(std::memory_order_acquire) != round; });
}

void Progress::wait_for(Index count) const noexcept {
  spin_until([&] { return done_.load(std::memory_order_acquire) >= count; });
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
