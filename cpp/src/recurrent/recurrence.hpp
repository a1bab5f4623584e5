// What stands behind a Recurrence: the packed weights. Private to recurrent/.
#pragma once

#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>

#include "recurrent/kernels.hpp"
#include "recurrent/recurrent.hpp"

namespace rekur::recurrent {

// Uninitialised floats on a cache line's border.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(Index size) { reserve(size); }

  // At least `size` floats; what was there before is lost when it has to grow.
  float* reserve(Index size) {
    if (size > size_) {
      data_.reset();
      size_ = 0;
      const std::size_t bytes = (static_cast<std::size_t>(size) * sizeof(float) + 63) / 64 * 64;
      data_.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
      if (!data_) throw std::bad_alloc();
      size_ = size;
    }
    return data_.get();
  }
  float* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
  Index size_ = 0;
};

// Weights in the order the kernels read them.
struct Packed {
  Buffer input;              // W_x as gemm panels: K = I, N = x_count·Hp
  Buffer input_bias;         // [x_count·Hp]
  Buffer recurrent[2];       // by phase: [Hp/width][H][count][width]
  Buffer recurrent_bias[2];  // [count·Hp], only for cells with a recurrent bias
  Buffer peephole;           // [peepholes][Hp], only for cells with peepholes
  // For the backward pass, each made when it is first needed:
  Buffer input_transposed;         // gemm panels: K = x_count·Hp, N = I
  Buffer recurrent_transposed[2];  // gemm panels: K = count·Hp, N = H

  void fill_forward(const Recurrence::Impl& r, const Weights<const float>& weights);
  void fill_recurrent_transposed(const Recurrence::Impl& r, const Weights<const float>& weights);
  void fill_input_transposed(const Recurrence::Impl& r, const Weights<const float>& weights);
};

struct Recurrence::Impl {
  cells::CellInfo cell;
  cells::Activations activations;
  int cell_index;
  Functions functions;
  Index I, H;
  bool bias;

  mutable std::mutex mutex;
  mutable Packed packed;
  mutable std::uint64_t version = 0, epoch = 0;
  mutable bool ready = false, recurrent_transposed_ready = false, input_transposed_ready = false;

  // Packs what a backward pass reads of the weights that the forward pass was prepared with: only what it needs, only once.
  void prepare_backward(const Weights<const float>& weights, bool through_h, bool to_input) const;

  Index record(Index Hp) const { return cell.slots * Hp; }
  const CellKernels& kernels() const;
};

// H rounded up to whole vectors of the ISA in use.
Index padded(Index H);

struct Engine {
  static const Recurrence::Impl& impl(const Recurrence& layer) { return *layer.impl_; }
};

}  // namespace rekur::recurrent
