// operator new and delete of the whole program, which ask rekur where memory is to come from: with them everything that belongs to
// a model or a stream with memory of its own (rekur/memory.hpp) stands in that memory, the strings and lists of its bookkeeping,
// too.
//
//   // memory.cpp: nothing else need be in it; a program in C has one, too
//   #include <rekur/operators.hpp>
//
// To be included in exactly one source file of the program. What is allocated at other times, or on other threads, comes from
// malloc as before; each block is up to 48 bytes larger.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>

#include "rekur/memory.hpp"

namespace rekur::detail {

#if defined(__cpp_exceptions)
inline void* allocate_or_throw(std::size_t bytes, std::size_t alignment) {
  for (;;) {
    if (void* const block = allocate(bytes, alignment)) return block;
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
  }
}
#else
// The standard library ends the program where it finds no memory.
inline void* allocate_or_throw(std::size_t bytes, std::size_t alignment) {
  void* const block = allocate(bytes, alignment);
  if (block == nullptr) std::abort();
  return block;
}
#endif

}  // namespace rekur::detail

// NOLINTBEGIN: the standard's own forms
void* operator new(std::size_t bytes) { return rekur::detail::allocate_or_throw(bytes, 1); }
void* operator new[](std::size_t bytes) { return rekur::detail::allocate_or_throw(bytes, 1); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return rekur::detail::allocate(bytes, 1); }
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept { return rekur::detail::allocate(bytes, 1); }
void operator delete(void* block) noexcept { rekur::detail::release(block); }
void operator delete[](void* block) noexcept { rekur::detail::release(block); }
void operator delete(void* block, std::size_t) noexcept { rekur::detail::release(block); }
void operator delete[](void* block, std::size_t) noexcept { rekur::detail::release(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept { rekur::detail::release(block); }
void operator delete[](void* block, const std::nothrow_t&) noexcept { rekur::detail::release(block); }
#if defined(__cpp_aligned_new)
void* operator new(std::size_t bytes, std::align_val_t a) {
  return rekur::detail::allocate_or_throw(bytes, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t bytes, std::align_val_t a) {
  return rekur::detail::allocate_or_throw(bytes, static_cast<std::size_t>(a));
}
void* operator new(std::size_t bytes, std::align_val_t a, const std::nothrow_t&) noexcept {
  return rekur::detail::allocate(bytes, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t bytes, std::align_val_t a, const std::nothrow_t&) noexcept {
  return rekur::detail::allocate(bytes, static_cast<std::size_t>(a));
}
void operator delete(void* block, std::align_val_t) noexcept { rekur::detail::release(block); }
void operator delete[](void* block, std::align_val_t) noexcept { rekur::detail::release(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { rekur::detail::release(block); }
void operator delete[](void* block, std::size_t, std::align_val_t) noexcept { rekur::detail::release(block); }
void operator delete(void* block, std::align_val_t, const std::nothrow_t&) noexcept { rekur::detail::release(block); }
void operator delete[](void* block, std::align_val_t, const std::nothrow_t&) noexcept { rekur::detail::release(block); }
#endif
// NOLINTEND
