// Embedding: y[b, t] = embeddings[x[b, t]].
#include <limits>

#include "layers/activation_spec.hpp"
#include "layers/elementwise.hpp"
#include "layers/packed.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"
#include "simd/pack.hpp"

namespace rekur::layers {
namespace {

class Embedding final : public Layer {
 public:
  Embedding(const std::string& type, const std::string& name, Index rows, Index columns, std::string initializer, bool mask_zero,
            Precision precision)
      : Layer(type, name),
        rows_(rows),
        columns_(columns),
        initializer_(std::move(initializer)),
        mask_zero_(mask_zero),
        int8_(precision == Precision::int8) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 1, 1);
    const TensorSpec& ids = inputs[0];
    if (ids.dtype != DType::int32) fail("expected int32 ids, got a float32 input of shape %", {ids.shape});
    if (ids.shape.empty() || ids.shape.size() >= kMostAxes) fail("expected ids of shape (B,), (B, T), …, got %", {ids.shape});
    TensorSpec output{ids.shape, DType::float32, ids.time_source};
    output.shape.push_back(columns_);
    if (mask_zero_ && ids.shape.size() != 2) fail("mask_zero: expected ids of shape (B, T), got %", {ids.shape});
    return one(std::move(output));
  }

  std::vector<ParamSpec> parameters(std::span<const TensorSpec>) const override {
    std::vector<ParamSpec> specs;
    add_parameter(specs, "", "embeddings", {rows_, columns_}, initializer_, columns_);
    specs.back().int8 = int8_;
    return specs;
  }

  bool makes_mask() const override { return mask_zero_; }
  void mask(const Context& run, std::uint8_t* valid) const override {
    const Index n = element_count(run.input_specs[0].shape);
    for (Index i = 0; i < n; ++i)
      if (run.ids()[i] == 0) valid[i] = 0;
  }

  void check(const Context& run) const override {
    const Index n = element_count(run.input_specs[0].shape);
    const std::int32_t* ids = run.ids();
    for (Index i = 0; i < n; ++i) {
      if (ids[i] >= 0 && ids[i] < rows_) continue;
      const bool has_time = run.input_specs[0].has_time();
      const Index T = has_time ? n / run.batch() : 1;
      fail("id % at row %% is not in [0, %)", {ids[i], i / T, (has_time ? compose(", step %", {i % T}) : ""), rows_});
    }
  }

#if REKUR_INT8
  void prepare(const float* weights, std::uint64_t version, bool) const override {
    if (int8_) rounded_.prepare(weights, rows_, columns_, version);
  }
  const float* table(const Context& run) const { return int8_ ? rounded_.data() : run.weights; }
#else
  const float* table(const Context& run) const { return run.weights; }
#endif

  void forward(const Context& run) const override {
    const std::int32_t* ids = run.ids();
    const float* const from = table(run);
    over_rows(element_count(run.input_specs[0].shape), columns_, 1, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        std::copy_n(from + ids[i] * columns_, columns_, run.outputs[0] + i * columns_);
      }
    });
  }

#if REKUR_TRAINING
  // Threads share the columns, never the rows: so every element sums its ids in the order they come, whatever the threads.
  void backward(const Context& run) const override {
    if (run.d_outputs[0] == nullptr || run.d_weights == nullptr) return;
    const Index n = element_count(run.input_specs[0].shape);
    const std::int32_t* ids = run.ids();
    const auto& k = isa::kernels();
    runtime::parallel_range(columns_, 16, static_cast<double>(n) * static_cast<double>(columns_), [&](Index begin, Index end) {
      for (Index i = 0; i < n; ++i) {
        float* sum = run.d_weights + ids[i] * columns_ + begin;
        k.add(sum, run.d_outputs[0] + i * columns_ + begin, sum, end - begin);
      }
    });
  }
#endif

  // A step cannot refuse an id: one out of range gives a row of NaN. With mask_zero flags of the rows that have the step come
  // behind the output.
  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
#if !REKUR_SEQUENCE
    if (mask_zero_) cannot_stream("a stream of this build is given the steps there are; an embedding without mask_zero serves");
#endif
    Buffer own;
    const float* table = build.weights;
    if (!build.lasting || int8_) table = own.assign(build.weights, rows_ * columns_);
#if REKUR_INT8
    if (int8_) simd::round_int8(rows_, columns_, own.data(), columns_);
#endif
    return make_stream_op([own = std::move(own), table, rows = rows_, columns = columns_, masks = mask_zero_](const StreamCall& c) {
      float* to = c.output();
      for (Index i = 0; i < c.batch; ++i, to += columns) {
        const Index id = c.ids()[i];
        if (masks) c.output(1)[i] = id != 0 ? 1.0f : 0.0f;
        if (id >= 0 && id < rows)
          std::copy_n(table + id * columns, columns, to);
        else
          std::fill_n(to, columns, std::numeric_limits<float>::quiet_NaN());
      }
    });
  }

 private:
  Index rows_, columns_;
  std::string initializer_;
  bool mask_zero_, int8_;
#if REKUR_INT8
  mutable RoundedMatrix rounded_;
#endif
};

}  // namespace

std::unique_ptr<Layer> make_embedding(json::Reader& spec, const std::string& type, const std::string& name) {
  const Index input_dim = spec.positive_integer("input_dim");
  const Index output_dim = spec.positive_integer("output_dim");
  return std::make_unique<Embedding>(type, name, input_dim, output_dim, read_initializer(spec, "embeddings_initializer", "uniform"),
                                     spec.boolean("mask_zero", false), read_precision(spec, false).value_or(Precision::float32));
}

}  // namespace rekur::layers
