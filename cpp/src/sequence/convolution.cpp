#include "sequence/convolution.hpp"

#include <algorithm>
#include <array>
#include <numeric>

#include "isa/dispatch.hpp"
#include "layers/elementwise.hpp"
#include "runtime/parallel.hpp"
#include "runtime/scratch.hpp"

namespace rekur::layers {
namespace {

constexpr Index kRowBlock = 64;      // rows of a task of a product
constexpr Index kColumnBlock = 512;  // columns of a task, rounded to whole panels
#if REKUR_TRAINING
constexpr Index kSumBlock = 128;     // rows that a task of the kernel's gradient sums at a time
constexpr Index kLargestTile = 128;  // columns on both sides of such a task, at most
#endif

constexpr Index blocks(Index n, Index block) { return (n + block - 1) / block; }
constexpr Index lines(Index floats) { return blocks(floats, 16) * 16; }

// Where a window's numbers stand, tap after tap.
struct Window {
  const ConvolutionSide& side;
  const float* array;
  Index channels;      // of a position
  Index first, count;  // the channels that are read
  Index taps, step;

  Index size() const { return taps * count; }

  // Numbers [begin, end) of the window that begins at this position: where they stand, or copied to `copy`.
  const float* at(Index b, Index start, Index begin, Index end, float* copy) const {
    const Index limit = side.limit(b);
    const bool side_by_side = count == channels && (step == 1 || taps == 1);
    if (side_by_side && start >= 0 && start + taps <= limit) return array + side.row(b, start) * channels + begin;
    float* to = copy;
    for (Index tap = begin / count; tap * count < end; ++tap) {
      const Index from = std::max(begin - tap * count, Index{0}), until = std::min(end - tap * count, count);
      const Index i = start + tap * step;
      if (i >= 0 && i < limit)
        std::copy_n(array + side.row(b, i) * channels + first + from, until - from, to);
      else
        std::fill_n(to, until - from, 0.0f);
      to += until - from;
    }
    return copy;
  }
};

// A row of a product: the window it reads and the row that it writes, or sums with.
struct Place {
  Index b, start, row;
};

// c[row] = window · B for the places of rows 0 … rows - 1; place(row, Place&) says false where there is none.
template <class PlaceOf>
void window_product(const Window& window, Index rows, Index N, const float* packed, const float* bias, float* c, Index stride,
                    Index offset, bool accumulate, const PlaceOf& place) {
  const auto& k = isa::kernels();
  const Index K = window.size(), columns = blocks(kColumnBlock, k.panel) * k.panel, column_blocks = blocks(N, columns);
  const Index tasks = blocks(rows, kRowBlock) * column_blocks;
  const double work = 2.0 * static_cast<double>(rows) * static_cast<double>(N) * static_cast<double>(K + 8);
  const int threads = runtime::threads_for(work, tasks);
  ScratchUse scratch;
  const Index each = lines(kRowBlock * K);
  float* const copies = scratch->take<float>(threads * each).data();
  runtime::numbered_tasks(threads, tasks, [&](Index task, int thread) {
    const Index begin = task / column_blocks * kRowBlock, column = task % column_blocks * columns;
    std::array<const float*, kRowBlock> from;
    std::array<float*, kRowBlock> to;
    std::size_t count = 0;
    Place p;
    float* copy = copies + thread * each;
    for (Index row = begin; row < std::min(rows, begin + kRowBlock); ++row) {
      if (!place(row, p)) continue;
      from[count] = window.at(p.b, p.start, 0, K, copy);
      if (from[count] == copy) copy += K;
      to[count++] = c + p.row * stride;
    }
    k.gemm(static_cast<Index>(count), std::min(N - column, columns), K, from.data(), packed + column * K,
           bias != nullptr ? bias + column : nullptr, to.data(), offset + column, accumulate);
  });
}

}  // namespace

Index ConvolutionAxis::pad_for(Index large) const {
  if (!same) return pad;
  const Index outputs = (large + stride - 1) / stride;
  return std::max((outputs - 1) * stride + span() - large, Index{0}) / 2;
}

// Taps `apart` from each other have the same remainder; the first of them have one each.
Index Convolution::phases() const { return std::min(axis.taps, axis.stride / std::gcd(axis.dilation, axis.stride)); }

Convolution::Phase Convolution::phase(Index number) const {
  const Index common = std::gcd(axis.dilation, axis.stride), apart = axis.stride / common;
  const Index more = (axis.taps - 1 - number) / apart;
  return {number * axis.dilation % axis.stride, number + more * apart, more + 1, apart, axis.dilation / common};
}

void Convolution::prepare_gather(const float* kernel, std::uint64_t version) const {
  const std::lock_guard lock(gathering_.mutex);
  const Index K = axis.taps * (large_channels / groups), N = small_channels / groups;
  auto& parts = gathering_.parts;
  while (parts.size() < static_cast<std::size_t>(groups)) parts.push_back(std::make_unique<PackedMatrix>());
  for (Index g = 0; g < groups; ++g) parts[static_cast<std::size_t>(g)]->prepare(kernel + g * N, K, N, small_channels, 1, version);
}

void Convolution::prepare_scatter(const float* kernel, std::uint64_t version) const {
  const std::lock_guard lock(scattering_.mutex);
  const std::uint64_t epoch = isa::epoch();
  auto& parts = scattering_.parts;
  if (!parts.empty() && scattering_.version == version && scattering_.epoch == epoch) return;
  const Index N = large_channels / groups, inner = small_channels / groups;
  while (parts.size() < static_cast<std::size_t>(groups * phases())) parts.push_back(std::make_unique<PackedMatrix>());
  std::vector<float> matrix;
  std::size_t part = 0;
  for (Index g = 0; g < groups; ++g) {
    for (Index r = 0; r < phases(); ++r) {
      const Phase p = phase(r);
      matrix.clear();
      for (Index j = 0; j < p.count; ++j) {
        const Index tap = p.last - j * p.apart;
        for (Index n = 0; n < inner; ++n)
          for (Index c = 0; c < N; ++c) matrix.push_back(kernel[(tap * N + c) * small_channels + g * inner + n]);
      }
      parts[part++]->prepare(matrix.data(), p.count * inner, N, N, 1, version);
    }
  }
  scattering_.version = version;
  scattering_.epoch = epoch;
}

void Convolution::gather(Index B, const ConvolutionSide& large, const float* x, const ConvolutionSide& small, const float* bias,
                         float* y, bool accumulate) const {
  const Index N = small_channels / groups, C = large_channels / groups;
  for (Index g = 0; g < groups; ++g) {
    const Window window{large, x, large_channels, g * C, C, axis.taps, axis.dilation};
    window_product(window, B * small.n, N, gathering_.parts[static_cast<std::size_t>(g)]->data(),
                   bias != nullptr ? bias + g * N : nullptr, y, small_channels, g * N, accumulate, [&](Index row, Place& p) {
                     const Index t = row % small.n;
                     p.b = row / small.n;
                     p.row = row;
                     p.start = t * axis.stride - axis.pad_for(large.limit(p.b));
                     return t < small.limit(p.b);
                   });
  }
}

void Convolution::scatter(Index B, const ConvolutionSide& small, const float* y, const ConvolutionSide& large, const float* bias,
                          float* x, bool accumulate) const {
  const Index N = large_channels / groups, C = small_channels / groups;
  const Index slots = blocks(large.n, axis.stride);
  if (!accumulate && phases() < axis.stride) {  // positions that no tap meets
    over_rows(B * large.n, large_channels, 1, [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row) {
        float* const to = x + row * large_channels;
        if (bias != nullptr)
          std::copy_n(bias, large_channels, to);
        else
          std::fill_n(to, large_channels, 0.0f);
      }
    });
  }
  for (Index g = 0; g < groups; ++g) {
    for (Index r = 0; r < phases(); ++r) {
      const Phase of = phase(r);
      const Window window{small, y, small_channels, g * C, C, of.count, of.step};
      window_product(window, B * slots, N, scattering_.parts[static_cast<std::size_t>(g * phases() + r)]->data(),
                     bias != nullptr ? bias + g * N : nullptr, x, large_channels, g * N, accumulate, [&](Index row, Place& p) {
                       p.b = row / slots;
                       const Index limit = large.limit(p.b), pad = axis.pad_for(limit), stride = axis.stride;
                       // The position of this slot whose remainder, counted from the padding's beginning, is this phase's.
                       const Index s = ((of.remainder - pad) % stride + stride) % stride + row % slots * stride;
                       p.start = (s + pad - of.last * axis.dilation) / stride;
                       p.row = large.row(p.b, s);
                       return s < limit;
                     });
    }
  }
}

#if REKUR_TRAINING
void Convolution::kernel_gradient(Index B, const ConvolutionSide& large, const float* x, const ConvolutionSide& small,
                                  const float* dy, float* d_kernel) const {
  const auto& k = isa::kernels();
  const Index N = small_channels / groups, C = large_channels / groups, M = axis.taps * C, rows = B * small.n;
  const double work = 2.0 * static_cast<double>(rows) * static_cast<double>(M) * static_cast<double>(small_channels);
  const Index n_tiles = blocks(N, kLargestTile);
  // As many tiles as share the work evenly; what a tile sums, and in which order, does not depend on its borders.
  const Index threads_wanted = runtime::threads_for(work, runtime::kAllThreads);
  const Index per_group = blocks(blocks(M, kLargestTile) * groups, threads_wanted) * threads_wanted / groups;
  const Index m_tile = std::max(blocks(M, std::max(per_group, Index{1})), std::min(M, Index{16})), m_tiles = blocks(M, m_tile);
  const Index tasks = groups * m_tiles * n_tiles;
  const int threads = runtime::threads_for(work, tasks);
  ScratchUse scratch;
  const Index each = lines(k.gemm_tn_work) + lines(kSumBlock * m_tile);
  float* const memory = scratch->take<float>(threads * each).data();
  runtime::numbered_tasks(threads, tasks, [&](Index task, int thread) {
    const Index g = task / (m_tiles * n_tiles), m = task / n_tiles % m_tiles * m_tile, n = task % n_tiles * kLargestTile;
    const Index width = std::min(M - m, m_tile);
    const Window window{large, x, large_channels, g * C, C, axis.taps, axis.dilation};
    std::array<const float*, kSumBlock> from, to;
    float* const work_of = memory + thread * each;
    for (Index begin = 0; begin < rows; begin += kSumBlock) {
      float* copy = work_of + lines(k.gemm_tn_work);
      std::size_t count = 0;
      for (Index row = begin; row < std::min(rows, begin + kSumBlock); ++row) {
        const Index t = row % small.n, b = row / small.n;
        if (t >= small.limit(b)) continue;
        from[count] = window.at(b, t * axis.stride - axis.pad_for(large.limit(b)), m, m + width, copy);
        if (from[count] == copy) copy += width;
        to[count++] = dy + row * small_channels;
      }
      k.gemm_tn(width, std::min(N - n, kLargestTile), static_cast<Index>(count), from.data(), 0, to.data(), g * N + n,
                d_kernel + m * small_channels + g * N + n, small_channels, true, work_of);
    }
  });
}
#endif

}  // namespace rekur::layers
