// What the threads of a team have in common: a seat for each, and the job that they are at.
//
// How a job goes. The caller writes it into the Team, numbers it, and works on it like everybody else. Items and pieces are taken
// by counting up a number that carries the job's: whoever is late finds numbers of another job and takes nothing. So the caller may
// leave as soon as everything is done, whatever the others are doing: they touch the job's memory only with something in hand.
#pragma once

#include <pthread.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "runtime/team.hpp"
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace rekur::runtime {

// A job's number and how many rounds of an item, or pieces of a share, have been taken.
using Ticket = std::uint64_t;
inline constexpr int kCountBits = 36;
constexpr Ticket ticket(std::uint32_t job, Index count) { return Ticket{job} << kCountBits | static_cast<Ticket>(count); }
inline constexpr std::uint32_t kJobs = (1u << (64 - kCountBits)) - 1;  // numbers of jobs: 1 … kJobs, again and again

#if defined(__linux__)
using Clock = clockid_t;
#else
using Clock = int;
#endif

struct Team;

// What belongs to one of a team's threads, a cache line for each who writes it.
struct Seat {
  alignas(64) std::atomic<Ticket> item{0};  // at home here
  std::atomic<Ticket> share{0};             // of the pieces
  std::atomic<std::uint32_t> hand{0};       // the job of which the thread has something in hand
  std::atomic<Clock> clock{};
  alignas(64) std::atomic<Index> items_done{0};   // of the track with this number
  alignas(64) std::atomic<std::uint32_t> job{0};  // the last that it was called to
  std::atomic<bool> asleep{false};
  Team* team = nullptr;
  pthread_t thread{};
};

struct Team {
  explicit Team(int size) : seats(static_cast<std::size_t>(size)) {}

  std::vector<Seat> seats;     // the caller's first
  int workers = 0;             // on seats 1 …
  std::uint32_t last_job = 0;  // the caller's own

  // The job, and what is known of it; 0 while that is written. Whoever is late reads it just then.
  alignas(64) std::atomic<std::uint32_t> job{0};
  std::atomic<const Work*> work{nullptr};
  std::atomic<int> threads{0}, tracks{0}, members{1};
  std::atomic<Index> rounds{0}, pieces{0};
  alignas(64) std::atomic<Index> pieces_done{0};
  alignas(64) std::atomic<std::uint32_t> left_alone{0};  // the job that is the caller's from here on
};

// Set once, when the program ends: nobody begins anything any more.
inline std::atomic<bool> teams_ended{false};

using Nanoseconds = std::int64_t;
inline Nanoseconds now() { return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }

// Tells the core that it is waiting in a loop.
inline void pause() {
#if defined(__SSE2__)
  _mm_pause();
#elif defined(__aarch64__) || (defined(__arm__) && __ARM_ARCH >= 7)
  asm volatile("yield");
#endif
}

}  // namespace rekur::runtime
