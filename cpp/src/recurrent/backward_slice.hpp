// A slice's part of a backward pass: the sweep through its steps, in the opposite order of the forward pass, which leaves the
// gradients of all pre-activations in the tape.
#pragma once

#include "recurrent/plan.hpp"
#include "recurrent/step_records.hpp"

namespace rekur::recurrent {

class BackwardSlice {
 public:
  BackwardSlice(const Backward& run, const Slice& slice, int members, Scratch& scratch);

  // All of steps [low, high), for a slice that one thread has to itself.
  void sweep(Index low, Index high);
  // The steps in rounds between which members meet. Between two kernels a member needs the others' gradients only for the product
  // that brings them to its own units: so that belongs to the round of the next kernel, and there is one more round than kernels.
  Index rounds(Index low, Index high) const;
  void round(Index low, Index high, Index round, int member);

 private:
  Index stride(int k) const { return k == 0 ? Pp_ : Hp_; }  // of state k's rows
  float* record(Index b, Index t) const { return record_of(f_, r_, Hp_, b, t); }
  Index row(Index j) const { return slice_.row[static_cast<std::size_t>(j)]; }

  struct Units {
    Index begin, end;
  };

  // Whether step t is the first of one of its rows.
  bool begins(Index t) const { return f_.reverse ? slice_.active(t + 1) < slice_.active(t) : t == 0; }

  // A member's units in all of steps [low, high) where no unit waits for another: as many in a call as have the same rows, all of
  // which have a step before them.
  void steps(Index low, Index high, int member);

  // The equations of step t, and of so many together; what a tape in bf16 needs besides. again: the step before in this sweep was
  // this member's, too.
  void kernel(Index t, int phase, int member, Index count, bool again);
  void equations(Index t, int phase, int member, Index count, bool again);

#if REKUR_EQUATIONS
  void take_for_program(int members, Scratch& scratch);
  void program_kernel(Index t, int phase, int member, Index count, bool again);
#endif

#if REKUR_BF16
  // Of a tape in bf16: a member's units of the records of `count` steps from t on, and behind the last one the states before it,
  // which the tape's precision holds for as well where they are none of its records'.
  void widen(Index t, Index count, int member);
  void widen_previous(Index j, Index t, Index count, int member);
  // The gradients that a phase's equations have left there, back into it.
  void keep(Index t, int phase, Index count, int member);
#endif

  // What arrives at the first state is the gradient of the projection; nothing of it reaches the state before but by products.
  void projection_kernel(Index t, int member);

  // Brings the gradients of step t's products back to what they multiplied.
  void product(Index t, int phase, int member);

  // The gradient of units [begin, end) of what a recurrent product multiplied.
  void back_through(std::size_t p, Index t, Index active, Index begin, Index end, Index own);

  // Where row j's operands of step t stand.
  void point(Index j, Index t, Index own);

  // Row j's step t is done, its first one or one after a reset: what arrives at the states that it began with.
  void finish(Index j, Index t, int member);

  const Backward& b_;
  const Forward& f_;
  const Slice slice_;
  const Recurrence::Impl& r_;
  const Index Hp_, Pp_, M_;
  const Strided<float> y_;
  Units *units_, *projected_units_;                         // of each member: of H, of P
  float *d_state_[kMostStates] = {}, **d_source_, *zeros_;  // d_source_: by product, of what it multiplied
  float **tape_, **d_rows_;
  StepRecords records_;                       // where the tape is in bf16
  [[maybe_unused]] float* narrow_ = nullptr;  // a row of that, by member
  const float **product_, **previous_[kMostStates] = {}, **h_, **dy_;
  const float **tape_ahead_, **dy_ahead_, **h_ahead_, **c_ahead_;
#if REKUR_EQUATIONS
  float* memory_ = nullptr;
  Index memory_size_ = 0;
  const float **step_rows_[kMostStepInputs] = {}, **mask_rows_[kMostMasks] = {};
  float **d_step_rows_[kMostStepInputs] = {}, **unit_sums_ = nullptr;
  bool even_ = false;  // the addresses of rows' operands are evenly spaced
#endif
  bool through_time_ = false;  // a call takes many steps
};

}  // namespace rekur::recurrent
