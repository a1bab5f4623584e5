#include "graph/arena.hpp"
#include "io/text.hpp"
#include "runtime/locks.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <utility>

namespace rekur::graph {
namespace {

constexpr std::size_t kLine = 64;

// calloc gives large blocks as untouched zero pages: memory that is never used costs nothing. The block's own address stands before
// it.
float* allocate(Index floats) {
  constexpr std::size_t kMost = (std::numeric_limits<std::size_t>::max() - 2 * kLine) / sizeof(float);
  if (static_cast<std::uint64_t>(floats) > kMost) return nullptr;  // where an address has fewer bits than an Index
  const std::size_t bytes = static_cast<std::size_t>(floats) * sizeof(float);
  void* block = std::calloc(bytes + 2 * kLine, 1);
  if (block == nullptr) return nullptr;
  const std::uintptr_t address = (reinterpret_cast<std::uintptr_t>(block) + 2 * kLine - 1) / kLine * kLine;
  reinterpret_cast<void**>(address)[-1] = block;
  return reinterpret_cast<float*>(address);
}

void release(float* data) {
  if (data != nullptr) std::free(reinterpret_cast<void**>(data)[-1]);
}

}  // namespace

Arena::Arena(Index floats, const char* purpose) : data_(allocate(element_count({floats}))), size_(floats) {
  if (data_ == nullptr) {
    throw_out_of_memory("not enough memory for %: % floats (% MiB)", {purpose, floats, floats / (Index{1} << 18)});
  }
}

Arena::~Arena() { release(data_); }

Arena::Arena(Arena&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
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
