// Products of rounded rows by AMX: tiles of 16 rows by 16 columns, kept in registers of the processor's own. Included by the ISA
// units only; those of 64 bytes a vector have it, since a line of B is a vector of them as it stands.
//
//   A: rows of 4-byte groups of numbers (four of eight bits, two of sixteen), a tile is 16 groups of up to 16 rows
//   B: lines of 16 lanes, a group each, as int8.hpp and bf16.hpp pack them; a tile is 16 lines
//
// Sums of integers are exact, so the tiles change no bit of them. Sums of bf16 go over k by tiles: of each 32 numbers those with an
// even and those with an odd index are summed apart, in order, by fused multiply-adds, then both sums added, then what they give to
// the sum of the tiles before (Intel's manual, TDPBF16PS). That is another order than the one of bf16.hpp; it depends on nothing
// but k, so any rows, threads and cuts give the same bits.
#pragma once

#include <type_traits>

#include "simd/kernels.hpp"
#include "simd/vec.hpp"

namespace rekur {
namespace {

#if REKUR_AMX && REKUR_VEC_BYTES == 64

REKUR_INLINE bool by_amx(Index group) { return (group & kAmx) != 0; }

inline constexpr Index kAmxRows = 16, kAmxLines = 16;
inline constexpr Index kAmxMostRows = 2 * kAmxRows;  // that amx_sums takes
inline constexpr Index kAmxVectors = 4;              // of columns whose tiles of sums there are registers for

// As ldtilecfg reads it: tiles 0 to 3 are sums and 4 and 5 rows of A, of so many rows; 6 and 7 lines of B.
struct alignas(64) AmxConfiguration {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};

  constexpr explicit AmxConfiguration(int own) {
    for (int tile = 0; tile < 8; ++tile) {
      row_bytes[tile] = 64;
      rows[tile] = static_cast<std::uint8_t>(tile < 6 ? own : 16);
    }
  }
};

inline constexpr AmxConfiguration kAmxConfigurations[kAmxRows] = {
    AmxConfiguration{1},  AmxConfiguration{2},  AmxConfiguration{3},  AmxConfiguration{4},
    AmxConfiguration{5},  AmxConfiguration{6},  AmxConfiguration{7},  AmxConfiguration{8},
    AmxConfiguration{9},  AmxConfiguration{10}, AmxConfiguration{11}, AmxConfiguration{12},
    AmxConfiguration{13}, AmxConfiguration{14}, AmxConfiguration{15}, AmxConfiguration{16}};

// The tile registers for products of `rows` rows, or of more than 16 if all have as many. To be given back when the products are
// made, so that nobody has to save them. (Not a class: its destructor would be one for exceptions too, which kernels do not have.)
REKUR_INLINE void amx_begin(Index rows) {
  __asm__ volatile("ldtilecfg %0" ::"m"(kAmxConfigurations[(rows < kAmxRows ? rows : kAmxRows) - 1]) : "memory");
}
REKUR_INLINE void amx_end() { __asm__ volatile("tilerelease" ::: "memory"); }

// What compilers know of tiles they know only where a unit asks for AMX, so registers go by their numbers here.

template <int Tile>
REKUR_INLINE void tile_zero() {
  __asm__ volatile("tilezero %%tmm%c0" ::"i"(Tile) : "memory");
}

// Rows of 64 bytes, `stride` floats apart.
template <int Tile>
REKUR_INLINE void tile_load(const float* from, Index stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride * Index{sizeof(float)}), "i"(Tile) : "memory");
}

template <int Tile>
REKUR_INLINE void tile_store(float* to, Index stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride * Index{sizeof(float)}), "i"(Tile) : "memory");
}

struct AmxBf16 {
  template <int Sum, int A, int B>
  REKUR_INLINE static void dot() {
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sum), "i"(A), "i"(B) : "memory");
  }
};

struct AmxInt8 {  // those of A without a sign, as rows are, of B with one
  template <int Sum, int A, int B>
  REKUR_INLINE static void dot() {
    __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sum), "i"(A), "i"(B) : "memory");
  }
};

// Where the operands of amx_sums stand, in floats.
struct AmxOperands {
  ConstRows a;
  Index a_offset;         // in each row
  const float* const* b;  // by vector of columns, its first line
  Index b_stride;         // of lines
  Index lines;            // of each
  bool goes_on = false;   // from what `out` holds; else from zeros
};

// Vector V of columns, whose lines stand at `b`, times the rows in tile 4, and of two tiles of rows those in 5.
template <class Dot, int V, bool Two>
REKUR_INLINE void amx_vector(const float* b, Index stride) {
  constexpr int kB = 6 + V % 2;  // in turns
  tile_load<kB>(b, stride);
  Dot::template dot<V, 4, kB>();
  if constexpr (Two) Dot::template dot<V + 2, 5, kB>();
}

// calls each(V) for the vectors there are.
template <bool Two, class Each>
REKUR_INLINE void amx_vectors(Index vectors, const Each& each) {
  each(std::integral_constant<int, 0>{});
  if (vectors > 1) each(std::integral_constant<int, 1>{});
  if constexpr (!Two) {
    if (vectors > 2) each(std::integral_constant<int, 2>{});
    if (vectors > 3) each(std::integral_constant<int, 3>{});
  }
}

// A tile's lines where there are fewer, and zeros behind them.
inline void amx_last_lines(const float* from, Index stride, Index count, float* to) {
  for (Index i = 0; i < kAmxLines; ++i) store(to + i * kWidth, i < count ? load(from + i * stride) : zero());
}

// Up to 16 rows of A. Those that stand equally far apart are read as they are, others copied a tile at a time.
struct AmxRows {
  ConstRows rows;
  Index offset, count, stride;
  bool even;

  AmxRows(ConstRows first, Index at, Index n)
      : rows(first), offset(at), count(n), stride(n > 1 ? first[1] - first[0] : 0), even(true) {
    for (Index i = 2; i < n; ++i) even = even && rows[i] - rows[i - 1] == stride;
  }

  // Groups [line, line + n) of each into a tile; behind them zeros.
  template <int Tile>
  REKUR_INLINE void load_into(Index line, Index n) const {
    if (even && n == kAmxLines) return tile_load<Tile>(rows[0] + offset + line, stride);
    alignas(64) float copy[kAmxRows * kWidth];
    for (Index i = 0; i < count; ++i) store(copy + i * kWidth, load_partial(rows[i] + offset + line, n));
    tile_load<Tile>(copy, kWidth);
  }
};

// Vectors of columns that amx_sums takes at once: there are tiles for four of 16 rows, or for two of more.
constexpr Index amx_vectors_at_once(Index rows) { return rows > kAmxRows ? kAmxVectors / 2 : kAmxVectors; }

template <class Dot, bool Two>
void amx_sums_of(const AmxOperands& of, Index rows, Index vectors, float* out, Index out_stride) {
  const Index second = Two ? rows - kAmxRows : 0;
  const AmxRows first(of.a, of.a_offset, Two ? kAmxRows : rows), others(of.a + second, of.a_offset, Two ? kAmxRows : 0);
  amx_vectors<Two>(vectors, [&](auto v) REKUR_INLINED {
    if (of.goes_on) {
      tile_load<v>(out + v * kWidth, out_stride);
      if constexpr (Two) tile_load<v + 2>(out + second * out_stride + v * kWidth, out_stride);
    } else {
      tile_zero<v>();
      if constexpr (Two) tile_zero<v + 2>();
    }
  });
  for (Index line = 0; line < of.lines; line += kAmxLines) {
    const Index n = of.lines - line < kAmxLines ? of.lines - line : kAmxLines;
    first.load_into<4>(line, n);
    if constexpr (Two) others.load_into<5>(line, n);
    amx_vectors<Two>(vectors, [&](auto v) REKUR_INLINED {
      const float* const b = of.b[v] + line * of.b_stride;
      if (n == kAmxLines) return amx_vector<Dot, v, Two>(b, of.b_stride);
      alignas(64) float last[kAmxLines * kWidth];
      amx_last_lines(b, of.b_stride, n, last);
      amx_vector<Dot, v, Two>(last, kWidth);
    });
  }
  amx_vectors<Two>(vectors, [&](auto v) REKUR_INLINED {
    tile_store<v>(out + v * kWidth, out_stride);
    if constexpr (Two) tile_store<v + 2>(out + second * out_stride + v * kWidth, out_stride);
  });
}

// out[m][v] = Σ of `rows` <= 32 rows of A, for which the tiles have been set, with as many vectors of columns as
// amx_vectors_at_once says, or fewer. A second tile of rows that are not 16 takes some of the first again, to the same bits.
template <class Dot>
REKUR_NOINLINE void amx_sums(const AmxOperands& of, Index rows, Index vectors, float* out, Index out_stride) {
  (rows > kAmxRows ? amx_sums_of<Dot, true> : amx_sums_of<Dot, false>)(of, rows, vectors, out, out_stride);
}

// M rows are dealt out evenly to products of up to 32: either all fit into one, or each has 16 and more.
struct AmxRowTiles {
  Index M, count;
  explicit AmxRowTiles(Index rows) : M(rows), count((rows + kAmxMostRows - 1) / kAmxMostRows) {}
  Index begin(Index tile) const { return tile * M / count; }
};

#else

constexpr bool by_amx(Index) { return false; }

#endif

}  // namespace
}  // namespace rekur
