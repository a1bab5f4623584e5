// Equations ready to be compiled: what the instructions of a code say, without registers. One value after the other, each an input,
// what an output held before, a constant or an operation on values before it.
//
// Rows are walked in passes: what looks at a row as a whole ends one, and what reads that begins the next. Outputs are written in
// the last one. Values that more than one pass reads are computed again, or kept in memory where that costs more.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "rekur/tensor.hpp"
#include "simd/instruction.hpp"

namespace rekur::equations {

// An output that is an input of the next step.
struct Carried {
  int output, input;
  bool operator==(const Carried&) const = default;
};

class Listing {
 public:
  enum class Kind : std::uint8_t { input, output, constant, operation };
  struct Value {
    Kind kind = Kind::operation;
    int number = 0;  // of the input, output or constant; of an activation with parameters, the constant that is the first of them
    simd::Op op = simd::Op::none;
    ActivationKind f = {};
    int from[3] = {-1, -1, -1};
    bool row = false;  // a number a row
    int pass = 0;      // the first in which it can be known
  };

  Listing() = default;
  // From a code's instructions, whose operands are inputs, outputs, constants and then registers. `constants`: parameters of
  // activations are added to them.
  Listing(std::span<const simd::Instruction> code, const std::vector<bool>& input_by_row, const std::vector<bool>& output_by_row,
          std::vector<float>& constants, std::span<const Carried> carried);

  const std::vector<Value>& values() const { return values_; }
  const Value& value(int v) const { return values_[static_cast<std::size_t>(v)]; }
  const std::vector<int>& outputs() const { return outputs_; }
  const std::vector<bool>& input_by_row() const { return input_by_row_; }
  const std::vector<bool>& output_by_row() const { return output_by_row_; }
  const std::vector<Carried>& carried() const { return carried_; }
  int passes() const { return passes_; }
  // Rows of memory for what passes keep, and the one of a value; -1: none.
  int kept() const { return kept_; }
  int kept_in(int v) const { return kept_in_[static_cast<std::size_t>(v)]; }
  // The values that a pass computes and does not find, in order.
  const std::vector<std::vector<int>>& computed() const { return computed_; }

  // All of it as text: equal signatures are compiled alike.
  std::string signature() const;

 private:
  void find_passes();
  bool costly(int v) const;

  std::vector<Value> values_;
  std::vector<int> outputs_, kept_in_;
  std::vector<bool> input_by_row_, output_by_row_;
  std::vector<Carried> carried_;
  std::vector<std::vector<int>> computed_;
  int passes_ = 1, kept_ = 0;
};

// Operations of a name in a signature and in C++: "multiply".
const char* name_of(simd::Op op);
const char* name_of(ActivationKind kind);
bool has_parameters(ActivationKind kind);

}  // namespace rekur::equations
