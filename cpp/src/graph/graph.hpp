// A spec made runnable: its layers in order, their parameters in one flat buffer, and runs through them.
//
//   std::unique_ptr<Run> run = graph.forward(batch, {.training = true, .seed = 7, .step = 3, .raw = {true}});
//   loss over run->output(0), its gradient written to run->output_gradient(0)
//   graph.backward(*run, weight_gradients, {});
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string>
#include <vector>

#include "graph/arena.hpp"
#include "graph/plan.hpp"
#include "layers/layer.hpp"
#include "rekur/model.hpp"
#include "runtime/calls.hpp"

namespace rekur::graph {

struct Call;
struct Program;

inline constexpr const char* kSpecKey = "rekur";  // of a file's metadata: the spec

struct RunOptions {
  bool training = false;  // dropout draws, and the run can go backward
  std::uint64_t seed = 0, step = 0;
  std::vector<bool> raw = {};  // per output (empty: none): leave its final activation out; see Graph::final_activation
  // Empty, or one view an output that receives it.
  std::span<const View> outputs = {};
};

// One pass through a graph: its arrays, and what backward will need. Reads the batch's arrays again in backward.
class Run {
 public:
  ~Run();

  Index batch_size() const { return batch_size_; }
  Index arena_size() const { return plan_->arena_size; }  // floats
  // Valid until backward has run. Sizes as output_shape(k) says; output k before its final activation if that was asked for.
  const float* output(std::size_t k) const;
  const Shape& output_shape(std::size_t k) const;
  // Lengths [B] of output k's time axis; empty: it has none, or all rows are full. The caller's array, as given in the batch.
  std::span<const std::int32_t> output_lengths(std::size_t k) const;
  // Training runs: where the gradient of the loss with respect to output(k) goes (for a raw output: with respect to what it held
  // before the activation). Asking for it says that one arrives: every element must then be written (not added to), before
  // backward.
  float* output_gradient(std::size_t k);

 private:
  friend class Graph;
  Run() = default;
  [[noreturn]] void out_of_memory() const;

  const Topology* topology_ = nullptr;  // the graph's
  std::shared_ptr<const Plan> plan_;
  std::shared_ptr<ArenaPool> pool_;
  Arena arena_;
  std::uint64_t graph_id_ = 0, version_ = 0, epoch_ = 0, seed_ = 0, step_ = 0;
  Index batch_size_ = 0;
  bool training_ = false, consumed_ = false;
  std::vector<char> raw_;                               // per node
  std::vector<char> wanted_;                            // per tensor: gradients that backward computes
  std::vector<const void*> values_;                     // per tensor
  std::vector<float*> gradients_;                       // per tensor: null until one arrives
  std::vector<float*> output_gradients_;                // per output: null unless given apart from its tensor's
  std::vector<std::span<const std::int32_t>> lengths_;  // per input
};

// Runs go on together, changes of the weights alone. Whoever waits to write goes before whoever comes to read after.
class Turns {
 public:
  auto read() { return Turn<std::shared_lock<std::shared_mutex>>(*this); }
  auto write() { return Turn<std::unique_lock<std::shared_mutex>>(*this); }

 private:
  template <class Lock>
  class Turn {
   public:
    explicit Turn(Turns& turns) : lock_(turns.take<Lock>()) {}

   private:
    runtime::Call call_;
    Lock lock_;
  };

  template <class Lock>
  Lock take() {
    const std::lock_guard turn(next_);
    return Lock(mutex_);
  }

  std::mutex next_;
  std::shared_mutex mutex_;
};

class Graph {
 public:
  // Throws Error naming the layer at fault.
  explicit Graph(const std::string& spec_json);
  ~Graph();

  const std::string& spec() const { return spec_; }
  const std::vector<TensorInfo>& inputs() const { return input_infos_; }
  const std::vector<TensorInfo>& outputs() const { return output_infos_; }
  const std::vector<ParameterInfo>& parameters() const { return parameter_infos_; }
  // Follows parameters(); the name is relative to the layer.
  const std::vector<layers::ParamSpec>& parameter_specs() const { return parameter_specs_; }

  // The flat parameter buffer, 64-byte aligned.
  std::span<const float> weights() const { return {weights_.data(), static_cast<std::size_t>(parameter_count_)}; }
  // While the result lives, weights() does not change. Not for a thread that is in a run, or already holds one.
  [[nodiscard]] auto hold_weights() const { return turns_.read(); }
  // change(weights), while no run is under way: none reads weights, or panels packed from them, that are half changed.
  template <class Change>
  void change_weights(const Change& change) {
    const auto turn = turns_.write();
    ++version_;
    change(std::span<float>(weights_.data(), static_cast<std::size_t>(parameter_count_)));
  }

  std::vector<Shape> output_shapes(const std::vector<Shape>& inputs) const;

  // Validates everything first. Any number of threads may call it at once.
  std::unique_ptr<Run> forward(const Batch& batch, const RunOptions& options) const;

  // Consumes a training run. d_weights is overwritten; input gradients follow inputs(), overwritten, null: not wanted
  // (an empty span: none wanted).
  void backward(Run& run, std::span<float> d_weights, std::span<const View> d_inputs) const;

  // Throws Error where backward would.
  void check_backward(const Run& run, std::span<float> d_weights, std::span<const View> d_inputs) const;

  // The graph one time step at a time, with the weights as they are now, for the ISA in use (graph/program.hpp). Shared by all who
  // ask for the same while one of them keeps it. Throws Error naming the layer that cannot go so.
  std::shared_ptr<const Program> program(bool single_row) const;

  // The activation that output k ends in, if a loss may take it over: output k is the whole output of a Dense or Activation layer
  // that nothing else reads. `none` otherwise.
  layers::FinalActivation final_activation(std::size_t k) const;
  // out = activation(raw), rows of output k's features; in place. Copies where final_activation(k) is none.
  void apply_final_activation(std::size_t k, const float* raw, float* out, Index rows) const;

 private:
  void allocate_parameters();
  std::shared_ptr<const Plan> plan(const std::vector<Shape>& inputs, bool training) const;
  std::vector<Shape> check(const Batch& batch) const;
  void check_lengths(const Batch& batch, Run& run) const;
  void check_joins(const Run& run) const;
  void check_options(const RunOptions& options, const Plan& plan) const;
  void bind(Run& run, const Batch& batch, const RunOptions& options) const;
  void run_forward(Run& run) const;
  void run_backward(Run& run, std::span<float> d_weights) const;
  bool point_backward(Run& run, std::size_t i, std::span<float> d_weights, Call& call) const;
  void start_gradients(Run& run, std::span<const View> d_inputs) const;
  std::vector<char> wanted_gradients(std::span<const View> d_inputs) const;

  std::string spec_;
  Topology topology_;
  std::vector<TensorInfo> input_infos_, output_infos_;
  std::vector<ParameterInfo> parameter_infos_;
  std::vector<layers::ParamSpec> parameter_specs_;
  Index parameter_count_ = 0;
  Arena weights_;
  std::atomic<std::uint64_t> version_{1};
  mutable Turns turns_;  // for weights_, version_ and what layers pack
  std::uint64_t id_;
  std::shared_ptr<ArenaPool> pool_;
  mutable std::mutex plans_mutex_;
  mutable std::vector<std::shared_ptr<const Plan>> plans_;  // the last few used, latest first
  mutable std::mutex programs_mutex_;
  mutable std::vector<std::weak_ptr<const Program>> programs_;
};

}  // namespace rekur::graph
