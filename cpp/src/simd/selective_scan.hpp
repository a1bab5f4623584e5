// The selective scan and the convolution before it. Included by the ISA units only.
//
// A vector of channels goes through all steps of a call with its states side by side in the first-level cache: what a state costs
// at a step is its exponential. The backward pass computes the states of a chunk of steps again from the one before it.
#pragma once

#include "simd/matrix_memory.hpp"
#include "simd/selective_kernels.hpp"

namespace rekur {
namespace {

// `count` lanes of each of n rows, side by side, the other lanes zero; and back.
REKUR_INLINE void gather_lanes(const float* from, Index stride, Index n, Index count, float* to) {
  for (Index i = 0; i < n; ++i) store(to + i * kWidth, load_partial(from + i * stride, count));
}
REKUR_INLINE void scatter_lanes(const float* from, Index n, Index count, float* to, Index stride) {
  for (Index i = 0; i < n; ++i) store_partial(to + i * stride, load(from + i * kWidth), count);
}

REKUR_INLINE const float* step_of(simd::Steps s, Index t) { return s.data + t * s.stride; }
REKUR_INLINE float* step_of(simd::StepsOut s, Index t) { return s.data + t * s.stride; }

inline void selective_scan(const simd::SelectiveScan& s) {
  float *const a = s.work, *const h = a + s.states * kWidth;
  for (Index lane = 0; lane < s.channels; lane += kWidth) {
    const Index count = lanes(lane, s.channels);
    gather_lanes(s.a + lane, s.stride, s.states, count, a);
    gather_lanes(s.h + lane, s.stride, s.states, count, h);
    const Vec skip = load_partial(s.skip + lane, count);
    for (Index t = 0; t < s.count; ++t) {
      if (s.marks != nullptr && t % simd::kScanChunk == 0)
        scatter_lanes(h, s.states, count, s.marks + t / simd::kScanChunk * s.states * s.stride + lane, s.stride);
      const Vec x = load_partial(step_of(s.x, t) + lane, count);
      const Vec d = softplus(load_partial(step_of(s.dt, t) + lane, count)), dx = d * x;
      const float *const b = step_of(s.b, t), *const c = step_of(s.c, t);
      Vec y = zero();
      for (Index n = 0; n < s.states; ++n) {
        const Vec now = fma(exp(d * load(a + n * kWidth)), load(h + n * kWidth), dx * set1(b[n]));
        store(h + n * kWidth, now);
        y = fma(set1(c[n]), now, y);
      }
      y = fma(skip, x, y) * silu(load_partial(step_of(s.z, t) + lane, count));
      store_partial(step_of(s.y, t) + lane, y, count);
    }
    scatter_lanes(h, s.states, count, s.h + lane, s.stride);
  }
}

inline const float* convolution_row(const simd::CausalConvolution& s, Index t) {
  return t < 0 ? s.before + (t + s.taps - 1) * s.stride : step_of(s.x, t);
}

// v of step t.
REKUR_INLINE Vec convolution_sum(const simd::CausalConvolution& s, Index t, Index lane, Index count) {
  Vec v = s.bias ? load_partial(s.bias + lane, count) : zero();
  for (Index j = 0; j < s.taps; ++j)
    v = fma(load_partial(s.w + j * s.stride + lane, count), load_partial(convolution_row(s, t - (s.taps - 1) + j) + lane, count),
            v);
  return v;
}

inline void convolve(const simd::CausalConvolution& s) {
  for (Index t = 0; t < s.count; ++t)
    for (Index lane = 0; lane < s.channels; lane += kWidth) {
      const Index count = lanes(lane, s.channels);
      store_partial(step_of(s.y, t) + lane, silu(convolution_sum(s, t, lane, count)), count);
    }
}

#if REKUR_TRAINING

// Sums of the lanes of `rows` vectors.
inline void lane_sums(const float* from, Index rows, float* work, float* to) {
  for (Index r = 0; r < rows; r += kWidth) {
    const Index count = lanes(r, rows);
    transpose(count, kWidth, from + r * kWidth, kWidth, work, kWidth);
    Vec sum = zero();
    for (int i = 0; i < kWidth; ++i) sum += load(work + i * kWidth);
    store_partial(to + r, sum, count);
  }
}

inline void selective_backward(const simd::SelectiveBackward& s) {
  constexpr Index kChunk = simd::kScanChunk;
  const Index N = s.states, block = N * kWidth;
  float* at = s.work;
  const auto take = [&](Index floats) { return at += floats, at - floats; };
  float *const a = take(block), *const g = take(block), *const d_a = take(block);
  float *const h = take((kChunk + 1) * block), *const decays = take(kChunk * block);  // h before each step and after the last
  float *const sums = take(kChunk * 2 * block), *const d_bc = take(kChunk * 2 * N);   // of d_b, d_c by lanes, and all in all
  float *const y = take(kChunk * kWidth), *const d = take(kChunk * kWidth);
  float* const square = take(kWidth * kWidth);
  for (Index n = 0; n < N + 1; ++n)
    for (Index i = 0; i < s.channels; ++i) s.shares[n * s.stride + i] = 0.0f;

  for (Index end = s.count; end > 0; end = (end - 1) / kChunk * kChunk) {
    const Index begin = (end - 1) / kChunk * kChunk, count = end - begin;
    for (Index i = 0; i < count * 2 * block; i += kWidth) store(sums + i, zero());
    for (Index lane = 0; lane < s.channels; lane += kWidth) {
      const Index in = lanes(lane, s.channels);
      gather_lanes(s.a + lane, s.stride, N, in, a);
      gather_lanes(s.d_h + lane, s.stride, N, in, g);
      gather_lanes(s.shares + lane, s.stride, N, in, d_a);
      gather_lanes(s.marks + begin / kChunk * N * s.stride + lane, s.stride, N, in, h);
      const Vec skip = load_partial(s.skip + lane, in);
      Vec d_skip = load_partial(s.shares + N * s.stride + lane, in);

      for (Index i = 0; i < count; ++i) {
        const Vec x = load_partial(step_of(s.x, begin + i) + lane, in);
        const Vec rate = softplus(load_partial(step_of(s.dt, begin + i) + lane, in)), dx = rate * x;
        const float *const b = step_of(s.b, begin + i), *const c = step_of(s.c, begin + i);
        const float* const before = h + i * block;
        float *const after = h + (i + 1) * block, *const decay = decays + i * block;
        Vec out = zero();
        for (Index n = 0; n < N; ++n) {
          const Vec by = exp(rate * load(a + n * kWidth)), now = fma(by, load(before + n * kWidth), dx * set1(b[n]));
          store(decay + n * kWidth, by);
          store(after + n * kWidth, now);
          out = fma(set1(c[n]), now, out);
        }
        store(y + i * kWidth, fma(skip, x, out));
        store(d + i * kWidth, rate);
      }

      for (Index i = count - 1; i >= 0; --i) {
        const Index t = begin + i;
        const Vec x = load_partial(step_of(s.x, t) + lane, in), z = load_partial(step_of(s.z, t) + lane, in);
        const Vec arrives = load_partial(step_of(s.d_y, t) + lane, in), rate = load(d + i * kWidth), dx = rate * x;
        const Vec gradient = arrives * silu(z);
        store_partial(step_of(s.d_z, t) + lane, arrives * load(y + i * kWidth) * silu_slope(z), in);
        const float *const b = step_of(s.b, t), *const c = step_of(s.c, t);
        const float *const before = h + i * block, *const after = before + block, *const decay = decays + i * block;
        float *const d_b = sums + i * 2 * block, *const d_c = d_b + block;
        Vec d_dx = zero(), d_rate = zero();
        for (Index n = 0; n < N; ++n) {
          const Index v = n * kWidth;
          const Vec now = fma(set1(c[n]), gradient, load(g + v));
          store(d_c + v, fma(gradient, load(after + v), load(d_c + v)));
          store(d_b + v, fma(dx, now, load(d_b + v)));
          d_dx = fma(set1(b[n]), now, d_dx);
          const Vec back = load(decay + v) * now, d_log = back * load(before + v);
          d_rate = fma(d_log, load(a + v), d_rate);
          store(d_a + v, fma(d_log, rate, load(d_a + v)));
          store(g + v, back);
        }
        store_partial(step_of(s.d_x, t) + lane, fma(skip, gradient, d_dx * rate), in);
        const Vec slope = sigmoid(load_partial(step_of(s.dt, t) + lane, in));
        store_partial(step_of(s.d_dt, t) + lane, fma(d_dx, x, d_rate) * slope, in);
        d_skip = fma(gradient, x, d_skip);
      }
      scatter_lanes(g, N, in, s.d_h + lane, s.stride);
      scatter_lanes(d_a, N, in, s.shares + lane, s.stride);
      store_partial(s.shares + N * s.stride + lane, d_skip, in);
    }
    lane_sums(sums, count * 2 * N, square, d_bc);
    for (Index i = 0; i < count; ++i)
      for (Index n = 0; n < 2 * N; ++n) step_of(s.d_bc, begin + i)[n] = d_bc[i * 2 * N + n];
  }
  for (Index n = 0; n < N; ++n)  // of a that of ln(-a)
    multiply(s.shares + n * s.stride, s.a + n * s.stride, s.shares + n * s.stride, s.channels);
}

inline void convolve_backward(const simd::ConvolutionBackward& s) {
  const simd::CausalConvolution& run = s.run;
  const Index before = run.taps - 1;
  for (Index lane = 0; lane < run.channels; lane += kWidth) {
    const Index in = lanes(lane, run.channels);
    for (Index j = 0; j <= run.taps; ++j) store_partial(s.shares + j * run.stride + lane, zero(), in);
    for (Index t = 0; t < run.count; ++t) {
      const Vec v = convolution_sum(run, t, lane, in);
      float* const d_y = step_of(s.d_y, t) + lane;
      const Vec d = load_partial(d_y, in) * silu_slope(v);
      store_partial(d_y, d, in);
      for (Index j = 0; j <= run.taps; ++j) {  // the bias's stands behind the taps'
        float* const share = s.shares + j * run.stride + lane;
        const Vec x = j < run.taps ? load_partial(convolution_row(run, t - before + j) + lane, in) : set1(1.0f);
        store_partial(share, fma(d, x, load_partial(share, in)), in);
      }
    }
    for (Index t = -before; t < run.count; ++t) {
      float* const to = t >= 0 ? step_of(s.d_x, t) : s.d_before ? s.d_before + (t + before) * run.stride : nullptr;
      if (to == nullptr) continue;
      const Index after = t - (run.count - before);
      Vec sum = after >= 0 && s.d_after ? load_partial(s.d_after + after * run.stride + lane, in) : zero();
      for (Index j = 0; j < run.taps; ++j) {
        const Index read = t + before - j;
        if (read < 0 || read >= run.count) continue;
        sum = fma(load_partial(run.w + j * run.stride + lane, in), load_partial(step_of(s.d_y, read) + lane, in), sum);
      }
      store_partial(to + lane, sum, in);
    }
  }
}

#endif

constexpr simd::SelectiveKernels make_selective_kernels() {
  return {
      .scan = selective_scan,
      .convolve = convolve,
#if REKUR_TRAINING
      .scan_backward = selective_backward,
      .convolve_backward = convolve_backward,
#endif
  };
}

}  // namespace
}  // namespace rekur
