#include "sequence/attention_whole.hpp"

#include <algorithm>
#include <utility>

namespace rekur::layers {

WholeAttention::WholeAttention(Settings settings) : s_(std::move(settings)), kernels_(isa::table().attention) {}

Index WholeAttention::floats(Index steps) const {
  constexpr Index kMost = Index{1} << 40;  // more than there is memory anywhere, and far from what overflows
  if (steps > kMost) throw_out_of_memory("not enough memory for % steps", {steps});
  const Index room = simd::attention_padded(steps, simd::kAttentionKeys);
  return element_count({s_.key_heads, room, s_.dim + simd::attention_padded(s_.value_dim, 16)});
}

void WholeAttention::pack(Index steps, const float* k, const float* v, float* to) const {
  std::vector<const float*> rows(static_cast<std::size_t>(steps));
  const auto point = [&](const float* from, Index width, Index head) {
    for (Index s = 0; s < steps; ++s) rows[static_cast<std::size_t>(s)] = from + (s * s_.key_heads + head) * width;
    return rows.data();
  };
  for (Index head = 0; head < s_.key_heads; ++head, to += head_size(steps)) {
    kernels_.pack_keys(steps, s_.dim, point(k, s_.dim, head), s_.additive.empty() ? 1.0f : s_.scale, to);
    kernels_.pack_values(steps, s_.value_dim, point(v, s_.value_dim, head), to + keys_size(steps));
  }
}

void WholeAttention::step(Index batch, const float* q, const WholeRow* rows, float* out, float* weights, Index room,
                          float* work) const noexcept {
  const Index group = s_.heads / s_.key_heads;
  for (Index row = 0; row < batch; ++row) {
    const Index steps = rows[row].steps, none = 0;
    for (Index head = 0; head < s_.heads; ++head, q += s_.dim, out += s_.value_dim) {
      const float* const keys = rows[row].data + head / group * head_size(steps);
      const simd::AttentionBlock block{{steps, s_.dim, s_.value_dim, keys, keys + keys_size(steps)}, 1, &q, &none, &steps, s_.scale,
                                       s_.additive.empty() ? nullptr : s_.additive.data(),           {}};
      float log_sum;
      kernels_.forward({block, &out, weights != nullptr ? &log_sum : nullptr, work});
      if (weights == nullptr) continue;
      kernels_.weights({block, &log_sum, &weights, false, work});
      std::fill(weights + steps, weights + room, 0.0f);
      if (const Index* const places = rows[row].places)  // none stands before where it was packed: the last is moved first
        for (Index s = steps - 1; s >= 0; --s)
          if (places[s] != s) weights[places[s]] = std::exchange(weights[s], 0.0f);
      weights += room;
    }
  }
}

}  // namespace rekur::layers
