// Attention of one query after the other over keys and values that are all there before the first one: an encoder's outputs in the
// stream of a decoder.
#pragma once

#include <span>
#include <vector>

#include "isa/dispatch.hpp"
#include "layers/stream_op.hpp"

namespace rekur::layers {

class WholeAttention {
 public:
  struct Settings {
    Index heads, key_heads, dim, value_dim;
    float scale;
    std::vector<float> additive;  // [dim], or empty: AttentionRun says what they are
  };

  explicit WholeAttention(Settings settings);

  // Keys and values of a row, packed: k [steps][key_heads][dim], v [steps][key_heads][value_dim].
  Index floats(Index steps) const;
  void pack(Index steps, const float* k, const float* v, float* to) const;

  // Floats that a step wants besides.
  Index work_size() const { return simd::attention_padded(simd::attention_work(s_.dim), 16); }

  // out[row] = attention of q[row] over the keys of rows[row], heads side by side; zeros for a row that has none. weights: of each
  // head as many numbers as `room` says, zeros behind those of the row; or null.
  void step(Index batch, const float* q, const WholeRow* rows, float* out, float* weights, Index room, float* work) const noexcept;

 private:
  Index keys_size(Index steps) const { return simd::attention_keys_size(steps, s_.dim); }
  Index head_size(Index steps) const { return keys_size(steps) + simd::attention_values_size(steps, s_.value_dim); }

  Settings s_;
  const simd::AttentionKernels& kernels_;
};

}  // namespace rekur::layers
