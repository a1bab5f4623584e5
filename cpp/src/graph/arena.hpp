// Big, 64-byte aligned blocks of floats, and a pool that hands used ones out again so that a steady stream of runs allocates none
// of them anew.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "rekur/tensor.hpp"
#include "runtime/lines.hpp"
#include "runtime/locks.hpp"

namespace rekur::graph {

// Whole cache lines.

// A block of floats, zero when new (used ones come from the pool as they were left).
class Arena {
 public:
  Arena() = default;
  // Throws Error, saying how much was asked for and what for, when there is not that much memory.
  Arena(Index floats, const char* purpose);
  // Somebody else's floats, which nobody may write: a file's that lie in memory. `keep`: what has them; null: the caller.
  static Arena borrowed(const float* data, Index floats, std::shared_ptr<const void> keep);
  ~Arena();
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;

  float* data() const { return data_; }
  Index size() const { return size_; }
  bool is_borrowed() const { return borrowed_; }

 private:
  float* data_ = nullptr;
  Index size_ = 0;
  bool borrowed_ = false;
  std::shared_ptr<const void> keep_;
};

class ArenaPool {
 public:
  // The smallest block kept that is large enough, or a new one.
  Arena take(Index floats);
  void give(Arena arena);

 private:
  static constexpr std::size_t kKept = 4;  // blocks kept; more runs at once than this allocate
  runtime::Mutex mutex_;
  std::vector<Arena> kept_;
};

}  // namespace rekur::graph
