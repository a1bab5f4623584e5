#include "isa/halves.hpp"

#ifndef REKUR_FLOAT_PANELS

#include <algorithm>
#include <bit>
#include <chrono>

#include "isa/dispatch.hpp"
#include "rekur/denormals.hpp"
#include "rekur/detail/half.hpp"
#include "runtime/locks.hpp"
#include "runtime/own_memory.hpp"
#include "runtime/panels.hpp"

#if defined(__linux__)
#include <unistd.h>
#endif

namespace rekur::isa {
namespace {

Index first_cache() {
  long size = 0;
#if defined(__linux__) && defined(_SC_LEVEL1_DCACHE_SIZE)
  size = ::sysconf(_SC_LEVEL1_DCACHE_SIZE);
#endif
  return size > 0 ? size : 32 * 1024;
}

// Whether numbers of a type are sooner widened than floats are read differs between processors by more than their caches: one with
// narrow data paths takes as long to multiply as to read. So it is measured, once a process for each type, width of vectors and
// order of size, on the weights in question, which a product of one row reads as if they were packed: what they say does not
// matter. Not in a byte: some processors (RISC-V) exchange words alone, and would need a library for less.
enum class Verdict : int { unknown, pays, does_not };

constexpr int kSizes = 4, kWidths = 3;  // up to 2, 4, 8 times what is at hand, and more; 4, 8 and 16 floats

runtime::Atomic<Verdict> verdicts[kSizes][kWidths][2];

constexpr Index kMostPanel = 64;

// Nanoseconds that a product of one row takes, the quickest of some.
template <class Product>
double quickest(const Product& product) {
  double best = 1e9;
  for (int i = 0; i < 9; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    product();
    best = std::min(best, std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

bool measured_to_pay(WeightType type, std::span<const float> weights) {
  constexpr Index kMost = 1 << 18;
  const simd::Kernels& k = kernels();
  const Index N = 2 * k.panel, K = std::min<Index>(static_cast<Index>(weights.size()), kMost) / N - 1;
  const FlushDenormals flush;
  const auto address = reinterpret_cast<std::uintptr_t>(weights.data());
  const float *const b = weights.data() + (64 - address % 64) % 64 / sizeof(float), *const row = b;
  float out[2 * kMostPanel];
  float* const to = out;
  const double floats = quickest([&] { k.gemm(1, N, K, &row, b, nullptr, &to, 0, false); });
  const double halves = quickest([&] { k.gemm_half(type, 1, N, K, &row, b, nullptr, &to); });
  return halves < 0.97 * floats;
}

// What is packed for a file, or in memory of the caller's, whose size he has found out before, is to be the same in every process.
bool is_settled() {
  const runtime::Panels* const panels = runtime::PanelScope::now();
  return runtime::in_own_memory() || (panels != nullptr && panels->of_file());
}

bool pays(WeightType type, Index times_at_hand, std::span<const float> weights) {
  const Index panel = kernels().panel;
  if (static_cast<Index>(weights.size()) < 18 * panel || panel > kMostPanel) return true;  // too few to be timed
  int size = 0;
  while (size < kSizes - 1 && times_at_hand >= Index{2} << size) ++size;
  const int width = kernels().width;
  runtime::Atomic<Verdict>& verdict = verdicts[size][width > 8 ? 2 : width > 4 ? 1 : 0][type == WeightType::fp16 ? 1 : 0];
  Verdict known = verdict.load(std::memory_order_relaxed);
  if (known == Verdict::unknown) {
    const Verdict found = measured_to_pay(type, weights) ? Verdict::pays : Verdict::does_not;
    if (verdict.compare_exchange_strong(known, found, std::memory_order_relaxed)) known = found;  // else another thread was first
  }
  return known == Verdict::pays;
}

}  // namespace

runtime::Atomic<Index> bytes_at_hand{first_cache()};

WeightType kept_as(Index floats, std::initializer_list<std::span<const float>> matrices) {
  const Index at_hand = bytes_at_hand.load(std::memory_order_relaxed), bytes = floats * static_cast<Index>(sizeof(float));
  if (at_hand > 0 && (!kernels().halves_pay || bytes <= at_hand)) return WeightType::float32;
  bool bf16 = true, fp16 = at_hand == 0 || bytes > 2 * at_hand;  // which take longer to be widened
  for (const std::span<const float> matrix : matrices)
    for (const float x : matrix) {
      const auto bits = std::bit_cast<std::uint32_t>(x);
      bf16 = bf16 && (bits & 0xFFFFu) == 0;
      // Infinities and NaNs are not asked of every instruction set.
      fp16 = fp16 && (bits & 0x7F800000u) != 0x7F800000u &&
             std::bit_cast<std::uint32_t>(detail::float_of_fp16(detail::fp16_of(x))) == bits;
      if (!bf16 && !fp16) return WeightType::float32;
    }
  const WeightType type = bf16 ? WeightType::bf16 : WeightType::fp16;
  if (at_hand == 0 || is_settled()) return type;
  const auto largest =
      std::max_element(matrices.begin(), matrices.end(), [](const auto& a, const auto& b) { return a.size() < b.size(); });
  return pays(type, bytes / at_hand, *largest) ? type : WeightType::float32;
}

}  // namespace rekur::isa

#endif
