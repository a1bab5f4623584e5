#include "runtime/scratch.hpp"
#include "runtime/locks.hpp"

#if defined(__MINGW32__)
#include <pthread.h>
#endif

namespace rekur {
namespace {

#if defined(__MINGW32__)
// MinGW frees the memory of a thread's variables before it calls their destructors, so one that has a destructor stands elsewhere.
Scratch& thread_scratch() {
  static const pthread_key_t key = [] {
    pthread_key_t made;
    if (pthread_key_create(&made, [](void* mine) { delete static_cast<Scratch*>(mine); }) != 0) throw std::bad_alloc();
    return made;
  }();
  if (void* const mine = pthread_getspecific(key)) return *static_cast<Scratch*>(mine);
  const runtime::MemoryScope system(nullptr);
  auto made = std::make_unique<Scratch>();
  if (pthread_setspecific(key, made.get()) != 0) throw std::bad_alloc();
  return *made.release();
}
#else
Scratch& thread_scratch() {
  REKUR_THREAD_LOCAL static Scratch scratch;
  return scratch;
}
#endif

}  // namespace

ScratchUse::ScratchUse() : scratch_(thread_scratch()) {}

}  // namespace rekur
