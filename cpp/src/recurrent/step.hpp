// The step kernels: recurrent product, then the cell's equations while the products are still in the first-level cache.
// Included only by the ISA units.
#pragma once

#include "recurrent/kernels.hpp"
#include "simd/vec.hpp"

namespace rekur {
namespace {

using recurrent::StepBackward;
using recurrent::StepForward;
#if REKUR_EQUATIONS
using recurrent::StepProduct;
#endif

// --- the functions a cell is written in ---

struct StandardFunctions {
  explicit StandardFunctions(const cells::Activations&) {}
  REKUR_INLINE Vec gate(Vec v) const { return sigmoid(v); }
  REKUR_INLINE Vec candidate(Vec v) const { return tanh(v); }
  REKUR_INLINE Vec output(Vec v) const { return tanh(v); }
  REKUR_INLINE Vec gate_slope(Vec y) const { return y - y * y; }
  REKUR_INLINE Vec candidate_slope(Vec y) const { return set1(1.0f) - y * y; }
  REKUR_INLINE Vec output_slope(Vec y) const { return set1(1.0f) - y * y; }
};

// An activation f of clamped values. The usual ones of its place are inlined, the others called by their address: with all twelve
// inlined in every cell, these kernels were half the library.
template <ActivationKind... Usual>
class GivenFunction {
 public:
  GivenFunction(Activation f, float clip) : f_(f), clip_(clip), clips_(clip < __builtin_inff()), value_(function_of(f.kind)) {}

  REKUR_INLINE Vec operator()(Vec v) const {
    Vec y;
    if (__builtin_expect(!clips_ && (is<Usual>(v, y) || ...), 1)) return y;
    return value_(at_most(at_least(v, set1(-clip_)), set1(clip_)), f_.alpha, f_.beta);
  }

 private:
  template <ActivationKind K>
  REKUR_INLINE bool is(Vec v, Vec& y) const {
    if (f_.kind == K) y = activation<K>(f_, v);
    return f_.kind == K;
  }

  Activation f_;
  float clip_;
  bool clips_;
  VectorFunction value_;
};

// f' by the output y. What the clamp makes of anything beyond it has no slope; it is known by the output, which then is f(±clip) to
// the bit.
template <ActivationKind... Usual>
class GivenSlope {
 public:
  GivenSlope(Activation f, float clip) : f_(f), clips_(clip < __builtin_inff()), slope_(slope_of(f.kind)) {
    if (!clips_) return;
    const GivenFunction<> value(f, clip);
    low_ = value(set1(-clip));
    high_ = value(set1(clip));
  }

  REKUR_INLINE Vec operator()(Vec y) const {
    Vec d;
    if (__builtin_expect(!(is<Usual>(y, d) || ...), 0)) d = slope_(y, f_.alpha, f_.beta);
    return clips_ ? select((y == low_) | (y == high_), zero(), d) : d;
  }

 private:
  template <ActivationKind K>
  REKUR_INLINE bool is(Vec y, Vec& d) const {
    if (f_.kind == K) d = activation_slope<K>(f_, y);
    return f_.kind == K;
  }

  Activation f_;
  bool clips_;
  VectorFunction slope_;
  Vec low_{}, high_{};
};

#if REKUR_COMPACT_KERNELS
template <template <ActivationKind...> class Of>
using Gate = Of<>;
template <template <ActivationKind...> class Of>
using Content = Of<>;
#else
template <template <ActivationKind...> class Of>
using Gate = Of<ActivationKind::sigmoid>;
template <template <ActivationKind...> class Of>
using Content = Of<ActivationKind::tanh, ActivationKind::relu>;
#endif

// Any activations, with or without `clip`.
struct GivenFunctions {
  explicit GivenFunctions(const cells::Activations& f)
      : gate(f.gate, f.clip), candidate(f.candidate, f.clip), output(f.output, __builtin_inff()) {}
  Gate<GivenFunction> gate;
  Content<GivenFunction> candidate, output;
};

struct GivenSlopes {
  explicit GivenSlopes(const cells::Activations& f)
      : output(f.output, __builtin_inff()),
        gate_slope(f.gate, f.clip),
        candidate_slope(f.candidate, f.clip),
        output_slope(f.output, __builtin_inff()) {}
  Content<GivenFunction> output;
  Gate<GivenSlope> gate_slope;
  Content<GivenSlope> candidate_slope, output_slope;
};

// --- the recurrent product of a tile: MR rows times NP panels of G gates of a vector of units ---

inline constexpr int kAccumulators = kRegisters == 32 ? 24 : 12;  // the rest holds a panel's row and a broadcast

constexpr int tile_rows(int G) { return G <= 2 ? 6 : kAccumulators / G; }

// Of the tiles there are, the largest of at most so many panels. The compact library has those of 1, 2, 4 and 8.
constexpr int panels_at_once(int panels) {
  while (kCompact && (panels & (panels - 1)) != 0) panels &= panels - 1;
  return panels;
}

// More panels where rows are few, so that enough sums are under way to hide the latency of fma.
constexpr int tile_panels(int G, int rows) {
  const int n = kAccumulators / (G * rows);
  return panels_at_once(n < 1 ? 1 : n > 8 / G + 2 ? 8 / G + 2 : n);
}

// The fewest panels of a single row whose sums hide the latency of fma: two units, four cycles.
constexpr int single_row_panels(int G) {
  const int fewest = (8 + G - 1) / G;
  return panels_at_once(fewest) == fewest && fewest < tile_panels(G, 1) ? fewest : tile_panels(G, 1);
}

inline constexpr Index kFirstCache = 48 * 1024;  // bytes

// `ahead`: K lines of memory to fetch meanwhile.
// out[m][p][g] = bias[g][p] + Σ_k a[m][k] w[p][k][g], k ascending, one accumulator each: a row's bits do not depend on MR or NP.
// `out` has `row_panels` panels a row.
template <int G, int MR, int NP>
__attribute__((noinline)) void product_tile(Index K, ConstRows a_rows, const float* w, Index panel_stride, const float* bias,
                                            Index Hp, float* out, Index row_panels, const float* ahead) {
  const float* a[MR];
  const float* b[NP];
  Vec acc[MR][NP][G];
#pragma GCC unroll 16
  for (int p = 0; p < NP; ++p) {
    b[p] = w + p * panel_stride;
#pragma GCC unroll 4
    for (int g = 0; g < G; ++g) {
      const Vec start = bias ? load(bias + g * Hp + p * kWidth) : zero();
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m) acc[m][p][g] = start;
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m) a[m] = a_rows[m];
  for (Index k = 0; k < K; ++k) {
    __builtin_prefetch(ahead + k * kLine, 0, 2);
    // Whichever are fewer stay in registers, weights or broadcasts.
    if constexpr (NP * G <= MR) {
      Vec row[NP][G];
#pragma GCC unroll 16
      for (int p = 0; p < NP; ++p)
#pragma GCC unroll 4
        for (int g = 0; g < G; ++g) row[p][g] = load(b[p] + (k * G + g) * kWidth);
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m) {
        const Vec v = set1(a[m][k]);
#pragma GCC unroll 16
        for (int p = 0; p < NP; ++p)
#pragma GCC unroll 4
          for (int g = 0; g < G; ++g) acc[m][p][g] = fma(v, row[p][g], acc[m][p][g]);
      }
    } else {
#pragma GCC unroll 16
      for (int p = 0; p < NP; ++p) {
        Vec row[G];
#pragma GCC unroll 4
        for (int g = 0; g < G; ++g) row[g] = load(b[p] + (k * G + g) * kWidth);
#pragma GCC unroll 16
        for (int m = 0; m < MR; ++m) {
          const Vec v = set1(a[m][k]);
#pragma GCC unroll 4
          for (int g = 0; g < G; ++g) acc[m][p][g] = fma(v, row[g], acc[m][p][g]);
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 16
    for (int p = 0; p < NP; ++p)
#pragma GCC unroll 4
      for (int g = 0; g < G; ++g) store(out + ((m * row_panels + p) * G + g) * kWidth, acc[m][p][g]);
}

using ProductTile = void (*)(Index, ConstRows, const float*, Index, const float*, Index, float*, Index, const float*);

// The tiles there are, by rows and panels.
template <int G>
struct ProductTiles {
  ProductTile tile[tile_rows(G)][tile_panels(G, 1)] = {};

  constexpr ProductTiles() { add<tile_rows(G), tile_panels(G, tile_rows(G))>(); }

 private:
  template <int MR, int NP>
  constexpr void add() {
    if constexpr (panels_at_once(NP) == NP) tile[MR - 1][NP - 1] = product_tile<G, MR, NP>;
    if constexpr (NP > 1)
      add<MR, NP - 1>();
    else if constexpr (MR > 1)
      add<MR - 1, tile_panels(G, MR - 1)>();
  }
};

template <int G>
inline constexpr ProductTiles<G> kProductTiles;

template <int G>
REKUR_INLINE void product(int rows, int panels, Index K, ConstRows a, const float* w, Index panel_stride, const float* bias,
                          Index Hp, float* out, const float* ahead) {
  for (int p = 0, n; p < panels; p += n) {
    n = panels_at_once(panels - p);
    kProductTiles<G>.tile[rows - 1][n - 1](K, a, w + p * panel_stride, panel_stride, bias ? bias + p * kWidth : nullptr, Hp,
                                           out + p * G * kWidth, panels, ahead);
    if constexpr (!kCompact) return;
  }
}

// --- one step ---

// The peephole weights of a vector of units.
template <class Cell>
REKUR_INLINE void load_peephole(const float* peephole, Index Hp, Index u, Vec* out) {
#pragma GCC unroll 4
  for (int k = 0; k < Cell::info.peepholes; ++k) out[k] = load(peephole + k * Hp + u);
}

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

// row_of(m): what row m is multiplied.
template <int G, class Step, class RowOf, class Units>
void forward_tiles(const Step& s, const RowOf& row_of, const Units& units) {
  constexpr int MR = tile_rows(G);
  const Index first = s.begin / kWidth, panels = (s.end - s.begin) / kWidth;
  const Index tiles = (s.rows + MR - 1) / MR;
  const Index panel_stride = s.H * G * kWidth;
  // Several tiles of rows share the number of panels that suits the fullest. With a single row, weights beyond the first-level
  // cache go in small blocks: the one read last is still there when the next step begins with it.
  const bool near = panels * panel_stride * static_cast<Index>(sizeof(float)) <= kFirstCache;
  const int most = s.rows == 1 && !near ? single_row_panels(G) : tile_panels(G, tiles == 1 ? static_cast<int>(s.rows) : MR);
  const Index blocks = (panels + most - 1) / most;
  alignas(64) float products[kAccumulators * kWidth];
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
      const float* a[MR];
      for (int m = 0; m < rows; ++m) a[m] = row_of(m0 + m);
      const Index fetched = tile * s.H * kLine;
      product<G>(rows, taken, s.product_length, a, weights, panel_stride, s.bias ? s.bias + p * kWidth : nullptr, s.Hp, products,
                 next + (fetched + s.H * kLine <= panel_stride ? fetched : 0));
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
// The product alone: block g of row m to s.to + m·to_stride + g·Hp.
template <int G>
void step_product(const StepProduct& s) {
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

template <class Cell, int P, class F>
void backward_step(const StepBackward& s) {
  constexpr cells::CellInfo info = Cell::info;
  constexpr bool last = P == info.phases - 1;
  const F f(*s.activations);
  for (Index m = 0; m < s.rows; ++m) {
    for (Index u = s.begin; u < s.end; u += kWidth) {
      const Index n = lanes(u, s.H);
      float* record = s.tape[m] + u;
      if (s.tape_ahead) {
#pragma GCC unroll 5
        for (int k = 0; k < info.slots; ++k) __builtin_prefetch(s.tape_ahead[m] + u + k * s.Hp, 1);
        __builtin_prefetch(s.dy_ahead[m] + u);
        __builtin_prefetch(s.h_ahead[m] + u);
        if constexpr (info.states > 1) __builtin_prefetch(s.c_ahead[m] + u);
      }
      Vec slot[cells::kMaxSlots], previous[cells::kMaxStates], d[cells::kMaxStates];
#pragma GCC unroll 5
      for (int k = 0; k < info.slots; ++k) slot[k] = load(record + k * s.Hp);
      previous[0] = load_partial(s.h_previous[m] + u, n);
      const Vec h = load_partial(s.h[m] + u, n);
      d[0] = load(s.dh + m * s.Hp + u);
      if constexpr (last)
        if (s.dy) d[0] = d[0] + load_partial(s.dy[m] + u, n);
      if constexpr (info.states > 1) {
        previous[1] = load_partial(s.c_previous[m] + u, n);
        d[1] = load(s.dc + m * s.Hp + u);
      }
      Vec peephole[cells::kMaxPeepholes];
      load_peephole<Cell>(s.peephole, s.Hp, u, peephole);
      Vec dq{};
      if constexpr (!last) dq = load(s.d_product + m * s.Hp + u);
      Cell::backward(cells::PhaseTag<P>{}, f, dq, previous, h, peephole, d, slot);
      // Units that do not exist get no gradient, whatever the input was (an infinite one leaves NaN in their gates).
      store(s.dh + m * s.Hp + u, first_lanes(d[0], n));
      if constexpr (info.states > 1) store(s.dc + m * s.Hp + u, first_lanes(d[1], n));
#pragma GCC unroll 5
      for (int k = 0; k < info.slots; ++k)
        if (k != info.state_slot) store(record + k * s.Hp, first_lanes(slot[k], n));
    }
  }
}

// --- the table ---

template <class Cell, class F, class Slopes>
constexpr recurrent::CellKernels cell_kernels() {
  recurrent::CellKernels k{};
  k.forward[0] = forward_step<Cell, 0, F>;
  if constexpr (Cell::info.phases > 1) k.forward[1] = forward_step<Cell, 1, F>;
#if REKUR_TRAINING
  k.backward[0] = backward_step<Cell, 0, Slopes>;
  if constexpr (Cell::info.phases > 1) k.backward[1] = backward_step<Cell, 1, Slopes>;
#endif
  return k;
}

template <class Cell>
constexpr recurrent::CellKernels standard_kernels() {
  if constexpr (requires { Cell::rare; })
    return cell_kernels<Cell, GivenFunctions, GivenSlopes>();
  else
    return cell_kernels<Cell, StandardFunctions, StandardFunctions>();
}

template <class... Cells>
constexpr recurrent::Kernels recurrent_kernels_of(cells::List<Cells...>) {
  return {{{standard_kernels<Cells>(), cell_kernels<Cells, GivenFunctions, GivenSlopes>()}...},
#if REKUR_EQUATIONS
          {step_product<1>, step_product<2>, step_product<3>, step_product<4>}
#endif
  };
}

constexpr recurrent::Kernels make_recurrent_kernels() { return recurrent_kernels_of(cells::All{}); }

}  // namespace
}  // namespace rekur
