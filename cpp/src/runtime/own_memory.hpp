// Where memory comes from: of a model or a stream the caller's (rekur/memory.hpp) or the system's. While a MemoryScope lives, what
// its thread takes comes from that memory; every block remembers whose it is, so it may be given back anywhere and at any time.
//
// What must not stand in a caller's memory, since it outlives what is being made, is taken in a scope of null: what is kept for the
// process or for a thread, messages of errors.
#pragma once

#include <cstddef>

#include "rekur/memory.hpp"

namespace rekur::runtime {

class MemoryScope {
 public:
  // null, or one that is false: the system's.
  explicit MemoryScope(const Memory* memory) noexcept;
  ~MemoryScope();
  MemoryScope(const MemoryScope&) = delete;
  MemoryScope& operator=(const MemoryScope&) = delete;

 private:
  const Memory* const before_;
};

// Whether this thread is within the scope of memory that is a caller's.
bool in_own_memory() noexcept;

// A block of at least so many bytes, aligned to at least 16; null where there is none. zero: all of it is, and of the system's
// large blocks costs nothing until it is used.
void* take_block(std::size_t bytes, std::size_t alignment, bool zero = false) noexcept;
void give_block(void* block) noexcept;

}  // namespace rekur::runtime
