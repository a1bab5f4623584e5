// How a job goes. The caller writes it into a Team, numbers it, and works on it like everybody else. Items and pieces are taken by
// counting up a number that carries the job's: whoever is late finds numbers of another job and takes nothing. So the caller may
// leave as soon as everything is done, whatever the others are doing: they touch the job's memory only with something in hand.
#include "runtime/team.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "rekur/denormals.hpp"
#include "runtime/calls.hpp"
#include "runtime/spare.hpp"

#if REKUR_THREADS
#include <pthread.h>
#include <signal.h>
#include <time.h>
#endif
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace rekur::runtime {
namespace {

thread_local bool working_in_team = false;

// Everything on this thread. Nothing that a round may wait for comes after it.
void run_alone(const Work& work) {
  for (Index round = 0; round < work.rounds; ++round)
    for (int track = 0; track < work.tracks; ++track)
      for (int member = 0; member < work.members; ++member) work.item(track, round, member);
  for (Index i = 0; i < work.pieces; ++i) work.piece(i, 0);
}

#if REKUR_THREADS

using Nanoseconds = std::int64_t;

// What a thread waits before it does what another should have begun: several times what a meeting takes.
constexpr Nanoseconds kPatience = 2'000;
// … before it lets others run.
constexpr Nanoseconds kSpin = 20'000;
// … before it asks whether those it waits for have a core at all, and over how long it watches one of them.
constexpr Nanoseconds kDoubt = 50'000, kWatch = 20'000;
// A thread without work spins for so long, since the next call often follows at once, and then sleeps; waking takes it some 50 µs.
constexpr Nanoseconds kAwake = 500'000;

// Many times what a call needs (docs/embedding.md), and what the program's thread-local variables take.
constexpr std::size_t kStack = std::size_t{256} << 10;

// A job's number and how many rounds of an item, or pieces of a share, have been taken.
using Ticket = std::uint64_t;
constexpr int kCountBits = 36;
constexpr Ticket ticket(std::uint32_t job, Index count) { return Ticket{job} << kCountBits | static_cast<Ticket>(count); }
constexpr std::uint32_t kJobs = (1u << (64 - kCountBits)) - 1;  // numbers of jobs: 1 … kJobs, again and again

std::atomic<std::uint32_t> disturbance{0};
std::atomic<std::uint64_t> taken_over{0};
std::atomic<bool> ended{false};

// Tells the core that it is waiting in a loop.
void pause() {
#if defined(__SSE2__)
  _mm_pause();
#elif defined(__aarch64__) || (defined(__arm__) && __ARM_ARCH >= 7)
  asm volatile("yield");
#endif
}

Nanoseconds now() { return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }

// Time that threads have had a core is counted by clocks that others can read; -1 where that is not so.
#if defined(__linux__)
using Clock = clockid_t;
Clock own_clock() {
  Clock clock;
  return pthread_getcpuclockid(pthread_self(), &clock) == 0 ? clock : CLOCK_REALTIME;
}
Nanoseconds core_time(Clock clock) {
  timespec time;
  if (clock == CLOCK_REALTIME || clock_gettime(clock, &time) != 0) return -1;
  return Nanoseconds{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}
#else
using Clock = int;
Clock own_clock() { return 0; }
Nanoseconds core_time(Clock) { return -1; }
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

// A thread's part in a job.
class Shift {
 public:
  Shift(Team& team, std::uint32_t job, int seat)
      : team_(team),
        job_(job),
        seat_(seat),
        threads_(team.threads.load(std::memory_order_acquire)),
        tracks_(team.tracks.load(std::memory_order_acquire)),
        members_(team.members.load(std::memory_order_acquire)),
        rounds_(team.rounds.load(std::memory_order_acquire)),
        pieces_(team.pieces.load(std::memory_order_acquire)),
        first_(ticket(job, 0)),
        last_(ticket(job, rounds_)),
        chance_(disturbance.load(std::memory_order_relaxed)) {
    if (chance_ != 0) chance_ = (chance_ + job) * 2654435761u + static_cast<std::uint32_t>(seat) * 40503u;
  }

  // False: there is no core for this thread. What was read above counts only while is_over() does not say otherwise.
  bool work() {
    const bool stays = work_on();
    put_down();
    return stays;
  }

 private:
  bool work_on() {
    const bool home = seat_ < tracks_ * members_;
    const int track = seat_ / members_, member = seat_ % members_;
    for (;;) {
      if (is_over()) return true;
      if (seat_ != 0 && team_.left_alone.load(std::memory_order_relaxed) == job_) return false;
      if (chance_ != 0 && seat_ != 0 && !undisturbed()) return true;
      // Others wait for what is at home: pieces come after it.
      Ticket next;
      const bool rounds_left = home && is_left(track, member, next);
      const bool did = rounds_left && is_open(track, next) && do_item(track, member, next);
      if (did || ((!rounds_left || doubting_) && !pieces_taken_ && do_pieces())) {
        stop_waiting();
        continue;
      }
      if (is_done()) break;
      if (!wait(home ? track : 0)) return false;
    }
    stop_waiting();
    if (seat_ == 0 && team_.left_alone.load(std::memory_order_relaxed) == job_) note_stall(threads_, lost_);
    return true;
  }

  bool is_over() const {
    return seat_ != 0 && (team_.job.load(std::memory_order_relaxed) != job_ || ended.load(std::memory_order_relaxed));
  }

  std::atomic<Index>& items_done(int track) const { return team_.seats[static_cast<std::size_t>(track)].items_done; }

  // Whether an item has rounds that nobody has taken, and what is next.
  bool is_left(int track, int member, Ticket& next) const {
    next = team_.seats[static_cast<std::size_t>(track * members_ + member)].item.load(std::memory_order_relaxed);
    return next >= first_ && next < last_;
  }
  // Whether that is the track's current round: all before it is done.
  bool is_open(int track, Ticket next) const {
    return items_done(track).load(std::memory_order_acquire) >= static_cast<Index>(next - first_) * members_;
  }

  // Takes and does an item of the track's current round. False: it has been taken, or has to wait for another track.
  bool do_item(int track, int member, Ticket next) {
    std::atomic<Ticket>& item = team_.seats[static_cast<std::size_t>(track * members_ + member)].item;
    if (!item.compare_exchange_strong(next, next + 1, std::memory_order_acquire, std::memory_order_relaxed)) return false;
    take();
    if (!team_.work.load(std::memory_order_relaxed)->item(track, static_cast<Index>(next - first_), member)) {
      item.store(next, std::memory_order_release);
      return false;
    }
    items_done(track).fetch_add(1, std::memory_order_acq_rel);
    return true;
  }

  // Of this thread's share first, then of the others'.
  bool do_pieces() {
    Index done = 0;
    for (int n = 0; n < threads_; ++n) {
      const int owner = seat_ + n < threads_ ? seat_ + n : seat_ + n - threads_;
      const Index begin = pieces_ * owner / threads_, size = pieces_ * (owner + 1) / threads_ - begin;
      std::atomic<Ticket>& share = team_.seats[static_cast<std::size_t>(owner)].share;
      Ticket next = share.load(std::memory_order_relaxed);
      while (next >= first_ && next < first_ + static_cast<Ticket>(size)) {
        if (!share.compare_exchange_weak(next, next + 1, std::memory_order_acquire, std::memory_order_relaxed)) continue;
        take();
        team_.work.load(std::memory_order_relaxed)->piece(begin + static_cast<Index>(next - first_), seat_);
        ++done;
        next = share.load(std::memory_order_relaxed);
      }
    }
    pieces_taken_ = true;
    if (done == 0) return false;
    team_.pieces_done.fetch_add(done, std::memory_order_acq_rel);
    return true;
  }

  // For a worker: nothing is left to take.
  bool is_done() const {
    for (int track = 0; track < tracks_; ++track)
      if (items_done(track).load(std::memory_order_acquire) < rounds_ * members_) return false;
    return seat_ != 0 || team_.pieces_done.load(std::memory_order_acquire) == pieces_;
  }

  // Nothing to do at home. False: there is no core for this thread.
  bool wait(int track) {
    // The usual case is that all have a core, and meet within a microsecond.
    if (!helping_) {
      const std::atomic<Index>& done = tracks_ > 0 ? team_.seats[static_cast<std::size_t>(track)].items_done : team_.pieces_done;
      const Index before = done.load(std::memory_order_relaxed);
      for (int spin = 0; spin < 16 && done.load(std::memory_order_relaxed) == before; ++spin) pause();
    }
    const Nanoseconds time = now();
    if (idle_since_ == 0) {
      idle_since_ = time;
      put_down();
    }
    if (time - idle_since_ < kPatience && !helping_) return true;
    if (help(time)) {
      stop_waiting();
      return true;
    }
    doubting_ = time - idle_since_ > kDoubt;
    if (doubting_ && !all_run(time)) {
      team_.left_alone.store(job_, std::memory_order_relaxed);
      if (seat_ != 0) return false;
    }
    if (time - idle_since_ > kSpin) std::this_thread::yield();
    return true;
  }

  void stop_waiting() {
    if (doubting_) lost_ += now() - idle_since_;
    idle_since_ = 0;
    doubting_ = false;
  }

  // Does an item that is at home on another thread, if that has not begun it for long, or did not come last time.
  bool help(Nanoseconds time) {
    bool seen = false;
    helping_ = false;
    for (int track = 0; track < tracks_; ++track) {
      for (int member = 0; member < members_; ++member) {
        const int at = track * members_ + member;
        std::uint64_t& absent = absent_[static_cast<std::size_t>(at) / 64];
        const std::uint64_t bit = std::uint64_t{1} << (at % 64);
        Ticket next;
        if (at == seat_ || !is_left(track, member, next)) continue;
        if (!is_open(track, next)) {
          absent &= ~bit;
          continue;
        }
        if (watched_ == next && watched_at_ == at) {
          if (time - watched_since_ >= kPatience)
            absent |= bit;
          else
            seen = true;
        }
        if (absent & bit) {
          // One that has to wait for another track must not keep others from being watched: it may wait for one of them.
          if (!do_item(track, member, next)) continue;
          helping_ = true;
          taken_over.fetch_add(1, std::memory_order_relaxed);
          return true;
        }
        if (seen) continue;
        watched_ = next;
        watched_at_ = at;
        watched_since_ = time;
        seen = true;
      }
    }
    return false;
  }

  // Whether those who have something in hand have a core: one is looked at a time, twice.
  bool all_run(Nanoseconds time) {
    const Seat& seat = team_.seats[static_cast<std::size_t>(suspect_)];
    const bool busy = suspect_ != seat_ && seat.hand.load(std::memory_order_acquire) == job_;
    if (busy && suspected_since_ == 0) {
      suspected_since_ = time;
      suspect_had_ = core_time(seat.clock.load(std::memory_order_relaxed));
      return true;
    }
    if (busy && time - suspected_since_ < kWatch) return true;
    const Nanoseconds had = busy ? core_time(seat.clock.load(std::memory_order_relaxed)) : -1;
    const bool runs = had < 0 || suspect_had_ < 0 || had - suspect_had_ >= (time - suspected_since_) / 4;
    suspect_ = suspect_ + 1 < threads_ ? suspect_ + 1 : 0;
    suspected_since_ = 0;
    return runs;
  }

  // Meetings of running threads are short: in between, a thread counts as having something in hand.
  void take() {
    if (!in_hand_) team_.seats[static_cast<std::size_t>(seat_)].hand.store(job_, std::memory_order_release);
    in_hand_ = true;
  }
  void put_down() {
    team_.seats[static_cast<std::size_t>(seat_)].hand.store(0, std::memory_order_release);
    in_hand_ = false;
  }

  // For tests: late, gone, or slow.
  bool undisturbed() {
    chance_ = chance_ * 1664525u + 1013904223u;
    switch (chance_ >> 28) {
      case 0:
        return false;
      case 1:
        std::this_thread::sleep_for(std::chrono::microseconds(chance_ >> 8 & 127));
        return true;
      default:
        return true;
    }
  }

  Team& team_;
  const std::uint32_t job_;
  const int seat_, threads_, tracks_, members_;
  const Index rounds_, pieces_;
  const Ticket first_, last_;  // of an item: nothing taken, all taken
  std::uint32_t chance_;
  bool in_hand_ = false, pieces_taken_ = false, helping_ = false, doubting_ = false;
  Nanoseconds idle_since_ = 0, lost_ = 0;
  Ticket watched_ = 0;
  int watched_at_ = -1, suspect_ = 0;
  Nanoseconds watched_since_ = 0, suspected_since_ = 0, suspect_had_ = 0;
  std::array<std::uint64_t, kMostThreads / 64> absent_{};  // whose items this thread did in the last round
};

// Instead of a job: there are no more.
constexpr std::uint32_t kEnd = ~std::uint32_t{0};

// The next job that the seat is called to, or kEnd.
std::uint32_t next_job(Seat& seat, std::uint32_t last, bool awake) {
  const Nanoseconds end = awake ? now() + kAwake : 0;
  for (;;) {
    for (int spin = 0; spin < 32; ++spin) {
      const std::uint32_t job = seat.job.load(std::memory_order_acquire);
      if (job != last) return job;
      pause();
    }
    if (now() < end) continue;
    seat.asleep.store(true, std::memory_order_seq_cst);
    seat.job.wait(last, std::memory_order_seq_cst);
    seat.asleep.store(false, std::memory_order_relaxed);
  }
}

void* sit(void* argument) {
  Seat& seat = *static_cast<Seat*>(argument);
  Team& team = *seat.team;
  const FlushDenormals flush;
  working_in_team = true;
  seat.clock.store(own_clock(), std::memory_order_relaxed);
  bool awake = true;
  for (std::uint32_t job = 0; (job = next_job(seat, job, awake)) != kEnd;)
    awake = Shift(team, job, static_cast<int>(&seat - team.seats.data())).work();
  return nullptr;
}

// One team for each call that is under way.
constexpr int kTeams = 16;
struct Slot {
  std::atomic<bool> taken{false};
  Team* team = nullptr;
};
std::array<Slot, kTeams> slots;

void dismiss(Team* team) {
  for (int i = 1; team != nullptr && i <= team->workers; ++i) {
    Seat& seat = team->seats[static_cast<std::size_t>(i)];
    seat.job.store(kEnd, std::memory_order_seq_cst);
    seat.job.notify_one();
    pthread_join(seat.thread, nullptr);
  }
  delete team;
}

// A slot with a team of at least so many seats; null if there is none.
Slot* acquire(int seats) {
  constexpr int kSeats = 16;
  for (Slot& slot : slots) {
    if (slot.taken.load(std::memory_order_relaxed) || slot.taken.exchange(true, std::memory_order_acquire)) continue;
    if (slot.team != nullptr && static_cast<int>(slot.team->seats.size()) >= seats) return &slot;
    if (!ended.load(std::memory_order_seq_cst)) {
      dismiss(std::exchange(slot.team, nullptr));
      try {
        slot.team = new Team(std::max(seats, kSeats));
        return &slot;
      } catch (const std::bad_alloc&) {  // then without
      }
    }
    slot.taken.store(false, std::memory_order_release);
    return nullptr;
  }
  return nullptr;
}

// As many workers as the system gives, up to `wanted`. Signals are for the program's own threads.
void hire(Team& team, int wanted) {
  if (team.workers >= wanted || ended.load(std::memory_order_relaxed)) return;
  sigset_t all, before;
  sigfillset(&all);
  if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return;
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) == 0) {
    pthread_attr_setstacksize(&attributes, kStack);
    while (team.workers < wanted) {
      Seat& seat = team.seats[static_cast<std::size_t>(team.workers + 1)];
      seat.team = &team;
      if (pthread_create(&seat.thread, &attributes, sit, &seat) != 0) break;
      ++team.workers;
    }
    pthread_attr_destroy(&attributes);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// Numbers the job and calls the others.
std::uint32_t start(Team& team, int threads, const Work& work) {
  const std::uint32_t job = team.last_job = team.last_job % kJobs + 1;
  team.job.store(0, std::memory_order_relaxed);
  team.seats[0].clock.store(own_clock(), std::memory_order_relaxed);
  for (int i = 0; i < work.tracks * work.members; ++i)
    team.seats[static_cast<std::size_t>(i)].item.store(ticket(job, 0), std::memory_order_relaxed);
  for (int i = 0; i < work.tracks; ++i) team.seats[static_cast<std::size_t>(i)].items_done.store(0, std::memory_order_relaxed);
  for (int i = 0; i < threads && work.pieces > 0; ++i)
    team.seats[static_cast<std::size_t>(i)].share.store(ticket(job, 0), std::memory_order_relaxed);
  team.pieces_done.store(0, std::memory_order_relaxed);
  team.work.store(&work, std::memory_order_relaxed);
  team.threads.store(threads, std::memory_order_release);
  team.tracks.store(work.tracks, std::memory_order_release);
  team.members.store(work.members, std::memory_order_release);
  team.rounds.store(work.rounds, std::memory_order_release);
  team.pieces.store(work.pieces, std::memory_order_release);
  team.job.store(job, std::memory_order_release);
  for (int i = 1; i < threads; ++i) {
    Seat& seat = team.seats[static_cast<std::size_t>(i)];
    seat.job.store(job, std::memory_order_seq_cst);
    if (seat.asleep.load(std::memory_order_seq_cst)) seat.job.notify_one();
  }
  return job;
}

// Ends the threads when the program ends or the library is unloaded.
struct End {
  ~End() { end_teams(); }
} end;

#endif

}  // namespace

void run(int threads, const Work& work) {
  const FlushDenormals flush;
#if REKUR_THREADS
  Slot* const slot = threads > 1 && !working_in_team ? acquire(std::max(threads, work.tracks * work.members)) : nullptr;
  if (slot != nullptr) {
    Team& team = *slot->team;
    hire(team, threads - 1);
    working_in_team = true;
    const std::uint32_t job = start(team, std::min(threads, team.workers + 1), work);
    Shift(team, job, 0).work();
    working_in_team = false;
    slot->taken.store(false, std::memory_order_release);
    return;
  }
#else
  static_cast<void>(threads);
#endif
  run_alone(work);
}

bool in_team() noexcept { return working_in_team; }

#if REKUR_THREADS
void end_teams() noexcept {
  ended.store(true, std::memory_order_seq_cst);
  // A call that is under way keeps its threads: this may be its own thread, in a signal's handler that ends the program.
  for (Slot& slot : slots)
    if (!slot.taken.exchange(true, std::memory_order_acquire)) dismiss(std::exchange(slot.team, nullptr));
}

void forget_teams() noexcept {
  for (Slot& slot : slots) {
    slot.team = nullptr;  // its memory is lost: it may be waited for within
    slot.taken.store(false, std::memory_order_relaxed);
  }
}

std::uint64_t disturb_teams(std::uint32_t seed) noexcept {
  disturbance.store(seed, std::memory_order_relaxed);
  return taken_over.exchange(0, std::memory_order_relaxed);
}
#else
void end_teams() noexcept {}
void forget_teams() noexcept {}
std::uint64_t disturb_teams(std::uint32_t) noexcept { return 0; }
#endif

}  // namespace rekur::runtime
