// Shapes, instruction sets, threads and the treatment of denormals.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "isa/dispatch.hpp"
#include "rekur/denormals.hpp"
#include "rekur/runtime.hpp"
#include "runtime/cores.hpp"
#include "runtime/parallel.hpp"
#include "runtime/spare.hpp"
#include "runtime/team.hpp"

namespace rekur {
namespace {

struct RestoreThreads {
  int before = num_threads();
  ~RestoreThreads() { set_num_threads(before); }
};

// The product of two numbers that only exists if denormals are kept. volatile: computed here and now.
float small_product() {
  volatile float a = 1e-30f, b = 1e-10f;
  return a * b;
}

constexpr double kPlenty = 1e9;  // an amount of work worth any number of threads

}  // namespace

TEST_CASE("shapes print as Python prints them") {
  CHECK(to_string(Shape{}) == "()");
  CHECK(to_string(Shape{5}) == "(5,)");
  CHECK(to_string(Shape{kUnknown, 50, 8}) == "(None, 50, 8)");
}

TEST_CASE("element_count refuses what cannot be counted") {
  CHECK(element_count({}) == 1);
  CHECK(element_count({3, 4}) == 12);
  CHECK(element_count({Index{1} << 62, 0, Index{1} << 62}) == 0);
  CHECK_THROWS_AS(element_count({kUnknown, 2}), Error);
  CHECK_THROWS_AS(element_count({0, -3}), Error);
  CHECK_THROWS_AS(element_count({Index{1} << 40, Index{1} << 40}), Error);
  CHECK_THROWS_AS(element_count({std::numeric_limits<Index>::max()}), Error);
  CHECK(element_count({std::numeric_limits<Index>::max() / 8}) == std::numeric_limits<Index>::max() / 8);
}

TEST_CASE("instruction sets are switched by name, and each switch changes the epoch") {
  const std::string before = current_isa();
  const std::vector<std::string> names = available_isas();
  REQUIRE(!names.empty());
  for (const std::string& name : names) {
    const std::uint64_t epoch = isa::epoch();
    set_isa(name);
    CHECK(current_isa() == name);
    CHECK(isa::table().name == name);
    CHECK(isa::epoch() != epoch);
    CHECK(isa::kernels().panel % isa::kernels().width == 0);
  }
  set_isa(before);
  try {
    set_isa("sse9");
    FAIL("an unknown instruction set was accepted");
  } catch (const Error& e) {
    const std::string message = e.what();
    CHECK(message.find("unknown instruction set 'sse9'") != std::string::npos);
    CHECK(message.find(names.front()) != std::string::npos);
  }
  CHECK(current_isa() == before);
  const std::string foreign = std::find(names.begin(), names.end(), "neon") == names.end() ? "neon" : "avx2";
  CHECK_THROWS_AS(set_isa(foreign), Error);
}

TEST_CASE("the number of threads is checked") {
  const RestoreThreads restore;
  set_num_threads(3);
  CHECK(num_threads() == 3);
  CHECK_THROWS_AS(set_num_threads(0), Error);
  CHECK_THROWS_AS(set_num_threads(-2), Error);
  CHECK_THROWS_AS(set_num_threads(1025), Error);
  CHECK(num_threads() == 3);
}

TEST_CASE("cpu_info says what runs") {
  const std::string info = cpu_info();
  CHECK(info.find(current_isa()) != std::string::npos);
  CHECK(info.find(version()) != std::string::npos);
  CHECK(info.find("cells: simple_rnn, lstm, gru, gru_reset_before,") != std::string::npos);
}

TEST_CASE("denormals are flushed while the guard lives, and the caller's mode returns") {
  CHECK(small_product() != 0.0f);
  {
    const FlushDenormals outer;
    CHECK(small_product() == 0.0f);
    { const FlushDenormals inner; }
    CHECK(small_product() == 0.0f);
  }
  CHECK(small_product() != 0.0f);
}

TEST_CASE("every task runs exactly once, denormals flushed, for any number of threads") {
  const RestoreThreads restore;
  for (const int threads : {1, 2, 3, 7}) {
    set_num_threads(threads);
    for (const Index count : {0, 1, 2, 5, 100}) {
      for (const double work : {0.0, kPlenty}) {
        std::vector<std::atomic<int>> runs(static_cast<std::size_t>(count));
        std::atomic<int> kept_denormals{0};
        runtime::parallel_tasks(count, work, [&](Index i) {
          ++runs[static_cast<std::size_t>(i)];
          if (small_product() != 0.0f) ++kept_denormals;
        });
        CHECK(std::all_of(runs.begin(), runs.end(), [](const auto& r) { return r == 1; }));
        CHECK(kept_denormals == 0);
      }
    }
    // The workers went back to their own mode.
    std::atomic<int> flushed{0};
    std::thread([&] { flushed += small_product() == 0.0f; }).join();
    CHECK(flushed == 0);
    CHECK(small_product() != 0.0f);
  }
}

TEST_CASE("several threads do work at once when there is enough of it") {
#ifdef REKUR_TEST_THREADS
  const RestoreThreads restore;
  set_num_threads(2);
  // Each task waits for the other: one thread alone would never finish (so it gives up after a while).
  std::atomic<int> arrived{0};
  std::atomic<bool> met{true};
  runtime::parallel_tasks(2, kPlenty, [&](Index) {
    ++arrived;
    for (int spin = 0; arrived < 2; ++spin) {
      if (spin == 2000) {
        met = false;
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  CHECK(met);
#endif
}

TEST_CASE("ranges cover everything once, cut at multiples of the grain") {
  const RestoreThreads restore;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    for (const Index n : {0, 1, 15, 16, 17, 100, 1000}) {
      for (const Index grain : {1, 16}) {
        std::vector<std::atomic<int>> seen(static_cast<std::size_t>(n));
        std::atomic<bool> aligned{true};
        runtime::parallel_range(n, grain, kPlenty, [&](Index begin, Index end) {
          if (begin % grain != 0 || (end % grain != 0 && end != n) || begin > end) aligned = false;
          for (Index i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
        });
        CHECK(aligned);
        CHECK(std::all_of(seen.begin(), seen.end(), [](const auto& s) { return s == 1; }));
      }
    }
  }
}

TEST_CASE("parallel calls may be nested and may come from several threads at once") {
  const RestoreThreads restore;
  set_num_threads(2);
  std::atomic<int> total{0};
  const auto nested = [&] {
    for (int round = 0; round < 20; ++round)
      runtime::parallel_tasks(4, kPlenty, [&](Index) { runtime::parallel_tasks(3, kPlenty, [&](Index) { ++total; }); });
  };
  std::vector<std::thread> users;
  for (int i = 0; i < 3; ++i) users.emplace_back(nested);
  for (std::thread& user : users) user.join();
  CHECK(total == 3 * 20 * 4 * 3);
}

namespace {

// Rounds that each read what all items of the one before have written, beside pieces.
struct Relay {
  int tracks, members;
  Index rounds, pieces;
  std::vector<std::atomic<int>> done;   // by track, round and member
  std::vector<std::atomic<int>> taken;  // pieces
  std::atomic<int> early{0}, kept_denormals{0};

  Relay(int tracks_, int members_, Index rounds_, Index pieces_)
      : tracks(tracks_),
        members(members_),
        rounds(rounds_),
        pieces(pieces_),
        done(static_cast<std::size_t>(tracks_ * members_ * rounds_)),
        taken(static_cast<std::size_t>(pieces_)) {}

  std::atomic<int>& at(int track, Index round, int member) {
    return done[static_cast<std::size_t>((track * rounds + round) * members + member)];
  }

  // chained: a track's round waits for the same round of the track before it.
  void run(int threads, bool chained) {
    runtime::run(threads, {.tracks = tracks,
                           .members = members,
                           .rounds = rounds,
                           .pieces = pieces,
                           .item =
                               [&](int track, Index round, int member) {
                                 for (int m = 0; chained && track > 0 && m < members; ++m)
                                   if (at(track - 1, round, m).load(std::memory_order_acquire) == 0) return false;
                                 for (int m = 0; round > 0 && m < members; ++m)
                                   if (at(track, round - 1, m).load(std::memory_order_relaxed) != 1) ++early;
                                 if (small_product() != 0.0f) ++kept_denormals;
                                 at(track, round, member).fetch_add(1, std::memory_order_release);
                                 return true;
                               },
                           .piece = [&](Index i, int) { ++taken[static_cast<std::size_t>(i)]; }});
  }

  bool whole() const {
    const auto once = [](const auto& n) { return n == 1; };
    return std::all_of(done.begin(), done.end(), once) && std::all_of(taken.begin(), taken.end(), once);
  }
};

struct Undisturbed {
  ~Undisturbed() { runtime::disturb_teams(0); }
};

}  // namespace

TEST_CASE("a team does every item and every piece once, and no round before the last is done, however threads come and go") {
  const Undisturbed restore;
  std::uint64_t taken_over = 0;
  for (const std::uint32_t seed : {0u, 1u, 2u}) {
    runtime::disturb_teams(seed);
    for (const int threads : {1, 2, 3, 5})
      for (const int members : {1, 2, 3})
        for (const int tracks : {0, 1, 2, 3})
          for (const bool chained : {false, true}) {
            Relay relay(tracks, members, seed == 0 ? 300 : 40, 37);
            relay.run(threads, chained);
            CHECK(relay.whole());
            CHECK(relay.early == 0);
            CHECK(relay.kept_denormals == 0);
          }
    taken_over += runtime::disturb_teams(0);
  }
#ifdef REKUR_TEST_THREADS
  CHECK(taken_over > 0);
#endif
}

TEST_CASE("an item may wait for a later track's earlier round, although nobody has come to do that one") {
  const Undisturbed restore;
  for (std::uint32_t seed = 0; seed < 12; ++seed) {
    runtime::disturb_teams(seed);
    for (const int threads : {2, 3, 5})
      for (int job = 0; job < 300; ++job) {
        constexpr int kTracks = 5;
        constexpr Index kRounds = 12;
        std::atomic<Index> done[kTracks] = {};
        runtime::run(threads, {.tracks = kTracks, .rounds = kRounds, .item = [&](int track, Index round, int) {
                                 for (const std::atomic<Index>& other : done)
                                   if (other.load(std::memory_order_acquire) < round) return false;
                                 done[track].store(round + 1, std::memory_order_release);
                                 return true;
                               }});
        for (const std::atomic<Index>& track : done) REQUIRE(track == kRounds);
      }
  }
}

TEST_CASE("many short jobs: whoever comes late to one takes nothing of the next") {
  const Undisturbed restore;
  for (const std::uint32_t seed : {0u, 3u}) {
    runtime::disturb_teams(seed);
    for (int job = 0; job < 3000; ++job) {
      Relay relay(1 + job % 2, 1 + job % 3, 1 + job % 5, job % 7);
      relay.run(2 + job % 3, false);
      REQUIRE(relay.whole());
      REQUIRE(relay.early == 0);
    }
  }
}

namespace {

thread_local int crew_number = 0;
std::atomic<int> crews_called{0};
unsigned crew_size = 0;  // 0: as asked

void call_crew(void (*fn)(void*), void* data, unsigned threads, unsigned) {
  ++crews_called;
  std::vector<std::thread> others;
  for (unsigned i = 1; i < (crew_size > 0 ? crew_size : threads); ++i)
    others.emplace_back([=] {
      crew_number = static_cast<int>(i);
      fn(data);
    });
  fn(data);
  for (std::thread& other : others) other.join();
}

}  // namespace

TEST_CASE("threads of others do a job as a team does, also where they are fewer or more than were asked for") {
  for (const unsigned size : {0u, 1u, 2u, 7u}) {
    crew_size = size;
    crews_called = 0;
    {
      const runtime::WithCrew crew({call_crew, [] { return crew_number; }});
      for (const int threads : {1, 2, 3})
        for (const int members : {1, 3}) {
          Relay relay(2, members, 40, 37);
          relay.run(threads, true);
          CHECK(relay.whole());
          CHECK(relay.early == 0);
          CHECK(relay.kept_denormals == 0);
        }
    }
    CHECK(crews_called == 4);
    Relay(2, 2, 10, 10).run(3, false);
    CHECK(crews_called == 4);
  }
}

TEST_CASE("a limit of threads holds for the calling thread as long as it lives") {
  const RestoreThreads restore;
  runtime::allow_any_number_of_threads(true);
  set_num_threads(8);
  {
    const runtime::ThreadLimit limit(3);
    CHECK(runtime::threads_for(kPlenty, 100) == 3);
    {
      const runtime::ThreadLimit inner(1);
      CHECK(runtime::threads_for(kPlenty, 100) == 1);
    }
    CHECK(runtime::threads_for(kPlenty, 100) == 3);
    std::thread([] { CHECK(runtime::threads_for(kPlenty, 100) == 8); }).join();
  }
  CHECK(runtime::threads_for(kPlenty, 100) == 8);
  runtime::allow_any_number_of_threads(false);
}

TEST_CASE("a fingerprint is another when any bit of any number is, on every ISA") {
  const std::string before = current_isa();
  for (const std::string& isa : available_isas()) {
    set_isa(isa);
    const auto& k = isa::kernels();
    for (const Index n : {1, 15, 16, 17, 63, 64, 65, 200}) {
      std::vector<float> x(static_cast<std::size_t>(n), 0.0f);
      std::vector<std::uint64_t> seen{k.fingerprint(x.data(), n), k.fingerprint(x.data(), n - 1)};
      for (float& value : x) {
        value = -0.0f;
        seen.push_back(k.fingerprint(x.data(), n));
        value = 1e-45f;
        seen.push_back(k.fingerprint(x.data(), n));
        value = 0.0f;
      }
      for (Index i = 0; i + 1 < n; i += 2) {  // two signs at once, which cancel out in a sum
        x[static_cast<std::size_t>(i)] = x[static_cast<std::size_t>(i + 1)] = -0.0f;
        seen.push_back(k.fingerprint(x.data(), n));
      }
      std::sort(seen.begin(), seen.end());
      CHECK(std::adjacent_find(seen.begin(), seen.end()) == seen.end());
    }
  }
  set_isa(before);
}

TEST_CASE("a team within a team is the thread that asks") {
  std::atomic<int> inner{0}, elsewhere{0};
  runtime::run(2, {.pieces = 4, .piece = [&](Index, int) {
                     const std::thread::id self = std::this_thread::get_id();
                     if (runtime::in_team()) CHECK(runtime::threads_for(kPlenty, 8) == 1);
                     runtime::run(2, {.pieces = 3, .piece = [&](Index, int) {
                                        ++inner;
                                        elsewhere += std::this_thread::get_id() != self;
                                      }});
                   }});
  CHECK(inner == 12);
#ifdef REKUR_TEST_THREADS
  CHECK(elsewhere == 0);
#endif
}

TEST_CASE("a call uses no more threads than there are cores, and fewer for a while after one was found waiting for a core") {
#ifdef REKUR_TEST_THREADS
  const RestoreThreads restore;
  struct Allow {
    ~Allow() { runtime::allow_any_number_of_threads(true); }
  } allow;
  runtime::allow_any_number_of_threads(false);
  const int cores = runtime::usable_cores();
  // What the tests before this one met on a busy machine may still be remembered.
  const auto all_in_time = [&] {
    for (int tries = 0; tries < 600 && runtime::spare_threads(1000) != cores; ++tries)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    return runtime::spare_threads(1000) == cores;
  };
  CHECK(all_in_time());
  runtime::note_stall(cores, 1'000'000);
  CHECK(runtime::spare_threads(cores) == std::max(cores / 2, 1));
  CHECK(all_in_time());
#endif
}

}  // namespace rekur
