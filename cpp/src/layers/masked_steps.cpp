#include "layers/masked_steps.hpp"

#include <algorithm>

#include "layers/elementwise.hpp"

namespace rekur::layers {

void fill_masked_steps(const MaskedSteps& at, const recurrent::Strided<float>& y, const float* initial) {
  const Index T = at.steps.T, last = at.reverse ? 0 : T - 1, step = at.reverse ? -1 : 1;
  over_rows(at.B, T * at.F, 1, [&](Index begin, Index end) {
    for (Index b = begin; b < end; ++b) {
      const float* repeated = initial && !at.zeros ? initial + b * at.F : nullptr;
      for (Index n = 0, t = last - step * (T - 1); n < T; ++n, t += step) {
        float* const to = y.row(b, t);
        if (at.steps.is_valid(b, t)) {
          repeated = at.zeros ? nullptr : to;
        } else if (repeated) {
          std::copy_n(repeated, at.F, to);
        } else {
          std::fill_n(to, at.F, 0.0f);
        }
      }
    }
  });
}

#if REKUR_TRAINING
void fold_masked_gradients(const MaskedSteps& at, const recurrent::Strided<float>& dy, float* d_initial) {
  if (at.zeros) return;
  const auto& k = isa::kernels();
  const Index T = at.steps.T, last = at.reverse ? 0 : T - 1, step = at.reverse ? -1 : 1;
  over_rows(at.B, T * at.F, 1, [&](Index begin, Index end) {
    for (Index b = begin; b < end; ++b)
      for (Index n = 0, t = last; n < T; ++n, t -= step) {
        if (at.steps.is_valid(b, t)) continue;
        float* const to = n + 1 < T ? dy.row(b, t - step) : d_initial ? d_initial + b * at.F : nullptr;
        if (to) k.add(to, dy.row(b, t), to, at.F);
      }
  });
}
#endif

}  // namespace rekur::layers
