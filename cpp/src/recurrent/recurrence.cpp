// A Recurrence: which cell, which sizes, and its weights packed for the kernels.
#include "recurrent/recurrence.hpp"

#include <cstring>
#include <utility>

#include "isa/dispatch.hpp"
#include "recurrent/plan.hpp"
#include "recurrent/windows.hpp"
#include "runtime/locks.hpp"

namespace rekur::recurrent {
namespace {

template <class... Cells>
const cells::CellInfo* info_at(int index, cells::List<Cells...>) {
  static constexpr cells::CellInfo infos[] = {Cells::info...};
  return index < cells::All::size ? &infos[index] : nullptr;
}

int index_of(const char* name) {
  for (int i = 0; i < cells::All::size; ++i)
    if (std::strcmp(info_at(i, cells::All{})->name, name) == 0) return i;
  return -1;
}

kernels::Functions functions_for(const cells::Activations& f) {
  const bool standard = f.gate.kind == ActivationKind::sigmoid && f.candidate.kind == ActivationKind::tanh &&
                        f.output.kind == ActivationKind::tanh && !f.clips();
  return standard ? kernels::Functions::standard : kernels::Functions::given;
}

}  // namespace

const cells::CellInfo* find_cell(const char* name) {
  const int index = index_of(name);
  return index < 0 ? nullptr : info_at(index, cells::All{});
}

Index padded(Index H) {
  const Index width = isa::kernels().width;
  return (H + width - 1) / width * width;
}

const kernels::CellSteps& Recurrence::Impl::steps() const {
  return isa::table().steps.cell[cell_index][static_cast<int>(functions)];
}

void Recurrence::Impl::set_sizes(Index input_size, Index hidden_size, Index projection_size, bool with_bias) {
  for (auto* of_products : {&packed.recurrent, &packed.recurrent_bias, &packed.recurrent_transposed})
    of_products->resize(cell.products.size());
  packed.type.resize(cell.products.size());
  gradient_phase.assign(static_cast<std::size_t>(cell.slots), -1);
  const auto leaves = [&](int phase, int first, int count) {
    for (auto slot = gradient_phase.begin() + first; slot != gradient_phase.begin() + first + count; ++slot)
      *slot = std::max(*slot, phase);
  };
  leaves(0, cell.x_first, cell.x_count);
  for (const Product& product : cell.products) leaves(product.phase, product.first, product.count);
  I = input_size;
  H = hidden_size;
  P = cell.projects ? projection_size : hidden_size;
  bias = with_bias;
}

Recurrence::Recurrence(const cells::CellInfo& cell, cells::Activations activations, Index input_size, Index hidden_size, bool bias)
    : impl_(std::make_unique<Impl>()) {
  impl_->cell = describe(cell);
  impl_->activations = activations;
  impl_->cell_index = index_of(cell.name);
  impl_->functions = functions_for(activations);
  impl_->set_sizes(input_size, hidden_size, hidden_size, bias);
}

#if REKUR_EQUATIONS
Recurrence::Recurrence(std::shared_ptr<const Program> program, Index input_size, Index hidden_size, Index projection_size,
                       bool bias, bool input_by_block)
    : impl_(std::make_unique<Impl>()) {
  impl_->input_by_block = input_by_block;
  impl_->cell = program->description();
  impl_->program = std::move(program);
  impl_->set_sizes(input_size, hidden_size, projection_size, bias);
}
#endif

Recurrence::~Recurrence() = default;
Recurrence::Recurrence(Recurrence&&) noexcept = default;
Recurrence& Recurrence::operator=(Recurrence&&) noexcept = default;

void Recurrence::set_precision(Precision precision) {
  const runtime::Guard lock(impl_->mutex);
  impl_->ready = impl_->ready && impl_->precision == precision;
  impl_->precision = precision;
}

#if REKUR_TRAINING
void Recurrence::set_units_first(const std::vector<int>& order) {
  const runtime::Guard lock(impl_->mutex);
  impl_->ready = false;
  impl_->units_first = true;
  for (std::vector<int>* blocks : {&impl_->cell.kernel_block, &impl_->cell.recurrent_block})
    for (int& block : *blocks)
      if (block >= 0 && !order.empty()) block = order[static_cast<std::size_t>(block)];
}
#endif

const Description& Recurrence::description() const { return impl_->cell; }
Index Recurrence::input_size() const { return impl_->I; }
Index Recurrence::hidden_size() const { return impl_->H; }
Index Recurrence::state_width(int state) const { return impl_->width(state); }

void Recurrence::prepare(const Weights<const float>& weights, std::uint64_t version) const {
  const Impl& r = *impl_;
  const runtime::Guard lock(r.mutex);
  if (r.ready && r.version == version && r.epoch == isa::epoch()) return;
  r.ready = r.recurrent_transposed_ready = r.input_transposed_ready = false;
  r.packed.fill_forward(r, weights);
  r.ready = true;
  r.version = version;
  r.epoch = isa::epoch();
}

#if REKUR_TRAINING
void Recurrence::Impl::prepare_backward(const Weights<const float>& weights, bool through_h, bool to_input) const {
  const runtime::Guard lock(mutex);
  if (through_h && !recurrent_transposed_ready) {
    packed.fill_recurrent_transposed(*this, weights);
    recurrent_transposed_ready = true;
  }
  if (to_input && !input_transposed_ready) {
    packed.fill_input_transposed(*this, weights);
    input_transposed_ready = true;
  }
}
#endif

void Recurrence::Impl::input_product(const simd::Kernels& kernels, Index count, int set, const float** x, float* narrow,
                                     Rows to) const noexcept {
  // By the kernels given: a stream keeps those that it was packed for, whatever is in use now.
  const Index columns = set_count() * ((H + kernels.width - 1) / kernels.width * kernels.width), stride = narrow_input();
  const float* const weights = packed.input.data() + (set > 0 ? set * packed.input_set_size(*this) : 0);
  const float* const first_bias = packed.input_bias.data() + set * columns;
#if REKUR_INT8
  if (stride > 0 && packed.input_type == WeightType::int8) {
    kernels.narrow(packed.group, count, I, x, 0, narrow, stride);
    for (Index i = 0; i < count; ++i) x[i] = narrow + i * stride;
    return kernels.gemm_int8(packed.group, count, columns, I, x, weights, to, set * columns);
  }
#endif
#if REKUR_BF16
  if (stride > 0) {
    kernels.narrow_bf16(count, I, x, 0, narrow, stride);
    for (Index i = 0; i < count; ++i) x[i] = narrow + i * stride;
    return kernels.gemm_bf16(packed.group, count, columns, I, x, weights, first_bias, to, set * columns, false);
  }
#endif
  static_cast<void>(narrow), static_cast<void>(stride);
  kernels.gemm(count, columns, I, x, weights, first_bias, to, set * columns, false);
}

#if REKUR_EQUATIONS
void program_products(const Recurrence::Impl& r, const ProgramProducts& step) noexcept {
  const Index Hp = step.Hp, Pp = step.Pp, stride = r.program->product_blocks() * Hp;
  float* to = step.products;
  for (std::size_t i = 0; i < r.cell.products.size(); ++i) {
    const Product& product = r.cell.products[i];
    kernels::StepProduct s{};
    s.to = product.projects ? step.projected : to;
    to += product.projects ? 0 : product.count * Hp;
    if (product.phase != step.phase) continue;
    for (Index m = 0; m < step.rows; ++m)
      step.sources[m] = product.state < 0    ? step.tape[m] + product.slot * Hp
                        : product.state == 0 ? step.before[0] + m * Pp
                                             : step.before[product.state] + m * Hp;
    s.rows = step.rows;
    s.H = r.rows(product);
    s.Hp = product.projects ? Pp : Hp;
    s.begin = step.begin;
    s.end = step.end;
    s.descending = step.descending;
    s.from = step.sources;
    s.product_length = product.state >= 0 && step.zero[product.state] ? 0 : s.H;
    s.weights = r.packed.recurrent[i].data();
    s.type = r.packed.type[i];
    s.group = r.group(s.type);
    s.narrow = step.narrow;
    s.bias = r.cell.recurrent_bias && !product.projects ? r.packed.recurrent_bias[i].data() : nullptr;
    s.to_stride = product.projects ? Pp : stride;
    step.steps.product[product.count - 1](s);
  }
}
#endif

Index Recurrence::tape_size(Index T, Index B, bool own_output, Index window) const {
  const auto records = [&](Index steps) {
    const Index size = records_size(*impl_, steps, B, own_output), sums = unit_sums_size(*impl_, B);
    return sums > 0 ? aligned(size) + sums : size;
  };
#if REKUR_TRAINING
  if (window > 0 && T > window) return WindowTape(*impl_, T, B, records(window), window).size;
#endif
  static_cast<void>(window);
  return records(T);
}

}  // namespace rekur::recurrent
