#include "sequence/attention_spec.hpp"

#include <cstring>

#include "sequence/attention_cache.hpp"

namespace rekur::layers {
namespace {

constexpr const char* kNames[] = {"query", "value", "key"};

bool agree(Index a, Index b) { return a == kUnknown || b == kUnknown || a == b; }

}  // namespace

void check_attention_inputs(const Layer& layer, std::span<const TensorSpec> inputs) {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const TensorSpec& input = inputs[i];
    if (input.dtype != DType::float32 || input.shape.size() != 3)
      layer.fail("expected a % of shape (B, T, F), float32, got %", {kNames[i], input.shape});
    if (input.shape[2] < 1) layer.fail("the features of the % (the last dimension) must be known, got %", {kNames[i], input.shape});
    if (!agree(input.shape[0], inputs[0].shape[0]))
      layer.fail("expected inputs of one batch, got % and %", {inputs[0].shape, input.shape});
  }
  if (inputs.size() > 2 && !agree(inputs[1].shape[1], inputs[2].shape[1]))
    layer.fail("expected a value and a key of as many steps, got % and %", {inputs[1].shape, inputs[2].shape});
}

Index read_window(json::Reader& spec) {
  return spec.find("sliding_window") == nullptr ? 0 : spec.positive_integer("sliding_window");
}

bool means_where_nothing_is_seen(const AttentionRun& run) { return run.queries.mask || run.keys.mask; }

void keep_seed(const Context& run) {
  std::memcpy(run.tape, &run.seed, sizeof run.seed);
  const std::uint64_t step = run.drawn_step();
  std::memcpy(run.tape + 2, &step, sizeof step);
  std::memcpy(run.tape + 4, &run.stream, sizeof run.stream);
}

simd::AttentionDropout kept_dropout(const Context& run, float rate) {
  simd::AttentionDropout dropout;
  dropout.rate = rate;
  std::memcpy(&dropout.seed, run.tape, sizeof dropout.seed);
  std::memcpy(&dropout.step, run.tape + 2, sizeof dropout.step);
  std::memcpy(&dropout.stream, run.tape + 4, sizeof dropout.stream);
  return dropout;
}

bool check_attention_stream(const Layer& layer, const StreamBuild& build, bool causal, Index window, bool return_scores) {
  bool whole = !build.is_whole(0);
  for (std::size_t i = 1; i < build.inputs.size(); ++i) whole = whole && build.is_whole(i);
  if (whole) {
    if (causal || window > 0) layer.cannot_stream("use_causal_mask and sliding_window say which of the values' steps a query sees");
    return true;
  }
  for (const TensorSpec& input : build.inputs)
    if (input.time_source < 0 || input.time_source != build.inputs[0].time_source)
      layer.cannot_stream(
          "its values are another sequence than its queries, and all of them count; as an input of the model that "
          "is whole, they are there before the first step");
  if (!causal) layer.cannot_stream("steps that are still to come count; use_causal_mask=True leaves them out");
  if (window == 0)
    layer.cannot_stream(
        "all steps so far count, and a stream keeps a number of them that is known beforehand: sliding_window= says how many");
  if (window > AttentionCache::kMostWindow)
    layer.cannot_stream("it keeps at most % steps, got sliding_window %", {AttentionCache::kMostWindow, window});
  if (return_scores) layer.cannot_stream("return_attention_scores gives a weight for every step of the sequence");
  return false;
}

}  // namespace rekur::layers
