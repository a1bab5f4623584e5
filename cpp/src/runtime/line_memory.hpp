// Memory on the border of a cache line, which is that of the widest vector, too: the only place that knows what the system calls
// it.
#pragma once

#include <cstddef>
#include <cstdlib>
#if defined(_WIN32) || defined(__NEWLIB__)
#include <malloc.h>
#endif

namespace rekur {

inline constexpr std::size_t kLineBytes = 64;

// Null where there is none. free_lines, and nothing else, gives it back.
inline void* allocate_lines(std::size_t bytes) noexcept {
#if defined(_WIN32)
  return ::_aligned_malloc(bytes, kLineBytes);
#elif defined(__NEWLIB__)  // whose aligned_alloc asks for what there is no system to give
  return ::memalign(kLineBytes, bytes);
#else
  if (bytes > ~std::size_t{0} - kLineBytes) return nullptr;
  return std::aligned_alloc(kLineBytes, (bytes + kLineBytes - 1) / kLineBytes * kLineBytes);
#endif
}

inline void free_lines(void* memory) noexcept {
#if defined(_WIN32)
  ::_aligned_free(memory);
#else
  std::free(memory);
#endif
}

struct FreeLines {
  void operator()(void* memory) const noexcept { free_lines(memory); }
};

}  // namespace rekur
