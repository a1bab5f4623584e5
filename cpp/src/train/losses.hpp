// Losses: one number for an output and its target, and the gradient of that number with respect to the output.
//
//   B batch rows · T time steps (1 for an output without a time axis) · F features
//
//   loss = Σ w · value / N      over the valid (row, step) pairs; N is their number, w the sample weight (1 without); of a part of
//                               a batch N is the number of the whole (Rows::whole), so that the parts' losses add up
//
// A step is valid before its row's length. A pair of weight 0 is not there: neither its output nor its target is read, they may be
// NaN or a class that does not exist, and its gradient is zero. The value of a pair is a mean over its features (the three
// regressions and binary cross-entropy) or the cross-entropy of its distribution. As in Keras the weights do not enter N. Without
// one valid pair the loss and its gradient are zero. NaN in an output, a target or a weight of a valid pair is NaN in the loss,
// unless its weight is 0.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "layers/layer.hpp"
#include "rekur/tensor.hpp"
#include "train/pairs.hpp"

namespace rekur::json {
class Value;
}

namespace rekur::train {

class EquationsLoss;

enum class LossKind : std::uint8_t {
  mean_squared_error,
  mean_absolute_error,
  huber,
  binary_crossentropy,
  categorical_crossentropy,
  sparse_categorical_crossentropy,
  esr,        // of whole rows (signal_losses.hpp)
  dc,         // likewise
  sum,        // of others, each with its weight
  crf,        // -log p of the tags of a CRF layer, which computes it (Layer::chain_loss); the mean over rows
  equations,  // of the user's own (equations_loss.hpp)
  callback    // computed by the caller (rekur/train.hpp)
};

struct Loss {
  LossKind kind = LossKind::mean_squared_error;
  double delta = 1;              // huber: where the parabola becomes a line
  bool from_logits = false;      // the cross-entropies: the output holds x, not sigmoid(x) or softmax(x)
  double pre_emphasis = 0;       // esr, dc
  double epsilon = 1e-5;         // likewise
  double weight = 1;             // in a sum
  std::vector<Loss> terms = {};  // of a sum: neither sums, nor class indices, nor computed elsewhere
  std::string label = {};        // of equations and callback: what messages call it
  std::shared_ptr<const EquationsLoss> equations = {};
};

std::string name(LossKind kind);
std::string name(const Loss& loss);

// {"name": "huber", "delta": 2}. Throws Error for an unknown name, with a suggestion, and for keys a loss does not have.
Loss read_loss(const json::Value& config);

// The final activation that this loss is better computed without: from logits it loses no digit of a probability near 0 or 1.
layers::FinalActivation fused_activation(const Loss& loss);

// What the numbers of an output are to the loss.
enum class Scores : std::uint8_t { values, logits };

// Throws Error, naming the output, where such a loss cannot be one of so many features.
void check_output(const Loss& loss, Index features, const std::string& output);

// Throws Error, naming the output, unless target and weights fit: float32 of the output's shape (a last axis of 1 may be left out);
// for sparse_categorical_crossentropy int32 (B,) or (B, T), with or without a last axis of 1, every index of a valid step whose
// weight is not 0 in [0, F).
void check_target(const Loss& loss, const Rows& rows, const ConstView& target, std::span<const float> weights,
                  const std::string& output);

// The loss of checked arguments; where dx is not null also its gradient times `gradient_scale`, written to all of dx [B, T, F].
// With logits the cross-entropies are computed from x in their stable forms, without ever forming log(p). From values, p is clipped
// to [1e-7, 1 - 1e-7] as Keras does, the categorical ones after dividing by the row's sum; the gradient is zero where p was
// clipped. A row whose sum is 0 (below 1e-30) counts as probabilities of 0: finite, where Keras divides by zero.
double evaluate(const Loss& loss, Scores scores, const Rows& rows, const float* x, const ConstView& target,
                std::span<const float> weights, float* dx, double gradient_scale);

// The same of values that somebody else computed, one a pair; where dx is not null it holds their derivatives and becomes the
// gradient.
double evaluate(const Rows& rows, std::span<const double> values, std::span<const float> weights, float* dx, double gradient_scale);

}  // namespace rekur::train
