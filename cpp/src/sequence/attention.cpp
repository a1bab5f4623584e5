// Attention: softmax(scores) v over the values' steps, of one head, without projections.
//   q [B, Tq, D]   v [B, Tv, V]   k [B, Tv, D] (v where it is not given)   y [B, Tq, V]   weights [B, Tq, Tv]
//   dot       scores = scale q · k                                 scale []              if use_scale, else 1
//   concat    scores = concat_score_weight Σ tanh(scale (q + k))   concat_score_weight []
//   additive  scores = Σ_i scale_i tanh(q_i + k_i)                 scale [D]             if use_scale, else ones
#include <algorithm>

#include "io/suggest.hpp"
#include "layers/cell_options.hpp"
#include "layers/registry.hpp"
#include "sequence/attention_cache.hpp"
#include "sequence/attention_run.hpp"
#include "sequence/attention_spec.hpp"
#include "sequence/attention_whole.hpp"

namespace rekur::layers {
namespace {

struct AttentionSettings {
  enum class Score : std::uint8_t { dot, concat, additive } score = Score::dot;
  bool use_scale = false, causal = false, return_scores = false;
  Index window = 0;
  float dropout = 0;

  bool tanh() const { return score != Score::dot; }
};

class AttentionOp final : public StreamOp {
 public:
  AttentionOp(AttentionCache cache, int key) : cache_(std::move(cache)), key_(key) {}

  Index memory(Index batch) const override { return cache_.memory(batch); }
  std::vector<StreamState> states(Index batch) const override { return cache_.states(batch); }
  void step(const StreamCall& c, int) const noexcept override {
    cache_.step(c.batch, c.input(0), c.input(key_), c.input(1), c.output(), c.memory);
  }

 private:
  AttentionCache cache_;
  int key_;
};

// Values and keys are whole.
class WholeAttentionOp final : public StreamOp {
 public:
  WholeAttentionOp(WholeAttention attention, std::size_t key, bool return_scores)
      : attention_(std::move(attention)), key_(key), return_scores_(return_scores) {}

  Index memory(Index) const override { return attention_.work_size(); }
  Index whole_floats(Index steps) const override { return attention_.floats(steps); }
  bool leads(std::size_t input) const override { return input == 1; }
  void take_whole(std::span<const float* const> inputs, Index steps, float* to) const override {
    attention_.pack(steps, inputs[key_], inputs[1], to);
  }
  void step(const StreamCall& c, int) const noexcept override {
    attention_.step(c.batch, c.input(0), c.whole, c.output(), return_scores_ ? c.output(1) : nullptr, c.whole_steps, c.memory);
  }

 private:
  WholeAttention attention_;
  std::size_t key_;
  bool return_scores_;
};

class Attention final : public Layer {
 public:
  Attention(const std::string& type, const std::string& name, const AttentionSettings& settings)
      : Layer(type, name), s_(settings) {}

  bool joins_time() const override { return false; }

  bool crosses_resets() const override { return true; }

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 2, 3);
    check_attention_inputs(*this, inputs);
    const TensorSpec &query = inputs[0], &value = inputs[1], &key = inputs.back();
    if (query.shape[2] != key.shape[2]) {
      fail("expected a query and a % of as many features, got % and %",
           {inputs.size() > 2 ? "key" : "value", query.shape, key.shape});
    }
    std::vector<TensorSpec> outputs{query, query};
    outputs[0].shape[2] = value.shape[2];
    outputs[1].shape[2] = value.shape[1];
    if (!s_.return_scores) outputs.pop_back();
    return outputs;
  }

  std::vector<ParamSpec> parameters(std::span<const TensorSpec> inputs) const override {
    std::vector<ParamSpec> specs;
    const Index D = features_of(inputs[0].shape);
    if (s_.score == AttentionSettings::Score::additive) {
      if (s_.use_scale) add_parameter(specs, "", "scale", {D}, R"("glorot_uniform")", D);
      return specs;
    }
    if (s_.use_scale) add_parameter(specs, "", "scale", {}, R"("ones")", 1);
    if (s_.score == AttentionSettings::Score::concat) add_parameter(specs, "", "concat_score_weight", {}, R"("ones")", 1);
    return specs;
  }

  void build(std::span<const TensorSpec> inputs) override { D_ = features_of(inputs[0].shape); }

  // The seed, ln Σ e^score of each query, then the factors of tanh.
  Index tape_size(std::span<const TensorSpec> inputs, bool training) const override {
    return factors_at(inputs, training) + (s_.tanh() ? D_ : 0);
  }

  void forward(const Context& run) const override {
    if (s_.tanh()) fill_factors(run.weights, factors(run));
    if (run.training) keep_seed(run);
    attend(attention_run(run));
    if (counts_masked_queries(run)) clear_masked(run, run.outputs[0]);
  }

#if REKUR_TRAINING
  // The gradients of the factors of tanh.
  Index backward_scratch(std::span<const TensorSpec>) const override { return s_.tanh() ? D_ : 0; }

  void backward(const Context& run) const override {
    float* const d_out = run.d_outputs[0];
    const float* const d_weights = s_.return_scores ? run.d_outputs[1] : nullptr;
    if (d_out == nullptr && d_weights == nullptr) return;
    const AttentionRun r = attention_run(run);
    if (d_out != nullptr && counts_masked_queries(run)) clear_masked(run, d_out);
    const std::size_t key = run.inputs.size() - 1;
    AttentionGradients g;
    g.d_out = {d_out, r.out.stride};
    g.d_weights = d_weights;
    g.d_q = {run.d_inputs[0], D_};
    g.d_v = {run.d_inputs[1], r.value_dim};
    g.d_k = {run.d_inputs[key], D_};
    float d_scale = 0;
    g.d_scale = &d_scale;
    if (s_.tanh()) {
      g.d_additive = run.scratch;
      std::fill_n(run.scratch, D_, 0.0f);
    }
    attend_backward(r, g);
    if (float* d = run.d_weights) {
      if (s_.score == AttentionSettings::Score::additive) {
        for (Index i = 0; s_.use_scale && i < D_; ++i) d[i] += run.scratch[i];
        return;
      }
      // The gradient by scale · q times q is that by scale.
      if (s_.use_scale) *d++ += d_scale;
      for (Index i = 0; s_.tanh() && i < D_; ++i) *d += run.scratch[i];
    }
  }
#endif

  MaskedStep masked_step() const override { return MaskedStep::refused; }
  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    const bool whole = check_attention_stream(*this, build, s_.causal, s_.window, s_.return_scores);
    std::vector<float> additive;
    if (s_.tanh()) {
      additive.resize(static_cast<std::size_t>(D_));
      fill_factors(build.weights, additive.data());
    }
    const Index V = features_of(build.inputs[1].shape);
    const std::size_t key = build.inputs.size() - 1;
    if (whole) {
      WholeAttention attention({1, 1, D_, V, scale(build.weights), std::move(additive)});
      return std::make_unique<WholeAttentionOp>(std::move(attention), key, s_.return_scores);
    }
    AttentionCache cache({1, 1, D_, V, s_.window, scale(build.weights), std::move(additive)});
    return std::make_unique<AttentionOp>(std::move(cache), static_cast<int>(key));
  }
  bool takes_whole(std::size_t input) const override { return input > 0; }

 private:
  float scale(const float* weights) const {
    return s_.use_scale && s_.score != AttentionSettings::Score::additive ? *weights : 1.0f;
  }

  static Index factors_at(std::span<const TensorSpec> inputs, bool training) {
    const Shape& q = inputs[0].shape;
    return training ? kAttentionSeed + simd::attention_padded(element_count({q[0], q[1]}), 16) : 0;
  }
  float* factors(const Context& run) const { return run.tape + factors_at(run.input_specs, run.training); }

  void fill_factors(const float* weights, float* to) const {
    if (s_.score == AttentionSettings::Score::concat)
      std::fill_n(to, D_, weights[s_.use_scale ? 1 : 0]);
    else if (s_.use_scale)
      std::copy_n(weights, D_, to);
    else
      std::fill_n(to, D_, 1.0f);
  }

  // Keras's mask of the query acts on the output alone: where the weights are seen, masked queries have theirs.
  bool counts_masked_queries(const Context& run) const { return s_.return_scores && run.steps(0).mask; }

  static void clear_masked(const Context& run, float* rows) {
    const RowSteps steps = run.steps(0);
    const Index V = features_of(run.output_specs[0].shape);
    for (Index b = 0; b < run.batch(); ++b)
      for (Index t = 0; t < steps.T; ++t)
        if (!steps.is_valid(b, t)) std::fill_n(rows + (b * steps.T + t) * V, V, 0.0f);
  }

  AttentionRun attention_run(const Context& run) const {
    const std::size_t key = run.inputs.size() - 1;
    AttentionRun r;
    r.batch = run.batch();
    r.dim = D_;
    r.value_dim = features_of(run.input_specs[1].shape);
    r.queries = run.steps(0);
    r.keys = run.steps(1);
    r.causal = s_.causal;
    r.window = s_.window;
    r.scale = scale(run.weights);
    if (s_.tanh()) r.additive = factors(run);
    if (run.training) {
      r.dropout = kept_dropout(run, s_.dropout);
      r.log_sums = run.tape + kAttentionSeed;
    }
    r.mean = means_where_nothing_is_seen(r);
    if (counts_masked_queries(run)) r.queries = {.T = r.queries.T};
    r.q = {run.input(0), D_};
    r.k = {run.input(key), D_};
    r.v = {run.input(1), r.value_dim};
    r.out = {run.outputs[0], r.value_dim};
    r.weights = s_.return_scores ? run.outputs[1] : nullptr;
    r.weights_dropped = true;
    return r;
  }

  AttentionSettings s_;
  Index D_ = 0;
};

AttentionSettings read_attention_settings(json::Reader& spec, bool use_scale) {
  AttentionSettings s;
  s.use_scale = spec.boolean("use_scale", use_scale);
  s.dropout = spec.find("dropout") == nullptr ? 0.0f : read_rate(spec, "dropout");
  s.causal = spec.boolean("use_causal_mask", false);
  s.window = read_window(spec);
  s.return_scores = spec.boolean("return_attention_scores", false);
  return s;
}

}  // namespace

std::unique_ptr<Layer> make_attention(json::Reader& spec, const std::string& type, const std::string& name) {
  static constexpr std::string_view modes[] = {"dot", "concat"};
  AttentionSettings s = read_attention_settings(spec, false);
  const std::string mode = spec.string("score_mode", "dot");
  if (mode == modes[1])
    s.score = AttentionSettings::Score::concat;
  else if (mode != modes[0])
    spec.fail("%", {unknown_name("score_mode", mode, modes)});
  return std::make_unique<Attention>(type, name, s);
}

std::unique_ptr<Layer> make_additive_attention(json::Reader& spec, const std::string& type, const std::string& name) {
  AttentionSettings s = read_attention_settings(spec, true);
  s.score = AttentionSettings::Score::additive;
  return std::make_unique<Attention>(type, name, s);
}

}  // namespace rekur::layers
