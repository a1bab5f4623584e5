#include "layers/matrix_heads.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace rekur::layers {

using simd::Decay;
using simd::MatrixGate;
using simd::MatrixKernels;
using simd::Steps;
using simd::StepsOut;

namespace {

constexpr Index kSteps = 32;   // of a chunk, whose numbers stay in the first-level cache beside a block of the state
constexpr Index kNumber = 16;  // floats kept for one number a step

// Square [rows][columns] to rows of `stride` floats and back.
void place(const float* from, Index rows, Index columns, float* to, Index stride) {
  for (Index r = 0; r < rows; ++r) std::copy_n(from + r * columns, columns, to + r * stride);
}
void take(const float* from, Index stride, Index rows, Index columns, float* to) {
  for (Index r = 0; r < rows; ++r) std::copy_n(from + r * stride, columns, to + r * columns);
}
void place_transposed(const float* from, Index rows, Index columns, float* to, Index stride) {
  for (Index r = 0; r < rows; ++r)
    for (Index c = 0; c < columns; ++c) to[c * stride + r] = from[r * columns + c];
}

}  // namespace

// What is left of a piece of scratch.
struct MatrixHeads::Memory {
  float* at;

  float* take(Index floats) { return std::exchange(at, at + floats); }
};

// Numbers of a chunk's steps, each filled up to whole vectors.
struct MatrixHeads::Chunk {
  float *q, *k, *v, *a, *b;  // [kSteps][Kp], [Kp], [Vp], [Kp] or [kNumber], [kNumber]
  Index a_stride;
};

MatrixHeads::MatrixHeads(MatrixRule rule, Index heads, Index key, Index value, float decay_power, bool output_gate)
    : rule_(rule),
      H_(heads),
      K_(key),
      V_(value),
      Kp_(simd::matrix_padded(key)),
      Vp_(simd::matrix_padded(value)),
      decay_power_(decay_power),
      output_gate_(output_gate) {
  k_ = element_count({H_, K_});
  v_ = 2 * k_;
  a_ = v_ + element_count({H_, V_});
  b_ = a_ + (rule == MatrixRule::gated ? H_ * K_ : rule == MatrixRule::gated_delta ? H_ : 0);
  z_ = b_ + (delta() ? H_ : 0);
}

double MatrixHeads::operations(Index steps) const {
  return static_cast<double>(steps) * static_cast<double>(K_) * static_cast<double>(V_) * (delta() ? 6 : 4);
}

Decay MatrixHeads::decay(bool lanes_are_keys) const {
  if (rule_ == MatrixRule::gated) return lanes_are_keys ? Decay::lanes : Decay::rows;
  return rule_ == MatrixRule::gated_delta ? Decay::one : Decay::none;
}

MatrixHeads::Chunk MatrixHeads::chunk(Memory& memory) const {
  Chunk c;
  c.a_stride = rule_ == MatrixRule::gated ? Kp_ : kNumber;
  c.q = memory.take(kSteps * Kp_);
  c.k = memory.take(kSteps * Kp_);
  c.v = memory.take(kSteps * Vp_);
  c.a = memory.take(kSteps * c.a_stride);
  c.b = memory.take(kSteps * kNumber);
  return c;
}

Index MatrixHeads::work() const { return Kp_ * Vp_ + kSteps * (3 * Kp_ + 3 * Vp_ + 2 * kNumber); }

void MatrixHeads::pack_keys(const MatrixKernels& kernels, const HeadRun& run, Index begin, Index count, const Chunk& to) const {
  const Index N = columns();
  const float* const from = run.projection + begin * N;
  const float scale = 1.0f / std::sqrt(static_cast<float>(K_));
  const MatrixGate gate = delta() ? MatrixGate::unit : MatrixGate::scale;
  kernels.pack({count, K_, gate, scale, {from + run.head * K_, N}, {to.q, Kp_}});
  kernels.pack({count, K_, gate, 1.0f, {from + k_ + run.head * K_, N}, {to.k, Kp_}});
  if (rule_ == MatrixRule::gated)
    kernels.pack({count, K_, MatrixGate::decay, decay_power_, {from + a_ + run.head * K_, N}, {to.a, Kp_}});
  if (rule_ == MatrixRule::gated_delta)
    kernels.pack({count, 1, MatrixGate::decay, decay_power_, {from + a_ + run.head, N}, {to.a, kNumber}});
  if (delta()) kernels.pack({count, 1, MatrixGate::sigmoid, 1.0f, {from + b_ + run.head, N}, {to.b, kNumber}});
}

void MatrixHeads::pack_values(const MatrixKernels& kernels, const HeadRun& run, Index begin, Index count, const Chunk& to) const {
  const Index N = columns();
  kernels.pack({count,
                V_,
                delta() ? MatrixGate::silu : MatrixGate::scale,
                1.0f,
                {run.projection + begin * N + v_ + run.head * V_, N},
                {to.v, Vp_}});
}

void MatrixHeads::forward(const MatrixKernels& kernels, const HeadRun& run, float* work) const noexcept {
  Memory memory{work};
  float* const state = memory.take(Kp_ * Vp_);
  const Chunk c = chunk(memory);
  float* const o = memory.take(kSteps * Vp_);
  float* const r = memory.take(kSteps * Vp_);
  std::fill_n(state, Kp_ * Vp_, 0.0f);
  if (run.initial != nullptr) place(run.initial, K_, V_, state, Vp_);

  for (Index begin = 0; begin < run.steps; begin += kSteps) {
    const Index count = std::min(kSteps, run.steps - begin);
    pack_keys(kernels, run, begin, count, c);
    pack_values(kernels, run, begin, count, c);
    const Steps a{c.a, c.a_stride}, k{c.k, Kp_}, q{c.q, Kp_}, v{c.v, Vp_};
    const StepsOut out{o, Vp_};
    if (delta()) {
      kernels.delta({count, K_, Vp_, state, false, decay(false), a, {c.b, kNumber}, k, q, v, {r, Vp_}, out});
      if (run.r != nullptr)
        for (Index t = 0; t < count; ++t) std::copy_n(r + t * Vp_, V_, run.r + (begin + t) * width() + run.head * V_);
    } else {
      kernels.sweep({count, Kp_, Vp_, state, false, decay(false), a, k, v, q, out, {}, {}, {}, {}});
    }
    for (Index t = 0; t < count; ++t) std::copy_n(o + t * Vp_, V_, run.o + (begin + t) * width() + run.head * V_);
  }
  if (run.final != nullptr) take(state, Vp_, K_, V_, run.final);
}

#if REKUR_TRAINING

Index MatrixHeads::backward_work() const { return 2 * Kp_ + Kp_ * Vp_ + kSteps * (6 * Kp_ + 6 * Vp_ + 3 * kNumber); }

void MatrixHeads::backward(const MatrixKernels& kernels, const HeadBackward& b, float* work) const noexcept {
  Memory memory{work};
  float* const d_decay = memory.take(2 * Kp_);  // of ln a, and what rounding took from it
  std::fill_n(d_decay, 2 * Kp_, 0.0f);
  sweep_values(kernels, b, memory);
  sweep_queries(kernels, b, memory, d_decay);
  sweep_keys(kernels, b, memory, d_decay);
}

// G backwards: dw, and with the delta rule dβ. The columns of v get the gradient of what v was packed to.
void MatrixHeads::sweep_values(const MatrixKernels& kernels, const HeadBackward& b, Memory memory) const {
  const HeadRun& run = b.run;
  const Index N = columns();
  float* const state = memory.take(Kp_ * Vp_);
  const Chunk c = chunk(memory);
  float* const d_o = memory.take(kSteps * Vp_);
  float* const dw = memory.take(kSteps * Vp_);
  float* const db = memory.take(kSteps * kNumber);
  std::fill_n(state, Kp_ * Vp_, 0.0f);
  if (b.d_final != nullptr) place(b.d_final, K_, V_, state, Vp_);

  for (Index end = run.steps; end > 0; end = (end - 1) / kSteps * kSteps) {
    const Index begin = (end - 1) / kSteps * kSteps, count = end - begin;
    pack_keys(kernels, run, begin, count, c);
    kernels.pack({count, V_, MatrixGate::scale, 1.0f, {b.d_o + begin * width() + run.head * V_, width()}, {d_o, Vp_}});
    const Steps a{c.a, c.a_stride}, k{c.k, Kp_}, q{c.q, Kp_}, y{d_o, Vp_};
    float* const dv = b.d_projection + begin * N + v_ + run.head * V_;
    if (!delta()) {
      kernels.sweep({count, Kp_, Vp_, state, true, decay(false), a, q, y, k, {dw, Vp_}, {}, {}, {}, {}});
      for (Index t = 0; t < count; ++t) std::copy_n(dw + t * Vp_, V_, dv + t * N);
      continue;
    }
    kernels.delta({count, K_, Vp_, state, true, decay(false), a, {c.b, kNumber}, k, q, y, {dw, Vp_}, {}});
    const Steps beta{c.b, kNumber};
    kernels.dot_steps(count, V_, {dw, Vp_}, {run.r + begin * width() + run.head * V_, width()}, {db, kNumber});
    kernels.scale_steps(count, V_, beta, {dw, Vp_}, {dv, N});
    kernels.unpack({count,
                    1,
                    MatrixGate::sigmoid,
                    1.0f,
                    {run.projection + begin * N + b_ + run.head, N},
                    {db, kNumber},
                    {b.d_projection + begin * N + b_ + run.head, N}});
  }
  if (b.d_initial != nullptr) take(state, Vp_, K_, V_, b.d_initial);
}

// S onwards, transposed: the columns of q and k get dq of what q was packed to and Ŝ dr.
void MatrixHeads::sweep_queries(const MatrixKernels& kernels, const HeadBackward& b, Memory memory, float* d_decay) const {
  const HeadRun& run = b.run;
  const Index N = columns();
  float* const state = memory.take(Vp_ * Kp_);
  const Chunk c = chunk(memory);
  float* const d_o = memory.take(kSteps * Vp_);
  float* const dr = memory.take(kSteps * Vp_);
  float* const dq = memory.take(kSteps * Kp_);
  float* const at_dr = memory.take(kSteps * Kp_);
  std::fill_n(state, Vp_ * Kp_, 0.0f);
  if (run.initial != nullptr) place_transposed(run.initial, K_, V_, state, Kp_);

  for (Index begin = 0; begin < run.steps; begin += kSteps) {
    const Index count = std::min(kSteps, run.steps - begin);
    float* const to = b.d_projection + begin * N;
    pack_keys(kernels, run, begin, count, c);
    pack_added(kernels, run, begin, count, c);
    kernels.pack({count, V_, MatrixGate::scale, 1.0f, {b.d_o + begin * width() + run.head * V_, width()}, {d_o, Vp_}});
    simd::MatrixSweep sweep{count,      Vp_,       Kp_, state, false, decay(true), {c.a, c.a_stride}, {c.v, Vp_}, {c.k, Kp_},
                            {d_o, Vp_}, {dq, Kp_}, {},  {},    {},    {}};
    if (delta()) {
      kernels.pack({count, V_, MatrixGate::scale, 1.0f, {to + v_ + run.head * V_, N}, {dr, Vp_}});
      sweep.early = {dr, Vp_};
      sweep.early_out = {at_dr, Kp_};
    }
    kernels.sweep(sweep);
    for (Index t = 0; t < count; ++t) {
      std::copy_n(dq + t * Kp_, K_, to + t * N + run.head * K_);
      if (delta()) std::copy_n(at_dr + t * Kp_, K_, to + t * N + k_ + run.head * K_);
    }
  }
  if (!decays() || b.d_final == nullptr) return;
  for (Index k = 0; k < K_; ++k) {
    double sum = 0;
    for (Index v = 0; v < V_; ++v) sum += static_cast<double>(b.d_final[k * V_ + v]) * static_cast<double>(state[v * Kp_ + k]);
    d_decay[k] = static_cast<float>(sum);
  }
}

// G backwards, transposed: the rest of the gradient of k, that of a, and everything before it was packed.
void MatrixHeads::sweep_keys(const MatrixKernels& kernels, const HeadBackward& b, Memory memory, float* d_decay) const {
  const HeadRun& run = b.run;
  const Index N = columns();
  float* const state = memory.take(Vp_ * Kp_);
  const Chunk c = chunk(memory);
  float* const d_o = memory.take(kSteps * Vp_);
  float* const minus_dr = memory.take(kSteps * Vp_);
  float* const dk = memory.take(kSteps * Kp_);
  float* const da = memory.take(kSteps * Kp_);
  std::fill_n(state, Vp_ * Kp_, 0.0f);
  if (b.d_final != nullptr) place_transposed(b.d_final, K_, V_, state, Kp_);
  const float scale = 1.0f / std::sqrt(static_cast<float>(K_));
  const MatrixGate gate = delta() ? MatrixGate::unit : MatrixGate::scale;

  for (Index end = run.steps; end > 0; end = (end - 1) / kSteps * kSteps) {
    const Index begin = (end - 1) / kSteps * kSteps, count = end - begin;
    const float* const from = run.projection + begin * N;
    float* const to = b.d_projection + begin * N;
    pack_keys(kernels, run, begin, count, c);
    pack_added(kernels, run, begin, count, c);
    kernels.pack({count, V_, MatrixGate::scale, 1.0f, {b.d_o + begin * width() + run.head * V_, width()}, {d_o, Vp_}});
    simd::MatrixSweep sweep{count,      Vp_,       Kp_, state, true, decay(true), {c.a, c.a_stride}, {d_o, Vp_}, {c.q, Kp_},
                            {c.v, Vp_}, {dk, Kp_}, {},  {},    {},   {}};
    if (delta()) {
      kernels.pack({count, V_, MatrixGate::scale, -1.0f, {to + v_ + run.head * V_, N}, {minus_dr, Vp_}});
      sweep.x2 = {minus_dr, Vp_};
      sweep.y2 = {c.k, Kp_};
    }
    kernels.sweep(sweep);

    const Index q_at = run.head * K_, k_at = k_ + run.head * K_, v_at = v_ + run.head * V_;
    if (decays() || delta())
      kernels.decay_gradient({count,
                              K_,
                              rule_ != MatrixRule::gated,
                              {c.q, Kp_},
                              {to + q_at, N},
                              {c.k, Kp_},
                              {delta() ? to + k_at : nullptr, N},
                              {dk, Kp_},
                              {da, Kp_},
                              d_decay});
    kernels.unpack({count, K_, gate, scale, {from + q_at, N}, {to + q_at, N}, {to + q_at, N}});
    kernels.unpack({count, K_, gate, 1.0f, {from + k_at, N}, {dk, Kp_}, {to + k_at, N}});
    if (delta()) kernels.unpack({count, V_, MatrixGate::silu, 1.0f, {from + v_at, N}, {to + v_at, N}, {to + v_at, N}});
    if (!decays()) continue;
    const bool each = rule_ == MatrixRule::gated;
    const Index a_at = a_ + run.head * (each ? K_ : 1);
    kernels.unpack({count, each ? K_ : 1, MatrixGate::decay, decay_power_, {from + a_at, N}, {da, Kp_}, {to + a_at, N}});
  }
}

// What a step adds at k: v, or β r.
void MatrixHeads::pack_added(const MatrixKernels& kernels, const HeadRun& run, Index begin, Index count, const Chunk& to) const {
  if (!delta()) return pack_values(kernels, run, begin, count, to);
  kernels.pack({count, V_, MatrixGate::scale, 1.0f, {run.r + begin * width() + run.head * V_, width()}, {to.v, Vp_}});
  kernels.scale_steps(count, V_, {to.b, kNumber}, {to.v, Vp_}, {to.v, Vp_});
}

#endif

}  // namespace rekur::layers
