// Flatten, Reshape, Permute, RepeatVector: the same numbers in another shape. The axis after the batch, where one is left, is the
// layer's own: all of its steps are valid. Steps past a row's length are zeros, so that nothing depends on what stands there.
#include <algorithm>
#include <array>

#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"

namespace rekur::layers {
namespace {

// Element i of a row of the output is element source(i) of the row of the input.
class Reshaping : public Layer {
 public:
  Reshaping(const std::string& type, const std::string& name) : Layer(type, name) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const final {
    expect_inputs(inputs, 1, 1);
    TensorSpec sized = inputs[0];
    if (moves_features() && !sized.shape.empty() && sized.shape.back() == kUnknown) sized.shape.back() = 1;
    expect_features(sized);
    const Shape& x = inputs[0].shape;
    Shape y{x[0]};
    append(Shape(x.begin() + 1, x.end()), y);
    for (std::size_t i = 2; i < y.size(); ++i)
      if (y[i] == kUnknown && !(moves_features() && x.back() == 1))
        fail("the size of axis % of its output is not known (input shape %): give the input's steps", {i, x});
    if (y.size() == 2 && y[1] == kUnknown) fail("the size of its output is not known (input shape %): give the input's steps", {x});
    return one({std::move(y), DType::float32, -1, {.own = true}});
  }

  bool crosses_resets() const override { return true; }

  void forward(const Context& run) const final {
    if (!moves())
      return over_limits(run, [&](Index at, Index limit, Index n) {
        std::fill_n(std::copy_n(run.input() + at, limit, run.outputs[0] + at), n - limit, 0.0f);
      });
    over_elements_of_rows(run, [&](Index to, Index from) { run.outputs[0][to] = from < 0 ? 0.0f : run.input()[from]; });
  }

#if REKUR_TRAINING
  void backward(const Context& run) const final {
    if (run.d_outputs[0] == nullptr || run.d_inputs[0] == nullptr) return;
    const auto& k = isa::kernels();
    if (!moves())
      return over_limits(run, [&](Index at, Index limit, Index) {
        k.add(run.d_inputs[0] + at, run.d_outputs[0] + at, run.d_inputs[0] + at, limit);
      });
    over_elements_of_rows(run, [&](Index to, Index from) {
      if (from >= 0) run.d_inputs[0][from] += run.d_outputs[0][to];
    });
  }
#endif

  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const final {
    if (build.constant && repeats()) return nullptr;  // it is there at every step anyway
    if (build.inputs[0].time_source >= 0) cannot_stream("it needs all steps of its input");
    if (build.inputs[0].shape != build.outputs[0].shape || moves()) cannot_stream("its output has other axes than its input");
    return nullptr;
  }

 protected:
  // The shape of a row of the output.
  virtual void append(const Shape& row, Shape& to) const = 0;
  virtual bool moves() const { return false; }
  virtual bool repeats() const { return false; }
  // Whether features may be as many as steps of something, such as attention's weights, of which only a run will tell: a row of
  // numbers becomes a column of them, and a column a row.
  virtual bool moves_features() const { return false; }
  // Of a row of this shape; element i of the output. Asked where the layer moves elements.
  virtual Index source(const Shape&, Index i) const { return i; }

 private:
  // task(where a row of the input begins, its elements up to its length, all of them)
  template <class Task>
  void over_limits(const Context& run, const Task& task) const {
    const Shape &x = run.input_specs[0].shape, &y = run.output_specs[0].shape;
    const Index n = element_count({x.begin() + 1, x.end()}), a_step = x.size() > 2 && x[1] > 0 ? n / x[1] : n;
    const RowSteps steps = run.steps();
    over_rows(x[0], element_count({y.begin() + 1, y.end()}), moves() ? 20 : 1, [&](Index begin, Index end) {
      for (Index b = begin; b < end; ++b) task(b * n, x.size() > 2 && !steps.mask ? steps.length(b) * a_step : n, n);
    });
  }

  // task(element of the output, element of the input or -1)
  template <class Task>
  void over_elements_of_rows(const Context& run, const Task& task) const {
    const Shape &x = run.input_specs[0].shape, &y = run.output_specs[0].shape;
    const Shape row(x.begin() + 1, x.end());
    const Index m = element_count({y.begin() + 1, y.end()});
    over_limits(run, [&](Index at, Index limit, Index n) {
      const Index to = n == 0 ? 0 : at / n * m;
      for (Index i = 0; i < m && n > 0; ++i) {
        const Index from = source(row, i);
        task(to + i, from < limit ? at + from : -1);
      }
    });
  }
};

bool all_known(const Shape& row) { return std::find(row.begin(), row.end(), kUnknown) == row.end(); }

class Flatten final : public Reshaping {
 public:
  using Reshaping::Reshaping;

 private:
  void append(const Shape& row, Shape& to) const override { to.push_back(all_known(row) ? element_count(row) : kUnknown); }
};

class Reshape final : public Reshaping {
 public:
  Reshape(const std::string& type, const std::string& name, Shape target) : Reshaping(type, name), target_(std::move(target)) {}

 private:
  void append(const Shape& row, Shape& to) const override {
    Index given = 1;
    for (const Index size : target_)
      if (size != kUnknown) given = element_count({given, size});
    const bool open = !all_known(target_);
    Index rest = kUnknown;
    if (all_known(row)) {
      const Index n = element_count(row);
      rest = given == 0 ? 0 : n / given;
      if (open ? given * rest != n : given != n) fail("rows of shape % do not have the elements of target_shape %", {row, target_});
    } else if (!open) {
      rest = 0;  // a run will tell
    }
    for (const Index size : target_) to.push_back(size == kUnknown ? rest : size);
  }

  Shape target_;
};

class Permute final : public Reshaping {
 public:
  Permute(const std::string& type, const std::string& name, Shape dims) : Reshaping(type, name), dims_(std::move(dims)) {}

 private:
  bool moves() const override { return true; }
  bool moves_features() const override { return true; }

  void append(const Shape& row, Shape& to) const override {
    if (row.size() != dims_.size()) fail("expected an input of % axes beside the batch, got shape %", {dims_.size(), row});
    for (const Index axis : dims_) to.push_back(row[static_cast<std::size_t>(axis - 1)]);
  }

  Index source(const Shape& row, Index i) const override {
    std::array<Index, kMostAxes> stride{};
    Index product = 1;
    for (std::size_t axis = row.size(); axis-- > 0; product *= row[axis]) stride[axis] = product;
    Index from = 0;
    for (std::size_t k = dims_.size(); k-- > 0;) {
      const auto axis = static_cast<std::size_t>(dims_[k] - 1);
      from += i % row[axis] * stride[axis];
      i /= row[axis];
    }
    return from;
  }

  Shape dims_;
};

class RepeatVector final : public Reshaping {
 public:
  RepeatVector(const std::string& type, const std::string& name, Index n) : Reshaping(type, name), n_(n) {}

 private:
  bool moves() const override { return true; }
  bool repeats() const override { return true; }

  void append(const Shape& row, Shape& to) const override {
    if (row.size() != 1) fail("expected an input of shape (B, F), got rows of shape %", {row});
    to.insert(to.end(), {n_, row[0]});
  }
  Index source(const Shape& row, Index i) const override { return i % row[0]; }

  Index n_;
};

Shape read_shape(json::Reader& spec, const char* key, Index least, const char* expected) {
  constexpr Index kMost = 2147483647;
  Shape shape;
  for (const json::Value& value : spec.array(key)) {
    if (!value.is_integer() || value.integer() < least || value.integer() > kMost) spec.refuse(key, expected);
    shape.push_back(value.integer());
  }
  if (shape.empty() || shape.size() >= kMostAxes) spec.refuse(key, expected);
  return shape;
}

}  // namespace

std::unique_ptr<Layer> make_flatten(json::Reader&, const std::string& type, const std::string& name) {
  return std::make_unique<Flatten>(type, name);
}

std::unique_ptr<Layer> make_reshape(json::Reader& spec, const std::string& type, const std::string& name) {
  constexpr const char* kExpected = "an array of 1 to 4 sizes, at most one of which is -1: what is left";
  Shape target = read_shape(spec, "target_shape", -1, kExpected);
  if (std::count(target.begin(), target.end(), Index{-1}) > 1) spec.refuse("target_shape", kExpected);
  std::replace(target.begin(), target.end(), Index{-1}, kUnknown);
  return std::make_unique<Reshape>(type, name, std::move(target));
}

std::unique_ptr<Layer> make_permute(json::Reader& spec, const std::string& type, const std::string& name) {
  constexpr const char* kExpected = "the axes beside the batch in their new order, counted from 1, such as [2, 1]";
  Shape dims = read_shape(spec, "dims", 1, kExpected), sorted = dims;
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 0; i < sorted.size(); ++i)
    if (sorted[i] != static_cast<Index>(i) + 1) spec.refuse("dims", kExpected);
  return std::make_unique<Permute>(type, name, std::move(dims));
}

std::unique_ptr<Layer> make_repeat_vector(json::Reader& spec, const std::string& type, const std::string& name) {
  return std::make_unique<RepeatVector>(type, name, spec.positive_integer("n"));
}

}  // namespace rekur::layers
