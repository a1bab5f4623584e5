// A step forward: a tile of the recurrent product, then the cell's equations while its sums are still in the first-level cache.
// Included only by the ISA units.
#pragma once

#include "kernels/functions.hpp"
#include "kernels/steps.hpp"
#include "kernels/tiles.hpp"

namespace rekur {
namespace {

using kernels::StepForward;
#if REKUR_EQUATIONS
using kernels::StepProduct;
#endif

// The cell's equations for `panels` vectors of units of one row, whose recurrent products stand in `products`.
template <class Cell, int P, class F>
REKUR_INLINE void forward_units(const StepForward& s, const F& f, Index m, Index panel0, int panels, const float* products) {
  constexpr cells::CellInfo info = Cell::info;
  constexpr cells::Phase phase = info.phase[P];
  constexpr bool last = P == info.phases - 1;
  for (int p = 0; p < panels; ++p) {
    const Index u = (panel0 + p) * kWidth;
    Vec in[cells::kMaxSlots], rec[cells::kMaxSlots], state[cells::kMaxStates], slot[cells::kMaxSlots];
#pragma GCC unroll 4
    for (int g = 0; g < info.x_count; ++g) in[info.x_first + g] = load(s.input + (m * info.x_count + g) * s.Hp + u);
#pragma GCC unroll 4
    for (int g = 0; g < phase.count; ++g) rec[phase.first + g] = load(products + (p * phase.count + g) * kWidth);
    Vec peephole[cells::kMaxPeepholes];
    load_peephole<Cell>(s.peephole, s.Hp, u, peephole);
    float* record = s.tape ? s.tape[m] + u : nullptr;
    if constexpr (P > 0) {
#pragma GCC unroll 5
      for (int k = 0; k < info.slots; ++k) slot[k] = load(record + k * s.Hp);
    }
    state[0] = load(s.h + m * s.Hp + u);
    if constexpr (info.states > 1) state[1] = load(s.c + m * s.Hp + u);
    Cell::forward(cells::PhaseTag<P>{}, f, in, rec, peephole, state, slot);
    if (record) {
      if constexpr (!last) {
        // Only what this phase made: the other slots are a later phase's.
#pragma GCC unroll 4
        for (int g = 0; g < phase.count; ++g) store(record + (phase.first + g) * s.Hp, slot[phase.first + g]);
        constexpr int next = info.phase[P + 1].input_slot;
        store(record + next * s.Hp, slot[next]);
      } else if constexpr (P > 0) {
#pragma GCC unroll 4
        for (int g = 0; g < phase.count; ++g) store(record + (phase.first + g) * s.Hp, slot[phase.first + g]);
      } else {
#pragma GCC unroll 5
        for (int k = 0; k < info.slots; ++k) store(record + k * s.Hp, slot[k]);
      }
    }
    if constexpr (last) {
      store(s.h_next + m * s.Hp + u, state[0]);
      if constexpr (info.states > 1) store(s.c + m * s.Hp + u, state[1]);
      if (s.y) store_partial(s.y[m] + u, state[0], lanes(u, s.H));
    }
  }
}

// The cell's equations for the rows [m0, m0 + rows) of a tile.
template <class Cell, int P, class F>
struct TileUnits {
  const F& f;

  REKUR_INLINE void operator()(const StepForward& s, Index m0, int rows, Index panel0, int panels, const float* products) const {
    constexpr int G = Cell::info.phase[P].count;
    for (int m = 0; m < rows; ++m) forward_units<Cell, P>(s, f, m0 + m, panel0, panels, products + m * panels * G * kWidth);
  }
};

// The same by its address: in the compact library, the loops over tiles are compiled once for all cells of G gates.
struct TileUnitsByAddress {
  template <class Units>
  explicit TileUnitsByAddress(const Units& units) : units_(&units), call_(call<Units>) {}

  void operator()(const StepForward& s, Index m0, int rows, Index panel0, int panels, const float* products) const {
    call_(units_, s, m0, rows, panel0, panels, products);
  }

 private:
  template <class Units>
  static void call(const void* units, const StepForward& s, Index m0, int rows, Index panel0, int panels, const float* products) {
    (*static_cast<const Units*>(units))(s, m0, rows, panel0, panels, products);
  }

  const void* units_;
  void (*call_)(const void*, const StepForward&, Index, int, Index, int, const float*);
};

// What a compiled cell multiplies: h, or what an earlier phase left in a slot.
struct RowOfStep {
  const StepForward& s;
  int slot;

  REKUR_INLINE const float* operator()(Index m) const { return slot < 0 ? s.h + m * s.Hp : s.tape[m] + slot * s.Hp; }
};

#if REKUR_AMX && REKUR_VEC_BYTES == 64
// The same by AMX, of rows that stand rounded in s.narrow: a panel at a time, or of few blocks some, times up to 32 rows. Behind
// the rows there is room for sums.
template <int G, class Step, class Units>
void forward_tiles_by_amx(const Step& s, Index row_floats, Index panel_stride, const Units& units) {
  constexpr Index most = kAmxVectors / G;  // panels
  const Index first = s.begin / kWidth, panels = (s.end - s.begin) / kWidth, blocks = (panels + most - 1) / most;
  amx_begin(s.rows);
  const AmxRowTiles rows(s.rows);
  const Index at_once = amx_vectors_at_once(s.rows);
  float* const products = s.narrow + s.rows * row_floats;
  for (Index i = 0; i < blocks; ++i) {
    const Index block = s.descending ? blocks - 1 - i : i, p = first + block * most;
    const int taken = static_cast<int>(panels - block * most < most ? panels - block * most : most);
    const float* const weights = s.weights + p * panel_stride;
    const Index all = taken * G, stride = all * kWidth;
    for (Index tile = 0; tile < rows.count; ++tile) {
      const Index m0 = rows.begin(tile), count = rows.begin(tile + 1) - m0;
      const float* a[kAmxMostRows];
      for (Index m = 0; m < count; ++m) a[m] = s.narrow + (m0 + m) * row_floats;
      for (Index v = 0; v < all; v += at_once) {
        const Index vectors = all - v < at_once ? all - v : at_once;
        float* const to = products + v * kWidth;
#if REKUR_INT8
        if (s.type == WeightType::int8) {
          const auto put = [&](Index m, int own, Vec y) REKUR_INLINED { store(to + m * stride + own * kWidth, y); };
          int8_product_by_amx(count, vectors, s.H, a, weights + v * (panel_stride / G), to, stride, put);
          continue;
        }
#endif
#if REKUR_BF16
        const float* b[kAmxVectors];
        for (Index own = 0; own < vectors; ++own) b[own] = weights + (v + own) / G * panel_stride + (v + own) % G * kWidth;
        for (Index own = 0; s.bias != nullptr && own < vectors; ++own) {
          const Vec bias = load(s.bias + (v + own) % G * s.Hp + (p + (v + own) / G) * kWidth);
          for (Index m = 0; m < count; ++m) store(to + m * stride + own * kWidth, bias);
        }
        const AmxOperands of{.a = a,
                             .a_offset = 0,
                             .b = b,
                             .b_stride = G * kWidth,
                             .lines = (s.product_length + 1) / 2,
                             .goes_on = s.bias != nullptr};
        amx_sums<AmxBf16>(of, count, vectors, to, stride);
#endif
      }
      units(s, m0, static_cast<int>(count), p, taken, products);
    }
  }
  amx_end();
}
#endif

#if REKUR_INT8
template <class Step, class RowOf>
void narrow_rows(const Step& s, const RowOf& row_of) {
  for (Index m = 0; m < s.rows; ++m) {
    const float* const row = row_of(m);
    narrow(s.group, 1, s.H, &row, 0, s.narrow + m * int8_row_floats(s.H), 0);
  }
}
#endif

// row_of(m): what row m is multiplied.
template <int G, class Step, class RowOf, class Units>
void forward_tiles(const Step& s, const RowOf& row_of, const Units& units) {
  constexpr int MR = tile_rows(G);
  const Index first = s.begin / kWidth, panels = (s.end - s.begin) / kWidth;
#if REKUR_INT8
  const bool int8 = s.type == WeightType::int8;
  constexpr int most_rows = MR > kInt8Rows ? MR : kInt8Rows;
  const Index tiles = int8 ? (s.rows + kInt8Rows - 1) / kInt8Rows : (s.rows + MR - 1) / MR;
  const Index narrow_row = int8 ? int8_row_floats(s.H) : 0;
  if (int8) narrow_rows(s, row_of);
  const Index lines = int8 ? int8_column_floats(s.H) / kWidth : lines_of(s.type, s.H);
#else
  constexpr int most_rows = MR;
  const Index tiles = (s.rows + MR - 1) / MR;
  const Index lines = lines_of(s.type, s.H);
#endif
  const Index panel_stride = lines * G * kWidth;
#if REKUR_BF16
  const Index group = s.type == WeightType::bf16 ? s.group : 0;
  for (Index m = 0; group > 0 && m < s.rows; ++m) narrow_row_bf16(s.H, row_of(m), s.narrow + m * bf16_row_floats(s.H));
#else
  constexpr Index group = 0;
#endif
#if REKUR_AMX && REKUR_VEC_BYTES == 64
#if REKUR_INT8
  if (int8 && amx_pays(s.group, s.rows, panels * G, s.H)) return forward_tiles_by_amx<G>(s, narrow_row, panel_stride, units);
#endif
#if REKUR_BF16
  if (by_amx(group) && s.rows > 0) return forward_tiles_by_amx<G>(s, bf16_row_floats(s.H), panel_stride, units);
#endif
#endif
  // Several tiles of rows share the number of panels that suits the fullest. With a single row, weights beyond the first-level
  // cache go in small blocks: the one read last is still there when the next step begins with it.
  const bool near = panels * panel_stride * static_cast<Index>(sizeof(float)) <= kFirstCache;
  // Dealt out evenly, so that no block of a single panel is left over, which would wait for its few sums.
  const int fit = s.rows == 1 && !near ? single_row_panels(G) : tile_panels(G, tiles == 1 ? static_cast<int>(s.rows) : MR);
  const Index blocks = (panels + fit - 1) / fit, most = blocks > 1 ? (panels + blocks - 1) / blocks : fit;
  alignas(64) float products[(kAccumulators > most_rows * G ? kAccumulators : most_rows * G) * kWidth];
  for (Index i = 0; i < blocks; ++i) {
    const Index block = s.descending ? blocks - 1 - i : i;
    const Index p = first + block * most;
    const int taken = static_cast<int>(panels - block * most < most ? panels - block * most : most);
    const float* const weights = s.weights + p * panel_stride;
    // The tiles after the first fetch the panel that comes next.
    const float* const next = s.descending ? (block > 0 ? weights - most * panel_stride : weights)
                                           : (p + taken < first + panels ? weights + taken * panel_stride : weights);
    for (Index tile = 0; tile < tiles; ++tile) {
      // Rows dealt out evenly, so that no tile is left with a single row.
      const Index m0 = tile * s.rows / tiles;
      const int rows = static_cast<int>((tile + 1) * s.rows / tiles - m0);
      const float* a[most_rows];
#if REKUR_INT8
      if (int8) {
        for (int m = 0; m < rows; ++m) a[m] = s.narrow + (m0 + m) * narrow_row;
        int8_product(s.group, rows, taken * G, s.H, a, weights, products);
        units(s, m0, rows, p, taken, products);
        continue;
      }
#endif
      for (int m = 0; m < rows; ++m) a[m] = group > 0 ? s.narrow + (m0 + m) * bf16_row_floats(s.H) : row_of(m0 + m);
      const Index fetched = tile * lines * kLine;
      product<G>(s.type, group, rows, taken, group > 0 ? (s.product_length + 1) / 2 : s.product_length, a, weights, panel_stride,
                 s.bias ? s.bias + p * kWidth : nullptr, s.Hp, products,
                 next + (fetched + lines * kLine <= panel_stride ? fetched : 0));
      units(s, m0, rows, p, taken, products);
    }
  }
}

template <class Cell, int P, class F>
void forward_step(const StepForward& s) {
  constexpr cells::Phase phase = Cell::info.phase[P];
  const F f(*s.activations);
  const TileUnits<Cell, P, F> units{f};
  const RowOfStep row_of{s, phase.input_slot};
  if constexpr (kCompact)
    forward_tiles<phase.count>(s, row_of, TileUnitsByAddress(units));
  else
    forward_tiles<phase.count>(s, row_of, units);
}

#if REKUR_EQUATIONS
// Of one row of a stream, where every instruction on the way counts.
template <int G>
void row_products(const StepProduct& s) {
  const Index begin = s.begin / kWidth, panels = s.end / kWidth - begin, stride = s.H * G * kWidth;
  const Index fit = panels * stride * static_cast<Index>(sizeof(float)) <= kFirstCache ? tile_panels(G, 1) : single_row_panels(G);
  alignas(64) float products[kAccumulators * kWidth];
  for (Index left = panels, taken; left > 0; left -= taken) {
    taken = even_share(left, fit);
    const Index p = begin + (s.descending ? left - taken : panels - left);
    const float* const w = s.weights + p * stride;
    product<G>(s.type, 0, 1, static_cast<int>(taken), s.product_length, s.from, w, stride, s.bias ? s.bias + p * kWidth : nullptr,
               s.Hp, products, w);
    const float* from = products;
    for (float *to = s.to + p * kWidth, *const end = to + taken * kWidth; to != end; to += kWidth) {
      REKUR_UNROLL
      for (int g = 0; g < G; ++g, from += kWidth) store(to + g * s.Hp, load(from));
    }
  }
}

// The product alone: block g of row m to s.to + m·to_stride + g·Hp.
template <int G>
void step_product(const StepProduct& s) {
  if (!kCompact && s.rows == 1 && s.type == WeightType::float32) return row_products<G>(s);
  const auto keep = [](const StepProduct& p, Index m0, int rows, Index panel0, int panels, const float* products) {
    for (int m = 0; m < rows; ++m) {
      float* const to = p.to + (m0 + m) * p.to_stride + panel0 * kWidth;
      for (int panel = 0; panel < panels; ++panel)
        for (int g = 0; g < G; ++g, products += kWidth) store(to + g * p.Hp + panel * kWidth, load(products));
    }
  };
  forward_tiles<G>(s, [&](Index m) { return s.from[m]; }, keep);
}
#endif

}  // namespace
}  // namespace rekur
