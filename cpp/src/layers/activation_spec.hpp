// How a spec writes an activation: "tanh", {"name": "leaky_relu", "alpha": 0.2}, or {"name": "mine", "equations": {…}}.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "io/json.hpp"
#include "layers/layer.hpp"
#include "simd/kernels.hpp"

namespace rekur::layers {

class ActivationEquations;

// softmax and equations of the user's own stand apart because they work on rows, not on elements.
struct ActivationSpec {
  Activation function = {};
  bool softmax = false;
  std::shared_ptr<const ActivationEquations> equations = {};

  bool is_linear() const { return !softmax && !equations && function.kind == ActivationKind::linear; }
  // Whether the backward pass wants x: that of any other goes by y alone.
  bool keeps_input() const { return equations != nullptr; }
  FinalActivation final_activation() const;
};

// Reads `key`, or `fallback` where it is missing. `by_row`: softmax and equations are allowed.
ActivationSpec read_activation(json::Reader& reader, const char* key, const char* fallback, bool by_row);

// A cell's activation as a spec writes it.
json::Value activation_value(Activation function);

// The names there are, without softmax.
std::vector<std::string_view> activation_names();

// Over rows of n features, also in place: y = f(x).
void activate(const ActivationSpec& f, const float* x, float* y, Index rows, Index n);
// The same on this thread alone, by the kernels given: for streams. It needs `memory`: activate_memory() floats on a cache line's
// border.
void activate(const simd::Kernels& kernels, const ActivationSpec& f, const float* x, float* y, Index rows, Index n,
              float* memory) noexcept;
Index activate_memory(const ActivationSpec& f, Index n);
// dx = dy f', also in place. x: read where f.keeps_input(), else it may be null.
void activate_backward(const ActivationSpec& f, const float* x, const float* y, const float* dy, float* dx, Index rows, Index n);

// The initialiser under `key` as JSON text, or `fallback` in quotes. What it means is checked by whoever draws.
std::string read_initializer(json::Reader& reader, const char* key, const char* fallback);

// "precision": of a layer's products, "float32", "bf16" where the layer has those, or "int8"; without it the layer leaves that
// open.
std::optional<Precision> read_precision(json::Reader& reader, bool bf16 = true);

}  // namespace rekur::layers
