// The least number of labels that must be put in, taken out or replaced to make one sequence of another. Levenshtein, 1966.
#pragma once

#include <cstdint>

#include "rekur/tensor.hpp"

namespace rekur::sequence {

// Of `count` pairs: labels of all sequences one behind the other, and how many each has. Several threads.
void edit_distances(const std::int32_t* a, const std::int32_t* a_sizes, const std::int32_t* b, const std::int32_t* b_sizes,
                    Index count, std::int64_t* distances);

}  // namespace rekur::sequence
