// Locks and what threads share without them. Where a system has no threads at all (a microcontroller, a WebAssembly module) they
// are empty and plain: REKUR_SYSTEM_THREADS is 0. This is not REKUR_THREADS, which says whether a call may start threads of the
// engine's own: without those, the program's threads still share models.
#pragma once

#include <cstddef>
#include <utility>
#include <version>

#if defined(_LIBCPP_HAS_NO_THREADS) || (defined(__GLIBCXX__) && !defined(_GLIBCXX_HAS_GTHREADS))
#define REKUR_SYSTEM_THREADS 0
#elif defined(_LIBCPP_HAS_THREADS)  // since libc++ 19: 0 or 1
#define REKUR_SYSTEM_THREADS _LIBCPP_HAS_THREADS
#else
#define REKUR_SYSTEM_THREADS 1
#endif

#if REKUR_SYSTEM_THREADS
#include <mutex>
#include <shared_mutex>
#define REKUR_THREAD_LOCAL thread_local
#else
#define REKUR_THREAD_LOCAL
#endif
#include <atomic>  // the orders of memory, also where nobody is to be kept in order

namespace rekur::runtime {

#if REKUR_SYSTEM_THREADS

using Mutex = std::mutex;
using SharedMutex = std::shared_mutex;
using UniqueLock = std::unique_lock<Mutex>;

template <class T>
using Atomic = std::atomic<T>;

#else

class Mutex {
 public:
  void lock() {}
  void unlock() {}
};

class SharedMutex : public Mutex {
 public:
  void lock_shared() {}
  void unlock_shared() {}
};

class UniqueLock {
 public:
  UniqueLock() = default;
  explicit UniqueLock(Mutex&) {}
};

// What of std::atomic is used; numbers of 64 bits would need a library on a microcontroller.
template <class T>
class Atomic {
 public:
  constexpr Atomic() = default;
  constexpr Atomic(T value) : value_(value) {}
  Atomic(const Atomic&) = delete;
  Atomic& operator=(const Atomic&) = delete;

  T load(std::memory_order = std::memory_order_seq_cst) const { return value_; }
  void store(T value, std::memory_order = std::memory_order_seq_cst) { value_ = value; }
  T exchange(T value, std::memory_order = std::memory_order_seq_cst) { return std::exchange(value_, value); }
  T fetch_add(T n, std::memory_order = std::memory_order_seq_cst) { return std::exchange(value_, value_ + n); }
  T fetch_sub(T n, std::memory_order = std::memory_order_seq_cst) { return std::exchange(value_, value_ - n); }
  bool compare_exchange_strong(T& expected, T wanted, std::memory_order = std::memory_order_seq_cst,
                               std::memory_order = std::memory_order_seq_cst) {
    if (value_ != expected) return expected = value_, false;
    return value_ = wanted, true;
  }
  bool compare_exchange_weak(T& expected, T wanted, std::memory_order = std::memory_order_seq_cst,
                             std::memory_order = std::memory_order_seq_cst) {
    return compare_exchange_strong(expected, wanted);
  }
  operator T() const { return value_; }
  T operator=(T value) { return value_ = value; }
  T operator++() { return ++value_; }

 private:
  T value_{};
};

#endif

// Holds a mutex for as long as it lives.
class Guard {
 public:
  explicit Guard(Mutex& mutex) : mutex_(mutex) { mutex_.lock(); }
  ~Guard() { mutex_.unlock(); }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace rekur::runtime
