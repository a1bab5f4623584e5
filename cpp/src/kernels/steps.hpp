// What every ISA provides to the recurrent engine: one step of one cell, forward and backward, on some rows of a batch.
#pragma once

#include "rekur/detail/cells/cell_info.hpp"
#include "rekur/detail/cells/list.hpp"
#include "simd/kernels.hpp"

namespace rekur::kernels {

// One phase of one time step. State and projection rows are Hp floats a block, Hp = H rounded up to whole vectors.
struct StepForward {
  Index rows;  // M
  Index H, Hp;
  Index begin, end;      // units to compute: multiples of the width, [0, Hp) for all
  bool descending;       // last units first. Taken in turns, so that the weights read last are still in the cache for the next step
  const float* input;    // [M][x_count·Hp] projections W x + b of this step
  Index product_length;  // H, or 0 where the previous hidden state is known to be zero
  const float* weights;  // recurrent kernel of this phase: [Hp/width][H][count][width]; of sixteen bits pairs of rows (pack.hpp)
  WeightType type;       // what they are; of eight bits vectors of columns, [Hp/width][count] (simd/int8.hpp), the bias among them
  Index group;           // of eight bits: isa::int8_group(). Of bf16 whose rows are rounded too: isa::bf16_group(). Else 0
  float* narrow;  // where it is not 0, room for the rows that the product reads: simd::int8_row_floats(H), bf16_row_floats(H) each
                  // by AMX behind them for sums, kAmxSums a row
  const float* bias;      // [count·Hp] recurrent bias of this phase, or null
  const float* peephole;  // [peepholes][Hp], or null for a cell without
  const float* h;         // [M][Hp] h before the step
  float* h_next;          // [M][Hp] h after it; another array than h
  float* c;               // [M][Hp] the second state, updated in place; null without one
  Rows y;                 // [M] rows of H floats that receive h; null: not wanted
  Rows tape;              // [M] records of slots·Hp floats; null only for an inference run of a cell of one phase
  const cells::Activations* activations;
};

// The backward pass of the same. The record's gate slots are overwritten by the gradients of their pre-activations.
struct StepBackward {
  Index rows;
  Index H, Hp;
  Index begin, end;  // units to compute, as above
  Rows tape;
  ConstRows h_previous;  // [M] rows of at least H floats: h before the step
  ConstRows c_previous;  // [M] rows of at least H floats; null without a second state
  ConstRows dy;          // [M] rows of H floats added to dh in the last phase; null: none
  float* dh;  // [M][Hp] in: gradient of h after the step; out: of h before it, without what comes through the recurrent product
  float* dc;  // [M][Hp] likewise; null without a second state
  // What the step that will be next reads and this one does not, fetched into the cache meanwhile: its record, dy, and the states
  // before it. All null or all [M] rows.
  ConstRows tape_ahead, dy_ahead, h_ahead, c_ahead;
  const float* peephole;   // [peepholes][Hp], or null for a cell without
  const float* d_product;  // [M][Hp] gradient of the later phase's product input, for the earlier phase of a cell of two; else null
  const cells::Activations* activations;
};

struct CellSteps {
  void (*forward[2])(const StepForward&);  // by phase
#if REKUR_TRAINING
  void (*backward[2])(const StepBackward&);
#endif
};

// Which functions a cell's kernels were compiled with: sigmoid and tanh themselves, or any activations with or without clipping.
enum class Functions : std::uint8_t { standard, given };
inline constexpr int kFunctions = 2;

// A layer on one row, both products of a step in one pass over the weights: for streams. By panel of a vector of units: the bias
// [x_count][width], the kernel [I][x_count][width], of a cell that has it the recurrent bias [count][width], the recurrent kernel
// [H][count][width], the peepholes [peepholes][width].
struct SingleRow {
  Index I, H;
  Index panels;        // Hp / width
  Index panel_stride;  // floats
  bool recurrent_bias;
  WeightType type;  // of the two kernels, as above; the rest are floats
  const float* weights;
};

// Steps of it, one after the other.
struct SingleRowCall {
  Index count;
  const float* x;   // [count][I]
  float* const* h;  // two places [Hp]: h before the first step, and after it; then in turns
  float* c;         // [Hp], in place
  float* y;         // [count][H]
  float* inputs;    // [count][Hp/width][x_count][width] for their products, if count > 1
  bool descending;  // of the first step: last units first, as in StepForward
  bool room;        // behind y a vector may be written over
};

using SingleRowSteps = void (*)(const SingleRow& layer, const SingleRowCall& call);

#if REKUR_INT8
// A step of a layer whose recurrent product is of eight bits on one row; weights in vectors of columns (simd/int8.hpp).
struct SingleRowInt8 {
  Index I, H, Hp, group;
  const float* input;      // of eight bits, [x_count][Hp/width]; null: the products of x are there
  const float* recurrent;  // [Hp/width][count]
  const float* peephole;   // [peepholes][Hp]
  const float* x;          // [I]
  const float* products;   // [x_count][Hp]
  const float* h;          // [Hp], as are the next two
  float *h_next, *c;
  float* y;               // [H]
  float* rows;            // room for what is rounded: of x, if it is, and of h
  bool descending, room;  // as above
};

using SingleRowInt8Step = void (*)(const SingleRowInt8&);
#endif

#if REKUR_EQUATIONS
inline constexpr int kMostTogether = 4;  // blocks of a recurrent product that the kernels take at once

// A recurrent product by itself, for cells whose equations are interpreted.
struct StepProduct {
  Index rows;
  Index H, Hp;
  Index begin, end;      // units to compute: multiples of the width
  bool descending;       // as in StepForward
  ConstRows from;        // [rows]
  Index product_length;  // H, or 0 where the rows are known to be zero
  const float* weights;  // [Hp/width][H][count][width], as above
  WeightType type;
  Index group;
  float* narrow;
  const float* bias;  // [count·Hp] or null
  float* to;          // block g of row m at to + m·to_stride + g·Hp
  Index to_stride;
};
#endif

struct Steps {
  CellSteps cell[cells::All::size][kFunctions];  // by position in cells::All
#if REKUR_EQUATIONS
  void (*product[kMostTogether])(const StepProduct&);  // by blocks less one
#endif
};

struct SingleRowTable {
  SingleRowSteps cell[cells::All::size];  // for sigmoid and tanh without clip; null for a cell of two phases and others left out
#if REKUR_INT8
  SingleRowInt8Step int8[cells::All::size];  // for the same
#endif
};

}  // namespace rekur::kernels
