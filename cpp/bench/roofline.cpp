// The roofline of this machine: how many float32 multiply-adds a second its cores can do, and how fast each level of memory feeds
// them. Every fraction of a peak that rekur reports is a fraction of what this program measures.
//
//   c++ -std=c++20 -O3 -pthread roofline.cpp -o roofline
//   roofline [--json]                                            the whole table, about fifteen seconds
//   roofline --fma [--isa ISA] [--threads N]                     one line of JSON, under half a second
//   roofline --bandwidth --bytes N [--isa ISA] [--kind read|write|copy] [--threads N]
//
// Instruction sets are rekur's: avx512, avx2, baseline (SSE2: a multiply and an add), neon. Left out: the widest there is.
// Bytes are the working set of each thread; copy reads half of it and writes the other half. A value is the best of many rounds of
// about a millisecond, so it holds on a machine that is busy now and then. Threads stay within the process's affinity mask.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#include <sys/mman.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#else
#error "roofline knows x86-64 and aarch64"
#endif

namespace {

// --- kernels, the same for every instruction set; each namespace below says what a vector is ---

// Vectors a turn of the memory loops takes; working sets are whole turns of the widest vectors.
constexpr long kTurn = 16;
constexpr long kGrain = kTurn * 64;

#define INLINE(TARGET) TARGET __attribute__((always_inline)) inline

// madd: kAccumulators independent sums, enough of them to cover latency × throughput; `turns` turns of four each.
// read, write, copy: `passes` over p[0, n).
#define ROOFLINE_KERNELS(TARGET)                                                                                        \
  TARGET __attribute__((noinline)) void madds(long turns) {                                                             \
    V sum[kAccumulators], factor = set1(0.999f), term = set1(0.001f);                                                   \
    keep(factor), keep(term);                                                                                           \
    _Pragma("GCC unroll 32") for (int i = 0; i < kAccumulators; ++i) sum[i] = set1(0.1f * static_cast<float>(i));       \
    for (long t = 0; t < turns; ++t) {                                                                                  \
      _Pragma("GCC unroll 4") for (int repeat = 0; repeat < 4; ++repeat) {                                              \
        _Pragma("GCC unroll 32") for (int i = 0; i < kAccumulators; ++i) sum[i] = madd(sum[i], factor, term);           \
      }                                                                                                                 \
    }                                                                                                                   \
    _Pragma("GCC unroll 32") for (int i = 0; i < kAccumulators; ++i) keep(sum[i]);                                      \
  }                                                                                                                     \
  TARGET __attribute__((noinline)) void read(float* p, long n, long passes) {                                           \
    V sum[8];                                                                                                           \
    _Pragma("GCC unroll 8") for (int i = 0; i < 8; ++i) sum[i] = set1(0.0f);                                            \
    for (long pass = 0; pass < passes; ++pass) {                                                                        \
      for (const float *q = p, *end = p + n; q < end; q += kTurn * kLanes) {                                            \
        _Pragma("GCC unroll 16") for (int i = 0; i < kTurn; ++i) sum[i % 8] = add(sum[i % 8], load(q + i * kLanes));    \
      }                                                                                                                 \
      asm volatile("" ::: "memory");                                                                                    \
    }                                                                                                                   \
    _Pragma("GCC unroll 8") for (int i = 0; i < 8; ++i) keep(sum[i]);                                                   \
  }                                                                                                                     \
  TARGET __attribute__((noinline)) void write(float* p, long n, long passes) {                                          \
    V value = set1(0.5f);                                                                                               \
    keep(value);                                                                                                        \
    for (long pass = 0; pass < passes; ++pass) {                                                                        \
      for (float *q = p, *end = p + n; q < end; q += kTurn * kLanes) {                                                  \
        _Pragma("GCC unroll 16") for (int i = 0; i < kTurn; ++i) store(q + i * kLanes, value);                          \
      }                                                                                                                 \
      asm volatile("" ::: "memory");                                                                                    \
    }                                                                                                                   \
  }                                                                                                                     \
  TARGET __attribute__((noinline)) void copy(float* p, long n, long passes) {                                           \
    const long half = n / 2;                                                                                            \
    for (long pass = 0; pass < passes; ++pass) {                                                                        \
      for (float *q = p, *end = p + half; q < end; q += kTurn / 2 * kLanes) {                                           \
        _Pragma("GCC unroll 8") for (int i = 0; i < kTurn / 2; ++i) store(q + half + i * kLanes, load(q + i * kLanes)); \
      }                                                                                                                 \
      asm volatile("" ::: "memory");                                                                                    \
    }                                                                                                                   \
  }

#if defined(__x86_64__)

namespace avx512 {
#define AVX512 __attribute__((target("avx512f")))
using V = __m512;
constexpr int kLanes = 16, kAccumulators = 24;
INLINE(AVX512) void keep(V& v) { asm volatile("" : "+v"(v)); }
INLINE(AVX512) V set1(float x) { return _mm512_set1_ps(x); }
INLINE(AVX512) V load(const float* p) { return _mm512_load_ps(p); }
INLINE(AVX512) void store(float* p, V v) { _mm512_store_ps(p, v); }
INLINE(AVX512) V add(V a, V b) { return _mm512_add_ps(a, b); }
INLINE(AVX512) V madd(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
ROOFLINE_KERNELS(AVX512)
}  // namespace avx512

namespace avx2 {
#define AVX2 __attribute__((target("avx2,fma")))
using V = __m256;
constexpr int kLanes = 8, kAccumulators = 12;
INLINE(AVX2) void keep(V& v) { asm volatile("" : "+x"(v)); }
INLINE(AVX2) V set1(float x) { return _mm256_set1_ps(x); }
INLINE(AVX2) V load(const float* p) { return _mm256_load_ps(p); }
INLINE(AVX2) void store(float* p, V v) { _mm256_store_ps(p, v); }
INLINE(AVX2) V add(V a, V b) { return _mm256_add_ps(a, b); }
INLINE(AVX2) V madd(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
ROOFLINE_KERNELS(AVX2)
}  // namespace avx2

namespace baseline {
#define SSE2 __attribute__((target("sse2")))
using V = __m128;
constexpr int kLanes = 4, kAccumulators = 14;
INLINE(SSE2) void keep(V& v) { asm volatile("" : "+x"(v)); }
INLINE(SSE2) V set1(float x) { return _mm_set1_ps(x); }
INLINE(SSE2) V load(const float* p) { return _mm_load_ps(p); }
INLINE(SSE2) void store(float* p, V v) { _mm_store_ps(p, v); }
INLINE(SSE2) V add(V a, V b) { return _mm_add_ps(a, b); }
INLINE(SSE2) V madd(V a, V b, V c) {
  V product = _mm_mul_ps(a, b);
  keep(product);  // built with -march=native, this must not become an fma
  V sum = _mm_add_ps(product, c);
  keep(sum);  // and in this order: g++ puts each sum next to the product that waits for it
  return sum;
}
ROOFLINE_KERNELS(SSE2)
}  // namespace baseline

#else

namespace neon {
using V = float32x4_t;
constexpr int kLanes = 4, kAccumulators = 24;
INLINE() void keep(V& v) { asm volatile("" : "+w"(v)); }
INLINE() V set1(float x) { return vdupq_n_f32(x); }
INLINE() V load(const float* p) { return vld1q_f32(p); }
INLINE() void store(float* p, V v) { vst1q_f32(p, v); }
INLINE() V add(V a, V b) { return vaddq_f32(a, b); }
INLINE() V madd(V a, V b, V c) { return vfmaq_f32(c, a, b); }
ROOFLINE_KERNELS()
}  // namespace neon

#endif

using Pass = void (*)(float* p, long n, long passes);

struct Isa {
  const char* name;
  bool here;
  double flops_a_turn;
  void (*madds)(long turns);
  Pass read, write, copy;

  Pass pass(const std::string& kind) const {
    if (kind == "read") return read;
    if (kind == "write") return write;
    if (kind == "copy") return copy;
    throw std::invalid_argument("--kind is read, write or copy, not '" + kind + "'");
  }
};

#define ROOFLINE_ISA(name, here) \
  Isa { #name, here, 4.0 * 2.0 * name::kAccumulators *name::kLanes, name::madds, name::read, name::write, name::copy }

// Those of this machine, widest first.
std::vector<Isa> isas() {
#if defined(__x86_64__)
  std::vector<Isa> all = {ROOFLINE_ISA(avx512, __builtin_cpu_supports("avx512f") != 0),
                          ROOFLINE_ISA(avx2, __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0),
                          ROOFLINE_ISA(baseline, true)};
#else
  std::vector<Isa> all = {ROOFLINE_ISA(neon, true)};
#endif
  std::erase_if(all, [](const Isa& isa) { return !isa.here; });
  return all;
}

// --- the machine ---

int cpus() {
#if defined(__linux__)
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) return CPU_COUNT(&mask);
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name")) return line.substr(std::min(line.size(), line.find(':') + 2));
  return "unknown";
}

struct Level {
  const char* name;
  long bytes;  // working set of a thread
};

// Of the first CPU's data or unified cache of a level. From the kernel: sysconf multiplies by CPUs that a virtual machine does not
// have.
long cache_size(int level, long otherwise) {
  for (int index = 0; index < 8; ++index) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/";
    int its_level = 0;
    std::string type;
    long kib = 0;
    std::ifstream(folder + "level") >> its_level;
    std::ifstream(folder + "type") >> type;
    std::ifstream(folder + "size") >> kib;
    if (its_level == level && type != "Instruction" && kib > 0) return kib << 10;
  }
  return otherwise;
}

// Half of the caches that a core has to itself; of the third level at most 8 MiB and half of it among all threads; of memory what
// no cache holds.
std::vector<Level> levels(int threads) {
  const long l1 = cache_size(1, 48 << 10), l2 = cache_size(2, 1 << 20), l3 = cache_size(3, 32 << 20);
  return {{"L1", l1 / 2},
          {"L2", l2 / 2},
          {"L3", std::max(l2 * 2, std::min(8L << 20, l3 / 2 / threads))},
          {"DRAM", std::max(512L << 20, 4 * l3) / threads}};
}

// The working set of one thread, touched by it; in huge pages where the system gives them, or the TLB would be measured.
class Memory {
 public:
  explicit Memory(long bytes) : size_(std::max(kGrain, bytes / kGrain * kGrain)) {
    const long page = 2 << 20, rounded = (size_ + page - 1) / page * page;
    data_.reset(static_cast<float*>(std::aligned_alloc(static_cast<std::size_t>(page), static_cast<std::size_t>(rounded))));
    if (!data_) throw std::bad_alloc();
#if defined(__linux__)
    madvise(data_.get(), static_cast<std::size_t>(rounded), MADV_HUGEPAGE);
#endif
    std::fill_n(data_.get(), floats(), 0.25f);
  }
  float* data() const { return data_.get(); }
  long bytes() const { return size_; }
  long floats() const { return size_ / static_cast<long>(sizeof(float)); }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  long size_;
  std::unique_ptr<float, Free> data_;
};

// --- time ---

using Clock = std::chrono::steady_clock;

double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

// Spins, for a start within some ten nanoseconds of one another; gives way when there are more threads than cores.
class Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}
  void wait() {
    const int turn = turn_.load();
    if (waiting_.fetch_add(1) + 1 == threads_) {
      waiting_.store(0);
      turn_.store(turn + 1);
      return;
    }
    for (int spins = 0; turn_.load() == turn; ++spins)
      if (spins > 10000) std::this_thread::yield();
  }

 private:
  int threads_;
  std::atomic<int> waiting_ = 0, turn_ = 0;
};

constexpr double kRound = 1e-3, kWarmUp = 0.05, kTime = 0.2;
constexpr int kFewestRounds = 5;

// Seconds a repetition takes when `threads` threads work at once, from the first one's start to the last one's end; the best round.
// prepare() is called by each thread and returns its work, a function of the number of repetitions.
template <class Prepare>
double best_time(int threads, const Prepare& prepare) {
  struct Span {
    Clock::time_point start, end;
  };
  std::vector<Span> spans(static_cast<std::size_t>(threads));
  Barrier barrier(threads);
  long repetitions = 1;  // written by the first thread only, between barriers, as is what follows
  bool done = false;
  int rounds = 0;
  double best = 1e300;
  Clock::time_point begin;
  const auto judge = [&] {
    Span all = spans[0];
    for (const Span& span : spans) all = {std::min(all.start, span.start), std::max(all.end, span.end)};
    const double round = seconds(all.end - all.start), passed = seconds(all.end - begin);
    if (round < kRound) {  // too short still: what it says does not count
      repetitions = std::max(repetitions + 1,
                             static_cast<long>(static_cast<double>(repetitions) * std::clamp(1.2 * kRound / round, 1.1, 8.0)));
    } else if (passed > kWarmUp || round > kWarmUp) {
      best = std::min(best, round / static_cast<double>(repetitions));
      done = ++rounds >= kFewestRounds && passed > kWarmUp + kTime;
    }
  };
  const auto body = [&](std::size_t index) {
    const auto work = prepare();
    barrier.wait();
    if (index == 0) begin = Clock::now();
    while (!done) {
      barrier.wait();
      spans[index].start = Clock::now();
      work(repetitions);
      spans[index].end = Clock::now();
      barrier.wait();
      if (index == 0) judge();
      barrier.wait();
    }
  };
  std::vector<std::thread> others;
  for (std::size_t i = 1; i < spans.size(); ++i) others.emplace_back(body, i);
  body(0);
  for (std::thread& other : others) other.join();
  return best;
}

double gflops(const Isa& isa, int threads) {
  const double time = best_time(threads, [&] { return [&](long repetitions) { isa.madds(64 * repetitions); }; });
  return 64 * isa.flops_a_turn * threads / time * 1e-9;
}

double gbytes_per_s(const Isa& isa, const std::string& kind, long bytes, int threads) {
  const Pass pass = isa.pass(kind);
  const double time = best_time(threads, [&] {
    return
        [pass, memory = std::make_shared<Memory>(bytes)](long repetitions) { pass(memory->data(), memory->floats(), repetitions); };
  });
  return static_cast<double>(std::max(kGrain, bytes / kGrain * kGrain)) * threads / time * 1e-9;
}

// --- what is printed ---

struct Flops {
  std::string isa;
  int threads;
  double gflops;
};

struct Bandwidth {
  std::string level, isa, kind;
  long bytes;
  int threads;
  double gbytes_per_s;
};

std::string json(const Flops& f) {
  char line[128];
  std::snprintf(line, sizeof line, R"({"isa": "%s", "threads": %d, "gflops": %.1f})", f.isa.c_str(), f.threads, f.gflops);
  return line;
}

std::string json(const Bandwidth& b) {
  char line[256];
  std::snprintf(line, sizeof line,
                R"({"level": "%s", "isa": "%s", "kind": "%s", "bytes": %ld, "threads": %d, "gbytes_per_s": %.1f})", b.level.c_str(),
                b.isa.c_str(), b.kind.c_str(), b.bytes, b.threads, b.gbytes_per_s);
  return line;
}

template <class Value>
std::string json(const std::vector<Value>& values) {
  std::string out;
  for (const Value& value : values) out += (out.empty() ? "\n  " : ",\n  ") + json(value);
  return "[" + out + "]";
}

void table(bool as_json) {
  const int all = cpus();
  std::vector<int> counts = {1};
  if (all > 1) counts.push_back(all);
  if (!as_json)
    std::printf("%s, %d CPU%s to run on\n\nfloat32 multiply-adds\n%-10s %7s %10s\n", cpu_name().c_str(), all, all == 1 ? "" : "s",
                "isa", "threads", "GFLOP/s");
  std::vector<Flops> flops;
  for (const int threads : counts)
    for (const Isa& isa : isas()) {
      flops.push_back({isa.name, threads, gflops(isa, threads)});
      if (!as_json) std::printf("%-10s %7d %10.1f\n", isa.name, threads, flops.back().gflops);
    }
  if (!as_json)
    std::printf("\nbandwidth\n%-6s %12s %7s %-6s %-10s %10s\n", "level", "bytes/thread", "threads", "kind", "isa", "GB/s");
  std::vector<Bandwidth> bandwidths;
  const auto add = [&](const Level& level, int threads, const Isa& isa, const char* kind) {
    bandwidths.push_back({level.name, isa.name, kind, level.bytes, threads, gbytes_per_s(isa, kind, level.bytes, threads)});
    if (!as_json)
      std::printf("%-6s %12ld %7d %-6s %-10s %10.1f\n", level.name, level.bytes, threads, kind, isa.name,
                  bandwidths.back().gbytes_per_s);
  };
  for (const int threads : counts)
    for (const Level& level : levels(threads)) {
      for (const Isa& isa : isas()) add(level, threads, isa, "read");
      for (const char* kind : {"write", "copy"}) add(level, threads, isas().front(), kind);
    }
  if (as_json)
    std::printf("{\"cpu\": \"%s\", \"cpus\": %d,\n \"fma\": %s,\n \"bandwidth\": %s}\n", cpu_name().c_str(), all,
                json(flops).c_str(), json(bandwidths).c_str());
}

// --- the command line ---

struct Options {
  std::string what = "table", isa, kind = "read";
  long bytes = 0;
  int threads = 1;
};

long number(const std::string& option, const std::string& text, long most) {
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || value < 1 || value > most)
    throw std::invalid_argument(option + " wants a number from 1 to " + std::to_string(most) + ", not '" + text + "'");
  return value;
}

Options parse(const std::vector<std::string>& arguments) {
  Options options;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& name = arguments[i];
    const auto value = [&]() -> const std::string& {
      if (++i == arguments.size()) throw std::invalid_argument(name + " wants a value");
      return arguments[i];
    };
    if (name == "--json" || name == "--fma" || name == "--bandwidth")
      options.what = name.substr(2);
    else if (name == "--isa")
      options.isa = value();
    else if (name == "--kind")
      options.kind = value();
    else if (name == "--bytes")
      options.bytes = number(name, value(), 1L << 40);
    else if (name == "--threads")
      options.threads = static_cast<int>(number(name, value(), 1024));
    else
      throw std::invalid_argument("unknown option '" + name + "'");
  }
  if (options.what == "bandwidth" && options.bytes == 0) throw std::invalid_argument("--bandwidth wants --bytes");
  return options;
}

Isa find_isa(const std::string& name) {
  std::string names;
  for (const Isa& isa : isas()) {
    if (name.empty() || name == isa.name) return isa;
    names += std::string(" ") + isa.name;
  }
  throw std::invalid_argument("--isa is one of" + names + " on this machine, not '" + name + "'");
}

}  // namespace

// GFLOP/s of multiply-adds, for the programs beside this one, which link it with its main under another name.
double roofline_gflops(const std::string& isa, int threads) { return gflops(find_isa(isa), threads); }

int main(int argc, char** argv) {
  try {
    const Options options = parse({argv + 1, argv + argc});
    const Isa isa = find_isa(options.isa);
    if (options.what == "fma")
      std::printf("%s\n", json(Flops{isa.name, options.threads, gflops(isa, options.threads)}).c_str());
    else if (options.what == "bandwidth")
      std::printf(R"({"isa": "%s", "kind": "%s", "bytes": %ld, "threads": %d, "gbytes_per_s": %.1f})"
                  "\n",
                  isa.name, options.kind.c_str(), options.bytes, options.threads,
                  gbytes_per_s(isa, options.kind, options.bytes, options.threads));
    else
      table(options.what == "json");
  } catch (const std::exception& e) {
    std::fprintf(stderr, "roofline: %s\n", e.what());
    return 2;
  }
  return 0;
}
