// Loop: a graph of one time step, its body, for every step of a sequence, its states handed from step to step: attention in a
// decoder's step, cells that are layers.
//   inputs   steps (B, T, …)         what the body reads one step of: (B, 1, …) there
//            constants               what it reads as a whole at every step: a memory with a time axis of its own, keys, vectors
//            states (B, …)           before the first step: those that are given, the first ones; others are zeros
//   outputs  outputs (B, T, …)       what the body gives at a step, or that of a row's last step (B, …)
//            states (B, …)           after a row's last step, with return_state
// Rows stand in order of their valid steps, longest first: the body's batch at step k are the rows that have a step k.
#pragma once

#include <memory>
#include <vector>

#include "graph/graph.hpp"
#include "runtime/locks.hpp"

namespace rekur::graph {

class Loop final : public layers::Layer {
 public:
  struct Settings {
    std::size_t steps = 1, states = 0;  // of the body's inputs the first and the last ones
    bool return_sequences = false, return_state = false;
  };

  Loop(const std::string& type, const std::string& name, std::unique_ptr<Graph> body, const Settings& settings);

  bool joins_time() const override { return false; }
  bool crosses_resets() const override { return true; }

  std::vector<layers::TensorSpec> infer(std::span<const layers::TensorSpec> inputs) const override;
  std::vector<layers::ParamSpec> parameters(std::span<const layers::TensorSpec> inputs) const override;
  void prepare(const float* weights, std::uint64_t version, bool training) const override;
  Index tape_size(std::span<const layers::TensorSpec> inputs, bool training) const override;
  void check(const layers::Context& run) const override;
  void forward(const layers::Context& run) const override;
#if REKUR_TRAINING
  void compute_in(Precision precision) override;
  Index remat_tape_size(std::span<const layers::TensorSpec> inputs) const override;
  Index backward_scratch(std::span<const layers::TensorSpec> inputs) const override;
  void backward(const layers::Context& run) const override;
#endif
  std::unique_ptr<const layers::StreamOp> stream(const layers::StreamBuild& build) const override;  // loop_stream.cpp
  bool takes_whole(std::size_t input) const override { return input >= steps_ && input < steps_ + constants_; }
  std::size_t first_initial_state() const override { return steps_ + constants_; }
  layers::MaskedStep masked_step() const override {
    return outputs_ > 1 ? layers::MaskedStep::refused : layers::MaskedStep::last_output;
  }

 private:
  std::unique_ptr<const layers::StreamOp> stream_by_runs(const layers::StreamBuild& build) const;  // loop_run_op.cpp
  // The plans of runs of these shapes, by number of rows.
  struct Plans;
  struct Places;
  class Pass;

  const layers::TensorSpec& body_input(std::size_t i) const;
  const layers::TensorSpec& body_output(std::size_t k) const;
  bool is_state(std::size_t input) const { return input >= steps_ + constants_; }
  void check_body() const;
  void check_input(std::size_t i, const layers::TensorSpec& given) const;
  // What the body's inputs are for so many rows; kUnknown where that is not known.
  std::vector<Shape> body_shapes(std::span<const layers::TensorSpec> inputs, Index rows) const;
  std::shared_ptr<Plans> plans(std::span<const layers::TensorSpec> inputs, bool training) const;
  Places places(std::span<const layers::TensorSpec> inputs, bool training, bool remat) const;

  std::unique_ptr<Graph> body_;
  Settings s_;
  std::size_t steps_, constants_, states_, outputs_;  // how many there are
  std::size_t held_;                                  // the first constant with a time axis; kNone
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  mutable runtime::Mutex plans_mutex_;
  mutable std::vector<std::shared_ptr<Plans>> plans_;  // the last few used, latest first
};

}  // namespace rekur::graph
