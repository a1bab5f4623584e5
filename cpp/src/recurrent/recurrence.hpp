// What stands behind a Recurrence: the packed weights. Private to recurrent/.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "isa/int8.hpp"
#include "kernels/steps.hpp"
#include "recurrent/program.hpp"
#include "recurrent/recurrent.hpp"
#include "runtime/buffer.hpp"
#include "runtime/locks.hpp"
#include "simd/pack.hpp"

namespace rekur::recurrent {

// Weights in the order the kernels read them.
struct Packed {
  Buffer input;                   // by set of blocks that read the same x, W_x as gemm panels: K = I, N = set_count()·Hp
  Buffer input_bias;              // [x_count·Hp]
  std::vector<Buffer> recurrent;  // by product: [padded columns/width][rows][count][width], or of sixteen bits pairs of rows
  std::vector<WeightType> type;   // by product: which; of eight bits vectors of columns, the bias among them (simd/int8.hpp)
  WeightType input_type = WeightType::float32;  // of eight bits, or of bf16 and rows too; else float32
  Index group = 0;  // where rows are rounded too, isa::int8_group() or bf16_group() when they were packed; else 0
  std::vector<Buffer> recurrent_bias;  // [count·Hp], only for cells with a recurrent bias
  Buffer unit_weights;                 // [unit weights][Hp], only for cells with such
  // For the backward pass, each made when it is first needed:
  Buffer input_transposed;                   // by set, gemm panels: K = set_count()·Hp, N = I
  std::vector<Buffer> recurrent_transposed;  // by product: gemm panels, K = count·padded columns, N = rows

  Index input_set_size(const Recurrence::Impl& r) const;
  void fill_forward(const Recurrence::Impl& r, const Weights<const float>& weights);
  void fill_recurrent_transposed(const Recurrence::Impl& r, const Weights<const float>& weights);
  void fill_input_transposed(const Recurrence::Impl& r, const Weights<const float>& weights);
};

struct Recurrence::Impl {
  Description cell;
  cells::Activations activations;
  std::shared_ptr<const Program> program;  // or, where it is null, a compiled cell:
  int cell_index = -1;
  kernels::Functions functions = kernels::Functions::given;
  Index I, H, P;
  bool bias, input_by_block = false;
  Precision precision = Precision::float32;  // of products
  bool units_first = false;                  // matrices have a row a unit (Recurrence::set_units_first)

  void set_sizes(Index input_size, Index hidden_size, Index projection_size, bool with_bias);

  Index width(int state) const { return state == 0 ? P : H; }
  // A product's weights are rows · (count · columns).
  Index rows(const Product& product) const { return product.state == 0 ? P : H; }
  Index columns(const Product& product) const { return product.projects ? P : H; }
  // Whether the products of the input, and one of the recurrent ones, are of eight bits: what a matrix of the user's is, all
  // products that read a part of it are.
  bool int8_input() const { return precision == Precision::int8 && cell.x_count > 0 && isa::takes_int8(I, cell.kernel_blocks * H); }
  bool int8(const Product& product) const {
    return precision == Precision::int8 && isa::takes_int8(rows(product), product.projects ? P : cell.recurrent_blocks * H);
  }
  // Whether a phase is the projection, which has no equations and makes the first state alone.
  bool projects(int phase) const { return cell.projects && phase + 1 == cell.phases; }

  mutable runtime::Mutex mutex;
  mutable Packed packed;
  mutable std::uint64_t version = 0, epoch = 0;
  mutable bool ready = false, recurrent_transposed_ready = false, input_transposed_ready = false;

  // Packs what a backward pass reads of the weights that the forward pass was prepared with: only what it needs, only once.
  void prepare_backward(const Weights<const float>& weights, bool through_h, bool to_input) const;

  // Sets of blocks of the input's product that read the same x; a set's slots follow those of the one before it.
  int input_sets() const { return input_by_block ? cell.x_count : 1; }
  int set_count() const { return input_by_block ? 1 : cell.x_count; }
  // Where in a row of x a slot's block begins to read.
  Index input_offset(int slot) const { return input_by_block ? cell.kernel_block[static_cast<std::size_t>(slot)] * I : 0; }

  // No unit waits for another: Program::alone().
  bool alone() const {
#if REKUR_EQUATIONS
    return program && program->alone();
#else
    return false;
#endif
  }
  // Floats of a record as equations read and write it, and as it stands in the tape: in bf16, two numbers of a slot a float.
  Index step_record(Index Hp) const { return cell.slots * Hp + aligned(cell.numbers); }
  Index record(Index Hp) const { return kept(cell.slots * Hp) + aligned(cell.numbers); }
  Index kept(Index numbers) const { return bf16() ? numbers / 2 : numbers; }
  // Phases that have equations.
  int equations() const { return cell.phases - (cell.projects ? 1 : 0); }
  // By slot: the phase whose equations leave a gradient there, backward; -1: none does.
  std::vector<int> gradient_phase;
  Index state_slot(int state) const { return cell.state_slot[static_cast<std::size_t>(state)]; }
  const kernels::CellSteps& steps() const;

  // Floats of rows that are rounded for a product: of x, of any that a step multiplies; 0: there is none.
  Index narrow_input() const { return narrow_row(packed.input_type, I); }
  Index narrow_step() const {
    Index most = 0;
    for (std::size_t p = 0; p < cell.products.size(); ++p)
      most = std::max(most, narrow_row(packed.type[p], rows(cell.products[p])));
    return most > 0 && (packed.group & kAmx) != 0 ? most + kAmxSums : most;
  }
  bool bf16() const { return REKUR_BF16 && precision == Precision::bf16; }

  // Of weights packed so; 0 where rows are not rounded, but weights of sixteen bits widened.
  Index group(WeightType type) const { return type == WeightType::int8 || bf16() ? packed.group : 0; }
  Index narrow_row([[maybe_unused]] WeightType type, [[maybe_unused]] Index K) const {
#if REKUR_INT8 || REKUR_BF16
    if (group(type) == 0) return 0;
    return type == WeightType::int8 ? simd::int8_row_floats(K) : simd::bf16_row_floats(K);
#else
    return 0;
#endif
  }

  // W x + b of a set of blocks for some rows, from column `set`'s on. `x` is overwritten where products have rows of their own,
  // which stand at `narrow`: narrow_input() floats each.
  void input_product(const simd::Kernels& kernels, Index count, int set, const float** x, float* narrow, Rows to) const noexcept;
};

#if REKUR_EQUATIONS
// The recurrent products of a phase of a program, for the rows of a slice or of a stream.
struct ProgramProducts {
  int phase;
  Index rows, Hp, Pp;
  Index begin = 0, end;  // units to compute: multiples of the width
  bool descending;
  float* const* before;         // by state: [rows][its padded width]
  float* projected;             // [rows][Pp]: the first state after the step, where it is a projection
  bool zero[kMostStates] = {};  // whether it is known to be zero
  Rows tape;                    // [rows] records; null with one phase
  float* products;              // [rows][product_blocks·Hp]
  const float** sources;        // [rows], to write to
  float* narrow;                // [rows][narrow_step()]
  const kernels::Steps& steps;
};
void program_products(const Recurrence::Impl& r, const ProgramProducts& step) noexcept;
#endif

// H rounded up to whole vectors of the ISA in use.
Index padded(Index H);

struct Engine {
  static const Recurrence::Impl& impl(const Recurrence& layer) { return *layer.impl_; }
};

}  // namespace rekur::recurrent
