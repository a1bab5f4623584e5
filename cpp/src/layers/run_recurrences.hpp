// Recurrences whose packed weights belong to one run: a training pass computes with a kernel of its own (recurrent weight
// dropout), and its backward pass with the same one, while other runs of the layer go on side by side.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "recurrent/recurrent.hpp"
#include "runtime/locks.hpp"

#if REKUR_TRAINING

namespace rekur::layers {

class RunRecurrences {
 public:
  RunRecurrences() = default;
  RunRecurrences(const RunRecurrences&) = delete;
  RunRecurrences& operator=(const RunRecurrences&) = delete;

  // A run's recurrences, one a direction, given back when this dies.
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept = default;
    Lease& operator=(Lease&& other) noexcept = default;
    ~Lease();

    const std::vector<recurrent::Recurrence>& recurrences() const { return held_->recurrences; }

   private:
    friend class RunRecurrences;
    struct Held {
      std::uint64_t run;
      std::vector<recurrent::Recurrence> recurrences;
    };
    const RunRecurrences* from_ = nullptr;
    std::unique_ptr<Held> held_;
  };

  // Forgets those that nobody has.
  void clear() const {
    const runtime::Guard lock(mutex_);
    free_.clear();
  }

  // A number that no other run has: also the version that it prepares its recurrences with.
  std::uint64_t new_run() const;

  // Those that this run has had before, if they are still there; else any that nobody has, or what `make` gives.
  template <class Make>
  Lease borrow(std::uint64_t run, const Make& make) const {
    Lease lease = find(run);
    if (!lease.held_) lease.held_ = std::make_unique<Lease::Held>(Lease::Held{0, make()});
    lease.held_->run = run;
    return lease;
  }

 private:
  Lease find(std::uint64_t run) const;

  mutable runtime::Mutex mutex_;
  mutable std::uint64_t runs_ = 0;
  mutable std::vector<std::unique_ptr<Lease::Held>> free_;
};

}  // namespace rekur::layers

#endif
