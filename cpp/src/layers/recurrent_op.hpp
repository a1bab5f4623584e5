// A recurrent layer in a stream: a step of its cell, and what stands around it.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "isa/dispatch.hpp"
#include "layers/recurrent_settings.hpp"
#include "layers/stream_op.hpp"
#include "recurrent/stream_cell.hpp"
#include "rekur/detail/compiler.hpp"

namespace rekur::layers {

class RecurrentOp final : public StreamOp {
 public:
  // initial: by state what it begins as, [units], or null for zeros; copied.
  RecurrentOp(recurrent::StreamCell cell, const RecurrentSettings& settings, std::span<const float* const> initial)
      : cell_(std::move(cell)),
        names_(settings.states),
        step_inputs_(settings.step_inputs),
        reads_x_(settings.reads_x),
        return_state_(settings.return_state),
        residual_(settings.residual),
        plain_(step_inputs_ == 0 && !reads_x_ && !return_state_ && !residual_),
        kernels_(&isa::kernels()) {
    for (int k = 0; k < cell_.states(); ++k) {
      const float* const from = initial[static_cast<std::size_t>(k)];
      initial_.emplace_back(from ? std::vector<float>(from, from + cell_.units(k)) : std::vector<float>());
    }
  }

  Index memory(Index batch) const override { return cell_.memory(batch); }

  std::vector<StreamState> states(Index batch) const override {
    std::vector<StreamState> states;
    for (int k = 0; k < cell_.states(); ++k) {
      const std::vector<float>& initial = initial_[static_cast<std::size_t>(k)];
      states.push_back({names_[static_cast<std::size_t>(k)].c_str(),
                        cell_.units(k),
                        cell_.stride(k),
                        {cell_.state(k, 0, batch), cell_.state(k, 1, batch)},
                        initial.empty() ? nullptr : initial.data()});
    }
    return states;
  }

  bool recurs() const override { return true; }
  Index block_memory(Index batch, Index steps) const override { return cell_.block_memory(batch, steps); }

  void step(const StreamCall& c, int turn) const noexcept override {
    if (plain_) [[likely]]
      cell_.steps(c.batch, turn, 1, c.input(), nullptr, c.output(), c.memory, c.block, c.room);
    else
      run(c, turn, 1);
  }

  // The states of every step are nothing that the cell keeps.
  void steps(const StreamCall& c, int turn, Index count) const noexcept override {
    if (return_state_) return StreamOp::steps(c, turn, count);
    run(c, turn, count);
  }

 private:
  REKUR_NOINLINE void run(const StreamCall& c, int turn, Index count) const noexcept {
    const float* step[recurrent::kMostStepInputs + 1];  // not zeroed: that took a quarter of a small cell's step
    for (std::size_t i = 0; i < step_inputs_; ++i) step[i] = c.input(static_cast<int>(1 + i));
    if (reads_x_) step[step_inputs_] = c.input();
    cell_.steps(c.batch, turn, count, c.input(), step, c.output(), c.memory, c.block, c.room);
    if (residual_) kernels_->add(c.output(), c.input(), c.output(), count * c.batch * cell_.units(0));
    for (int k = 0; return_state_ && k < cell_.states(); ++k) {
      const float* from = c.memory + cell_.state(k, 1 - turn, c.batch);
      float* to = c.output(1 + k);
      for (Index row = 0; row < c.batch; ++row, from += cell_.stride(k)) to = std::copy_n(from, cell_.units(k), to);
    }
  }

  recurrent::StreamCell cell_;
  std::vector<std::string> names_;
  std::size_t step_inputs_;
  bool reads_x_, return_state_, residual_;
  bool plain_;  // a step is the cell's
  const simd::Kernels* kernels_;
  std::vector<std::vector<float>> initial_;
};

}  // namespace rekur::layers
