// One step of one row for a stream: both products of some panels of units in one pass over their weights, then the cell's
// equations. Sums run in the engine's order (simd/gemm.hpp, kernels/tiles.hpp), so the bits are the engine's. Included only by the
// ISA units.
#pragma once

#include "kernels/steps.hpp"
#include "kernels/tiles.hpp"
#include "simd/vec.hpp"

namespace rekur {
namespace {

using kernels::SingleRow;

// Compiled for size where that matters more, or where hardly anybody is (x86 without FMA, ARM of 32 bits): the products of all
// cells of as many gates are one code, and leave their sums in memory.
constexpr bool kSharedProducts = kCompact || (kWidth == 4 && kRegisters == 16);

// Panels taken at once of weights beyond the first-level cache: enough sums to hide the latency of fma (two units, four cycles),
// and no more than that, so that the block read last is still there when the next step begins with it.
constexpr Index single_row_far(int G) { return G < 3 ? 4 : (8 + G - 1) / G; }

// … and of nearer ones, where a block of a single panel, left over, would wait for its few sums.
constexpr Index single_row_most(int G) { return G == 4 && !kSharedProducts ? 3 : single_row_far(G); }

// --- products ---

// acc[p][g] += Σ_k a[k] w[p][k][g], k ascending, one accumulator each.
template <class W, int G, int NP>
REKUR_INLINE void add_products(Index K, const float* a, const float* w, Index stride, Vec (&acc)[NP][G]) {
  each_row<W>(K, w, G * kWidth, [&](Index k, const float* rows, int i) REKUR_INLINED {
    const Vec v = set1(a[k]);
    REKUR_UNROLL
    for (int p = 0; p < NP; ++p) {
      REKUR_UNROLL
      for (int g = 0; g < G; ++g) acc[p][g] = fma(v, W::row(rows + p * stride + g * kWidth, i), acc[p][g]);
    }
  });
}

// The second of two sums (first_sum), rows from `first` on, added to those in `sums`. Once for all cells.
template <class W, int G, int NP>
REKUR_NOINLINE void add_second_sums(Index K, Index first, const float* a, const float* w, Index stride, Vec* sums) {
  Vec acc[NP][G] = {};
  add_products<W, G, NP>(K - first, a + first, w + first / W::kTogether * G * kWidth, stride, acc);
  REKUR_UNROLL
  for (int p = 0; p < NP; ++p) {
    REKUR_UNROLL
    for (int g = 0; g < G; ++g) sums[p * G + g] += acc[p][g];
  }
}

// acc[p][g] += v w[p][g], a row of floats.
template <int G, int NP>
REKUR_INLINE void add_row(Vec v, const float* row, Index stride, Vec (&acc)[NP][G]) {
  REKUR_UNROLL
  for (int p = 0; p < NP; ++p) {
    REKUR_UNROLL
    for (int g = 0; g < G; ++g) acc[p][g] = fma(v, load(row + p * stride + g * kWidth), acc[p][g]);
  }
}

// Both sums side by side. What is known to be a loop of few turns the compiler would write out, once for every cell.
template <int G, int NP>
REKUR_INLINE void add_two_sums(Index K, Index first, const float* a, const float* w, Index stride, Vec (&acc)[NP][G]) {
#if defined(__GNUC__)  // clang, too
  __asm__("" : "+r"(K), "+r"(first));
#endif
  constexpr Index row = G * kWidth;
  const Index rest = K - first;
  const float *const b = a + first, *const v = w + first * row;
  Vec second[NP][G] = {};
  Index k = 0;
  for (; k < first && k < rest; ++k) {
    add_row<G, NP>(set1(a[k]), w + k * row, stride, acc);
    add_row<G, NP>(set1(b[k]), v + k * row, stride, second);
  }
  for (Index i = k; i < first; ++i) add_row<G, NP>(set1(a[i]), w + i * row, stride, acc);
  if (k < rest) add_row<G, NP>(set1(b[k]), v + k * row, stride, second);  // one more at most
  REKUR_UNROLL
  for (int p = 0; p < NP; ++p) {
    REKUR_UNROLL
    for (int g = 0; g < G; ++g) acc[p][g] += second[p][g];
  }
}

// One of the two products of NP panels of G gates, from the bias on, if there is one. `first`: of h, first_sum. Beside: where that
// is less than K, both sums go side by side, if registers hold them.
template <class W, int G, int NP, bool Beside = false>
REKUR_INLINE void single_row_product(Index K, Index first, const float* a, bool bias, const float* w, Index stride, Vec* sums) {
  Vec acc[NP][G];
  REKUR_UNROLL
  for (int p = 0; p < NP; ++p) {
    REKUR_UNROLL
    for (int g = 0; g < G; ++g) acc[p][g] = bias ? load(w + p * stride + g * kWidth) : zero();
  }
  const float* const rows = bias ? w + G * kWidth : w;
  constexpr bool may_be_two = (NP - 1) * kWidth < 16 && W::kTogether == 1;  // few units fill few panels, and are floats
  bool second = may_be_two && first < K;
  Index left = second ? first : K;
  if constexpr (Beside && may_be_two && 2 * NP * G + 2 <= kRegisters) {
    if (second) {
      add_two_sums<G, NP>(K, first, a, rows, stride, acc);
      second = false;
      left = 0;
    }
  }
  add_products<W, G, NP>(left, a, rows, stride, acc);
  if (may_be_two && second) {
    Vec both[NP * G];  // of its own, so that `sums` may stay in registers
    REKUR_COPY(both, acc, sizeof both);
    add_second_sums<W, G, NP>(K, first, a, rows, stride, both);
    REKUR_COPY(acc, both, sizeof both);
  }
  REKUR_UNROLL
  for (int p = 0; p < NP; ++p) {
    REKUR_UNROLL
    for (int g = 0; g < G; ++g) sums[p * G + g] = acc[p][g];
  }
}

// Where the second product of a panel begins.
REKUR_INLINE Index recurrent_at(const SingleRow& s, int G) { return (1 + lines_of(s.type, s.I)) * G * kWidth; }

// Where a step's input comes from.
struct SingleRowInput {
  const float* x;         // [I]
  const float* products;  // those of the panels from the first one at hand, [panel][G][width], if they were made before; or null
};

template <class W, int G, int NP>
REKUR_INLINE void single_row_of_x(const SingleRow& s, const float* panel, const SingleRowInput& x, Vec* in) {
  if (x.products != nullptr) {
    REKUR_UNROLL
    for (int i = 0; i < NP * G; ++i) in[i] = load(x.products + i * kWidth);
  } else {
    single_row_product<W, G, NP>(s.I, s.I, x.x, true, panel, s.panel_stride, in);
  }
}

template <class W, int G, int NP, bool Beside>
REKUR_INLINE void single_row_of_h(const SingleRow& s, const float* panel, const float* h, Vec* rec) {
  single_row_product<W, G, NP, Beside>(s.H, first_sum(s.H), h, s.recurrent_bias, panel + recurrent_at(s, G), s.panel_stride, rec);
}

// Both, h's first: compiled once for all cells of G gates, since reading takes as long.
template <class W, int G, int NP>
REKUR_NOINLINE void single_row_back(const SingleRow& s, const float* panel, const SingleRowInput& x, const float* h, Vec* in,
                                    Vec* rec) {
  single_row_of_h<W, G, NP, false>(s, panel, h, rec);
  single_row_of_x<W, G, NP>(s, panel, x, in);
}

// Both, in[p][g] of x and rec[p][g] of h. h_first: the other way round, for weights beyond the first-level cache that the step
// before read last.
template <class W, int G, int NP>
REKUR_INLINE void single_row_products(const SingleRow& s, const float* panel, const SingleRowInput& x, const float* h, bool h_first,
                                      Vec* in, Vec* rec) {
  if (h_first) {
    Vec both[2 * NP * G];  // of its own, so that `in` and `rec` may stay in registers
    single_row_back<W, G, NP>(s, panel, x, h, both, both + NP * G);
    REKUR_UNROLL
    for (int i = 0; i < NP * G; ++i) {
      in[i] = both[i];
      rec[i] = both[NP * G + i];
    }
    return;
  }
  single_row_of_x<W, G, NP>(s, panel, x, in);
  single_row_of_h<W, G, NP, true>(s, panel, h, rec);
}

template <int G, int NP>
REKUR_INLINE void shared_product(WeightType type, Index K, Index first, const float* a, bool bias, const float* w, Index stride,
                                 Vec* sums) {
  if constexpr (!kCompact) {
    if (type == WeightType::bf16) return single_row_product<Bf16Rows, G, NP>(K, first, a, bias, w, stride, sums);
    if (type == WeightType::fp16) return single_row_product<Fp16Rows, G, NP>(K, first, a, bias, w, stride, sums);
  }
  single_row_product<FloatRows, G, NP>(K, first, a, bias, w, stride, sums);
}

template <int G, int NP>
REKUR_NOINLINE void shared_products(int count, const SingleRow& s, const float* panel, const SingleRowInput& x, const float* h,
                                    bool h_first, Vec* in, Vec* rec) {
  if constexpr (NP > 1)
    if (count < NP) return shared_products<G, NP - 1>(count, s, panel, x, h, h_first, in, rec);
  for (const bool recurrent : {h_first, !h_first})
    if (recurrent || x.products == nullptr)
      shared_product<G, NP>(s.type, recurrent ? s.H : s.I, recurrent ? first_sum(s.H) : s.I, recurrent ? h : x.x,
                            !recurrent || s.recurrent_bias, recurrent ? panel + recurrent_at(s, G) : panel, s.panel_stride,
                            recurrent ? rec : in);
    else
      for (int i = 0; i < NP * G; ++i) in[i] = load(x.products + i * kWidth);
}

// The input's products of several steps, to [step][panel][G][width]: by tiles of several steps, so that the weights are read once
// for all of them.
template <int G>
void single_row_inputs(const SingleRow& s, Index count, const float* x, float* to) {
  const auto tile = product_tiles<G>(s.type);
  for (Index panel = 0; panel < s.panels; ++panel) {
    const float* const bias = s.weights + panel * s.panel_stride;
    for (Index t = 0, rows; t < count; t += rows) {
      const float* from[tile_rows(G)];
      rows = count - t < tile_rows(G) ? count - t : tile_rows(G);
      for (Index row = 0; row < rows; ++row) from[row] = x + (t + row) * s.I;
      tile[rows - 1][0](s.I, from, bias + G * kWidth, s.panel_stride, bias, kWidth, to + (t * s.panels + panel) * G * kWidth,
                        s.panels, bias + G * kWidth);
    }
  }
}

// --- equations ---

// A vector of each of N panels as one value of a cell's equations: their chains run side by side. Those of one panel after those of
// another fill the processor's schedulers with instructions that wait.
template <int N>
struct Abreast {
  Vec v[N];
};

template <int N, class Operation>
REKUR_INLINE Abreast<N> each(const Operation& operation) {
  Abreast<N> result;
  REKUR_UNROLL
  for (int n = 0; n < N; ++n) result.v[n] = operation(n);
  return result;
}

template <int N>
REKUR_INLINE Abreast<N> operator+(const Abreast<N>& a, const Abreast<N>& b) {
  return each<N>([&](int n) REKUR_INLINED { return a.v[n] + b.v[n]; });
}

template <int N>
REKUR_INLINE Abreast<N> operator+(const Abreast<N>& a, float b) {
  return each<N>([&](int n) REKUR_INLINED { return a.v[n] + b; });
}

template <int N>
REKUR_INLINE Abreast<N> operator-(const Abreast<N>& a, const Abreast<N>& b) {
  return each<N>([&](int n) REKUR_INLINED { return a.v[n] - b.v[n]; });
}

template <int N>
REKUR_INLINE Abreast<N> operator*(const Abreast<N>& a, const Abreast<N>& b) {
  return each<N>([&](int n) REKUR_INLINED { return a.v[n] * b.v[n]; });
}

template <int N>
struct AbreastFunctions {
  REKUR_INLINE Abreast<N> gate(const Abreast<N>& a) const {
    return each<N>([&](int n) REKUR_INLINED { return sigmoid(a.v[n]); });
  }
  REKUR_INLINE Abreast<N> candidate(const Abreast<N>& a) const {
    return each<N>([&](int n) REKUR_INLINED { return tanh(a.v[n]); });
  }
  REKUR_INLINE Abreast<N> output(const Abreast<N>& a) const { return candidate(a); }
};

// Where a layer's states and its output are.
struct SingleRowStates {
  const float* h;
  float *h_next, *c, *y;
  bool room;  // behind y a vector may be written over
};

// Where the peepholes of the first panel are, and how far apart those of panels and of rows.
struct SingleRowPeepholes {
  const float* first;
  Index panel, row;
};

// Of N panels from unit u on.
template <class Cell, int N>
REKUR_INLINE void single_row_equations(Index H, const SingleRowPeepholes& peepholes, Index u, const Vec* in, const Vec* rec,
                                       const SingleRowStates& at) {
  constexpr cells::CellInfo info = Cell::info;
  constexpr int G = info.phase[0].count;
  using V = Abreast<N>;
  V in_slot[cells::kMaxSlots], rec_slot[cells::kMaxSlots], state[cells::kMaxStates], slot[cells::kMaxSlots];
  V peephole[cells::kMaxPeepholes];
  REKUR_UNROLL
  for (int n = 0; n < N; ++n) {
    REKUR_UNROLL
    for (int g = 0; g < G; ++g) {
      in_slot[info.x_first + g].v[n] = in[n * G + g];
      rec_slot[info.phase[0].first + g].v[n] = rec[n * G + g];
    }
    REKUR_UNROLL
    for (int row = 0; row < info.peepholes; ++row)
      peephole[row].v[n] = load(peepholes.first + n * peepholes.panel + row * peepholes.row);
    state[0].v[n] = load(at.h + u + n * kWidth);
    if constexpr (info.states > 1) state[1].v[n] = load(at.c + u + n * kWidth);
  }
  Cell::forward(cells::PhaseTag<0>{}, AbreastFunctions<N>{}, in_slot, rec_slot, peephole, state, slot);
  REKUR_UNROLL
  for (int n = 0; n < N; ++n) {
    const Index unit = u + n * kWidth;
    store(at.h_next + unit, state[0].v[n]);
    if constexpr (info.states > 1) store(at.c + unit, state[1].v[n]);
    // For a store of some lanes whoever reads y next has to wait longer.
    if (at.room || unit + kWidth <= H)
      store(at.y + unit, state[0].v[n]);
    else
      store_partial(at.y + unit, state[0].v[n], H - unit);
  }
}

// --- steps ---

// A step of NP panels from unit u on; where products are shared, of `count` <= NP.
template <class Cell, class W, int NP>
REKUR_NOINLINE void single_row_panels(int count, const SingleRow& s, const float* panel, Index u, const SingleRowInput& x,
                                      bool h_first, const SingleRowStates& at) {
  constexpr int G = Cell::info.phase[0].count;
  static_assert(G == Cell::info.x_count, "both products of a panel have the same shape");
  Vec in[NP * G], rec[NP * G];
  const SingleRowPeepholes peepholes{panel + s.panel_stride - Cell::info.peepholes * kWidth, s.panel_stride, kWidth};
  if constexpr (kSharedProducts) {
    shared_products<G, NP>(count, s, panel, x, at.h, h_first, in, rec);
    for (int p = 0; p < count; ++p)
      single_row_equations<Cell, 1>(s.H, {peepholes.first + p * s.panel_stride, s.panel_stride, kWidth}, u + p * kWidth, in + p * G,
                                    rec + p * G, at);
  } else {
    single_row_products<W, G, NP>(s, panel, x, at.h, h_first, in, rec);
    single_row_equations<Cell, NP>(s.H, peepholes, u, in, rec, at);
  }
}

// Hands `count` <= NP panels to the code compiled for so many.
template <class Cell, class W, int NP, class... Arguments>
REKUR_INLINE void single_row_panels_of(int count, const Arguments&... arguments) {
  if constexpr (NP > 1 && !kSharedProducts)
    if (count < NP) return single_row_panels_of<Cell, W, NP - 1>(count, arguments...);
  single_row_panels<Cell, W, NP>(count, arguments...);
}

// Whether the first-level cache holds the weights.
REKUR_INLINE bool single_row_near(const SingleRow& s) {
  return s.panels * s.panel_stride * static_cast<Index>(sizeof(float)) <= kFirstCache;
}

template <class Cell, class W>
void single_row_step(const SingleRow& s, const SingleRowInput& x, bool descending, const SingleRowStates& at) {
  constexpr int G = Cell::info.phase[0].count;
  constexpr Index most = single_row_most(G);
  const bool near = single_row_near(s), h_first = descending && !near;
  const Index at_once = near ? most : single_row_far(G);
  if (s.panels <= at_once)
    return single_row_panels_of<Cell, W, most>(static_cast<int>(s.panels), s, s.weights, Index{0}, x, h_first, at);
  for (Index done = 0, count; done < s.panels; done += count) {
    const Index rest = s.panels - done;
    count = rest <= at_once ? rest : rest < 2 * at_once ? rest / 2 : at_once;
    const Index begin = descending ? rest - count : done;
    const SingleRowInput input{x.x, x.products ? x.products + begin * G * kWidth : nullptr};
    single_row_panels_of<Cell, W, most>(static_cast<int>(count), s, s.weights + begin * s.panel_stride, begin * kWidth, input,
                                        h_first, at);
  }
}

inline constexpr Index kFewInputs = 4;  // whose products are made sooner than they are stored and read

template <class Cell, class W>
void single_row_steps_of(const SingleRow& s, const kernels::SingleRowCall& call) {
  constexpr int G = Cell::info.phase[0].count;
  const bool before = call.count > 1 && s.I >= kFewInputs && (kHalfTiles || s.type == WeightType::float32);
  if (before) single_row_inputs<G>(s, call.count, call.x, call.inputs);
  for (Index t = 0; t < call.count; ++t) {
    const SingleRowInput x{call.x + t * s.I, before ? call.inputs + t * s.panels * G * kWidth : nullptr};
    single_row_step<Cell, W>(s, x, call.descending != (t % 2 != 0),
                             {call.h[t % 2], call.h[1 - t % 2], call.c, call.y + t * s.H, call.room});
  }
}

// Shared products ask for the type themselves.
template <class Cell>
void single_row_steps(const SingleRow& s, const kernels::SingleRowCall& call) {
  if constexpr (!kSharedProducts) {
    if (s.type == WeightType::bf16) return single_row_steps_of<Cell, Bf16Rows>(s, call);
    if (s.type == WeightType::fp16) return single_row_steps_of<Cell, Fp16Rows>(s, call);
    // Of a small layer one step, where every instruction on the way counts.
    constexpr int G = Cell::info.phase[0].count;
    constexpr Index most = single_row_most(G);
    if (call.count == 1 && s.panels <= (single_row_near(s) ? most : single_row_far(G))) {
      const SingleRowInput x{call.x, nullptr};
      const SingleRowStates states{call.h[0], call.h[1], call.c, call.y, call.room};
      const bool h_first = call.descending && !single_row_near(s);
      return single_row_panels_of<Cell, FloatRows, most>(static_cast<int>(s.panels), s, s.weights, Index{0}, x, h_first, states);
    }
  }
  single_row_steps_of<Cell, FloatRows>(s, call);
}

template <class Cell>
constexpr kernels::SingleRowSteps single_row_kernel() {
  constexpr bool left_out = kCompact && requires { Cell::rare; };
  if constexpr (Cell::info.phases == 1 && !left_out) return single_row_steps<Cell>;
  return nullptr;
}

}  // namespace
}  // namespace rekur
