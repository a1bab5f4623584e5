#include "recurrent/stream_cell.hpp"

#include <algorithm>

#include "isa/dispatch.hpp"
#include "isa/halves.hpp"
#include "isa/int8.hpp"
#include "simd/pack.hpp"

namespace rekur::recurrent {
namespace {

// The weights as SingleRow says, panel after panel.
class PanelWriter {
 public:
  PanelWriter(const cells::CellInfo& cell, Index H, Index width, WeightType type, float* to)
      : cell_(cell), H_(H), width_(width), type_(type), to_(to) {}

  void write(Index panel, Index I, const Weights<const float>& w) {
    const Index GH = cell_.gates * H_;
    const cells::Phase& phase = cell_.phase[0];
    u0_ = panel * width_;
    row(w.bias, cell_.x_first, cell_.x_count);
    matrix(w.kernel, I, cell_.x_first, cell_.x_count);
    if (cell_.recurrent_bias) row(w.bias ? w.bias + GH : nullptr, phase.first, phase.count);
    matrix(w.recurrent_kernel, H_, phase.first, phase.count);
    for (int p = 0; p < cell_.peepholes; ++p) units(w.unit_weights + p * H_);
  }

 private:
  void matrix(const float* from, Index rows, int first_slot, int count) {
    const Index columns = cell_.gates * H_;
    if (!isa::kHalves || type_ == WeightType::float32) {
      for (Index k = 0; k < rows; ++k) row(from + k * columns, first_slot, count);
      return;
    }
    const Index line = count * width_, size = (rows + 1) / 2 * line;
    std::fill_n(to_, size, 0.0f);  // the second row of a pair may be none
    for (Index k = 0; k < rows; ++k)
      for (int slot = 0; slot < count; ++slot)
        simd::put_half(type_, from + k * columns + cell_.kernel_block[first_slot + slot] * H_ + u0_,
                       std::clamp<Index>(H_ - u0_, 0, width_), k, width_, to_ + k / 2 * line + slot * width_);
    to_ += size;
  }

  // The panel's units of some slots of a row of the user's weights.
  void row(const float* from, int first_slot, int count) {
    for (int slot = first_slot; slot < first_slot + count; ++slot) units(from ? from + cell_.kernel_block[slot] * H_ : nullptr);
  }

  // Units past H are zero.
  void units(const float* from) {
    const Index count = from ? std::clamp<Index>(H_ - u0_, 0, width_) : 0;
    if (count > 0) std::copy_n(from + u0_, count, to_);
    std::fill(to_ + count, to_ + width_, 0.0f);
    to_ += width_;
  }

  const cells::CellInfo& cell_;
  const Index H_, width_;
  const WeightType type_;
  Index u0_ = 0;
  float* to_;
};

}  // namespace

StreamCell::StreamCell(const cells::CellInfo& cell, const cells::Activations& activations, Index input_size, Index hidden_size,
                       const Weights<const float>& weights, Precision precision, bool single_row)
    : engine_(cell, activations, input_size, hidden_size, weights.bias != nullptr),
      Hp_(padded(hidden_size)),
      Pp_(Hp_),
      simd_(&isa::kernels()),
      kernels_(Engine::impl(engine_).steps()) {
  count_blocks();
  const Recurrence::Impl& r = Engine::impl(engine_);
  engine_.set_precision(precision);
  const std::vector<Product>& products = r.cell.products;
  const bool int8 = r.int8_input() || std::any_of(products.begin(), products.end(), [&](const Product& p) { return r.int8(p); });
  const bool rounds = int8 || precision == Precision::bf16;
  const isa::Table& table = isa::table_for(r.H);
  if (single_row && r.functions == kernels::Functions::standard && !rounds) single_row_ = table.single_row.cell[r.cell_index];
  if (!single_row_) {
    engine_.prepare(weights, 1);
#if REKUR_INT8
    if (single_row && r.functions == kernels::Functions::standard && r.packed.type[0] == WeightType::int8)
      int8_step_ = isa::table().single_row.int8[r.cell_index];
#endif
    return;
  }
  const Index width = table.simd.width, columns = cell.gates * r.H;
  row_size_ = state_size(1);
  const auto vectors = [&](Index input_lines, Index recurrent_lines) {
    return cell.x_count * (1 + input_lines) + cell.phase[0].count * (recurrent_lines + (cell.recurrent_bias ? 1 : 0)) +
           cell.peepholes;
  };
  packed_ = {r.I, r.H, (r.H + width - 1) / width, vectors(r.I, r.H) * width, cell.recurrent_bias, WeightType::float32, nullptr};
  // The products of few units are two sums, which the kernels make of floats.
  if (r.H > 16)
    packed_.type = isa::kept_as(element_count({packed_.panels, packed_.panel_stride}),
                                {{weights.kernel, static_cast<std::size_t>(r.I * columns)},
                                 {weights.recurrent_kernel, static_cast<std::size_t>(r.H * columns)}});
  if (packed_.type != WeightType::float32) packed_.panel_stride = vectors((r.I + 1) / 2, (r.H + 1) / 2) * width;
  float* const to = panels_.claim(
      element_count({packed_.panels, packed_.panel_stride}),
      runtime::layout_of("row", {width, static_cast<Index>(packed_.type), r.I, r.H, cell.gates, cell.peepholes, cell.x_count,
                                 cell.phase[0].count, Index{cell.recurrent_bias}, Index{weights.bias != nullptr}}));
  packed_.weights = panels_.data();
  if (to == nullptr) return;
  PanelWriter writer(cell, r.H, width, packed_.type, to);
  for (Index panel = 0; panel < packed_.panels; ++panel) writer.write(panel, r.I, weights);
}

#if REKUR_EQUATIONS
struct StreamCell::ProgramStep {
  Index batch;
  int turn;
  const float* const* step_inputs;
  const float* projections;
  float *products, *addresses, *memory;
  float *const *before = nullptr, *const *after = nullptr;  // by state

  float** rows(Index i) const { return reinterpret_cast<float**>(addresses + i * batch * kAddress); }
};

StreamCell::StreamCell(std::shared_ptr<const Program> program, Index input_size, Index hidden_size, Index projection_size,
                       const Weights<const float>& weights, Precision precision)
    : engine_(program, input_size, hidden_size, projection_size, weights.bias != nullptr),
      program_(program.get()),
      Hp_(padded(hidden_size)),
      Pp_(padded(engine_.state_width(0))),
      simd_(&isa::kernels()),
      steps_(&isa::table().steps) {
  count_blocks();
  engine_.set_precision(precision);
  engine_.prepare(weights, 1);
  prepare_row();
}

void StreamCell::prepare_row() {
  const Recurrence::Impl& r = Engine::impl(engine_);
  by_row_ = r.cell.phases == 1 && !r.cell.projects && program_->step_inputs() == 0 && r.narrow_input() + r.narrow_step() == 0;
  if (!by_row_) return;
  for (std::size_t i = 0; i < r.cell.products.size(); ++i) {
    const Product& product = r.cell.products[i];
    kernels::StepProduct s{};
    s.rows = 1;
    s.H = s.product_length = r.rows(product);
    s.Hp = s.end = Hp_;
    s.weights = r.packed.recurrent[i].data();
    s.type = r.packed.type[i];
    s.bias = r.cell.recurrent_bias ? r.packed.recurrent_bias[i].data() : nullptr;
    row_.push_back({s, product.state, product.count});
  }
  const Index own = state_places() * state_size(1);
  row_products_ = own + r.cell.x_count * Hp_;
  row_code_ = own + sources_at(1) + aligned((1 + kMostStepInputs) * kAddress);
}

// Steps of one row, where every instruction on the way counts.
void StreamCell::steps_of_row(int turn, Index count, const float* x, float* y, float* memory, float* block) const noexcept {
  const Recurrence::Impl& r = Engine::impl(engine_);
  float* projections = memory + row_products_ - r.cell.x_count * Hp_;
  if (count == 1) {
    r.input_product(*simd_, 1, 0, &x, nullptr, &projections);
    return step_row(turn, projections, y, memory);
  }
  const Index X = r.cell.x_count * Hp_;
  const float** const x_rows = reinterpret_cast<const float**>(block + aligned(count * X));
  float** const projection_rows = reinterpret_cast<float**>(block + aligned(count * X) + count * kAddress);
  for (Index t = 0; t < count; ++t) {
    x_rows[t] = x + t * r.I;
    projection_rows[t] = block + t * X;
  }
  r.input_product(*simd_, count, 0, x_rows, nullptr, projection_rows);
  for (Index t = 0; t < count; ++t, turn = 1 - turn) step_row(turn, block + t * X, y + t * r.P, memory);
}

// … one of them behind the input's product.
void StreamCell::step_row(int turn, const float* projections, float* y, float* memory) const noexcept {
  float *before[kMostStates], *after[kMostStates];
  for (int k = 0; k < states(); ++k) {
    before[k] = memory + state(k, turn, 1);
    after[k] = memory + state(k, 1 - turn, 1);
  }
  float* const products = memory + row_products_;
  float* to = products;
  for (const RowProduct& of : row_) {
    kernels::StepProduct s = of.product;
    const float* const from = before[of.state];
    s.from = &from;
    s.descending = turn != 0;
    s.to = to;
    to += of.count * Hp_;
    steps_->product[of.count - 1](s);
  }
  const Index H = Engine::impl(engine_).H;
  if (program_->forward_row_again({projections, before, after, y, simd_, memory + row_code_, H, Hp_})) return;
  float* const own = memory + state_places() * state_size(1);
  const ProgramStep step{1, turn, nullptr, projections, products, addresses_of(own, 1), memory, before, after};
  step.rows(2)[0] = y;
  equations(step, 0);
}

Index StreamCell::sources_at(Index batch) const {
  const Recurrence::Impl& r = Engine::impl(engine_);
  return narrow_at(batch) + batch * (r.narrow_input() + r.narrow_step());
}
#endif

// The projections, of a cell of several phases the records, and a program's products.
void StreamCell::count_blocks() {
  const Description& cell = engine_.description();
  blocks_ = cell.x_count + (cell.phases > 1 ? cell.slots : 0);
#if REKUR_EQUATIONS
  if (program_) blocks_ += program_->product_blocks();
#endif
}

// Beyond the states, of the engine's kernels alone: what blocks_ says, the addresses of the rows of x, projections, y and records,
// the rows that are rounded for products, and for a program those of its inputs and sources and the memory that its code needs.
Index StreamCell::memory(Index batch) const {
  element_count({batch + 16, Hp_, 16 + blocks_});  // more than all of it: finds what overflows
  Index size = state_places() * state_size(batch);
  if (single_row_) return size;
  size += aligned(batch * blocks_ * Hp_) + aligned(batch * 4 * kAddress);
  const Recurrence::Impl& r = Engine::impl(engine_);
  element_count({batch, r.narrow_input() + r.narrow_step() + 1});
  size += batch * (r.narrow_input() + r.narrow_step());
#if REKUR_EQUATIONS
  if (program_) size += aligned(batch * (1 + kMostStepInputs) * kAddress) + program_->memory(batch, engine_.hidden_size());
#endif
  return size;
}

Index StreamCell::block_memory(Index batch, Index steps) const {
  const Index rows = element_count({batch, steps, engine_.description().x_count, Hp_}), addresses = batch * steps * 2 * kAddress;
  if (single_row_) return rows;
  return aligned(rows) + aligned(addresses) + batch * steps * Engine::impl(engine_).narrow_input();
}

void StreamCell::steps_of_rows(Index batch, int turn, Index count, const float* x, const float* const* step_inputs, float* y,
                               float* memory, float* block, [[maybe_unused]] bool room) const noexcept {
  const Recurrence::Impl& r = Engine::impl(engine_);
  const Index X = r.cell.x_count * Hp_, rows = count * batch;
  float* const own = memory + state_places() * state_size(batch);
  float* const projections = count > 1 ? block : own;
  float* const addresses = count > 1 ? block + aligned(rows * X) : addresses_of(own, batch);
  const float** const x_rows = reinterpret_cast<const float**>(addresses);
  float** const projection_rows = reinterpret_cast<float**>(addresses + rows * kAddress);
#if REKUR_INT8
  if (int8_step_ && count == 1 && r.packed.input_type == WeightType::int8) return step_int8(turn, x, nullptr, y, memory, room);
#endif
  for (Index row = 0; row < rows; ++row) {
    x_rows[row] = x + row * r.I;
    projection_rows[row] = projections + row * X;
  }
  r.input_product(*simd_, rows, 0, x_rows, count > 1 ? addresses + aligned(rows * 2 * kAddress) : narrow_of(own, batch),
                  projection_rows);
  const float* now[kMostStepInputs];
  for (Index t = 0; t < count; ++t, turn = 1 - turn) {
#if REKUR_EQUATIONS
    for (int i = 0; program_ && i < program_->step_inputs(); ++i)
      now[i] = step_inputs[i] + t * batch * (program_->step_by_row(i) ? 1 : r.H);
#else
    static_cast<void>(step_inputs);
#endif
#if REKUR_INT8
    if (int8_step_) {
      step_int8(turn, nullptr, projections + t * X, y + t * r.P, memory, room);
      continue;
    }
#endif
    step_rows(batch, turn, projections + t * batch * X, now, y + t * batch * r.P, memory);
  }
}

#if REKUR_INT8
// x or its products: [x_count][Hp]
void StreamCell::step_int8(int turn, const float* x, const float* products, float* y, float* memory, bool room) const noexcept {
  const Recurrence::Impl& r = Engine::impl(engine_);
  int8_step_({r.I, r.H, Hp_, r.packed.group, x ? r.packed.input.data() : nullptr, r.packed.recurrent[0].data(),
              r.packed.unit_weights.data(), x, products, memory + state(0, turn, 1), memory + state(0, 1 - turn, 1),
              r.cell.states > 1 ? memory + state(1, turn, 1) : nullptr, y, narrow_of(memory + state_places() * state_size(1), 1),
              turn != 0, room});
}
#endif

// What ForwardSlice does (forward.cpp) behind the input's product, for one step of all rows.
void StreamCell::step_rows(Index batch, int turn, const float* projections, const float* const* step_inputs, float* y,
                           float* memory) const noexcept {
  const Recurrence::Impl& r = Engine::impl(engine_);
  const Description& cell = r.cell;
  const Index record = cell.phases > 1 ? cell.slots * Hp_ : 0;
  float* const own = memory + state_places() * state_size(batch);
  float* const records = own + batch * cell.x_count * Hp_;
  float* const addresses = addresses_of(own, batch);
  const auto rows = [&](Index i) { return reinterpret_cast<float**>(addresses + i * batch * kAddress); };
  float **const y_rows = rows(2), **const record_rows = rows(3);
  for (Index row = 0; row < batch; ++row) {
    y_rows[row] = y + row * r.P;
    record_rows[row] = records + row * record;
  }
#if REKUR_EQUATIONS
  if (program_) return step_program({batch, turn, step_inputs, projections, records + batch * record, addresses, memory});
#endif
  static_cast<void>(step_inputs);
  kernels::StepForward s{};
  s.rows = batch;
  s.H = s.product_length = r.H;
  s.Hp = s.end = Hp_;
  s.descending = turn != 0;
  s.input = projections;
  s.h = memory + state(0, turn, batch);
  s.h_next = memory + state(0, 1 - turn, batch);
  s.c = cell.states > 1 ? memory + state(1, turn, batch) : nullptr;
  s.y = y_rows;
  s.tape = record > 0 ? record_rows : nullptr;
  s.peephole = r.packed.unit_weights.data();
  s.activations = &r.activations;
  for (int p = 0; p < cell.phases; ++p) {
    s.weights = r.packed.recurrent[static_cast<std::size_t>(p)].data();
    s.type = r.packed.type[static_cast<std::size_t>(p)];
    s.group = r.group(s.type);
    s.narrow = narrow_of(own, batch) + batch * r.narrow_input();
    s.bias = cell.recurrent_bias ? r.packed.recurrent_bias[static_cast<std::size_t>(p)].data() : nullptr;
    kernels_.forward[p](s);
  }
}

#if REKUR_EQUATIONS
void StreamCell::step_program(const ProgramStep& step) const noexcept {
  const Recurrence::Impl& r = Engine::impl(engine_);
  const Index batch = step.batch;
  float* const own = step.memory + state_places() * state_size(batch);
  float *before[kMostStates], *after[kMostStates];
  for (int k = 0; k < states(); ++k) {
    before[k] = step.memory + state(k, step.turn, batch);
    after[k] = step.memory + state(k, 1 - step.turn, batch);
  }
  float* const sources = sources_of(own, batch);
  ProgramStep now = step;
  now.before = before;
  now.after = after;
  for (int p = 0; p < r.cell.phases; ++p) {
    const bool projects = r.projects(p);
    program_products(r, {.phase = p,
                         .rows = batch,
                         .Hp = Hp_,
                         .Pp = Pp_,
                         .end = projects ? Pp_ : Hp_,
                         .descending = step.turn != 0,
                         .before = before,
                         .projected = after[0],
                         .tape = step.rows(3),
                         .products = step.products,
                         .sources = reinterpret_cast<const float**>(sources),
                         .narrow = narrow_of(own, batch) + batch * r.narrow_input(),
                         .steps = *steps_});
    if (projects) {
      for (Index row = 0; row < batch; ++row) std::copy_n(after[0] + row * Pp_, r.P, step.rows(2)[row]);
      continue;
    }
    // What a step of its own is given stands anywhere; all else is where it was in the step before.
    if (program_->step_inputs() > 0 ||
        !program_->forward_again(p, {.rows = batch,
                                     .begin = 0,
                                     .end = r.H,
                                     .before = before,
                                     .after = after,
                                     .training = false,
                                     .kernels = simd_,
                                     .memory = sources + aligned(batch * (1 + kMostStepInputs) * kAddress),
                                     .Hp = Hp_,
                                     .input = step.projections,
                                     .y = step.rows(2)}))
      equations(now, p);
  }
}

// A phase whose operands have to be found.
void StreamCell::equations(const ProgramStep& step, int phase) const noexcept {
  const Recurrence::Impl& r = Engine::impl(engine_);
  const Index batch = step.batch;
  float* const sources = sources_of(step.memory + state_places() * state_size(batch), batch);
  const float** const more = reinterpret_cast<const float**>(sources);
  ConstRows given[kMostStepInputs];
  for (int i = 0; i < program_->step_inputs(); ++i) {
    const float** const rows = more + (1 + i) * batch;
    for (Index row = 0; row < batch; ++row) rows[row] = step.step_inputs[i] + row * (program_->step_by_row(i) ? 1 : r.H);
    given[i] = rows;
  }
  ProgramForward s{};
  s.rows = batch;
  s.H = s.end = r.H;
  s.Hp = Hp_;
  s.even = true;
  s.input = step.projections;
  s.products = step.products;
  s.before = step.before;
  s.after = step.after;
  s.unit_weights = r.packed.unit_weights.data();
  s.step = given;
  s.y = step.rows(2);
  s.tape = r.cell.phases > 1 ? step.rows(3) : nullptr;
  s.kernels = simd_;
  s.memory = sources + aligned(batch * (1 + kMostStepInputs) * kAddress);
  program_->forward(phase, s);
}
#endif

}  // namespace rekur::recurrent
