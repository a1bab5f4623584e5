#include "runtime/team.hpp"

#if REKUR_THREADS
#include <array>
#include <thread>

#include "runtime/shift.hpp"
#include "runtime/spare.hpp"
#endif

namespace rekur::runtime {

#if REKUR_THREADS
namespace {

// What a thread waits before it does what another should have begun: several times what a meeting takes.
constexpr Nanoseconds kPatience = 2'000;
// … before it lets others run.
constexpr Nanoseconds kSpin = 20'000;
// … before it asks whether those it waits for have a core at all, and over how long it watches one of them.
constexpr Nanoseconds kDoubt = 50'000, kWatch = 20'000;

std::atomic<std::uint32_t> disturbance{0};
std::atomic<std::uint64_t> taken_over{0};

// Time that threads have had a core is counted by clocks that others can read; -1 where that is not so.
Nanoseconds core_time([[maybe_unused]] Clock clock) {
#if defined(__linux__)
  timespec time;
  if (clock != CLOCK_REALTIME && clock_gettime(clock, &time) == 0) return Nanoseconds{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
#endif
  return -1;
}

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
    return seat_ != 0 && (team_.job.load(std::memory_order_relaxed) != job_ || teams_ended.load(std::memory_order_relaxed));
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

}  // namespace

Clock own_clock() {
#if defined(__linux__)
  Clock clock;
  return pthread_getcpuclockid(pthread_self(), &clock) == 0 ? clock : CLOCK_REALTIME;
#else
  return 0;
#endif
}

bool work_shift(Team& team, std::uint32_t job, int seat) { return Shift(team, job, seat).work(); }

std::uint64_t disturb_teams(std::uint32_t seed) noexcept {
  disturbance.store(seed, std::memory_order_relaxed);
  return taken_over.exchange(0, std::memory_order_relaxed);
}
#else
std::uint64_t disturb_teams(std::uint32_t) noexcept { return 0; }
#endif

}  // namespace rekur::runtime
