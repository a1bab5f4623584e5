#include "layers/matrix_heads.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
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
void place_rows(const float* from, Index rows, Index columns, float* to, Index stride) {
  for (Index r = 0; r < rows; ++r) std::copy_n(from + r * columns, columns, to + r * stride);
}
void take(const float* from, Index stride, Index rows, Index columns, float* to) {
  for (Index r = 0; r < rows; ++r) std::copy_n(from + r * stride, columns, to + r * columns);
}
#if REKUR_TRAINING
void place_transposed(const float* from, Index rows, Index columns, float* to, Index stride) {
  for (Index r = 0; r < rows; ++r)
    for (Index c = 0; c < columns; ++c) to[c * stride + r] = from[r * columns + c];
}
#endif

// 1 / max(|n · q|, e^-m), where neither may be so small that there is no such number.
float inverse_bound(float normalizer, float bound) {
  return 1.0f / std::max(std::max(std::abs(normalizer), bound), std::numeric_limits<float>::min());
}

}  // namespace

// What is left of a piece of scratch.
struct MatrixHeads::Memory {
  float* at;

  float* take(Index floats) { return std::exchange(at, at + floats); }
};

// Numbers of a chunk's steps, each filled up to whole vectors.
struct MatrixHeads::Chunk {
  float *q, *k, *v, *a, *b;  // [kSteps][Kp], [Kp], [Lp], [Kp] or [kNumber], [kNumber]
  float* bound;              // [kSteps][kNumber], of mlstm e^-m
  Index a_stride;
};

MatrixHeads::MatrixHeads(MatrixRule rule, Index heads, Index key, Index value, float decay_power, bool output_gate)
    : rule_(rule),
      H_(heads),
      K_(key),
      V_(value),
      L_(value + (rule == MatrixRule::mlstm ? 1 : 0)),
      Kp_(simd::matrix_padded(key)),
      Lp_(simd::matrix_padded(L_)),
      decay_power_(decay_power) {
  const auto next = [&](Index columns) { return std::exchange(columns_, columns_ + columns); };
  const Index keys = element_count({H_, K_}), values = element_count({H_, V_}), gate = output_gate ? values : 0;
  next(keys);
  k_ = next(keys);
  v_ = next(values);
  if (mlstm()) {
    b_ = next(H_);
    z_ = next(gate);
    a_ = next(H_);
  } else {
    a_ = next(rule == MatrixRule::gated ? keys : decays() ? H_ : 0);
    b_ = next(delta() ? H_ : 0);
    z_ = next(gate);
  }
}

double MatrixHeads::operations(Index steps) const {
  return static_cast<double>(steps) * static_cast<double>(K_) * static_cast<double>(V_) * (delta() ? 6 : 4);
}

Decay MatrixHeads::decay(bool lanes_are_keys) const {
  if (rule_ == MatrixRule::gated) return lanes_are_keys ? Decay::lanes : Decay::rows;
  return decays() ? Decay::one : Decay::none;
}

MatrixHeads::Chunk MatrixHeads::chunk(Memory& memory) const {
  Chunk c;
  c.a_stride = rule_ == MatrixRule::gated ? Kp_ : kNumber;
  c.q = memory.take(kSteps * Kp_);
  c.k = memory.take(kSteps * Kp_);
  c.v = memory.take(kSteps * Lp_);
  c.a = memory.take(kSteps * c.a_stride);
  c.b = memory.take(kSteps * kNumber);
  c.bound = memory.take(kSteps * kNumber);
  return c;
}

Index MatrixHeads::work() const { return Kp_ * Lp_ + kSteps * (3 * Kp_ + 3 * Lp_ + 3 * kNumber); }

void MatrixHeads::pack_keys(const MatrixKernels& kernels, const HeadRun& run, Index begin, Index count, const Chunk& to) const {
  const Index N = columns();
  const float* const from = run.projection + begin * N;
  const MatrixGate gate = delta() ? MatrixGate::unit : MatrixGate::scale;
  kernels.pack({count, K_, gate, query_scale(), {from + run.head * K_, N}, {to.q, Kp_}});
  kernels.pack({count, K_, gate, key_scale(), {from + k_ + run.head * K_, N}, {to.k, Kp_}});
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
                {to.v, Lp_}});
  for (Index t = 0; mlstm() && t < count; ++t) {
    std::fill(to.v + t * Lp_ + V_, to.v + (t + 1) * Lp_, 0.0f);
    to.v[t * Lp_ + V_] = 1.0f;
  }
}

float MatrixHeads::query_scale() const { return mlstm() ? 1.0f : 1.0f / std::sqrt(static_cast<float>(K_)); }
float MatrixHeads::key_scale() const { return mlstm() ? 1.0f / std::sqrt(static_cast<float>(K_)) : 1.0f; }

// a and e^(i - m) of mlstm, the keys multiplied by the latter, and e^-m. m: before the steps, and then after them.
void MatrixHeads::pack_gates(const MatrixKernels& kernels, const HeadRun& run, Index begin, Index count, const Chunk& to,
                             float& m) const {
  const float* const from = run.projection + begin * columns();
  kernels.pack({count, 1, MatrixGate::log_sigmoid, 1.0f, {from + a_ + run.head, columns()}, {to.a, kNumber}});
  for (Index t = 0; t < count; ++t) {
    const float input = from[t * columns() + b_ + run.head], kept = to.a[t * kNumber] + m;
    m = std::max(kept, input);
    to.a[t * kNumber] = kept - m;
    to.b[t * kNumber] = input - m;
    to.bound[t * kNumber] = -m;
  }
  for (float* const numbers : {to.a, to.b, to.bound})
    kernels.pack({count, 1, MatrixGate::exp, 1.0f, {numbers, kNumber}, {numbers, kNumber}});
  kernels.scale_steps(count, Kp_, {to.b, kNumber}, {to.k, Kp_}, {to.k, Kp_});
}

// o = Sᵀ q / max(|n · q|, e^-m), of which o has the former and n · q behind it; and what the backward pass wants to know.
void MatrixHeads::divide(const MatrixKernels& kernels, const HeadRun& run, Index begin, Index count, const Chunk& c,
                         float* o) const {
  for (Index t = 0; t < count; ++t) {
    const float normalizer = o[t * Lp_ + V_], bound = c.bound[t * kNumber];
    if (run.gates != nullptr) {
      const float kept[kMatrixGates] = {c.a[t * kNumber], c.b[t * kNumber], normalizer, bound};
      std::copy_n(kept, kMatrixGates, run.gates + ((begin + t) * H_ + run.head) * kMatrixGates);
    }
    c.bound[t * kNumber] = inverse_bound(normalizer, bound);
  }
  kernels.scale_steps(count, V_, {c.bound, kNumber}, {o, Lp_}, {o, Lp_});
}

void MatrixHeads::forward(const MatrixKernels& kernels, const HeadRun& run, float* work) const noexcept {
  Memory memory{work};
  float* const state = memory.take(Kp_ * Lp_);
  const Chunk c = chunk(memory);
  float* const o = memory.take(kSteps * Lp_);
  float* const r = memory.take(kSteps * Lp_);
  std::fill_n(state, Kp_ * Lp_, 0.0f);
  if (run.initial != nullptr) place_rows(run.initial, K_, L_, state, Lp_);
  float m = mlstm() && run.initial != nullptr ? run.initial[K_ * L_] : 0.0f;

  for (Index begin = 0; begin < run.steps; begin += kSteps) {
    const Index count = std::min(kSteps, run.steps - begin);
    pack_keys(kernels, run, begin, count, c);
    pack_values(kernels, run, begin, count, c);
    if (mlstm()) pack_gates(kernels, run, begin, count, c, m);
    const Steps a{c.a, c.a_stride}, k{c.k, Kp_}, q{c.q, Kp_}, v{c.v, Lp_};
    const StepsOut out{o, Lp_};
    if (delta()) {
      kernels.delta({count, K_, Lp_, state, false, decay(false), a, {c.b, kNumber}, k, q, v, {r, Lp_}, out});
      if (run.r != nullptr)
        for (Index t = 0; t < count; ++t) std::copy_n(r + t * Lp_, V_, run.r + (begin + t) * width() + run.head * V_);
    } else {
      kernels.sweep({count, Kp_, Lp_, state, false, decay(false), a, k, v, q, out, {}, {}, {}, {}});
    }
    if (mlstm()) divide(kernels, run, begin, count, c, o);
    for (Index t = 0; t < count; ++t) std::copy_n(o + t * Lp_, V_, run.o + (begin + t) * width() + run.head * V_);
  }
  if (run.final == nullptr) return;
  take(state, Lp_, K_, L_, run.final);
  if (mlstm()) run.final[K_ * L_] = m;
}

#if REKUR_TRAINING

Index MatrixHeads::backward_work() const { return 2 * Kp_ + Kp_ * Lp_ + kSteps * (6 * Kp_ + 6 * Lp_ + 5 * kNumber); }

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
  float* const state = memory.take(Kp_ * Lp_);
  const Chunk c = chunk(memory);
  float* const d_o = memory.take(kSteps * Lp_);
  float* const dw = memory.take(kSteps * Lp_);
  float* const db = memory.take(kSteps * kNumber);
  std::fill_n(state, Kp_ * Lp_, 0.0f);
  if (b.d_final != nullptr) place_rows(b.d_final, K_, L_, state, Lp_);

  for (Index end = run.steps; end > 0; end = (end - 1) / kSteps * kSteps) {
    const Index begin = (end - 1) / kSteps * kSteps, count = end - begin;
    pack_kept(kernels, run, begin, count, c);
    pack_gradients(kernels, b, begin, count, d_o);
    const Steps a{c.a, c.a_stride}, k{c.k, Kp_}, q{c.q, Kp_}, y{d_o, Lp_};
    float* const dv = b.d_projection + begin * N + v_ + run.head * V_;
    if (!delta()) {
      kernels.sweep({count, Kp_, Lp_, state, true, decay(false), a, q, y, k, {dw, Lp_}, {}, {}, {}, {}});
      for (Index t = 0; t < count; ++t) std::copy_n(dw + t * Lp_, V_, dv + t * N);
      continue;
    }
    kernels.delta({count, K_, Lp_, state, true, decay(false), a, {c.b, kNumber}, k, q, y, {dw, Lp_}, {}});
    const Steps beta{c.b, kNumber};
    kernels.dot_steps(count, V_, {dw, Lp_}, {run.r + begin * width() + run.head * V_, width()}, {db, kNumber});
    kernels.scale_steps(count, V_, beta, {dw, Lp_}, {dv, N});
    kernels.unpack({count,
                    1,
                    MatrixGate::sigmoid,
                    1.0f,
                    {run.projection + begin * N + b_ + run.head, N},
                    {db, kNumber},
                    {b.d_projection + begin * N + b_ + run.head, N}});
  }
  if (b.d_initial != nullptr) take(state, Lp_, K_, L_, b.d_initial);
}

// S onwards, transposed: the columns of q and k get dq of what q was packed to and Ŝ dr.
void MatrixHeads::sweep_queries(const MatrixKernels& kernels, const HeadBackward& b, Memory memory, float* d_decay) const {
  const HeadRun& run = b.run;
  const Index N = columns();
  float* const state = memory.take(Lp_ * Kp_);
  const Chunk c = chunk(memory);
  float* const d_o = memory.take(kSteps * Lp_);
  float* const dr = memory.take(kSteps * Lp_);
  float* const dq = memory.take(kSteps * Kp_);
  float* const at_dr = memory.take(kSteps * Kp_);
  std::fill_n(state, Lp_ * Kp_, 0.0f);
  if (run.initial != nullptr) place_transposed(run.initial, K_, L_, state, Kp_);

  for (Index begin = 0; begin < run.steps; begin += kSteps) {
    const Index count = std::min(kSteps, run.steps - begin);
    float* const to = b.d_projection + begin * N;
    pack_kept(kernels, run, begin, count, c);
    pack_added(kernels, run, begin, count, c);
    pack_gradients(kernels, b, begin, count, d_o);
    simd::MatrixSweep sweep{count,      Lp_,       Kp_, state, false, decay(true), {c.a, c.a_stride}, {c.v, Lp_}, {c.k, Kp_},
                            {d_o, Lp_}, {dq, Kp_}, {},  {},    {},    {}};
    if (delta()) {
      kernels.pack({count, V_, MatrixGate::scale, 1.0f, {to + v_ + run.head * V_, N}, {dr, Lp_}});
      sweep.early = {dr, Lp_};
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
    for (Index v = 0; v < L_; ++v) sum += static_cast<double>(b.d_final[k * L_ + v]) * static_cast<double>(state[v * Kp_ + k]);
    d_decay[k] = static_cast<float>(sum);
  }
}

// G backwards, transposed: the rest of the gradient of k, that of a, and everything before it was packed.
void MatrixHeads::sweep_keys(const MatrixKernels& kernels, const HeadBackward& b, Memory memory, float* d_decay) const {
  const HeadRun& run = b.run;
  const Index N = columns();
  float* const state = memory.take(Lp_ * Kp_);
  const Chunk c = chunk(memory);
  float* const d_o = memory.take(kSteps * Lp_);
  float* const minus_dr = memory.take(kSteps * Lp_);
  float* const dk = memory.take(kSteps * Kp_);
  float* const da = memory.take(kSteps * Kp_);
  std::fill_n(state, Lp_ * Kp_, 0.0f);
  if (b.d_final != nullptr) place_transposed(b.d_final, K_, L_, state, Kp_);
  // What is handed over is scaled by e^-m: its gradient there is what d_decay holds after the last step.
  float dm = 0;
  if (mlstm() && b.d_final != nullptr) dm = b.d_final[K_ * L_] - std::accumulate(d_decay, d_decay + K_, 0.0f);
  const MatrixGate gate = delta() ? MatrixGate::unit : MatrixGate::scale;

  for (Index end = run.steps; end > 0; end = (end - 1) / kSteps * kSteps) {
    const Index begin = (end - 1) / kSteps * kSteps, count = end - begin;
    const float* const from = run.projection + begin * N;
    float* const to = b.d_projection + begin * N;
    pack_kept(kernels, run, begin, count, c);
    pack_added(kernels, run, begin, count, c);
    pack_gradients(kernels, b, begin, count, d_o);
    simd::MatrixSweep sweep{count,      Lp_,       Kp_, state, true, decay(true), {c.a, c.a_stride}, {d_o, Lp_}, {c.q, Kp_},
                            {c.v, Lp_}, {dk, Kp_}, {},  {},    {},   {}};
    if (delta()) {
      kernels.pack({count, V_, MatrixGate::scale, -1.0f, {to + v_ + run.head * V_, N}, {minus_dr, Lp_}});
      sweep.x2 = {minus_dr, Lp_};
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
    if (mlstm()) {
      float di[kSteps];
      kernels.dot_steps(count, K_, {c.k, Kp_}, {dk, Kp_}, {di, 1});
      kernels.scale_steps(count, K_, {c.b, kNumber}, {dk, Kp_}, {dk, Kp_});
      for (Index t = count - 1; t >= 0; --t) {  // dm goes to where m comes from
        if (c.a[t * kNumber] >= c.b[t * kNumber])
          da[t * Kp_] += dm;
        else
          di[t] += std::exchange(dm, 0.0f);
        to[t * N + b_ + run.head] = di[t];
      }
    }
    kernels.unpack({count, K_, gate, query_scale(), {from + q_at, N}, {to + q_at, N}, {to + q_at, N}});
    kernels.unpack({count, K_, gate, key_scale(), {from + k_at, N}, {dk, Kp_}, {to + k_at, N}});
    if (delta()) kernels.unpack({count, V_, MatrixGate::silu, 1.0f, {from + v_at, N}, {to + v_at, N}, {to + v_at, N}});
    if (!decays()) continue;
    const bool each = rule_ == MatrixRule::gated;
    const Index a_at = a_ + run.head * (each ? K_ : 1);
    kernels.unpack({count, each ? K_ : 1, MatrixGate::decay, decay_power_, {from + a_at, N}, {da, Kp_}, {to + a_at, N}});
  }
  if (!mlstm() || b.d_initial == nullptr) return;
  double scaled = 0;
  for (Index i = 0; i < K_ * L_; ++i) scaled += static_cast<double>(run.initial[i]) * static_cast<double>(b.d_initial[i]);
  b.d_initial[K_ * L_] = dm + static_cast<float>(scaled);
}

// As pack_keys, and of mlstm the gates that the forward pass kept.
void MatrixHeads::pack_kept(const MatrixKernels& kernels, const HeadRun& run, Index begin, Index count, const Chunk& to) const {
  pack_keys(kernels, run, begin, count, to);
  if (!mlstm()) return;
  for (Index t = 0; t < count; ++t) {
    const float* const kept = run.gates + ((begin + t) * H_ + run.head) * kMatrixGates;
    to.a[t * kNumber] = kept[0];
    to.b[t * kNumber] = kept[1];
  }
  kernels.scale_steps(count, Kp_, {to.b, kNumber}, {to.k, Kp_}, {to.k, Kp_});
}

// The gradient of Sᵀ q; of mlstm that of the numerator, and behind it that of n · q, where it is not the bound that counts.
void MatrixHeads::pack_gradients(const MatrixKernels& kernels, const HeadBackward& b, Index begin, Index count, float* to) const {
  const HeadRun& run = b.run;
  const Index at = begin * width() + run.head * V_;
  kernels.pack({count, V_, MatrixGate::scale, 1.0f, {b.d_o + at, width()}, {to, Lp_}});
  if (!mlstm()) return;
  float inverse[kSteps], dots[kSteps];
  kernels.dot_steps(count, V_, {to, Lp_}, {run.o + at, width()}, {dots, 1});
  for (Index t = 0; t < count; ++t) {
    const float* const kept = run.gates + ((begin + t) * H_ + run.head) * kMatrixGates;
    inverse[t] = inverse_bound(kept[2], kept[3]);
    const float slope = std::abs(kept[2]) < kept[3] ? 0.0f : kept[2] < 0 ? 1.0f : -1.0f;
    dots[t] *= slope * inverse[t];
  }
  kernels.scale_steps(count, V_, {inverse, 1}, {to, Lp_}, {to, Lp_});
  for (Index t = 0; t < count; ++t) {
    std::fill(to + t * Lp_ + V_, to + (t + 1) * Lp_, 0.0f);
    to[t * Lp_ + V_] = dots[t];
  }
}

// What a step adds at k: v, or β r.
void MatrixHeads::pack_added(const MatrixKernels& kernels, const HeadRun& run, Index begin, Index count, const Chunk& to) const {
  if (!delta()) return pack_values(kernels, run, begin, count, to);
  kernels.pack({count, V_, MatrixGate::scale, 1.0f, {run.r + begin * width() + run.head * V_, width()}, {to.v, Lp_}});
  kernels.scale_steps(count, V_, {to.b, kNumber}, {to.v, Lp_}, {to.v, Lp_});
}

#endif

}  // namespace rekur::layers
