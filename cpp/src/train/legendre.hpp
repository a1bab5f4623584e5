// The memory of Voelker, Kajić and Eliasmith (NeurIPS 2019): Legendre polynomials of the last theta steps, a step at a time.
#pragma once

#include <span>
#include <string_view>

#include "rekur/tensor.hpp"

namespace rekur::train {

// m' = A m + B u, the paper's continuous memory held for a step of 1. Of shape [d, d] Aᵀ, so that rows m are multiplied from the
// left, of [d] B.
void fill_legendre(const Shape& shape, double theta, std::string_view context, std::span<float> out);

}  // namespace rekur::train
