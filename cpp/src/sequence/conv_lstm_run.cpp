#include <algorithm>

#include "layers/dense_products.hpp"
#include "layers/elementwise.hpp"
#include "layers/masks.hpp"
#include "sequence/conv_lstm.hpp"

namespace rekur::layers {
namespace {

constexpr Index kEnoughRows = 512;  // of a product in inference
constexpr Index kGateBlock = 64;    // positions of a task
constexpr double kGateCost = 120;   // of a unit: five activations, roughly

// An entry of a list, an address or the number of a row, in memory of floats.
constexpr Index kEntry = sizeof(Index) / sizeof(float);

}  // namespace

// A run, and where things stand in it. Steps k are counted in the order in which they are taken.
struct ConvLstm::Run {
  const ConvLstm& layer;
  const Context& c;
  Layout at;
  RowSteps steps;
  Index B, T, P, Q, I, F;

  Run(const ConvLstm& l, const Context& context)
      : layer(l),
        c(context),
        at(l.layout(context.input_specs, context.training)),
        steps(context.steps()),
        B(context.batch()),
        T(context.input_specs[0].shape[1]),
        P(l.x_side_.positions()),
        Q(l.y_side_.positions()),
        I(features_of(context.input_specs[0].shape)),
        F(l.s_.filters) {}

  Index state() const { return Q * F; }
  // Where row b's step k stands in x.
  Index place(Index b, Index k) const { return b * T + steps.at(b, layer.s_.reverse ? steps.length(b) - 1 - k : k); }
  // Whether its states begin at step k; and whether they begin anew there, as zeros.
  bool begins(Index b, Index k) const { return k == 0 || begins_anew(b, k); }
  bool begins_anew(Index b, Index k) const {
    if (!steps.resets || (layer.s_.reverse && k == 0)) return false;
    return steps.resets[b * T + (layer.s_.reverse ? steps.length(b) - k : k)] != 0;
  }
  const float* x(Index b, Index k) const { return c.input() + place(b, k) * P * I; }
  float* gates(Index b, Index k) const {
    return c.tape + at.gates + (c.training ? place(b, k) : k % at.steps * B + b) * kGates * state();
  }
  float* cell(Index b, Index k) const { return c.tape + at.c + (c.training ? place(b, k) : b) * state(); }
  float* h(Index b, Index k) const {
    if (layer.s_.return_sequences) return c.outputs[0] + place(b, k) * state();
    return c.tape + at.h + (c.training ? place(b, k) : k % 2 * B + b) * state();
  }
  const float* initial(std::size_t which, Index b) const {
    return c.inputs.size() > 1 + which ? c.input(1 + which) + b * state() : c.tape + at.none;
  }
  const float* beginning(std::size_t which, Index b, Index k) const {
    return begins_anew(b, k) ? c.tape + at.none : initial(which, b);
  }
  const float* h_before(Index b, Index k) const { return begins(b, k) ? beginning(0, b, k) : h(b, k - 1); }
  const float* cell_before(Index b, Index k) const { return begins(b, k) ? beginning(1, b, k) : cell(b, k - 1); }
#if REKUR_TRAINING
  // With dropout.
  const float* masked_x(Index b, Index k) const { return c.tape + at.masked_x + place(b, k) * P * kGates * I; }
  float* masked_h(Index b, Index k) const { return c.tape + at.masked_h + place(b, k) * kGates * state(); }
  bool drops_x() const { return c.training && layer.s_.dropout > 0; }
  bool drops_h() const { return c.training && layer.s_.recurrent_dropout > 0; }
  const float* seen_x(Index b, Index k) const { return drops_x() ? masked_x(b, k) : x(b, k); }
  const Convolution& input() const { return drops_x() ? layer.dropped_input_ : layer.input_; }
  const Convolution& recurrent() const { return drops_h() ? layer.dropped_recurrent_ : layer.recurrent_; }
#else
  const float* seen_x(Index b, Index k) const { return x(b, k); }
  const Convolution& input() const { return layer.input_; }
  const Convolution& recurrent() const { return layer.recurrent_; }
#endif

  float** list(int number) const { return reinterpret_cast<float**>(c.tape + at.lists) + number * B * T; }
  Index* row_list() const { return reinterpret_cast<Index*>(c.tape + at.lists + 2 * B * T * kEntry); }
  const float** const_list(int number) const { return const_cast<const float**>(list(number)); }

  // The rows that have a step k, in the order of the batch: task(number, b).
  template <class Task>
  Index over_rows_of(Index k, const Task& task) const {
    Index count = 0;
    for (Index b = 0; b < B; ++b)
      if (k < steps.length(b)) task(count++, b);
    return count;
  }
  Index most_steps() const {
    Index most = 0;
    for (Index b = 0; b < B; ++b) most = std::max(most, steps.length(b));
    return most;
  }

  MaskedSteps masked() const { return {steps, B, state(), layer.s_.reverse, layer.s_.zero_output_for_mask}; }
  // Whether a row's last output is zeros because a mask leaves its last step out.
  bool zero_last(Index b) const {
    return layer.s_.zero_output_for_mask && steps.mask && !steps.is_valid(b, layer.s_.reverse ? 0 : T - 1);
  }
};

ConvLstm::Layout ConvLstm::layout(std::span<const TensorSpec> inputs, bool training) const {
  const Shape& x = inputs[0].shape;
  const Index B = x[0], T = x[1], P = x_side_.positions(), Q = y_side_.positions(), I = features_of(x), F = s_.filters;
  Layout at;
  const auto reserve = [&](Index floats) { return std::exchange(at.size, at.size + aligned(floats)); };
  at.steps = training ? T : std::clamp(kEnoughRows / std::max(B * Q, Index{1}), Index{1}, std::max(T, Index{1}));
  at.gates = reserve(element_count({B, at.steps, Q, kGates * F}));
  at.c = reserve(element_count({B, training ? T : 1, Q, F}));
  if (!s_.return_sequences) at.h = reserve(element_count({B, training ? T : 2, Q, F}));
  at.none = reserve(element_count({Q, F}));
  at.lists = reserve(element_count({3, B, T, kEntry}));
  if (training && s_.dropout > 0) {
    at.x_mask = reserve(element_count({B, P, kGates * I}));
    at.masked_x = reserve(element_count({B, T, P, kGates * I}));
  }
  if (training && s_.recurrent_dropout > 0) {
    at.h_mask = reserve(element_count({B, Q, kGates * F}));
    at.masked_h = reserve(element_count({B, T, Q, kGates * F}));
  }
  return at;
}

// --- forward ---

void ConvLstm::forward(const Context& context) const {
  const Run run(*this, context);
  std::fill_n(context.tape + run.at.none, run.state(), 0.0f);
#if REKUR_TRAINING
  if (context.training) draw_masks(run);
#endif
  const Index most = run.most_steps(), size = run.state();
  const float** const from = run.const_list(0);
  float** const to = run.list(1);
  const float* const bias = s_.use_bias ? context.weights + bias_at() : nullptr;
  for (Index first = 0; first < most; first += run.at.steps) {
    Index count = 0;
    for (Index k = first; k < std::min(most, first + run.at.steps); ++k)
      count += run.over_rows_of(k, [&](Index i, Index b) {
        from[count + i] = run.seen_x(b, k);
        to[count + i] = run.gates(b, k);
      });
    run.input().gather(count, x_side_, {.list = from}, y_side_, bias, {.list = to}, false);
    for (Index k = first; k < std::min(most, first + run.at.steps); ++k) recur(run, k);
  }
  // Outputs and states at the end.
  for (Index b = 0; b < run.B; ++b) {
    const Index length = run.steps.length(b);
    const float* const h = length > 0 ? run.h(b, length - 1) : run.initial(0, b);
    if (s_.return_state) {
      std::copy_n(h, size, context.outputs[1] + b * size);
      std::copy_n(length > 0 ? run.cell(b, length - 1) : run.initial(1, b), size, context.outputs[2] + b * size);
    }
    if (!s_.return_sequences && run.zero_last(b))
      std::fill_n(context.outputs[0] + b * size, size, 0.0f);
    else if (!s_.return_sequences)
      std::copy_n(h, size, context.outputs[0] + b * size);
    else if (!run.steps.mask)
      std::fill_n(context.outputs[0] + (b * run.T + length) * size, (run.T - length) * size, 0.0f);
  }
  if (run.steps.mask && s_.return_sequences)
    fill_masked_steps(run.masked(), {context.outputs[0], run.T * size, size},
                      context.inputs.size() > 1 ? context.input(1) : nullptr);
}

// Step k of all rows that have one.
void ConvLstm::recur(const Run& run, Index k) const {
  const float** const from = run.const_list(0);
  float** const to = run.list(1);
  const Index count = run.over_rows_of(k, [&](Index i, Index b) {
    from[i] = run.h_before(b, k);
    to[i] = run.gates(b, k);
#if REKUR_TRAINING
    if (!run.drops_h()) return;
    multiply_sequence(from[i], run.c.tape + run.at.h_mask + b * run.state() * kGates, run.masked_h(b, k), run.Q, 1, run.F, kGates);
    from[i] = run.masked_h(b, k);
#endif
  });
  if (k > 0 || run.c.inputs.size() > 1)
    run.recurrent().gather(count, y_side_, {.list = from}, y_side_, nullptr, {.list = to}, true);
  Index* const rows = run.row_list();
  run.over_rows_of(k, [&](Index i, Index b) { rows[i] = b; });
  const auto& gates = isa::table().gates;
  const Index blocks = (run.Q + kGateBlock - 1) / kGateBlock;
  const double work = static_cast<double>(count * run.Q) * static_cast<double>(run.F) * kGateCost;
  runtime::parallel_tasks(count * blocks, work, [&](Index task) {
    const Index b = rows[task / blocks], begin = task % blocks * kGateBlock, at = begin * run.F;
    gates.forward({std::min(kGateBlock, run.Q - begin), run.F, run.gates(b, k) + kGates * at, run.cell_before(b, k) + at,
                   run.cell(b, k) + at, run.h(b, k) + at, &s_.activations});
  });
}

#if REKUR_TRAINING

void ConvLstm::draw_masks(const Run& run) const {
  if (run.drops_x()) {
    float* const mask = run.c.tape + run.at.x_mask;
    const Index each = run.P * run.I;
    draw_mask(run.c, 0, s_.dropout, mask, run.B * each * kGates);
    for (Index b = 0; b < run.B; ++b)
      for (Index k = 0; k < run.steps.length(b); ++k)
        multiply_sequence(run.x(b, k), mask + b * each * kGates, const_cast<float*>(run.masked_x(b, k)), run.P, 1, run.I, kGates);
  }
  if (run.drops_h()) draw_mask(run.c, 1, s_.recurrent_dropout, run.c.tape + run.at.h_mask, run.B * run.state() * kGates);
}

// --- backward ---

Index ConvLstm::backward_scratch(std::span<const TensorSpec> inputs) const {
  const Shape& x = inputs[0].shape;
  const Index state = element_count({x[0], y_side_.positions(), s_.filters});
  Index size = 4 * aligned(state);  // dh, dc, and those of the initial states
  if (s_.recurrent_dropout > 0) size += aligned(kGates * state);
  if (s_.dropout > 0) size += aligned(kGates * element_count({x[0], x[1], x_side_.positions(), features_of(x)}));
  return size;
}

void ConvLstm::backward(const Context& context) const {
  const Run run(*this, context);
  const Index size = run.state(), all = run.B * size;
  float* scratch = context.scratch;
  const auto take = [&](Index floats) { return std::exchange(scratch, scratch + aligned(floats)); };
  float* const d_state[2] = {take(all), take(all)};
  float* const d_initial[2] = {take(all), take(all)};
  float* const masked = run.drops_h() ? take(kGates * all) : nullptr;
  for (std::size_t s = 0; s < 2; ++s) {
    std::fill_n(d_initial[s], all, 0.0f);
    if (s_.return_state && context.d_outputs[1 + s] != nullptr)
      copy(context.d_outputs[1 + s], d_state[s], all);
    else
      std::fill_n(d_state[s], all, 0.0f);
  }
  float* const dy = context.d_outputs[0];
  if (dy != nullptr && s_.return_sequences && run.steps.mask)
    fold_masked_gradients(run.masked(), {dy, run.T * size, size}, d_initial[0]);
  const auto& kernels = isa::kernels();
  for (Index b = 0; dy != nullptr && !s_.return_sequences && b < run.B; ++b)
    if (!run.zero_last(b)) kernels.add(d_state[0] + b * size, dy + b * size, d_state[0] + b * size, size);

  for (Index k = run.most_steps(); k-- > 0;) {
    if (dy != nullptr && s_.return_sequences)
      over_rows(run.B, size, 1, [&](Index begin, Index end) {
        for (Index b = begin; b < end; ++b)
          if (k < run.steps.length(b)) kernels.add(d_state[0] + b * size, dy + run.place(b, k) * size, d_state[0] + b * size, size);
      });
    step_back(run, k, d_state[0], d_state[1], masked);
    run.over_rows_of(k, [&](Index, Index b) {
      for (std::size_t s = 0; s < 2; ++s) {
        float* const d = d_state[s] + b * size;
        if (!run.begins(b, k)) continue;
        if (!run.begins_anew(b, k)) kernels.add(d_initial[s] + b * size, d, d_initial[s] + b * size, size);
        std::fill_n(d, size, 0.0f);
      }
    });
  }
  for (std::size_t s = 0; s < 2; ++s) {
    // What came for rows without steps is still there.
    if (context.inputs.size() <= 1 + s || context.d_inputs[1 + s] == nullptr) continue;
    accumulate(d_initial[s], context.d_inputs[1 + s], all);
    accumulate(d_state[s], context.d_inputs[1 + s], all);
  }
  kernel_gradients(run);
  if (context.d_inputs[0] == nullptr) return;
  const Index each = run.P * run.I;
  float* const masked_dx = run.drops_x() ? take(kGates * run.B * run.T * each) : nullptr;
  const float** const from = run.const_list(0);
  float** const to = run.list(1);
  Index count = 0;
  for (Index b = 0; b < run.B; ++b)
    for (Index k = 0; k < run.steps.length(b); ++k, ++count) {
      from[count] = run.gates(b, k);
      to[count] = masked_dx ? masked_dx + run.place(b, k) * kGates * each : context.d_inputs[0] + run.place(b, k) * each;
    }
  run.input().scatter(count, y_side_, {.list = from}, x_side_, nullptr, {.list = to}, masked_dx == nullptr);
  for (Index b = 0; masked_dx != nullptr && b < run.B; ++b)
    for (Index k = 0; k < run.steps.length(b); ++k)
      add_masked_sequence(masked_dx + run.place(b, k) * kGates * each, context.tape + run.at.x_mask + b * kGates * each,
                          context.d_inputs[0] + run.place(b, k) * each, run.P, 1, run.I, kGates);
}

// From the gradients of h and c after step k to those before it; the gates become the gradients of their sums.
void ConvLstm::step_back(const Run& run, Index k, float* dh, float* dc, float* masked) const {
  const Index size = run.state();
  Index* const rows = run.row_list();
  const Index count = run.over_rows_of(k, [&](Index i, Index b) { rows[i] = b; });
  const auto& gates = isa::table().gates;
  const Index blocks = (run.Q + kGateBlock - 1) / kGateBlock;
  const double work = static_cast<double>(count * run.Q) * static_cast<double>(run.F) * kGateCost;
  runtime::parallel_tasks(count * blocks, work, [&](Index task) {
    const Index b = rows[task / blocks], begin = task % blocks * kGateBlock, at = begin * run.F;
    gates.backward({std::min(kGateBlock, run.Q - begin), run.F, run.gates(b, k) + kGates * at, run.cell_before(b, k) + at,
                    run.cell(b, k) + at, dh + b * size + at, dc + b * size + at, &s_.activations});
  });
  const float** const from = run.const_list(0);
  float** const to = run.list(1);
  for (Index i = 0; i < count; ++i) {
    from[i] = run.gates(rows[i], k);
    to[i] = masked ? masked + rows[i] * kGates * size : dh + rows[i] * size;
  }
  const bool wanted = k > 0 || (run.c.inputs.size() > 1 && run.c.d_inputs[1] != nullptr);
  if (wanted) run.recurrent().scatter(count, y_side_, {.list = from}, y_side_, nullptr, {.list = to}, false);
  for (Index i = 0; wanted && masked != nullptr && i < count; ++i) {
    float* const d = dh + rows[i] * size;
    std::fill_n(d, size, 0.0f);
    add_masked_sequence(to[i], run.c.tape + run.at.h_mask + rows[i] * kGates * size, d, run.Q, 1, run.F, kGates);
  }
}

void ConvLstm::kernel_gradients(const Run& run) const {
  float* const d = run.c.d_weights;
  if (d == nullptr) return;
  const float **const from = run.const_list(0), **const to = run.const_list(1);
  Index count = 0;
  for (Index b = 0; b < run.B; ++b)
    for (Index k = 0; k < run.steps.length(b); ++k, ++count) {
      from[count] = run.seen_x(b, k);
      to[count] = run.gates(b, k);
    }
  run.input().kernel_gradient(count, x_side_, {.list = from}, y_side_, {.list = to}, d);
  for (Index i = 0; s_.use_bias && i < count; ++i) dense_sums(run.Q, kGates * run.F, to[i], d + bias_at());
  count = 0;
  for (Index b = 0; b < run.B; ++b)
    for (Index k = 0; k < run.steps.length(b); ++k) {
      if (run.begins_anew(b, k) || (k == 0 && run.c.inputs.size() == 1)) continue;  // zeros
      from[count] = run.drops_h() ? run.masked_h(b, k) : run.h_before(b, k);
      to[count++] = run.gates(b, k);
    }
  run.recurrent().kernel_gradient(count, y_side_, {.list = from}, y_side_, {.list = to}, d + recurrent_at());
}

#endif

}  // namespace rekur::layers
