// One step of one row for a stream: both products of some panels of units in one pass over their weights, then the cell's equations.
// Sums run in the engine's order (simd/gemm.hpp, recurrent/step.hpp), so the bits are the engine's. Included only by the ISA units.
#pragma once

#include "recurrent/kernels.hpp"
#include "recurrent/step.hpp"
#include "simd/vec.hpp"

namespace rekur {
namespace {

using recurrent::SingleRow;

// Panels taken at once: enough sums to hide the latency of fma (two units, four cycles), as many as fit in the registers.
constexpr int single_row_most(int G) { return (kRegisters == 32 ? 16 : 8) / G < 4 ? (kRegisters == 32 ? 16 : 8) / G : 4; }

// acc[p][g] += Σ_k a[k] w[p][k][g], k ascending, one accumulator each.
template <int G, int NP>
REKUR_INLINE void add_products(Index K, const float* a, const float* w, Index stride, Vec (&acc)[NP][G]) {
  for (Index k = 0; k < K; ++k, w += G * kWidth) {
    const Vec v = set1(a[k]);
    REKUR_UNROLL
    for (int p = 0; p < NP; ++p) {
      REKUR_UNROLL
      for (int g = 0; g < G; ++g) acc[p][g] = fma(v, load(w + p * stride + g * kWidth), acc[p][g]);
    }
  }
}

template <class Cell, int NP>
REKUR_INLINE void single_row_block(const SingleRow& s, Index panel, const float* x, const float* h, float* h_next, float* c,
                                   float* y) {
  constexpr cells::CellInfo info = Cell::info;
  constexpr int X = info.x_count, G = info.phase[0].count;
  const StandardFunctions f{cells::Activations{}};
  const float* w = s.weights + panel * s.panel_stride;
  Vec input[NP][X], product[NP][G];
  REKUR_UNROLL
  for (int p = 0; p < NP; ++p) {
    REKUR_UNROLL
    for (int g = 0; g < X; ++g) input[p][g] = load(w + p * s.panel_stride + g * kWidth);
  }
  w += X * kWidth;
  REKUR_UNROLL
  for (int p = 0; p < NP; ++p) {
    REKUR_UNROLL
    for (int g = 0; g < G; ++g) product[p][g] = info.recurrent_bias ? load(w + p * s.panel_stride + g * kWidth) : zero();
  }
  if constexpr (info.recurrent_bias) w += G * kWidth;
  add_products<X, NP>(s.I, x, w, s.panel_stride, input);
  w += s.I * X * kWidth;
  add_products<G, NP>(s.H, h, w, s.panel_stride, product);
  w += s.H * G * kWidth;
  REKUR_UNROLL
  for (int p = 0; p < NP; ++p) {
    const Index u = (panel + p) * kWidth;
    Vec in[cells::kMaxSlots], rec[cells::kMaxSlots], state[cells::kMaxStates], slot[cells::kMaxSlots];
    Vec peephole[cells::kMaxPeepholes];
    REKUR_UNROLL
    for (int g = 0; g < X; ++g) in[info.x_first + g] = input[p][g];
    REKUR_UNROLL
    for (int g = 0; g < G; ++g) rec[info.phase[0].first + g] = product[p][g];
    load_peephole<Cell>(w + p * s.panel_stride, kWidth, 0, peephole);
    state[0] = load(h + u);
    if constexpr (info.states > 1) state[1] = load(c + u);
    Cell::forward(cells::PhaseTag<0>{}, f, in, rec, peephole, state, slot);
    store(h_next + u, state[0]);
    if constexpr (info.states > 1) store(c + u, state[1]);
    store_partial(y + u, state[0], lanes(u, s.H));
  }
}

// Hands a block of `count` <= NP panels to the code compiled for it.
template <class Cell, int NP>
REKUR_INLINE void single_row_blocks(int count, const SingleRow& s, Index panel, const float* x, const float* h, float* h_next,
                                    float* c, float* y) {
  if constexpr (NP > 1)
    if (count < NP) return single_row_blocks<Cell, NP - 1>(count, s, panel, x, h, h_next, c, y);
  single_row_block<Cell, NP>(s, panel, x, h, h_next, c, y);
}

template <class Cell>
void single_row_step(const SingleRow& s, const float* x, const float* h, float* h_next, float* c, float* y, bool descending) {
  constexpr int most = single_row_most(Cell::info.phase[0].count);
  const Index blocks = (s.panels + most - 1) / most;
  for (Index i = 0; i < blocks; ++i) {
    const Index block = descending ? blocks - 1 - i : i;
    const Index begin = s.panels * block / blocks, end = s.panels * (block + 1) / blocks;
    single_row_blocks<Cell, most>(static_cast<int>(end - begin), s, begin, x, h, h_next, c, y);
  }
}

template <class Cell>
constexpr recurrent::SingleRowStep single_row_kernel() {
  if constexpr (Cell::info.phases == 1) return single_row_step<Cell>;
  return nullptr;
}

template <class... Cells>
constexpr recurrent::SingleRowKernels single_row_kernels_of(cells::List<Cells...>) {
  return {{single_row_kernel<Cells>()...}};
}

constexpr recurrent::SingleRowKernels make_single_row_kernels() { return single_row_kernels_of(cells::All{}); }

}  // namespace
}  // namespace rekur
