// Memory of one call of the engine: taken piece by piece, given back all at once. It stays with its thread, so that calls of a
// steady size allocate nothing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <vector>

#include "rekur/tensor.hpp"
#include "runtime/checked.hpp"
#include "runtime/own_memory.hpp"

namespace rekur {

class Scratch {
 public:
  // `count` uninitialised elements on a cache line's border, until release().
  template <class T>
  std::span<T> take(Index count) {
    static_assert(std::is_trivially_destructible_v<T>);
    return {static_cast<T*>(bytes(count, sizeof(T))), static_cast<std::size_t>(count)};
  }

  // Gives everything back. What was taken from several blocks will stand in one the next time.
  void release() {
    if (blocks_.size() > 1) {
      blocks_.clear();
      size_ = 0;
    }
    most_ = std::max(most_, total_);
    used_ = total_ = 0;
  }

 private:
  static constexpr std::size_t kLineBytes = 64;
  struct Free {
    void operator()(void* p) const { runtime::give_block(p); }
  };

  void* bytes(Index count, std::size_t each) {
    std::size_t need;
    if (multiply_overflows(static_cast<std::size_t>(count), each, &need) || add_overflows(need, kLineBytes - 1, &need))
      throw std::bad_alloc();
    need = need / kLineBytes * kLineBytes;
    if (blocks_.empty() || need > size_ - used_) grow(need);
    void* p = static_cast<std::byte*>(blocks_.back().get()) + used_;
    used_ += need;
    total_ += need;
    return p;
  }

  void grow(std::size_t need) {
    const std::size_t size = std::max({need, most_, std::size_t{4096}});
    const runtime::MemoryScope system(nullptr);  // the thread's, whatever it is making now
    std::unique_ptr<void, Free> block(runtime::take_block(size, kLineBytes));
    if (!block) throw std::bad_alloc();
    blocks_.push_back(std::move(block));
    size_ = size;
    used_ = 0;
  }

  std::vector<std::unique_ptr<void, Free>> blocks_;  // the last one is taken from
  std::size_t size_ = 0, used_ = 0;                  // of the last block
  std::size_t total_ = 0, most_ = 0;                 // taken since release(); the most that ever was
};

// The calling thread's scratch memory, released when this goes out of scope. One at a time.
class ScratchUse {
 public:
  ScratchUse();
  ~ScratchUse() { scratch_.release(); }
  ScratchUse(const ScratchUse&) = delete;
  ScratchUse& operator=(const ScratchUse&) = delete;
  Scratch& operator*() { return scratch_; }
  Scratch* operator->() { return &scratch_; }

 private:
  Scratch& scratch_;
};

}  // namespace rekur
