// The records of a step, or of the few that a call takes, as equations read and write them: where the tape keeps them in bf16, in
// floats of the slice's own. What the tape has are the floats rounded, in pairs as products of bf16 read them (simd/bf16.hpp).
#pragma once

#include <algorithm>

#include "isa/dispatch.hpp"
#include "recurrent/plan.hpp"

namespace rekur::recurrent {

class StepRecords {
 public:
  StepRecords() = default;
  // Of M rows, `most` steps in a call if they are small, and `behind` further ones that are read only.
  StepRecords(const Recurrence::Impl& r, Index Hp, Index M, Index most, Index behind, Scratch& scratch)
      : r_(&r), Hp_(Hp), M_(M), size_(r.step_record(Hp)) {
    constexpr Index kFloats = Index{1} << 14;  // which stay near
    most_ = std::clamp<Index>(kFloats / std::max<Index>(M * size_, 1), 1, std::max<Index>(most, 1));
    data_ = scratch.take<float>((most_ + behind) * M * size_).data();
  }

  Index most() const { return most_; }                                               // steps of a call
  Index further() const { return M_ * size_; }                                       // from one step to the next
  float* row(Index step, Index j) const { return data_ + (step * M_ + j) * size_; }  // of those of a call, in its order

#if REKUR_BF16
  // Units [begin, end), whole vectors, of so many slots, and where they are all units the numbers behind the slots.
  void keep(const float* from, float* record, int first, int count, Index begin, Index end) const {
    each_block(first, count, begin, end,
               [&](Index offset, Index n) { k_->narrow_bf16(1, n, &from, offset, record + offset / 2, 0); });
  }
  void keep_numbers(const float* from, float* record) const {
    std::copy_n(from + r_->cell.slots * Hp_, r_->cell.numbers, record + r_->kept(r_->cell.slots * Hp_));
  }
  void widen(const float* record, float* to, int first, int count, Index begin, Index end) const {
    each_block(first, count, begin, end, [&](Index offset, Index n) { k_->widen_bf16(n, record + offset / 2, to + offset); });
  }
  void widen_numbers(const float* record, float* to) const {
    std::copy_n(record + r_->kept(r_->cell.slots * Hp_), r_->cell.numbers, to + r_->cell.slots * Hp_);
  }

 private:
  // f(offset, n): of slots that are wanted whole, all at once.
  template <class F>
  void each_block(int first, int count, Index begin, Index end, F&& f) const {
    if (begin == 0 && end == Hp_) return f(first * Hp_, count * Hp_);
    for (int slot = first; begin < end && slot < first + count; ++slot) f(slot * Hp_ + begin, end - begin);
  }
#else
 private:
#endif

  [[maybe_unused]] const Recurrence::Impl* r_ = nullptr;
  const simd::Kernels* k_ = &isa::kernels();
  [[maybe_unused]] Index Hp_ = 0;
  Index M_ = 0, size_ = 0, most_ = 0;
  float* data_ = nullptr;
};

}  // namespace rekur::recurrent
