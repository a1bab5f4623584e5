#include "recurrent/windows.hpp"

#include <algorithm>
#include <vector>

#include "isa/dispatch.hpp"
#include "recurrent/parts.hpp"
#include "recurrent/plan.hpp"

#if REKUR_TRAINING

namespace rekur::recurrent {
namespace {

template <class T>
Strided<T> from_step(const Strided<T>& sequence, Index t) {
  return sequence ? Strided<T>{sequence.row(0, t), sequence.stride_b, sequence.stride_t} : sequence;
}

// What the description of a window points to.
struct Room {
  Strided<const float> step[kMostStepInputs];
  Strided<float> d_step[kMostStepInputs];
};

// The windows of a run, counted in the order in which the forward pass takes them.
class Cut {
 public:
  explicit Cut(const Forward& run) : f_(run), r_(Engine::impl(*run.layer)), tape_(r_, run.T, run.B, records_of(run), run.window) {}

  Index count() const { return (f_.T + f_.window - 1) / f_.window; }
  Index steps(Index i) const { return std::min(f_.window, f_.T - i * f_.window); }
  Index low(Index i) const { return f_.reverse ? f_.T - i * f_.window - steps(i) : i * f_.window; }

  float* between(Index i, int k) const { return f_.tape + tape_.between(i, k); }
  float* gradient(Index i, int k) const { return f_.tape + tape_.gradient(i % 2, k); }

  void describe(Index i, Room& w, Forward& f) const {
    const Index from = low(i);
    f = f_;
    f.T = steps(i);
    f.row_steps = f_.row_steps > 0 ? f_.row_steps : f_.T;
    f.window = 0;
    f.begun = f_.initial;
    for (int k = 0; k < r_.cell.states; ++k) {
      if (i > 0) f.initial[k] = between(i - 1, k);
      if (i + 1 < count()) f.final[k] = between(i, k);
    }
    if (!f.list) {
      f.x = from_step(f.x, from);
      f.y = from_step(f.y, from);
    }
    for (auto& mask : f.masks) mask = from_step(mask, from);
    for (int n = 0; f.step && n < step_inputs(); ++n) w.step[n] = f.list ? f_.step[n] : from_step(f_.step[n], from);
    if (f.step) f.step = w.step;
    if (f.list) f.list += from;
    if (f.resets) f.resets += from;
    if (f_.lengths) {
      auto* const lengths = reinterpret_cast<std::int32_t*>(f_.tape + tape_.lengths);
      for (Index b = 0; b < f_.B; ++b) lengths[b] = static_cast<std::int32_t>(std::clamp<Index>(f_.lengths[b] - from, 0, f.T));
      f.lengths = lengths;
    }
  }

  // row(b) for the rows whose states begin anew where window i of a reversed run begins: the flag stands in the window before.
  template <class Row>
  void anew_at(Index i, const Row& row) const {
    for (Index b = 0; f_.reverse && f_.resets && b < f_.B; ++b)
      if (const Index border = low(i) + steps(i); border < length_of(f_, b) && f_.resets[f_.flag(b, border)]) row(b);
  }

  int step_inputs() const {
#if REKUR_EQUATIONS
    return r_.program ? r_.program->step_inputs() : 0;
#else
    return 0;
#endif
  }
  const Recurrence::Impl& cell() const { return r_; }

 private:
  static Index records_of(const Forward& f) { return f.layer->tape_size(f.window, f.B, !f.y); }

  const Forward& f_;
  const Recurrence::Impl& r_;
  const WindowTape tape_;
};

// The same run of another array of them.
template <class Run>
const Run* source_of(const Run& run, std::span<const Run> runs, const std::vector<Run>& now) {
  return run.source ? &now[static_cast<std::size_t>(run.source - runs.data())] : nullptr;
}

void backward_one_after_the_other(std::span<const Backward> runs) {
  for (const Backward& run : runs) backward_in_windows({&run, 1});
}

}  // namespace

WindowTape::WindowTape(const Recurrence::Impl& r, Index T, Index B, Index records, Index window) {
  for (int k = 0; k < r.cell.states; ++k) {
    state_[k] = states_;
    states_ += aligned(element_count({B, r.width(k)}));
  }
  checkpoints_ = aligned(records);
  gradients_ = checkpoints_ + element_count({(T - 1) / window, states_});
  lengths = gradients_ + 2 * states_;
  size = lengths + aligned(B);
}

void forward_in_windows(std::span<const Forward> runs) {
  std::vector<Cut> cuts;
  for (const Forward& run : runs) cuts.emplace_back(run);
  std::vector<Room> rooms(runs.size());
  std::vector<Forward> now(runs.size());
  for (Index i = 0; i < cuts[0].count(); ++i) {
    for (std::size_t n = 0; n < runs.size(); ++n) {
      cuts[n].describe(i, rooms[n], now[n]);
      now[n].source = source_of(runs[n], runs, now);
    }
    forward(now);
    if (i + 1 == cuts[0].count()) break;
    for (std::size_t n = 0; n < runs.size(); ++n) {
      const auto& r = cuts[n].cell();
      cuts[n].anew_at(i + 1, [&](Index b) {
        for (int k = 0; k < r.cell.states; ++k) {
          float* const state = cuts[n].between(i, k) + b * r.width(k);
          if (const float* const anew = runs[n].anew(k))
            std::copy_n(anew + b * r.width(k), r.width(k), state);
          else
            std::fill_n(state, r.width(k), 0.0f);
        }
      });
    }
  }
}

void backward_in_windows(std::span<const Backward> runs) {
  // Directions that add to the same dx: the first one does so first at every step, as without windows.
  for (std::size_t n = 1; n < runs.size(); ++n)
    if (runs[n].dx && !runs[n].source && runs[n].dx.data == runs[0].dx.data) return backward_one_after_the_other(runs);
  std::vector<Cut> cuts;
  for (const Backward& run : runs) cuts.emplace_back(run.forward);
  std::vector<Room> rooms(runs.size());
  std::vector<Backward> now(runs.size());
  std::vector<Forward> again(runs.size());  // upwards, where it is a stack
  const Index count = cuts[0].count();
  PartSums sums(runs);
  Buffer memory(sums.size(runs));
  sums.memory = memory.data();
  for (Index i = count - 1; i >= 0; --i) {
    for (std::size_t n = 0; n < runs.size(); ++n) {
      const Backward& whole = runs[n];
      Room& w = rooms[n];
      Backward& b = now[n];
      const auto& r = cuts[n].cell();
      const Index from = cuts[n].low(i);
      b = whole;
      b.source = source_of(whole, runs, now);
      cuts[n].describe(i, w, b.forward);
      const std::size_t upwards = runs.size() - 1 - n;
      Forward& f = again[upwards] = b.forward;
      f.source = n + 1 < runs.size() && runs[n + 1].source == &whole ? &again[upwards - 1] : nullptr;
      for (int k = 0; k < r.cell.states; ++k) {
        f.final[k] = nullptr;
        if (i + 1 < count) b.d_final[k] = cuts[n].gradient(i + 1, k);
        if (i == 0) continue;
        b.d_initial[k] = cuts[n].gradient(i, k);
        std::fill_n(b.d_initial[k], whole.forward.B * r.width(k), 0.0f);
      }
      b.d_begun = whole.d_initial;
      b.unit_sums = unit_sums_of(whole);
      b.fresh = whole.fresh && i + 1 == count;
      if (!b.forward.list) {
        b.dy = from_step(b.dy, from);
        b.dx = from_step(b.dx, from);
      }
      for (int s = 0; b.d_step && s < cuts[n].step_inputs(); ++s)
        w.d_step[s] = b.forward.list ? whole.d_step[s] : from_step(whole.d_step[s], from);
      if (b.d_step) b.d_step = w.d_step;
    }
    if (i + 1 < count) forward(again);  // the last window's records are still there
    sums.first = i + 1 == count;
    sums.last = i == 0;
    backward(now, sums);
    for (std::size_t n = 0; i > 0 && n < runs.size(); ++n) {
      const auto& r = cuts[n].cell();
      cuts[n].anew_at(i, [&](Index b) {
        for (int k = 0; k < r.cell.states; ++k) {
          float* const gradient = cuts[n].gradient(i, k) + b * r.width(k);
          if (float* const d_anew = runs[n].d_anew(k)) isa::kernels().axpy(1.0f, gradient, d_anew + b * r.width(k), r.width(k));
          std::fill_n(gradient, r.width(k), 0.0f);
        }
      });
    }
  }
}

}  // namespace rekur::recurrent

#endif
