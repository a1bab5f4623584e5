// Convolution over time, as products over windows of rows.
//   large  [B][n][large channels]: what windows are read from in a convolution; what a transposed one writes
//   small  [B][m][small channels]: a number a window
//   kernel [taps][large channels / groups][small channels], as Keras has it
// Small position t and tap k meet at large position t · stride + k · dilation - pad. Steps past a row's length are zeros.
//
// A window whose taps stand side by side is read where it stands: the address of a row of the product is its first number, and
// rows overlap. Others (at the borders, of dilated or grouped channels) are copied, a block of rows at a time.
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
  Index n = 1;
  RowSteps steps = {};
  bool by_length = false;  // whether steps past a row's length are none
  Index row(Index b, Index i) const { return b * n + i; }
  Index limit(Index b) const { return by_length && !steps.mask ? steps.length(b) : n; }
};

class Convolution {
 public:
  ConvolutionAxis axis;
  Index groups = 1, large_channels = 0, small_channels = 0;

  Index kernel_size() const { return axis.taps * (large_channels / groups) * small_channels; }

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
  // The taps that meet the large positions of one remainder by the stride: the last of them, how many, and how far apart. From one
  // to the one before, the small position goes up by `step`. There are as many phases as remainders that some tap meets.
  struct Phase {
    Index remainder, last, count, apart, step;
  };
  Phase phase(Index number) const;
  Index phases() const;

  // Matrices that are packed together, again when the weights or the ISA have changed.
  struct Packed {
    std::mutex mutex;
    std::vector<std::unique_ptr<PackedMatrix>> parts;
    std::uint64_t version = 0, epoch = 0;
  };
  mutable Packed gathering_, scattering_;
};

}  // namespace rekur::layers
