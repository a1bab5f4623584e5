// SimpleRNN, LSTM, GRU and Bidirectional: one or two directions of any cell, from the graph's arrays to the recurrent engine and
// back.
//   inputs   x (B, T, I); of a program its further inputs a step (B, T, H) or (B, T, 1); the initial states of each direction (B,
//   H) outputs  y (B, T, H·) or the last (B, H·), then with return_state the final states of each direction (B, H)
// What the engine does not do is done here: learned initial states, residual connections, masks of the recurrent kernel.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>

#include "io/suggest.hpp"
#include "layers/cell_masks.hpp"
#include "layers/cell_matrices.hpp"
#include "layers/cell_rewriting.hpp"
#include "layers/compiled_programs.hpp"
#include "layers/directions.hpp"
#include "layers/elementwise.hpp"
#include "layers/masks.hpp"
#include "layers/recurrent_op.hpp"
#include "layers/recurrent_settings.hpp"
#include "layers/registry.hpp"
#include "layers/residual.hpp"
#include "layers/run_recurrences.hpp"
#include "recurrent/recurrent.hpp"

namespace rekur::layers {
namespace {

constexpr Index aligned(Index floats) { return (floats + 15) / 16 * 16; }

// The runs of a call, of which most have one: the others are not made, since a call of one step takes a microsecond.
template <class Run>
class Runs {
 public:
  Run* add(std::size_t directions) {
    Run* const first = data() + size_;
    for (std::size_t d = 0; d < directions; ++d) new (data() + size_++) Run();
    if (first != data()) first->source = first - 1;
    return first;
  }
  std::span<const Run> all() { return {data(), size_}; }

 private:
  Run* data() { return reinterpret_cast<Run*>(memory_); }

  alignas(Run) std::byte memory_[Layer::kMostStacked * sizeof(Run)];
  std::size_t size_ = 0;
};

class RecurrentLayer final : public Layer {
 public:
  RecurrentLayer(const std::string& type, const std::string& name, RecurrentSettings settings, std::size_t directions,
                 MergeMode mode)
      : Layer(type, name), s_(std::move(settings)), D_(directions), S_(s_.states.size()), mode_(mode) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    const std::size_t N = s_.step_inputs;
    expect_inputs(inputs, 1 + N, 1 + N + D_ * S_);
    const TensorSpec& x = inputs[0];
    expect_features(x);
    if (x.shape.size() != 3) fail("expected a sequence of shape (B, T, F), got %", {x.shape});
    if (D_ == 2 && inputs.size() != 1 + N && inputs.size() != 1 + N + D_ * S_) {
      fail("expected no initial state or all % (forward, then backward), got %", {D_ * S_, inputs.size() - 1 - N});
    }
    if (s_.learn_initial_state && given(inputs.size()) == S_)
      fail("learn_initial_state: every initial state is given, so there is none to learn");
    if (s_.reads_x && features_of(x.shape) != s_.units)
      fail("its cell reads x unit by unit: expected input of % features, as many as units, got %", {s_.units, x.shape});
    for (std::size_t i = 1; i <= N; ++i) check_step_input(x, inputs[i], i);
    if (!inference_.recurrences.empty() && features_of(x.shape) != input_size()) {
      fail("expected input of % features, got % (input shape %)", {input_size(), features_of(x.shape), x.shape});
    }
    for (std::size_t i = 1 + N; i < inputs.size(); ++i) {
      const TensorSpec& given = inputs[i];
      const Index width = s_.state_width((i - 1 - N) % S_);
      if (given.dtype != DType::float32 || given.shape.size() != 2 || given.shape[1] != width) {
        fail("expected initial state % of shape %, got %%",
             {i - N, to_string({kUnknown, width}), (given.dtype == DType::int32 ? "int32 ids of shape " : ""), given.shape});
      }
    }
    TensorSpec y{{x.shape[0], output_features()}, DType::float32, -1};
    if (s_.residual && features_of(x.shape) != output_features())
      fail("residual: expected input of % features, as many as its output has, got %", {output_features(), x.shape});
    if (s_.return_sequences) {
      y.shape.insert(y.shape.begin() + 1, x.shape[1]);
      y.time_source = x.time_source;
    }
    std::vector<TensorSpec> outputs{y};
    for (std::size_t i = 0; s_.return_state && i < D_ * S_; ++i)
      outputs.push_back({{x.shape[0], s_.state_width(i % S_)}, DType::float32, -1});
    return outputs;
  }

  std::vector<ParamSpec> parameters(std::span<const TensorSpec> inputs) const override {
    const Index I = features_of(inputs[0].shape);
    std::vector<ParamSpec> specs;
    add_recurrent_parameters(specs, s_, I, D_ == 1 ? "" : "forward/", given(inputs.size()));
    if (D_ == 2) add_recurrent_parameters(specs, s_, I, "backward/", given(inputs.size()));
    return specs;
  }

  void build(std::span<const TensorSpec> inputs) override {
    given_ = given(inputs.size());
    inference_ = make_form(inputs, false);
#if REKUR_EQUATIONS && REKUR_TRAINING
    if (masks_.in_steps()) training_ = make_form(inputs, true);
#endif
  }

  void prepare(const float* weights, std::uint64_t version, bool training) const override {
    if (masks_kernel(training)) return;  // each run packs what it has masked
    for (std::size_t d = 0; d < D_; ++d) {
      if (assembles_kernel(s_)) assembled_[d].prepare(s_, own_kernel(weights, d), matrices(weights, d), version);
      form_of(training).recurrences[d].prepare(direction_weights(weights, d), version);
    }
  }

  Index tape_size(std::span<const TensorSpec> inputs, bool training) const override { return layout(inputs, training).size; }

  // What a layer above leaves of a step's further inputs, or of an x of which a masked copy is made, is not there before it is done
  // with the whole sequence; a residual layer's output is there when its own is.
  Walk walk(bool training) const override {
    if (D_ == 2 || steps_given() > 0 || s_.residual || (training && masks_.drops_input())) return Walk::none;
    return s_.reverse ? Walk::backwards : Walk::onwards;
  }

  std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const override {
    if (D_ == 2 || s_.reverse) cannot_stream("it begins at the end of the sequence, which no step but the last knows");
    const Index I = features_of(build.inputs[0].shape);
    auto weights = direction_weights(build.weights, 0);
    std::vector<float> whole;  // those of this moment
    if (assembles_kernel(s_)) {
      whole.resize(static_cast<std::size_t>(recurrent_size()));
      assemble_kernel(s_, own_kernel(build.weights, 0), matrices(build.weights, 0), whole.data());
      weights.recurrent_kernel = whole.data();
    }
    std::array<const float*, recurrent::kMostStates> initial{};
    for (std::size_t s = 0; s < S_; ++s)
      if (learned(s)) initial[s] = initial_weights(build.weights, 0, s);
    const std::span<const float* const> starts(initial.data(), S_);
#if REKUR_EQUATIONS
    if (inference_.program)
      return std::make_unique<RecurrentOp>(recurrent::StreamCell(inference_.program, I, s_.units, s_.state_width(0), weights), s_,
                                           starts);
#endif
    return std::make_unique<RecurrentOp>(recurrent::StreamCell(*s_.cell, s_.activations, I, s_.units, weights, build.single_row),
                                         s_, starts);
  }
  std::size_t first_initial_state() const override { return 1 + s_.step_inputs; }

  void forward(const Context& run) const override {
    const LayerCall call{this, &run};
    forward_stack({&call, 1});
  }

  void forward_stack(std::span<const LayerCall> upwards) const override {
    Runs<recurrent::Forward> runs;
    StepInputs step_inputs;
    Leases leases;
    for (std::size_t i = 0; i < upwards.size(); ++i) {
      const auto& layer = static_cast<const RecurrentLayer&>(*upwards[i].layer);
      const Context& run = *upwards[i].run;
      layer.fill_initial(run);
#if REKUR_TRAINING
      if (run.training) layer.draw_masks(run);
#endif
      layer.describe(run, layer.engines(run, leases[i]), runs.add(layer.D_), step_inputs);
    }
    recurrent::forward(runs.all());
    const recurrent::Forward* own = runs.all().data();
    for (const LayerCall& call : upwards) {
      const auto& layer = static_cast<const RecurrentLayer&>(*call.layer);
      layer.join_outputs(*call.run, own);
      own += layer.D_;
    }
  }

#if REKUR_TRAINING
  Index backward_scratch(std::span<const TensorSpec> inputs) const override {
    const Index B = inputs[0].shape[0], T = inputs[0].shape[1], states = static_cast<Index>(D_ * S_);
    const Index state = aligned(element_count({B, s_.units}));
    Index size = inputs.size() > first_initial_state() || s_.learn_initial_state ? states * state : 0;
    for (std::size_t i = 0; i < steps_given(); ++i)
      size += static_cast<Index>(D_) * aligned(element_count({B, T, features_of(inputs[step_source(i)].shape)}));
    if (masks_.drops_input())
      size += static_cast<Index>(D_) * aligned(element_count({B, T, masks_.x_copies() * features_of(inputs[0].shape)}));
    if (!s_.return_sequences) size += static_cast<Index>(D_) * state;
    if (assembles_kernel(s_)) size += static_cast<Index>(D_) * aligned(recurrent_size());
    if (s_.return_sequences && mode_ == MergeMode::mul) size += aligned(element_count({B, T, s_.units}));
    return size;
  }

  bool writes_gradients() const override { return true; }

  void backward(const Context& run) const override {
    const LayerCall call{this, &run};
    backward_stack({&call, 1});
  }

  void backward_stack(std::span<const LayerCall> downwards) const override {
    Runs<recurrent::Backward> runs;
    StepInputs step_inputs;
    StepGradients d_step;
    Leases leases;
    for (std::size_t i = 0; i < downwards.size(); ++i) {
      const auto& layer = static_cast<const RecurrentLayer&>(*downwards[i].layer);
      const Context& run = *downwards[i].run;
      layer.add_residual_gradient(run);
      layer.describe_backward(run, layer.engines(run, leases[i]), runs.add(layer.D_), step_inputs, d_step);
    }
    recurrent::backward(runs.all());
    const recurrent::Backward* own = runs.all().data();
    for (const LayerCall& call : downwards) {
      const auto& layer = static_cast<const RecurrentLayer&>(*call.layer);
      layer.add_state_gradients(*call.run, own);
      layer.mask_gradients(*call.run);
      layer.share_kernel_gradients(*call.run, own);
      layer.add_step_gradients(*call.run, own, d_step);
      if (layer.masks_.drops_input() && call.run->d_inputs[0] != nullptr) layer.add_input_gradients(*call.run, own);
      own += layer.D_;
    }
  }
#endif

 private:
  // What a program reads a step beside the input's product: of a layer, which then is in no stack. By direction.
  using StepInputs = std::array<std::array<recurrent::Strided<const float>, recurrent::kMostStepInputs>, 2>;
  using StepGradients = std::array<std::array<recurrent::Strided<float>, recurrent::kMostStepInputs>, 2>;
  using Recurrences = std::vector<recurrent::Recurrence>;
#if REKUR_TRAINING
  using Lease = RunRecurrences::Lease;
#else
  struct Lease {};
#endif
  using Leases = std::array<Lease, kMostStacked>;

  Index output_features() const { return D_ == 2 && mode_ == MergeMode::concat ? 2 * output_width() : output_width(); }
  Index output_width() const { return s_.state_width(0); }  // of a direction

  // --- what does the steps ---

  // A compiled cell, or a program where its address is not null; one recurrence a direction.
  struct CellForm {
    std::shared_ptr<const recurrent::Program> program;
    Recurrences recurrences;
    bool input_by_block = false;
  };

  // Training has a form of its own where masks are drawn for its steps.
  const CellForm& form_of(bool training) const { return training && !training_.recurrences.empty() ? training_ : inference_; }
  Index input_size() const { return inference_.recurrences[0].input_size(); }

  CellForm make_form(std::span<const TensorSpec> inputs, [[maybe_unused]] bool training) const {
    CellForm form;
#if REKUR_EQUATIONS
    const Form kind = training ? Form::training : Form::inference;
    if (s_.program || s_.projection_size > 0 || rewrites(s_.options, kind)) {
      std::vector<bool> by_row;
      for (std::size_t i = 1; i <= s_.step_inputs; ++i) by_row.push_back(features_of(inputs[i].shape) == 1 && s_.units != 1);
      if (s_.reads_x) by_row.push_back(false);
      try {
        recurrent::CellProgram cell = s_.program ? *s_.program : program_of(*s_.cell, s_.activations);
        if (rewrites(s_.options, kind)) cell = rewritten(cell, s_.options, kind, s_.use_bias, s_.output_reads);
        cell.projects = s_.projection_size > 0;
        form.program = std::make_shared<const recurrent::Program>(cell, by_row);
      } catch (const Error& error) {
        fail("%%", {s_.projection_size > 0 ? "projection_size: " : "", error.what()});
      }
    }
#endif
    form.input_by_block = training && masks_.x_copies() > 1;
    form.recurrences = make_recurrences(form, features_of(inputs[0].shape));
    return form;
  }

  Recurrences make_recurrences([[maybe_unused]] const CellForm& form, Index I) const {
    Recurrences made;
    for (std::size_t d = 0; d < D_; ++d) {
#if REKUR_EQUATIONS
      if (form.program) {
        made.emplace_back(form.program, I, s_.units, s_.state_width(0), s_.use_bias && !s_.options.normalize_sums,
                          form.input_by_block);
        continue;
      }
#endif
      made.emplace_back(*s_.cell, s_.activations, I, s_.units, s_.use_bias);
    }
    return made;
  }

  // --- recurrent weight dropout: Merity et al., "Regularizing and optimizing LSTM language models", 2018 ---

  bool masks_kernel(bool training) const { return training && s_.recurrent_weight_dropout > 0; }
  Index recurrent_size() const { return whole_kernel_size(s_); }  // the engine's

  // The weights that a run computes with.
  recurrent::Weights<const float> weights_of(const Context& run, std::size_t d) const {
    recurrent::Weights<const float> weights = direction_weights(run.weights, d);
    if (masks_kernel(run.training)) weights.recurrent_kernel = run.tape + layout(run.input_specs, true).masked_kernel[d];
    return weights;
  }

  // What computes with them, ready.
  const Recurrences& engines(const Context& run, Lease& lease) const {
#if REKUR_TRAINING
    if (masks_kernel(run.training)) {
      std::uint64_t number;
      std::memcpy(&number, run.tape + layout(run.input_specs, true).run, sizeof number);
      lease = run_recurrences_.borrow(number, [&] { return make_recurrences(form_of(true), input_size()); });
      for (std::size_t d = 0; d < D_; ++d) lease.recurrences()[d].prepare(weights_of(run, d), number);
      return lease.recurrences();
    }
#endif
    static_cast<void>(lease);
    return form_of(run.training).recurrences;
  }

  // --- learned initial states ---

  // Whether state s of each direction begins as a parameter: none is given for it.
  bool learned(std::size_t s) const { return s_.learn_initial_state && s >= given_; }
  // States that each direction is given, of so many inputs: the first ones.
  std::size_t given(std::size_t inputs) const { return (inputs - first_initial_state()) / D_; }

  template <class T>
  T* initial_weights(T* base, std::size_t d, std::size_t s) const {
    T* at = base + static_cast<Index>(d + 1) * direction_size();
    for (std::size_t k = s; k < S_; ++k) at -= s_.state_width(k);
    return at;
  }

  void fill_initial(const Context& run) const {
    if (!s_.learn_initial_state) return;
    const Layout at = layout(run.input_specs, run.training);
    for (std::size_t d = 0; d < D_; ++d)
      for (std::size_t s = 0; s < S_; ++s) {
        if (!learned(s)) continue;
        const float* const from = initial_weights(run.weights, d, s);
        float* const to = run.tape + at.initial[d][s];
        const Index width = s_.state_width(s);
        over_rows(run.batch(), width, 1, [&](Index begin, Index end) {
          for (Index b = begin; b < end; ++b) std::copy_n(from, width, to + b * width);
        });
      }
  }

  // --- residual connections ---

  ValidSteps valid_steps(const Context& run) const {
    return {run.batch(), run.input_specs[0].shape[1], output_features(), run.lengths};
  }

  void add_residual(const Context& run) const {
    if (!s_.residual) return;
    if (s_.return_sequences)
      add_steps(valid_steps(run), run.input(), run.outputs[0]);
    else
      add_step_to_rows(valid_steps(run), s_.reverse, run.input(), run.outputs[0]);
  }

  std::size_t steps_given() const { return s_.step_inputs + (s_.reads_x ? 1 : 0); }
  // The layer's input that the i-th of them is: the last may be x itself.
  std::size_t step_source(std::size_t i) const { return i < s_.step_inputs ? 1 + i : 0; }

  void check_step_input(const TensorSpec& x, const TensorSpec& given, std::size_t i) const {
    bool fits = given.dtype == DType::float32 && given.shape.size() == 3 && (given.shape[2] == s_.units || given.shape[2] == 1);
    for (std::size_t d = 0; fits && d < 2; ++d)
      fits = given.shape[d] == x.shape[d] || given.shape[d] == kUnknown || x.shape[d] == kUnknown;
    if (!fits)
      fail("expected input % of the step of shape % or one feature, got % (its x: %)",
           {i, to_string({x.shape[0], x.shape[1], s_.units}), given.shape, x.shape});
  }

  static recurrent::Forward& forward_of(recurrent::Forward& run) { return run; }
#if REKUR_TRAINING
  static recurrent::Forward& forward_of(recurrent::Backward& run) { return run.forward; }
#endif

  // The engine's runs of this layer, one a direction.
  template <class Run>
  void describe(const Context& run, const Recurrences& engines, Run* runs, StepInputs& step_inputs) const {
    const Layout at = layout(run.input_specs, run.training);
    const Shape& x = run.input_specs[0].shape;
    const Index B = x[0], T = x[1], I = x[2], P = output_width();
    for (std::size_t d = 0; d < D_; ++d) {
      recurrent::Forward& f = forward_of(runs[d]);
      f.layer = &engines[d];
      f.T = T;
      f.B = B;
      f.x = {run.input(0), T * I, I};
      if (run.training) masks_.point(run, at.masks[d], f);
      for (std::size_t i = 0; i < steps_given(); ++i) {
        const Shape& shape = run.input_specs[step_source(i)].shape;
        step_inputs[d][i] = {i < s_.step_inputs ? run.input(1 + i) : f.x.data, shape[1] * shape[2], shape[2]};
      }
      f.step = step_inputs[d].data();
      f.lengths = run.lengths;
      f.reverse = D_ == 2 ? d == 1 : s_.reverse;
      const std::size_t first = first_initial_state() + d * S_;
      for (std::size_t s = 0; s < S_; ++s) {
        if (first + s < run.inputs.size())
          f.initial[s] = run.input(first + s);
        else if (learned(s))
          f.initial[s] = run.tape + at.initial[d][s];
      }
      if (own_sequences(run.training)) {
        f.y = {run.tape + at.sequence[d], T * P, P};
      } else if (s_.return_sequences) {
        const Index width = static_cast<Index>(D_) * P;
        f.y = {run.outputs[0] + static_cast<Index>(d) * P, T * width, width};
      }
      for (std::size_t s = 0; s < S_ && s_.return_state; ++s) f.final[s] = run.outputs[1 + d * S_ + s];
      if (!s_.return_sequences && !s_.return_state) f.final[0] = D_ == 2 ? run.tape + at.last[d] : run.outputs[0];
      f.tape = run.training ? run.tape + at.engine[d] : nullptr;
    }
  }

#if REKUR_TRAINING
  // The masks of a training run, and x as each direction sees it.
  void draw_masks(const Context& run) const {
    const Layout at = layout(run.input_specs, true);
    for (std::size_t d = 0; d < D_; ++d) masks_.draw(run, at.masks[d], d);
    if (!masks_kernel(true)) return;
    const std::uint64_t number = run_recurrences_.new_run();
    std::memcpy(run.tape + at.run, &number, sizeof number);
    const auto& k = isa::kernels();
    for (std::size_t d = 0; d < D_; ++d) {
      const float* const kernel = direction_weights(run.weights, d).recurrent_kernel;
      float *const mask = run.tape + at.kernel_mask[d], *const masked = run.tape + at.masked_kernel[d];
      draw_mask(run, CellMasks::purpose(d, 15), s_.recurrent_weight_dropout, mask, recurrent_size());
      over_elements(recurrent_size(), 1,
                    [&](Index begin, Index end) { k.multiply(kernel + begin, mask + begin, masked + begin, end - begin); });
    }
  }
#endif

  // After the engine's forward pass: what several of its outputs make together.
  void join_outputs(const Context& run, const recurrent::Forward* runs) const {
    const Index B = run.batch(), P = output_width();
    if (own_sequences(run.training)) {
      const Index rows = B * run.input_specs[0].shape[1];
      if (D_ == 2)
        merge(mode_, runs[0].y.data, runs[1].y.data, run.outputs[0], rows, P);
      else
        copy(runs[0].y.data, run.outputs[0], rows * P);
    } else if (!s_.return_sequences && D_ == 2) {
      merge(mode_, runs[0].final[0], runs[1].final[0], run.outputs[0], B, P);
    } else if (!s_.return_sequences && s_.return_state) {
      copy(runs[0].final[0], run.outputs[0], B * P);
    }
    add_residual(run);
  }

  // Offsets in the tape (in inference: the workspace), by direction.
  struct Layout {
    std::array<Index, 2> engine{}, sequence{}, last{}, kernel_mask{}, masked_kernel{};
    std::array<std::array<Index, recurrent::kMostStates>, 2> initial{};
    std::array<CellMasks::Places, 2> masks{};
    Index run = 0;  // the run's number, where kernels are masked
    Index size = 0;
  };

  // Whether the directions write sequences of their own, to be joined afterwards. The engine's backward pass reads what its forward
  // pass left, which with a residual connection is not the output.
  bool own_sequences(bool training) const {
    return s_.return_sequences && ((D_ == 2 && mode_ != MergeMode::concat) || (training && s_.residual));
  }

  Layout layout(std::span<const TensorSpec> inputs, bool training) const {
    const Shape& x = inputs[0].shape;
    Layout at;
    if (masks_kernel(training)) at.run = 0, at.size = aligned(1);
    const auto reserve = [&](Index floats) { return std::exchange(at.size, at.size + aligned(floats)); };
    for (std::size_t d = 0; d < D_; ++d) {
      if (training) at.engine[d] = reserve(form_of(true).recurrences[d].tape_size(x[1], x[0], !s_.return_sequences));
      if (own_sequences(training)) at.sequence[d] = reserve(element_count({x[0], x[1], output_width()}));
      if (D_ == 2 && !s_.return_sequences && !s_.return_state) at.last[d] = reserve(element_count({x[0], output_width()}));
      for (std::size_t s = 0; s < S_; ++s)
        if (learned(s)) at.initial[d][s] = reserve(element_count({x[0], s_.state_width(s)}));
      if (training) at.masks[d] = masks_.places(x, reserve);
      if (masks_kernel(training)) {
        at.kernel_mask[d] = reserve(recurrent_size());
        at.masked_kernel[d] = reserve(recurrent_size());
      }
    }
    return at;
  }

  Index bias_size() const {
    return s_.use_bias ? (s_.kernel_blocks + (s_.recurrent_bias ? s_.recurrent_blocks : 0)) * s_.units : 0;
  }
  Index unit_weights_size() const {
    Index rows = 0;
    for (const UnitWeights& weights : s_.unit_weights) rows += std::max<Index>(weights.rows, 1);
    return rows * s_.units;
  }
  Index kernel_size() const { return input_size() * s_.kernel_blocks * s_.units; }
  Index direction_size() const {
    Index initial = 0;
    for (std::size_t s = 0; s < S_; ++s) initial += learned(s) ? s_.state_width(s) : 0;
    return kernel_size() + own_kernel_size(s_) + bias_size() + unit_weights_size() + matrices_size(s_) +
           s_.units * s_.projection_size + initial;
  }

  // --- what the engine's recurrent kernel is put together of ---

  template <class T>
  T* own_kernel(T* base, std::size_t d) const {
    return base + static_cast<Index>(d) * direction_size() + kernel_size();
  }
  template <class T>
  T* matrices(T* base, std::size_t d) const {
    return own_kernel(base, d) + own_kernel_size(s_) + bias_size() + unit_weights_size();
  }

  template <class T>
  recurrent::Weights<T> direction_weights(T* base, std::size_t d) const {
    T* const kernel = base + static_cast<Index>(d) * direction_size();
    T* recurrent_kernel = kernel + kernel_size();
    T* const after = recurrent_kernel + own_kernel_size(s_);
    if constexpr (std::is_const_v<T>) {
      if (assembles_kernel(s_)) recurrent_kernel = assembled_[d].data();
    }
    T* const units = after + bias_size();
    T* const projection = s_.projection_size > 0 ? units + unit_weights_size() : nullptr;
    if (s_.options.normalize_sums) return {kernel, recurrent_kernel, nullptr, after, projection};  // biases are weights a unit
    return {kernel, recurrent_kernel, bias_size() > 0 ? after : nullptr, unit_weights_size() > 0 ? units : nullptr, projection};
  }

#if REKUR_TRAINING
  void describe_backward(const Context& run, const Recurrences& engines, recurrent::Backward* runs, StepInputs& step_inputs,
                         StepGradients& d_step) const {
    describe(run, engines, runs, step_inputs);
    const Index B = run.batch(), I = run.input_specs[0].shape[2], T = run.input_specs[0].shape[1];
    float* scratch = run.scratch;
    const auto take = [&](Index floats) { return std::exchange(scratch, scratch + aligned(floats)); };
    for (std::size_t d = 0; d < D_; ++d) {
      recurrent::Backward& b = runs[d];
      b.weights = weights_of(run, d);
      if (run.d_weights != nullptr) b.d_weights = direction_weights(run.d_weights, d);
      if (assembles_kernel(s_) && run.d_weights != nullptr) b.d_weights.recurrent_kernel = take(recurrent_size());
      b.fresh = true;
      if (run.d_inputs[0] != nullptr) b.dx = {run.d_inputs[0], T * I, I};
      if (b.dx && masks_.drops_input()) {
        b.dx = {take(B * T * I * masks_.x_copies()), T * I * masks_.x_copies(), I * masks_.x_copies()};
        std::fill_n(b.dx.data, B * T * I * masks_.x_copies(), 0.0f);
      }
      for (std::size_t s = 0; s < S_ && s_.return_state; ++s) b.d_final[s] = run.d_outputs[1 + d * S_ + s];
      for (std::size_t i = 0; i < steps_given(); ++i) {
        d_step[d][i] = {};
        if (run.d_inputs[step_source(i)] == nullptr) continue;
        const Index features = run.input_specs[step_source(i)].shape[2];
        d_step[d][i] = {take(B * T * features), T * features, features};
        std::fill_n(d_step[d][i].data, B * T * features, 0.0f);
      }
      b.d_step = d_step[d].data();
    }
    if (run.d_outputs[0] != nullptr && s_.return_sequences) share_sequence_gradient(run, runs, take);
    if (run.d_outputs[0] != nullptr && !s_.return_sequences) share_last_gradient(run, runs, take);

    // The same tensor may be the initial state of several: each gradient is computed apart, then they are added in order.
    for (std::size_t d = 0; d < D_; ++d)
      for (std::size_t s = 0; s < S_; ++s) {
        const std::size_t input = first_initial_state() + d * S_ + s;
        if (input < run.inputs.size() ? run.d_inputs[input] == nullptr : !learned(s) || run.d_weights == nullptr) continue;
        float* const d_initial = take(B * s_.state_width(s));
        std::fill_n(d_initial, B * s_.state_width(s), 0.0f);
        runs[d].d_initial[s] = d_initial;
      }
  }

  void add_residual_gradient(const Context& run) const {
    if (!s_.residual || run.d_outputs[0] == nullptr || run.d_inputs[0] == nullptr) return;
    if (s_.return_sequences)
      add_steps(valid_steps(run), run.d_outputs[0], run.d_inputs[0]);
    else
      add_rows_to_step(valid_steps(run), s_.reverse, run.d_outputs[0], run.d_inputs[0]);
  }

  void mask_gradients(const Context& run) const {
    if (!masks_kernel(true) || run.d_weights == nullptr) return;
    const auto& k = isa::kernels();
    const Layout at = layout(run.input_specs, true);
    for (std::size_t d = 0; d < D_; ++d) {
      float* const gradient = direction_weights(run.d_weights, d).recurrent_kernel;
      const float* const mask = run.tape + at.kernel_mask[d];
      over_elements(recurrent_size(), 1,
                    [&](Index begin, Index end) { k.multiply(gradient + begin, mask + begin, gradient + begin, end - begin); });
    }
  }

  void share_kernel_gradients(const Context& run, const recurrent::Backward* runs) const {
    if (!assembles_kernel(s_) || run.d_weights == nullptr) return;
    for (std::size_t d = 0; d < D_; ++d)
      share_kernel_gradient(s_, runs[d].d_weights.recurrent_kernel, own_kernel(run.d_weights, d), matrices(run.d_weights, d));
  }

  // By direction, in order. Those of x go where the direction leaves its others.
  void add_step_gradients(const Context& run, const recurrent::Backward* runs, const StepGradients& d_step) const {
    for (std::size_t d = 0; d < D_; ++d)
      for (std::size_t i = 0; i < steps_given(); ++i) {
        if (!d_step[d][i]) continue;
        float* const to = step_source(i) == 0 ? runs[d].dx.data : run.d_inputs[step_source(i)];
        accumulate(d_step[d][i].data, to, element_count(run.input_specs[step_source(i)].shape));
      }
  }

  // From what the directions saw of x to x itself.
  void add_input_gradients(const Context& run, const recurrent::Backward* runs) const {
    const Layout at = layout(run.input_specs, true);
    for (std::size_t d = 0; d < D_; ++d) masks_.add_input_gradient(run, at.masks[d], runs[d].dx.data);
  }

  // Of those given; and of those learned the sums over the rows, in order.
  void add_state_gradients(const Context& run, const recurrent::Backward* runs) const {
    const auto& k = isa::kernels();
    const Index B = run.batch();
    for (std::size_t d = 0; d < D_; ++d)
      for (std::size_t s = 0; s < S_; ++s) {
        const std::size_t input = first_initial_state() + d * S_ + s;
        const Index H = s_.state_width(s);
        const float* const d_initial = runs[d].d_initial[s];
        if (input < run.inputs.size() && run.d_inputs[input] != nullptr) accumulate(d_initial, run.d_inputs[input], B * H);
        if (!learned(s) || run.d_weights == nullptr) continue;
        float* const sums = initial_weights(run.d_weights, d, s);
        std::fill_n(sums, H, 0.0f);
        over_columns(B, H, 1, [&](Index begin, Index end) {
          for (Index b = 0; b < B; ++b) k.add(sums + begin, d_initial + b * H + begin, sums + begin, end - begin);
        });
      }
  }

  template <class Take>
  void share_sequence_gradient(const Context& run, recurrent::Backward* runs, const Take& take) const {
    const Index B = run.batch(), T = run.input_specs[0].shape[1], H = output_width();
    float* dy = run.d_outputs[0];
    if (D_ == 1 || mode_ == MergeMode::concat) {
      const Index width = static_cast<Index>(D_) * H;
      for (std::size_t d = 0; d < D_; ++d) runs[d].dy = {dy + static_cast<Index>(d) * H, T * width, width};
      return;
    }
    float* d_second = dy;
    if (mode_ == MergeMode::mul) {
      d_second = take(B * T * H);
      merge_backward(mode_, runs[0].forward.y.data, runs[1].forward.y.data, dy, dy, d_second, B * T, H);
    } else if (mode_ == MergeMode::ave) {
      const auto& k = isa::kernels();
      over_elements(B * T * H, 1, [&](Index begin, Index end) { k.scale(0.5f, dy + begin, dy + begin, end - begin); });
    }
    runs[0].dy = {dy, T * H, H};
    runs[1].dy = {d_second, T * H, H};
  }

  // The last output is the final h (return_state shows it once more): their gradients add up.
  template <class Take>
  void share_last_gradient(const Context& run, recurrent::Backward* runs, const Take& take) const {
    const Index B = run.batch(), H = output_width();
    std::array<float*, 2> share{run.d_outputs[0], nullptr};
    if (D_ == 2) {
      share = {take(B * H), take(B * H)};
      merge_backward(mode_, runs[0].forward.final[0], runs[1].forward.final[0], run.d_outputs[0], share[0], share[1], B, H);
    }
    for (std::size_t d = 0; d < D_; ++d) {
      if (runs[d].d_final[0] != nullptr) accumulate(runs[d].d_final[0], share[d], B * H);
      runs[d].d_final[0] = share[d];
    }
  }
#endif

  RecurrentSettings s_;
  std::size_t D_, S_, given_ = 0;  // directions, states, and those of them that the layer is given
  MergeMode mode_;
  const CellMasks masks_{s_};
  CellForm inference_, training_;  // training_ may be empty
  mutable std::array<AssembledKernel, 2> assembled_;
#if REKUR_TRAINING
  RunRecurrences run_recurrences_;
#endif
};

MergeMode read_merge_mode(json::Reader& spec) {
  static constexpr std::string_view names[] = {"concat", "sum", "mul", "ave"};
  const std::string name = spec.string("merge_mode", "concat");
  for (std::size_t i = 0; i < std::size(names); ++i) {
    if (name == names[i]) return static_cast<MergeMode>(i);
  }
  spec.fail("%", {unknown_name("merge_mode", name, names)});
}

}  // namespace

std::unique_ptr<Layer> make_recurrent(json::Reader& spec, const std::string& type, const std::string& name) {
  return std::make_unique<RecurrentLayer>(type, name, read_recurrent(spec, type), 1, MergeMode::concat);
}

std::unique_ptr<Layer> make_bidirectional(json::Reader& spec, const std::string& type, const std::string& name) {
  const MergeMode mode = read_merge_mode(spec);
  const bool residual = spec.boolean("residual", false);
  json::Reader inner(spec.get("layer"), compose("%: layer", {spec.context()}));
  RecurrentSettings settings = read_recurrent(inner, inner.string("type"));
  inner.finish();
  if (settings.reverse) inner.refuse("reverse", "false: a bidirectional layer runs both ways");
  if (settings.residual) inner.refuse("residual", "false: a bidirectional layer has an option of its own");
  settings.residual = residual;
  return std::make_unique<RecurrentLayer>(type, name, std::move(settings), 2, mode);
}

}  // namespace rekur::layers
