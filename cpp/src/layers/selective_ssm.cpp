// SelectiveSSM: the block of Mamba (Gu and Dao, arXiv:2312.00752) of E = expand · F channels with N states each.
//   (x, z) = input W + b     u = silu(short causal convolution of x, each channel by itself)     (r, B, C) = u W_s
//   Δ = softplus(r W_Δ + b_Δ)     h ← e^(Δ A) h + Δ u B, A = -e^A_log     y = (Cᵀ h + D u) silu(z)     output = y W_o + b_o
// A state is [N + K - 1][E]: h, then the last K - 1 inputs of the convolution, the latest at the end.
//
// Channels are dealt out in groups of kGroup, which stand by themselves but for the gradients of B and C: these are summed group
// by group, and those of A, D and the convolution row by row, so threads change no bit.
#include <algorithm>
#include <cmath>
#include <limits>

#include "isa/dispatch.hpp"
#include "layers/activation_spec.hpp"
#include "layers/elementwise.hpp"
#include "layers/masked_steps.hpp"
#include "layers/packed.hpp"
#include "layers/registry.hpp"
#include "layers/row_list.hpp"
#include "layers/row_products.hpp"
#include "layers/selective_ssm.hpp"
#include "runtime/lines.hpp"
#include "runtime/scratch.hpp"

namespace rekur::layers {
namespace {

using simd::Steps;
using simd::StepsOut;

class SelectiveSSM final : public Layer {
 public:
  SelectiveSSM(const std::string& type, const std::string& name, SelectiveSettings settings)
      : Layer(type, name), s_(std::move(settings)) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 1, 2);
    const TensorSpec& x = inputs[0];
    expect_features(x);
    if (x.shape.size() != 3) fail("expected a sequence of shape (B, T, F), got %", {x.shape});
    const Index F = features_of(x.shape);
    if (z_.F > 0 && F != z_.F) fail("expected input of % features, got % (input shape %)", {z_.F, F, x.shape});
    if (F > kMostNumbers / s_.expand || s_.states + s_.taps > kMostNumbers / (s_.expand * F))
      fail("a state of % numbers for each of % · % channels is too large", {s_.states, s_.expand, F});
    const SelectiveSizes z(s_, F);
    if (inputs.size() == 2) {
      const TensorSpec& given = inputs[1];
      if (given.dtype != DType::float32 || given.shape.size() != 2 || given.shape[1] != z.state())
        fail("expected an initial state of shape % (% channels of %), got %%",
             {to_string({kUnknown, z.state()}), z.E, z.state_rows(), (given.dtype == DType::int32 ? "int32 ids of shape " : ""),
              given.shape});
    }
    TensorSpec y{{x.shape[0], z.U}, DType::float32, -1};
    if (s_.return_sequences) {
      y.shape.insert(y.shape.begin() + 1, x.shape[1]);
      y.time_source = x.time_source;
    }
    std::vector<TensorSpec> outputs{y};
    if (s_.return_state) outputs.push_back({{x.shape[0], z.state()}, DType::float32, -1});
    return outputs;
  }

  std::vector<ParamSpec> parameters(std::span<const TensorSpec> inputs) const override {
    const SelectiveSizes z(s_, features_of(inputs[0].shape));
    std::vector<ParamSpec> specs;
    add_parameter(specs, "", "kernel", {z.F, 2 * z.E}, s_.kernel_initializer, 2 * z.E);
    if (s_.use_bias) add_parameter(specs, "", "bias", {2 * z.E}, s_.bias_initializer, 2 * z.E);
    add_parameter(specs, "", "convolution", {z.K, z.E}, s_.convolution_initializer, z.K);
    if (s_.use_conv_bias) add_parameter(specs, "", "convolution_bias", {z.E}, s_.convolution_initializer, z.K);
    add_parameter(specs, "", "selection_kernel", {z.E, z.selection()}, s_.kernel_initializer, z.selection());
    add_parameter(specs, "", "dt_kernel", {z.R, z.E}, R"("rnn_uniform")", z.R);
    add_parameter(specs, "", "dt_bias", {z.E}, s_.dt_bias_initializer, z.E);
    add_parameter(specs, "", "A_log", {z.N, z.E}, R"("log_range")", z.E);
    add_parameter(specs, "", "D", {z.E}, R"("ones")", z.E);
    add_parameter(specs, "", "output_kernel", {z.E, z.U}, s_.kernel_initializer, z.U);
    if (s_.use_bias) add_parameter(specs, "", "output_bias", {z.U}, s_.bias_initializer, z.U);
    return specs;
  }

  void build(std::span<const TensorSpec> inputs) override { z_ = SelectiveSizes(s_, features_of(inputs[0].shape)); }

  void prepare(const float* weights, std::uint64_t version, [[maybe_unused]] bool training) const override {
    const SelectiveWeights<const float> w(weights, s_, z_);
    kernel_.prepare(w.kernel, z_.F, 2 * z_.E, 2 * z_.E, 1, version);
    selection_.prepare(w.selection, z_.E, z_.selection(), z_.selection(), 1, version);
    dt_kernel_.prepare(w.dt_kernel, z_.R, z_.E, z_.E, 1, version);
    output_kernel_.prepare(w.output_kernel, z_.E, z_.U, z_.U, 1, version);
    decays_.prepare(w.A_log, z_.N * z_.E, version);
#if REKUR_TRAINING
    if (!training) return;
    transposed_.prepare(w.kernel, 2 * z_.E, z_.F, 1, 2 * z_.E, version);
    selection_transposed_.prepare(w.selection, z_.selection(), z_.E, 1, z_.selection(), version);
    dt_transposed_.prepare(w.dt_kernel, z_.E, z_.R, 1, z_.E, version);
    output_transposed_.prepare(w.output_kernel, z_.U, z_.E, 1, z_.U, version);
#endif
  }

  Index tape_size(std::span<const TensorSpec> inputs, bool training) const override { return tape(inputs[0].shape, training).size; }

  bool crosses_resets() const override { return true; }

  void forward(const Context& run) const override {
    const Shape& shape = run.input_specs[0].shape;
    const Index B = shape[0], T = shape[1], E = z_.E;
    const Tape at = tape(shape, run.training);
    const isa::Table& table = isa::table();
    const SelectiveWeights<const float> w(run.weights, s_, z_);
    ScratchUse scratch;
    RowList list(B, run.steps(), s_.return_sequences, order(), *scratch);
    float *const p = run.tape + at.projection, *const u = run.tape + at.u, *const selection = run.tape + at.selection,
                 *const r = run.tape + at.r, *const o = run.tape + at.y;
    const Index groups = groups_of(E), tasks = B * groups;
    const Index zero_state = run.inputs.size() > 1 ? 0 : z_.state();
    float* const zeros = scratch->take<float>(zero_state).data();
    std::fill_n(zeros, zero_state, 0.0f);
    float* const states = s_.return_state ? run.outputs[1] : scratch->take<float>(B * z_.N * E).data();
    const Index state_stride = s_.return_state ? z_.state() : z_.N * E;
    const auto initial = [&](Index row) { return run.inputs.size() > 1 ? run.input(1) + row * z_.state() : zeros; };

    row_product(list.valid, 2 * E, z_.F, list.fill(list.places, run.input(), z_.F), kernel_.data(), w.bias,
                list.fill_to(list.rows, p, 2 * E), false);
    runtime::parallel_tasks(tasks, work(list.valid) / static_cast<double>(z_.N), [&](Index task) {
      const Index row = task / groups, begin = task % groups * kChannelGroup, steps = list.lengths ? list.lengths[row] : T;
      const SelectiveNumbers n = numbers(run.weights, run.tape, at, row, steps, T);
      const float* const before = initial(row) + z_.N * E;
      table.selective.convolve(convolution_of(z_, n, steps, begin, before, out_of(n.u)));
      if (!s_.return_state) return;
      float* const after = run.outputs[1] + row * z_.state() + z_.N * E;
      for (Index j = 0; j < z_.K - 1; ++j) {
        const Index t = steps - (z_.K - 1) + j;
        std::copy_n((t < 0 ? before + (t + z_.K - 1) * E : n.x.data + t * n.x.stride) + begin, std::min(kChannelGroup, E - begin),
                    after + j * E + begin);
      }
    });
    row_product(list.valid, z_.selection(), E, list.fill(list.rows, u, E), selection_.data(), nullptr,
                list.fill_to(list.rows, selection, z_.selection()), false);
    row_product(list.valid, E, z_.R, list.fill(list.rows, selection, z_.selection()), dt_kernel_.data(), w.dt_bias,
                list.fill_to(list.rows, r, E), false);

    const int threads = runtime::threads_for(work(list.valid), tasks);
    const Index room = aligned(simd::scan_work(z_.N));
    float* const memory = scratch->take<float>(threads * room).data();
    runtime::numbered_tasks(threads, tasks, [&](Index task, int thread) {
      const Index row = task / groups, begin = task % groups * kChannelGroup, steps = list.lengths ? list.lengths[row] : T;
      const SelectiveNumbers n = numbers(run.weights, run.tape, at, row, steps, T);
      float* const h = states + row * state_stride;
      for (Index k = 0; k < z_.N; ++k)
        std::copy_n(initial(row) + k * E + begin, std::min(kChannelGroup, E - begin), h + k * E + begin);
      float* const marks = run.training ? run.tape + at.marks + row * marks_of(T) : nullptr;
      const Steps y = steps_of(o + row * T * E, E, steps);
      table.selective.scan(scan_of(z_, n, steps, begin, h, out_of(y), marks, memory + thread * room));
    });

    float* const y = run.outputs[0];
    if (list.valid < B * T || !s_.return_sequences) std::fill_n(y, element_count(run.output_specs[0].shape), 0.0f);
    row_product(list.seen, z_.U, E, list.fill(list.seen_rows, o, E, list.seen), output_kernel_.data(), w.output_bias,
                list.fill_to(list.output_rows, y, z_.U, list.seen), false);
    if (run.steps().mask && s_.return_sequences)
      fill_masked_steps({run.steps(), B, z_.U, s_.reverse}, {y, T * z_.U, z_.U}, nullptr);
  }

#if REKUR_TRAINING
  Index backward_scratch(std::span<const TensorSpec> inputs) const override {
    const Index B = inputs[0].shape[0], T = inputs[0].shape[1];
    return gradients(B, T).size;
  }

  void backward(const Context& run) const override {
    const Shape& shape = run.input_specs[0].shape;
    const Index B = shape[0], T = shape[1], E = z_.E, S = z_.selection(), state = z_.state();
    const Tape at = tape(shape, true);
    const Gradients d = gradients(B, T);
    const isa::Table& table = isa::table();
    const SelectiveWeights<const float> w(run.weights, s_, z_);
    const SelectiveWeights<float> d_w(run.d_weights, s_, z_);
    if (run.steps().mask && s_.return_sequences && run.d_outputs[0] != nullptr)
      fold_masked_gradients({run.steps(), B, z_.U, s_.reverse}, {run.d_outputs[0], T * z_.U, z_.U}, nullptr);
    ScratchUse scratch;
    RowList list(B, run.steps(), s_.return_sequences, order(), *scratch);
    float *const dp = run.scratch + d.projection, *const du = run.scratch + d.u, *const dr = run.scratch + d.r;
    float *const dy = run.scratch + d.y, *const ds = run.scratch + d.selection, *const parts = run.scratch + d.parts;
    float *const shares = run.scratch + d.shares, *const d_states = run.scratch + d.states;
    const float* const tape_u = run.tape + at.u;
    const float* const tape_s = run.tape + at.selection;

    const int output_threads = row_product_tn_threads(list.seen, E, z_.U),
              threads = row_product_tn_threads(list.valid, z_.F, 2 * E);
    const int selection_threads = row_product_tn_threads(list.valid, E, S),
              dt_threads = row_product_tn_threads(list.valid, z_.R, E);
    const int most = std::max({output_threads, threads, selection_threads, dt_threads});
    float* const copies = scratch->take<float>(most * table.simd.gemm_tn_work).data();

    // What is not seen of y has no gradient.
    if (run.d_outputs[0] == nullptr || !s_.return_sequences)
      over_rows(list.valid, E, 1, [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i) std::fill_n(dy + list.rows[i] * E, E, 0.0f);
      });
    if (const float* const arrives = run.d_outputs[0]) {
      const ConstRows rows = list.fill(list.output_rows, arrives, z_.U, list.seen);
      row_product(list.seen, E, z_.U, rows, output_transposed_.data(), nullptr, list.fill_to(list.seen_rows, dy, E, list.seen),
                  false);
      if (run.d_weights != nullptr) {
        if (s_.use_bias) row_sums(list.seen, z_.U, rows, d_w.output_bias);
        const ConstRows y_rows = list.fill_second(list.seen_rows, run.tape + at.y, E, list.seen);
        row_product_tn(output_threads, list.seen, E, z_.U, y_rows, rows, d_w.output_kernel, copies);
      }
    }

    const Index groups = groups_of(E), tasks = B * groups;
    const float* const d_final = s_.return_state ? run.d_outputs[1] : nullptr;
    const int scan_threads = runtime::threads_for(2 * work(list.valid), tasks);
    const Index room = aligned(simd::scan_backward_work(z_.N));
    float* const memory = scratch->take<float>(scan_threads * room).data();
    runtime::numbered_tasks(scan_threads, tasks, [&](Index task, int thread) {
      const Index row = task / groups, begin = task % groups * kChannelGroup, steps = list.lengths ? list.lengths[row] : T;
      const Index channels = std::min(kChannelGroup, E - begin);
      const SelectiveNumbers n = numbers(run.weights, run.tape, at, row, steps, T);
      float* const d_h = d_states + row * state + begin;
      for (Index k = 0; k < z_.N; ++k) {
        if (d_final != nullptr)
          std::copy_n(d_final + row * state + k * E + begin, channels, d_h + k * E);
        else
          std::fill_n(d_h + k * E, channels, 0.0f);
      }
      const auto here = [&](float* base, Index stride, Index column) {
        return out_of(steps_of(base + row * T * stride + column, stride, steps));
      };
      const simd::SelectiveScan scan = scan_of(z_, n, steps, begin, nullptr, {}, nullptr, nullptr);
      table.selective.scan_backward({steps,
                                     channels,
                                     z_.N,
                                     E,
                                     scan.a,
                                     scan.skip,
                                     run.tape + at.marks + row * marks_of(T) + begin,
                                     scan.x,
                                     scan.dt,
                                     scan.z,
                                     scan.b,
                                     scan.c,
                                     in_of(here(dy, E, begin)),
                                     d_h,
                                     shares + row * z_.shares() * E + begin,
                                     here(du, E, begin),
                                     here(dr, E, begin),
                                     here(dp, 2 * E, E + begin),
                                     here(parts, groups * 2 * z_.N, task % groups * 2 * z_.N),
                                     memory + thread * room});
    });

    // The groups' shares of the gradients of B and C; then those of what Δ is made of, of u and of the convolution's input.
    over_rows(list.valid, S, 4, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        const float* const part = parts + list.rows[i] * groups * 2 * z_.N;
        float* const to = ds + list.rows[i] * S + z_.R;
        std::copy_n(part, 2 * z_.N, to);
        for (Index group = 1; group < groups; ++group) table.simd.add(to, part + group * 2 * z_.N, to, 2 * z_.N);
      }
    });
    const ConstRows dr_rows = list.fill(list.rows, dr, E);
    row_product(list.valid, z_.R, E, dr_rows, dt_transposed_.data(), nullptr, list.fill_to(list.rows, ds, S), false);
    if (run.d_weights != nullptr) {
      row_sums(list.valid, E, dr_rows, d_w.dt_bias);
      row_product_tn(dt_threads, list.valid, z_.R, E, list.fill_second(list.rows, tape_s, S), dr_rows, d_w.dt_kernel, copies);
    }
    const ConstRows ds_rows = list.fill(list.rows, ds, S);
    row_product(list.valid, E, S, ds_rows, selection_transposed_.data(), nullptr, list.fill_to(list.rows, du, E), true);
    if (run.d_weights != nullptr)
      row_product_tn(selection_threads, list.valid, E, S, list.fill_second(list.rows, tape_u, E), ds_rows, d_w.selection, copies);

    const Index zero_state = run.inputs.size() > 1 ? 0 : state;
    float* const zeros = scratch->take<float>(zero_state).data();
    std::fill_n(zeros, zero_state, 0.0f);
    const bool initial_wanted = run.inputs.size() > 1 && run.d_inputs[1] != nullptr;
    runtime::parallel_tasks(tasks, 2 * work(list.valid) / static_cast<double>(z_.N), [&](Index task) {
      const Index row = task / groups, begin = task % groups * kChannelGroup, steps = list.lengths ? list.lengths[row] : T;
      const SelectiveNumbers n = numbers(run.weights, run.tape, at, row, steps, T);
      const float* const before = (run.inputs.size() > 1 ? run.input(1) + row * state : zeros) + z_.N * E;
      table.selective.convolve_backward(
          {convolution_of(z_, n, steps, begin, before, {}), out_of(steps_of(du + row * T * E + begin, E, steps)),
           d_final ? d_final + row * state + z_.N * E + begin : nullptr,
           initial_wanted ? d_states + row * state + z_.N * E + begin : nullptr,
           shares + (row * z_.shares() + z_.N + 1) * E + begin, out_of(steps_of(dp + row * T * 2 * E + begin, 2 * E, steps))});
    });
    if (initial_wanted) accumulate(d_states, run.d_inputs[1], B * state);
    if (run.d_weights != nullptr) {
      for (Index row = 0; row < B; ++row) {
        const float* const from = shares + row * z_.shares() * E;
        const auto add = [&](float* to, Index first, Index count) {
          if (to != nullptr) table.simd.add(to, from + first * E, to, count * E);
        };
        add(d_w.A_log, 0, z_.N);
        add(d_w.D, z_.N, 1);
        add(d_w.convolution, z_.N + 1, z_.K);
        add(d_w.convolution_bias, z_.N + 1 + z_.K, 1);
      }
    }

    const ConstRows dp_rows = list.fill(list.rows, dp, 2 * E);
    if (run.d_weights != nullptr) {
      if (s_.use_bias) row_sums(list.valid, 2 * E, dp_rows, d_w.bias);
      row_product_tn(threads, list.valid, z_.F, 2 * E, list.fill_second(list.places, run.input(), z_.F), dp_rows, d_w.kernel,
                     copies);
    }
    if (run.d_inputs[0] != nullptr)
      row_product(list.valid, z_.F, 2 * E, dp_rows, transposed_.data(), nullptr, list.fill_to(list.places, run.d_inputs[0], z_.F),
                  true);
  }
#endif

  MaskedStep masked_step() const override { return MaskedStep::last_output; }
  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    if (s_.reverse) cannot_stream("it reads the sequence from its end");
    return make_selective_op(s_, z_, SelectiveWeights<const float>(build.weights, s_, z_));
  }
  std::size_t first_initial_state() const override { return 1; }

 private:
  static StepsOut out_of(Steps s) { return {const_cast<float*>(s.data), s.stride}; }
  static Steps in_of(StepsOut s) { return {s.data, s.stride}; }

  // Roughly, of a forward scan.
  double work(Index rows) const { return 25.0 * static_cast<double>(rows) * static_cast<double>(z_.E) * static_cast<double>(z_.N); }

  RowList::Order order() const { return s_.reverse ? RowList::Order::backwards : RowList::Order::onwards; }

  // Rows of `stride` floats as steps of this layer: reversed, the last valid one is the first step.
  Steps steps_of(const float* base, Index stride, Index steps) const {
    if (!s_.reverse || steps == 0) return {base, stride};
    return {base + (steps - 1) * stride, -stride};
  }

  // Places in the tape (in inference: the workspace), by (row, step); marks by row.
  struct Tape {
    Index projection = 0, u = 0, selection = 0, r = 0, y = 0, marks = 0, size = 0;
  };

  Index marks_of(Index T) const { return (T + simd::kScanChunk - 1) / simd::kScanChunk * z_.N * z_.E; }

  Tape tape(const Shape& x, bool training) const {
    Tape at;
    const auto reserve = [&](Index floats) {
      return std::exchange(at.size, at.size + aligned(element_count({x[0], x[1], floats})));
    };
    at.projection = reserve(2 * z_.E);
    at.u = reserve(z_.E);
    at.selection = reserve(z_.selection());
    at.r = reserve(z_.E);
    at.y = reserve(z_.E);
    at.marks = at.size;
    if (training) at.size += aligned(element_count({x[0], marks_of(x[1])}));
    return at;
  }

  SelectiveNumbers numbers(const float* weights, const float* tape, const Tape& at, Index row, Index steps, Index T) const {
    const SelectiveWeights<const float> w(weights, s_, z_);
    const auto here = [&](Index place, Index stride, Index column = 0) {
      return steps_of(tape + place + row * T * stride + column, stride, steps);
    };
    return {decays_.data(),
            w.D,
            w.convolution,
            w.convolution_bias,
            here(at.projection, 2 * z_.E),
            here(at.projection, 2 * z_.E, z_.E),
            here(at.u, z_.E),
            here(at.r, z_.E),
            here(at.selection, z_.selection())};
  }

#if REKUR_TRAINING
  struct Gradients {
    Index projection = 0, u = 0, r = 0, y = 0, selection = 0, parts = 0, shares = 0, states = 0, size = 0;
  };

  Gradients gradients(Index B, Index T) const {
    Gradients d;
    const auto reserve = [&](Shape shape) { return std::exchange(d.size, d.size + aligned(element_count(shape))); };
    d.projection = reserve({B, T, 2 * z_.E});
    d.u = reserve({B, T, z_.E});
    d.r = reserve({B, T, z_.E});
    d.y = reserve({B, T, z_.E});
    d.selection = reserve({B, T, z_.selection()});
    d.parts = reserve({B, T, groups_of(z_.E) * 2 * z_.N});
    d.shares = reserve({B, z_.shares(), z_.E});
    d.states = reserve({B, z_.state()});
    return d;
  }
#endif

  SelectiveSettings s_;
  SelectiveSizes z_ = {};
  mutable PackedMatrix kernel_, selection_, dt_kernel_, output_kernel_;
  mutable SelectiveDecays decays_;
#if REKUR_TRAINING
  mutable PackedMatrix transposed_, selection_transposed_, dt_transposed_, output_transposed_;
#endif
};

}  // namespace

std::unique_ptr<Layer> make_selective_ssm(json::Reader& spec, const std::string& type, const std::string& name) {
  SelectiveSettings s;
  s.states = spec.positive_integer("state_size", 16);
  s.taps = spec.positive_integer("conv_kernel", 4);
  s.expand = spec.positive_integer("expand", 2);
  if (s.states + s.taps > kMostNumbers / s.expand)
    spec.fail("a state of % numbers for each of % channels a feature is too large", {s.states, s.expand});
  s.rank = spec.find("dt_rank") == nullptr ? 0 : spec.positive_integer("dt_rank");
  s.units = spec.find("units") == nullptr ? 0 : spec.positive_integer("units");
  const auto step = [&](const char* key, double fallback) {
    const double value = spec.number(key, fallback);
    if (!(value >= 1e-30 && value <= 1e30)) spec.refuse(key, "a number from 1e-30 to 1e30");
    return value;
  };
  const double low = step("dt_min", 1e-3), high = step("dt_max", 0.1);
  if (high < low) spec.fail("'dt_min' must not be above 'dt_max'");
  s.dt_bias_initializer = json::write(json::Object{{"name", "softplus_log_uniform"}, {"low", low}, {"high", high}});
  s.use_bias = spec.boolean("use_bias", false);
  s.use_conv_bias = spec.boolean("use_conv_bias", true);
  s.reverse = spec.boolean("reverse", false);
  s.return_sequences = spec.boolean("return_sequences", false);
  s.return_state = spec.boolean("return_state", false);
  s.kernel_initializer = read_initializer(spec, "kernel_initializer", "glorot_uniform");
  s.convolution_initializer = read_initializer(spec, "convolution_initializer", "rnn_uniform");
  s.bias_initializer = read_initializer(spec, "bias_initializer", "zeros");
  return std::make_unique<SelectiveSSM>(type, name, std::move(s));
}

}  // namespace rekur::layers
