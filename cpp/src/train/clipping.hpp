// Clipping: gradients are bounded between the backward pass and the update, in one of three ways.
//
//   clipvalue        each element to [-c, c]
//   clipnorm         each parameter tensor g to g · min(1, c / ‖g‖)
//   global_clipnorm  all gradients together, likewise
//
// Norms are summed in double in blocks of fixed size, in order. A norm that is NaN makes the tensors it belongs to NaN as a whole,
// an infinite one makes their infinite elements NaN and the others zero: a broken step is loud. (clipvalue bounds infinities; NaN
// stays NaN.)
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "io/json.hpp"
#include "rekur/model.hpp"

namespace rekur::train {

enum class ClipKind : std::uint8_t { none, value, norm, global_norm };

struct Clipping {
  ClipKind kind = ClipKind::none;
  double limit = 0;
};

// The keys above, positive numbers; throws Error if more than one is given.
Clipping read_clipping(json::Reader& optimizer);

// ‖x‖, in double.
double norm(std::span<const float> x);

// A piece of the gradients.
struct Range {
  Index begin, size;
};

// Clips in place, but for global_norm, whose factor is returned (1 otherwise) for the optimiser to apply on its way. Of the
// gradients only those of `parameters` are looked at, which are what stands in `ranges`.
float clip(const Clipping& clipping, std::span<const Range> parameters, std::span<const Range> ranges, std::span<float> gradients);

}  // namespace rekur::train
