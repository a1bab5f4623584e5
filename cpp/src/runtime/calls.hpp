// Calls of the engine that are under way, and what a fork does about them.
//
// A fork copies one thread and all memory: locks that other threads hold, weights that they have half changed. So fork() waits
// until no call is under way, and calls wait until it is over: the child finds everything whole and every lock free. A call that
// does not end within kLongestWait is not waited for any longer, and every call in the child is an error at once.
#pragma once

namespace rekur::runtime {

// Stands in every function that takes a lock or changes what others read, as long as it does. Throws Error in a child that was
// forked in the middle of a call.
class Call {
 public:
  Call();
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
};

// The same where nothing can be thrown: then nothing must be locked either.
class QuietCall {
 public:
  QuietCall() noexcept;
  ~QuietCall();
  QuietCall(const QuietCall&) = delete;
  QuietCall& operator=(const QuietCall&) = delete;
  explicit operator bool() const noexcept { return entered_; }

 private:
  const bool entered_;
};

// Threads that are in a call now, without the calling one.
int other_calls() noexcept;

}  // namespace rekur::runtime
