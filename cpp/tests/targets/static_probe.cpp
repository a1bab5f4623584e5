// A model written out (amp_static.hpp) where there is no library: its outputs and states over a stream, as probe.c hashes them, so
// that the line is that of the model in the library; then what a step costs, in instructions of an emulated Cortex-M.
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "../../examples/models/amp_static.hpp"

namespace {

amp_static::Model amp;

#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
// SysTick goes by the processor's clock, which is slower than qemu's instructions: a tick is `kInstructions` of them.
struct SysTick {
  volatile std::uint32_t control, reload, value;
};
SysTick& tick() { return *reinterpret_cast<SysTick*>(0xE000E010u); }
std::uint32_t ticks_of(int steps) {
  const float x = 0.25F;
  float y;
  tick().reload = 0xFFFFFF;
  tick().value = 0;
  tick().control = 5;
  const std::uint32_t begin = tick().value;
  for (int t = 0; t < steps; ++t) amp.step(&x, &y);
  return (begin - tick().value) & 0xFFFFFF;
}
// Of a loop whose length is known: three instructions a round.
std::uint32_t ticks_of_loop(std::uint32_t rounds) {
  const std::uint32_t begin = tick().value;
  asm volatile("1: nop\n subs %0, %0, #1\n bne 1b" : "+r"(rounds) : : "cc");
  return (begin - tick().value) & 0xFFFFFF;
}
void print_cost() {
  const std::uint32_t ticks = ticks_of(1000), loop = ticks_of_loop(1000000);
  std::printf("a step of amp takes %lu instructions\n", static_cast<unsigned long>(std::uint64_t{ticks} * 3000 / loop));
}
#else
void print_cost() {}
#endif

}  // namespace

int main() {
  std::uint32_t noise = 1;
  std::uint64_t hash = 0xCBF29CE484222325u;
  const auto take = [&hash](const float* numbers, int count) {
    for (int i = 0; i < count; ++i) {
      std::uint32_t bits;
      std::memcpy(&bits, numbers + i, sizeof bits);
      for (int byte = 0; byte < 4; ++byte) hash = (hash ^ (bits >> (8 * byte) & 0xFFu)) * 0x100000001B3u;
    }
  };
  for (int t = 0; t < 40; ++t) {
    noise = noise * 1664525u + 1013904223u;
    const float x = static_cast<float>(static_cast<std::int32_t>(noise >> 8)) / 8388608.0F - 1.0F;
    float y;
    amp.step(&x, &y);
    take(&y, 1);
  }
  float state[amp_static::Model::state_size];
  amp.get_state(state);
  take(state, amp_static::Model::state_size);
#if defined(__FMA__) || (defined(__ARM_NEON) && defined(__ARM_FEATURE_FMA)) || (defined(__riscv_vector) && defined(__clang__))
  std::printf("written out, fused\n");
#else
  std::printf("written out\n");
#endif
  std::printf("amp steps-of-1 %08lx%08lx\n", static_cast<unsigned long>(hash >> 32),
              static_cast<unsigned long>(hash & 0xFFFFFFFFu));
  print_cost();
  return 0;
}
