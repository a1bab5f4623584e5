#include "isa/dispatch.hpp"

#include "isa/amx.hpp"
#if REKUR_COMPILED_CELLS
#include "equations/compiled.hpp"
#endif
#include "io/text.hpp"

#include <cstdlib>
#include <string>
#include <vector>

#if defined(REKUR_HAVE_AVX2)
#include <cpuid.h>
#endif
#if defined(__arm__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(REKUR_HAVE_RVV) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include "rekur/runtime.hpp"
#include "runtime/calls.hpp"
#include "runtime/locks.hpp"
#include "runtime/own_memory.hpp"

namespace rekur::isa {

#ifdef REKUR_HAVE_BASELINE
extern const Table table_baseline;
#endif
#ifdef REKUR_HAVE_AVX2
extern const Table table_avx2;
#endif
#ifdef REKUR_HAVE_AVX512
extern const Table table_avx512;
#if REKUR_AMX
extern const Table table_amx;
#endif
#endif
#ifdef REKUR_HAVE_NEON
extern const Table table_neon;
#endif
#ifdef REKUR_HAVE_RVV
extern const Table table_rvv;
#endif

#if REKUR_COMPILED_CELLS
extern const simd::CompiledTable compiled_baseline, compiled_avx2, compiled_avx512, compiled_neon, compiled_rvv;
#endif

namespace {

#if defined(REKUR_HAVE_NEON) && defined(__arm__) && defined(__linux__)
// 32-bit ARM: NEON is an option of the processor, and so is its fused multiply-add.
bool has_neon() { return (getauxval(AT_HWCAP) & (HWCAP_NEON | HWCAP_VFPv4)) == (HWCAP_NEON | HWCAP_VFPv4); }
#elif defined(REKUR_HAVE_NEON)
bool has_neon() { return true; }
#endif

#if defined(REKUR_HAVE_RVV)
bool has_rvv() {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) >> ('V' - 'A') & 1) != 0;
#else
  return false;
#endif
}
#endif

#if defined(REKUR_HAVE_AVX2)
// Not every compiler's __builtin_cpu_supports knows it.
bool has_f16c() {
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

#if defined(REKUR_HAVE_AVX512)
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}
#endif

struct Built {
  const Table* table;
  bool (*runs_here)();
};

// Tables of this build, narrowest first.
constexpr Built kBuilt[] = {
#ifdef REKUR_HAVE_BASELINE
    {&table_baseline, [] { return true; }},
#endif
#ifdef REKUR_HAVE_AVX2
    {&table_avx2, [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c(); }},
#endif
#ifdef REKUR_HAVE_AVX512
    {&table_avx512, has_avx512},
#if REKUR_AMX
    {&table_amx, [] { return has_avx512() && has_amx(); }},
#endif
#endif
#ifdef REKUR_HAVE_NEON
    {&table_neon, has_neon},
#endif
#ifdef REKUR_HAVE_RVV
    {&table_rvv, has_rvv},
#endif
};

// "baseline, avx2": those that this machine can run, or all.
std::string names(bool all) {
  std::string names;
  for (const Built& built : kBuilt)
    if (all || built.runs_here()) names.append(names.empty() ? "" : ", ").append(built.table->name);
  return names;
}

// `source` says in the message where the name came from.
const Table& find(const std::string& name, const char* source) {
  for (const Built& built : kBuilt)
    if (name == built.table->name && built.runs_here()) {
#if REKUR_AMX
      if (built.table->amx && !take_amx())
        throw_error(
            "%: 'amx': the system does not give this process the registers of AMX: an alternate signal stack is too small for "
            "them, "
            "or it was forbidden",
            {source});
#endif
      return *built.table;
    }
  const bool known = name == "baseline" || name == "avx2" || name == "avx512" || name == "amx" || name == "neon" || name == "rvv";
  const std::string available = names(false);
  throw_error("%%%' (available: %)",
              {source, (known ? ": this machine or this build lacks the instruction set '" : ": unknown instruction set '"), name,
               (available.empty() ? "none" : available)});
}

const Table& widest() {
  const Table* widest = nullptr;
  for (const Built& built : kBuilt)
    if (built.runs_here()) widest = built.table;
  if (widest != nullptr) return *widest;
  throw_error("this machine lacks every instruction set that this rekur was built for: % (CMake option REKUR_ISAS)", {names(true)});
}

#if REKUR_COMPILED_CELLS
// Cells that are compiled in, for the instruction sets of this build.
void add_compiled_cells() {
  static const bool added = [] {
#ifdef REKUR_HAVE_BASELINE
    equations::add_compiled(compiled_baseline);
#endif
#ifdef REKUR_HAVE_AVX2
    equations::add_compiled(compiled_avx2);
#endif
#ifdef REKUR_HAVE_AVX512
    equations::add_compiled(compiled_avx512);
#endif
#ifdef REKUR_HAVE_NEON
    equations::add_compiled(compiled_neon);
#endif
#ifdef REKUR_HAVE_RVV
    equations::add_compiled(compiled_rvv);
#endif
    return true;
  }();
  static_cast<void>(added);
}
#else
void add_compiled_cells() {}
#endif

runtime::Atomic<const Table*> current{nullptr};
runtime::Atomic<std::uint64_t> current_epoch{1};
runtime::Mutex choosing;

const Table& choose() {
  const runtime::Call call;
  const runtime::MemoryScope system(nullptr);  // what is kept for the process
  const runtime::Guard lock(choosing);
  add_compiled_cells();
  if (const Table* chosen = current.load(std::memory_order_acquire)) return *chosen;
  const char* wanted = std::getenv("REKUR_ISA");
  const Table& table = wanted && *wanted ? find(wanted, "REKUR_ISA") : widest();
  current.store(&table, std::memory_order_release);
  return table;
}

}  // namespace

const Table& table() {
  const Table* chosen = current.load(std::memory_order_acquire);
  return chosen ? *chosen : choose();
}

const Table& table_for([[maybe_unused]] std::int64_t numbers) {
  const Table& widest = table();
#if defined(REKUR_HAVE_AVX2) && defined(REKUR_HAVE_AVX512)
  if (widest.simd.width == table_avx512.simd.width && numbers <= table_avx2.simd.width) return table_avx2;
#endif
  return widest;
}

std::uint64_t epoch() { return current_epoch.load(std::memory_order_acquire); }

}  // namespace rekur::isa

namespace rekur {

std::string current_isa() { return isa::table().name; }

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const isa::Built& built : isa::kBuilt)
    if (built.runs_here()) names.emplace_back(built.table->name);
  return names;
}

void set_isa(const std::string& name) {
  const isa::Table& table = isa::find(name, "set_isa");
  const runtime::Call call;
  const runtime::Guard lock(isa::choosing);
  isa::add_compiled_cells();
  isa::current.store(&table, std::memory_order_release);
  isa::current_epoch.fetch_add(1, std::memory_order_acq_rel);
}

}  // namespace rekur
