// Pooling over time: the largest or the mean of windows of steps, or of all steps, channel by channel.
//   MaxPooling1D, AveragePooling1D   x [B, T, F]   y [B, T', F]   windows of pool_size steps, `strides` apart
//   GlobalMaxPooling1D, GlobalAveragePooling1D     y [B, F], with keepdims [B, 1, F]
// Steps past a row's length, and those before the first and after the last, are not there: a mean is that of the steps that are,
// and a window without any gives zeros. A mask counts for GlobalAveragePooling1D alone, as in Keras.
#include <algorithm>

#include "io/suggest.hpp"
#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"
#include "runtime/scratch.hpp"
#include "sequence/convolution.hpp"

namespace rekur::layers {
namespace {

struct PoolingSettings {
  bool largest = false, global = false, keepdims = false;
  ConvolutionAxis axis = {};
};

class Pooling final : public Layer {
 public:
  Pooling(const std::string& type, const std::string& name, PoolingSettings settings) : Layer(type, name), s_(settings) {}

  bool crosses_resets() const override { return true; }

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 1, 1);
    expect_features(inputs[0]);
    const Shape& x = inputs[0].shape;
    if (x.size() != 3) fail("expected a sequence of shape (B, T, F), got %", {x});
    TensorSpec output = inputs[0];
    if (s_.global) {
      output = {{x[0], x[2]}};
      if (s_.keepdims) output = {{x[0], 1, x[2]}, DType::float32, -1, {.own = true}};
      return one(std::move(output));
    }
    change_time(output, {.changed = true, .span = s_.axis.same ? 1 : s_.axis.span(), .stride = s_.axis.stride});
    return one(std::move(output));
  }

  void forward(const Context& run) const override {
    const Index F = features_of(run.input_specs[0].shape);
    const auto& k = isa::table().windows;
    over_windows(run, run.input(), nullptr, [&](Index out, Index count, const float* const* x, float* const*) {
      float* const y = run.outputs[0] + out * F;
      if (count == 0)
        std::fill_n(y, F, 0.0f);
      else if (s_.largest)
        k.largest(count, F, x, y);
      else
        k.scaled_sum(count, F, x, 1.0f / static_cast<float>(count), y);
    });
  }

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    const float* const dy = run.d_outputs[0];
    if (dy == nullptr || run.d_inputs[0] == nullptr) return;
    const Index F = features_of(run.input_specs[0].shape);
    const auto& k = isa::table();
    over_windows(run, run.input(), run.d_inputs[0], [&](Index out, Index count, const float* const* x, float* const* dx) {
      if (s_.largest) {
        k.windows.largest_backward(count, F, x, run.outputs[0] + out * F, dy + out * F, dx);
        return;
      }
      for (Index i = 0; i < count; ++i) k.simd.axpy(1.0f / static_cast<float>(count), dy + out * F, dx[i], F);
    });
  }
#endif

  std::unique_ptr<const StreamOp> stream(const StreamBuild&) const override {
    if (s_.global) cannot_stream("it is of all steps");
    cannot_stream("it has % steps of its input for one of its output", {s_.axis.taps});
  }

 private:
  // task(output row, steps, their rows of x, the same of dx): windows of one row of the batch one after the other.
  template <class Task>
  void over_windows(const Context& run, const float* x, float* dx, const Task& task) const {
    const Shape& shape = run.input_specs[0].shape;
    const Index B = shape[0], T = shape[1], F = shape[2], outputs = s_.global ? 1 : run.output_specs[0].shape[1];
    const Index most = s_.global ? T : std::min(s_.axis.taps, T);
    const RowSteps steps = run.steps();
    const bool by_mask = s_.global && !s_.largest;
    const ConvolutionSide side{T, steps, true};
    ScratchUse scratch;
    const float** const from = scratch->take<const float*>(B * most).data();
    float** const to = scratch->take<float*>(B * most).data();
    over_rows(B, outputs * F, static_cast<double>(most), [&](Index begin, Index end) {
      for (Index b = begin; b < end; ++b) {
        const Index limit = by_mask ? steps.length(b) : side.limit(b), pad = s_.axis.pad_for(limit);
        for (Index out = 0; out < outputs; ++out) {
          const Index first = s_.global ? 0 : std::max(out * s_.axis.stride - pad, Index{0});
          const Index last = s_.global ? limit : std::min(out * s_.axis.stride - pad + s_.axis.taps, limit);
          Index count = 0;
          for (Index t = first; t < last; ++t) {
            const Index row = (b * T + (by_mask ? steps.at(b, t) : t)) * F;
            from[b * most + count] = x + row;
            to[b * most + count++] = dx + row;
          }
          task(b * outputs + out, count, from + b * most, to + b * most);
        }
      }
    });
  }

  PoolingSettings s_;
};

std::unique_ptr<Layer> make_pooling(json::Reader& spec, const std::string& type, const std::string& name, bool largest) {
  static constexpr std::string_view paddings[] = {"valid", "same"};
  PoolingSettings s{.largest = largest};
  s.axis.taps = spec.positive_integer("pool_size", 2);
  const json::Value* const strides = spec.find("strides");
  s.axis.stride = strides == nullptr || strides->is_null() ? s.axis.taps : spec.positive_integer("strides");
  const std::string padding = spec.string("padding", "valid");
  s.axis.same = padding == paddings[1];
  if (!s.axis.same && padding != paddings[0]) spec.fail("%", {unknown_name("padding", padding, paddings)});
  return std::make_unique<Pooling>(type, name, s);
}

std::unique_ptr<Layer> make_global(json::Reader& spec, const std::string& type, const std::string& name, bool largest) {
  return std::make_unique<Pooling>(type, name, PoolingSettings{largest, true, spec.boolean("keepdims", false)});
}

}  // namespace

std::unique_ptr<Layer> make_max_pooling(json::Reader& spec, const std::string& type, const std::string& name) {
  return make_pooling(spec, type, name, true);
}
std::unique_ptr<Layer> make_average_pooling(json::Reader& spec, const std::string& type, const std::string& name) {
  return make_pooling(spec, type, name, false);
}
std::unique_ptr<Layer> make_global_max_pooling(json::Reader& spec, const std::string& type, const std::string& name) {
  return make_global(spec, type, name, true);
}
std::unique_ptr<Layer> make_global_average_pooling(json::Reader& spec, const std::string& type, const std::string& name) {
  return make_global(spec, type, name, false);
}

}  // namespace rekur::layers
