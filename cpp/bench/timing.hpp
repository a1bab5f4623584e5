// How the programs here measure: warm up, choose how many calls make a round long enough for the clock, take several rounds.
// Minimum: what the machine can do. Median: what it did, other work on it included.
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

namespace rekur::bench {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// The compiler must assume that whatever `p` leads to was read and written.
inline void keep(const void* p) { asm volatile("" : : "r"(p) : "memory"); }

struct Effort {
  int rounds = 15;
  double round = 2e-3;     // seconds
  double warm_up = 10e-3;  // seconds
};

// Seconds a call.
struct Times {
  double minimum, median;
};

template <class Work>
double time_calls(const Work& work, long calls) {
  const auto start = Clock::now();
  for (long i = 0; i < calls; ++i) work();
  return seconds_since(start);
}

template <class Work>
Times measure(const Work& work, const Effort& effort = {}) {
  long calls = 1;
  for (const auto start = Clock::now();;) {
    const double passed = time_calls(work, calls);
    if (passed < effort.round)
      calls =
          std::max(calls + 1, static_cast<long>(static_cast<double>(calls) * std::min(8.0, 1.2 * effort.round / (passed + 1e-9))));
    else if (seconds_since(start) >= effort.warm_up)
      break;
  }
  std::vector<double> times;
  for (int i = 0; i < effort.rounds; ++i) times.push_back(time_calls(work, calls) / static_cast<double>(calls));
  std::sort(times.begin(), times.end());
  return {times.front(), times[times.size() / 2]};
}

// The longest of `count` calls, each timed by itself: the clock's own time (some tens of nanoseconds) and whatever the system did
// in between included. What a caller with a deadline must reckon with.
template <class Work>
double longest(const Work& work, int count) {
  double worst = 0;
  for (int i = 0; i < count; ++i) worst = std::max(worst, time_calls(work, 1));
  return worst;
}

}  // namespace rekur::bench
