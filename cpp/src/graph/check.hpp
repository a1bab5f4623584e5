// What graphs say of a caller's arrays that do not fit.
#pragma once

#include <string>

#include "rekur/tensor.hpp"

namespace rekur::graph {

// "3 inputs", "1 input".
std::string count_of(std::size_t n, const char* what);

// A caller's list of one thing for each input or output.
void expect_count(const char* what, std::size_t expected, std::size_t given);

// A caller's array that is written.
void expect_view(const std::string& what, const View& view, const Shape& expected);

}  // namespace rekur::graph
