// Convolution over one axis or two, as products over windows of rows.
//   large  [B][n0][n1][large channels]: what windows are read from in a convolution; what a transposed one writes
//   small  [B][m0][m1][small channels]: a number a window
//   kernel [taps0][taps1][large channels / groups][small channels], as Keras has it
// Small position t and tap k meet at large position t · stride + k · dilation - pad. Axis 0 is the outer one; of a sequence it has
// one position, and axis 1 is time, whose steps past a row's length are zeros.
//
// A window whose taps stand side by side is read where it stands: the address of a row of the product is its first number, and
// rows overlap. Others (at the borders, of dilated or grouped channels, of two axes) are copied, a block of rows at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "layers/layer.hpp"
#include "layers/packed.hpp"

namespace rekur::layers {

struct ConvolutionAxis {
  Index taps = 1, stride = 1, dilation = 1;
  Index pad = 0;      // positions before the first one
  bool same = false;  // pad follows from the large positions, as in Keras: half of what is missing

  Index span() const { return (taps - 1) * dilation + 1; }
  Index pad_for(Index large) const;
};

// One side's array in a run.
struct ConvolutionSide {
  Index n0 = 1, n1 = 1;
  RowSteps steps = {};     // of axis 1
  bool by_length = false;  // whether steps past a row's length are none
  Index row(Index b, Index i0, Index i1) const { return (b * n0 + i0) * n1 + i1; }
  Index limit(Index b) const { return by_length && !steps.mask ? steps.length(b) : n1; }
};

class Convolution {
 public:
  ConvolutionAxis axes[2];
  Index groups = 1, large_channels = 0, small_channels = 0;

  Index taps() const { return axes[0].taps * axes[1].taps; }
  Index kernel_size() const { return taps() * (large_channels / groups) * small_channels; }

  // Packs the kernel for gather; for scatter.
  void prepare_gather(const float* kernel, std::uint64_t version) const;
  void prepare_scatter(const float* kernel, std::uint64_t version) const;

  // small = bias + Σ_k large · kernel_k, or += without bias. The row stride of both is their channels.
  void gather(Index B, const ConvolutionSide& large, const float* x, const ConvolutionSide& small, const float* bias, float* y,
              bool accumulate) const;
  // large = bias + Σ_k small · kernel_kᵀ, or += without bias.
  void scatter(Index B, const ConvolutionSide& small, const float* y, const ConvolutionSide& large, const float* bias, float* x,
               bool accumulate) const;
#if REKUR_TRAINING
  // d_kernel += Σ large windows ⊗ small
  void kernel_gradient(Index B, const ConvolutionSide& large, const float* x, const ConvolutionSide& small, const float* dy,
                       float* d_kernel) const;
#endif

 private:
  // The taps that meet the large positions of one remainder by the stride, along one axis: the last of them, and how many. From
  // one to the one before, the small position goes up by `step`.
  struct Phase {
    Index last = 0, count = 0, step = 1;
  };
  Phase phase(int axis, Index remainder) const;
  Index phases() const { return axes[0].stride * axes[1].stride; }

  // Matrices that are packed together, again when the weights or the ISA have changed.
  struct Packed {
    std::mutex mutex;
    std::vector<std::unique_ptr<PackedMatrix>> parts;
    std::uint64_t version = 0, epoch = 0;
  };
  mutable Packed gathering_, scattering_;
};

}  // namespace rekur::layers
