// Orthonormal rows out of independent ones.
#pragma once

#include <span>

#include "rekur/tensor.hpp"

namespace rekur::train {

// Makes the rows of the row-major matrix [rows, columns], rows <= columns, orthonormal by modified Gram-Schmidt (four rows at a
// time). Rows of independent normals become a sample of the Haar measure: the triangular factor's diagonal is positive.
void orthonormalize_rows(Index rows, Index columns, std::span<double> matrix);

}  // namespace rekur::train
