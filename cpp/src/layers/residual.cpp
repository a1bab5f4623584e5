#include "layers/residual.hpp"

namespace rekur::layers {
namespace {

// task(b, where the step stands in the sequence) for the rows that have it.
template <class Task>
void over_one_step(const ValidSteps& at, bool first, const Task& task) {
  over_rows(at.B, at.F, 1, [&](Index begin, Index end) {
    for (Index b = begin; b < end; ++b)
      if (const Index n = at.steps.length(b); n > 0) task(b, (b * at.T + at.steps.at(b, first ? 0 : n - 1)) * at.F);
  });
}

}  // namespace

void add_steps(const ValidSteps& at, const float* from, float* to) {
  const auto& k = isa::kernels();
  over_rows(at.B, at.T * at.F, 1, [&](Index begin, Index end) {
    for (Index b = begin; b < end; ++b) {
      const Index row = b * at.T * at.F, steps = at.steps.length(b);
      if (at.steps.list == nullptr) k.add(to + row, from + row, to + row, steps * at.F);
      for (Index n = 0; at.steps.list != nullptr && n < steps; ++n) {
        const Index step = row + at.steps.at(b, n) * at.F;
        k.add(to + step, from + step, to + step, at.F);
      }
    }
  });
}

void add_step_to_rows(const ValidSteps& at, bool first, const float* sequence, float* rows) {
  const auto& k = isa::kernels();
  over_one_step(at, first, [&](Index b, Index step) { k.add(rows + b * at.F, sequence + step, rows + b * at.F, at.F); });
}

#if REKUR_TRAINING
void add_rows_to_step(const ValidSteps& at, bool first, const float* rows, float* sequence) {
  const auto& k = isa::kernels();
  over_one_step(at, first, [&](Index b, Index step) { k.add(sequence + step, rows + b * at.F, sequence + step, at.F); });
}
#endif

}  // namespace rekur::layers
