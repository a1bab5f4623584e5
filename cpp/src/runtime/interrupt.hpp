// What a long computation asks now and then: whether to go on. Who called it says how to ask (the Python extension looks for
// Ctrl-C); without that nothing is asked.
#pragma once

#include "runtime/locks.hpp"

namespace rekur::runtime {

// While it lives, check_interrupt() on this thread calls `check`, which throws to end the computation.
class InterruptCheck {
 public:
  explicit InterruptCheck(void (*check)()) noexcept : before_(current()) { current() = check; }
  ~InterruptCheck() { current() = before_; }
  InterruptCheck(const InterruptCheck&) = delete;
  InterruptCheck& operator=(const InterruptCheck&) = delete;

 private:
  friend void check_interrupt();
  static void (*&current() noexcept)() {
    REKUR_THREAD_LOCAL void (*check)() = nullptr;
    return check;
  }

  void (*before_)();
};

inline void check_interrupt() {
  if (InterruptCheck::current()) InterruptCheck::current()();
}

}  // namespace rekur::runtime
