// One step of one row for a stream, of a layer whose recurrent product is of eight bits: both products of some panels of units,
// then the cell's equations. Sums are of integers and exact (simd/int8.hpp), so the bits are the engine's. Included only by the ISA
// units.
#pragma once

#include "kernels/single_row.hpp"
#include "simd/int8.hpp"

#if REKUR_INT8

namespace rekur {
namespace {

// sums[p][g] of the vectors of columns at w + p · panel + g · gate.
template <class D, int G, int NP>
REKUR_NOINLINE void int8_panels(Index K, const float* row, const float* w, Index panel, Index gate, Vec* sums) {
  const IVec z = set1i(-zero_of(row));
  const char* const numbers = reinterpret_cast<const char*>(row + kRowHead);
  const Index groups = groups_of(D::kGroup, K);
  constexpr Index line = kWidth * D::kGroup / 4;
  typename D::Sums acc[NP][G];
  REKUR_UNROLL
  for (int p = 0; p < NP; ++p) {
    REKUR_UNROLL
    for (int g = 0; g < G; ++g) {
      const IVec first = load_int(w + p * panel + g * gate + kWidth) * z;
      acc[p][g] = D::start(first, first);
    }
  }
  const float* b = w + kColumnHead;
  for (Index i = 0; i < groups; ++i, b += line) {
    const auto group = D::row(numbers + i * D::kBytes, numbers + i * D::kBytes);
    REKUR_UNROLL
    for (int p = 0; p < NP; ++p) {
      REKUR_UNROLL
      for (int g = 0; g < G; ++g) acc[p][g] = D::add(acc[p][g], group, D::weights(b + p * panel + g * gate));
    }
  }
  REKUR_UNROLL
  for (int p = 0; p < NP; ++p) {
    REKUR_UNROLL
    for (int g = 0; g < G; ++g) {
      const float* const at = w + p * panel + g * gate;
      sums[p * G + g] = int8_result(D::of_row(0, acc[p][g]), load(at), load(at + 2 * kWidth), row[0]);
    }
  }
}

template <int G, int NP>
REKUR_INLINE void int8_panels_of(Index group, Index K, const float* row, const float* w, Index panel, Index gate, Vec* sums) {
  with_dots(group, [&](auto dots) REKUR_INLINED { int8_panels<decltype(dots), G, NP>(K, row, w, panel, gate, sums); });
}

// Of NP panels from the first one on; x, h: their rows of integers.
template <class Cell, int NP>
REKUR_NOINLINE void single_row_int8_panels(int count, const kernels::SingleRowInt8& s, const float* x, const float* h,
                                           Index first) {
  constexpr int G = Cell::info.phase[0].count;
  static_assert(G == Cell::info.x_count, "both products of a panel have the same shape");
  if constexpr (NP > 1)
    if (count < NP) return single_row_int8_panels<Cell, NP - 1>(count, s, x, h, first);
  const Index u = first * kWidth;
  Vec in[NP * G], rec[NP * G];
  if (s.input != nullptr) {
    const Index vector = int8_column_floats(s.I);
    int8_panels_of<G, NP>(s.group, s.I, x, s.input + first * vector, vector, s.Hp / kWidth * vector, in);
  } else {
    REKUR_UNROLL
    for (int p = 0; p < NP; ++p) {
      REKUR_UNROLL
      for (int g = 0; g < G; ++g) in[p * G + g] = load(s.products + g * s.Hp + u + p * kWidth);
    }
  }
  const Index vector = int8_column_floats(s.H);
  int8_panels_of<G, NP>(s.group, s.H, h, s.recurrent + first * G * vector, G * vector, vector, rec);
  const float* const peephole = Cell::info.peepholes > 0 ? s.peephole + u : nullptr;
  single_row_equations<Cell, NP>(s.H, {peephole, kWidth, s.Hp}, u, in, rec, {s.h, s.h_next, s.c, s.y, s.room});
}

template <class Cell>
void single_row_int8_step(const kernels::SingleRowInt8& s) {
  // Sums enough to hide the latency of an instruction that multiplies and adds.
  constexpr int G = Cell::info.phase[0].count;
  constexpr Index most = 12 / G < 4 ? 12 / G : 4;
  float* const h = s.input != nullptr ? s.rows + int8_row_floats(s.I) : s.rows;
  if (s.input != nullptr) narrow(s.group, 1, s.I, &s.x, 0, s.rows, 0);
  narrow(s.group, 1, s.H, &s.h, 0, h, 0);
  const Index panels = s.Hp / kWidth, blocks = (panels + most - 1) / most;
  for (Index i = 0; i < blocks; ++i) {
    const Index block = s.descending ? blocks - 1 - i : i, begin = panels * block / blocks;
    single_row_int8_panels<Cell, most>(static_cast<int>(panels * (block + 1) / blocks - begin), s, s.rows, h, begin);
  }
}

template <class Cell>
constexpr kernels::SingleRowInt8Step single_row_int8_kernel() {
  if constexpr (Cell::info.phases == 1) return single_row_int8_step<Cell>;
  return nullptr;
}

}  // namespace
}  // namespace rekur

#endif
