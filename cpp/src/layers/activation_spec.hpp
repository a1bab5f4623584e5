// How a spec writes an activation: "tanh", or {"name": "leaky_relu", "alpha": 0.2}.
#pragma once

#include <string_view>
#include <vector>

#include "io/json.hpp"
#include "layers/layer.hpp"
#include "simd/kernels.hpp"

namespace rekur::layers {

// softmax stands apart because it works on rows, not on elements.
struct ActivationSpec {
  Activation function;
  bool softmax = false;

  bool is_linear() const { return !softmax && function.kind == ActivationKind::linear; }
  FinalActivation final_activation() const;
};

// Reads `key`, or `fallback` where it is missing.
ActivationSpec read_activation(json::Reader& reader, const char* key, const char* fallback, bool softmax_allowed);

// The names there are, without softmax.
std::vector<std::string_view> activation_names();

// Over rows of n features: y = f(x), in place; dx = dy f'(y), in place.
void activate(const ActivationSpec& f, const float* x, float* y, Index rows, Index n);
// The same on this thread alone, by the kernels given: for streams.
void activate(const simd::Kernels& kernels, const ActivationSpec& f, const float* x, float* y, Index rows, Index n) noexcept;
void activate_backward(const ActivationSpec& f, const float* y, const float* dy, float* dx, Index rows, Index n);

// The initialiser under `key` as JSON text, or `fallback` in quotes. What it means is checked by whoever draws.
std::string read_initializer(json::Reader& reader, const char* key, const char* fallback);

}  // namespace rekur::layers
