// The pointwise functions of layers and cells.
#pragma once

#include <cstdint>

namespace rekur {

enum class ActivationKind : std::uint8_t {
  linear,
  tanh,
  sigmoid,
  relu,
  leaky_relu,
  elu,
  softsign,
  hard_sigmoid,
  affine,
  thresholded_relu,
  scaled_tanh,
  softplus,
};

// y = f(x). Every derivative is computed from the output y alone, so a tape keeps outputs only.
//   linear            y = x
//   tanh, sigmoid
//   relu              y = max(x, 0)
//   leaky_relu        y = x > 0 ? x : alpha x               (alpha >= 0)
//   elu               y = x > 0 ? x : alpha (exp(x) - 1)    (alpha >= 0)
//   softsign          y = x / (1 + |x|)
//   hard_sigmoid      y = min(max(alpha x + beta, 0), 1)
//   affine            y = alpha x + beta
//   thresholded_relu  y = x > alpha ? x : 0
//   scaled_tanh       y = alpha tanh(beta x)
//   softplus          y = ln(1 + exp(x))
struct Activation {
  ActivationKind kind = ActivationKind::linear;
  float alpha = 0.0f;
  float beta = 0.0f;
};

}  // namespace rekur
