// A thread's part in a job of its team: taking what is at home on its seat, and what others have not begun.
#pragma once

#include "runtime/seats.hpp"

namespace rekur::runtime {

// Works on the job, from the given seat, until all of it is done (seat 0, the caller's) or nothing is left to take. False: there is
// no core for this thread.
bool work_shift(Team& team, std::uint32_t job, int seat);

// How the thread that asks is found by others who wait for it: the time that it has had a core.
Clock own_clock();

}  // namespace rekur::runtime
