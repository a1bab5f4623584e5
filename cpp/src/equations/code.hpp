// Equations made ready to run: which instructions, in which order, and where their values stand.
//
// The rows of a call are walked in blocks of about kBlock numbers, so that all values of a block stay in the first-level cache.
// Equations that never look at a row as a whole see one long row, cut anywhere.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "equations/equations.hpp"
#include "equations/listing.hpp"
#if REKUR_COMPILED_CELLS
#include "equations/compiled.hpp"
#endif
#include "rekur/tensor.hpp"
#include "runtime/lines.hpp"
#include "simd/kernels.hpp"

namespace rekur::equations {

inline constexpr Index kBlock = 256;

// Where a result goes.
struct Wanted {
  int value;
  bool accumulate = false;  // added to what is there, not written over it
  int over = -1;            // the input whose place the output takes
};

class Code {
 public:
  Code() = default;
  // `wanted`: one an output. The graph's inputs are the code's. `carried`: outputs that are inputs of a next step.
  Code(const Graph& graph, std::span<const Wanted> wanted, std::span<const Carried> carried = {});

  // The features of a row as the code walks it: 1 where it does not look at rows, which then are features times as many.
  Index row_length(Index features) const { return by_row_ ? features : 1; }

  // Floats that a run over rows of at most so many features needs, whatever their number.
  Index memory(Index features) const;

  // `memory`: as above, on a cache line's border. An input that is null is zero; an output that is null is computed and thrown
  // away. Outputs take the place of inputs where that was said, and are apart from all others. Allocates nothing.
  void run(const simd::Kernels& kernels, const simd::Operand* inputs, const simd::Operand* outputs, Index rows, Index features,
           float* memory) const noexcept;
  // The rows [begin, end) of contiguous arrays of `features` numbers a row, or of one where it is a number a row.
  void run_rows(const simd::Kernels& kernels, const float* const* inputs, float* const* outputs, Index begin, Index end,
                Index features, float* memory) const noexcept;

  // These equations as one function, where they are compiled for the instruction set; else null.
  simd::CompiledCode compiled(const simd::Kernels& kernels) const noexcept {
#if REKUR_COMPILED_CELLS
    if (compiled_ && compiled_in_use.load(std::memory_order_relaxed))
      return compiled_->function[kernels.number].load(std::memory_order_acquire);
#endif
    static_cast<void>(kernels);
    return nullptr;
  }
  // Whether a function takes many steps at once.
  bool timed() const {
#if REKUR_COMPILED_CELLS
    return compiled_ && !compiled_->listing.carried().empty();
#else
    return false;
#endif
  }
  // Such a function, and operands as it wants them: rows of one number `stride` apart. Else as run().
  void run_compiled(simd::CompiledCode function, simd::Operand* inputs, simd::Operand* outputs, Index rows, Index steps,
                    Index features, float* memory) const noexcept;
  // The same once more, a step, with operands that the last run left, moved: none is absent any more.
  void run_again(simd::CompiledCode function, const simd::Operand* inputs, const simd::Operand* outputs, Index rows, Index features,
                 float* memory) const noexcept;
  // As many rows run() takes at once: it leaves the operands of inputs, then of outputs, in memory, where they may be moved before
  // run_again(). Those of what is absent have no step.
  bool at_once(Index rows, Index features) const { return rows <= block_rows(features); }
  simd::Operand* operands(Index rows, Index features, float* memory) const {
    return reinterpret_cast<simd::Operand*>(memory + aligned(rows * features) * registers());
  }
  void run_again(const simd::Kernels& kernels, Index rows, Index features, float* memory) const noexcept;

#if REKUR_COMPILED_CELLS
  // These equations as those who write them out see them, and the constants that they count.
  const Listing& listing() const { return compiled_->listing; }
  std::span<const float> listed_constants() const { return compiled_constants_; }
#endif

  std::size_t inputs() const { return inputs_; }
  std::size_t outputs() const { return outputs_; }
  std::size_t size() const { return code_.size(); }  // instructions
  bool input_by_row(std::size_t input) const { return input_by_row_[input]; }
  bool output_by_row(std::size_t output) const { return output_by_row_[output]; }
  bool by_row() const { return by_row_; }

 private:
  Index block_rows(Index features) const { return features >= kBlock ? 1 : kBlock / features; }
  std::size_t inputs_and_outputs() const { return inputs_ + outputs_; }
  // Arrays of a block's size: for zeros, for what nobody wants, for constants and for values.
  Index registers() const { return static_cast<Index>(constants_.size()) + wide_ + narrow_ + 2; }

  std::vector<simd::Instruction> code_;
  std::vector<bool> input_by_row_, output_by_row_;  // not a number a feature, but one a row
  std::size_t inputs_ = 0, outputs_ = 0;
  std::vector<float> constants_;
#if REKUR_COMPILED_CELLS
  std::shared_ptr<const Compiled> compiled_;
  std::vector<float> compiled_constants_;
#endif
  int wide_ = 0, narrow_ = 0;  // registers of a block of features, and of a block's rows
  bool by_row_ = false;
};

}  // namespace rekur::equations
