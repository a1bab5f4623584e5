// Losses of signals: how far the samples of a sequence are off, in units of the power that they should have. A mean over rows.
//
//   e = y - x of the n steps that a row has, u(v)_t = v_t - pre_emphasis v_(t-1), 0 before the first:
//   esr   mean u(e)^2 / (mean u(y)^2 + epsilon)        the error-to-signal ratio
//   dc    (mean u(e))^2 / (mean u(y)^2 + epsilon)      of the error's mean alone
//
// of each feature, and their mean. Wright et al., Applied Sciences 10(3), 2020.
#pragma once

#include <span>
#include <string>

#include "train/losses.hpp"

namespace rekur::train {

inline bool is_of_signals(LossKind kind) { return kind == LossKind::esr || kind == LossKind::dc; }

// Throws Error, beginning with `where`, for an output without a time axis, and unless the weights are one a row, or one a step that
// are 0 or, within a row, all the same.
void check_signals(const Loss& loss, const Rows& rows, std::span<const float> weights, const std::string& where);

// As train::evaluate, of checked arguments: y is the target, of the output's shape.
double evaluate_signals(const Loss& loss, const Rows& rows, const float* x, const float* y, std::span<const float> weights,
                        float* dx, double gradient_scale);

}  // namespace rekur::train
