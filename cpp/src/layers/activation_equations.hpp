// An activation of the user's own: y = f(x) over a row of features, as equations; dx = dy ∂f/∂x, derived.
//
//   {"name": "squared_relu", "equations": {"inputs": ["x"], "nodes": [["relu", 0], ["multiply", 1, 1]], "outputs": [2]}}
//
// Its slope is computed from x, where that of an activation of the engine's is from y.
#pragma once

#include "equations/code.hpp"

namespace rekur::json {
class Reader;
}

namespace rekur::layers {

class ActivationEquations {
 public:
  // Of the activation's object, "equations" in it; throws Error for what is not one row to one row of as many features.
  explicit ActivationEquations(json::Reader& activation);

  // Over rows of n features; y may be x, and dx may be dy.
  void forward(const float* x, float* y, Index rows, Index n) const;
  void backward(const float* x, const float* dy, float* dx, Index rows, Index n) const;

  // forward on this thread alone, by the kernels given: for streams. `memory`: so many floats, on a cache line's border.
  Index memory(Index n) const { return forward_.memory(forward_.row_length(n)); }
  void step(const simd::Kernels& kernels, const float* x, float* y, Index rows, Index n, float* memory) const noexcept {
    forward_.run_rows(kernels, &x, &y, 0, rows, n, memory);
  }

 private:
  // What is computed last is the one result, so nothing is read of an element after it was written.
  equations::Code forward_, backward_;
};

}  // namespace rekur::layers
