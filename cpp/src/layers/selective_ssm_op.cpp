// SelectiveSSM in a stream.
#include <algorithm>

#include "isa/dispatch.hpp"
#include "layers/packed.hpp"
#include "layers/selective_ssm.hpp"
#include "runtime/lines.hpp"

namespace rekur::layers {
namespace {

// In memory: the states, then what a step computes on the way, then the addresses of rows.
class SelectiveSsmOp final : public StreamOp {
 public:
  SelectiveSsmOp(const SelectiveSettings& s, const SelectiveSizes& sizes, const SelectiveWeights<const float>& w)
      : z_(sizes), return_state_(s.return_state), table_(isa::table()) {
    kernel_.prepare(w.kernel, z_.F, 2 * z_.E, 2 * z_.E, 1, 1);
    selection_.prepare(w.selection, z_.E, z_.selection(), z_.selection(), 1, 1);
    dt_kernel_.prepare(w.dt_kernel, z_.R, z_.E, z_.E, 1, 1);
    output_kernel_.prepare(w.output_kernel, z_.E, z_.U, z_.U, 1, 1);
    decays_.prepare(w.A_log, z_.N * z_.E, 1);
    const auto copy = [](const float* from, Index n) { return from ? std::vector<float>(from, from + n) : std::vector<float>(); };
    bias_ = copy(w.bias, 2 * z_.E);
    convolution_ = copy(w.convolution, z_.K * z_.E);
    convolution_bias_ = copy(w.convolution_bias, z_.E);
    dt_bias_ = copy(w.dt_bias, z_.E);
    D_ = copy(w.D, z_.E);
    output_bias_ = copy(w.output_bias, z_.U);
  }

  Index memory(Index batch) const override {
    return element_count({batch, aligned(z_.state()) + 5 * aligned(z_.E) + aligned(z_.selection()) + 2 * kAddress}) +
           simd::scan_work(z_.N);
  }

  std::vector<StreamState> states(Index) const override { return {{"s", z_.state(), aligned(z_.state()), {0, 0}}}; }

  void step(const StreamCall& c, int) const noexcept override {
    float* at = c.memory;
    const auto take = [&](Index floats) { return std::exchange(at, at + c.batch * floats); };
    const Index state_stride = aligned(z_.state()), wide = aligned(2 * z_.E), narrow = aligned(z_.E),
                selected = aligned(z_.selection());
    float* const state = take(state_stride);
    float* const p = take(wide);
    float* const u = take(narrow);
    float* const r = take(narrow);
    float* const y = take(narrow);
    float* const selection = take(selected);
    const float** const from = reinterpret_cast<const float**>(take(kAddress));
    float** const to = reinterpret_cast<float**>(take(kAddress));
    float* const work = at;
    const auto product = [&](Index N, Index K, const float* a, Index a_stride, const PackedMatrix& b,
                             const std::vector<float>& bias, float* out, Index out_stride) {
      for (Index row = 0; row < c.batch; ++row) {
        from[row] = a + row * a_stride;
        to[row] = out + row * out_stride;
      }
      table_.simd.gemm(c.batch, N, K, from, b.data(), optional(bias), to, 0, false);
    };

    product(2 * z_.E, z_.F, c.input(), z_.F, kernel_, bias_, p, wide);
    for (Index row = 0; row < c.batch; ++row) {
      float* const before = state + row * state_stride + z_.N * z_.E;
      for (Index begin = 0; begin < z_.E; begin += kChannelGroup)
        table_.selective.convolve(
            convolution_of(z_, numbers(p + row * wide, u, r, selection), 1, begin, before, {u + row * narrow, narrow}));
      if (z_.K == 1) continue;
      std::copy(before + z_.E, before + (z_.K - 1) * z_.E, before);
      std::copy_n(p + row * wide, z_.E, before + (z_.K - 2) * z_.E);
    }
    product(z_.selection(), z_.E, u, narrow, selection_, {}, selection, selected);
    product(z_.E, z_.R, selection, selected, dt_kernel_, dt_bias_, r, narrow);
    for (Index row = 0; row < c.batch; ++row) {
      float* const h = state + row * state_stride;
      const SelectiveNumbers n = numbers(p + row * wide, u + row * narrow, r + row * narrow, selection + row * selected);
      for (Index begin = 0; begin < z_.E; begin += kChannelGroup)
        table_.selective.scan(scan_of(z_, n, 1, begin, h, {y + row * narrow, narrow}, nullptr, work));
      if (return_state_) std::copy_n(h, z_.state(), c.output(1) + row * z_.state());
    }
    product(z_.U, z_.E, y, narrow, output_kernel_, output_bias_, c.output(), z_.U);
  }

 private:
  static constexpr Index kAddress = sizeof(void*) / sizeof(float);

  static const float* optional(const std::vector<float>& v) { return v.empty() ? nullptr : v.data(); }

  SelectiveNumbers numbers(const float* p, const float* u, const float* r, const float* selection) const {
    return {decays_.data(), D_.data(), convolution_.data(), optional(convolution_bias_), {p, 0}, {p + z_.E, 0},
            {u, 0},         {r, 0},    {selection, 0}};
  }

  SelectiveSizes z_;
  bool return_state_;
  const isa::Table& table_;
  PackedMatrix kernel_, selection_, dt_kernel_, output_kernel_;
  SelectiveDecays decays_;
  std::vector<float> bias_, convolution_, convolution_bias_, dt_bias_, D_, output_bias_;
};

}  // namespace

std::unique_ptr<const StreamOp> make_selective_op(const SelectiveSettings& settings, const SelectiveSizes& sizes,
                                                  const SelectiveWeights<const float>& weights) {
  return std::make_unique<SelectiveSsmOp>(settings, sizes, weights);
}

}  // namespace rekur::layers
