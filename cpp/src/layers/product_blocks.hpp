// How products of many rows are cut into tasks.
#pragma once

#include "rekur/tensor.hpp"

namespace rekur::layers {

inline constexpr Index kRowBlock = 64;      // rows of a task
inline constexpr Index kColumnBlock = 512;  // columns of a task, rounded to whole panels
inline constexpr Index kTile = 128;         // a task of a product over rows makes kTile x kTile of it

}  // namespace rekur::layers
