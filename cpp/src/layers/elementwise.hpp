// Loops over the elements of arrays, split between threads. The borders change no bit: kernels treat every element alike.
#pragma once

#include <algorithm>

#include "isa/dispatch.hpp"
#include "layers/layer.hpp"
#include "runtime/parallel.hpp"

namespace rekur::layers {

inline constexpr Index kElementGrain = 256;  // borders fall on cache lines

// What it takes to read and write an element beside computing it, and more where another core has it.
inline constexpr double kMoved = 6;

// task(begin, end) over [0, n); `cost` is in floating-point operations an element.
template <class Task>
void over_elements(Index n, double cost, const Task& task) {
  if (n > 0) runtime::parallel_range(n, kElementGrain, static_cast<double>(n) * (cost + kMoved), task);
}

// task(begin, end) over whole rows of n elements each.
template <class Task>
void over_rows(Index rows, Index n, double cost, const Task& task) {
  if (rows > 0) runtime::parallel_range(rows, 1, static_cast<double>(rows) * static_cast<double>(n) * (cost + kMoved), task);
}

// task(begin, end) over the columns of `rows` rows of n: who sums over rows shares the columns, so that every sum keeps its order.
template <class Task>
void over_columns(Index rows, Index n, double cost, const Task& task) {
  if (n > 0) runtime::parallel_range(n, 64, static_cast<double>(rows) * static_cast<double>(n) * (cost + kMoved), task);
}

inline void copy(const float* from, float* to, Index n) {
  over_elements(n, 1, [=](Index begin, Index end) { std::copy(from + begin, from + end, to + begin); });
}

// to += from
inline void accumulate(const float* from, float* to, Index n) {
  const auto& k = isa::kernels();
  over_elements(n, 1, [=, &k](Index begin, Index end) { k.add(to + begin, from + begin, to + begin, end - begin); });
}

}  // namespace rekur::layers
