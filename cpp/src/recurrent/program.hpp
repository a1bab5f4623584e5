// A cell as a program: equations of one step (equations/equations.hpp), told what each of their inputs is. From them come the
// description that the time loop goes by, the code of every phase forward and backward, and what the tape keeps.
#pragma once

#include <string>
#include <vector>

#include "equations/code.hpp"
#include "recurrent/description.hpp"

namespace rekur::recurrent {

inline constexpr int kMostStepInputs = 8, kMostPhases = 4, kMostBlocks = 32;

// What an input of the equations is.
struct Role {
  enum Kind : std::uint8_t { kernel, product, state, weight, step_input, sequence_mask, step_mask };
  Kind kind;
  // Of a block of the kernel or of the recurrent kernel, of a state, a weight a unit, an input of the step; of masks, which have no
  // gradient: of the block whose source they multiply, or of a state.
  int index;
};

// What a recurrent product multiplies: a state before the step or, where that is -1, a value of the equations.
struct Source {
  int state, value;
};

// As a spec says it.
struct CellProgram {
  std::string name;
  std::vector<std::string> states;
  int kernel_blocks = 0, unit_weights = 0, step_inputs = 0;
  std::vector<Source> recurrent;      // by block of the recurrent kernel
  std::vector<std::string> products;  // their names
  bool recurrent_bias = false;
  int forget_block = -1;           // of the kernel
  bool projects = false;           // the first state is a projection of what the equations make of it, of another width
  std::vector<Role> inputs;        // of the equations' inputs
  equations::Equations equations;  // outputs: the new states
};

// A step of some rows, or a phase of it. Blocks are Hp floats. Addresses in lists are those of a row's first unit.
struct ProgramForward {
  Index rows, H, Hp;
  Index begin, end;            // units to compute
  bool even;                   // the addresses in each list are evenly spaced
  const float* input;          // [rows][x_count·Hp] of the description
  const float* products;       // [rows][product slots in order·Hp]
  const float* const* before;  // by state: [rows][Hp]
  float* const* after;         // by state: [rows][Hp], other arrays
  const float* unit_weights;   // [unit weights][Hp]
  const ConstRows* step;       // by input of the step: [rows] of H floats, or of one
  const ConstRows* masks;      // kMostMasks of them: [rows] of a number of H floats
  Rows y;                      // [rows] of H floats that receive the first state; null: not wanted
  Rows tape;                   // [rows] records; null in inference with one phase
  bool training;
  const simd::Kernels* kernels;
  float* memory;  // the thread's
  // Of a program that goes through time: how many steps, each of these rows, and how far apart they stand in what is given above.
  // `before` and `after` are those of the first and of the last one.
  Index steps = 1, input_step = 0, y_step = 0, tape_step = 0;
  const Index *step_steps = nullptr, *mask_steps = nullptr;  // by input of the step, by mask
};

// The step after one of the same rows and units, where all that is not a state stands as far further as was given there.
struct ProgramAgain {
  Index rows;
  Index begin, end;
  const float* const* before;
  float* const* after;
  bool training;
  const simd::Kernels* kernels;
  float* memory;
  // Where a stream has these; else null.
  Index Hp = 0;
  const float* input = nullptr;
  Rows y = nullptr;
};

// … of one row of a stream, whole: all but these is where it was in the step before.
struct ProgramRow {
  const float* input;          // [x_count·Hp]
  const float* const* before;  // by state: [Hp]
  float* const* after;
  float* y;  // [H]
  const simd::Kernels* kernels;
  float* memory;
  Index H, Hp;
};

// The same of a backward pass: all but the states before the step.
struct ProgramBackwardAgain {
  Index rows, H, Hp;
  Index begin, end;
  Rows tape;
  const ConstRows* previous;
  const simd::Kernels* kernels;
  float* memory;
};

struct ProgramBackward {
  Index rows, H, Hp;
  Index begin, end;
  bool even;
  Rows tape;
  const ConstRows* previous;  // by state: [rows], before the step
  ConstRows h;                // [rows] the first state after it
  ConstRows dy;               // [rows] or null
  float* const* d_state;      // by state: [rows][Hp] in: after the step; out (phase 0): before it, without what products bring
  float* const* d_source;     // by product that multiplies a value: [rows][Hp] that value's gradient
  const float* unit_weights;
  Rows unit_sums;  // [rows] of the description's swept·Hp floats, which the gradients of weights a unit are added to; null: not
                   // wanted
  const ConstRows* step;
  const ConstRows* masks;
  const Rows* d_step;  // by input of the step: [rows], written in phase 0; null where not wanted
  const simd::Kernels* kernels;
  float* memory;
  // Of a program that goes through time, as above; `previous` and `h` move as y does, but for states in the record.
  Index steps = 1, y_step = 0, dy_step = 0, tape_step = 0;
  const Index *step_steps = nullptr, *d_step_steps = nullptr, *mask_steps = nullptr;
};

class Program {
 public:
  // Where an input or output of a code stands.
  enum class Place : std::uint8_t {
    input,    // a block of the input's product
    product,  // a block of the recurrent products, counted over all of them
    before,   // a state before the step: in the forward pass
    after,    // … and after it
    weight,
    step,  // an input of the step
    sequence_mask,
    step_mask,
    slot,    // of the record
    number,  // … of the whole row
    y,
    previous,  // a state before the step: in the backward pass
    h,         // the first state after it
    dy,
    d_state,
    d_source,  // by product
    d_step,
    unit_sum,
  };
  struct Stand {
    Place place;
    int index;
    bool operator==(const Stand&) const = default;
  };
  struct Part {
    equations::Code code;
    bool reduces = false;  // looks at rows as a whole
    std::vector<Stand> inputs, outputs;
    std::size_t phase = 0;
    Index first_operand = 0;                   // of its phases', which all have a place in memory
    bool gathers = false;                      // numbers of rows, which have to be put together for the interpreter
    std::vector<std::pair<int, Stand>> moves;  // operands that are elsewhere in a stream's next step, the input's products aside
  };

  // step_rows: by input of the step, whether it is a number a row. Throws Error where the program is none.
  Program(const CellProgram& cell, const std::vector<bool>& step_rows);

  const Description& description() const { return description_; }
  int product_blocks() const { return product_blocks_; }
  int step_inputs() const { return static_cast<int>(step_rows_.size()); }
  // Which of Forward::masks the equations read.
  const std::vector<bool>& masks() const { return masks_; }
  bool step_by_row(int input) const { return step_rows_[static_cast<std::size_t>(input)]; }
  // The equations look at rows as a whole: a row's units cannot be shared out.
  bool whole_rows() const { return whole_rows_; }

  // Without recurrent products no unit waits for another: steps may follow one another unit by unit.
  bool alone() const { return product_blocks_ == 0 && !whole_rows_ && !description_.projects; }
  // Whether that is compiled, so that a call may take many steps.
  bool goes_through_time(const simd::Kernels& kernels, bool training) const noexcept;

  // What a step computes without training, by phase: for those who write it out in another form.
  const std::vector<Part>& inference() const { return inference_; }

  // Floats that a thread needs for its part of at most so many rows and units.
  Index memory(Index rows, Index H) const;

  void forward(int phase, const ProgramForward& step) const noexcept;
  // … where `forward` did this phase of the step before with evenly spaced rows. False: nothing is done, it is for `forward`.
  bool forward_again(int phase, const ProgramAgain& step) const noexcept;
  // … of a program of one phase without inputs of a step.
  bool forward_row_again(const ProgramRow& step) const noexcept;
#if REKUR_TRAINING
  void backward(int phase, const ProgramBackward& step) const noexcept;
  bool backward_again(int phase, const ProgramBackwardAgain& step) const noexcept;
#endif

 private:
  friend class ProgramBuilder;

  // Of rows, that a part may read or make: those of inputs of the step, their gradients, and the record's.
  Index numbers() const { return 2 * step_inputs() + description_.numbers; }
  // Whether it is a number a row.
  bool by_row(const Stand& s) const {
    return s.place == Place::number || ((s.place == Place::step || s.place == Place::d_step) && step_by_row(s.index));
  }
  static Rows step_gradient(const ProgramForward&, int) { return nullptr; }
  static Rows step_gradient(const ProgramBackward& step, int input) { return step.d_step[input]; }
  // find(stand, listed, dense): where it is, by the functions for rows given by their addresses and for rows that follow one
  // another.
  template <class Step, class Find>
  void run(const Part& part, const Step& step, const Find& find) const noexcept;

  // Gives each phase's operands a place of their own.
  void place_operands();
  // What a step leaves of a phase, to run once more: its operands, those of a function or, where that is null, as the interpreter
  // has them, and the code's memory.
  struct Left {
    simd::CompiledCode function;
    simd::Operand* operands;  // null: it cannot run again
    float* code;
    const float* input;  // where the input's products stood
  };
  // What is in a thread's memory: what is left, by phase; numbers of the rows, by input of the step: these, then their gradients;
  // then those of the record; operands of functions; then the codes', a phase's behind that of the one before.
  struct Memory {
    Left* left;
    float* numbers;
    simd::Operand* operands;
    float* code;
  };
  Memory parts_of(float* memory, Index rows) const noexcept;
  // Of a part's code.
  float* code_of(const Part& part, float* code, Index H) const noexcept;

  // What the step before left; operands are null where it is for `run`.
  template <class Step>
  static Left left_by(const Part& part, const Step& step) noexcept;
  static void run_again(const Part& part, const Left& left, const simd::Kernels& kernels, Index rows, Index features) noexcept;
  // Units that do not exist get no gradient: the products read them.
  template <class Step>
  static void clear_beyond(const Part& part, const Step& step, Index steps, Index tape_step) noexcept;

  Description description_;
  std::vector<bool> step_rows_, masks_;
  bool whole_rows_ = false;
  int product_blocks_ = 0;
  Index operands_ = 0;                                 // of all phases of a pass
  std::vector<Part> inference_, training_, backward_;  // by phase
};

}  // namespace rekur::recurrent
