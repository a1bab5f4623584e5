#include "isa/dispatch.hpp"
#include "io/text.hpp"

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>

#include "rekur/runtime.hpp"

namespace rekur::isa {

#ifdef REKUR_HAVE_BASELINE
extern const Table table_baseline;
#endif
#ifdef REKUR_HAVE_AVX2
extern const Table table_avx2;
#endif
#ifdef REKUR_HAVE_AVX512
extern const Table table_avx512;
#endif
#ifdef REKUR_HAVE_NEON
extern const Table table_neon;
#endif

namespace {

// Tables of this build that this machine can run, narrowest first. Never empty.
std::vector<const Table*> find_available() {
  std::vector<const Table*> tables;
#ifdef REKUR_HAVE_BASELINE
  tables.push_back(&table_baseline);
#endif
#ifdef REKUR_HAVE_AVX2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) tables.push_back(&table_avx2);
#endif
#ifdef REKUR_HAVE_AVX512
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
    tables.push_back(&table_avx512);
#endif
#ifdef REKUR_HAVE_NEON
  tables.push_back(&table_neon);
#endif
  return tables;
}

const std::vector<const Table*>& available() {
  static const std::vector<const Table*> tables = find_available();
  return tables;
}

// `source` says in the message where the name came from.
const Table& find(const std::string& name, const std::string& source) {
  std::string names;
  for (const Table* t : available()) {
    if (name == t->name) return *t;
    names += (names.empty() ? "" : ", ") + std::string(t->name);
  }
  const bool known = name == "baseline" || name == "avx2" || name == "avx512" || name == "neon";
  throw_error({source, (known ? ": this machine or this build lacks the instruction set '" : ": unknown instruction set '"), name,
               "' (available: ", names, ")"});
}

std::atomic<const Table*> current{nullptr};
std::atomic<std::uint64_t> current_epoch{1};
std::mutex choosing;

const Table& choose() {
  const std::lock_guard lock(choosing);
  if (const Table* chosen = current.load(std::memory_order_acquire)) return *chosen;
  const char* wanted = std::getenv("REKUR_ISA");
  const Table& table = wanted && *wanted ? find(wanted, "REKUR_ISA") : *available().back();
  current.store(&table, std::memory_order_release);
  return table;
}

}  // namespace

const Table& table() {
  const Table* chosen = current.load(std::memory_order_acquire);
  return chosen ? *chosen : choose();
}

std::uint64_t epoch() { return current_epoch.load(std::memory_order_acquire); }

}  // namespace rekur::isa

namespace rekur {

std::string current_isa() { return isa::table().name; }

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const isa::Table* t : isa::available()) names.emplace_back(t->name);
  return names;
}

void set_isa(const std::string& name) {
  const isa::Table& table = isa::find(name, "set_isa");
  const std::lock_guard lock(isa::choosing);
  isa::current.store(&table, std::memory_order_release);
  isa::current_epoch.fetch_add(1, std::memory_order_acq_rel);
}

}  // namespace rekur
