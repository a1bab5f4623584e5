// Memory of the caller's own, for a model or a stream: what ModelOptions::memory and StreamOptions::memory take.
//
//   alignas(64) static std::byte block[64 * 1024];
//   rekur::Stream stream(model, {.memory = rekur::fixed_memory(block, sizeof block)});
//
// What is large comes from it: weights, packed weights, arrays and states. So does everything else, down to the last string, in a
// program that includes rekur/operators.hpp in one of its sources; without, the standard containers within take theirs from
// operator new. A model or stream with memory of its own shares none of it: a stream packs the weights for itself.
//
// Not from it come the messages of errors and exceptions themselves, what threads keep for calls (Model::predict, not streams), and
// what the library keeps for the process: threads, the table of compiled cells. Nothing is made on several threads.
#pragma once

#include <cstddef>

#include "rekur/config.h"

namespace rekur {

// Both functions are called on whatever thread makes, uses or destroys what was made of it, so for a model that several threads use
// they must be safe to call at once. `context` must live until all that was made of it is gone.
struct Memory {
  // A block of `bytes` bytes, at least 1, at a multiple of `alignment`, which is a power of two of at most 64. Null where there is
  // none: the call then fails as one that finds no memory. Must not throw.
  void* (*allocate)(void* context, std::size_t bytes, std::size_t alignment) = nullptr;
  // Takes a block back: the same bytes and alignment. Must not throw.
  void (*release)(void* context, void* block, std::size_t bytes, std::size_t alignment) = nullptr;
  void* context = nullptr;

  // Whether there is any; otherwise memory is the system's.
  explicit operator bool() const noexcept { return allocate != nullptr; }
};

// What takes and gives back pieces of one block, which is the caller's and must outlive all that was made of it. Its bookkeeping
// stands in the block: nothing need be destroyed, and the block is the caller's again when whatever was made of it is gone. Of a
// block that is too small for that alone, every allocation fails. Safe to use from several threads.
REKUR_API Memory fixed_memory(void* block, std::size_t size) noexcept;

// How large a block would have been enough for what a Memory of fixed_memory has given at any time, wherever such a block stands:
// to find out how much a model or a stream needs, make it in a large one.
REKUR_API std::size_t fixed_memory_needed(const Memory& memory) noexcept;

namespace detail {
// For rekur/operators.hpp. From the memory of whatever is being made on this thread, else the system's; null where there is none.
REKUR_API void* allocate(std::size_t bytes, std::size_t alignment) noexcept;
// Of what `allocate` gave, or null.
REKUR_API void release(void* block) noexcept;
}  // namespace detail

}  // namespace rekur
