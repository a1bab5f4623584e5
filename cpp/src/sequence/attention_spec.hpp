// What the attention layers have in common before a run: shapes, keys of the spec, what a stream can do.
#pragma once

#include "io/json.hpp"
#include "layers/layer.hpp"
#include "sequence/attention_run.hpp"

namespace rekur::layers {

// Throws Error unless the inputs are query, value and perhaps key, (B, T, F) each, of which the latter two go side by side.
void check_attention_inputs(const Layer& layer, std::span<const TensorSpec> inputs);

// "sliding_window": how many steps a query sees to either side, itself included; 0: all.
Index read_window(json::Reader& spec);

// AttentionRun::mean: where padding is a mask of either side.
bool means_where_nothing_is_seen(const AttentionRun& run);

// The numbers that a training pass drops weights by, in the first kAttentionSeed floats of the tape: a backward pass is not told
// seed and step. The layer's rate may be 0.
inline constexpr Index kAttentionSeed = 16;
void keep_seed(const Context& run);
simd::AttentionDropout kept_dropout(const Context& run, float rate);

// Whether values and keys are there as a whole; else they come with the queries. Throws Error with the reason where a step at a
// time is not enough.
bool check_attention_stream(const Layer& layer, const StreamBuild& build, bool causal, Index window, bool return_scores);

}  // namespace rekur::layers
