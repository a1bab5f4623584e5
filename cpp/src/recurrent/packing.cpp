// The user's weights in the order the kernels read them. Runs once a training step, so it moves whole vectors, writes contiguously
// and fetches ahead what it reads.
#include <algorithm>
#include <cstring>
#include <vector>

#include "isa/bf16.hpp"
#include "isa/dispatch.hpp"
#include "isa/halves.hpp"
#include "isa/int8.hpp"
#include "recurrent/recurrence.hpp"
#include "rekur/detail/compiler.hpp"
#include "runtime/parallel.hpp"
#include "simd/pack.hpp"

namespace rekur::recurrent {
namespace {

// Where a run of gate slots, each padded to Hp units, stands in a row of the user's kernel.
struct Columns {
  const std::vector<int>& block;  // by slot
  int first_slot;
  Index H, Hp;

  Index begin(Index slot) const { return block[static_cast<std::size_t>(first_slot + slot)] * H; }
};

const std::vector<int> kOneBlock{0};

std::uint64_t layout(const char* what, std::initializer_list<Index> sizes, WeightType type) {
  const simd::Kernels& kernels = isa::kernels();
  return runtime::layout_of(
      what, {kernels.width, kernels.panel, static_cast<Index>(type), static_cast<Index>(runtime::layout_of("", sizes))});
}

// A vector's floats. With the size known the compiler moves registers; a call of memcpy took longer than the copy.
void copy_vector(float* to, const float* from, Index width) {
  switch (width) {
    case 16:
      REKUR_COPY(to, from, 16 * sizeof(float));
      break;
    case 8:
      REKUR_COPY(to, from, 8 * sizeof(float));
      break;
    default:
      std::copy_n(from, width, to);
  }
}

// Units [u0, u0 + width) of one slot from a row of the user's kernel; units past H are zero. Fetches what stands `ahead` further.
void copy_units(const float* row, const Columns& columns, Index slot, Index u0, Index width, Index ahead, float* to) {
  const float* from = row + columns.begin(slot) + u0;
  REKUR_PREFETCH(from + ahead);
  if (u0 + width <= columns.H) return copy_vector(to, from, width);
  const Index count = std::clamp<Index>(columns.H - u0, 0, width);
  std::copy_n(from, count, to);
  std::fill(to + count, to + width, 0.0f);
}

// Rows fetched ahead. What is written is contiguous; what is read lies a row apart, which no hardware foresees.
constexpr Index kAhead = 8;

// B[K][count·Hp], its columns the given slots', as gemm panels (simd/kernels.hpp).
void pack_rows(Index K, Index row_stride, const float* rows, const Columns& columns, int count, float* out) {
  const Index width = isa::kernels().width, panel = isa::kernels().panel, N = count * columns.Hp;
  const double work = 4.0 * static_cast<double>(K) * static_cast<double>(N);
  runtime::parallel_tasks((N + panel - 1) / panel, work, [&](Index p) {
    const Index n0 = p * panel, vectors = (std::min(N - n0, panel) + width - 1) / width;
    float* to = out + n0 * K;
    for (Index k = 0; k < K; ++k)
      for (Index v = 0, slot = n0 / columns.Hp, u0 = n0 % columns.Hp; v < vectors; ++v, to += width) {
        copy_units(rows + k * row_stride, columns, slot, u0, width, std::min(kAhead, K - 1 - k) * row_stride, to);
        u0 += width;
        if (u0 == columns.Hp) u0 = 0, ++slot;
      }
  });
}

// The same with rows of sixteen bits: [Hp/width][pairs of rows][count][width].
void pack_half_steps(WeightType type, Index K, Index row_stride, const float* rows, const Columns& columns, int count, float* out) {
  const Index width = isa::kernels().width, lines = (K + 1) / 2, line = count * width;
  std::fill_n(out, lines * count * columns.Hp, 0.0f);
  for (Index j = 0; j < columns.Hp / width; ++j)
    for (Index k = 0; k < K; ++k)
      for (Index slot = 0; slot < count; ++slot)
        simd::put_half(type, rows + k * row_stride + columns.begin(slot) + j * width,
                       std::clamp<Index>(columns.H - j * width, 0, width), k, width,
                       out + (j * lines + k / 2) * line + slot * width);
}

// A recurrent product's weights for the step kernels: [Hp/width][K][count][width].
void pack_steps(Index K, Index row_stride, const float* rows, const Columns& columns, int count, float* out) {
  const Index width = isa::kernels().width;
  const double work = 4.0 * static_cast<double>(K) * static_cast<double>(count * columns.Hp);
  runtime::parallel_tasks(columns.Hp / width, work, [&](Index j) {
    float* to = out + j * K * count * width;
    for (Index k = 0; k < K; ++k)
      for (Index slot = 0; slot < count; ++slot, to += width)
        copy_units(rows + k * row_stride, columns, slot, j * width, width, std::min(kAhead, K - 1 - k) * row_stride, to);
  });
}

#if REKUR_BF16
// --- for products of bf16: pairs of rows in place of rows ---

// Units [u0, u0 + width) of a slot, of rows k and k + 1.
void pair_units(Index K, Index row_stride, const float* rows, const Columns& columns, Index slot, Index u0, Index k, float* to) {
  const Index width = isa::kernels().width, count = std::clamp<Index>(columns.H - u0, 0, width);
  const float* const first = rows + k * row_stride + columns.begin(slot) + u0;
  if (count > 0)
    isa::kernels().pair_rows(first, k + 1 < K ? first + row_stride : nullptr, count, to);
  else
    std::fill_n(to, width, 0.0f);
}

// For the step kernels: [Hp/width][pairs of rows][count][width].
void pack_bf16_steps(Index K, Index row_stride, const float* rows, const Columns& columns, int count, float* out) {
  const Index width = isa::kernels().width, pairs = (K + 1) / 2;
  const double work = 8.0 * static_cast<double>(K) * static_cast<double>(count * columns.Hp);
  runtime::parallel_tasks(columns.Hp / width, work, [&](Index j) {
    float* to = out + j * pairs * count * width;
    for (Index k = 0; k < K; k += 2)
      for (Index slot = 0; slot < count; ++slot, to += width) pair_units(K, row_stride, rows, columns, slot, j * width, k, to);
  });
}

// As gemm panels.
void pack_bf16_rows(Index K, Index row_stride, const float* rows, const Columns& columns, int count, float* out) {
  const Index width = isa::kernels().width, panel = isa::kernels().panel, N = count * columns.Hp, pairs = (K + 1) / 2;
  const double work = 8.0 * static_cast<double>(K) * static_cast<double>(N);
  runtime::parallel_tasks((N + panel - 1) / panel, work, [&](Index p) {
    const Index n0 = p * panel, n1 = std::min(N, n0 + panel);
    float* to = out + n0 * pairs;
    for (Index k = 0; k < K; k += 2)
      for (Index n = n0; n < n1; n += width, to += width)
        pair_units(K, row_stride, rows, columns, n / columns.Hp, n % columns.Hp, k, to);
  });
}
#endif

#if REKUR_INT8
// The same of eight bits: [Hp/width][count] vectors of columns.
void pack_int8_steps(Index group, Index K, Index row_stride, const float* rows, const float* bias, const Columns& columns,
                     int count, float* out) {
  const Index width = isa::kernels().width, size = simd::int8_column_floats(width, K);
  const double work = 16.0 * static_cast<double>(K) * static_cast<double>(count * columns.Hp);
  runtime::parallel_tasks(columns.Hp / width, work, [&](Index j) {
    for (Index slot = 0; slot < count; ++slot) {
      const Index from = columns.begin(slot) + j * width;
      simd::pack_int8(width, group, K, std::clamp<Index>(columns.H - j * width, 0, width), rows + from, row_stride,
                      bias ? bias + from : nullptr, out + (j * count + slot) * size);
    }
  });
}

// … and of the input's product: blocks one after the other, [count][Hp/width].
void pack_int8_rows(Index group, Index K, Index row_stride, const float* rows, const float* bias, const Columns& columns, int count,
                    float* out) {
  const Index width = isa::kernels().width, size = simd::int8_column_floats(width, K), vectors = columns.Hp / width;
  const double work = 16.0 * static_cast<double>(K) * static_cast<double>(count * columns.Hp);
  runtime::parallel_tasks(count * vectors, work, [&](Index i) {
    const Index j = i % vectors, from = columns.begin(i / vectors) + j * width;
    simd::pack_int8(width, group, K, std::clamp<Index>(columns.H - j * width, 0, width), rows + from, row_stride,
                    bias ? bias + from : nullptr, out + i * size);
  });
}
#endif

void pack_bias(const float* bias, const Columns& columns, int count, float* out) {
  for (Index slot = 0; slot < count; ++slot)
    if (bias)
      copy_units(bias, columns, slot, 0, columns.Hp, 0, out + slot * columns.Hp);
    else
      std::fill_n(out + slot * columns.Hp, columns.Hp, 0.0f);
}

Index panels_size(Index K, Index N) {
  const Index width = isa::kernels().width;
  return K * ((N + width - 1) / width * width);
}

#if REKUR_TRAINING
// A matrix of the user's as the backward pass reads it: as it is, or of eight bits what it was rounded to, in `rounded`.
const float* as_computed(bool int8, Index K, Index N, const float* matrix, [[maybe_unused]] std::vector<float>& rounded) {
#if REKUR_INT8
  if (int8) {
    rounded.assign(matrix, matrix + K * N);
    constexpr Index kColumns = 64;  // of a task
    runtime::parallel_tasks((N + kColumns - 1) / kColumns, 8.0 * static_cast<double>(K) * static_cast<double>(N), [&](Index i) {
      simd::round_int8(K, std::min(kColumns, N - i * kColumns), rounded.data() + i * kColumns, N);
    });
    return rounded.data();
  }
#endif
  static_cast<void>(int8), static_cast<void>(K), static_cast<void>(N);
  return matrix;
}

// --- matrices with a row a unit: what was copied above is transposed, and the other way round ---

// Units [u0, u0 + width) of a slot: `to` has a row of `stride` floats for each of the K numbers that they are products of.
void transpose_units(Index K, const float* rows, const Columns& columns, Index slot, Index u0, Index stride, float* to) {
  const Index width = isa::kernels().width, count = std::clamp<Index>(columns.H - u0, 0, width);
  if (count < width)
    for (Index k = 0; k < K; ++k) std::fill(to + k * stride + count, to + k * stride + width, 0.0f);
  if (count > 0) isa::kernels().transpose(count, K, rows + (columns.begin(slot) + u0) * K, K, to, stride);
}

void pack_rows_of_units(Index K, const float* rows, const Columns& columns, int count, float* out) {
  const Index width = isa::kernels().width, panel = isa::kernels().panel, N = count * columns.Hp;
  const double work = 4.0 * static_cast<double>(K) * static_cast<double>(N);
  runtime::parallel_tasks((N + panel - 1) / panel, work, [&](Index p) {
    const Index n0 = p * panel, n1 = std::min(N, n0 + panel);
    for (Index n = n0; n < n1; n += width)
      transpose_units(K, rows, columns, n / columns.Hp, n % columns.Hp, n1 - n0, out + n0 * K + (n - n0));
  });
}

void pack_steps_of_units(Index K, const float* rows, const Columns& columns, int count, float* out) {
  const Index width = isa::kernels().width;
  const double work = 4.0 * static_cast<double>(K) * static_cast<double>(count * columns.Hp);
  runtime::parallel_tasks(columns.Hp / width, work, [&](Index j) {
    for (Index slot = 0; slot < count; ++slot)
      transpose_units(K, rows, columns, slot, j * width, count * width, out + (j * K * count + slot) * width);
  });
}

// B[count·Hp][N] as gemm panels, whose rows are those of the matrix.
void pack_units(Index N, const float* rows, const Columns& columns, int count, float* out) {
  const Index width = isa::kernels().width, panel = isa::kernels().panel, K = count * columns.Hp;
  const double work = 4.0 * static_cast<double>(K) * static_cast<double>(N);
  runtime::parallel_tasks((N + panel - 1) / panel, work, [&](Index p) {
    const Index n0 = p * panel, present = std::min(panel, N - n0), row = (present + width - 1) / width * width;
    float* to = out + n0 * K;
    for (Index slot = 0; slot < count; ++slot)
      for (Index u = 0; u < columns.Hp; ++u, to += row) {
        if (u >= columns.H) {
          std::fill_n(to, row, 0.0f);
          continue;
        }
        const float* const from = rows + (columns.begin(slot) + u) * N + n0;
        REKUR_PREFETCH(from + kAhead * N);
        Index n = 0;
        for (; n + width <= present; n += width) copy_vector(to + n, from + n, width);
        std::copy_n(from + n, present - n, to + n);
        std::fill(to + present, to + row, 0.0f);
      }
  });
}

// A panel, from column n0 on, of the transpose B[count·Hp][N] with N the rows of the user's kernel.
void transpose_panel(Index N, Index n0, Index row_stride, const float* rows, const Columns& columns, int count, float* to) {
  const Index width = isa::kernels().width, present = std::min<Index>(isa::kernels().panel, N - n0);
  const Index padded = (present + width - 1) / width * width;
  if (present < padded || columns.H < columns.Hp) std::fill_n(to, count * columns.Hp * padded, 0.0f);
  for (Index slot = 0; slot < count; ++slot)
    isa::kernels().transpose(present, columns.H, rows + n0 * row_stride + columns.begin(slot), row_stride,
                             to + slot * columns.Hp * padded, padded);
}

// The transpose as gemm panels; or of bf16, pairs of its rows.
void pack_transposed(Index N, Index row_stride, const float* rows, const Columns& columns, int count, bool bf16, float* out) {
  const Index width = isa::kernels().width, panel = isa::kernels().panel, K = count * columns.Hp;
  const double work = 4.0 * static_cast<double>(K) * static_cast<double>(N);
  runtime::parallel_tasks((N + panel - 1) / panel, work, [&](Index p) {
    const Index n0 = p * panel;
#if REKUR_BF16
    if (bf16) {
      const Index padded = (std::min(panel, N - n0) + width - 1) / width * width;
      const Buffer whole(K * padded);
      transpose_panel(N, n0, row_stride, rows, columns, count, whole.data());
      float* to = out + n0 * ((K + 1) / 2);
      for (Index k = 0; k < K; k += 2, to += padded) {
        const float* const first = whole.data() + k * padded;
        isa::kernels().pair_rows(first, k + 1 < K ? first + padded : nullptr, padded, to);
      }
      return;
    }
#endif
    static_cast<void>(bf16), static_cast<void>(width);
    transpose_panel(N, n0, row_stride, rows, columns, count, out + n0 * K);
  });
}
#endif

}  // namespace

// Floats of a set's W_x.
Index Packed::input_set_size(const Recurrence::Impl& r) const {
  const Index N = r.set_count() * padded(r.H);
  if (input_type == WeightType::bf16) return panels_size((r.I + 1) / 2, N);
  if (input_type != WeightType::int8) return panels_size(r.I, N);
  return simd::int8_size(isa::kernels().width, r.I, N);
}

void Packed::fill_forward(const Recurrence::Impl& r, const Weights<const float>& weights) {
  const Description& cell = r.cell;
  const Index H = r.H, XH = cell.kernel_blocks * H, RH = cell.recurrent_blocks * H, Hp = padded(H), X = cell.x_count * Hp;
  const bool bf16 = r.bf16();
  group = r.precision == Precision::int8 ? isa::int8_group() : bf16 ? isa::bf16_group() : 0;
  input_type = bf16 ? WeightType::bf16 : r.int8_input() ? WeightType::int8 : WeightType::float32;
  float* const inputs = input.claim(r.input_sets() * input_set_size(r),
                                    layout("input", {r.I, H, group, r.set_count(), r.input_sets(), X, Index{r.bias}}, input_type));
  for (int set = 0; inputs != nullptr && set < r.input_sets(); ++set) {
    const Columns columns{cell.kernel_block, cell.x_first + set * r.set_count(), H, Hp};
    float* const to = inputs + set * input_set_size(r);
#if REKUR_INT8
    if (input_type == WeightType::int8) {
      pack_int8_rows(group, r.I, XH, weights.kernel, weights.bias, columns, r.set_count(), to);
      continue;
    }
#endif
#if REKUR_BF16
    if (bf16) {
      pack_bf16_rows(r.I, XH, weights.kernel, columns, r.set_count(), to);
      continue;
    }
#endif
#if REKUR_TRAINING
    if (r.units_first) {
      pack_rows_of_units(r.I, weights.kernel, columns, r.set_count(), to);
      continue;
    }
#endif
    pack_rows(r.I, XH, weights.kernel, columns, r.set_count(), to);
  }
  pack_bias(weights.bias, {cell.kernel_block, cell.x_first, H, Hp}, cell.x_count, input_bias.reserve(X));
  for (std::size_t p = 0; p < cell.products.size(); ++p) {
    const Product& product = cell.products[p];
    const Index rows = product.projects ? H : r.rows(product), row_stride = product.projects ? r.P : RH;
    const Columns columns =
        product.projects ? Columns{kOneBlock, 0, r.P, padded(r.P)} : Columns{cell.recurrent_block, product.first, H, Hp};
    const float* const from = product.projects ? weights.projection : weights.recurrent_kernel;
    const Index floats = rows * product.count * columns.Hp;
#if REKUR_INT8
    if (r.int8(product)) {
      type[p] = WeightType::int8;
      const float* const bias = cell.recurrent_bias && !product.projects && weights.bias ? weights.bias + XH : nullptr;
      if (float* const to =
              recurrent[p].claim(simd::int8_size(isa::kernels().width, rows, product.count * columns.Hp),
                                 layout("steps", {rows, row_stride, product.count, columns.H, group, bias != nullptr}, type[p])))
        pack_int8_steps(group, rows, row_stride, from, bias, columns, product.count, to);
      continue;
    }
#endif
    type[p] = bf16 ? WeightType::bf16
              : isa::kernels().half_steps && !r.units_first
                  ? isa::kept_as(floats, {{from, static_cast<std::size_t>(rows * row_stride)}})
                  : WeightType::float32;
    const Index size = type[p] == WeightType::float32 ? floats : (rows + 1) / 2 * product.count * columns.Hp;
    if (float* const to = recurrent[p].claim(size, layout("steps", {rows, row_stride, product.count, columns.H, group}, type[p]))) {
#if REKUR_BF16
      if (bf16)
        pack_bf16_steps(rows, row_stride, from, columns, product.count, to);
      else
#endif
#if REKUR_TRAINING
          if (r.units_first)
        pack_steps_of_units(rows, from, columns, product.count, to);
      else
#endif
          if (!isa::kHalves || type[p] == WeightType::float32)
        pack_steps(rows, row_stride, from, columns, product.count, to);
      else
        pack_half_steps(type[p], rows, row_stride, from, columns, product.count, to);
    }
    if (product.projects) continue;
    if (cell.recurrent_bias)
      pack_bias(weights.bias ? weights.bias + XH : nullptr, columns, product.count, recurrent_bias[p].reserve(product.count * Hp));
  }
  const Index count = static_cast<Index>(cell.unit_weights.size());
  if (count == 0) return;
  float* rows = unit_weights.reserve(count * Hp);
  std::fill_n(rows, count * Hp, 0.0f);
  for (Index row = 0; row < count; ++row) std::copy_n(weights.unit_weights + row * H, H, rows + row * Hp);
}

#if REKUR_TRAINING
void Packed::fill_recurrent_transposed(const Recurrence::Impl& r, const Weights<const float>& weights) {
  const Description& cell = r.cell;
  const Index H = r.H, Hp = padded(H), RH = cell.recurrent_blocks * H;
  const bool bf16 = r.bf16();
  const auto lines = [bf16](Index K) { return bf16 ? (K + 1) / 2 : K; };
  std::vector<float> projection, rounded;
  const float* recurrent_kernel = nullptr;
  for (std::size_t p = 0; p < cell.products.size(); ++p) {
    const Product& product = cell.products[p];
    if (r.units_first) {
      const Columns columns =
          product.projects ? Columns{kOneBlock, 0, r.P, padded(r.P)} : Columns{cell.recurrent_block, product.first, H, Hp};
      const Index N = product.projects ? H : r.rows(product);
      pack_units(N, product.projects ? weights.projection : weights.recurrent_kernel, columns, product.count,
                 recurrent_transposed[p].reserve(panels_size(product.count * columns.Hp, N)));
      continue;
    }
    if (product.projects) {
      const Index Pp = padded(r.P);
      const float* const from = as_computed(r.int8(product), H, r.P, weights.projection, projection);
      pack_transposed(H, r.P, from, {kOneBlock, 0, r.P, Pp}, 1, bf16, recurrent_transposed[p].reserve(panels_size(lines(Pp), H)));
      continue;
    }
    const Index rows = r.rows(product);
    if (recurrent_kernel == nullptr) recurrent_kernel = as_computed(r.int8(product), rows, RH, weights.recurrent_kernel, rounded);
    pack_transposed(rows, RH, recurrent_kernel, {cell.recurrent_block, product.first, H, Hp}, product.count, bf16,
                    recurrent_transposed[p].reserve(panels_size(lines(product.count * Hp), rows)));
  }
}

void Packed::fill_input_transposed(const Recurrence::Impl& r, const Weights<const float>& weights) {
  const Description& cell = r.cell;
  const Index H = r.H, Hp = padded(H);
  const bool bf16 = r.bf16();
  const Index K = r.set_count() * Hp, size = panels_size(bf16 ? (K + 1) / 2 : K, r.I);
  input_transposed.reserve(r.input_sets() * size);
  if (r.units_first) {
    for (int set = 0; set < r.input_sets(); ++set)
      pack_units(r.I, weights.kernel, {cell.kernel_block, cell.x_first + set * r.set_count(), H, Hp}, r.set_count(),
                 input_transposed.data() + set * size);
    return;
  }
  std::vector<float> rounded;
  const float* const kernel = as_computed(r.int8_input(), r.I, cell.kernel_blocks * H, weights.kernel, rounded);
  for (int set = 0; set < r.input_sets(); ++set)
    pack_transposed(r.I, cell.kernel_blocks * H, kernel, {cell.kernel_block, cell.x_first + set * r.set_count(), H, Hp},
                    r.set_count(), bf16, input_transposed.data() + set * size);
}
#endif

}  // namespace rekur::recurrent
