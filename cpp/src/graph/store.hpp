// Where parameters stand: a flat buffer that belongs to the graph it was made for, and to all graphs that share layers with it.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "graph/arena.hpp"
#include "runtime/calls.hpp"
#include "runtime/locks.hpp"

namespace rekur::graph {

// Runs go on together, changes of the weights alone. Whoever waits to write goes before whoever comes to read after.
class Turns {
 public:
  void begin(bool writing) {
    const runtime::Guard turn(next_);
    writing ? mutex_.lock() : mutex_.lock_shared();
  }
  void end(bool writing) { writing ? mutex_.unlock() : mutex_.unlock_shared(); }

 private:
  runtime::Mutex next_;
  runtime::SharedMutex mutex_;
};

struct Store {
  Arena weights;  // 64-byte aligned
  runtime::Atomic<std::uint64_t> version{1};
  Turns turns;  // for the weights, their version and what layers pack
  const std::uint64_t id = next_id();

 private:
  static std::uint64_t next_id();
};

// A piece of a graph's parameters that stands in one store without a gap.
struct Segment {
  int store;
  Index at;    // in the store
  Index flat;  // in a flat buffer of the graph's parameters
  Index size;
};

class Stores;

// While it lives, no weight of the stores changes; or, for who writes, nobody reads or changes those of his segments. Not for a
// thread that holds one already.
class HeldStores {
 public:
  explicit HeldStores(const Stores& stores);
  HeldStores(const Stores& stores, std::span<const Segment> written);
  ~HeldStores();
  HeldStores(const HeldStores&) = delete;
  HeldStores& operator=(const HeldStores&) = delete;

 private:
  void begin();

  runtime::Call call_;
  const bool writing_;
  Store* only_ = nullptr;        // nothing is allocated for a graph by itself
  std::vector<Store*> several_;  // in the order in which they were made
};

// The stores of a graph: its own, which comes first, and those that it shares.
class Stores {
 public:
  Stores() : all_{std::make_shared<Store>()} {}

  Store& own() const { return *all_[0]; }
  Store& operator[](int i) const { return *all_[static_cast<std::size_t>(i)]; }
  const std::shared_ptr<Store>& shared(int i) const { return all_[static_cast<std::size_t>(i)]; }
  int size() const { return static_cast<int>(all_.size()); }

  // The number under which a store is known from now on.
  int add(const std::shared_ptr<Store>& store);
  // Another one after every change of any of them.
  std::uint64_t version() const;

 private:
  std::vector<std::shared_ptr<Store>> all_;
};

bool stands_in(std::span<const Segment> segments, int store);

}  // namespace rekur::graph
