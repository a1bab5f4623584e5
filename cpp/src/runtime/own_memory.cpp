#include "runtime/own_memory.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "runtime/locks.hpp"

namespace rekur {
namespace {

constinit REKUR_THREAD_LOCAL const Memory* current_memory = nullptr;

constexpr std::size_t kLeast = 16;                  // alignment of every block
constexpr std::size_t kMalloc = 2 * sizeof(void*);  // … of what malloc gives everywhere: newlib's 8

constexpr std::size_t up(std::size_t n, std::size_t multiple) { return (n + multiple - 1) / multiple * multiple; }
std::uintptr_t address(const void* p) { return reinterpret_cast<std::uintptr_t>(p); }

// Stands before every block that take_block gives.
struct Header {
  void (*release)(void* context, void* block, std::size_t bytes, std::size_t alignment);  // null: the system's
  void* context;                                                                          // … what malloc gave
  std::size_t bytes;                                                                      // of the whole
  std::uint32_t before, alignment;                                                        // from its beginning to the block
};
static_assert(sizeof(Header) <= 32);

// --- fixed_memory ---

// A hole, in the hole. They stand in a list in the order of their addresses.
struct Hole {
  std::size_t size;
  Hole* next;
};
constexpr std::size_t kGrain = 16;
static_assert(sizeof(Hole) <= kGrain);

constexpr std::size_t kHeapLine = 64;  // where the heap begins, so that a block's own place changes nothing

struct Heap {
#if REKUR_SYSTEM_THREADS
  std::atomic_flag taken = ATOMIC_FLAG_INIT;
#endif
  Hole first{0, nullptr};
  std::size_t most = 0;  // bytes from the heap's beginning to the end of the last piece that ever was

  // What happens here takes fewer instructions than to wait for a lock.
#if REKUR_SYSTEM_THREADS
  void lock() noexcept {
    while (taken.test_and_set(std::memory_order_acquire)) {
    }
  }
  void unlock() noexcept { taken.clear(std::memory_order_release); }
#else
  void lock() noexcept {}
  void unlock() noexcept {}
#endif

  // The first hole that is large enough, at its beginning: the same calls give the same places, however large the heap is.
  void* take(std::size_t bytes, std::size_t alignment) noexcept {
    if (bytes > std::numeric_limits<std::size_t>::max() - 2 * kHeapLine) return nullptr;
    bytes = up(bytes, kGrain);
    alignment = std::max(alignment, kGrain);
    for (Hole *last = &first, *hole = first.next; hole != nullptr; last = hole, hole = hole->next) {
      const std::size_t skip = up(address(hole), alignment) - address(hole);
      if (hole->size < skip || hole->size - skip < bytes) continue;
      char* const block = reinterpret_cast<char*>(hole) + skip;
      const std::size_t rest = hole->size - skip - bytes;
      Hole* next = hole->next;
      if (rest > 0) next = new (block + bytes) Hole{rest, next};
      if (skip > 0)
        *hole = {skip, next};
      else
        last->next = next;
      most = std::max(most, address(block) + bytes - address(this));
      return block;
    }
    return nullptr;
  }

  void give(void* block, std::size_t bytes) noexcept {
    bytes = up(bytes, kGrain);
    Hole* last = &first;
    while (last->next != nullptr && address(last->next) < address(block)) last = last->next;
    Hole* made = new (block) Hole{bytes, last->next};
    if (made->next != nullptr && address(made) + made->size == address(made->next)) {
      made->size += made->next->size;
      made->next = made->next->next;
    }
    if (last != &first && address(last) + last->size == address(made)) {
      last->size += made->size;
      made = last->next = made->next;
    } else {
      last->next = made;
    }
  }
};

void* take_from_heap(void* context, std::size_t bytes, std::size_t alignment) noexcept {
  if (context == nullptr) return nullptr;
  Heap& heap = *static_cast<Heap*>(context);
  heap.lock();
  void* const block = heap.take(bytes, alignment);
  heap.unlock();
  return block;
}

void give_to_heap(void* context, void* block, std::size_t bytes, std::size_t /*alignment*/) noexcept {
  Heap& heap = *static_cast<Heap*>(context);
  heap.lock();
  heap.give(block, bytes);
  heap.unlock();
}

constexpr std::size_t kHeap = up(sizeof(Heap), kHeapLine);

}  // namespace

Memory fixed_memory(void* block, std::size_t size) noexcept {
  const std::size_t skip = up(address(block), kHeapLine) - address(block);
  if (block == nullptr || size < skip + kHeap + kGrain) return {take_from_heap, give_to_heap, nullptr};
  char* const begin = static_cast<char*>(block) + skip;
  Heap* const heap = new (begin) Heap;
  heap->most = kHeap + kGrain;
  heap->first.next = new (begin + kHeap) Hole{(size - skip - kHeap) / kGrain * kGrain, nullptr};
  return {take_from_heap, give_to_heap, heap};
}

std::size_t fixed_memory_needed(const Memory& memory) noexcept {
  if (memory.allocate != take_from_heap || memory.context == nullptr) return 0;
  Heap& heap = *static_cast<Heap*>(memory.context);
  heap.lock();
  const std::size_t most = heap.most;
  heap.unlock();
  return most + kHeapLine - 1;
}

namespace runtime {

MemoryScope::MemoryScope(const Memory* memory) noexcept
    : before_(std::exchange(current_memory, memory != nullptr && *memory ? memory : nullptr)) {}
MemoryScope::~MemoryScope() { current_memory = before_; }

bool in_own_memory() noexcept { return current_memory != nullptr; }

void* take_block(std::size_t bytes, std::size_t alignment, bool zero) noexcept {
  alignment = std::max(alignment, kLeast);
  const std::size_t before = up(sizeof(Header), alignment);
  const std::size_t slack = current_memory == nullptr && alignment > kMalloc ? alignment : 0;
  if (bytes > std::numeric_limits<std::size_t>::max() - before - slack) return nullptr;
  const std::size_t whole = bytes + before + slack;
  void* const begin = current_memory != nullptr ? current_memory->allocate(current_memory->context, whole, alignment)
                      : zero                    ? std::calloc(whole, 1)
                                                : std::malloc(whole);
  if (begin == nullptr) return nullptr;
  char* const block = static_cast<char*>(begin) + (up(address(begin) + before, alignment) - address(begin));
  Header header{nullptr, begin, whole, static_cast<std::uint32_t>(before), static_cast<std::uint32_t>(alignment)};
  if (current_memory != nullptr) {
    header.release = current_memory->release;
    header.context = current_memory->context;
    if (zero) std::memset(block, 0, bytes);
  }
  new (block - sizeof(Header)) Header(header);
  return block;
}

void give_block(void* block) noexcept {
  if (block == nullptr) return;
  const Header header = *reinterpret_cast<Header*>(static_cast<char*>(block) - sizeof(Header));
  if (header.release == nullptr)
    std::free(header.context);
  else
    header.release(header.context, static_cast<char*>(block) - header.before, header.bytes, header.alignment);
}

}  // namespace runtime

void* detail::allocate(std::size_t bytes, std::size_t alignment) noexcept { return runtime::take_block(bytes, alignment); }
void detail::release(void* block) noexcept { runtime::give_block(block); }

}  // namespace rekur
