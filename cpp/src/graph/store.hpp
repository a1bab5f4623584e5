// Where parameters stand: a flat buffer that belongs to the graph it was made for, and to all graphs that share layers with it.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <vector>

#include "graph/arena.hpp"
#include "runtime/calls.hpp"

namespace rekur::graph {

// Runs go on together, changes of the weights alone. Whoever waits to write goes before whoever comes to read after.
class Turns {
 public:
  template <class Lock>
  class Turn {
   public:
    explicit Turn(Turns& turns) : lock_(turns.take<Lock>()) {}

   private:
    runtime::Call call_;
    Lock lock_;
  };
  using Reading = Turn<std::shared_lock<std::shared_mutex>>;
  using Writing = Turn<std::unique_lock<std::shared_mutex>>;

 private:
  template <class Lock>
  Lock take() {
    const std::lock_guard turn(next_);
    return Lock(mutex_);
  }

  std::mutex next_;
  std::shared_mutex mutex_;
};

struct Store {
  Arena weights;  // 64-byte aligned
  std::atomic<std::uint64_t> version{1};
  mutable Turns turns;  // for the weights, their version and what layers pack
  const std::uint64_t id = next_id();

 private:
  static std::uint64_t next_id() {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
  }
};

// A piece of a graph's parameters that stands in one store without a gap.
struct Segment {
  int store;
  Index at;    // in the store
  Index flat;  // in a flat buffer of the graph's parameters
  Index size;
};

// The stores of a graph: its own, which comes first, and those that it shares.
class Stores {
 public:
  Stores() : all_{std::make_shared<Store>()} {}

  Store& own() const { return *all_[0]; }
  Store& operator[](int i) const { return *all_[static_cast<std::size_t>(i)]; }
  const std::shared_ptr<Store>& shared(int i) const { return all_[static_cast<std::size_t>(i)]; }
  std::size_t size() const { return all_.size(); }

  // The number under which a store is known from now on.
  int add(const std::shared_ptr<Store>& store) {
    const auto found = std::find(all_.begin(), all_.end(), store);
    if (found != all_.end()) return static_cast<int>(found - all_.begin());
    all_.push_back(store);
    return static_cast<int>(all_.size()) - 1;
  }

  // Another one after every change of any of them.
  std::uint64_t version() const {
    std::uint64_t sum = 0;
    for (const auto& store : all_) sum += store->version;
    return sum;
  }

  // While the result lives, no weight changes. Not for a thread that holds one already.
  auto read() const {
    return Held<Turns::Reading>(*this, [](int) { return true; });
  }
  // Nobody reads or changes the stores of these segments.
  auto write(std::span<const Segment> segments) const {
    return Held<Turns::Writing>(*this, [segments](int store) {
      return std::any_of(segments.begin(), segments.end(), [store](const Segment& s) { return s.store == store; });
    });
  }

 private:
  // Always locked in the order in which the stores were made.
  template <class Turn>
  class Held {
   public:
    template <class Wanted>
    Held(const Stores& stores, const Wanted& wanted) {
      if (stores.size() == 1) {  // nothing is allocated for a graph by itself
        if (wanted(0)) own_.emplace(stores.own().turns);
        return;
      }
      std::vector<Store*> chosen;
      for (int i = 0; i < static_cast<int>(stores.size()); ++i)
        if (wanted(i)) chosen.push_back(&stores[i]);
      std::sort(chosen.begin(), chosen.end(), [](const Store* a, const Store* b) { return a->id < b->id; });
      for (Store* store : chosen) turns_.push_back(std::make_unique<Turn>(store->turns));
    }

   private:
    std::optional<Turn> own_;
    std::vector<std::unique_ptr<Turn>> turns_;
  };

  std::vector<std::shared_ptr<Store>> all_;
};

}  // namespace rekur::graph
