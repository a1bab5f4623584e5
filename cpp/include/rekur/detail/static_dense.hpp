// Dense layers of fixed size, for one width of vector. Part of static_width.hpp, after static_products.hpp: it has no guard.

namespace rekur {
namespace REKUR_SIMD_NAMESPACE {

// As in the engine (simd/pointwise.hpp): e^(y - the largest), summed by sixteens. y goes on to a whole vector.
template <int Out>
REKUR_INLINE void softmax_row(float* y) {
  float largest = y[0];
  for (int u = 1; u < Out; ++u) largest = y[u] > largest ? y[u] : largest;
  RowSum total;
  by_sixteens(Out, [&](Index u, Index count, int j) REKUR_INLINED {
    const Vec e = first_lanes(exp(load(y + u) - set1(largest)), count);
    store(y + u, e);
    total.s[j] += e;
  });
  const float sum = total.total();
  for (int u = 0; u < Out; u += kWidth) store(y + u, load(y + u) / set1(sum));
}

template <class Options, int In, int Out>
class DenseCore {
  static constexpr int kPanels = (Out + kWidth - 1) / kWidth, kPassPanels = pass_panels(kPanels, 1, kStreamedSums);
  static constexpr WeightType kType = kept_in(Options::weights, In, Out);

 public:
  template <class Kernel>
  void set_weights(const Kernel& kernel, const float* bias) noexcept {
    const auto matrix = matrix_of<kType>(kernel, Out);
    for (int u = 0; u < Out; ++u) {
      matrix.put(In, u, 0, u, kernel_, scales_);
      bias_.set(0, 0, u, bias ? bias[u] : 0.0f);
    }
  }

  REKUR_NOINLINE const float* step(const float* x) noexcept {
    constexpr int full = kPanels / kPassPanels, rest = kPanels % kPassPanels;
    const RowOf<In, kType> row(x);
    for (int i = 0; i < full; ++i) run_pass<kPassPanels>(i * kPassPanels, row);
    if constexpr (rest > 0) run_pass<rest>(full * kPassPanels, row);
    if constexpr (Options::softmax) softmax_row<Out>(y_);
    return y_;
  }

  const float* y() const noexcept { return y_; }

 private:
  template <int NP>
  REKUR_INLINE void run_pass(int panel, const RowOf<In, kType>& x) noexcept {
    constexpr Activation f = Options::activation;
    Vec sum[NP];
    pass_sums<In, 1, NP>(x, kernel_, scales_, panel, bias_.pass(panel), sum);
    REKUR_UNROLL
    for (int p = 0; p < NP; ++p) store(y_ + (panel + p) * kWidth, activation<f.kind>(f, sum[p]));
  }

  Panels<In, 1, Out, kPassPanels, kType> kernel_{};
  [[no_unique_address]] Scales<1, Out, kPassPanels, kType> scales_{};
  Panels<1, 1, Out, kPassPanels> bias_{};
  alignas(64) float y_[kPanels * kWidth]{};
};

// Of few outputs (few_outputs.hpp).
template <class Options, int In, int Out>
class DotsCore {
  static constexpr int kStride = (In + 15) / 16 * 16;
  static_assert(Out <= kWidth);

 public:
  template <class T>
  void set_weights(const T* kernel, const float* bias) noexcept {
    for (int u = 0; u < Out; ++u) {
      for (int k = 0; k < In; ++k) kernel_[u][k] = rounded(given<Options::weights>(kernel[k * Out + u]));
      bias_[u] = bias ? bias[u] : 0.0f;
    }
  }

  // Without an activation in its caller: after a small cell the call took longer than the sums. A product that ends an activation
  // stays apart, or compilers would contract it with what the caller adds.
  REKUR_INLINE const float* step(const float* x) noexcept {
    if constexpr (Options::activation.kind == ActivationKind::linear && !Options::softmax)
      return sum(x);
    else
      return step_apart(x);
  }

  const float* y() const noexcept { return y_; }

 private:
  REKUR_INLINE const float* sum(const float* x) noexcept {
    constexpr Activation f = Options::activation;
    Vec sums = zero();
    REKUR_UNROLL
    for (int u = 0; u < Out; ++u) sums[u] = dot_by_sixteens(In, x, kernel_[u], bias_ + u);
    store(y_, activation<f.kind>(f, sums));
    return y_;
  }

  REKUR_NOINLINE const float* step_apart(const float* x) noexcept {
    sum(x);
    if constexpr (Options::softmax) softmax_row<Out>(y_);
    return y_;
  }

  // They are few, and stay floats.
  static float rounded(float x) {
    if constexpr (Options::weights == WeightType::bf16)
      return detail::float_of_bf16(detail::bf16_of(x));
    else if constexpr (Options::weights == WeightType::fp16)
      return detail::float_of_fp16(detail::fp16_of(x));
    else
      return x;
  }

  alignas(64) float kernel_[Out][kStride]{};
  alignas(64) float bias_[kWidth]{};
  alignas(64) float y_[kWidth]{};
};

}  // namespace REKUR_SIMD_NAMESPACE
}  // namespace rekur
