// Attention of all heads of all rows, by blocks (simd/attention_kernels.hpp), shared between threads: which queries and keys take
// part, which keys each query sees, and what their weights make of the values. Layers say where the numbers stand.
#pragma once

#include "layers/layer.hpp"
#include "simd/attention_kernels.hpp"

namespace rekur::layers {

// A (B, T, …) array: head h of step t of row b at data + (b · T + t) · stride + h · its width.
struct AttentionArray {
  float* data = nullptr;
  Index stride = 0;
};
struct ConstAttentionArray {
  const float* data = nullptr;
  Index stride = 0;
};

struct AttentionRun {
  Index batch = 0, heads = 1, key_heads = 1;  // key_heads divides heads: neighbours share keys and values
  Index dim = 0, value_dim = 0;
  RowSteps queries, keys;  // of either side, those that take part
  bool causal = false;     // step t sees no key after t
  Index window = 0;        // above 0: only keys less than so many steps away
  // A score is scale · q · k, or Σ additive[i] tanh(scale · (q[i] + k[i])).
  float scale = 1;
  const float* additive = nullptr;
  simd::AttentionDropout dropout = {};  // first and stride follow
  // Where padding is a mask, a query without a key that it sees gets the mean of all T values, which is what subtracting a large
  // number from all scores makes of it; without, zeros.
  bool mean = false;
  bool mean_of_masked_queries = false;  // and so do queries that are masked themselves, instead of zeros
  ConstAttentionArray q, k, v;
  AttentionArray out;
  float* log_sums = nullptr;  // [B][heads][Tq], by the queries that take part; or null
  float* weights = nullptr;   // [B][heads][Tq][Tk], or null
  bool weights_dropped = false;
};

// Writes all of out and weights.
void attend(const AttentionRun& run);

#if REKUR_TRAINING
// Gradients that arrive, of which either may be null, and those that are added to; null: not wanted.
struct AttentionGradients {
  ConstAttentionArray d_out;
  const float* d_weights = nullptr;
  AttentionArray d_q, d_k, d_v;
  float* d_scale = nullptr;     // one number
  float* d_additive = nullptr;  // [dim]
};

// Wants what attend left in out, log_sums and weights.
void attend_backward(const AttentionRun& run, const AttentionGradients& gradients);
#endif

}  // namespace rekur::layers
