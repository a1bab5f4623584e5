#include "sequence/attention_cache.hpp"

#include "runtime/lines.hpp"

#include <algorithm>

namespace rekur::layers {
namespace {

using simd::attention_padded;
using simd::kAttentionKeys;

// A window of `window` keys touches at most so many whole blocks, wherever it begins.
Index room_for(Index window) { return attention_padded(window - 1, kAttentionKeys) + kAttentionKeys; }

}  // namespace

AttentionCache::AttentionCache(Settings settings)
    : s_(std::move(settings)),
      room_(room_for(s_.window)),
      row_size_(kLineFloats + element_count({s_.key_heads, room_, s_.dim + padded_value()})),
      kernels_(isa::table().attention) {}

Index AttentionCache::memory(Index batch) const { return element_count({batch, row_size_}) + work_size(); }

std::vector<StreamState> AttentionCache::states(Index) const {
  return {{"position", 1, row_size_, {0, 0}}, {"cache", row_size_ - kLineFloats, row_size_, {kLineFloats, kLineFloats}}};
}

void AttentionCache::step(Index batch, const float* q, const float* k, const float* v, float* out, float* memory) const noexcept {
  float* const work = memory + batch * row_size_;
  for (Index row = 0; row < batch; ++row) {
    float* const position = memory + row * row_size_;
    // Whoever sets the state may have set anything.
    const Index at = *position >= 0 && *position < static_cast<float>(2 * room_) ? static_cast<Index>(*position) : 0;
    const Index begin = std::max<Index>(at + 1 - s_.window, 0), first = begin / kAttentionKeys * kAttentionKeys;
    const Index block = at % room_ / kAttentionKeys * kAttentionKeys, lane = at % kAttentionKeys;
    for (Index head = 0; head < s_.key_heads; ++head) {
      float* const keys = position + kLineFloats + head * head_size();
      float* const values = keys + room_ * s_.dim;
      const float* const new_key = k + (row * s_.key_heads + head) * s_.dim;
      const float key_scale = s_.additive.empty() ? 1.0f : s_.scale;
      for (Index i = 0; i < s_.dim; ++i) keys[block * s_.dim + i * kAttentionKeys + lane] = new_key[i] * key_scale;
      std::copy_n(v + (row * s_.key_heads + head) * s_.value_dim, s_.value_dim, values + (block + lane) * padded_value());
      const Index seen_from = begin - first, seen_to = at + 1 - first, group = s_.heads / s_.key_heads;
      for (Index of_group = 0; of_group < group; ++of_group) {
        const Index number = row * s_.heads + head * group + of_group;
        const float* const query = q + number * s_.dim;
        float* const to = out + number * s_.value_dim;
        const simd::AttentionBlock block_of_one{{seen_to, s_.dim, s_.value_dim, keys, values, first % room_, room_},
                                                1,
                                                &query,
                                                &seen_from,
                                                &seen_to,
                                                s_.scale,
                                                s_.additive.empty() ? nullptr : s_.additive.data(),
                                                {}};
        kernels_.forward({block_of_one, &to, nullptr, work});
      }
    }
    *position = static_cast<float>(at + 1 < 2 * room_ ? at + 1 : room_);
  }
}

}  // namespace rekur::layers
