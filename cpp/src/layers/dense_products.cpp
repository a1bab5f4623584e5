#include "layers/dense_products.hpp"

#include <algorithm>
#include <array>

#include "isa/bf16.hpp"
#include "isa/dispatch.hpp"
#include "layers/product_blocks.hpp"
#include "runtime/lines.hpp"
#include "runtime/parallel.hpp"
#include "runtime/scratch.hpp"
#include "simd/pack.hpp"

namespace rekur::layers {
namespace {

[[maybe_unused]] constexpr Index kRowList = 128;  // rows whose addresses a task of the weight gradient lists at a time

// The addresses of up to N consecutive rows, on the stack.
template <class T, Index N>
struct RowAddresses {
  std::array<T*, N> row;

  T* const* fill(T* base, Index stride, Index begin, Index end) {
    for (Index i = begin; i < end; ++i) row[static_cast<std::size_t>(i - begin)] = base + i * stride;
    return row.data();
  }
};

#if REKUR_INT8 || REKUR_BF16
// task(count, rows of a, room for them rounded, where they stand in it, rows of c) for blocks of rows. A task rounds its rows for
// all columns.
template <class Task>
void of_rounded_rows(Index rows, Index N, Index K, Index stride, const float* a, float* c, const Task& task) {
  const Index row_blocks = block_count(rows, kRowBlock);
  const double work = static_cast<double>(rows) * static_cast<double>(N + 16) * static_cast<double>(K);
  const int threads = runtime::threads_for(work, row_blocks);
  ScratchUse scratch;
  float* const narrow = scratch->take<float>(threads * kRowBlock * stride).data();
  runtime::numbered_tasks(threads, row_blocks, [&](Index block, int thread) {
    const Index row = block * kRowBlock, end = std::min(rows, row + kRowBlock);
    float* const own = narrow + thread * kRowBlock * stride;
    RowAddresses<const float, kRowBlock> from{}, rounded{};
    RowAddresses<float, kRowBlock> to{};
    task(end - row, from.fill(a, K, row, end), own, rounded.fill(own, stride, 0, end - row), to.fill(c, N, row, end));
  });
}
#endif

}  // namespace

// c[rows][N] = a[rows][K] · B (+ bias), or += without bias.
void dense_product(Index rows, Index N, Index K, const float* a, const float* packed, const float* bias, float* c,
                   bool accumulate) {
  const auto& k = isa::kernels();
  const Index columns = block_count(kColumnBlock, k.panel) * k.panel;
  const Index row_blocks = block_count(rows, kRowBlock), column_blocks = block_count(N, columns);
  const double work = 2.0 * static_cast<double>(rows) * static_cast<double>(N) * static_cast<double>(K);
  runtime::parallel_tasks(row_blocks * column_blocks, work, [&](Index task) {
    const Index row = task / column_blocks * kRowBlock, column = task % column_blocks * columns;
    const Index row_end = std::min(rows, row + kRowBlock), n = std::min(N - column, columns);
    RowAddresses<const float, kRowBlock> from;
    RowAddresses<float, kRowBlock> to;
    k.gemm(row_end - row, n, K, from.fill(a, K, row, row_end), packed + column * K, bias ? bias + column : nullptr,
           to.fill(c, N, row, row_end), column, accumulate);
  });
}

#if REKUR_INT8
void dense_product_int8(Index rows, Index N, Index K, const float* a, const PackedMatrix& packed, float* c) {
  const auto& k = isa::kernels();
  const Index group = packed.group(), stride = simd::int8_row_floats(K);
  of_rounded_rows(rows, N, K, stride, a, c, [&](Index count, ConstRows from, float* narrow, ConstRows rounded, Rows to) {
    k.narrow(group, count, K, from, 0, narrow, stride);
    k.gemm_int8(group, count, N, K, rounded, packed.data(), to, 0);
  });
}
#endif

void dense_dots(Index rows, Index N, Index K, const float* a, const float* packed, const float* bias, float* c) {
  const auto& k = isa::kernels();
  const double work = 2.0 * static_cast<double>(rows) * static_cast<double>(N) * static_cast<double>(K);
  runtime::parallel_range(rows, kRowBlock, work,
                          [&](Index begin, Index end) { k.dots(end - begin, N, K, a + begin * K, packed, bias, c + begin * N); });
}

#if REKUR_TRAINING
#if REKUR_BF16
void dense_product_bf16(Index rows, Index N, Index K, const float* a, const float* packed, const float* bias, float* c,
                        bool accumulate) {
  const auto& k = isa::kernels();
  const Index group = isa::bf16_group();
  const Index stride = simd::bf16_row_floats(K);
  of_rounded_rows(rows, N, K, stride, a, c, [&](Index count, ConstRows from, float* narrow, ConstRows rounded, Rows to) {
    k.narrow_bf16(count, K, from, 0, narrow, stride);
    k.gemm_bf16(group, count, N, K, rounded, packed, bias, to, 0, accumulate);
  });
}
#endif

// c[M][N] += Σ_rows a[rows][M]ᵀ b[rows][N]. Tasks share the output, never the rows: the order of the sum is fixed.
void dense_product_tn(Index rows, Index M, Index N, const float* a, const float* b, float* c, [[maybe_unused]] bool bf16) {
  const auto& k = isa::kernels();
  const Index column_tiles = block_count(N, kTile);
  const double work = 2.0 * static_cast<double>(rows) * static_cast<double>(M) * static_cast<double>(N);
  const Index tasks = block_count(M, kTile) * column_tiles;
  const int threads = runtime::threads_for(work, tasks);
  ScratchUse scratch;
  float* const copies = scratch->take<float>(threads * k.gemm_tn_work).data();
  runtime::numbered_tasks(threads, tasks, [&](Index task, int thread) {
    const Index m = task / column_tiles * kTile, n = task % column_tiles * kTile;
    RowAddresses<const float, kRowList> a_rows, b_rows;
    for (Index row = 0; row < rows; row += kRowList) {
      const Index end = std::min(rows, row + kRowList);
      const Index M_tile = std::min(kTile, M - m), N_tile = std::min(kTile, N - n);
      const ConstRows from_a = a_rows.fill(a, M, row, end), from_b = b_rows.fill(b, N, row, end);
      float *const to = c + m * N + n, *const work_of = copies + thread * k.gemm_tn_work;
#if REKUR_BF16
      if (bf16)
        k.gemm_tn_bf16(isa::bf16_group(), {}, M_tile, N_tile, end - row, from_a, m, from_b, n, to, N, true, work_of);
      else
#endif
        k.gemm_tn(M_tile, N_tile, end - row, from_a, m, from_b, n, to, N, true, work_of);
    }
  });
}

// out[N] += Σ_rows b[rows][N]
void dense_sums(Index rows, Index N, const float* b, float* out) {
  const auto& k = isa::kernels();
  runtime::parallel_range(N, 64, static_cast<double>(rows) * static_cast<double>(N), [&](Index begin, Index end) {
    RowAddresses<const float, kRowList> list;
    for (Index row = 0; row < rows; row += kRowList) {
      const Index last = std::min(rows, row + kRowList);
      k.column_sums(end - begin, last - row, list.fill(b, N, row, last), begin, out + begin, true);
    }
  });
}
#endif

}  // namespace rekur::layers
