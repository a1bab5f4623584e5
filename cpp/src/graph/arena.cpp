#include "graph/arena.hpp"
#include "io/text.hpp"
#include "runtime/locks.hpp"
#include "runtime/own_memory.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

namespace rekur::graph {
namespace {

// The system's large blocks come as untouched zero pages: memory that is never used costs nothing.
float* allocate(Index floats) {
  constexpr std::size_t kMost = (std::numeric_limits<std::size_t>::max() - 128) / sizeof(float);
  if (static_cast<std::uint64_t>(floats) > kMost) return nullptr;  // where an address has fewer bits than an Index
  return static_cast<float*>(runtime::take_block(static_cast<std::size_t>(floats) * sizeof(float), 64, true));
}

}  // namespace

Arena::Arena(Index floats, const char* purpose) : data_(allocate(element_count({floats}))), size_(floats) {
  if (data_ == nullptr) {
    throw_out_of_memory("not enough memory for %: % floats (% MiB)", {purpose, floats, floats / (Index{1} << 18)});
  }
}

Arena Arena::borrowed(const float* data, Index floats, std::shared_ptr<const void> keep) {
  Arena arena;
  arena.data_ = const_cast<float*>(data);
  arena.size_ = floats;
  arena.borrowed_ = true;
  arena.keep_ = std::move(keep);
  return arena;
}

Arena::~Arena() {
  if (!borrowed_) runtime::give_block(data_);
}

Arena::Arena(Arena&& other) noexcept { *this = std::move(other); }

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(borrowed_, other.borrowed_);
  keep_.swap(other.keep_);
  return *this;
}

Arena ArenaPool::take(Index floats) {
  {
    const runtime::Guard lock(mutex_);
    auto best = kept_.end();
    for (auto it = kept_.begin(); it != kept_.end(); ++it) {
      if (it->size() >= floats && (best == kept_.end() || it->size() < best->size())) best = it;
    }
    if (best != kept_.end()) {
      Arena arena = std::move(*best);
      kept_.erase(best);
      return arena;
    }
  }
  try {
    return Arena(floats, "the arrays of a run");
  } catch (const Error&) {
    const runtime::Guard lock(mutex_);
    kept_.clear();  // smaller blocks may have been in the way
  }
  return Arena(floats, "the arrays of a run");
}

void ArenaPool::give(Arena arena) {
  if (arena.data() == nullptr) return;
  const runtime::Guard lock(mutex_);
  kept_.push_back(std::move(arena));
  if (kept_.size() <= kKept) return;
  kept_.erase(std::min_element(kept_.begin(), kept_.end(), [](const Arena& a, const Arena& b) { return a.size() < b.size(); }));
}

}  // namespace rekur::graph
