// What every ISA provides to an LSTM whose sums stand there already: the equations of many positions of an image.
#pragma once

#include "rekur/detail/cells/cell_info.hpp"
#include "rekur/tensor.hpp"

namespace rekur::kernels {

struct GatesForward {
  Index rows, units;
  float* gates;           // [rows][4 · units] sums of i, f, g, o; afterwards the gates themselves
  const float* c_before;  // [rows][units]
  float* c;               // [rows][units], which may be c_before
  float* h;               // [rows][units]
  const cells::Activations* activations;
};

struct GatesBackward {
  Index rows, units;
  float* gates;  // the gates; afterwards the gradients of their sums
  const float *c_before, *c;
  const float* dh;
  float* dc;  // in: the gradient of c; out: of c_before
  const cells::Activations* activations;
};

struct GateKernels {
  void (*forward)(const GatesForward&);
#if REKUR_TRAINING
  void (*backward)(const GatesBackward&);
#endif
};

}  // namespace rekur::kernels
