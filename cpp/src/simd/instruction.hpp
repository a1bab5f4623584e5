// What equations are made of once they are ready to run (equations/code.hpp): one operation over all elements of a block, after the
// other. Ordinary C++: the kernels that carry them out are in interpreter.hpp.
#pragma once

#include <cstdint>

#include "rekur/activation.hpp"

namespace rekur::simd {

// A block is some rows of n features. A value of it is a number a feature, or a number a row.
enum class Op : std::uint8_t {
  // elementwise: to[i] = f(from[0][i], …)
  copy,
  negative,
  absolute,
  exp,
  log,
  log1p,
  sqrt,
  sin,
  cos,
  erf,
  activate,  // f of the instruction
  add,
  subtract,
  multiply,
  divide,
  minimum,  // NaN where either is
  maximum,
  less,  // 1 or 0; 0 where either is NaN
  less_equal,
  equal,
  select,        // from[0] ≠ 0 ? from[1] : from[2]
  activate_sum,  // f of the instruction of from[0] + from[1]: only code has it, in place of two
  // from a number a row to a number a feature, and back
  expand,
  row_sum,
  row_mean,
  row_maximum,  // NaN where there is one
  row_count,    // how many features there are: only derivation asks for it, too
  slope,        // from[1] · f'(x), where from[0] = f(x): only derivation asks for it
  none          // no operation: inputs and constants
};

// Number j of row r stands at data[r · stride + j]; of values of a number a row, number r at data[r].
struct Operand {
  float* data = nullptr;
  std::int64_t stride = 0;
};

struct Instruction {
  Op op = Op::none;
  bool by_row = false;  // elementwise: over a number a row, not over a number a feature
  std::uint16_t to = 0, from[3] = {};
  Activation f = {};
};

}  // namespace rekur::simd
