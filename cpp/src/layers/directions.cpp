#include "layers/directions.hpp"

#include "layers/elementwise.hpp"

namespace rekur::layers {

void merge(MergeMode mode, const float* a, const float* b, float* y, Index rows, Index H) {
  const auto& k = isa::kernels();
  if (mode == MergeMode::concat) {
    over_rows(rows, 2 * H, 1, [=](Index begin, Index end) {
      for (Index row = begin; row < end; ++row) {
        std::copy_n(a + row * H, H, y + row * 2 * H);
        std::copy_n(b + row * H, H, y + row * 2 * H + H);
      }
    });
    return;
  }
  over_elements(rows * H, 2, [=, &k](Index begin, Index end) {
    const Index n = end - begin;
    (mode == MergeMode::mul ? k.multiply : k.add)(a + begin, b + begin, y + begin, n);
    if (mode == MergeMode::ave) k.scale(0.5f, y + begin, y + begin, n);
  });
}

#if REKUR_TRAINING
void merge_backward(MergeMode mode, const float* a, const float* b, const float* dy, float* da, float* db, Index rows, Index H) {
  const auto& k = isa::kernels();
  if (mode == MergeMode::concat) {
    over_rows(rows, 2 * H, 1, [=](Index begin, Index end) {
      for (Index row = begin; row < end; ++row) {
        std::copy_n(dy + row * 2 * H, H, da + row * H);
        std::copy_n(dy + row * 2 * H + H, H, db + row * H);
      }
    });
    return;
  }
  over_elements(rows * H, 2, [=, &k](Index begin, Index end) {
    const Index n = end - begin;
    if (mode == MergeMode::mul) {
      k.multiply(dy + begin, a + begin, db + begin, n);
      k.multiply(dy + begin, b + begin, da + begin, n);
    } else {
      const float share = mode == MergeMode::ave ? 0.5f : 1.0f;
      k.scale(share, dy + begin, db + begin, n);
      k.scale(share, dy + begin, da + begin, n);
    }
  });
}
#endif

}  // namespace rekur::layers
