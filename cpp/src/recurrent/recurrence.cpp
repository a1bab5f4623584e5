// A Recurrence: which cell, which sizes, and its weights packed for the kernels.
#include "recurrent/recurrence.hpp"

#include <cstring>
#include <utility>

#include "isa/dispatch.hpp"

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

Functions functions_for(const cells::Activations& f) {
  const bool standard = f.gate.kind == ActivationKind::sigmoid && f.candidate.kind == ActivationKind::tanh &&
                        f.output.kind == ActivationKind::tanh && !f.clips();
  return standard ? Functions::standard : Functions::given;
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

const CellKernels& Recurrence::Impl::kernels() const {
  return isa::table().recurrent.cell[cell_index][static_cast<int>(functions)];
}

Recurrence::Recurrence(const cells::CellInfo& cell, cells::Activations activations, Index input_size, Index hidden_size, bool bias)
    : impl_(std::make_unique<Impl>()) {
  impl_->cell = cell;
  impl_->activations = activations;
  impl_->cell_index = index_of(cell.name);
  impl_->functions = functions_for(activations);
  impl_->I = input_size;
  impl_->H = hidden_size;
  impl_->bias = bias;
}

Recurrence::~Recurrence() = default;
Recurrence::Recurrence(Recurrence&&) noexcept = default;
Recurrence& Recurrence::operator=(Recurrence&&) noexcept = default;

const cells::CellInfo& Recurrence::cell() const { return impl_->cell; }
Index Recurrence::input_size() const { return impl_->I; }
Index Recurrence::hidden_size() const { return impl_->H; }

void Recurrence::prepare(const Weights<const float>& weights, std::uint64_t version) const {
  const Impl& r = *impl_;
  const std::lock_guard lock(r.mutex);
  if (r.ready && r.version == version && r.epoch == isa::epoch()) return;
  r.ready = r.recurrent_transposed_ready = r.input_transposed_ready = false;
  r.packed.fill_forward(r, weights);
  r.ready = true;
  r.version = version;
  r.epoch = isa::epoch();
}

#if REKUR_TRAINING
void Recurrence::Impl::prepare_backward(const Weights<const float>& weights, bool through_h, bool to_input) const {
  const std::lock_guard lock(mutex);
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

Index Recurrence::tape_size(Index T, Index B, bool own_output) const {
  return element_count({T, B, impl_->record(padded(impl_->H)) + (own_output ? impl_->H : 0)});
}

}  // namespace rekur::recurrent
