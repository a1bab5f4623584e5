// Threads that work on a call together. None is ever waited for unless it has begun something: what a thread that does not run
// has not taken, others take.
//
// A call's work comes in two kinds, side by side:
//   tracks   sequences of rounds; the items of a round, one a member, are done before the next round begins. Tracks go on
//            independently, unless an item says that it must wait for another track.
//   pieces   in any order
// Every item and every piece is done once, by whichever thread takes it. Member m of track t is at home on thread t * members + m
// and a share of the pieces on each thread, where a core's caches are likely to have what they need; a thread that has nothing
// left at home, or has waited for longer than a meeting takes, looks for what others have not begun.
#pragma once

#include <cstdint>

#include "rekur/tensor.hpp"
#include "runtime/function_ref.hpp"

namespace rekur::runtime {

inline constexpr int kMostThreads = 1024;

struct Work {
  int tracks = 0;
  int members = 1;   // items of a round; tracks * members <= kMostThreads
  Index rounds = 0;  // of each track
  Index pieces = 0;
  // Does an item. False, with nothing done: it has to wait for a round of another track. A round must only wait for rounds of
  // smaller number, or of the same number and an earlier track.
  FunctionRef<bool(int track, Index round, int member)> item = no_item;
  // Does a piece on one of the threads, 0 … threads - 1: for memory of its own.
  FunctionRef<void(Index, int thread)> piece = no_piece;

  static constexpr auto no_item = [](int, Index, int) { return true; };
  static constexpr auto no_piece = [](Index, int) {};
};

// Does all of it on the calling thread and up to threads - 1 others, denormals flushed on each; returns when it is done. Neither
// may throw. Within an item or a piece it is all done by the thread that asks.
void run(int threads, const Work& work);

// Threads of another library: call does fn(data) on up to so many, the calling one among them, and returns when all are done;
// number says which of them one is, 0 the caller. OpenMP's GOMP_parallel and omp_get_thread_num are such. Its threads spin for
// milliseconds after each of their regions: whoever calls the engine between two of them has no core for threads of our own.
struct Crew {
  void (*call)(void (*fn)(void*), void* data, unsigned threads, unsigned flags) = nullptr;
  int (*number)() = nullptr;
  explicit operator bool() const { return call != nullptr && number != nullptr; }
};

// As long as it lives, the calling thread's calls are done by such threads instead of a team's own. Of none it changes nothing.
class WithCrew {
 public:
  explicit WithCrew(const Crew& crew) noexcept;
  ~WithCrew();
  WithCrew(const WithCrew&) = delete;
  WithCrew& operator=(const WithCrew&) = delete;

 private:
  const Crew before_;
};

// Whether the calling thread is in an item or a piece, or in between.
bool in_team() noexcept;

// Ends the team's threads, or forgets them in a process that was forked and does not have them.
void end_teams() noexcept;
void forget_teams() noexcept;

// For tests, which have to see what a busy machine does. With a seed other than 0 threads come late, leave early or dawdle with
// what they have taken, by chance. Returns how often a thread has since the last call done what was at home on another.
std::uint64_t disturb_teams(std::uint32_t seed) noexcept;

}  // namespace rekur::runtime
