#include "layers/run_recurrences.hpp"
#include "runtime/locks.hpp"

#if REKUR_TRAINING

#include <algorithm>
#include <new>

namespace rekur::layers {

std::uint64_t RunRecurrences::new_run() const {
  const runtime::Guard lock(mutex_);
  return ++runs_;
}

RunRecurrences::Lease RunRecurrences::find(std::uint64_t run) const {
  Lease lease;
  lease.from_ = this;
  const runtime::Guard lock(mutex_);
  if (free_.empty()) return lease;
  auto found = std::find_if(free_.begin(), free_.end(), [&](const auto& held) { return held->run == run; });
  if (found == free_.end()) found = free_.begin();  // the one longest unused: its run may be over
  lease.held_ = std::move(*found);
  free_.erase(found);
  return lease;
}

RunRecurrences::Lease::~Lease() {
  if (!held_) return;
  const runtime::Guard lock(from_->mutex_);
  try {
    from_->free_.push_back(std::move(held_));
  } catch (const std::bad_alloc&) {  // they are made anew where they are wanted
  }
}

}  // namespace rekur::layers

#endif
