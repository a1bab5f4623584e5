// Causal self-attention one step at a time: the keys and values of the last steps, of each head of each row, in a ring.
#pragma once

#include <vector>

#include "isa/dispatch.hpp"
#include "layers/stream_op.hpp"

namespace rekur::layers {

class AttentionCache {
 public:
  struct Settings {
    Index heads, key_heads, dim, value_dim, window;
    float scale;
    std::vector<float> additive;  // [dim], or empty: AttentionRun says what they are
  };

  // Its position is a float, which counts to 2^24: twice the ring.
  static constexpr Index kMostWindow = (Index{1} << 23) - 2 * simd::kAttentionKeys;

  explicit AttentionCache(Settings settings);

  // Floats of a stream's memory; throws Error where there are too many. Its beginning is the cache's.
  Index memory(Index batch) const;
  // The same of a batch that there is memory for.
  Index floats(Index batch) const noexcept { return batch * row_size_ + work_size(); }
  std::vector<StreamState> states(Index batch) const;

  // out = attention of q over the keys so far, of which k and v are the newest; rows of `batch`, heads side by side.
  void step(Index batch, const float* q, const float* k, const float* v, float* out, float* memory) const noexcept;

 private:
  Index padded_value() const { return simd::attention_padded(s_.value_dim, 16); }
  Index head_size() const { return room_ * (s_.dim + padded_value()); }
  Index work_size() const { return simd::attention_padded(simd::attention_work(s_.dim), 16); }

  Settings s_;
  Index room_;      // of the ring: whole blocks that a window can touch
  Index row_size_;  // floats of a row: the number of its next step, modulo the ring, and then the ring of each head
  const simd::AttentionKernels& kernels_;
};

}  // namespace rekur::layers
