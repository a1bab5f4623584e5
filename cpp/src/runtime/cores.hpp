// The cores that this process may use.
#pragma once

#include <string>

namespace rekur::runtime {

// By the affinity mask of the calling thread and the CPU quota of its cgroups, rounded up; from 1 to kMostThreads. What count_cores
// found last, or finds now where nobody has asked before.
int usable_cores();
int count_cores();

// Cores' worth of time that the cgroups of a process allow it, of versions 1 and 2, those around them included; rounded up, at
// least 1; 0: no limit, or nothing that can be read. `root` stands before every path: empty, but for tests.
int cgroup_cores(const std::string& root);

}  // namespace rekur::runtime
