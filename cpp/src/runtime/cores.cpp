#include "runtime/cores.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "runtime/locks.hpp"
#include "runtime/team.hpp"

#if REKUR_SYSTEM_THREADS
#include <thread>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

namespace rekur::runtime {
namespace {

Atomic<int> known_cores{0};

int cores_of_mask() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
#if REKUR_SYSTEM_THREADS
  return static_cast<int>(std::thread::hardware_concurrency());
#else
  return 1;
#endif
}

#if defined(__linux__)
struct Closed {
  std::FILE* file;
  explicit Closed(const std::string& path) : file(std::fopen(path.c_str(), "re")) {}
  ~Closed() {
    if (file != nullptr) std::fclose(file);
  }
  Closed(const Closed&) = delete;
  Closed& operator=(const Closed&) = delete;
};

// The first line of a file holds up to two numbers; "max" and what else is no number counts as none.
int read_numbers(const std::string& path, double (&numbers)[2]) {
  const Closed open(path);
  char line[64];
  if (open.file == nullptr || std::fgets(line, sizeof line, open.file) == nullptr) return 0;
  char *at = line, *end;
  int n = 0;
  for (; n < 2; ++n, at = end) {
    numbers[n] = std::strtod(at, &end);
    if (end == at) break;
  }
  return n;
}

// The smallest share that a group or one around it is held to, in cores; `most` if none is. Within a container its own group may
// stand at the top and the path be the host's: then what of it is not there is passed over.
double least_quota(const std::string& mount, std::string path, bool version2, double most) {
  for (;;) {
    const std::string group = mount + path;
    double quota[2], period[2] = {0, 0};
    bool limited;
    if (version2) {  // "150000 100000" or "max 100000"
      limited = read_numbers(group + "/cpu.max", quota) == 2;
      period[0] = quota[1];
    } else {  // -1: no limit
      limited = read_numbers(group + "/cpu.cfs_quota_us", quota) > 0 && read_numbers(group + "/cpu.cfs_period_us", period) > 0;
    }
    if (limited && quota[0] > 0 && period[0] > 0) most = std::min(most, quota[0] / period[0]);
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) return most;
    path.resize(slash);
  }
}

// Whether "cpu" is one of the controllers of a line of /proc/self/cgroup, "4:cpu,cpuacct:/path".
bool names_cpu(const char* begin, const char* end) {
  for (const char* at = begin; at < end;) {
    const char* const comma = std::find(at, end, ',');
    if (std::string_view(at, static_cast<std::size_t>(comma - at)) == "cpu") return true;
    at = comma == end ? end : comma + 1;
  }
  return false;
}
#endif

}  // namespace

int cgroup_cores([[maybe_unused]] const std::string& root) {
#if defined(__linux__)
  double cores = kMostThreads;
  const Closed groups(root + "/proc/self/cgroup");
  char line[4096 + 64];
  while (groups.file != nullptr && std::fgets(line, sizeof line, groups.file) != nullptr) {
    line[std::strcspn(line, "\n")] = 0;
    const char* const controllers = std::strchr(line, ':');
    const char* const path = controllers == nullptr ? nullptr : std::strchr(controllers + 1, ':');
    if (path == nullptr) continue;
    const bool version2 = path == controllers + 1;
    if (!version2 && !names_cpu(controllers + 1, path)) continue;
    std::string own = path + 1;
    while (!own.empty() && own.back() == '/') own.pop_back();
    const std::string mount = root + "/sys/fs/cgroup";
    if (version2) {
      cores = least_quota(mount, own, true, cores);
    } else {
      for (const char* name : {"/cpu", "/cpu,cpuacct"}) cores = least_quota(mount + name, own, false, cores);
    }
  }
  return cores < kMostThreads ? std::max(static_cast<int>(std::ceil(cores)), 1) : 0;
#else
  return 0;
#endif
}

int usable_cores() {
  const int cores = known_cores.load(std::memory_order_relaxed);
  return cores > 0 ? cores : count_cores();
}

int count_cores() {
  const int quota = cgroup_cores("");
  const int cores = std::clamp(cores_of_mask(), 1, quota > 0 ? quota : kMostThreads);
  known_cores.store(cores, std::memory_order_relaxed);
  return cores;
}

}  // namespace rekur::runtime
