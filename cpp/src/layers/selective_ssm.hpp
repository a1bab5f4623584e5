// What the layer SelectiveSSM (selective_ssm.cpp) and its stream share: sizes, places of its parameters, operands of its kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "isa/dispatch.hpp"
#include "layers/layer.hpp"
#include "layers/stream_op.hpp"
#include "runtime/locks.hpp"

namespace rekur::layers {

inline constexpr Index kChannelGroup = 128;
inline constexpr Index kMostNumbers = Index{1} << 40;  // numbers of a state: more than there is memory anywhere

constexpr Index groups_of(Index channels) { return (channels + kChannelGroup - 1) / kChannelGroup; }

struct SelectiveSettings {
  Index states, taps, expand;
  Index rank;   // of Δ's projection; 0: a sixteenth of the features, rounded up
  Index units;  // of the output; 0: as many as the input has features
  bool use_bias, use_conv_bias, reverse, return_sequences, return_state;
  std::string kernel_initializer, convolution_initializer, bias_initializer, dt_bias_initializer;

  Index rank_of(Index F) const { return rank > 0 ? rank : (F + 15) / 16; }
  Index units_of(Index F) const { return units > 0 ? units : F; }
};

// The sizes of a layer whose input is known.
struct SelectiveSizes {
  Index F, E, N, K, R, U;

  SelectiveSizes() = default;
  SelectiveSizes(const SelectiveSettings& s, Index features)
      : F(features), E(s.expand * features), N(s.states), K(s.taps), R(s.rank_of(features)), U(s.units_of(features)) {}
  Index selection() const { return R + 2 * N; }
  Index state_rows() const { return N + K - 1; }
  Index state() const { return state_rows() * E; }
  Index shares() const { return N + 1 + K + 1; }  // rows of gradients: A_log, D, convolution, its bias
};

// Places of the parameters in the layer's part of the flat buffer; null where there are none.
template <class T>
struct SelectiveWeights {
  T *kernel, *bias, *convolution, *convolution_bias, *selection, *dt_kernel, *dt_bias, *A_log, *D, *output_kernel, *output_bias;

  SelectiveWeights(T* base, const SelectiveSettings& s, const SelectiveSizes& z) {
    const auto next = [&](Index floats, bool there = true) {
      return there ? std::exchange(base, base ? base + floats : nullptr) : nullptr;
    };
    kernel = next(z.F * 2 * z.E);
    bias = next(2 * z.E, s.use_bias);
    convolution = next(z.K * z.E);
    convolution_bias = next(z.E, s.use_conv_bias);
    selection = next(z.E * z.selection());
    dt_kernel = next(z.R * z.E);
    dt_bias = next(z.E);
    A_log = next(z.N * z.E);
    D = next(z.E);
    output_kernel = next(z.E * z.U);
    output_bias = next(z.U, s.use_bias);
  }
};

// In double, since C libraries' exponentials of floats differ in the last bit.
inline float negative_exponential(float a) { return static_cast<float>(-std::exp(static_cast<double>(a))); }

// A = -e^A_log, made again whenever the weights have changed.
class SelectiveDecays {
 public:
  void prepare(const float* A_log, Index count, std::uint64_t version) {
    const runtime::Guard lock(mutex_);
    if (version == version_ && !values_.empty()) return;
    values_.resize(static_cast<std::size_t>(count));
    std::transform(A_log, A_log + count, values_.begin(), negative_exponential);
    version_ = version;
  }
  const float* data() const { return values_.data(); }

 private:
  runtime::Mutex mutex_;
  std::vector<float> values_;
  std::uint64_t version_ = 0;
};

// What the passes of one row's group of channels read and write: rows of `steps` steps, each with its stride.
struct SelectiveNumbers {
  const float* a;
  const float *D, *convolution, *convolution_bias;
  simd::Steps x, z, u, r, selection;  // r: Δ before softplus
};

inline simd::CausalConvolution convolution_of(const SelectiveSizes& s, const SelectiveNumbers& n, Index steps, Index begin,
                                              const float* before, simd::StepsOut u) {
  return {steps,
          std::min(kChannelGroup, s.E - begin),
          s.K,
          s.E,
          n.convolution + begin,
          n.convolution_bias ? n.convolution_bias + begin : nullptr,
          before + begin,
          {n.x.data + begin, n.x.stride},
          {u.data + begin, u.stride}};
}

inline simd::SelectiveScan scan_of(const SelectiveSizes& s, const SelectiveNumbers& n, Index steps, Index begin, float* h,
                                   simd::StepsOut y, float* marks, float* work) {
  return {steps,
          std::min(kChannelGroup, s.E - begin),
          s.N,
          s.E,
          n.a + begin,
          n.D + begin,
          h + begin,
          {n.u.data + begin, n.u.stride},
          {n.r.data + begin, n.r.stride},
          {n.z.data + begin, n.z.stride},
          {n.selection.data + s.R, n.selection.stride},
          {n.selection.data + s.R + s.N, n.selection.stride},
          {y.data + begin, y.stride},
          marks ? marks + begin : nullptr,
          work};
}

// The layer one step at a time.
std::unique_ptr<const StreamOp> make_selective_op(const SelectiveSettings& settings, const SelectiveSizes& sizes,
                                                  const SelectiveWeights<const float>& weights);

}  // namespace rekur::layers
