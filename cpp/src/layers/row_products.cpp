#include "layers/row_products.hpp"

#include <algorithm>

#include "isa/dispatch.hpp"
#include "layers/product_blocks.hpp"
#include "runtime/lines.hpp"
#include "runtime/parallel.hpp"

namespace rekur::layers {
namespace {

double operations(Index rows, Index N, Index K) {
  return 2.0 * static_cast<double>(rows) * static_cast<double>(N) * static_cast<double>(K);
}

}  // namespace

void row_product(Index rows, Index N, Index K, ConstRows a, const float* packed, const float* bias, Rows c, bool accumulate) {
  const auto& k = isa::kernels();
  const Index columns = block_count(kColumnBlock, k.panel) * k.panel;
  const Index column_blocks = block_count(N, columns);
  runtime::parallel_tasks(block_count(rows, kRowBlock) * column_blocks, operations(rows, N, K), [&](Index task) {
    const Index row = task / column_blocks * kRowBlock, column = task % column_blocks * columns;
    k.gemm(std::min(kRowBlock, rows - row), std::min(N - column, columns), K, a + row, packed + column * K,
           bias ? bias + column : nullptr, c + row, column, accumulate);
  });
}

#if REKUR_TRAINING

namespace {

Index tn_tasks(Index M, Index N) { return block_count(M, kTile) * block_count(N, kTile); }

}  // namespace

int row_product_tn_threads(Index rows, Index M, Index N) { return runtime::threads_for(operations(rows, M, N), tn_tasks(M, N)); }

void row_product_tn(int threads, Index rows, Index M, Index N, ConstRows a, ConstRows b, float* c, float* work) {
  const auto& k = isa::kernels();
  const Index column_tiles = block_count(N, kTile);
  runtime::numbered_tasks(threads, tn_tasks(M, N), [&](Index task, int thread) {
    const Index m = task / column_tiles * kTile, n = task % column_tiles * kTile;
    k.gemm_tn(std::min(kTile, M - m), std::min(kTile, N - n), rows, a, m, b, n, c + m * N + n, N, true,
              work + thread * k.gemm_tn_work);
  });
}

void row_sums(Index rows, Index N, ConstRows b, float* out) {
  const auto& k = isa::kernels();
  runtime::parallel_range(N, 64, static_cast<double>(rows) * static_cast<double>(N),
                          [&](Index begin, Index end) { k.column_sums(end - begin, rows, b, begin, out + begin, true); });
}

#endif

}  // namespace rekur::layers
