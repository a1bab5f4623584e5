// The large products of a backward pass: weight and input gradients of a chunk of time steps, from the gradients of the
// pre-activations that the sweep left in the tape.
//
// (Time step, row) pairs are listed in the order of the sweep, so a weight gradient's sum has one order, however the steps are cut
// into chunks and the tiles shared among threads.
#pragma once

#include "recurrent/plan.hpp"

namespace rekur::recurrent {

// Time steps [low, high).
struct Steps {
  Index low = 0, high = 0;
  bool empty() const { return low >= high; }
};

// Whether weight gradients are summed by groups of steps (steps_together): by AMX. Parts of a batch have groups of their own, so
// cells that go backward in parts have not.
inline bool sums_by_groups(const Recurrence::Impl& r) { return r.bf16() && (r.packed.group & kAmx) != 0 && !r.alone(); }

class LargeProducts {
 public:
  // most_inputs: chunks of steps whose input gradients are computed at once, at most.
  LargeProducts(const Backward& run, Index chunk, Index most_inputs, int threads, Scratch& scratch);

  // Notes where the operands of chunk i's pairs stand: of the weight gradients in the steps swept, of the input gradients in two
  // spans of steps. The lists of the last two chunks are kept.
  void list(Index i, Steps swept, const Steps (&inputs)[2]);

  // The chunk's products in pieces that may be computed in any order, by any thread: of the weights, of the input. `work`:
  // simd::Kernels::gemm_tn_work floats on a cache line's border, the thread's own.
  Index weight_tiles() const { return tile_count_; }
  Index input_tiles(Index i) const { return b_.dx ? column_parts_ * row_parts(lists_[i % 2]) : 0; }
  void weights(Index i, Index tile, float* work) const { weight_tile(lists_[i % 2], tiles_[tile], !b_.fresh || i > 0, work); }
  void input(Index i, Index tile) const { input_tile(lists_[i % 2], tile); }

 private:
  // A part of a weight gradient: the recurrent product that it belongs to (kKernel, kBias, kUnits: the kernel, the bias, the unit
  // weights), its slot in the record (of the unit weights: their row), rows [m0, m1) and columns [n0, n1) of the slot's block.
  static constexpr int kKernel = -1, kBias = -2, kUnits = -3;
  struct Tile {
    int product, slot;
    Index m0, m1, n0, n1;
  };

  struct Lists {
    Index pairs, dx_pairs;
    const float **records, **x, **dx_records;  // dx_records: by set of blocks that read the same x
    float** dx;
    // By state: the pairs with one before them, where its gradients ask for it; the others would add zeros.
    Index state_pairs[kMostStates];
    const float **state_records[kMostStates], **previous[kMostStates];
  };

  Index row_parts(const Lists& l) const { return (l.dx_pairs + pairs_per_tile_ - 1) / pairs_per_tile_; }

  template <class F>
  void cut(int threads, F&& tile) const;
  template <class F>
  void each_step(Steps steps, F&& f) const;
  template <class F>
  void each_pair(Steps steps, F&& pair) const;
  void list_pairs(Lists& lists, Steps swept) const;
  // Behind step t: where a group of steps ends, rows of zeros up to a multiple of 32 pairs.
  void close_group(Lists& lists, Index t) const;
  void list_step(Lists& lists, Index t) const;
  void list_inputs(Lists& lists, Index t) const;
  // Where in a record the gradients begin that the input gradient of a set of blocks is made of.
  Index gradient_of(int set) const { return r_.kept((r_.cell.x_first + set * r_.set_count()) * Hp_); }
  // State k of row b as it is at `all`, which is what Forward::beginning said; in bf16 where records are.
  const float* beginning(int k, Index b, const float* all) const;
  void narrow_beginnings(int k, Scratch& scratch);
  // Σ of columns [from, from + N) of records, or (with `other`) of them and of columns of other ones, multiplied.
  void column_sums(Index N, Index K, ConstRows records, Index from, ConstRows other, Index other_from, float* to, bool accumulate,
                   float* work) const;
  void weight_tile(const Lists& lists, const Tile& tile, bool accumulate, float* work) const;
  void unit_tile(const Lists& lists, const Tile& tile, bool accumulate, float* work) const;
  void input_tile(const Lists& lists, Index tile) const;
  void input_rows(Index rows, Index n0, Index n1, int set, const float* const* from, float* const* to) const;

  const Backward& b_;
  const Forward& f_;
  const Recurrence::Impl& r_;
  const Index Hp_;
  bool multiplied_[kMostStates] = {};  // gradients of weights ask for the state as it was before a step
  const Strided<float> y_;
  // By state of the records, where they are in bf16 and their gradients ask for it: the initial ones, and what resets bring.
  const float *narrow_initial_[kMostStates] = {}, *narrow_anew_[kMostStates] = {};
  Index group_;                   // of steps, where sums go by them; 0: they do not
  const float* zeros_ = nullptr;  // a row of x, of states and of records
  Lists lists_[2];
  Tile* tiles_;
  Index tile_count_ = 0, most_dx_pairs_ = 0;  // of an input's set
  Index columns_;                             // of a tile, at most
  Index column_parts_, pairs_per_tile_;       // of the input gradient
};

}  // namespace rekur::recurrent
