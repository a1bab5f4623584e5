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

// Number j of row r stands at data[r · stride + j]; of values of a number a row, the interpreter takes number r from data[r].
// Compiled code goes through time, too: at step t all of it stands t · step further, and rows of one number are `stride` apart.
struct Operand {
  float* data = nullptr;
  std::int64_t stride = 0;
  std::int64_t step = 0;
};

struct Instruction {
  Op op = Op::none;
  bool by_row = false;  // elementwise: over a number a row, not over a number a feature
  std::uint16_t to = 0, from[3] = {};
  Activation f = {};
};

// Equations compiled as one function (equations/compiled.hpp): `steps` steps of rows of so many features; more than one step only
// where values go from one to the next. `constants`: those of the equations, then parameters of activations. `memory`: rows of
// features on lines' borders, as many as the equations' listing says.
using CompiledCode = void (*)(const Operand* inputs, const Operand* outputs, const float* constants, std::int64_t rows,
                              std::int64_t steps, std::int64_t features, float* memory);

// Changes with what a compiled function is called with or does.
inline constexpr int kCompiledAbi = 2;

// What a library of compiled equations has: functions for an instruction set, by the equations' signatures.
struct CompiledTable {
  int abi;
  const char* isa;
  int count;
  const char* const* signatures;
  const CompiledCode* functions;
};

}  // namespace rekur::simd
