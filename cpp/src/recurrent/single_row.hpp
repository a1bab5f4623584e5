// One step of one row for a stream: both products of some panels of units in one pass over their weights, then the cell's
// equations. Sums run in the engine's order (simd/gemm.hpp, recurrent/step.hpp), so the bits are the engine's. Included only by the
// ISA units.
#pragma once

#include "recurrent/kernels.hpp"
#include "recurrent/step.hpp"
#include "simd/vec.hpp"

namespace rekur {
namespace {

using recurrent::SingleRow;

// Panels taken at once: enough sums to hide the latency of fma (two units, four cycles). Of weights within the first-level cache
// more, where there are registers for them, to save broadcasts; of others no more than that, so that the block read last is still
// there when the next step begins with it.
constexpr int single_row_most(int G, bool near) {
  const int panels = near && kRegisters == 32 ? 16 / G : (8 + G - 1) / G;
  return panels < 4 ? panels : 4;
}

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

// Both products of NP panels of G gates from `panel` on: out[0][p][g] of x, out[1][p][g] of h. h_first: the other way
// round, for weights that the step before read last. Compiled once for all cells of G gates.
template <int G, int NP>
__attribute__((noinline)) void single_row_products(const SingleRow& s, const float* panel, const float* x, const float* h,
                                                   bool h_first, float* out) {
  for (int i = 0; i < 2; ++i) {
    const bool recurrent = (i == 0) == h_first, bias = !recurrent || s.recurrent_bias;
    const float* w = recurrent ? panel + (1 + s.I) * G * kWidth : panel;
    float* const to = recurrent ? out + NP * G * kWidth : out;
    Vec acc[NP][G];
    REKUR_UNROLL
    for (int p = 0; p < NP; ++p) {
      REKUR_UNROLL
      for (int g = 0; g < G; ++g) acc[p][g] = bias ? load(w + p * s.panel_stride + g * kWidth) : zero();
    }
    if (bias) w += G * kWidth;
    add_products<G, NP>(recurrent ? s.H : s.I, recurrent ? h : x, w, s.panel_stride, acc);
    REKUR_UNROLL
    for (int p = 0; p < NP; ++p) {
      REKUR_UNROLL
      for (int g = 0; g < G; ++g) store(to + (p * G + g) * kWidth, acc[p][g]);
    }
  }
}

// Hands `count` <= NP panels to the code compiled for so many.
template <int G, int NP>
REKUR_INLINE void single_row_products_of(int count, const SingleRow& s, const float* panel, const float* x, const float* h,
                                         bool h_first, float* out) {
  if constexpr (NP > 1)
    if (count < NP) return single_row_products_of<G, NP - 1>(count, s, panel, x, h, h_first, out);
  single_row_products<G, NP>(s, panel, x, h, h_first, out);
}

template <class Cell>
void single_row_step(const SingleRow& s, const float* x, const float* h, float* h_next, float* c, float* y, bool descending) {
  constexpr cells::CellInfo info = Cell::info;
  constexpr int G = info.phase[0].count;
  static_assert(G == info.x_count, "both products of a panel have the same shape");
  constexpr int most_near = single_row_most(G, true), most_far = single_row_most(G, false);
  static_assert(most_near >= most_far);
  const StandardFunctions f{cells::Activations{}};
  const bool near = s.panels * s.panel_stride * static_cast<Index>(sizeof(float)) <= kFirstCache;
  const Index most = near ? most_near : most_far, blocks = (s.panels + most - 1) / most;
  alignas(64) float products[2 * most_near * G * kWidth];
  for (Index i = 0; i < blocks; ++i) {
    const Index block = descending ? blocks - 1 - i : i;
    const Index begin = s.panels * block / blocks;
    const int count = static_cast<int>(s.panels * (block + 1) / blocks - begin);
    const float* const panel = s.weights + begin * s.panel_stride;
    single_row_products_of<G, most_near>(count, s, panel, x, h, descending && !near, products);
    for (int p = 0; p < count; ++p) {
      const Index u = (begin + p) * kWidth;
      Vec in[cells::kMaxSlots], rec[cells::kMaxSlots], state[cells::kMaxStates], slot[cells::kMaxSlots];
      Vec peephole[cells::kMaxPeepholes];
      REKUR_UNROLL
      for (int g = 0; g < G; ++g) {
        in[info.x_first + g] = load(products + (p * G + g) * kWidth);
        rec[info.phase[0].first + g] = load(products + ((count + p) * G + g) * kWidth);
      }
      load_peephole<Cell>(panel + (p + 1) * s.panel_stride - info.peepholes * kWidth, kWidth, 0, peephole);
      state[0] = load(h + u);
      if constexpr (info.states > 1) state[1] = load(c + u);
      Cell::forward(cells::PhaseTag<0>{}, f, in, rec, peephole, state, slot);
      store(h_next + u, state[0]);
      if constexpr (info.states > 1) store(c + u, state[1]);
      store_partial(y + u, state[0], lanes(u, s.H));
    }
  }
}

template <class Cell>
constexpr recurrent::SingleRowStep single_row_kernel() {
  constexpr bool left_out = kCompact && requires { Cell::rare; };
  if constexpr (Cell::info.phases == 1 && !left_out) return single_row_step<Cell>;
  return nullptr;
}

template <class... Cells>
constexpr recurrent::SingleRowKernels single_row_kernels_of(cells::List<Cells...>) {
  return {{single_row_kernel<Cells>()...}};
}

constexpr recurrent::SingleRowKernels make_single_row_kernels() { return single_row_kernels_of(cells::All{}); }

}  // namespace
}  // namespace rekur
