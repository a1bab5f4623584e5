// Rows of a stream that a mask leaves out at a step: around the step of a layer with states, these rows' states stay as they were,
// and their output is the first state, the last output, or zeros, with a residual connection plus the last input that there was.
#pragma once

#include <algorithm>
#include <vector>

#include "layers/stream_op.hpp"

namespace rekur::graph {

struct HeldRows {
  struct State {
    float* at[2];  // [batch][stride], before a step of turn 0 and of turn 1
    Index units, stride;
    float* kept;  // [batch][units], for one that a step overwrites; null for others
  };

  layers::MaskedStep kind = layers::MaskedStep::computed;
  int flags = -1;         // the array that says which rows have the step, a number a row, 0 or 1
  Index units = 0;        // of an output's row
  int states_out = 0;     // outputs behind the first: the states in their order
  float* last = nullptr;  // [batch][units], where the output is the last one
  float* x = nullptr;     // [batch][units], where the last input is added to the output
  std::vector<State> states;

  void before(const layers::StreamCall& c, int turn) const noexcept {
    over_rows(c, false, [&](Index row) {
      for (const State& s : states)
        if (s.kept != nullptr) std::copy_n(s.at[turn] + row * s.stride, s.units, s.kept + row * s.units);
    });
  }

  void after(const layers::StreamCall& c, int turn) const noexcept {
    over_rows(c, false, [&](Index row) {
      for (std::size_t k = 0; k < states.size(); ++k) {
        const State& s = states[k];
        float* const to = s.at[1 - turn] + row * s.stride;
        std::copy_n(s.kept != nullptr ? s.kept + row * s.units : s.at[turn] + row * s.stride, s.units, to);
        if (static_cast<int>(k) < states_out) std::copy_n(to, s.units, c.output(static_cast<int>(k) + 1) + row * s.units);
      }
      float* const y = c.output() + row * units;
      if (kind == layers::MaskedStep::zeros)
        std::fill_n(y, units, 0.0f);
      else if (last != nullptr)
        std::copy_n(last + row * units, units, y);
      else
        std::copy_n(states[0].at[1 - turn] + row * states[0].stride, units, y);
      for (Index i = 0; x != nullptr && i < units; ++i) y[i] += x[row * units + i];
    });
    if (x != nullptr) over_rows(c, true, [&](Index row) { std::copy_n(c.input() + row * units, units, x + row * units); });
    if (last != nullptr) std::copy_n(c.output(), c.batch * units, last);
  }

 private:
  // Over the rows that have the step, or over the others.
  template <class Task>
  void over_rows(const layers::StreamCall& c, bool having, const Task& task) const noexcept {
    const float* const there = static_cast<const float*>(c.arrays[flags]);
    for (Index row = 0; row < c.batch; ++row)
      if ((there[row] != 0.0f) == having) task(row);
  }
};

}  // namespace rekur::graph
