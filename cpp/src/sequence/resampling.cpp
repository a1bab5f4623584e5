// UpSampling1D, Cropping1D, ZeroPadding1D: steps repeated, taken away, put before and after. y[b, t] = x[b, t / up + shift], zeros
// where the row has no such step.
#include <algorithm>

#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"

namespace rekur::layers {
namespace {

struct Settings {
  Index up = 1, shift = 0, more = 0;  // steps that the output has beyond T · up
};

class Resampling final : public Layer {
 public:
  Resampling(const std::string& type, const std::string& name, Settings settings) : Layer(type, name), s_(settings) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 1, 1);
    expect_features(inputs[0]);
    const Shape& x = inputs[0].shape;
    if (x.size() < 3) fail("expected a sequence of shape (B, T, F), got %", {x});
    TensorSpec output = inputs[0];
    // What is put around a row without steps would be steps of its own: a row stays empty.
    change_time(output, {.changed = true, .up = s_.up, .add = s_.more});
    return one(std::move(output));
  }

  void forward(const Context& run) const override {
    over_steps(run, [&](Index to, Index from, Index n) {
      float* const y = run.outputs[0] + to * n;
      if (from < 0)
        std::fill_n(y, n, 0.0f);
      else
        std::copy_n(run.input() + from * n, n, y);
    });
  }

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    float *const dy = run.d_outputs[0], *const dx = run.d_inputs[0];
    if (dy == nullptr || dx == nullptr) return;
    const auto& k = isa::kernels();
    over_steps(run, [&](Index to, Index from, Index n) {
      if (from >= 0) k.add(dx + from * n, dy + to * n, dx + from * n, n);
    });
  }
#endif

  std::unique_ptr<const StreamOp> stream(const StreamBuild&) const override {
    if (s_.up == 1 && s_.shift == 0 && s_.more == 0) return nullptr;
    cannot_stream("its output has other steps than its input");
  }

 private:
  // task(step of y, step of x or -1, numbers a step), steps counted through the batch.
  template <class Task>
  void over_steps(const Context& run, const Task& task) const {
    const Shape &x = run.input_specs[0].shape, &y = run.output_specs[0].shape;
    const RowSteps steps = run.steps();
    const Index n = element_count({x.begin() + 2, x.end()});
    over_rows(x[0], y[1] * n, 1, [&](Index begin, Index end) {
      for (Index b = begin; b < end; ++b) {
        const Index limit = steps.mask ? x[1] : steps.length(b);
        for (Index t = 0; t < y[1]; ++t) {
          const Index from = t / s_.up + s_.shift;
          task(b * y[1] + t, from >= 0 && from < limit ? b * x[1] + from : -1, n);
        }
      }
    });
  }

  Settings s_;
};

// [before, after]
std::array<Index, 2> read_pair(json::Reader& spec, const char* key) {
  const json::Array& pair = spec.array(key);
  constexpr Index kMost = 2147483647;
  const bool integers = pair.size() == 2 && pair[0].is_integer() && pair[1].is_integer();
  if (!integers || std::min(pair[0].integer(), pair[1].integer()) < 0 || std::max(pair[0].integer(), pair[1].integer()) > kMost)
    spec.refuse(key, "two integers, at least 0: steps at the beginning and at the end");
  return {pair[0].integer(), pair[1].integer()};
}

}  // namespace

std::unique_ptr<Layer> make_up_sampling(json::Reader& spec, const std::string& type, const std::string& name) {
  return std::make_unique<Resampling>(type, name, Settings{.up = spec.positive_integer("size", 2)});
}

std::unique_ptr<Layer> make_cropping(json::Reader& spec, const std::string& type, const std::string& name) {
  const auto [before, after] = read_pair(spec, "cropping");
  return std::make_unique<Resampling>(type, name, Settings{.shift = before, .more = -before - after});
}

std::unique_ptr<Layer> make_zero_padding(json::Reader& spec, const std::string& type, const std::string& name) {
  const auto [before, after] = read_pair(spec, "padding");
  return std::make_unique<Resampling>(type, name, Settings{.shift = -before, .more = before + after});
}

}  // namespace rekur::layers
