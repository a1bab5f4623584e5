#include "runtime/spare.hpp"

#include <algorithm>
#include <cstdint>

#include "runtime/calls.hpp"
#include "runtime/cores.hpp"
#include "runtime/locks.hpp"
#include "runtime/team.hpp"

#if REKUR_SYSTEM_THREADS
#include <chrono>
#endif

namespace rekur::runtime {
namespace {

// What was lost by waiting is made good by so many times as long without: looking again and again for a free core costs a thirtieth
// of the time, and one that became free is found again soon.
constexpr std::int64_t kTimes = 30;

// Nanoseconds lost, if it is not the caller who waited: until the core that the other thread left alone takes it over.
constexpr std::int64_t kUsual = 1'000'000;

Atomic<int> most_spare{kMostThreads};
Atomic<std::int64_t> until{0};  // when that ends
Atomic<bool> any_number{false};

#if REKUR_SYSTEM_THREADS
std::int64_t nanoseconds_now() { return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }
#else
std::int64_t nanoseconds_now() { return 0; }  // nobody waits
#endif

}  // namespace

int spare_threads(int asked) noexcept {
  if (any_number.load(std::memory_order_relaxed)) return asked;
  // Callers beside this one have cores, too.
  int n = std::min(asked, std::max(usable_cores() - other_calls(), 1));
  const int most = most_spare.load(std::memory_order_relaxed);
  if (most >= n) return n;
  if (nanoseconds_now() < until.load(std::memory_order_relaxed)) return most;
  most_spare.store(kMostThreads, std::memory_order_relaxed);
  return n;
}

void note_stall(int threads, std::int64_t lost) noexcept {
  until.store(nanoseconds_now() + kTimes * (lost > 0 ? lost : kUsual), std::memory_order_relaxed);
  most_spare.store(std::max(threads / 2, 1), std::memory_order_relaxed);
}

void allow_any_number_of_threads(bool allow) noexcept { any_number.store(allow, std::memory_order_relaxed); }

}  // namespace rekur::runtime
