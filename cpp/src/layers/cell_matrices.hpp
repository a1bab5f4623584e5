// Recurrent products by matrices of the cell's own: [H, H] each, which several products may share; and recurrent kernels of heads,
// whose units see those of their head alone. The engine knows neither: it computes with one kernel [H, R·H] of all products, which
// is put together here, and whose gradients are taken apart.
#pragma once

#include <vector>

#include "layers/recurrent_settings.hpp"
#include "runtime/locks.hpp"

namespace rekur::layers {

// Whether the engine's kernel is another than the layer's parameter.
bool assembles_kernel(const RecurrentSettings& s);

// Floats of the engine's kernel, of the parameter recurrent_kernel and of the matrices.
Index whole_kernel_size(const RecurrentSettings& s);
Index own_kernel_size(const RecurrentSettings& s);
Index own_kernel_columns(const RecurrentSettings& s);
Index matrices_size(const RecurrentSettings& s);

void assemble_kernel(const RecurrentSettings& s, const float* own, const float* matrices, float* whole);
#if REKUR_TRAINING
// Writes the gradients of both from that of the engine's kernel.
void share_kernel_gradient(const RecurrentSettings& s, const float* whole, float* own, float* matrices);
#endif

// Put together anew whenever the weights have changed.
class AssembledKernel {
 public:
  const float* prepare(const RecurrentSettings& s, const float* own, const float* matrices, std::uint64_t version);
  const float* data() const { return values_.data(); }

 private:
  runtime::Mutex mutex_;
  std::vector<float> values_;
  std::uint64_t version_ = 0;
};

}  // namespace rekur::layers
