// What an audio callback must not do, watched: while a Quiet lives, a call of the allocator or of a lock in its thread ends the
// program with a line that names it. The program has functions of those names itself, which stand in for those of everything that
// it loads. Where that cannot be (another C library, a sanitizer), kWatched is false.
#pragma once

namespace quiet {

extern const bool kWatched;

class Quiet {
 public:
  Quiet() noexcept;
  ~Quiet();
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;
};

// Runs `work` in a process of its own that may make no system call at all. kept, broken, or unknown where that cannot be forbidden.
enum class Kept { yes, no, unknown };
Kept without_system_calls(void (*work)(void*), void* what);
// Whether the watch sees: `work` is run while a Quiet lives and must end its process.
Kept noticed(void (*work)());

}  // namespace quiet
