// Puts a cell's program together value by value.
#pragma once

#include <cmath>
#include <string>
#include <utility>

#include "recurrent/program.hpp"

#if REKUR_EQUATIONS

namespace rekur::layers {

// Inputs come first, then operations on the values before them.
class CellWriter {
 public:
  explicit CellWriter(recurrent::CellProgram& program) : p_(program) {}

  int input(std::string name, recurrent::Role role) {
    p_.inputs.push_back(role);
    p_.equations.inputs.push_back(std::move(name));
    return append({});
  }

  int constant(float value) {
    equations::Node node;
    node.constant = true;
    node.value = value;
    return append(node);
  }

  int operation(equations::Op op, int a, int b = -1, int c = -1) { return append({.op = op, .from = {a, b, c}}); }
  int add(int a, int b) { return operation(equations::Op::add, a, b); }
  int subtract(int a, int b) { return operation(equations::Op::subtract, a, b); }
  int multiply(int a, int b) { return operation(equations::Op::multiply, a, b); }
  int activate(Activation f, int a) { return append({.op = equations::Op::activate, .from = {a, -1, -1}, .f = f}); }

  // ±limit at most; where limit is infinite, the value itself.
  int clip(int a, float limit) {
    if (std::isinf(limit)) return a;
    return operation(equations::Op::minimum, operation(equations::Op::maximum, a, constant(-limit)), constant(limit));
  }

  int append(const equations::Node& node) {
    p_.equations.nodes.push_back(node);
    return static_cast<int>(p_.equations.nodes.size()) - 1;
  }

 private:
  recurrent::CellProgram& p_;
};

}  // namespace rekur::layers

#endif
