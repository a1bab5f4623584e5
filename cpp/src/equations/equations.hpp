// Equations as data: what a user wrote as a function of a row, traced once. A list of values, each an input, a constant or an
// operation on values before it; nothing in it is ever evaluated but by the closed list of operations.
// layers/equations_spec.hpp has the form in which a spec writes them.
#pragma once

#include <array>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "rekur/tensor.hpp"
#include "simd/instruction.hpp"

namespace rekur::equations {

using simd::Op;

inline constexpr std::size_t kMostNodes = 512, kMostInputs = 32, kMostOutputs = 8;

// What a value is in one row: a number for each feature, or one for the whole row. Constants are one for everything.
enum class Extent : std::uint8_t { constant, row, feature };

struct Node {
  Op op = Op::none;  // none: an input or a constant
  bool constant = false;
  std::array<int, 3> from = {-1, -1, -1};
  float value = 0;    // of a constant
  Activation f = {};  // of activate and slope

  bool operator==(const Node& other) const;
};

// An operation that a spec may name, activations apart.
struct Operation {
  const char* name;
  Op op;
  int operands;
};
std::span<const Operation> operations();  // sorted by name

// How many values an operation takes: 0 to 3.
int operands_of(Op op);
bool reduces(Op op);  // a row to one number
bool costly(Op op);   // costs more to compute again than to keep

struct Equations {
  std::vector<std::string> inputs;
  std::vector<Node> nodes;  // the inputs first
  std::vector<int> outputs;
};

// Values with known extents, to which more can be added. The same value is never there twice.
class Graph {
 public:
  // `inputs`: their extents, one of feature or row each.
  Graph(const Equations& equations, std::span<const Extent> inputs);

  const std::vector<Node>& nodes() const { return nodes_; }
  Extent extent(int value) const { return extents_[static_cast<std::size_t>(value)]; }
  std::size_t inputs() const { return inputs_; }
  const std::vector<int>& outputs() const { return outputs_; }
  void set_outputs(std::vector<int> values) { outputs_ = std::move(values); }

  // An operation on values; a number a row is expanded where it meets numbers a feature.
  int add(Op op, int a, int b = -1, int c = -1, Activation f = {});
  int constant(float value);
  // Another input, after all others there are; the gradients of derive() are those of the first.
  int input(Extent extent);
  // `value` as one number a feature.
  int expanded(int value);

#if REKUR_TRAINING
  // The gradients of Σ outputs ⊙ arriving with respect to the inputs that the equations had, as values of this graph, -1 where
  // an output does not depend on the input. `arriving`: values, one an output, of its extent.
  //
  // Where a function has a corner the gradient is what torch and JAX give: half each where minimum and maximum are equal,
  // split evenly between equal largest numbers of a row, 0 for |x| at 0.
  std::vector<int> derive(std::span<const int> arriving);
#endif

 private:
  int append(Node node, Extent extent);

  std::size_t inputs_ = 0;
  std::vector<Node> nodes_;
  std::vector<Extent> extents_;
  std::vector<int> outputs_;
};

}  // namespace rekur::equations
