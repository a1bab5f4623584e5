// Concatenate, Add, Multiply: layers that join two or more inputs. Subtract, Divide: exactly two.
#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"
#include "runtime/checked.hpp"

namespace rekur::layers {
namespace {

constexpr std::size_t kAny = static_cast<std::size_t>(-1);

// The dimension both have; kUnknown fits anything. Returns false where they differ.
bool unify(Index& a, Index b) {
  if (a == kUnknown) a = b;
  return b == kUnknown || a == b;
}

class Join : public Layer {
 public:
  using Layer::Layer;

 protected:
  // Checks that the inputs agree in all dimensions but `apart` (kAny: in all); returns what they agree on.
  TensorSpec agree(std::span<const TensorSpec> inputs, std::size_t apart, std::size_t most = kAny) const {
    expect_inputs(inputs, 2, most);
    for (const TensorSpec& input : inputs) expect_features(input);
    TensorSpec joined = inputs[0];
    for (std::size_t i = 1; i < inputs.size(); ++i) {
      const Shape& shape = inputs[i].shape;
      bool fits = shape.size() == joined.shape.size();
      for (std::size_t d = 0; fits && d < shape.size(); ++d) fits = d == apart || unify(joined.shape[d], shape[d]);
      if (!fits) {
        const bool last = apart + 1 == inputs[0].shape.size();
        const std::string but = last ? " but for the last axis" : compose(" but for axis %", {apart});
        fail("expected inputs of equal shapes%, got % and %", {(apart == kAny ? "" : but), inputs[0].shape, shape});
      }
      if (joined.time_source < 0) joined.time_source = inputs[i].time_source;
    }
    return joined;
  }
};

class Concatenate final : public Join {
 public:
  Concatenate(const std::string& type, const std::string& name, Index axis) : Join(type, name), axis_(axis) {}

  // Along time the inputs' steps stand behind one another: their axes are none that they have in common.
  bool joins_time() const override { return axis_ != 1; }
  bool joins_masks() const override { return axis_ == 1; }
  bool crosses_resets() const override { return !last_ && axis_ == 1; }

  void mask(const Context& run, std::uint8_t* valid) const override {
    const Index T = run.output_specs[0].shape[1];
    for (Index row = 0; row < run.batch(); ++row) {
      Index at = row * T;
      for (std::size_t i = 0; i < run.inputs.size(); ++i) {
        const RowSteps steps = run.steps(i);
        for (Index t = 0; t < steps.T; ++t, ++at)
          if (!steps.is_valid(row, t)) valid[at] = 0;
      }
    }
  }

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 2, kAny);
    expect_features(inputs[0]);
    const std::size_t axis = axis_of(inputs[0].shape);
    TensorSpec joined = agree(inputs, axis);
    for (std::size_t i = 1; i < inputs.size(); ++i) {
      const Index size = inputs[i].shape[axis];
      if (joined.shape[axis] == kUnknown || size == kUnknown)
        joined.shape[axis] = kUnknown;
      else if (add_overflows(joined.shape[axis], size, &joined.shape[axis]))
        fail("the sum of the inputs' sizes along axis % does not fit in 63 bits", {axis});
    }
    if (axis == 1 && joined.has_time()) joined.change = {.changed = true, .own = true};
    return one(std::move(joined));
  }

  void forward(const Context& run) const override {
    const Index rows = rows_before(run), width = behind(run.output_specs[0]);
    over_rows(rows, width, 1, [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row) {
        float* to = run.outputs[0] + row * width;
        for (std::size_t i = 0; i < run.inputs.size(); ++i) {
          const Index n = behind(run.input_specs[i]);
          to = std::copy_n(run.input(i) + row * n, n, to);
        }
      }
    });
  }

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    if (run.d_outputs[0] == nullptr) return;
    const Index rows = rows_before(run), width = behind(run.output_specs[0]);
    const auto& k = isa::kernels();
    over_rows(rows, width, 1, [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row) {
        const float* from = run.d_outputs[0] + row * width;
        for (std::size_t i = 0; i < run.inputs.size(); ++i) {
          const Index n = behind(run.input_specs[i]);
          if (float* to = run.d_inputs[i]) k.add(to + row * n, from, to + row * n, n);
          from += n;
        }
      }
    });
  }
#endif

  void build(std::span<const TensorSpec> inputs) override { last_ = axis_of(inputs[0].shape) + 1 == inputs[0].shape.size(); }

  StepAxes step_axes() const override { return StepAxes::rows; }
  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    if (!last_) cannot_stream("it joins its inputs along axis %, not along the features", {axis_});
    std::vector<Index> features;
    for (const TensorSpec& input : build.inputs) features.push_back(features_of(input.shape));
    return make_stream_op([features = std::move(features)](const StreamCall& c) {
      float* to = c.output();
      for (Index row = 0; row < c.batch; ++row)
        for (std::size_t i = 0; i < features.size(); ++i)
          to = std::copy_n(c.input(static_cast<int>(i)) + row * features[i], features[i], to);
    });
  }

 private:
  std::size_t axis_of(const Shape& shape) const {
    const Index rank = static_cast<Index>(shape.size());
    if (axis_ != -1 && (axis_ < 1 || axis_ >= rank)) fail("axis must be from 1 to % or -1, the last one, got %", {rank - 1, axis_});
    return static_cast<std::size_t>(axis_ == -1 ? rank - 1 : axis_);
  }

  // What stands side by side: an input's elements from the axis on.
  Index behind(const TensorSpec& tensor) const {
    Index n = 1;
    for (std::size_t d = axis_of(tensor.shape); d < tensor.shape.size(); ++d) n *= tensor.shape[d];
    return n;
  }
  Index rows_before(const Context& run) const {
    Index n = 1;
    for (std::size_t d = 0; d < axis_of(run.output_specs[0].shape); ++d) n *= run.output_specs[0].shape[d];
    return n;
  }

  Index axis_;
  bool last_ = true;
};

// out = a op b of all inputs, from the first on.
class Pairwise : public Join {
 public:
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override { return one(agree(inputs, kAny, most_)); }

  void forward(const Context& run) const override {
    const Kernel op = isa::kernels().*op_;
    over_elements(element_count(run.output_specs[0].shape), cost_, [&](Index begin, Index end) {
      op(run.input(0) + begin, run.input(1) + begin, run.outputs[0] + begin, end - begin);
      for (std::size_t i = 2; i < run.inputs.size(); ++i)
        op(run.outputs[0] + begin, run.input(i) + begin, run.outputs[0] + begin, end - begin);
    });
  }

  StepAxes step_axes() const override { return StepAxes::rows; }
  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    const int count = static_cast<int>(build.inputs.size());
    return make_stream_op(
        [op = isa::kernels().*op_, one = one_, count, features = features_of(build.outputs[0].shape)](const StreamCall& c) {
          const Index n = c.batch * features;
          if (n == 1 && count == 2) {  // a kernel would wait long for a single number that was just written
            *c.output() = one(*c.input(0), *c.input(1));
            return;
          }
          op(c.input(0), c.input(1), c.output(), n);
          for (int i = 2; i < count; ++i) op(c.output(), c.input(i), c.output(), n);
        });
  }

 protected:
  using Kernel = void (*)(const float* a, const float* b, float* out, Index n);

  using One = float (*)(float a, float b);

  Pairwise(const std::string& type, const std::string& name, Kernel simd::Kernels::*op, One one, double cost,
           std::size_t most = kAny)
      : Join(type, name), op_(op), one_(one), cost_(cost), most_(most) {}

 private:
  Kernel simd::Kernels::*op_;
  One one_;      // the same of single numbers
  double cost_;  // of an element
  std::size_t most_;
};

class Add final : public Pairwise {
 public:
  Add(const std::string& type, const std::string& name)
      : Pairwise(type, name, &simd::Kernels::add, [](float a, float b) { return a + b; }, 1) {}

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    if (run.d_outputs[0] == nullptr) return;
    const Index n = element_count(run.output_specs[0].shape);
    for (float* d_input : run.d_inputs) {
      if (d_input != nullptr) accumulate(run.d_outputs[0], d_input, n);
    }
  }
#endif
};

class Multiply final : public Pairwise {
 public:
  Multiply(const std::string& type, const std::string& name)
      : Pairwise(type, name, &simd::Kernels::multiply, [](float a, float b) { return a * b; }, 1) {}

#if REKUR_TRAINING
  Index backward_scratch(std::span<const TensorSpec> inputs) const override {
    return inputs.size() > 2 ? element_count(inputs[0].shape) : 0;
  }

  // dx_i = dy ⊙ the product of the others. (Dividing y by x_i would fail at zeros.)
  void backward(const Context& run) const override {
    if (run.d_outputs[0] == nullptr) return;
    const auto& k = isa::kernels();
    const std::size_t count = run.inputs.size();
    over_elements(element_count(run.output_specs[0].shape), 2, [&](Index begin, Index end) {
      const Index n = end - begin;
      for (std::size_t i = 0; i < count; ++i) {
        if (run.d_inputs[i] == nullptr) continue;
        const float* product = run.d_outputs[0] + begin;
        const std::size_t last = i + 1 == count ? count - 2 : count - 1;  // the last of the others
        for (std::size_t j = 0; j < last; ++j) {
          if (j == i) continue;
          k.multiply(product, run.input(j) + begin, run.scratch + begin, n);
          product = run.scratch + begin;
        }
        k.multiply_add(product, run.input(last) + begin, run.d_inputs[i] + begin, n);
      }
    });
  }
#endif
};

class Subtract final : public Pairwise {
 public:
  Subtract(const std::string& type, const std::string& name)
      : Pairwise(type, name, &simd::Kernels::subtract, [](float a, float b) { return a - b; }, 1, 2) {}

#if REKUR_TRAINING
  void backward(const Context& run) const override {
    if (run.d_outputs[0] == nullptr) return;
    const Index n = element_count(run.output_specs[0].shape);
    if (run.d_inputs[0] != nullptr) accumulate(run.d_outputs[0], run.d_inputs[0], n);
    if (run.d_inputs[1] == nullptr) return;
    const auto& k = isa::kernels();
    over_elements(n, 1, [&](Index begin, Index end) {
      k.subtract(run.d_inputs[1] + begin, run.d_outputs[0] + begin, run.d_inputs[1] + begin, end - begin);
    });
  }
#endif
};

class Divide final : public Pairwise {
 public:
  Divide(const std::string& type, const std::string& name)
      : Pairwise(type, name, &simd::Kernels::divide, [](float a, float b) { return a / b; }, 4, 2) {}

#if REKUR_TRAINING
  // y = a / b   da = dy / b   db = -y da
  void backward(const Context& run) const override {
    float* dy = run.d_outputs[0];
    if (dy == nullptr) return;
    const auto& k = isa::kernels();
    over_elements(element_count(run.output_specs[0].shape), 6, [&](Index begin, Index end) {
      const Index n = end - begin;
      k.divide(dy + begin, run.input(1) + begin, dy + begin, n);
      if (run.d_inputs[0] != nullptr) k.add(run.d_inputs[0] + begin, dy + begin, run.d_inputs[0] + begin, n);
      if (run.d_inputs[1] == nullptr) return;
      k.multiply(dy + begin, run.outputs[0] + begin, dy + begin, n);
      k.subtract(run.d_inputs[1] + begin, dy + begin, run.d_inputs[1] + begin, n);
    });
  }
#endif
};

}  // namespace

std::unique_ptr<Layer> make_concatenate(json::Reader& spec, const std::string& type, const std::string& name) {
  return std::make_unique<Concatenate>(type, name, spec.integer("axis", -1));
}

std::unique_ptr<Layer> make_add(json::Reader&, const std::string& type, const std::string& name) {
  return std::make_unique<Add>(type, name);
}

std::unique_ptr<Layer> make_multiply(json::Reader&, const std::string& type, const std::string& name) {
  return std::make_unique<Multiply>(type, name);
}

std::unique_ptr<Layer> make_subtract(json::Reader&, const std::string& type, const std::string& name) {
  return std::make_unique<Subtract>(type, name);
}

std::unique_ptr<Layer> make_divide(json::Reader&, const std::string& type, const std::string& name) {
  return std::make_unique<Divide>(type, name);
}

}  // namespace rekur::layers
