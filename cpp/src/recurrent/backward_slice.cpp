#include "recurrent/backward_slice.hpp"

#include <algorithm>
#include <cstring>

#include "isa/dispatch.hpp"
#include "recurrent/windows.hpp"
#include "rekur/detail/compiler.hpp"

namespace rekur::recurrent {

BackwardSlice::BackwardSlice(const Backward& run, const Slice& slice, int members, Scratch& scratch)
    : b_(run),
      f_(run.forward),
      slice_(slice),
      r_(Engine::impl(*run.forward.layer)),
      Hp_(padded(r_.H)),
      Pp_(r_.P == r_.H ? Hp_ : padded(r_.P)),
      M_(slice.rows()),
      y_(outputs(f_)) {
  const auto take_zeros = [&](Index stride) {
    const Index size = M_ * stride;
    float* const zeros = scratch.take<float>(size).data();
    std::memset(zeros, 0, static_cast<std::size_t>(size) * sizeof(float));
    return zeros;
  };
  for (int k = 0; k < r_.cell.states; ++k) d_state_[k] = take_zeros(stride(k));
  d_source_ = scratch.take<float*>(static_cast<Index>(r_.cell.products.size())).data();
  for (std::size_t p = 0; p < r_.cell.products.size(); ++p) {
    const Product& product = r_.cell.products[p];
    d_source_[p] = product.continues ? d_source_[p - 1] : product.state < 0 ? take_zeros(Hp_) : d_state_[product.state];
  }
  const Index panel = isa::kernels().panel;
  for (auto [units, width] : {std::pair(&units_, Hp_), std::pair(&projected_units_, Pp_)}) {
    const Index panels = (width + panel - 1) / panel;
    *units = scratch.take<Units>(members).data();
    for (int m = 0; m < members; ++m)
      (*units)[m] = {std::min(panels * m / members * panel, width), std::min(panels * (m + 1) / members * panel, width)};
  }
  zeros_ = scratch.take<float>(Hp_).data();
  std::memset(zeros_, 0, static_cast<std::size_t>(Hp_) * sizeof(float));
  for (int k = 0; k < r_.cell.states; ++k)
    for (Index j = 0; b_.d_final[k] && j < M_; ++j)
      std::copy_n(b_.d_final[k] + row(j) * r_.width(k), r_.width(k), d_state_[k] + j * stride(k));
  for (auto* rows : {&tape_, &d_rows_}) *rows = scratch.take<float*>(members * M_).data();
  for (auto* rows : {&product_, &h_, &dy_, &tape_ahead_, &dy_ahead_, &h_ahead_, &c_ahead_})
    *rows = scratch.take<const float*>(members * M_).data();
  for (int k = 0; k < r_.cell.states; ++k) previous_[k] = scratch.take<const float*>(members * M_).data();
#if REKUR_EQUATIONS
  if (r_.program) take_for_program(members, scratch);
#endif
#if REKUR_BF16
  if (!r_.bf16()) return;
  records_ = StepRecords(r_, Hp_, M_, through_time_ ? slice.steps() : 1, 1, scratch);
  narrow_ = scratch.take<float>(members * simd::bf16_row_floats(Hp_)).data();
#endif
}

void BackwardSlice::sweep(Index low, Index high) {
  if (r_.alone()) return steps(low, high, 0);
  for (Index i = 0; i < rounds(low, high); ++i) round(low, high, i, 0);
}

Index BackwardSlice::rounds(Index low, Index high) const {
  const Index count = std::min(high, slice_.steps()) - low;
  return count <= 0 ? 0 : r_.alone() ? 1 : count * r_.cell.phases + 1;
}

void BackwardSlice::round(Index low, Index high, Index round, int member) {
  const Index n = rounds(low, high), phases = r_.cell.phases;
  if (round >= n) return;
  if (r_.alone()) return steps(low, high, member);
  const auto call = [&](Index i, const auto& f) {
    const auto [step, p] = divide(i, phases);
    f(f_.reverse ? low + step : std::min(high, slice_.steps()) - 1 - step, static_cast<int>(phases - 1 - p), step > 0);
  };
  if (round > 0) call(round - 1, [&](Index t, int phase, bool) { product(t, phase, member); });
  if (round + 1 < n) call(round, [&](Index t, int phase, bool again) { kernel(t, phase, member, 1, again); });
}

void BackwardSlice::steps(Index low, Index high, int member) {
  const Index count = std::min(high, slice_.steps()) - low;
  const auto time = [&](Index i) { return f_.reverse ? low + i : low + count - 1 - i; };
  for (Index i = 0, n = 1; i < count; i += n, n = 1) {
    const Index active = slice_.active(time(i));
    const Index most = r_.bf16() ? records_.most() : count;
    while (through_time_ && n < most && i + n < count && !begins(time(i + n - 1)) && !begins(time(i + n)) &&
           slice_.active(time(i + n)) == active)
      ++n;
    kernel(time(i), 0, member, n, i > 0);
    product(time(i + n - 1), 0, member);
  }
}

void BackwardSlice::kernel(Index t, int phase, int member, Index count, bool again) {
  equations(t, phase, member, count, again);
#if REKUR_BF16
  if (r_.bf16()) keep(t, phase, count, member);
#endif
}

void BackwardSlice::equations(Index t, int phase, int member, [[maybe_unused]] Index count, [[maybe_unused]] bool again) {
  const Index active = slice_.active(t), own = member * M_;
  const Index ahead = f_.reverse ? t + 1 : t - 1;
  const Units units = units_[member];
  for (Index j = 0; j < active; ++j) point(j, t, own);
#if REKUR_BF16
  if (r_.bf16() && phase + 1 == r_.equations()) widen(t, count, member);
#endif
#if REKUR_EQUATIONS
  if (r_.projects(phase)) return projection_kernel(t, member);
  if (r_.program) return program_kernel(t, phase, member, count, again);
#endif
  kernels::StepBackward s{};
  s.rows = active;
  s.H = r_.H;
  s.Hp = Hp_;
  s.begin = units.begin;
  s.end = units.end;
  s.tape = tape_ + own;
  if (ahead >= 0 && ahead < slice_.steps()) {
    s.tape_ahead = tape_ahead_ + own;
    s.dy_ahead = dy_ahead_ + own;
    s.h_ahead = h_ahead_ + own;
    s.c_ahead = c_ahead_ + own;
  }
  s.h_previous = previous_[0] + own;
  s.c_previous = r_.cell.states > 1 ? previous_[1] + own : nullptr;
  s.dy = b_.dy ? dy_ + own : nullptr;
  s.dh = d_state_[0];
  s.dc = d_state_[1];
  s.peephole = r_.packed.unit_weights.data();
  s.activations = &r_.activations;
  s.d_product = phase < r_.cell.phases - 1 ? d_source_[phase + 1] : nullptr;
  r_.steps().backward[phase](s);
}

#if REKUR_EQUATIONS
void BackwardSlice::take_for_program(int members, Scratch& scratch) {
  const Program& program = *r_.program;
  memory_size_ = program.memory(M_, r_.H);
  memory_ = scratch.take<float>(members * memory_size_).data();
  for (int i = 0; i < program.step_inputs(); ++i) {
    step_rows_[i] = scratch.take<const float*>(members * M_).data();
    d_step_rows_[i] = scratch.take<float*>(members * M_).data();
  }
  for (std::size_t i = 0; i < kMostMasks; ++i)
    mask_rows_[i] = program.masks()[i] ? scratch.take<const float*>(members * M_).data() : nullptr;
  if (float* const sums = unit_sums_of(b_)) {
    unit_sums_ = scratch.take<float*>(M_).data();
    for (Index j = 0; j < M_; ++j) unit_sums_[j] = sums + unit_sums_size(r_, row(j));
  }
  through_time_ = !f_.list && !f_.resets && program.goes_through_time(isa::kernels(), true);
  even_ = !f_.lengths && !f_.list && !f_.resets && slice_.even();  // with lengths some rows have a step before them and some not
}

void BackwardSlice::program_kernel(Index t, int phase, int member, Index count, bool again) {
  const Program& program = *r_.program;
  const Index active = slice_.active(t), own = member * M_;
  const bool with_steps = program.step_inputs() > 0;
  ConstRows step[kMostStepInputs], previous[kMostStates];
  for (int k = 0; k < r_.cell.states; ++k) previous[k] = previous_[k] + own;
  const Index begin = units_[member].begin, end = std::min(units_[member].end, r_.H);
  float* const memory = memory_ + member * memory_size_;
  // Evenly spaced rows are the same at every step; those of a tape in bf16 stand in one place.
  if (again && even_ && !through_time_ && !r_.bf16() &&
      program.backward_again(phase, {.rows = active,
                                     .H = r_.H,
                                     .Hp = Hp_,
                                     .begin = begin,
                                     .end = end,
                                     .tape = tape_ + own,
                                     .previous = previous,
                                     .kernels = &isa::kernels(),
                                     .memory = memory}))
    return;
  Rows d_step[kMostStepInputs];
  Index step_steps[kMostStepInputs], d_step_steps[kMostStepInputs];
  const Index onwards = f_.reverse ? 1 : -1;
  for (int i = 0; with_steps && i < program.step_inputs(); ++i) {
    const bool wanted = b_.d_step && b_.d_step[i];
    for (Index j = 0; j < active; ++j) {
      step_rows_[i][own + j] = f_.step[i].row(row(j), f_.place(row(j), t));
      if (wanted) d_step_rows_[i][own + j] = b_.d_step[i].row(row(j), f_.place(row(j), t));
    }
    step[i] = step_rows_[i] + own;
    d_step[i] = wanted ? d_step_rows_[i] + own : nullptr;
    step_steps[i] = onwards * f_.step[i].stride_t;
    d_step_steps[i] = wanted ? onwards * b_.d_step[i].stride_t : 0;
  }
  ConstRows masks[kMostMasks] = {};
  Index mask_steps[kMostMasks] = {};
  for (int i = 0; i < kMostMasks; ++i) {
    if (!mask_rows_[i]) continue;
    mask_steps[i] = onwards * f_.masks[i].stride_t;
    for (Index j = 0; j < active; ++j) mask_rows_[i][own + j] = f_.masks[i].row(row(j), t);
    masks[i] = mask_rows_[i] + own;
  }
  ProgramBackward s{};
  s.steps = count;
  s.y_step = onwards * y_.stride_t;
  s.dy_step = onwards * b_.dy.stride_t;
  s.tape_step = r_.bf16() ? records_.further() : onwards * rows_of_tape(f_) * r_.record(Hp_);
  s.step_steps = step_steps;
  s.d_step_steps = d_step_steps;
  s.rows = active;
  s.H = r_.H;
  s.Hp = Hp_;
  s.begin = begin;
  s.end = end;
  s.even = even_;
  s.tape = tape_ + own;
  s.previous = previous;
  s.h = h_ + own;
  s.dy = b_.dy ? dy_ + own : nullptr;
  s.d_state = d_state_;
  s.d_source = d_source_;
  s.unit_weights = r_.packed.unit_weights.data();
  s.unit_sums = unit_sums_;
  s.step = step;
  s.masks = masks;
  s.mask_steps = mask_steps;
  s.d_step = d_step;
  s.kernels = &isa::kernels();
  s.memory = memory;
  program.backward(phase, s);
}
#endif

#if REKUR_BF16
void BackwardSlice::widen(Index t, Index count, int member) {
  const Index active = slice_.active(t), onwards = f_.reverse ? 1 : -1;
  const auto [begin, end] = units_[member];
  const bool ahead = t + onwards >= 0 && t + onwards < slice_.steps();
  for (Index s = 0; s < count; ++s)
    for (Index j = 0; j < active; ++j) {
      const float* const from = record(row(j), t + s * onwards);
      records_.widen(from, records_.row(s, j), 0, r_.cell.slots, begin, end);
      if (r_.cell.numbers > 0) records_.widen_numbers(from, records_.row(s, j));
      // The step that will be next reads its own: they are fetched into the cache meanwhile.
      const float* const next = from + onwards * rows_of_tape(f_) * r_.record(Hp_) + r_.kept(begin);
      for (int slot = 0; ahead && slot < r_.cell.slots; ++slot)
        for (Index u = 0; u < end - begin; u += 32) REKUR_PREFETCH(next + (slot * Hp_ + u) / 2, 1);
    }
  for (Index j = 0; r_.cell.states > 1 && j < active; ++j) widen_previous(j, t + (count - 1) * onwards, count, member);
}

void BackwardSlice::widen_previous(Index j, Index t, Index count, int member) {
  const auto [begin, end] = units_[member];
  const Index b = row(j), length = slice_.length[static_cast<std::size_t>(j)];
  const bool first = f_.begins(b, t, length);
  for (int k = 1; k < r_.cell.states; ++k) {
    const int slot = static_cast<int>(r_.state_slot(k));
    float* const to = records_.row(count, j);
    if (!first) {
      records_.widen(record(b, f_.reverse ? t + 1 : t - 1), to, slot, 1, begin, end);
    } else if (const float* const all = f_.beginning(k, b, t, length)) {
      const float* const beginning = all + b * r_.width(k);
      float* const narrow = narrow_ + member * simd::bf16_row_floats(Hp_);
      isa::kernels().narrow_bf16(1, std::min(end, r_.H) - begin, &beginning, begin, narrow, 0);
      isa::kernels().widen_bf16(end - begin, narrow, to + slot * Hp_ + begin);
    } else {
      std::fill(to + slot * Hp_ + begin, to + slot * Hp_ + end, 0.0f);
    }
  }
}

void BackwardSlice::keep(Index t, int phase, Index count, int member) {
  const Index active = slice_.active(t), onwards = f_.reverse ? 1 : -1;
  const auto [begin, end] = (r_.projects(phase) ? projected_units_ : units_)[member];
  const auto slots = static_cast<int>(r_.cell.slots);
  const auto is_left = [&](int slot) { return r_.gradient_phase[static_cast<std::size_t>(slot)] == phase; };
  for (int first = 0, last; first < slots; first = last + 1) {
    for (last = first; last < slots && is_left(last); ++last) {
    }
    for (Index s = 0; last > first && s < count; ++s)
      for (Index j = 0; j < active; ++j)
        records_.keep(records_.row(s, j), record(row(j), t + s * onwards), first, last - first, begin, end);
  }
}
#endif

void BackwardSlice::projection_kernel(Index t, int member) {
  const Index active = slice_.active(t), own = member * M_, P = r_.P;
  const auto [begin, last] = projected_units_[member];
  const Index end = std::min(last, P);
  for (Index j = 0; j < active && begin < last; ++j) {
    float* const d_state = d_state_[0] + j * Pp_;
    float* const gradient = tape_[own + j] + r_.cell.products.back().first * Hp_;
    if (b_.dy && begin < end)
      isa::kernels().add(d_state + begin, dy_[own + j] + begin, gradient + begin, end - begin);
    else
      std::copy(d_state + begin, d_state + std::max(begin, end), gradient + begin);
    std::fill(gradient + std::max(begin, end), gradient + last, 0.0f);
    std::fill(d_state + begin, d_state + last, 0.0f);
  }
}

void BackwardSlice::product(Index t, int phase, int member) {
  const Index active = slice_.active(t);
  // Nobody asks for the gradient of the initial state: the product that would bring it there is left out.
  const bool first = t == (f_.reverse ? slice_.steps() - 1 : 0);
  for (std::size_t p = 0; p < r_.cell.products.size(); ++p) {
    const Product& product = r_.cell.products[p];
    if (product.phase != phase || (first && product.state >= 0 && !b_.d_initial[product.state])) continue;
    const Index width = r_.rows(product);
    const auto [begin, end] = (product.state == 0 ? projected_units_ : units_)[member];
    back_through(p, t, active, begin, std::min(end, width), member * M_);
  }
  if (phase > 0) return;
  // Rows whose first step this was.
  for (Index j = f_.reverse ? slice_.active(t + 1) : 0; j < (!f_.reverse && t > 0 ? 0 : active); ++j) finish(j, t, member);
  // Those whose states began anew here: what came before them gets nothing of it.
  for (Index j = 0; f_.resets && j < active; ++j) {
    const Index b = row(j), length = slice_.length[static_cast<std::size_t>(j)];
    if (f_.starts(t, length) || !f_.begins(b, t, length)) continue;
    finish(j, t, member);
    for (int k = 0; k < r_.cell.states; ++k) {
      const auto [begin, last] = (k == 0 ? projected_units_ : units_)[member];
      std::fill(d_state_[k] + j * stride(k) + begin, d_state_[k] + j * stride(k) + last, 0.0f);
    }
  }
}

void BackwardSlice::back_through(std::size_t p, Index t, Index active, Index begin, Index end, Index own) {
  if (begin >= end) return;
  const Product& product = r_.cell.products[p];
  const Index K = product.count * (product.projects ? Pp_ : Hp_), stride = product.state == 0 ? Pp_ : Hp_;
  for (Index j = 0; j < active; ++j) {
    product_[own + j] = record(row(j), t) + r_.kept(product.first * Hp_);
    d_rows_[own + j] = d_source_[p] + j * stride;
  }
  const bool adds = product.state >= 0 || product.continues;
#if REKUR_BF16
  if (r_.bf16())
    return isa::kernels().gemm_bf16(r_.packed.group, active, end - begin, K, product_ + own,
                                    r_.packed.recurrent_transposed[p].data() + begin * ((K + 1) / 2), nullptr, d_rows_ + own, begin,
                                    adds);
#endif
  isa::kernels().gemm(active, end - begin, K, product_ + own, r_.packed.recurrent_transposed[p].data() + begin * K, nullptr,
                      d_rows_ + own, begin, adds);
}

void BackwardSlice::point(Index j, Index t, Index own) {
  const Index b = row(j), last = slice_.length[static_cast<std::size_t>(j)] - 1, i = own + j;
  const bool first = f_.begins(b, t, last + 1);
  const Index previous = f_.reverse ? t + 1 : t - 1;
  const bool widened = r_.bf16();
  tape_[i] = widened ? records_.row(0, j) : record(b, t);
  h_[i] = y_.row(b, f_.output_place(b, t));
  if (b_.dy) dy_[i] = b_.dy.row(b, f_.place(b, t));
  for (int k = 0; k < r_.cell.states; ++k) {
    if (widened && k > 0)
      previous_[k][i] = records_.row(1, j) + r_.state_slot(k) * Hp_;
    else if (!first)
      previous_[k][i] = k == 0 ? y_.row(b, f_.output_place(b, previous)) : record(b, previous) + r_.state_slot(k) * Hp_;
    else if (const float* const beginning = f_.beginning(k, b, t, last + 1))
      previous_[k][i] = beginning + b * r_.width(k);
    else
      previous_[k][i] = zeros_;
  }
  if (r_.program) return;
  // A row that ends here, or the next step, has nothing further to fetch.
  const Index second = f_.reverse ? t + 2 : t - 2;
  const bool last_but_one = f_.reverse ? second > last : second < 0;
  tape_ahead_[i] = first || widened ? tape_[i] : record(b, previous);
  dy_ahead_[i] = first || !b_.dy ? h_[i] : b_.dy.row(b, f_.place(b, previous));
  h_ahead_[i] = first || last_but_one ? h_[i] : y_.row(b, f_.output_place(b, second));
  c_ahead_[i] = first || last_but_one || widened || r_.cell.states == 1 ? h_[i] : record(b, second) + r_.state_slot(1) * Hp_;
}

void BackwardSlice::finish(Index j, Index t, int member) {
  const bool anew = f_.begins_anew(row(j), t, slice_.length[static_cast<std::size_t>(j)]);
  for (int k = 0; k < r_.cell.states; ++k) {
    const Index width = r_.width(k);
    const auto [begin, last] = (k == 0 ? projected_units_ : units_)[member];
    const Index end = std::min(last, width);
    float* const d_beginning = anew ? b_.d_anew(k) : b_.d_initial[k];
    if (d_beginning && begin < end)
      isa::kernels().axpy(1.0f, d_state_[k] + j * stride(k) + begin, d_beginning + row(j) * width + begin, end - begin);
  }
}

}  // namespace rekur::recurrent
