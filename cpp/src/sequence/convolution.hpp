// Convolution over one to three axes of positions, as products over windows of rows.
//   large  [images][positions][large channels]: what windows are read from in a convolution; what a transposed one writes
//   small  [images][positions][small channels]: a number a window
//   kernel [taps][large channels / groups][small channels], as Keras has it
// An image is whatever has one array of positions: a row of the batch, or a time step of a row. Small position t and tap k meet, by
// axis, at large position t · stride + k · dilation - pad. Steps past a row's length are zeros.
//
// A window whose taps stand side by side is read where it stands: the address of a row of the product is its first number, and
// rows overlap. Others (at the borders, of several axes, of dilated or grouped channels) are copied, a block of rows at a time.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "layers/layer.hpp"
#include "layers/packed.hpp"
#include "runtime/locks.hpp"
#include "simd/kernels.hpp"

namespace rekur::layers {

struct ConvolutionAxis {
  Index taps = 1, stride = 1, dilation = 1;
  Index pad = 0;      // positions before the first one
  bool same = false;  // pad follows from the large positions, as in Keras: half of what is missing

  Index span() const { return (taps - 1) * dilation + 1; }
  Index pad_for(Index large) const;
};

// A position by axis. A convolution of fewer axes has them last, and one position along the others.
inline constexpr std::size_t kSpace = 3;
using Position = std::array<Index, kSpace>;

// One side's arrays in a run.
struct ConvolutionSide {
  Index n = 1;  // positions along the last axis
  RowSteps steps = {};
  bool by_length = false;                // whether steps past a row's length are none
  std::array<Index, 2> around = {1, 1};  // positions along the axes before it

  Index row(Index b, Index i) const { return b * n + i; }
  Index limit(Index b) const { return by_length && !steps.mask ? steps.length(b) : n; }
  Index positions() const { return around[0] * around[1] * n; }
};

// Where images stand: one after the other, or by a list.
template <class T>
struct Images {
  T* first = nullptr;
  Index stride = 0;
  T* const* list = nullptr;

  T* operator[](Index i) const { return list != nullptr ? list[i] : first + i * stride; }
};

class Convolution {
 public:
  std::array<ConvolutionAxis, kSpace> axes;
  Index groups = 1, large_channels = 0, small_channels = 0;

  Index taps() const { return axes[0].taps * axes[1].taps * axes[2].taps; }
  Index kernel_size() const { return taps() * (large_channels / groups) * small_channels; }

  // Packs the kernel for gather; for scatter.
  void prepare_gather(const float* kernel, std::uint64_t version) const;
#if REKUR_INT8
  // … of eight bits, with its bias, which gather then is not given (null: 0).
  void prepare_gather_int8(const float* kernel, const float* bias, std::uint64_t version) const;
#endif
  void prepare_scatter(const float* kernel, std::uint64_t version) const;

  // small = bias + Σ_k large · kernel_k, or += without bias. The row stride of both is their channels.
  void gather(Index images, const ConvolutionSide& large, Images<const float> x, const ConvolutionSide& small, const float* bias,
              Images<float> y, bool accumulate) const;
#if REKUR_INT8
  // small = bias + Σ_k large · kernel_k of eight bits, as prepare_gather_int8 has packed both.
  void gather_int8(Index images, const ConvolutionSide& large, Images<const float> x, const ConvolutionSide& small,
                   Images<float> y) const;
#endif
  // The same, without groups, on this thread alone and by the kernels given: for streams. memory: gather_memory() floats.
  void gather_here(const simd::Kernels& kernels, Index images, const ConvolutionSide& large, Images<const float> x,
                   const ConvolutionSide& small, const float* bias, Images<float> y, bool accumulate, float* memory) const noexcept;
  Index gather_memory() const;
  // large = bias + Σ_k small · kernel_kᵀ, or += without bias.
  void scatter(Index images, const ConvolutionSide& small, Images<const float> y, const ConvolutionSide& large, const float* bias,
               Images<float> x, bool accumulate) const;
#if REKUR_TRAINING
  // d_kernel += Σ large windows ⊗ small
  void kernel_gradient(Index images, const ConvolutionSide& large, Images<const float> x, const ConvolutionSide& small,
                       Images<const float> dy, float* d_kernel) const;
#endif

 private:
  // The taps along an axis that meet the large positions of one remainder by the stride: the last of them, how many, and how far
  // apart. From one to the one before, the small position goes up by `step`. There are as many phases as remainders that some tap
  // meets; those of several axes are numbered together, the last axis's first.
  struct Phase {
    Index remainder, last, count, apart, step;
  };
  std::array<Phase, kSpace> phase(Index number) const;
  Index phases(std::size_t axis) const;
  Index phases() const { return phases(0) * phases(1) * phases(2); }

  // Matrices that are packed together, again when the weights or the ISA have changed.
  struct Packed {
    runtime::Mutex mutex;
    std::vector<std::unique_ptr<PackedMatrix>> parts;
    std::uint64_t version = 0, epoch = 0;
  };
  mutable Packed gathering_, scattering_, narrow_;
};

}  // namespace rekur::layers
