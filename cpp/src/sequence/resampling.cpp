// UpSampling1D, Cropping1D, ZeroPadding1D, Padding1D: steps repeated, taken away, put before and after. y[b, t] = x[b, t / up +
// shift]; where the row has no such step a number, or a step of the row that the mode of a Padding1D says.
#include <algorithm>
#include <array>
#include <cmath>

#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"

namespace rekur::layers {
namespace {

enum class Beyond { number, reflect, edge, wrap };  // what stands before a row's first step and behind its last one

struct ResamplingSettings {
  Index up = 1, shift = 0, more = 0;  // steps that the output has beyond T · up
  Beyond beyond = Beyond::number;
  float value = 0;
};

// Step `at`, before or behind the L steps of a row, as one of them. Longer paddings go on as they began: reflected back and forth,
// or around again.
Index within(Beyond beyond, Index at, Index L) {
  switch (beyond) {
    case Beyond::edge:
      return std::clamp<Index>(at, 0, L - 1);
    case Beyond::wrap:
      return (at % L + L) % L;
    case Beyond::reflect: {
      const Index period = std::max<Index>(2 * (L - 1), 1), place = (at % period + period) % period;
      return std::min(place, period - place) % L;
    }
    case Beyond::number:
      break;
  }
  return -1;
}

class Resampling final : public Layer {
 public:
  Resampling(const std::string& type, const std::string& name, ResamplingSettings settings) : Layer(type, name), s_(settings) {}

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
        std::fill_n(y, n, from == kPast ? 0.0f : s_.value);
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
  static constexpr Index kBeyond = -1, kPast = -2;  // no step of x: before or behind the row's; past the row's end in y, too

  // task(step of y, step of x or one of these, numbers a step), steps counted through the batch.
  template <class Task>
  void over_steps(const Context& run, const Task& task) const {
    const Shape &x = run.input_specs[0].shape, &y = run.output_specs[0].shape;
    const RowSteps steps = run.steps();
    const Index n = element_count({x.begin() + 2, x.end()});
    over_rows(x[0], y[1] * n, 1, [&](Index begin, Index end) {
      for (Index b = begin; b < end; ++b) {
        const Index limit = steps.mask ? x[1] : steps.length(b);
        for (Index t = 0; t < y[1]; ++t) {
          Index from = t / s_.up + s_.shift;
          const bool past = limit == 0 || t >= limit + s_.more;
          if (s_.up == 1 && !past && (from < 0 || from >= limit)) from = within(s_.beyond, from, limit);
          const bool there = from >= 0 && from < limit;
          task(b * y[1] + t, there ? b * x[1] + from : past ? kPast : kBeyond, n);
        }
      }
    });
  }

  ResamplingSettings s_;
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
  return std::make_unique<Resampling>(type, name, ResamplingSettings{.up = spec.positive_integer("size", 2)});
}

std::unique_ptr<Layer> make_cropping(json::Reader& spec, const std::string& type, const std::string& name) {
  const auto [before, after] = read_pair(spec, "cropping");
  return std::make_unique<Resampling>(type, name, ResamplingSettings{.shift = before, .more = -before - after});
}

std::unique_ptr<Layer> make_zero_padding(json::Reader& spec, const std::string& type, const std::string& name) {
  const auto [before, after] = read_pair(spec, "padding");
  return std::make_unique<Resampling>(type, name, ResamplingSettings{.shift = -before, .more = before + after});
}

std::unique_ptr<Layer> make_padding(json::Reader& spec, const std::string& type, const std::string& name) {
  const auto [before, after] = read_pair(spec, "padding");
  ResamplingSettings settings{.shift = -before, .more = before + after};
  const std::string mode = spec.string("mode", "constant");
  if (mode == "reflect")
    settings.beyond = Beyond::reflect;
  else if (mode == "edge")
    settings.beyond = Beyond::edge;
  else if (mode == "wrap")
    settings.beyond = Beyond::wrap;
  else if (mode != "constant")
    spec.refuse("mode", "one of constant, reflect, edge, wrap");
  settings.value = static_cast<float>(spec.number("value", 0));
  if (!std::isfinite(settings.value)) spec.refuse("value", "a finite number");
  return std::make_unique<Resampling>(type, name, settings);
}

}  // namespace rekur::layers
