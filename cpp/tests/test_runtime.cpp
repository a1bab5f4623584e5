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
#include "recurrent/plan.hpp"
#include "rekur/denormals.hpp"
#include "rekur/runtime.hpp"
#include "runtime/parallel.hpp"

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
#ifdef REKUR_TEST_OPENMP
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

TEST_CASE("a team runs at once and meets: nobody passes a barrier before all have come") {
  const RestoreThreads restore;
  for (const int threads : {1, 2, 3}) {
    runtime::Barrier meeting(threads);
    std::vector<std::atomic<int>> at(static_cast<std::size_t>(threads));
    std::atomic<bool> early{false}, kept_denormals{false};
    const bool ran = runtime::run_team(threads, [&](int member) {
      if (small_product() != 0.0f) kept_denormals = true;
      for (int round = 1; round <= 500; ++round) {
        at[static_cast<std::size_t>(member)] = round;
        meeting.wait();
        for (const auto& other : at)
          if (other < round) early = true;
        meeting.wait();
      }
    });
#ifdef REKUR_TEST_OPENMP
    CHECK(ran);
#else
    CHECK(ran == (threads == 1));
#endif
    if (!ran) continue;
    CHECK(!early);
    CHECK(!kept_denormals);
    CHECK(std::all_of(at.begin(), at.end(), [](const auto& n) { return n == 500; }));
  }
}

TEST_CASE("whoever waits for another's progress sees all that was written before it") {
  const RestoreThreads restore;
  constexpr int kSteps = 2000;
  runtime::Progress progress;
  std::vector<int> written(kSteps, 0);
  int wrong = 0;
  const bool ran = runtime::run_team(2, [&](int member) {
    for (int i = 0; i < kSteps; ++i) {
      if (member == 0) {
        written[static_cast<std::size_t>(i)] = i + 1;
        progress.advance();
      } else {
        progress.wait_for(i + 1);
        wrong += written[static_cast<std::size_t>(i)] != i + 1;
      }
    }
  });
#ifdef REKUR_TEST_OPENMP
  CHECK(ran);
#endif
  if (ran) CHECK(wrong == 0);
  progress.wait_for(0);  // what has been reached, or never was asked for, is not waited for
}

TEST_CASE("dealt numbers come to one thread each, however many there are and whoever is slow") {
  for (const int threads : {1, 2, 3}) {
    Scratch scratch;
    recurrent::Dealer dealer(threads, scratch);
    runtime::Barrier meeting(threads);
    const std::vector<Index> counts = {5, 1, 2, 64, 3, 1, 7};
    std::vector<std::vector<std::atomic<int>>> dealt;
    for (const Index count : counts) dealt.emplace_back(static_cast<std::size_t>(count));
    const bool ran = runtime::run_team(threads, [&](int thread) {
      for (std::size_t round = 0; round < counts.size(); ++round) {
        dealer.deal(counts[round], thread, static_cast<Index>(round), [&](Index i) {
          if (thread == static_cast<int>(round) % threads) std::this_thread::sleep_for(std::chrono::microseconds(200));
          ++dealt[round].at(static_cast<std::size_t>(i));
        });
        meeting.wait();
      }
    });
    if (!ran) continue;
    for (const auto& round : dealt) CHECK(std::all_of(round.begin(), round.end(), [](const auto& n) { return n == 1; }));
  }
}

TEST_CASE("a team within a team has too few threads, and nothing runs") {
#ifdef REKUR_TEST_OPENMP
  std::atomic<int> inner{0}, refused{0};
  CHECK(runtime::run_team(2, [&](int) {
    if (!runtime::run_team(2, [&](int) { ++inner; })) ++refused;
  }));
  CHECK(inner == 0);
  CHECK(refused == 2);
#endif
}

}  // namespace rekur
