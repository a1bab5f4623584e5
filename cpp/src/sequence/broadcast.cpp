// Broadcast: the first input, repeated along axes of size 1 so that it has the shape that all inputs have together. Axes that an
// input lacks stand behind the batch: (B, F) beside (B, T, F) is (B, 1, F).
#include <array>

#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"

namespace rekur::layers {
namespace {

// The shape with 1 for the axes that it lacks.
Shape of_rank(const Shape& shape, std::size_t rank) {
  Shape found = shape;
  found.insert(found.begin() + 1, rank - shape.size(), 1);
  return found;
}

// Lines, the last axes, of an array of such axes: where that of the input is of which a line of the output is a copy.
class Lines {
 public:
  Lines(const Shape& x, const Shape& y) : axes_(y.size() - 1) {
    const Shape from = of_rank(x, y.size());
    Index step = 1;
    for (std::size_t d = axes_; d-- > 0;) {
      sizes_[d] = y[d];
      steps_[d] = from[d] == 1 && y[d] != 1 ? 0 : step;
      step *= from[d];
    }
    wide_ = from.back(), width_ = y.back();
    for (std::size_t d = 0; d < axes_; ++d) count_ *= y[d], repeats_ *= steps_[d] == 0 ? y[d] : 1;
  }

  Index count() const { return count_; }                               // of the output
  Index own() const { return count_ / std::max<Index>(repeats_, 1); }  // of the input
  Index repeats() const { return repeats_; }                           // lines of the output for each of the input
  Index width() const { return width_; }
  Index wide() const { return wide_; }  // width of the input's lines: the output's, or 1

  Index source(Index line) const {
    Index at = 0;
    for (std::size_t d = axes_; d-- > 0; line /= sizes_[d]) at += line % sizes_[d] * steps_[d];
    return at;
  }

  // The line of the output that is repeat `r` of line `own` of the input.
  Index target(Index own, Index r) const {
    Index at = 0, step = 1;
    for (std::size_t d = axes_; d-- > 0; step *= sizes_[d]) {
      Index& left = steps_[d] == 0 ? r : own;
      at += left % sizes_[d] * step;
      left /= sizes_[d];
    }
    return at;
  }

 private:
  std::size_t axes_;
  std::array<Index, kMostAxes> sizes_{}, steps_{};
  Index count_ = 1, repeats_ = 1, width_ = 1, wide_ = 1;
};

class Broadcast final : public Layer {
 public:
  Broadcast(const std::string& type, const std::string& name) : Layer(type, name) {}

  bool joins_time() const override { return false; }

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 2, static_cast<std::size_t>(-1));
    std::size_t rank = 0;
    for (const TensorSpec& input : inputs) {
      expect_features(input);
      rank = std::max(rank, input.shape.size());
    }
    TensorSpec output{of_rank(inputs[0].shape, rank), DType::float32, -1};
    Shape& y = output.shape;
    for (const TensorSpec& input : inputs) {
      const Shape like = of_rank(input.shape, rank);
      for (std::size_t d = 0; d < rank; ++d) {
        if (d > 0 && y[d] == 1)
          y[d] = like[d];
        else if (y[d] == kUnknown && (d == 0 || like[d] != 1))
          y[d] = like[d];
        else if (like[d] != y[d] && like[d] != kUnknown && (d == 0 || like[d] != 1))
          fail("expected inputs whose axes are of one size or 1, got % and %", {inputs[0].shape, input.shape});
      }
    }
    if (!open_.empty())  // an axis whose size nobody knew is not repeated: its steps are those of the input
      for (std::size_t d = 1; d < rank; ++d)
        if (open_[d] == kUnknown && of_rank(inputs[0].shape, rank)[d] != y[d])
          fail("expected inputs of one size along axis %, which was left open, got % for %", {d, inputs[0].shape, y});
    for (const bool single : {false, true})
      for (const TensorSpec& input : inputs)
        if (output.time_source < 0 && input.has_time() && (single || input.shape[1] != 1)) output.time_source = input.time_source;
    return one(std::move(output));
  }

  void build(std::span<const TensorSpec> inputs) override { open_ = of_rank(inputs[0].shape, infer(inputs)[0].shape.size()); }

  void forward(const Context& run) const override {
    const Lines lines(run.input_specs[0].shape, run.output_specs[0].shape);
    const Index n = lines.width();
    const float* const x = run.input(0);
    over_rows(lines.count(), n, 1, [&](Index begin, Index end) {
      for (Index line = begin; line < end; ++line) {
        const float* const from = x + lines.source(line) * lines.wide();
        float* const to = run.outputs[0] + line * n;
        if (lines.wide() == n)
          std::copy_n(from, n, to);
        else
          std::fill_n(to, n, *from);
      }
    });
  }

#if REKUR_TRAINING
  // Each line of the input gathers its own, in order, so that the sums are the same for any number of threads.
  void backward(const Context& run) const override {
    if (run.d_outputs[0] == nullptr || run.d_inputs[0] == nullptr) return;
    const Lines lines(run.input_specs[0].shape, run.output_specs[0].shape);
    const Index n = lines.width(), wide = lines.wide();
    const auto& k = isa::kernels();
    over_rows(lines.own(), lines.repeats() * n, 1, [&](Index begin, Index end) {
      for (Index line = begin; line < end; ++line) {
        float* const to = run.d_inputs[0] + line * wide;
        double sum = 0;
        for (Index r = 0; r < lines.repeats(); ++r) {
          const float* const from = run.d_outputs[0] + lines.target(line, r) * n;
          if (wide == n)
            k.add(to, from, to, n);
          else
            for (Index i = 0; i < n; ++i) sum += from[i];
        }
        if (wide != n) *to += static_cast<float>(sum);
      }
    });
  }
#endif

  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    if (build.inputs[0].time_source != build.outputs[0].time_source && !build.constant)
      cannot_stream("it repeats at every step what is not a sequence of these steps");
    const Index wide = features_of(build.inputs[0].shape), n = features_of(build.outputs[0].shape);
    return make_stream_op([wide, n](const StreamCall& c) {
      for (Index row = 0; row < c.batch; ++row) {
        const float* const from = c.input(0) + row * wide;
        if (wide == n)
          std::copy_n(from, n, c.output() + row * n);
        else
          std::fill_n(c.output() + row * n, n, *from);
      }
    });
  }

 private:
  Shape open_;  // of the input, as the model was made
};

}  // namespace

std::unique_ptr<Layer> make_broadcast(json::Reader&, const std::string& type, const std::string& name) {
  return std::make_unique<Broadcast>(type, name);
}

}  // namespace rekur::layers
