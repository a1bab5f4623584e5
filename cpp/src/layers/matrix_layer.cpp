// GatedLinearAttention and MLSTM: heads whose state is a matrix (matrix_heads.hpp) between a projection of the input and one of the
// output.
//   p = x W + b, o by the rule of the heads, y = (gamma ⊙ norm(o) ⊙ gate(z)) W_o + b_o, norm over the values of a head
// GatedLinearAttention: the columns of p are q, k, v, a (gated, gated_delta), β (delta, gated_delta), z (output_gate), each of all
// heads; norm(o) = o / √(mean(o²) + ε), gamma [V], gate = silu
//   linear, gated         q ← q / √K, a ← σ(a)^(1/τ), a number a key of a head
//   delta, gated_delta    q ← unit(silu q) / √K, k ← unit(silu k), v ← silu v, β ← σ(β), a ← σ(a)^(1/τ), a number a head
// MLSTM: q, k, v, i, z (output_gate), f; norm subtracts the mean first, gamma [H V], gate = σ
#include <algorithm>
#include <cmath>
#include <limits>

#include "io/suggest.hpp"
#include "isa/dispatch.hpp"
#include "layers/activation_spec.hpp"
#include "layers/elementwise.hpp"
#include "layers/masked_steps.hpp"
#include "layers/matrix_heads.hpp"
#include "layers/packed.hpp"
#include "layers/registry.hpp"
#include "layers/row_list.hpp"
#include "layers/row_products.hpp"
#include "layers/stream_op.hpp"
#include "runtime/lines.hpp"
#include "runtime/scratch.hpp"

namespace rekur::layers {
namespace {

[[maybe_unused]] constexpr Index kGammaRows = 64;  // whose share of gamma's gradient is summed by itself

struct MatrixSettings {
  MatrixRule rule;
  Index heads, key, value;
  Index units;  // of the output; 0: as many as the input has features
  float epsilon, decay_power;
  bool output_gate, use_bias, reverse, return_sequences, return_state;
  std::string kernel_initializer, bias_initializer, forget_initializer, gamma_initializer;

  bool mlstm() const { return rule == MatrixRule::mlstm; }
  simd::MatrixNormForm norm() const { return {epsilon, mlstm(), mlstm()}; }
  Index gamma_size() const { return mlstm() ? heads * value : value; }
  Index gamma_stride() const { return mlstm() ? value : 0; }  // between heads
};

// Places of the parameters in the layer's part of the flat buffer.
template <class T>
struct Weights {
  T *kernel, *bias, *gamma, *output_kernel, *output_bias;  // biases: null where there are none; of MLSTM f's stands at its end

  Weights(T* base, Index F, Index N, Index G, Index W, Index U, bool use_bias) {
    const auto next = [&](Index floats) { return std::exchange(base, base ? base + floats : nullptr); };
    kernel = next(F * N);
    bias = use_bias ? next(N) : nullptr;
    gamma = next(G);
    output_kernel = next(W * U);
    output_bias = use_bias ? next(U) : nullptr;
  }
};

// gamma ⊙ norm(o) ⊙ gate(z) at one step.
void normalize(const simd::MatrixKernels& kernels, const MatrixHeads& heads, const MatrixSettings& s, const float* gamma,
               const float* o, const float* projection, float* y) {
  const Index V = heads.value();
  const float* const z = s.output_gate ? projection + heads.output_gate() : nullptr;
  kernels.norm({heads.heads(), V, s.norm(), {gamma, s.gamma_stride()}, {o, V}, {z, V}, {y, V}});
}

// In memory: the states, then what a step computes on the way, then the addresses of rows.
class MatrixOp final : public StreamOp {
 public:
  MatrixOp(const MatrixSettings& s, const MatrixHeads& heads, Index F, Index U, const Weights<const float>& w)
      : s_(s), heads_(heads), F_(F), U_(U), table_(isa::table()) {
    const Index N = heads.columns(), W = heads.width();
    kernel_.prepare(w.kernel, F, N, N, 1, 1);
    output_kernel_.prepare(w.output_kernel, W, U, U, 1, 1);
    gamma_.assign(w.gamma, w.gamma + s.gamma_size());
    if (s.use_bias) {
      bias_.assign(w.bias, w.bias + N);
      output_bias_.assign(w.output_bias, w.output_bias + U);
    }
  }

  Index memory(Index batch) const override {
    const Index row = aligned(heads_.state()) + aligned(heads_.columns()) + 2 * aligned(heads_.width()) + 2 * kAddress;
    return element_count({batch, row}) + heads_.work();
  }

  std::vector<StreamState> states(Index) const override { return {{"s", heads_.state(), aligned(heads_.state()), {0, 0}}}; }

  void step(const StreamCall& c, int) const noexcept override {
    const Index N = heads_.columns(), W = heads_.width();
    float* at = c.memory;
    const auto take = [&](Index floats) { return std::exchange(at, at + c.batch * floats); };
    float* const state = take(aligned(heads_.state()));
    float* const p = take(aligned(N));
    float* const o = take(aligned(W));
    float* const m = take(aligned(W));
    const float** const from = reinterpret_cast<const float**>(take(kAddress));
    float** const to = reinterpret_cast<float**>(take(kAddress));
    float* const work = at;

    for (Index row = 0; row < c.batch; ++row) {
      from[row] = c.input() + row * F_;
      to[row] = p + row * aligned(N);
    }
    table_.simd.gemm(c.batch, N, F_, from, kernel_.data(), bias_.empty() ? nullptr : bias_.data(), to, 0, false);
    for (Index row = 0; row < c.batch; ++row) {
      for (Index head = 0; head < heads_.heads(); ++head) {
        float* const s = state + row * aligned(heads_.state()) + head * heads_.head_state();
        heads_.forward(table_.matrix, {head, 1, p + row * aligned(N), s, s, o + row * aligned(W), nullptr, nullptr}, work);
      }
      normalize(table_.matrix, heads_, s_, gamma_.data(), o + row * aligned(W), p + row * aligned(N), m + row * aligned(W));
      from[row] = m + row * aligned(W);
      to[row] = c.output() + row * U_;
      if (s_.return_state) std::copy_n(state + row * aligned(heads_.state()), heads_.state(), c.output(1) + row * heads_.state());
    }
    table_.simd.gemm(c.batch, U_, W, from, output_kernel_.data(), output_bias_.empty() ? nullptr : output_bias_.data(), to, 0,
                     false);
  }

 private:
  static constexpr Index kAddress = sizeof(void*) / sizeof(float);

  MatrixSettings s_;
  MatrixHeads heads_;
  Index F_, U_;
  const isa::Table& table_;
  PackedMatrix kernel_, output_kernel_;
  std::vector<float> bias_, gamma_, output_bias_;
};

class MatrixLayer final : public Layer {
 public:
  MatrixLayer(const std::string& type, const std::string& name, MatrixSettings settings)
      : Layer(type, name), s_(std::move(settings)), heads_(s_.rule, s_.heads, s_.key, s_.value, s_.decay_power, s_.output_gate) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 1, 2);
    const TensorSpec& x = inputs[0];
    expect_features(x);
    if (x.shape.size() != 3) fail("expected a sequence of shape (B, T, F), got %", {x.shape});
    const Index F = features_of(x.shape);
    if (F_ > 0 && F != F_) fail("expected input of % features, got % (input shape %)", {F_, F, x.shape});
    const TensorSpec state{{x.shape[0], heads_.state()}, DType::float32, -1};
    if (inputs.size() == 2) {
      const TensorSpec& given = inputs[1];
      if (given.dtype != DType::float32 || given.shape.size() != 2 || given.shape[1] != heads_.state())
        fail("expected an initial state of shape % (% heads of %), got %%",
             {to_string({kUnknown, heads_.state()}), s_.heads, heads_.head_state(),
              (given.dtype == DType::int32 ? "int32 ids of shape " : ""), given.shape});
    }
    TensorSpec y{{x.shape[0], s_.units > 0 ? s_.units : F}, DType::float32, -1};
    if (s_.return_sequences) {
      y.shape.insert(y.shape.begin() + 1, x.shape[1]);
      y.time_source = x.time_source;
    }
    std::vector<TensorSpec> outputs{y};
    if (s_.return_state) outputs.push_back(state);
    return outputs;
  }

  std::vector<ParamSpec> parameters(std::span<const TensorSpec> inputs) const override {
    const Index F = features_of(inputs[0].shape), N = heads_.columns(), W = heads_.width(), U = s_.units > 0 ? s_.units : F;
    std::vector<ParamSpec> specs;
    add_parameter(specs, "", "kernel", {F, N}, s_.kernel_initializer, N);
    const Index apart = s_.mlstm() ? s_.heads : 0;  // columns of f, whose bias has an initialiser of its own
    if (s_.use_bias) add_parameter(specs, "", "bias", {N - apart}, s_.bias_initializer, N);
    if (s_.use_bias && apart > 0) add_parameter(specs, "", "forget_bias", {apart}, s_.forget_initializer, apart);
    add_parameter(specs, "", "gamma", {s_.gamma_size()}, s_.gamma_initializer, s_.value);
    add_parameter(specs, "", "output_kernel", {W, U}, s_.kernel_initializer, U);
    if (s_.use_bias) add_parameter(specs, "", "output_bias", {U}, s_.bias_initializer, U);
    return specs;
  }

  void build(std::span<const TensorSpec> inputs) override {
    F_ = features_of(inputs[0].shape);
    U_ = s_.units > 0 ? s_.units : F_;
  }

  void prepare(const float* weights, std::uint64_t version, [[maybe_unused]] bool training) const override {
    const Index N = heads_.columns(), W = heads_.width();
    const Weights<const float> w = weights_at(weights);
    kernel_.prepare(w.kernel, F_, N, N, 1, version);
    output_kernel_.prepare(w.output_kernel, W, U_, U_, 1, version);
#if REKUR_TRAINING
    if (!training) return;
    transposed_.prepare(w.kernel, N, F_, 1, N, version);
    output_transposed_.prepare(w.output_kernel, U_, W, 1, U_, version);
#endif
  }

  Index tape_size(std::span<const TensorSpec> inputs, bool training) const override { return tape(inputs[0].shape, training).size; }

  bool crosses_resets() const override { return true; }

  void forward(const Context& run) const override {
    const Shape& x = run.input_specs[0].shape;
    const Index B = x[0], T = x[1], N = heads_.columns(), W = heads_.width();
    const Tape at = tape(x, run.training);
    const isa::Table& table = isa::table();
    const Weights<const float> w = weights_at(run.weights);
    ScratchUse scratch;
    RowList list(B, run.steps(), s_.return_sequences, order(), *scratch);
    float *const p = run.tape + at.projection, *const o = run.tape + at.o, *const m = run.tape + at.normal;

    row_product(list.valid, N, F_, list.fill(list.places, run.input(), F_), kernel_.data(), w.bias, list.fill_to(list.rows, p, N),
                false);

    const double operations = heads_.operations(list.valid) * static_cast<double>(heads_.heads());
    const Index tasks = B * heads_.heads();
    const int threads = runtime::threads_for(operations, tasks);
    float* const work = scratch->take<float>(threads * aligned(heads_.work())).data();
    runtime::numbered_tasks(threads, tasks, [&](Index task, int thread) {
      heads_.forward(table.matrix, head_run(run, at, task, list.lengths), work + thread * aligned(heads_.work()));
    });

    float* const y = run.outputs[0];
    if (list.valid < B * T || !s_.return_sequences) std::fill_n(y, element_count(run.output_specs[0].shape), 0.0f);
    over_rows(list.seen, W, 20, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        const Index row = list.seen_rows[i];
        normalize(table.matrix, heads_, s_, w.gamma, o + row * W, p + row * N, m + row * W);
      }
    });
    row_product(list.seen, U_, W, list.fill(list.seen_rows, m, W, list.seen), output_kernel_.data(), w.output_bias,
                list.fill_to(list.output_rows, y, U_, list.seen), false);
    if (run.steps().mask && s_.return_sequences) fill_masked_steps({run.steps(), B, U_, s_.reverse}, {y, T * U_, U_}, nullptr);
  }

#if REKUR_TRAINING
  Index backward_scratch(std::span<const TensorSpec> inputs) const override {
    const Index B = inputs[0].shape[0], T = inputs[0].shape[1];
    return aligned(element_count({B, T, heads_.columns()})) + aligned(element_count({B, T, heads_.width()})) +
           (inputs.size() > 1 ? aligned(element_count({B, heads_.state()})) : 0);
  }

  void backward(const Context& run) const override {
    const Shape& x = run.input_specs[0].shape;
    const Index B = x[0], T = x[1], N = heads_.columns(), W = heads_.width(), G = s_.gamma_size();
    const Tape at = tape(x, true);
    const isa::Table& table = isa::table();
    const Weights<const float> w = weights_at(run.weights);
    const Weights<float> d_w = weights_at(run.d_weights);
    if (run.steps().mask && s_.return_sequences && run.d_outputs[0] != nullptr)
      fold_masked_gradients({run.steps(), B, U_, s_.reverse}, {run.d_outputs[0], T * U_, U_}, nullptr);
    ScratchUse scratch;
    RowList list(B, run.steps(), s_.return_sequences, order(), *scratch);
    float* const dp = run.scratch;
    float* const d_o = dp + aligned(B * T * N);
    float* const d_initial = run.inputs.size() > 1 && run.d_inputs[1] != nullptr ? d_o + aligned(B * T * W) : nullptr;
    const Index gamma_blocks = (list.seen + kGammaRows - 1) / kGammaRows;
    float* const d_gamma = scratch->take<float>(gamma_blocks * G).data();

    // What is not seen of o has no gradient.
    if (run.d_outputs[0] == nullptr || !s_.return_sequences) {
      over_rows(list.valid, W, 1, [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i) {
          std::fill_n(d_o + list.rows[i] * W, W, 0.0f);
          if (s_.output_gate) std::fill_n(dp + list.rows[i] * N + heads_.output_gate(), W, 0.0f);
        }
      });
    }
    const int output_threads = row_product_tn_threads(list.seen, W, U_);
    const int threads = row_product_tn_threads(list.valid, F_, N);
    float* const copies = scratch->take<float>(std::max(output_threads, threads) * table.simd.gemm_tn_work).data();
    if (const float* const dy = run.d_outputs[0]) {
      const ConstRows dy_rows = list.fill(list.output_rows, dy, U_, list.seen);
      row_product(list.seen, W, U_, dy_rows, output_transposed_.data(), nullptr, list.fill_to(list.seen_rows, d_o, W, list.seen),
                  false);
      if (run.d_weights != nullptr) {
        if (s_.use_bias) row_sums(list.seen, U_, dy_rows, d_w.output_bias);
        const ConstRows m_rows = list.fill_second(list.seen_rows, run.tape + at.normal, W, list.seen);
        row_product_tn(output_threads, list.seen, W, U_, m_rows, dy_rows, d_w.output_kernel, copies);
      }
      normalize_backward(run, at, list, w.gamma, d_o, dp, run.d_weights ? d_gamma : nullptr);
      if (run.d_weights != nullptr)
        for (Index block = 0; block < gamma_blocks; ++block) table.simd.add(d_w.gamma, d_gamma + block * G, d_w.gamma, G);
    }

    const Index tasks = B * heads_.heads();
    const int head_threads = runtime::threads_for(3 * heads_.operations(list.valid) * static_cast<double>(heads_.heads()), tasks);
    float* const work = scratch->take<float>(head_threads * aligned(heads_.backward_work())).data();
    runtime::numbered_tasks(head_threads, tasks, [&](Index task, int thread) {
      HeadBackward b{head_run(run, at, task, list.lengths), nullptr, nullptr, nullptr, nullptr};
      const Index row = task / heads_.heads(), state = row * heads_.state() + b.run.head * heads_.head_state();
      b.d_o = d_o + row * T * W;
      b.d_final = s_.return_state && run.d_outputs[1] != nullptr ? run.d_outputs[1] + state : nullptr;
      b.d_initial = d_initial ? d_initial + state : nullptr;
      b.d_projection = dp + row * T * N;
      heads_.backward(table.matrix, b, work + thread * aligned(heads_.backward_work()));
    });
    if (d_initial != nullptr) accumulate(d_initial, run.d_inputs[1], B * heads_.state());

    const ConstRows dp_rows = list.fill(list.rows, dp, N);
    if (run.d_weights != nullptr) {
      if (s_.use_bias) row_sums(list.valid, N, dp_rows, d_w.bias);
      row_product_tn(threads, list.valid, F_, N, list.fill_second(list.places, run.input(), F_), dp_rows, d_w.kernel, copies);
    }
    if (run.d_inputs[0] != nullptr)
      row_product(list.valid, F_, N, dp_rows, transposed_.data(), nullptr, list.fill_to(list.places, run.d_inputs[0], F_), true);
  }
#endif

  MaskedStep masked_step() const override { return MaskedStep::last_output; }
  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    if (s_.reverse) cannot_stream("it reads the sequence from its end");
    return std::make_unique<MatrixOp>(s_, heads_, F_, U_, weights_at(build.weights));
  }
  std::size_t first_initial_state() const override { return 1; }

 private:
  template <class T>
  Weights<T> weights_at(T* base) const {
    return {base, F_, heads_.columns(), s_.gamma_size(), heads_.width(), U_, s_.use_bias};
  }

  RowList::Order order() const { return s_.reverse ? RowList::Order::turned : RowList::Order::onwards; }

  // Places in the tape (in inference: the workspace), by (row, step).
  struct Tape {
    Index projection = 0, o = 0, r = 0, gates = 0, normal = 0, size = 0;
  };

  Tape tape(const Shape& x, bool training) const {
    Tape at;
    const auto reserve = [&](Index floats) {
      return std::exchange(at.size, at.size + aligned(element_count({x[0], x[1], floats})));
    };
    at.projection = reserve(heads_.columns());
    at.o = reserve(heads_.width());
    if (training && heads_.delta()) at.r = reserve(heads_.width());
    if (training && heads_.mlstm()) at.gates = reserve(heads_.heads() * kMatrixGates);
    at.normal = training ? reserve(heads_.width()) : at.o;
    return at;
  }

  // Task `task` of a pass: a head of a row.
  HeadRun head_run(const Context& run, const Tape& at, Index task, const std::int32_t* lengths) const {
    const Index T = run.input_specs[0].shape[1], N = heads_.columns(), W = heads_.width();
    const Index row = task / heads_.heads(), head = task % heads_.heads();
    const Index state = row * heads_.state() + head * heads_.head_state();
    HeadRun h;
    h.head = head;
    h.steps = lengths ? lengths[row] : T;
    h.projection = run.tape + at.projection + row * T * N;
    h.initial = run.inputs.size() > 1 ? run.input(1) + state : nullptr;
    h.final = s_.return_state ? run.outputs[1] + state : nullptr;
    h.o = run.tape + at.o + row * T * W;
    h.gates = run.training && heads_.mlstm() ? run.tape + at.gates + row * T * heads_.heads() * kMatrixGates : nullptr;
    h.r = run.training && heads_.delta() ? run.tape + at.r + row * T * W : nullptr;
    return h;
  }

#if REKUR_TRAINING
  // Over the gradient of gamma ⊙ norm(o) ⊙ gate(z) in d_o that of o; that of z into the projection's; gamma's by blocks of rows.
  void normalize_backward(const Context& run, const Tape& at, const RowList& list, const float* gamma, float* d_o, float* dp,
                          float* d_gamma) const {
    const Index N = heads_.columns(), W = heads_.width(), V = heads_.value(), H = heads_.heads(), G = s_.gamma_size();
    const Index blocks = (list.seen + kGammaRows - 1) / kGammaRows;
    const auto& kernels = isa::table().matrix;
    const double work = 40.0 * static_cast<double>(list.seen) * static_cast<double>(W);
    runtime::parallel_tasks(blocks, work, [&](Index block) {
      float* const share = d_gamma ? d_gamma + block * G : nullptr;
      if (share != nullptr) std::fill_n(share, G, 0.0f);
      for (Index i = block * kGammaRows; i < std::min(list.seen, (block + 1) * kGammaRows); ++i) {
        const Index row = list.seen_rows[i], gate = row * N + heads_.output_gate();
        float* const d = d_o + row * W;
        kernels.norm_backward({H,
                               V,
                               s_.norm(),
                               {gamma, s_.gamma_stride()},
                               {run.tape + at.o + row * W, V},
                               {s_.output_gate ? run.tape + at.projection + gate : nullptr, V},
                               {d, V},
                               {d, V},
                               {dp + gate, V},
                               {share, s_.gamma_stride()}});
      }
    });
  }
#endif

  MatrixSettings s_;
  MatrixHeads heads_;
  Index F_ = 0, U_ = 0;
  mutable PackedMatrix kernel_, output_kernel_;
#if REKUR_TRAINING
  mutable PackedMatrix transposed_, output_transposed_;
#endif
};

MatrixRule read_mode(json::Reader& spec) {
  static constexpr std::string_view names[] = {"linear", "gated", "delta", "gated_delta"};
  const std::string name = spec.string("mode", "gated");
  for (std::size_t i = 0; i < std::size(names); ++i)
    if (name == names[i]) return static_cast<MatrixRule>(i);
  spec.fail("%", {unknown_name("mode", name, names)});
}

float read_positive(json::Reader& spec, const char* key, double fallback) {
  const double value = spec.number(key, fallback);
  using Limits = std::numeric_limits<float>;
  if (!(value >= static_cast<double>(Limits::min()) && value <= static_cast<double>(Limits::max())))
    spec.refuse(key, "a positive float32 number");
  return static_cast<float>(value);
}

// What both types have.
MatrixSettings read_matrix_settings(json::Reader& spec, MatrixRule rule) {
  MatrixSettings s;
  s.rule = rule;
  s.heads = spec.positive_integer("num_heads");
  s.key = spec.positive_integer("key_dim");
  s.value = spec.positive_integer("value_dim", s.key);
  constexpr Index kMost = Index{1} << 40;  // numbers of a state: more than there is memory anywhere
  if (s.key > kMost / s.heads || s.value >= kMost / (s.heads * s.key))
    spec.fail("a state of % heads of % × % is too large", {s.heads, s.key, s.value});
  s.units = spec.find("units") == nullptr ? 0 : spec.positive_integer("units");
  s.epsilon = read_positive(spec, "epsilon", 1e-5);
  s.decay_power = 1.0f;
  s.output_gate = spec.boolean("output_gate", true);
  s.use_bias = spec.boolean("use_bias", true);
  s.reverse = spec.boolean("reverse", false);
  s.return_sequences = spec.boolean("return_sequences", false);
  s.return_state = spec.boolean("return_state", false);
  s.kernel_initializer = read_initializer(spec, "kernel_initializer", "glorot_uniform");
  s.bias_initializer = read_initializer(spec, "bias_initializer", "zeros");
  s.gamma_initializer = read_initializer(spec, "gamma_initializer", "ones");
  return s;
}

}  // namespace

std::unique_ptr<Layer> make_gated_linear_attention(json::Reader& spec, const std::string& type, const std::string& name) {
  MatrixSettings s = read_matrix_settings(spec, read_mode(spec));
  s.decay_power = 1.0f / read_positive(spec, "decay_normalizer", 16.0);
  return std::make_unique<MatrixLayer>(type, name, std::move(s));
}

std::unique_ptr<Layer> make_mlstm(json::Reader& spec, const std::string& type, const std::string& name) {
  MatrixSettings s = read_matrix_settings(spec, MatrixRule::mlstm);
  s.forget_initializer = R"({"name":"uniform","low":3.0,"high":6.0})";
  if (spec.find("forget_bias_initializer") != nullptr)
    s.forget_initializer = read_initializer(spec, "forget_bias_initializer", "zeros");
  return std::make_unique<MatrixLayer>(type, name, std::move(s));
}

}  // namespace rekur::layers
