#include "layers/cell_matrices.hpp"
#include "runtime/locks.hpp"

#include <algorithm>

namespace rekur::layers {
namespace {

Index own_blocks(const RecurrentSettings& s) {
  return s.block_matrix.empty() ? s.recurrent_blocks : std::count(s.block_matrix.begin(), s.block_matrix.end(), -1);
}

int matrix_of(const RecurrentSettings& s, Index block) {
  return s.block_matrix.empty() ? -1 : s.block_matrix[static_cast<std::size_t>(block)];
}

// visit(block, its column in the kernel of the parameter) for blocks of that, visit_matrix(block, matrix) for others.
template <class Own, class Matrix>
void each_block(const RecurrentSettings& s, const Own& own, const Matrix& matrix) {
  Index next = 0;
  for (Index block = 0; block < s.recurrent_blocks; ++block) {
    const int k = matrix_of(s, block);
    if (k < 0)
      own(block, next++);
    else
      matrix(block, k);
  }
}

}  // namespace

bool assembles_kernel(const RecurrentSettings& s) { return !s.matrices.empty() || s.heads > 1; }

Index whole_kernel_size(const RecurrentSettings& s) { return s.state_width(0) * s.recurrent_blocks * s.units; }
Index own_kernel_columns(const RecurrentSettings& s) { return own_blocks(s) * s.units; }
Index own_kernel_size(const RecurrentSettings& s) {
  return (s.heads > 1 ? s.units / s.heads : s.state_width(0)) * own_blocks(s) * s.units;
}
Index matrices_size(const RecurrentSettings& s) { return static_cast<Index>(s.matrices.size()) * s.units * s.units; }

void assemble_kernel(const RecurrentSettings& s, const float* own, const float* matrices, float* whole) {
  const Index H = s.units, size = H / s.heads, columns = s.recurrent_blocks * H, own_columns = own_blocks(s) * H;
  if (s.heads > 1) std::fill_n(whole, whole_kernel_size(s), 0.0f);
  each_block(
      s,
      [&](Index block, Index place) {
        for (Index head = 0; head < s.heads; ++head)
          for (Index row = 0; row < size; ++row)
            std::copy_n(own + row * own_columns + place * H + head * size, size,
                        whole + (head * size + row) * columns + block * H + head * size);
      },
      [&](Index block, int k) {
        for (Index row = 0; row < H; ++row) std::copy_n(matrices + (k * H + row) * H, H, whole + row * columns + block * H);
      });
}

#if REKUR_TRAINING
void share_kernel_gradient(const RecurrentSettings& s, const float* whole, float* own, float* matrices) {
  const Index H = s.units, size = H / s.heads, columns = s.recurrent_blocks * H, own_columns = own_blocks(s) * H;
  std::fill_n(matrices, matrices_size(s), 0.0f);
  each_block(
      s,
      [&](Index block, Index place) {
        for (Index head = 0; head < s.heads; ++head)
          for (Index row = 0; row < size; ++row)
            std::copy_n(whole + (head * size + row) * columns + block * H + head * size, size,
                        own + row * own_columns + place * H + head * size);
      },
      [&](Index block, int k) {
        for (Index row = 0; row < H; ++row) {
          float* const to = matrices + (k * H + row) * H;
          const float* const from = whole + row * columns + block * H;
          for (Index i = 0; i < H; ++i) to[i] += from[i];
        }
      });
}
#endif

const float* AssembledKernel::prepare(const RecurrentSettings& s, const float* own, const float* matrices, std::uint64_t version) {
  const runtime::Guard lock(mutex_);
  if (version != version_ || values_.empty()) {
    values_.resize(static_cast<std::size_t>(whole_kernel_size(s)));
    assemble_kernel(s, own, matrices, values_.data());
    version_ = version;
  }
  return values_.data();
}

}  // namespace rekur::layers
