// Orthonormal rows out of independent ones.
#pragma once

#include <span>

#include "rekur/tensor.hpp"

namespace rekur::train {

// Makes the rows of the row-major matrix [rows, columns], rows <= columns, orthonormal by modified Gram-Schmidt, in panels
// whose work is products of matrices. The same bits for every number of threads and on every instruction set. Rows of independent
// normals become a sample of the Haar measure: the triangular factor's diagonal is positive.
void orthonormalize_rows(Index rows, Index columns, std::span<double> matrix);

}  // namespace rekur::train
