// The teams: who makes them, calls their threads to a job, and ends them. What a thread does in a job is in shift.cpp.
#include "runtime/team.hpp"

#include "rekur/denormals.hpp"
#include "runtime/locks.hpp"

#if REKUR_THREADS
#include <pthread.h>
#if !defined(_WIN32)
#include <signal.h>
#endif

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include "runtime/own_memory.hpp"
#include "runtime/shift.hpp"
#endif

namespace rekur::runtime {
namespace {

REKUR_THREAD_LOCAL bool working_in_team = false;
REKUR_THREAD_LOCAL Crew crew;

// Everything on this thread. Nothing that a round may wait for comes after it.
void run_alone(const Work& work) {
  for (Index round = 0; round < work.rounds; ++round)
    for (int track = 0; track < work.tracks; ++track)
      for (int member = 0; member < work.members; ++member) work.item(track, round, member);
  for (Index i = 0; i < work.pieces; ++i) work.piece(i, 0);
}

#if REKUR_THREADS

// A thread without work spins for so long, since the next call often follows at once, and then sleeps; waking takes it some 50 µs.
constexpr Nanoseconds kAwake = 500'000;

// Many times what a call needs (docs/embedding.md), and what the program's thread-local variables take.
constexpr std::size_t kStack = std::size_t{256} << 10;

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
    awake = work_shift(team, job, static_cast<int>(&seat - team.seats.data()));
  return nullptr;
}

// One team for each call that is under way.
constexpr int kTeams = 16;
struct Slot {
  // No bool: exchanging a byte takes a library of its own on RISC-V (g++ 12).
  std::atomic<std::uint32_t> taken{0};
  Team* team = nullptr;
};
std::array<Slot, kTeams> slots, crews;  // crews: of threads of others, whose seats nobody is hired for

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
Slot* acquire(std::array<Slot, kTeams>& from, int seats) {
  constexpr int kSeats = 16;
  for (Slot& slot : from) {
    if (slot.taken.load(std::memory_order_relaxed) != 0 || slot.taken.exchange(1, std::memory_order_acquire) != 0) continue;
    if (slot.team != nullptr && static_cast<int>(slot.team->seats.size()) >= seats) return &slot;
    if (!teams_ended.load(std::memory_order_seq_cst)) {
      dismiss(std::exchange(slot.team, nullptr));
      const MemoryScope system(nullptr);
      try {
        slot.team = new Team(std::max(seats, kSeats));
        return &slot;
      } catch (const std::bad_alloc&) {  // then without
      }
    }
    slot.taken.store(0, std::memory_order_release);
    return nullptr;
  }
  return nullptr;
}

// While it lives, threads are made that no signal comes to: those are for the program's own threads. Windows has no such signals.
class WithoutSignals {
 public:
#if defined(_WIN32)
  bool done() const { return true; }
#else
  WithoutSignals() {
    sigset_t all;
    sigfillset(&all);
    done_ = pthread_sigmask(SIG_SETMASK, &all, &before_) == 0;
  }
  ~WithoutSignals() {
    if (done_) pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  WithoutSignals(const WithoutSignals&) = delete;
  WithoutSignals& operator=(const WithoutSignals&) = delete;
  bool done() const { return done_; }

 private:
  sigset_t before_;
  bool done_;
#endif
};

// As many workers as the system gives, up to `wanted`.
void hire(Team& team, int wanted) {
  if (team.workers >= wanted || teams_ended.load(std::memory_order_relaxed)) return;
  const WithoutSignals masked;
  pthread_attr_t attributes;
  if (!masked.done() || pthread_attr_init(&attributes) != 0) return;
  pthread_attr_setstacksize(&attributes, kStack);
  while (team.workers < wanted) {
    Seat& seat = team.seats[static_cast<std::size_t>(team.workers + 1)];
    seat.team = &team;
    if (pthread_create(&seat.thread, &attributes, sit, &seat) != 0) break;
    ++team.workers;
  }
  pthread_attr_destroy(&attributes);
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

// A job that threads of others do.
struct CrewJob {
  Team& team;
  std::uint32_t job;
  int threads;
  int (*number)();
};

void crew_shift(void* argument) {
  const CrewJob& its = *static_cast<const CrewJob*>(argument);
  const int number = its.number();
  if (number < 0 || number >= its.threads) return;
  if (number == 0) {
    work_shift(its.team, its.job, 0);
    return;
  }
  const FlushDenormals flush;
  working_in_team = true;
  its.team.seats[static_cast<std::size_t>(number)].clock.store(own_clock(), std::memory_order_relaxed);
  work_shift(its.team, its.job, number);
  working_in_team = false;
}

// Ends the threads when the program ends or the library is unloaded.
struct End {
  ~End() { end_teams(); }
} end_of_program;

#endif

}  // namespace

void run(int threads, const Work& work) {
  const FlushDenormals flush;
#if REKUR_THREADS
  Slot* const slot =
      threads > 1 && !working_in_team ? acquire(crew ? crews : slots, std::max(threads, work.tracks * work.members)) : nullptr;
  if (slot != nullptr) {
    Team& team = *slot->team;
    if (!crew) hire(team, threads - 1);
    working_in_team = true;
    if (crew) {
      CrewJob job{team, start(team, threads, work), threads, crew.number};
      crew.call(crew_shift, &job, static_cast<unsigned>(threads), 0);
    } else {
      const std::uint32_t job = start(team, std::min(threads, team.workers + 1), work);
      work_shift(team, job, 0);
    }
    working_in_team = false;
    slot->taken.store(0, std::memory_order_release);
    return;
  }
#else
  static_cast<void>(threads);
#endif
  run_alone(work);
}

bool in_team() noexcept { return working_in_team; }

WithCrew::WithCrew(const Crew& other) noexcept : before_(crew) { crew = other; }
WithCrew::~WithCrew() { crew = before_; }

#if REKUR_THREADS
void end_teams() noexcept {
  teams_ended.store(true, std::memory_order_seq_cst);
  // A call that is under way keeps its threads: this may be its own thread, in a signal's handler that ends the program.
  for (auto* some : {&slots, &crews})
    for (Slot& slot : *some)
      if (slot.taken.exchange(1, std::memory_order_acquire) == 0) dismiss(std::exchange(slot.team, nullptr));
}

void forget_teams() noexcept {
  for (auto* some : {&slots, &crews})
    for (Slot& slot : *some) {
      slot.team = nullptr;  // its memory is lost: it may be waited for within
      slot.taken.store(0, std::memory_order_relaxed);
    }
}
#else
void end_teams() noexcept {}
void forget_teams() noexcept {}
#endif

}  // namespace rekur::runtime
