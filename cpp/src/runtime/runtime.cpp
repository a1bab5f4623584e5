#include "rekur/runtime.hpp"
#include "io/text.hpp"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "rekur/tensor.hpp"
#include "runtime/cores.hpp"
#include "runtime/locks.hpp"
#include "runtime/team.hpp"

namespace rekur {

namespace {

using runtime::kMostThreads;

// The number at the start of `text`, if it is in range and followed by one of `ends` or nothing.
std::optional<int> thread_count(const char* text, const char* ends) {
  const char* const end = text + std::strlen(text);
  std::int64_t n = 0;
  const auto [rest, error] = std::from_chars(text, end, n);
  if (error != std::errc() || (rest != end && !std::strchr(ends, *rest)) || n < 1 || n > kMostThreads) return std::nullopt;
  return static_cast<int>(n);
}

int initial_threads() {
  if (const char* text = std::getenv("REKUR_NUM_THREADS"); text && *text) {
    if (const auto n = thread_count(text, "")) return *n;
    throw_error("REKUR_NUM_THREADS: expected a number from 1 to 1024, got '%'", {text});
  }
  if (const char* text = std::getenv("OMP_NUM_THREADS")) {
    if (const auto n = thread_count(text, ", ")) return *n;  // OpenMP allows a list, one number for each level
  }
  return runtime::usable_cores();
}

runtime::Atomic<int> threads{0};  // 0: not known yet

std::string processor_model() {
  std::string model = "unknown processor";
#if defined(__linux__)
  std::FILE* const file = std::fopen("/proc/cpuinfo", "re");
  if (file == nullptr) return model;
  char line[256];
  while (std::fgets(line, sizeof line, file)) {
    const char* const colon = std::strstr(line, ": ");
    if (std::strncmp(line, "model name", 10) != 0 || colon == nullptr) continue;
    model.assign(colon + 2, std::strcspn(colon + 2, "\n"));
    break;
  }
  std::fclose(file);
#endif
  return model;
}

}  // namespace

int num_threads() {
  int n = threads.load(std::memory_order_relaxed);
  if (n > 0) return n;
  const int initial = initial_threads();
  // Another thread may have set it meanwhile: its number stands.
  return threads.compare_exchange_strong(n, initial, std::memory_order_relaxed) ? initial : n;
}

void set_num_threads(int n) {
  if (n < 1 || n > kMostThreads) throw_error("set_num_threads: expected a number from 1 to 1024, got %", {n});
  runtime::count_cores();  // the affinity mask may be another now
  threads.store(n, std::memory_order_relaxed);
}

std::string cpu_info() {
#if REKUR_THREADS
  const char* const kind = num_threads() > runtime::usable_cores() ? " (a call uses no more than there are cores)\n" : "\n";
#else
  constexpr const char* kind = ", built for one thread\n";
#endif
  std::string names;
  for (const std::string& name : available_isas()) names.append(" ").append(name);
  return compose("rekur %\nprocessor: %\ninstruction set: % (available:%)\nthreads: % of % usable cores%cells: %\n",
                 {version(), processor_model(), current_isa(), names, num_threads(), runtime::usable_cores(), kind, REKUR_CELLS});
}

const char* version() noexcept { return REKUR_VERSION; }

}  // namespace rekur
