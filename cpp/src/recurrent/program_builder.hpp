// Makes a Program of a cell's equations: which product comes when (program_phases.cpp), what the tape keeps and where the backward
// pass leaves the gradients that the large products read (program_record.cpp), and the parts that carry a step out
// (program_parts.cpp).
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "io/text.hpp"
#include "recurrent/program.hpp"

namespace rekur::recurrent {

using equations::Equations;
using equations::Extent;
using equations::Graph;
using equations::Node;
using equations::Op;

inline std::size_t at(int index) { return static_cast<std::size_t>(index); }

class ProgramBuilder {
 public:
  ProgramBuilder(const CellProgram& cell, const std::vector<bool>& step_rows, Program& program)
      : cell_(cell), p_(program), d_(program.description_), full_(equations(cell), extents(cell, step_rows)) {
    p_.step_rows_ = step_rows;
    p_.masks_.assign(kMostMasks, false);
    for (const Role& role : cell.inputs) {
      if (role.kind == Role::sequence_mask) p_.masks_[0] = true;
      if (role.kind == Role::step_mask) p_.masks_[at(1 + role.index)] = true;
    }
  }

  void build();

 private:
  using Place = Program::Place;
  using Stand = Program::Stand;

  struct Given {
    int node;
    Stand stand;
  };

  [[noreturn]] void fail(const char* format, Parts parts) const;

  // The cell's equations with the values that are multiplied as further outputs.
  static Equations equations(const CellProgram& cell);

  static std::vector<Extent> extents(const CellProgram& cell, const std::vector<bool>& step_rows);

  // --- what there is ---

  void find_outputs();

  // Whose width is another can only be multiplied.
  void check_projection() const;

  int input_node(Role::Kind kind, int index) const;

  // The last phase whose recurrent products a value depends on; -1: on none.
  int phase_of(int node);

  int block_phase(int block);

  void find_phases();

  // Blocks with the same source, together as far as the kernels take them.
  void find_products();

  // --- gradients ---

  // The values that are multiplied, each once, and the first product that multiplies each.
  void derive();

  // --- the record ---

  // The input's blocks, then those that a product shares with it and its other ones; on their other side those of a second product.
  // The blocks of a product, and those of the input, stand side by side. Everything else has slots of its own.
  void lay_out();

  // The slot of the input's or a product's blocks where a gradient is left; -1: none.
  int gradient_slot(int node) const;

#if REKUR_TRAINING
  // The gradient of a weight a unit that no product reads is added up as the sweep goes: in the record it would take a slot.
  void add_up_weights();

  // What the backward pass finds without its being kept for that.
  bool is_free(int node) const;

  bool recomputable(int node) const;

  void save(int node) { saved_.emplace(node, -1); }

  // What must be there for a value that the backward pass reads.
  void ensure(int node, bool only_costly);

  // What the gradients read of the forward pass: what is costly to compute first, then what cannot be computed from that.
  void choose_saved();

  // A value that is kept takes the place of a gradient that is left once nobody reads the value any more. Parts run from the last
  // phase to the first.
  void place_saved();
#endif

  void describe();

  // --- the parts ---

  struct Wanted {
    int node;
    Stand stand;
  };

  // Equations for what is wanted, from what is given.
  Program::Part make(const std::vector<Given>& given, const std::vector<Wanted>& wanted) const;

  // States that a step hands to the next one, where no product stands between the two.
  std::vector<equations::Carried> carried(const Program::Part& part) const;

  std::vector<Given> inputs_of(bool backward) const;

  void forward_parts();

  // What the backward part of a phase leaves. The same gradient may be wanted in several slots.
  std::vector<Wanted> gradients_of(int phase) const;

  void backward_parts();

  static constexpr int kNotFound = -1, kUnderWay = -2;

  struct Group {
    int phase, state, source;  // source: a value, or -1
    bool continues;
    std::vector<int> blocks;  // of the recurrent kernel
    bool projects = false;    // its weights are the projection instead
  };

  const CellProgram& cell_;
  Program& p_;
  Description& d_;
  Graph full_;
  int phases_ = 1;  // that have equations
  int forward_nodes_ = 0, slots_ = 0, gradient_slots_ = 0, projection_slot_ = -1;
  std::vector<int> next_, sources_;  // values: of the new states; by block of the recurrent kernel, what it multiplies, or -1
  std::map<int, int> phase_of_;
  std::vector<int> block_phase_, position_;
  std::vector<Group> groups_;
  std::vector<Given> arrived_;
  std::vector<int> d_kernel_, d_product_, d_state_, d_weight_, d_step_;  // gradients, as values
  std::vector<int> kernel_slot_, product_slot_, weight_slot_;
  struct UnitSum {
    int value = -1, place = -1;  // the sum so far and a step's gradient; which of the record's sums. -1: no gradient; it has a slot
  };
  std::vector<UnitSum> unit_sum_;    // by weight
  std::map<int, int> kept_, saved_;  // slots: of values that are multiplied, and of those that the backward pass reads
  std::map<int, int> numbers_;       // the same of numbers a row: their places behind the slots
};

}  // namespace rekur::recurrent
