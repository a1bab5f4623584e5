#include "sequence/depthwise.hpp"

#include <algorithm>

#include "isa/dispatch.hpp"
#include "layers/elementwise.hpp"
#include "runtime/scratch.hpp"

namespace rekur::layers {
namespace {

constexpr Index kBlock = 32;  // rows whose taps' addresses are listed at a time

// Rows of an array, or a row of zeros where there is none.
struct TapRows {
  const ConvolutionSide& side;
  const float* array;
  Index channels;
  const float* zeros;

  const float* at(Index b, Index t) const { return t >= 0 && t < side.limit(b) ? array + side.row(b, t) * channels : zeros; }
};

// task(begin, end, addresses, zeros) over blocks of rows; addresses: room for those of `taps` rows a row, twice.
template <class Task>
void over_blocks(Index rows, Index channels, Index taps, const Task& task) {
  const Index count = (rows + kBlock - 1) / kBlock;
  const double work = static_cast<double>(rows) * static_cast<double>(channels) * (2.0 * static_cast<double>(taps) + kMoved);
  const int threads = runtime::threads_for(work, count);
  ScratchUse scratch;
  float* const zeros = scratch->take<float>(channels).data();
  std::fill_n(zeros, channels, 0.0f);
  const Index each = kBlock * (taps + 1);
  const float** const addresses = scratch->take<const float*>(threads * each).data();
  runtime::numbered_tasks(threads, count, [&](Index block, int thread) {
    task(block * kBlock, std::min(rows, (block + 1) * kBlock), addresses + thread * each, zeros);
  });
}

}  // namespace

void Depthwise::forward(Index B, const ConvolutionSide& large, const float* x, const ConvolutionSide& small, const float* kernel,
                        const float* bias, float* y) const {
  const auto& kernels = isa::table().windows;
  over_blocks(B * small.n, channels, axis.taps, [&](Index begin, Index end, const float** taps, const float* zeros) {
    const TapRows rows{large, x, channels, zeros};
    float* to[kBlock];
    const float** next = taps;
    for (Index row = begin; row < end; ++row) {
      const Index b = row / small.n, t = row % small.n * axis.stride - axis.pad_for(large.limit(b));
      for (Index k = 0; k < axis.taps; ++k) *next++ = rows.at(b, t + k * axis.dilation);
      to[row - begin] = y + row * channels;
    }
    kernels.depthwise(end - begin, channels, axis.taps, taps, kernel, bias, to, false);
  });
}

#if REKUR_TRAINING
void Depthwise::input_gradient(Index B, const ConvolutionSide& large, float* dx, const ConvolutionSide& small, const float* dy,
                               const float* kernel) const {
  const auto& kernels = isa::table().windows;
  over_blocks(B * large.n, channels, axis.taps, [&](Index begin, Index end, const float** taps, const float* zeros) {
    const TapRows rows{small, dy, channels, zeros};
    float* to[kBlock];
    const float** next = taps;
    Index count = 0;
    for (Index row = begin; row < end; ++row) {
      const Index b = row / large.n, s = row % large.n;
      if (s >= large.limit(b)) continue;
      const Index place = s + axis.pad_for(large.limit(b));
      for (Index k = 0; k < axis.taps; ++k) {
        const Index t = place - k * axis.dilation;
        *next++ = t % axis.stride == 0 ? rows.at(b, t / axis.stride) : zeros;
      }
      to[count++] = dx + row * channels;
    }
    kernels.depthwise(count, channels, axis.taps, taps, kernel, nullptr, to, true);
  });
}

void Depthwise::kernel_gradient(Index B, const ConvolutionSide& large, const float* x, const ConvolutionSide& small,
                                const float* dy, float* d_kernel) const {
  const auto& kernels = isa::kernels();
  over_columns(B * small.n * axis.taps, channels, 2, [&](Index begin, Index end) {
    const float *from[kBlock], *with[kBlock];
    for (Index k = 0; k < axis.taps; ++k) {
      for (Index first = 0; first < B * small.n; first += kBlock) {
        Index count = 0;
        for (Index row = first; row < std::min(B * small.n, first + kBlock); ++row) {
          const Index b = row / small.n, limit = large.limit(b);
          const Index t = row % small.n * axis.stride - axis.pad_for(limit) + k * axis.dilation;
          if (t < 0 || t >= limit) continue;
          from[count] = x + large.row(b, t) * channels;
          with[count++] = dy + row * channels;
        }
        kernels.column_dots(end - begin, count, from, begin, with, begin, d_kernel + k * channels + begin, true);
      }
    }
  });
}
#endif

}  // namespace rekur::layers
