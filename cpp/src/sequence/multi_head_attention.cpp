// MultiHeadAttention, GroupQueryAttention: projections, attention of every head, a projection.
//   query [B, Tq, Fq]   value [B, Tv, Fv]   key [B, Tv, Fk] (value where it is not given)   y [B, Tq, U]   weights [B, H, Tq, Tv]
//   q = query Wq + bq [B, Tq, H, K]   k = key Wk + bk [B, Tv, G, K]   v = value Wv + bv [B, Tv, G, V]      G = H, or divides it
//   o = softmax(q kᵀ / √K) v [B, Tq, H, V]   y = o Wo + bo
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "layers/activation_spec.hpp"
#include "layers/cell_options.hpp"
#include "layers/dense_products.hpp"
#include "layers/packed.hpp"
#include "layers/registry.hpp"
#include "runtime/lines.hpp"
#include "sequence/attention_cache.hpp"
#include "sequence/attention_run.hpp"
#include "sequence/attention_spec.hpp"
#include "sequence/attention_whole.hpp"

namespace rekur::layers {
namespace {

struct MultiHeadSettings {
  Index heads, key_heads, dim, value_dim;
  Index units = 0;  // of the output; 0: as many as the query has features
  Index window = 0;
  float dropout = 0;
  bool use_bias = true, causal = false, return_scores = false;
  std::string kernel_initializer, bias_initializer;

  float scale() const { return 1.0f / std::sqrt(static_cast<float>(dim)); }
};

enum Part : std::uint8_t { kQuery, kKey, kValue, kOutput, kParts };

// A projection [from, to], where its weights stand.
struct Projection {
  const char *kernel_name, *bias_name;
  Index from = 0, to = 0, kernel = 0, bias = -1;
};
using Projections = std::array<Projection, kParts>;

Projections make_projections(const MultiHeadSettings& s, Index query, Index key, Index value) {
  Projections all{{{"query/kernel", "query/bias"},
                   {"key/kernel", "key/bias"},
                   {"value/kernel", "value/bias"},
                   {"attention_output/kernel", "attention_output/bias"}}};
  const auto set = [&](Part part, Index from, Index to) {
    all[part].from = from;
    all[part].to = to;
  };
  set(kQuery, query, element_count({s.heads, s.dim}));
  set(kKey, key, element_count({s.key_heads, s.dim}));
  set(kValue, value, element_count({s.key_heads, s.value_dim}));
  set(kOutput, element_count({s.heads, s.value_dim}), s.units > 0 ? s.units : query);
  Index at = 0;
  for (Projection& p : all) {
    p.kernel = std::exchange(at, at + element_count({p.from, p.to}));
    if (s.use_bias) p.bias = std::exchange(at, at + p.to);
  }
  return all;
}

constexpr Index kAddress = sizeof(void*) / sizeof(float);  // floats that hold an address

// The projections as a stream has them.
class PackedProjections {
 public:
  PackedProjections(const Projections& projections, const float* weights) : all_(projections), kernels_(isa::kernels()) {
    for (std::size_t i = 0; i < kParts; ++i) {
      const Projection& p = all_[i];
      packed_[i].prepare(weights + p.kernel, p.from, p.to, p.to, 1, 1);
      if (p.bias >= 0) biases_[i].assign(weights + p.bias, weights + p.bias + p.to);
    }
  }

  const Projection& operator[](Part part) const { return all_[part]; }

  // y [rows][to] of x [rows][from]; from, to: room for the addresses of so many rows.
  void project(Part part, Index rows, const float* x, float* y, const float** from, float** to) const noexcept {
    const Projection& p = all_[part];
    for (Index row = 0; row < rows; ++row) {
      from[row] = x + row * p.from;
      to[row] = y + row * p.to;
    }
    const float* const bias = biases_[part].empty() ? nullptr : biases_[part].data();
    kernels_.gemm(rows, p.to, p.from, from, packed_[part].data(), bias, to, 0, false);
  }

 private:
  Projections all_;
  const simd::Kernels& kernels_;
  std::array<PackedMatrix, kParts> packed_;
  std::array<std::vector<float>, kParts> biases_;
};

// In memory: the cache, then q, k, v and o of the rows, then addresses.
class MultiHeadOp final : public StreamOp {
 public:
  MultiHeadOp(const MultiHeadSettings& s, const Projections& projections, const float* weights, int key)
      : cache_({s.heads, s.key_heads, s.dim, s.value_dim, s.window, s.scale(), {}}),
        projections_(projections, weights),
        key_(key) {}

  Index memory(Index batch) const override {
    Index row = 2 * kAddress;
    for (const Part part : {kQuery, kKey, kValue}) row += projections_[part].to;
    row += projections_[kOutput].from;
    return aligned(cache_.memory(batch)) + element_count({batch, row + kParts * 16});
  }

  std::vector<StreamState> states(Index batch) const override { return cache_.states(batch); }

  void step(const StreamCall& c, int) const noexcept override {
    float* at = c.memory + aligned(cache_.floats(c.batch));
    const auto take = [&](Index floats) { return std::exchange(at, at + aligned(c.batch * floats)); };
    float* const q = take(projections_[kQuery].to);
    float* const k = take(projections_[kKey].to);
    float* const v = take(projections_[kValue].to);
    float* const o = take(projections_[kOutput].from);
    const float** const from = reinterpret_cast<const float**>(take(kAddress));
    float** const to = reinterpret_cast<float**>(take(kAddress));
    const auto project = [&](Part part, const float* x, float* y) { projections_.project(part, c.batch, x, y, from, to); };
    project(kQuery, c.input(0), q);
    project(kKey, c.input(key_), k);
    project(kValue, c.input(1), v);
    cache_.step(c.batch, q, k, v, o, c.memory);
    project(kOutput, o, c.output());
  }

 private:
  AttentionCache cache_;
  PackedProjections projections_;
  int key_;
};

// Values and keys are whole: they are projected once. In memory: what attention wants, then q and o of the rows, then addresses.
class WholeOp final : public StreamOp {
 public:
  WholeOp(const MultiHeadSettings& s, const Projections& projections, const float* weights, std::size_t key)
      : attention_({s.heads, s.key_heads, s.dim, s.value_dim, s.scale(), {}}), projections_(projections, weights), key_(key) {}

  Index memory(Index batch) const override {
    const Index row = projections_[kQuery].to + projections_[kOutput].from + 2 * kAddress;
    return attention_.work_size() + element_count({batch, row + 4 * 16});
  }

  Index whole_floats(Index steps) const override { return attention_.floats(steps); }
  bool leads(std::size_t input) const override { return input == 1; }

  void take_whole(std::span<const float* const> inputs, Index steps, float* to) const override {
    const auto projected = [&](Part part, const float* x) {
      std::vector<float> made(static_cast<std::size_t>(element_count({steps, projections_[part].to})));
      std::vector<const float*> from(static_cast<std::size_t>(steps));
      std::vector<float*> rows(static_cast<std::size_t>(steps));
      projections_.project(part, steps, x, made.data(), from.data(), rows.data());
      return made;
    };
    const std::vector<float> k = projected(kKey, inputs[key_]), v = projected(kValue, inputs[1]);
    attention_.pack(steps, k.data(), v.data(), to);
  }

  void step(const StreamCall& c, int) const noexcept override {
    float* at = c.memory + attention_.work_size();
    const auto take = [&](Index floats) { return std::exchange(at, at + aligned(c.batch * floats)); };
    float* const q = take(projections_[kQuery].to);
    float* const o = take(projections_[kOutput].from);
    const float** const from = reinterpret_cast<const float**>(take(kAddress));
    float** const to = reinterpret_cast<float**>(take(kAddress));
    projections_.project(kQuery, c.batch, c.input(0), q, from, to);
    attention_.step(c.batch, q, c.whole, o, nullptr, 0, c.memory);
    projections_.project(kOutput, c.batch, o, c.output(), from, to);
  }

 private:
  WholeAttention attention_;
  PackedProjections projections_;
  std::size_t key_;
};

class MultiHeadAttention final : public Layer {
 public:
  MultiHeadAttention(const std::string& type, const std::string& name, MultiHeadSettings settings)
      : Layer(type, name), s_(std::move(settings)) {}

  bool joins_time() const override { return false; }

  bool crosses_resets() const override { return true; }

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 2, 3);
    check_attention_inputs(*this, inputs);
    std::vector<TensorSpec> outputs{inputs[0]};
    if (s_.units > 0) outputs[0].shape[2] = s_.units;
    if (!s_.return_scores) return outputs;
    const Shape &query = inputs[0].shape, &value = inputs[1].shape;
    TensorSpec weights;
    weights.shape = {query[0], s_.heads, query[1], value[1]};
    weights.change.own = true;
    outputs.push_back(std::move(weights));
    return outputs;
  }

  // Kernels of heads have the axes that Keras gives them.
  std::vector<ParamSpec> parameters(std::span<const TensorSpec> inputs) const override {
    std::vector<ParamSpec> specs;
    const Projections all = projections_of(inputs);
    const auto add = [&](Part part, const Shape& kernel, const Shape& bias) {
      const Projection& p = all[part];
      add_parameter(specs, "", p.kernel_name, {}, s_.kernel_initializer, p.to);
      specs.back().shape = kernel;
      if (!s_.use_bias) return;
      add_parameter(specs, "", p.bias_name, {}, s_.bias_initializer, p.to);
      specs.back().shape = bias;
    };
    add(kQuery, {all[kQuery].from, s_.heads, s_.dim}, {s_.heads, s_.dim});
    add(kKey, {all[kKey].from, s_.key_heads, s_.dim}, {s_.key_heads, s_.dim});
    add(kValue, {all[kValue].from, s_.key_heads, s_.value_dim}, {s_.key_heads, s_.value_dim});
    add(kOutput, {s_.heads, s_.value_dim, all[kOutput].to}, {all[kOutput].to});
    return specs;
  }

  void build(std::span<const TensorSpec> inputs) override { projections_ = projections_of(inputs); }

  void prepare(const float* weights, std::uint64_t version, [[maybe_unused]] bool training) const override {
    for (std::size_t i = 0; i < kParts; ++i) {
      const Projection& p = projections_[i];
      packed_[i].prepare(weights + p.kernel, p.from, p.to, p.to, 1, version);
#if REKUR_TRAINING
      if (training) transposed_[i].prepare(weights + p.kernel, p.to, p.from, 1, p.to, version);
#endif
    }
  }

  Index tape_size(std::span<const TensorSpec> inputs, bool training) const override { return places(inputs, training).size; }

  void forward(const Context& run) const override {
    const Places at = places(run.input_specs, run.training);
    const std::size_t key = run.inputs.size() - 1;
    if (run.training) keep_seed(run);
    project(run, kQuery, run.input(0), run.tape + at.part[kQuery], at.queries);
    project(run, kKey, run.input(key), run.tape + at.part[kKey], at.keys);
    project(run, kValue, run.input(1), run.tape + at.part[kValue], at.keys);
    attend(attention_run(run, at));
    project(run, kOutput, run.tape + at.part[kOutput], run.outputs[0], at.queries);
  }

#if REKUR_TRAINING
  // The gradients of q, k, v and o.
  Index backward_scratch(std::span<const TensorSpec> inputs) const override { return places(inputs, false).size; }

  void backward(const Context& run) const override {
    const float* const dy = run.d_outputs[0];
    const float* const d_weights = s_.return_scores ? run.d_outputs[1] : nullptr;
    if (dy == nullptr && d_weights == nullptr) return;
    const Places at = places(run.input_specs, true), d_at = places(run.input_specs, false);
    const std::size_t key = run.inputs.size() - 1;
    const AttentionRun r = attention_run(run, at);
    float* const d_o = run.scratch + d_at.part[kOutput];
    std::fill_n(run.scratch, d_at.size, 0.0f);
    if (dy != nullptr) backward_of(run, kOutput, run.tape + at.part[kOutput], dy, d_o, at.queries);
    AttentionGradients g;
    if (dy != nullptr) g.d_out = {d_o, r.out.stride};
    g.d_weights = d_weights;
    g.d_q = {run.scratch + d_at.part[kQuery], r.q.stride};
    g.d_k = {run.scratch + d_at.part[kKey], r.k.stride};
    g.d_v = {run.scratch + d_at.part[kValue], r.v.stride};
    attend_backward(r, g);
    backward_of(run, kQuery, run.input(0), g.d_q.data, run.d_inputs[0], at.queries);
    backward_of(run, kKey, run.input(key), g.d_k.data, run.d_inputs[key], at.keys);
    backward_of(run, kValue, run.input(1), g.d_v.data, run.d_inputs[1], at.keys);
  }
#endif

  MaskedStep masked_step() const override { return MaskedStep::refused; }
  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    const bool whole = check_attention_stream(*this, build, s_.causal, s_.window, s_.return_scores);
    const std::size_t key = build.inputs.size() - 1;
    if (!whole) return std::make_unique<MultiHeadOp>(s_, projections_, build.weights, static_cast<int>(key));
    if (s_.return_scores) cannot_stream("return_attention_scores gives weights of several heads");
    return std::make_unique<WholeOp>(s_, projections_, build.weights, key);
  }
  bool takes_whole(std::size_t input) const override { return input > 0; }

 private:
  Projections projections_of(std::span<const TensorSpec> inputs) const {
    return make_projections(s_, features_of(inputs[0].shape), features_of(inputs.back().shape), features_of(inputs[1].shape));
  }

  // Where q, k, v and o stand, in the tape (in inference: the workspace) and their gradients in the scratch; rows of both sides.
  struct Places {
    std::array<Index, kParts> part{};
    Index log_sums = 0, size = 0, queries = 0, keys = 0;
  };

  Places places(std::span<const TensorSpec> inputs, bool training) const {
    const Projections all = projections_of(inputs);
    Places at;
    if (training) at.size = kAttentionSeed;
    at.queries = element_count({inputs[0].shape[0], inputs[0].shape[1]});
    at.keys = element_count({inputs[1].shape[0], inputs[1].shape[1]});
    const auto next = [&](Index rows, Index floats) {
      return std::exchange(at.size, at.size + aligned(element_count({rows, floats})));
    };
    at.part = {next(at.queries, all[kQuery].to), next(at.keys, all[kKey].to), next(at.keys, all[kValue].to),
               next(at.queries, all[kOutput].from)};
    if (training) at.log_sums = next(at.queries, s_.heads);
    return at;
  }

  void project(const Context& run, Part part, const float* x, float* y, Index rows) const {
    const Projection& p = projections_[part];
    dense_product(rows, p.to, p.from, x, packed_[part].data(), p.bias < 0 ? nullptr : run.weights + p.bias, y, false);
  }

#if REKUR_TRAINING
  // dx: added to; null where it is not wanted.
  void backward_of(const Context& run, Part part, const float* x, const float* dy, float* dx, Index rows) const {
    const Projection& p = projections_[part];
    if (run.d_weights != nullptr) {
      dense_product_tn(rows, p.from, p.to, x, dy, run.d_weights + p.kernel);
      if (p.bias >= 0) dense_sums(rows, p.to, dy, run.d_weights + p.bias);
    }
    if (dx != nullptr) dense_product(rows, p.from, p.to, dy, transposed_[part].data(), nullptr, dx, true);
  }
#endif

  AttentionRun attention_run(const Context& run, const Places& at) const {
    AttentionRun r;
    r.batch = run.batch();
    r.heads = s_.heads;
    r.key_heads = s_.key_heads;
    r.dim = s_.dim;
    r.value_dim = s_.value_dim;
    r.queries = run.steps(0);
    r.keys = run.steps(1);
    r.causal = s_.causal;
    r.window = s_.window;
    r.scale = s_.scale();
    if (run.training) {
      r.dropout = kept_dropout(run, s_.dropout);
      r.log_sums = run.tape + at.log_sums;
    }
    // Keras: its fused attention gives the mean, its other way, which those two need, zeros.
    r.mean = r.mean_of_masked_queries = s_.dropout == 0 && !s_.return_scores && means_where_nothing_is_seen(r);
    r.q = {run.tape + at.part[kQuery], projections_[kQuery].to};
    r.k = {run.tape + at.part[kKey], projections_[kKey].to};
    r.v = {run.tape + at.part[kValue], projections_[kValue].to};
    r.out = {run.tape + at.part[kOutput], projections_[kOutput].from};
    r.weights = s_.return_scores ? run.outputs[1] : nullptr;
    return r;
  }

  MultiHeadSettings s_;
  Projections projections_{};
  mutable std::array<PackedMatrix, kParts> packed_;
#if REKUR_TRAINING
  mutable std::array<PackedMatrix, kParts> transposed_;
#endif
};

void read_rest(json::Reader& spec, MultiHeadSettings& s) {
  constexpr Index kMost = Index{1} << 30;  // features of all heads: more than there is memory for their weights
  for (const Index size : {s.dim, s.value_dim, s.units})
    if (size > kMost / std::min(s.heads, kMost)) spec.fail("% heads of % features are too many", {s.heads, size});
  s.dropout = spec.find("dropout") == nullptr ? 0.0f : read_rate(spec, "dropout");
  s.use_bias = spec.boolean("use_bias", true);
  s.causal = spec.boolean("use_causal_mask", false);
  s.window = read_window(spec);
  s.return_scores = spec.boolean("return_attention_scores", false);
  s.kernel_initializer = read_initializer(spec, "kernel_initializer", "glorot_uniform");
  s.bias_initializer = read_initializer(spec, "bias_initializer", "zeros");
}

}  // namespace

std::unique_ptr<Layer> make_multi_head_attention(json::Reader& spec, const std::string& type, const std::string& name) {
  MultiHeadSettings s{};
  s.heads = s.key_heads = spec.positive_integer("num_heads");
  s.dim = spec.positive_integer("key_dim");
  s.value_dim = spec.positive_integer("value_dim", s.dim);
  if (spec.find("output_shape") != nullptr) s.units = spec.positive_integer("output_shape");
  read_rest(spec, s);
  return std::make_unique<MultiHeadAttention>(type, name, std::move(s));
}

std::unique_ptr<Layer> make_group_query_attention(json::Reader& spec, const std::string& type, const std::string& name) {
  MultiHeadSettings s{};
  s.dim = s.value_dim = spec.positive_integer("head_dim");
  s.heads = spec.positive_integer("num_query_heads");
  s.key_heads = spec.positive_integer("num_key_value_heads");
  if (s.heads % s.key_heads != 0)
    spec.fail("num_query_heads must be a multiple of num_key_value_heads, got % and %", {s.heads, s.key_heads});
  read_rest(spec, s);
  return std::make_unique<MultiHeadAttention>(type, name, std::move(s));
}

}  // namespace rekur::layers
