// Floats on a cache line's border, of the memory that whoever makes them is given (own_memory.hpp); or somebody else's, which a
// file has (panels.hpp).
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>

#include "rekur/tensor.hpp"
#include "runtime/own_memory.hpp"
#include "runtime/panels.hpp"

namespace rekur {

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(Index size) { reserve(size); }

  // At least `size` floats, uninitialised; what was there before is lost when it has to grow.
  float* reserve(Index size) {
    if (size > size_ || at_ != data_.get()) {
      at_ = nullptr;
      data_.reset();
      size_ = 0;
      constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max() / 2 / sizeof(float);
      if (static_cast<std::uint64_t>(size) > kMost) throw std::bad_alloc();
      const std::size_t bytes = (static_cast<std::size_t>(size) * sizeof(float) + 63) / 64 * 64;
      data_.reset(static_cast<float*>(runtime::take_block(bytes, 64)));
      if (!data_) throw std::bad_alloc();
      at_ = data_.get();
      size_ = size;
    }
    return at_;
  }

  // The same, to be filled with weights in this layout. Null where a file has them: they are at data() then, not to be written.
  float* claim(Index size, std::uint64_t layout) {
    runtime::Panels* const panels = runtime::PanelScope::now();
    if (panels == nullptr) return reserve(size);
    if (const float* const stored = panels->next(size, layout)) {
      at_ = const_cast<float*>(stored);
      return nullptr;
    }
    panels->made({layout, size, reserve(size)});
    return at_;
  }

  // A copy of so many.
  float* assign(const float* from, Index size) {
    std::copy_n(from, size, reserve(size));
    return at_;
  }

  float* data() const { return at_; }

 private:
  struct Free {
    void operator()(float* p) const { runtime::give_block(p); }
  };
  float* at_ = nullptr;  // data_, or a file's
  std::unique_ptr<float, Free> data_;
  Index size_ = 0;
};

}  // namespace rekur
