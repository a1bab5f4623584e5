// What tests of products of bf16 share: rows and weights as the kernels read them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "rekur/detail/half.hpp"
#include "simd/kernels.hpp"
#include "simd/pack.hpp"

namespace rekur::test {

inline std::size_t at(Index i) { return static_cast<std::size_t>(i); }

inline float rounded(float x) { return detail::float_of_bf16(detail::bf16_of(x)); }

inline bool same(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0 || (a == 0 && b == 0); }

#if REKUR_BF16
struct Bf16Rows {
  std::vector<float> memory;
  std::vector<const float*> rows;

  Bf16Rows(const simd::Kernels& kernels, const std::vector<float>& x, Index M, Index K)
      : memory(at(M * simd::bf16_row_floats(K)), std::nanf("")) {
    std::vector<const float*> from;
    for (Index m = 0; m < M; ++m) {
      from.push_back(x.data() + m * K);
      rows.push_back(memory.data() + m * simd::bf16_row_floats(K));
    }
    kernels.narrow_bf16(M, K, from.data(), 0, memory.data(), simd::bf16_row_floats(K));
  }
};

// B [K][N] in panels of pairs of rows.
inline std::vector<float> bf16_packed(const simd::Kernels& kernels, const std::vector<float>& b, Index K, Index N) {
  const Index width = kernels.width, panel = kernels.panel, pairs = (K + 1) / 2;
  std::vector<float> result(at(simd::packed_size(kernels, pairs, N)));
  for (Index n0 = 0; n0 < N; n0 += panel) {
    const Index columns = std::min(panel, N - n0), padded = (columns + width - 1) / width * width;
    for (Index k = 0; k < K; k += 2)
      kernels.pair_rows(b.data() + k * N + n0, k + 1 < K ? b.data() + (k + 1) * N + n0 : nullptr, columns,
                        result.data() + n0 * pairs + k / 2 * padded);
  }
  return result;
}
#endif

}  // namespace rekur::test
