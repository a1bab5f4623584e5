#include "sequence/convolution.hpp"

#include <algorithm>
#include <numeric>

#include "isa/dispatch.hpp"
#include "layers/elementwise.hpp"
#include "layers/product_blocks.hpp"
#include "runtime/lines.hpp"
#include "runtime/locks.hpp"
#include "runtime/parallel.hpp"
#include "runtime/scratch.hpp"
#include "simd/pack.hpp"

namespace rekur::layers {
namespace {

#if REKUR_TRAINING
constexpr Index kSumBlock = 128;     // rows that a task of the kernel's gradient sums at a time
constexpr Index kLargestTile = 128;  // columns on both sides of such a task, at most
#endif

// The positions of images in order, from a row of all of them on.
class Cursor {
 public:
  Index image;
  Position at;

  Cursor(const Position& sizes, Index row) : sizes_(sizes) {
    for (std::size_t a = kSpace; a-- > 0;) {
      at[a] = sizes[a] == 1 ? 0 : row % sizes[a];
      row = sizes[a] == 1 ? row : row / sizes[a];
    }
    image = row;
  }

  void advance() {
    for (std::size_t a = kSpace; a-- > 0;) {
      if (++at[a] < sizes_[a]) return;
      at[a] = 0;
    }
    ++image;
  }

 private:
  const Position sizes_;
};

Position sizes_of(const ConvolutionSide& side) { return {side.around[0], side.around[1], side.n}; }
Index product_of(const Position& p) { return p[0] * p[1] * p[2]; }

// Where a window's numbers stand, tap after tap.
struct Window {
  const ConvolutionSide& side;
  Images<const float> images;
  Index channels;      // of a position
  Index first, count;  // the channels that are read
  Position taps, step;

  Index size() const { return product_of(taps) * count; }

  // Numbers [begin, end) of the window that begins at this position: where they stand, or copied to `copy`.
  const float* at(Index image, const Position& start, Index begin, Index end, float* copy) const {
    const float* const array = images[image];
    const Index limit = side.limit(image), line = taps[2] * count;
    const bool side_by_side = count == channels && (step[2] == 1 || taps[2] == 1);
    if (side_by_side && taps[0] * taps[1] == 1 && start[2] >= 0 && start[2] + taps[2] <= limit && inside(start[0], start[1]))
      return array + place(start[0], start[1], start[2]) + begin;
    float* to = copy;
    for (Index outer = begin / line; outer * line < end; ++outer) {
      const Index from = std::max(begin - outer * line, Index{0}), until = std::min(end - outer * line, line);
      const Index i = start[0] + outer / taps[1] * step[0], j = start[1] + outer % taps[1] * step[1];
      if (!inside(i, j))
        std::fill_n(to, until - from, 0.0f);
      else if (side_by_side)
        copy_line(array + place(i, j, 0), start[2], limit, from, until, to);
      else
        copy_taps(array + place(i, j, 0) + first, start[2], limit, from, until, to);
      to += until - from;
    }
    return copy;
  }

 private:
  bool inside(Index i, Index j) const { return i >= 0 && i < side.around[0] && j >= 0 && j < side.around[1]; }
  Index place(Index i, Index j, Index k) const { return ((i * side.around[1] + j) * side.n + k) * channels; }

  // Numbers [from, until) of the taps along the last axis, which stand side by side.
  void copy_line(const float* array, Index start, Index limit, Index from, Index until, float* to) const {
    const Index low = std::clamp(-start * count, from, until), high = std::clamp((limit - start) * count, low, until);
    std::fill_n(to, low - from, 0.0f);
    std::copy_n(array + start * count + low, high - low, to + (low - from));
    std::fill_n(to + (high - from), until - high, 0.0f);
  }

  // The same, a tap at a time.
  void copy_taps(const float* array, Index start, Index limit, Index from, Index until, float* to) const {
    for (Index tap = from / count; tap * count < until; ++tap) {
      const Index low = std::max(from - tap * count, Index{0}), high = std::min(until - tap * count, count);
      const Index i = start + tap * step[2];
      if (i >= 0 && i < limit)
        std::copy_n(array + i * channels + low, high - low, to);
      else
        std::fill_n(to, high - low, 0.0f);
      to += high - low;
    }
  }
};

// c[row] = bias + window · B, or +=, for the rows of a grid of positions.
struct WindowProduct {
  const Window& window;
  Position grid;
  Index N;
  const float* packed;
  const float* bias;
  Images<float> c;
  Index stride, offset;
  bool accumulate;
  const PackedMatrix* narrow = nullptr;  // of eight bits: instead of packed and bias
};

// Rows [begin, end), at most kRowBlock, of the columns [column, column + columns). place(image, position, start, row): the window
// of a position and the row of the image that it gives, or false where there is none. copy: kRowBlock · K floats.
template <class PlaceOf>
void window_block(const simd::Kernels& k, const WindowProduct& p, Index begin, Index end, Index column, Index columns, float* copy,
                  [[maybe_unused]] float* numbers, const PlaceOf& place) {
  const Index K = p.window.size();
  std::array<const float*, kRowBlock> from{};
  std::array<float*, kRowBlock> to;
  std::size_t count = 0;
  Cursor cursor(p.grid, begin);
  for (Index row = begin; row < end; ++row, cursor.advance()) {
    Position start;
    Index to_row;
    if (!place(cursor.image, cursor.at, start, to_row)) continue;
    from[count] = p.window.at(cursor.image, start, 0, K, copy);
    if (from[count] == copy) copy += K;
    to[count++] = p.c[cursor.image] + to_row * p.stride;
  }
#if REKUR_INT8
  if (p.narrow != nullptr) {
    const Index size = simd::int8_row_floats(K), group = p.narrow->group();
    k.narrow(group, static_cast<Index>(count), K, from.data(), 0, numbers, size);
    for (std::size_t i = 0; i < count; ++i) from[i] = numbers + static_cast<Index>(i) * size;
    return k.gemm_int8(group, static_cast<Index>(count), columns, K, from.data(), p.narrow->columns(column), to.data(),
                       p.offset + column);
  }
#endif
  k.gemm(static_cast<Index>(count), columns, K, from.data(), p.packed + column * K, p.bias != nullptr ? p.bias + column : nullptr,
         to.data(), p.offset + column, p.accumulate);
}

template <class PlaceOf>
void window_product(const WindowProduct& p, Index images, const PlaceOf& place) {
  const auto& k = isa::kernels();
  const Index K = p.window.size(), rows = images * product_of(p.grid), N = p.N;
  const Index columns = block_count(kColumnBlock, k.panel) * k.panel, column_blocks = block_count(N, columns);
  const Index tasks = block_count(rows, kRowBlock) * column_blocks;
  const double work = 2.0 * static_cast<double>(rows) * static_cast<double>(N) * static_cast<double>(K + 8);
  const int threads = runtime::threads_for(work, tasks);
  ScratchUse scratch;
  const Index each = aligned(kRowBlock * K), narrow = p.narrow != nullptr ? kRowBlock * simd::int8_row_floats(K) : 0;
  float* const copies = scratch->take<float>(threads * (each + narrow)).data();
  runtime::numbered_tasks(threads, tasks, [&](Index task, int thread) {
    const Index begin = task / column_blocks * kRowBlock, column = task % column_blocks * columns;
    window_block(k, p, begin, std::min(rows, begin + kRowBlock), column, std::min(N - column, columns),
                 copies + thread * (each + narrow), copies + thread * (each + narrow) + each, place);
  });
}

}  // namespace

Index ConvolutionAxis::pad_for(Index large) const {
  if (!same) return pad;
  const Index outputs = (large + stride - 1) / stride;
  return std::max((outputs - 1) * stride + span() - large, Index{0}) / 2;
}

// Taps `apart` from each other have the same remainder; the first of them have one each.
Index Convolution::phases(std::size_t axis) const {
  return std::min(axes[axis].taps, axes[axis].stride / std::gcd(axes[axis].dilation, axes[axis].stride));
}

std::array<Convolution::Phase, kSpace> Convolution::phase(Index number) const {
  std::array<Phase, kSpace> found;
  for (std::size_t a = kSpace; a-- > 0;) {
    const ConvolutionAxis& axis = axes[a];
    const Index r = number % phases(a), common = std::gcd(axis.dilation, axis.stride), apart = axis.stride / common;
    const Index more = (axis.taps - 1 - r) / apart;
    found[a] = {r * axis.dilation % axis.stride, r + more * apart, more + 1, apart, axis.dilation / common};
    number /= phases(a);
  }
  return found;
}

void Convolution::prepare_gather(const float* kernel, std::uint64_t version) const {
  const runtime::Guard lock(gathering_.mutex);
  const Index K = taps() * (large_channels / groups), N = small_channels / groups;
  auto& parts = gathering_.parts;
  while (parts.size() < static_cast<std::size_t>(groups)) parts.push_back(std::make_unique<PackedMatrix>());
  for (Index g = 0; g < groups; ++g) parts[static_cast<std::size_t>(g)]->prepare(kernel + g * N, K, N, small_channels, 1, version);
}

#if REKUR_INT8
void Convolution::prepare_gather_int8(const float* kernel, const float* bias, std::uint64_t version) const {
  const runtime::Guard lock(narrow_.mutex);
  const Index K = taps() * (large_channels / groups), N = small_channels / groups;
  auto& parts = narrow_.parts;
  while (parts.size() < static_cast<std::size_t>(groups)) parts.push_back(std::make_unique<PackedMatrix>());
  for (Index g = 0; g < groups; ++g)
    parts[static_cast<std::size_t>(g)]->prepare_int8(kernel + g * N, K, N, small_channels, bias ? bias + g * N : nullptr, version);
}
#endif

void Convolution::prepare_scatter(const float* kernel, std::uint64_t version) const {
  const runtime::Guard lock(scattering_.mutex);
  const std::uint64_t epoch = isa::epoch();
  auto& parts = scattering_.parts;
  if (!parts.empty() && scattering_.version == version && scattering_.epoch == epoch) return;
  const Index N = large_channels / groups, inner = small_channels / groups;
  while (parts.size() < static_cast<std::size_t>(groups * phases())) parts.push_back(std::make_unique<PackedMatrix>());
  std::vector<float> matrix;
  std::size_t part = 0;
  for (Index g = 0; g < groups; ++g) {
    for (Index r = 0; r < phases(); ++r) {
      const auto p = phase(r);
      matrix.clear();
      for (Cursor j({p[0].count, p[1].count, p[2].count}, 0); j.image == 0; j.advance()) {
        Index tap = 0;
        for (std::size_t a = 0; a < kSpace; ++a) tap = tap * axes[a].taps + p[a].last - j.at[a] * p[a].apart;
        for (Index n = 0; n < inner; ++n)
          for (Index c = 0; c < N; ++c) matrix.push_back(kernel[(tap * N + c) * small_channels + g * inner + n]);
      }
      parts[part++]->prepare(matrix.data(), static_cast<Index>(matrix.size()) / N, N, N, 1, version);
    }
  }
  scattering_.version = version;
  scattering_.epoch = epoch;
}

namespace {

// Where the window of a small position begins.
struct GatherPlace {
  const std::array<ConvolutionAxis, kSpace>& axes;
  const ConvolutionSide &large, &small;
  const Position sizes = sizes_of(large), grid = sizes_of(small);

  bool operator()(Index image, const Position& at, Position& start, Index& row) const {
    const Index limit = large.limit(image);
    for (std::size_t a = 0; a < kSpace; ++a) start[a] = at[a] * axes[a].stride - axes[a].pad_for(a + 1 < kSpace ? sizes[a] : limit);
    row = (at[0] * grid[1] + at[1]) * grid[2] + at[2];
    return at[2] < small.limit(image);
  }
};

Window gather_window(const Convolution& c, const ConvolutionSide& large, Images<const float> x, Index group) {
  const Index C = c.large_channels / c.groups;
  return {large,
          x,
          c.large_channels,
          group * C,
          C,
          {c.axes[0].taps, c.axes[1].taps, c.axes[2].taps},
          {c.axes[0].dilation, c.axes[1].dilation, c.axes[2].dilation}};
}

}  // namespace

void Convolution::gather(Index images, const ConvolutionSide& large, Images<const float> x, const ConvolutionSide& small,
                         const float* bias, Images<float> y, bool accumulate) const {
  const Index N = small_channels / groups;
  const GatherPlace place{axes, large, small};
  for (Index g = 0; g < groups; ++g) {
    const Window window = gather_window(*this, large, x, g);
    const float* const packed = gathering_.parts[static_cast<std::size_t>(g)]->data();
    window_product({window, place.grid, N, packed, bias ? bias + g * N : nullptr, y, small_channels, g * N, accumulate}, images,
                   place);
  }
}

#if REKUR_INT8
void Convolution::gather_int8(Index images, const ConvolutionSide& large, Images<const float> x, const ConvolutionSide& small,
                              Images<float> y) const {
  const Index N = small_channels / groups;
  const GatherPlace place{axes, large, small};
  for (Index g = 0; g < groups; ++g) {
    const Window window = gather_window(*this, large, x, g);
    window_product({window, place.grid, N, nullptr, nullptr, y, small_channels, g * N, false,
                    narrow_.parts[static_cast<std::size_t>(g)].get()},
                   images, place);
  }
}
#endif

Index Convolution::gather_memory() const { return element_count({kRowBlock, taps(), large_channels}); }

void Convolution::gather_here(const simd::Kernels& kernels, Index images, const ConvolutionSide& large, Images<const float> x,
                              const ConvolutionSide& small, const float* bias, Images<float> y, bool accumulate,
                              float* memory) const noexcept {
  const GatherPlace place{axes, large, small};
  const Window window = gather_window(*this, large, x, 0);
  const Index N = small_channels, rows = images * small.positions();
  for (Index begin = 0; begin < rows; begin += kRowBlock)
    window_block(kernels, {window, place.grid, N, gathering_.parts[0]->data(), bias, y, N, 0, accumulate}, begin,
                 std::min(rows, begin + kRowBlock), 0, N, memory, nullptr, place);
}

void Convolution::scatter(Index images, const ConvolutionSide& small, Images<const float> y, const ConvolutionSide& large,
                          const float* bias, Images<float> x, bool accumulate) const {
  const Index N = large_channels / groups, C = small_channels / groups;
  const Position sizes = sizes_of(large);
  bool all_met = true;
  for (std::size_t a = 0; a < kSpace; ++a) all_met = all_met && phases(a) == axes[a].stride;
  if (!accumulate && !all_met) {  // positions that no tap meets
    over_rows(images * large.positions(), large_channels, 1, [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row) {
        float* const to = x[row / large.positions()] + row % large.positions() * large_channels;
        if (bias != nullptr)
          std::copy_n(bias, large_channels, to);
        else
          std::fill_n(to, large_channels, 0.0f);
      }
    });
  }
  Position grid;
  for (std::size_t a = 0; a < kSpace; ++a) grid[a] = block_count(sizes[a], axes[a].stride);
  for (Index g = 0; g < groups; ++g) {
    for (Index r = 0; r < phases(); ++r) {
      const auto of = phase(r);
      const Window window{
          small, y, small_channels, g * C, C, {of[0].count, of[1].count, of[2].count}, {of[0].step, of[1].step, of[2].step}};
      const float* const packed = scattering_.parts[static_cast<std::size_t>(g * phases() + r)]->data();
      const auto place = [&](Index image, const Position& slot, Position& start, Index& row) {
        row = 0;
        for (std::size_t a = 0; a < kSpace; ++a) {
          const Index limit = a + 1 < kSpace ? sizes[a] : large.limit(image), pad = axes[a].pad_for(limit), stride = axes[a].stride;
          // The position of this slot whose remainder, counted from the padding's beginning, is this phase's.
          const Index s = ((of[a].remainder - pad) % stride + stride) % stride + slot[a] * stride;
          if (s >= limit) return false;
          start[a] = (s + pad - of[a].last * axes[a].dilation) / stride;
          row = row * sizes[a] + s;
        }
        return true;
      };
      window_product({window, grid, N, packed, bias ? bias + g * N : nullptr, x, large_channels, g * N, accumulate}, images, place);
    }
  }
}

#if REKUR_TRAINING
void Convolution::kernel_gradient(Index images, const ConvolutionSide& large, Images<const float> x, const ConvolutionSide& small,
                                  Images<const float> dy, float* d_kernel) const {
  const auto& k = isa::kernels();
  const GatherPlace place{axes, large, small};
  const Index N = small_channels / groups, M = taps() * (large_channels / groups), rows = images * small.positions();
  const double work = 2.0 * static_cast<double>(rows) * static_cast<double>(M) * static_cast<double>(small_channels);
  const Index n_tiles = block_count(N, kLargestTile);
  // As many tiles as share the work evenly; what a tile sums, and in which order, does not depend on its borders.
  const Index threads_wanted = runtime::threads_for(work, runtime::kAllThreads);
  const Index per_group = block_count(block_count(M, kLargestTile) * groups, threads_wanted) * threads_wanted / groups;
  const Index m_tile = std::max(block_count(M, std::max(per_group, Index{1})), std::min(M, Index{16})),
              m_tiles = block_count(M, m_tile);
  const Index tasks = groups * m_tiles * n_tiles;
  const int threads = runtime::threads_for(work, tasks);
  ScratchUse scratch;
  const Index each = aligned(k.gemm_tn_work) + aligned(kSumBlock * m_tile);
  float* const memory = scratch->take<float>(threads * each).data();
  runtime::numbered_tasks(threads, tasks, [&](Index task, int thread) {
    const Index g = task / (m_tiles * n_tiles), m = task / n_tiles % m_tiles * m_tile, n = task % n_tiles * kLargestTile;
    const Index width = std::min(M - m, m_tile);
    const Window window = gather_window(*this, large, x, g);
    std::array<const float*, kSumBlock> from, to;
    float* const work_of = memory + thread * each;
    Cursor cursor(place.grid, 0);
    for (Index begin = 0; begin < rows; begin += kSumBlock) {
      float* copy = work_of + aligned(k.gemm_tn_work);
      std::size_t count = 0;
      for (Index row = begin; row < std::min(rows, begin + kSumBlock); ++row, cursor.advance()) {
        Position start;
        Index dy_row;
        if (!place(cursor.image, cursor.at, start, dy_row)) continue;
        from[count] = window.at(cursor.image, start, m, m + width, copy);
        if (from[count] == copy) copy += width;
        to[count++] = dy[cursor.image] + dy_row * small_channels;
      }
      k.gemm_tn(width, std::min(N - n, kLargestTile), static_cast<Index>(count), from.data(), 0, to.data(), g * N + n,
                d_kernel + m * small_channels + g * N + n, small_channels, true, work_of);
    }
  });
}
#endif

}  // namespace rekur::layers
