#include "layers/masks.hpp"

#if REKUR_TRAINING

#include "layers/elementwise.hpp"

namespace rekur::layers {
namespace {

// In a stream's number the layer's own is below this.
constexpr std::uint32_t kPurposeShift = 24;

void draw(const Context& run, std::uint64_t step, std::uint32_t purpose, float rate, float* mask, Index n) {
  const auto& k = isa::kernels();
  const std::uint32_t stream = run.stream + ((purpose + 1) << kPurposeShift);
  over_elements(n, 20, [&](Index begin, Index end) {
    k.dropout(run.seed, step, stream, begin, rate, nullptr, mask + begin, nullptr, end - begin);
  });
}

}  // namespace

void draw_mask(const Context& run, std::uint32_t purpose, float rate, float* mask, Index n) {
  draw(run, run.step, purpose, rate, mask, n);
}

void draw_step_mask(const Context& run, std::uint32_t purpose, float rate, float* mask, Index n) {
  draw(run, run.drawn_step(), purpose, rate, mask, n);
}

void multiply_sequence(const float* x, const float* mask, float* out, Index B, Index T, Index F, Index copies) {
  const auto& k = isa::kernels();
  over_rows(B * T, F * copies, 1, [&](Index begin, Index end) {
    for (Index row = begin; row < end; ++row)
      for (Index c = 0; c < copies; ++c)
        k.multiply(x + row * F, mask + (row / T * copies + c) * F, out + (row * copies + c) * F, F);
  });
}

void add_masked_sequence(const float* x, const float* mask, float* out, Index B, Index T, Index F, Index copies) {
  const auto& k = isa::kernels();
  over_rows(B * T, F * copies, 2, [&](Index begin, Index end) {
    for (Index row = begin; row < end; ++row)
      for (Index c = 0; c < copies; ++c)
        k.multiply_add(x + (row * copies + c) * F, mask + (row / T * copies + c) * F, out + row * F, F);
  });
}

}  // namespace rekur::layers

#endif
