// How many threads there is room for: cores that this process may use, and which of them others keep busy.
#pragma once

#include <cstdint>

namespace rekur::runtime {

// Of `asked` threads, those worth using now: no more than there are cores, and fewer for a while after threads were found waiting
// for a core.
int spare_threads(int asked) noexcept;

// A call of so many threads waited for one that had work in hand and no core to do it on: `lost` nanoseconds, 0 where it is not
// known. Calls use half as many for a while.
void note_stall(int threads, std::int64_t lost) noexcept;

// For tests: more threads than cores, and no heed of who is waiting.
void allow_any_number_of_threads(bool allow) noexcept;

}  // namespace rekur::runtime
