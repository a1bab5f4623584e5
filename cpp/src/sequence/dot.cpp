// Dot: of each row, products of two arrays summed along an axis of each: (T, F) and (S, F) over F give (T, S), (T, S) and (S, F)
// over S give (T, F), (F) and (F) give (1).
//   out[m][n] = Σ_k A[m][k] B[k][n]     dA = dout Bᵀ     dB = Aᵀ dout
// A time axis that is summed along ends at a row's length; where a mask says which steps there are, it ends here, as in Keras.
#include <algorithm>

#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"
#include "runtime/lines.hpp"
#include "simd/pack.hpp"

namespace rekur::layers {
namespace {

// Element (i, j) stands at data[i * rows + j * columns].
template <class T>
struct Matrix {
  T* data;
  Index rows, columns;
  Matrix turned() const { return {data, columns, rows}; }
};

// What one product needs: B packed, A where its rows are not contiguous, a row's address at a time.
Index room(Index M, Index N, Index K) {
  const Index wide = std::max(M, N);  // either may be packed
  return aligned(simd::packed_size(isa::kernels(), K, wide)) + aligned(wide * K);
}

// out (+)= a b; one of out's strides is 1. Sums ascend in k.
void product(Index M, Index N, Index K, Matrix<const float> a, Matrix<const float> b, Matrix<float> out, bool add, float* memory) {
  if (M == 0 || N == 0) return;
  if (out.columns != 1) return product(N, M, K, b.turned(), a.turned(), out.turned(), add, memory);
  const auto& k = isa::kernels();
  if (K == 0) {
    for (Index m = 0; m < M && !add; ++m) std::fill_n(out.data + m * out.rows, N, 0.0f);
    return;
  }
  simd::pack(k, K, N, b.data, b.rows, b.columns, memory);
  if (a.columns != 1) {
    float* const copy = memory + aligned(simd::packed_size(k, K, N));
    for (Index m = 0; m < M; ++m)
      for (Index i = 0; i < K; ++i) copy[m * K + i] = a.data[m * a.rows + i * a.columns];
    a = {copy, K, 1};
  }
  for (Index m = 0; m < M; ++m) {
    const float* from = a.data + m * a.rows;
    float* to = out.data + m * out.rows;
    k.gemm(1, N, K, &from, memory, nullptr, &to, 0, add);
  }
}

class Dot final : public Layer {
 public:
  Dot(const std::string& type, const std::string& name, Index first, Index second) : Layer(type, name), axes_{first, second} {}

  bool joins_time() const override { return false; }
  bool crosses_resets() const override { return !flat_; }

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 2, 2);
    for (std::size_t i = 0; i < 2; ++i) {
      expect_features(inputs[i]);
      const Index rank = static_cast<Index>(inputs[i].shape.size());
      if (rank > 3) fail("expected inputs of shape (B, F) or (B, T, F), got %", {inputs[i].shape});
      if (axes_[i] < 1 || axes_[i] >= rank) fail("axes: axis % is none of an input of shape %", {axes_[i], inputs[i].shape});
    }
    const Index K = size(inputs[0], 0), L = size(inputs[1], 1);
    if (K != L && K != kUnknown && L != kUnknown)
      fail("expected axes of one length to sum along, got % of shape % and % of shape %",
           {axes_[0], inputs[0].shape, axes_[1], inputs[1].shape});
    TensorSpec output;
    output.shape = {inputs[0].shape[0]};
    for (std::size_t i = 0; i < 2; ++i) {
      if (inputs[i].shape.size() < 3) continue;
      const std::size_t other = axes_[i] == 1 ? 2 : 1;
      if (output.shape.size() == 1) {
        output.time_source = other == 1 ? inputs[i].time_source : -1;
        output.change = {.changed = true, .own = other != 1};
      }
      output.shape.push_back(inputs[i].shape[other]);
    }
    if (output.shape.size() == 1) output.shape.push_back(1);
    if (output.shape.size() == 2) output.change = {};
    return one(std::move(output));
  }

  void build(std::span<const TensorSpec> inputs) override { flat_ = inputs[0].shape.size() == 2 && inputs[1].shape.size() == 2; }

  Index tape_size(std::span<const TensorSpec> inputs, bool) const override {
    const Sizes s = sizes(inputs);
    return inputs[0].shape[0] * room(s.M, s.N, s.K);
  }

  void forward(const Context& run) const override {
    const Sizes s = sizes(run.input_specs);
    over_rows(run.batch(), s.M * s.N, 2.0 * static_cast<double>(s.K), [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row)
        product(s.M, s.N, summed(run, row, s.K), first(run, s, row, run.input(0)), second(run, s, row, run.input(1)),
                {run.outputs[0] + row * s.M * s.N, s.N, 1}, false, run.tape + row * room(s.M, s.N, s.K));
    });
  }

#if REKUR_TRAINING
  Index backward_scratch(std::span<const TensorSpec> inputs) const override {
    const Sizes s = sizes(inputs);
    return inputs[0].shape[0] * std::max(room(s.M, s.K, s.N), room(s.K, s.N, s.M));
  }

  void backward(const Context& run) const override {
    if (run.d_outputs[0] == nullptr) return;
    const Sizes s = sizes(run.input_specs);
    const Index each = std::max(room(s.M, s.K, s.N), room(s.K, s.N, s.M));
    over_rows(run.batch(), s.M * s.N, 4.0 * static_cast<double>(s.K), [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row) {
        const Index K = summed(run, row, s.K);
        const Matrix<const float> d{run.d_outputs[0] + row * s.M * s.N, s.N, 1};
        float* const memory = run.scratch + row * each;
        if (run.d_inputs[0] != nullptr)
          product(s.M, K, s.N, d, second(run, s, row, run.input(1)).turned(), first(run, s, row, run.d_inputs[0]), true, memory);
        if (run.d_inputs[1] != nullptr)
          product(K, s.N, s.M, first(run, s, row, run.input(0)).turned(), d, second(run, s, row, run.d_inputs[1]), true, memory);
      }
    });
  }
#endif

  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    if (!flat_) cannot_stream("its products are of all time steps of a sequence");
    return std::make_unique<Op>(features_of(build.inputs[0].shape));
  }

 private:
  class Op final : public StreamOp {
   public:
    explicit Op(Index features) : features_(features), kernels_(isa::kernels()) {}
    bool rowwise() const override { return true; }
    Index memory(Index) const override { return simd::packed_size(kernels_, features_, 1); }
    void step(const StreamCall& c, int) const noexcept override {
      for (Index row = 0; row < c.batch; ++row) {
        simd::pack(kernels_, features_, 1, c.input(1) + row * features_, 1, 1, c.memory);
        const float* from = c.input(0) + row * features_;
        float* to = c.output() + row;
        kernels_.gemm(1, 1, features_, &from, c.memory, nullptr, &to, 0, false);
      }
    }

   private:
    Index features_;
    const simd::Kernels& kernels_;
  };

  struct Sizes {
    Index M, N, K;
  };

  Index size(const TensorSpec& input, std::size_t i) const { return input.shape[static_cast<std::size_t>(axes_[i])]; }
  static Index other(const TensorSpec& input, Index axis) { return input.shape.size() < 3 ? 1 : input.shape[axis == 1 ? 2 : 1]; }
  Sizes sizes(std::span<const TensorSpec> inputs) const {
    return {other(inputs[0], axes_[0]), other(inputs[1], axes_[1]), size(inputs[0], 0)};
  }

  // How much of the axis that is summed along a row has.
  Index summed(const Context& run, Index row, Index K) const {
    for (std::size_t i = 0; i < 2; ++i) {
      if (axes_[i] != 1 || run.input_specs[i].shape.size() < 3) continue;
      const RowSteps steps = run.steps(i);
      if (steps.lengths != nullptr && !steps.mask) K = std::min(K, static_cast<Index>(steps.lengths[row]));
    }
    return K;
  }

  // Row `row` of the inputs, or of their gradients, as A[m][k] and B[k][n].
  template <class T>
  Matrix<T> first(const Context& run, const Sizes& s, Index row, T* data) const {
    T* const at = data + row * s.M * s.K;
    const bool along_time = axes_[0] == 1 && run.input_specs[0].shape.size() == 3;
    return along_time ? Matrix<T>{at, 1, s.M} : Matrix<T>{at, s.K, 1};
  }
  template <class T>
  Matrix<T> second(const Context& run, const Sizes& s, Index row, T* data) const {
    T* const at = data + row * s.N * s.K;
    const bool along_time = axes_[1] == 1 && run.input_specs[1].shape.size() == 3;
    return along_time ? Matrix<T>{at, s.N, 1} : Matrix<T>{at, 1, s.K};
  }

  Index axes_[2];
  bool flat_ = false;
};

}  // namespace

std::unique_ptr<Layer> make_dot(json::Reader& spec, const std::string& type, const std::string& name) {
  const json::Array& axes = spec.array("axes");
  const auto axis = [&](std::size_t i) {
    const double value = axes.size() == 2 && axes[i].is_number() ? axes[i].number() : 0;
    if (value != 1 && value != 2) spec.refuse("axes", "two axes, each 1 or 2");
    return static_cast<Index>(value);
  };
  const Index first = axis(0), second = axis(1);
  return std::make_unique<Dot>(type, name, first, second);
}

}  // namespace rekur::layers
