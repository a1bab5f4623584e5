#include "recurrent/parts.hpp"

#include <algorithm>
#include <utility>

#include "isa/dispatch.hpp"
#include "recurrent/plan.hpp"
#include "recurrent/windows.hpp"
#include "runtime/parallel.hpp"

namespace rekur::recurrent {
namespace {

// With fewer rows a part sweeps too little at once; with fewer pairs of a step and a row it makes too little of weight gradients
// that have to be added to the others'.
constexpr Index kRowsPerPart = 4, kPairsPerPart = 200, kMostParts = 16;

// Floats of the weight gradients of all parts, which should stay near.
constexpr Index kMostSums = Index{1} << 20;

struct Sizes {
  Index kernel, bias, unit_weights;
  Index all() const { return kernel + bias + unit_weights; }
};

// A cell without a recurrent product has no other weights.
Sizes sizes_of(const Recurrence::Impl& r) {
  const Index X = r.cell.kernel_blocks * r.H;
  return {r.I * X, X, static_cast<Index>(r.cell.unit_weights.size()) * r.H};
}

template <class T>
Strided<T> from_row(const Strided<T>& rows, Index b) {
  return rows ? Strided<T>{rows.row(b, 0), rows.stride_b, rows.stride_t} : rows;
}

}  // namespace

PartSums::PartSums(std::span<const Backward> runs) : parts(1) {
  const Forward& f = runs[0].forward;
  Index most = std::min({f.B / kRowsPerPart, f.B * f.T / kPairsPerPart, kMostParts});
  for (const Backward& run : runs) {
    const auto& r = Engine::impl(*run.forward.layer);
    if (!r.alone()) return;
    most = std::min(most, kMostSums / std::max<Index>(sizes_of(r).all(), 1));
  }
  while (2 * parts <= most) parts *= 2;  // in numbers that threads mostly share evenly
}

Index PartSums::size(std::span<const Backward> runs) const {
  Index size = 0;
  for (const Backward& run : runs) size += (parts - 1) * sizes_of(Engine::impl(*run.forward.layer)).all();
  return size;
}

std::span<Backward> cut(std::span<const Backward> runs, const PartSums& sums, Scratch& scratch) {
  const std::size_t R = runs.size();
  const Index parts = sums.parts;
  float* memory = sums.memory;
  const std::span<Backward> all = scratch.take<Backward>(static_cast<Index>(R) * parts);
  for (Index part = 0; part < parts; ++part)
    for (std::size_t i = 0; i < R; ++i) {
      const Backward& whole = runs[i];
      const auto& r = Engine::impl(*whole.forward.layer);
      const Index B = whole.forward.B, first = B * part / parts;
      Backward& b = *new (&all[static_cast<std::size_t>(part) * R + i]) Backward(whole);
      Forward& f = b.forward;
      f.B = B * (part + 1) / parts - first;
      f.tape_rows = rows_of_tape(whole.forward);
      f.tape = record_of(whole.forward, r, padded(r.H), first, 0);
      f.x = from_row(f.x, first);
      f.kept = f.kept || !f.y;
      f.y = from_row(outputs(whole.forward), first);
      b.dy = from_row(b.dy, first);
      b.dx = from_row(b.dx, first);
      for (auto& mask : f.masks) mask = from_row(mask, first);
      if (f.lengths) f.lengths += first;
      if (f.list) f.list += f.flag(first, 0);
      if (f.resets) f.resets += f.flag(first, 0);
      for (int k = 0; k < r.cell.states; ++k) {
        const Index offset = first * r.width(k);
        if (f.initial[k]) f.initial[k] += offset;
        if (f.final[k]) f.final[k] += offset;
        if (b.d_final[k]) b.d_final[k] += offset;
        if (b.d_initial[k]) b.d_initial[k] += offset;
      }
      if (f.begun) {
        const float** const begun = scratch.take<const float*>(kMostStates).data();
        float** const d_begun = scratch.take<float*>(kMostStates).data();
        for (int k = 0; k < r.cell.states; ++k) {
          begun[k] = f.begun[k] ? f.begun[k] + first * r.width(k) : nullptr;
          d_begun[k] = b.d_begun[k] ? b.d_begun[k] + first * r.width(k) : nullptr;
        }
        f.begun = begun;
        b.d_begun = d_begun;
      }
      if (float* const rows = unit_sums_of(whole)) b.unit_sums = rows + unit_sums_size(r, first);
      if (b.source) b.source = &all[static_cast<std::size_t>(part) * R + static_cast<std::size_t>(whole.source - runs.data())];
      if (const Index inputs = r.program->step_inputs(); inputs > 0) {
        Strided<const float>* const step = scratch.take<Strided<const float>>(inputs).data();
        for (Index n = 0; n < inputs; ++n) step[n] = from_row(f.step[n], first);
        f.step = step;
        if (b.d_step) {
          Strided<float>* const d_step = scratch.take<Strided<float>>(inputs).data();
          for (Index n = 0; n < inputs; ++n) d_step[n] = from_row(whole.d_step[n], first);
          b.d_step = d_step;
        }
      }
      if (part == 0) continue;
      const Sizes sizes = sizes_of(r);
      const auto own = [&](float*& gradient, Index size) {
        float* const given = memory ? std::exchange(memory, memory + size) : nullptr;
        if (gradient) gradient = given ? given : scratch.take<float>(size).data();
      };
      own(b.d_weights.kernel, sizes.kernel);
      own(b.d_weights.bias, sizes.bias);
      own(b.d_weights.unit_weights, sizes.unit_weights);
      b.fresh = sums.first;
    }
  return all;
}

void add_up(std::span<const Backward> cut, Index parts) {
  const std::size_t R = cut.size() / static_cast<std::size_t>(parts);
  const auto& k = isa::kernels();
  for (std::size_t i = 0; i < R; ++i) {
    const auto& r = Engine::impl(*cut[i].forward.layer);
    const Sizes sizes = sizes_of(r);
    const auto add = [&](float* Weights<float>::*which, Index size, Index first = 0) {
      float* const to = cut[i].d_weights.*which + first;
      if (!(cut[i].d_weights.*which)) return;
      runtime::parallel_range(size, 256, static_cast<double>(size) * static_cast<double>(parts), [&](Index begin, Index end) {
        for (Index part = 1; part < parts; ++part)
          k.add(to + begin, cut[static_cast<std::size_t>(part) * R + i].d_weights.*which + first + begin, to + begin, end - begin);
      });
    };
    add(&Weights<float>::kernel, sizes.kernel);
    add(&Weights<float>::bias, sizes.bias);
    for (std::size_t w = 0; w < r.cell.unit_weights.size(); ++w)
      if (r.cell.unit_weights[w].with != UnitWeight::With::swept)
        add(&Weights<float>::unit_weights, r.H, static_cast<Index>(w) * r.H);
  }
}

}  // namespace rekur::recurrent
