// What every ISA provides to attention: softmax(q kᵀ) v of a head, by blocks of kAttentionRows queries and kAttentionKeys keys, so
// that no array is as long as the sequence in both directions. Queries and keys are those that take part, whatever stands between
// them in memory: a row's result depends on its own query and on the keys in its range alone.
#pragma once

#include "rekur/tensor.hpp"
#include "simd/kernels.hpp"

namespace rekur::simd {

inline constexpr Index kAttentionRows = 96;   // queries of a call, at most
inline constexpr Index kAttentionKeys = 128;  // keys between two corrections of the maximum; whole panels of every ISA
inline constexpr Index kAttentionStride = kAttentionKeys + 16;  // of a row of scores: no power of two, for the cache's sets

// Keys and values of a head, packed by AttentionKernels::pack_keys and pack_values; or the cache of a stream, the same for every
// ISA: a ring of `room` keys in blocks of kAttentionKeys, the first of them at `first`. A block of keys is [dim][kAttentionKeys],
// one of values [kAttentionKeys][columns, padded to 16].
struct AttentionKeys {
  Index count, dim, value_dim;
  const float *keys, *values;
  Index first = 0, room = 0;  // room 0: no ring

  bool ring() const { return room > 0; }
  // Where the block that begins with key k0 stands.
  Index place(Index k0) const { return ring() ? (first + k0) % room : k0; }
};

// Which weights of a row are dropped: element k of row r is number first + r · stride + k of a Philox stream.
struct AttentionDropout {
  float rate = 0;
  std::uint64_t seed = 0, step = 0;
  std::uint32_t stream = 0;
  Index first = 0, stride = 0;
};

// Rows of queries, each with the keys [begin, end) that it sees; both ascend from row to row.
// A score is scale · q · k, or with `additive` [dim] Σ additive[i] tanh(scale · q[i] + k[i]), of keys packed with that scale, too.
struct AttentionBlock {
  AttentionKeys side;
  Index rows;
  ConstRows queries;
  const Index *begin, *end;
  float scale;
  const float* additive;
  AttentionDropout dropout;
};

// out[row] = Σ_k weight[k] value[k]; zeros for a row that sees no key. log_sums: ln Σ_k e^score of each row, +inf for such a row,
// or null.
struct AttentionForward {
  AttentionBlock block;
  Rows out;
  float* log_sums;
  float* work;  // attention_work(dim) floats
};

// The weights themselves, before dropout or after it, of the keys of a row in order, zeros for those that it does not see.
struct AttentionWeights {
  AttentionBlock block;
  const float* log_sums;
  Rows weights;  // `count` floats each
  bool dropped;
  float* work;
};

// Adds to the gradients of queries, keys and values. d_weights: gradient of what AttentionWeights gives, or null.
struct AttentionBackward {
  AttentionBlock block;
  const float* log_sums;
  const float* key_rows;     // packed by pack_values with dim columns: what the gradient of queries is made of
  const float* value_lanes;  // packed by pack_keys with value_dim numbers: what the gradient of weights is made of
  ConstRows d_out;           // value_dim floats a row
  const float* d_sums;       // of each row: Σ over value_dim of d_out · out, and with d_weights Σ_k of weight · its gradient
  ConstRows d_weights;
  bool d_dropped;            // d_weights is of weights after dropout
  Rows d_queries;            // dim floats a row, of scale · q
  float *d_keys, *d_values;  // [count][dim], of packed keys; [count][value_dim]
  float* d_additive;         // [dim], or null
  float* work;               // attention_backward_work(dim) + gemm_tn_work floats
};

constexpr Index attention_padded(Index n, Index to) { return (n + to - 1) / to * to; }
constexpr Index attention_work(Index dim) {
  return attention_padded(kAttentionRows * dim, 16) + kAttentionRows * (kAttentionStride + 16 + 16) + 2 * kAttentionKeys;
}
constexpr Index attention_backward_work(Index dim) {
  return attention_padded(kAttentionRows * dim, 16) + 2 * kAttentionRows * (kAttentionStride + 16) + 2 * kAttentionKeys +
         kAttentionKeys * dim;
}

// Packed keys are the transpose as Kernels::gemm reads it; packed values a matrix a block of kAttentionKeys keys, as gemm reads it.
constexpr Index attention_keys_size(Index count, Index dim) { return attention_padded(count, kAttentionKeys) * dim; }
constexpr Index attention_values_size(Index count, Index columns) {
  return attention_padded(count, kAttentionKeys) * attention_padded(columns, 16);
}

struct AttentionKernels {
  // `rows` times `scale` as packed keys.
  void (*pack_keys)(Index count, Index dim, ConstRows rows, float scale, float* to);
  void (*pack_values)(Index count, Index columns, ConstRows rows, float* to);
  void (*forward)(const AttentionForward&);
  void (*weights)(const AttentionWeights&);
#if REKUR_TRAINING
  void (*backward)(const AttentionBackward&);
#endif
};

}  // namespace rekur::simd
