// A Recurrence: which cell, which sizes, and its weights packed for the kernels.
#include "recurrent/recurrence.hpp"

#include <cstring>
#include <utility>

#include "isa/dispatch.hpp"
#include "runtime/parallel.hpp"

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

bool is_standard(const cells::Activations& f) {
  return f.gate.kind == ActivationKind::sigmoid && f.candidate.kind == ActivationKind::tanh && f.output.kind == ActivationKind::tanh;
}

// Fills panels of `panel` columns, k-major, the last one rounded up to whole vectors: see simd/kernels.hpp.
template <class Source>
void pack_panels(Index K, Index N, Index width, Index panel, const Source& source, float* out) {
  const Index columns = (N + width - 1) / width * width;
  const Index count = (columns + panel - 1) / panel;
  runtime::parallel_tasks(count, 4.0 * static_cast<double>(K) * static_cast<double>(columns), [&](Index p) {
    const Index n0 = p * panel, n1 = std::min(n0 + panel, columns);
    float* to = out + n0 * K;
    for (Index k = 0; k < K; ++k)
      for (Index n = n0; n < n1; ++n) *to++ = n < N ? source(k, n) : 0.0f;
  });
}

Index packed_floats(Index K, Index N, Index width) { return K * ((N + width - 1) / width * width); }

}  // namespace

const cells::CellInfo* find_cell(const char* name) {
  const int index = index_of(name);
  return index < 0 ? nullptr : info_at(index, cells::All{});
}

Index padded(Index H) {
  const Index width = isa::kernels().width;
  return (H + width - 1) / width * width;
}

const CellKernels& Recurrence::Impl::kernels() const { return isa::table().recurrent.cell[cell_index][standard ? 0 : 1]; }

Recurrence::Recurrence(const cells::CellInfo& cell, cells::Activations activations, Index input_size, Index hidden_size, bool bias)
    : impl_(std::make_unique<Impl>()) {
  impl_->cell = cell;
  impl_->activations = activations;
  impl_->cell_index = index_of(cell.name);
  impl_->standard = is_standard(activations);
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

void Recurrence::prepare(const Weights<const float>& weights, std::uint64_t version, bool for_training) const {
  const Impl& r = *impl_;
  const std::lock_guard lock(r.mutex);
  const bool same = r.version == version && r.epoch == isa::epoch();
  const bool need_forward = !(same && r.ready);
  const bool need_backward = for_training && !(same && r.ready_for_training);
  if (!need_forward && !need_backward) return;

  const auto& cell = r.cell;
  const Index I = r.I, H = r.H, GH = cell.gates * H, Hp = padded(H);
  const Index width = isa::kernels().width, panel = isa::kernels().panel;
  // Column j of a run of gate slots, each padded to Hp units, as a column of the user's kernel; -1 for padding.
  const auto column = [&](int first_slot, Index j) {
    const Index u = j % Hp;
    return u < H ? cell.kernel_block[first_slot + j / Hp] * H + u : Index{-1};
  };
  const auto at = [](const float* base, Index offset, Index index) { return index < 0 ? 0.0f : base[offset + index]; };

  if (need_forward) {
    r.ready = r.ready_for_training = false;
    const Index X = cell.x_count * Hp;
    pack_panels(
        I, X, width, panel, [&](Index k, Index n) { return at(weights.kernel, k * GH, column(cell.x_first, n)); },
        r.packed.input.reserve(packed_floats(I, X, width)));
    float* bias = r.packed.input_bias.reserve(X);
    for (Index n = 0; n < X; ++n) bias[n] = weights.bias ? at(weights.bias, 0, column(cell.x_first, n)) : 0.0f;
    for (int p = 0; p < cell.phases; ++p) {
      const auto& phase = cell.phase[p];
      float* out = r.packed.recurrent[p].reserve(H * phase.count * Hp);
      runtime::parallel_tasks(Hp / width, 4.0 * static_cast<double>(H) * static_cast<double>(phase.count * Hp), [&](Index j) {
        float* to = out + j * H * phase.count * width;
        for (Index k = 0; k < H; ++k)
          for (Index g = 0; g < phase.count; ++g)
            for (Index u = j * width; u < (j + 1) * width; ++u)
              *to++ = at(weights.recurrent_kernel, k * GH, column(phase.first, g * Hp + u));
      });
      if (!cell.recurrent_bias) continue;
      float* to = r.packed.recurrent_bias[p].reserve(phase.count * Hp);
      for (Index n = 0; n < phase.count * Hp; ++n) to[n] = weights.bias ? at(weights.bias, GH, column(phase.first, n)) : 0.0f;
    }
    r.ready = true;
  }
  if (need_backward) {
    const Index X = cell.x_count * Hp;
    pack_panels(
        X, I, width, panel, [&](Index k, Index n) { return at(weights.kernel, n * GH, column(cell.x_first, k)); },
        r.packed.input_transposed.reserve(packed_floats(X, I, width)));
    for (int p = 0; p < cell.phases; ++p) {
      const auto& phase = cell.phase[p];
      const Index K = phase.count * Hp;
      pack_panels(
          K, H, width, panel, [&](Index k, Index n) { return at(weights.recurrent_kernel, n * GH, column(phase.first, k)); },
          r.packed.recurrent_transposed[p].reserve(packed_floats(K, H, width)));
    }
    r.ready_for_training = true;
  }
  r.version = version;
  r.epoch = isa::epoch();
}

Index Recurrence::tape_size(Index T, Index B, bool own_output) const {
  return element_count({T, B, impl_->record(padded(impl_->H)) + (own_output ? impl_->H : 0)});
}

}  // namespace rekur::recurrent
