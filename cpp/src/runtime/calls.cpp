#include "runtime/calls.hpp"

#include "io/text.hpp"
#include "runtime/locks.hpp"
#include "runtime/team.hpp"

#if REKUR_SYSTEM_THREADS
#include <chrono>
#include <thread>
#if !defined(_WIN32) && __has_include(<pthread.h>)  // Windows has no forks
#define REKUR_FORKS 1
#include <pthread.h>
#endif
#endif

namespace rekur::runtime {
namespace {

// Calls under way, and forks, kFork each: one number, so that entering is one operation.
constexpr int kFork = 1 << 20;
Atomic<int> under_way{0};
Atomic<bool> torn{false};          // this process was forked in the middle of a call
REKUR_THREAD_LOCAL int depth = 0;  // calls within calls of this thread

#if REKUR_SYSTEM_THREADS
constexpr std::chrono::microseconds kGlance{50};
#endif

void enter() noexcept {
  if (depth++ > 0) return;
  int calls = under_way.load(std::memory_order_relaxed);
  do {  // never counted while a fork is under way: a child would take that for a call that it was forked in
#if REKUR_SYSTEM_THREADS
    while (calls >= kFork) {
      std::this_thread::sleep_for(kGlance);
      calls = under_way.load(std::memory_order_relaxed);
    }
#endif
  } while (!under_way.compare_exchange_weak(calls, calls + 1, std::memory_order_acquire, std::memory_order_relaxed));
}

void leave() noexcept {
  if (--depth == 0) under_way.fetch_sub(1, std::memory_order_release);
}

#if REKUR_FORKS
constexpr std::chrono::seconds kLongestWait{10};

int own() { return depth > 0 ? 1 : 0; }

void before_fork() {
  under_way.fetch_add(kFork, std::memory_order_acquire);
  const auto end = std::chrono::steady_clock::now() + kLongestWait;
  while (under_way.load(std::memory_order_acquire) % kFork > own() && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(kGlance);
}

void after_fork() { under_way.fetch_sub(kFork, std::memory_order_release); }

void in_child() {
  if (under_way.load(std::memory_order_relaxed) % kFork > own()) torn.store(true, std::memory_order_relaxed);
  under_way.store(own(), std::memory_order_relaxed);
  forget_teams();
}

// Before anything of the engine can run, and undone by the system when the library is unloaded.
const int watching = pthread_atfork(before_fork, after_fork, in_child);
#endif

}  // namespace

Call::Call() {
  if (torn.load(std::memory_order_relaxed))
    throw_error(
        "this process was forked while another thread was in a call of rekur that did not end: its copy of the models cannot be "
        "used; "
        "start processes by 'spawn', or fork while no call is under way");
  enter();
}
Call::~Call() { leave(); }

QuietCall::QuietCall() noexcept : entered_(!torn.load(std::memory_order_relaxed)) {
  if (entered_) enter();
}
QuietCall::~QuietCall() {
  if (entered_) leave();
}

int other_calls() noexcept {
  const int n = under_way.load(std::memory_order_relaxed) % kFork;
  return depth > 0 && n > 0 ? n - 1 : n;
}

}  // namespace rekur::runtime
