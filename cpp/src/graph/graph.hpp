// A spec made runnable: its layers in order, their parameters in one flat buffer, and runs through them.
//
//   std::unique_ptr<Run> run = graph.forward(batch, {.training = true, .seed = 7, .step = 3, .raw = {true}});
//   loss over run->output(0), its gradient written to run->output_gradient(0)
//   graph.backward(*run, weight_gradients, {});
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "graph/arena.hpp"
#include "graph/plan.hpp"
#include "graph/store.hpp"
#include "layers/layer.hpp"
#include "rekur/model.hpp"
#include "runtime/function_ref.hpp"
#include "runtime/locks.hpp"
#include "runtime/panels.hpp"

namespace rekur::graph {

struct Call;
struct Program;
class Graph;

inline constexpr const char* kSpecKey = "rekur";             // of a file's metadata: the spec
inline constexpr const char* kTrainedKey = "rekur.trained";  // … which layers are not trained as all are; missing: none

struct RunOptions {
  bool training = false;  // dropout draws, and the run can go backward
  bool remat = false;     // … keeping little, and computing again in backward what recurrent layers else keep
  std::uint64_t seed = 0, step = 0;
  bool penalties = false;                   // Run::penalty() is wanted, and in backward its gradient
  Index whole_rows = 0;                     // of a larger batch that the run's is a part of, which penalties are means over
  const struct Trained* trained = nullptr;  // which layers are trained; null: those that are now
  std::vector<bool> raw = {};               // per output (empty: none): leave its final activation out; see Graph::final_activation
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
  // The valid steps of output k; without a time axis one a row.
  layers::RowSteps output_steps(std::size_t k) const;
  // Training runs: where the gradient of the loss with respect to output(k) goes (for a raw output: with respect to what it held
  // before the activation). Asking for it says that one arrives: every element must then be written (not added to), before
  // backward.
  float* output_gradient(std::size_t k);
  // What the layers' outputs add to the loss, where that was asked for.
  double penalty() const { return penalty_; }

 private:
  friend class Graph;
  Run() = default;
  [[noreturn]] void out_of_memory() const;

  const Topology* topology_ = nullptr;  // the graph's
  std::shared_ptr<const Plan> plan_;
  std::shared_ptr<ArenaPool> pool_;
  Arena arena_;
  float *kept_ = nullptr, *passing_ = nullptr;  // where the plan's offsets count from; both are the arena's, but of a lent run
  const float* weights_ = nullptr;              // of a lent run: all of the graph's, in their order
  std::uint32_t stream_ = 0, time_ = 0;
  std::uint64_t graph_id_ = 0, version_ = 0, epoch_ = 0, seed_ = 0, step_ = 0;
  Index batch_size_ = 0;
  bool training_ = false, consumed_ = false, penalties_ = false;
  Index whole_rows_ = 0;
  double penalty_ = 0;
  std::vector<char> raw_;                 // per node
  std::vector<char> wanted_;              // per tensor: gradients that backward computes
  std::vector<const void*> values_;       // per tensor
  std::vector<float*> gradients_;         // per tensor: null until one arrives
  std::vector<float*> output_gradients_;  // per output: null unless given apart from its tensor's
  RunSteps steps_;
};

// What a run within a layer's run (graph/loop.hpp) has of that layer's.
struct Lent {
  std::shared_ptr<const Plan> plan;  // make_lent_plan, narrowed
  const float* weights = nullptr;    // of the whole graph, in the order of its parameters; the graph's own are not read
  float* kept = nullptr;             // Plan::arena_size floats, in training until backward has run
  float* passing = nullptr;          // Plan::passing_size floats, for backward
  std::span<const void* const> inputs;
  std::span<float* const> outputs;          // of inference: where an output is to stand; null (or an empty span): in `kept`
  std::span<const layers::RowSteps> steps;  // by input; those without lengths have all their steps
  const layers::Context* within = nullptr;  // the layer's run
  std::uint32_t stream = 0, time = 0;       // Context::stream of the first node, Context::time
};

// Panels of a file, by what programs they are of (graph/packed_file.hpp), in their order.
struct PackedProgram {
  std::string isa;
  bool single_row;
  std::vector<runtime::Panel> panels;
};
using PackedPanels = std::vector<PackedProgram>;

// Which layers are trained, and how fast, as it was at one moment.
struct Trained {
  std::uint64_t number = 0;  // another one after every change
  std::vector<char> owner;   // by layer of the spec (Topology::owners): whether it is trained
  std::vector<float> rate;   // … what the learning rate is multiplied by
  bool all = true;           // every layer is, at the plain rate
};

// A layer of another graph whose parameters a layer of this one has for its own.
struct SharedLayer {
  std::string layer;
  std::shared_ptr<const Graph> of;
  std::string theirs;
};

class Graph {
 public:
  // Throws Error naming the layer at fault.
  explicit Graph(const std::string& spec_json);
#if REKUR_TRAINING
  Graph(const std::string& spec_json, std::span<const SharedLayer> shared);
#endif
  ~Graph();

  const std::string& spec() const { return spec_; }
  Signal signal() const {
#if REKUR_TRAINING
    const runtime::Guard lock(trained_mutex_);
#endif
    return topology_.signal;
  }
  // Where it takes memory from when it runs: that which it stands in.
  void keep_memory(const Memory& memory) { memory_ = memory; }
  // Of that memory.
  Arena arena_of(Index floats, const char* purpose) const;
  // Of a graph that was made without weights: from now on these are its own.
  void take_weights(Arena weights) { stores_.own().weights = std::move(weights); }
  // Whether they are a file's (Arena::borrowed), which the first change copies.
  bool weights_are_borrowed() const;
  // What a file has for streams of the weights as they are now. keep: what has it; null: the caller.
  void take_panels(PackedPanels panels, std::shared_ptr<const void> keep);
  const std::vector<TensorInfo>& inputs() const { return input_infos_; }
  const std::vector<TensorInfo>& outputs() const { return output_infos_; }
  const std::vector<ParameterInfo>& parameters() const { return parameter_infos_; }
  // Follows parameters(); the name is relative to the layer.
  const std::vector<layers::ParamSpec>& parameter_specs() const { return parameter_specs_; }

  Index parameter_count() const { return parameter_count_; }
  // The flat parameter buffer; empty where some stand in other graphs' stores.
  std::span<const float> weights() const;
  // Where all parameters stand, in their order.
  std::span<const Segment> segments() const { return segments_; }
  const float* data(const Segment& segment) const { return stores_[segment.store].weights.data() + segment.at; }
  // While the result lives, no weight changes. Not for a thread that is in a run, or already holds one.
  [[nodiscard]] HeldStores hold_weights() const { return HeldStores(stores_); }
  // change(segment, weights) for each of the segments, while no run is under way: none reads weights, or panels packed from them,
  // that are half changed. It must not throw.
  void change_weights(std::span<const Segment> segments, FunctionRef<void(const Segment&, std::span<float>)> change);
  void set_weights(std::span<const float> flat);  // as many as parameter_count() says

  // The pieces of the parameters that these layers have.
  std::vector<Segment> segments_of(const std::vector<char>& owners) const;
  const std::vector<std::string>& layers() const { return topology_.owners; }
  // The layer that parameter i belongs to.
  int owner_of(std::size_t parameter) const { return parameter_owner_[parameter]; }
#if REKUR_TRAINING
  Segment segment_of(std::size_t parameter) const;
  std::shared_ptr<const Trained> trained() const;
  // For the next run on. Throws Error for a name that is no layer's.
  void set_trained(const std::string& layer, bool trained, float rate);
  // Layer::compute_in of all, and of streams made from now on.
  void compute_in(Precision precision);
  // The same as text for a file, empty where all layers are trained at the plain rate; and what that text says.
  std::string trained_text() const;
  void set_signal(const Signal& signal);
  void set_trained(const std::string& text);
#endif

  std::vector<Shape> output_shapes(const std::vector<Shape>& inputs) const;
  std::vector<std::string> layers_across_time() const;  // Layer::crosses_resets
  // Floats that a run takes beside its inputs, its outputs and what threads keep.
  Index arena_size(const std::vector<Shape>& inputs, bool training, bool remat) const;

  // Validates everything first. Any number of threads may call it at once.
  std::unique_ptr<Run> forward(const Batch& batch, const RunOptions& options) const;

  // By output: flags [B][T] of its valid steps; empty where all are, and for outputs without a time axis. Runs no more of the graph
  // than masks depend on.
  std::vector<std::vector<std::uint8_t>> valid_steps(const Batch& batch) const;

  // Consumes a training run. d_weights is overwritten: gradients of what is not trained are zero or, where the caller says what is
  // trained, stay as they were. Input gradients follow inputs(), overwritten, null: not wanted (an empty span: none wanted).
  // `ready`, where it is given, is told by whoever calls which of d_weights are what they will be: [begin, end), layer by layer.
  using Ready = FunctionRef<void(Index begin, Index end)>;
  void backward(Run& run, std::span<float> d_weights, std::span<const View> d_inputs, const Trained* trained = nullptr,
                const Ready* ready = nullptr) const;

  // For a layer that has this graph for its own (graph/loop.hpp), which has checked what comes in and prepared the weights. A run
  // may be lent to again and again: to go backward, lend what was lent for its forward pass.
  struct WithoutWeights {};
  Graph(const std::string& spec_json, WithoutWeights);
  const Topology& topology() const { return topology_; }
  void prepare_lent(const float* weights, std::uint64_t version, bool training) const;
  std::unique_ptr<Run> lent_run() const;
  void lend(Run& run, const Lent& lent) const;
  void forward_lent(Run& run) const;
#if REKUR_TRAINING
  // Adds to d_weights, of all parameters in their order (null: not wanted), and to d_inputs, by input (null likewise).
  void backward_lent(Run& run, float* d_weights, std::span<float* const> d_inputs) const;
#endif

  // Throws Error where backward would.
  void check_backward(const Run& run, std::span<float> d_weights, std::span<const View> d_inputs) const;

  // The graph one time step at a time, with the weights as they are now, for the ISA in use (graph/program.hpp). Shared by all who
  // ask for the same while one of them keeps it. whole: inputs that do not step. Throws Error naming the layer that cannot go so.
  std::shared_ptr<const Program> program(bool single_row, std::span<const std::string> whole = {}) const;
  // The same for one who shares it with nobody: nothing of it stands in the graph.
  std::shared_ptr<const Program> own_program(bool single_row, std::span<const std::string> whole = {}) const;
#if REKUR_TRAINING
  // The panels of such a program, which is made for this: what a file is to keep. task: sees them while they are there.
  void make_panels(bool single_row, FunctionRef<void(std::span<const runtime::Panel>)> task) const;
#endif

#if REKUR_TRAINING
  // Whether some layer's outputs add to the loss.
  bool has_penalties() const;
  // What layers that are trained have observed of the batch of a training run (Layer::observed), one call after the other; before
  // backward. And the pieces of the weights that follow it, in that order.
  void observed(const Run& run, const Trained& trained, std::vector<float>& values) const;
  struct Following {
    Segment segment;
    const layers::Layer* layer;
    Index observed;  // floats
  };
  std::vector<Following> following(const Trained& trained) const;
  Index observed_size(const Trained& trained) const;
#endif

  // The activation that output k ends in, if a loss may take it over: output k is the whole output of a Dense or Activation layer
  // that nothing else reads. `none` otherwise.
  layers::FinalActivation final_activation(std::size_t k) const;
  // out = activation(output k), of a run in which it was raw.
  void apply_final_activation(const Run& run, std::size_t k, float* out) const;
  // Layer::chain_loss of output k, of a run in which it was raw; final_activation(k) is a chain.
  double chain_loss(const Run& run, std::size_t k, const std::int32_t* tags, std::span<const float> weights, float* gradient,
                    double scale) const;

 private:
  void build();
  void lay_out_parameters(std::span<const SharedLayer> shared, bool own_weights = true);
  void share(Node& node, const SharedLayer& with, std::size_t first_parameter);
  std::shared_ptr<const Plan> plan(const std::vector<Shape>& inputs, bool training, bool remat = false) const;
  std::shared_ptr<const Plan> any_plan(const std::vector<Shape>& inputs) const;  // for shapes alone
  std::vector<Shape> check(const Batch& batch) const;
  void check_shapes(const std::vector<Shape>& inputs) const;
  void begin_steps(const Batch& batch, Run& run) const;
  void check_options(const RunOptions& options, const Plan& plan) const;
  void bind(Run& run, const Batch& batch, const RunOptions& options) const;
  // `only`: by node, whether it is to run; null: all that the outputs need.
  void run_forward(Run& run, const Trained* trained, const std::vector<char>* only = nullptr) const;
  std::vector<char> behind_masks() const;
  void run_backward(Run& run, std::span<float> d_weights, const Trained& trained, const Ready* ready = nullptr) const;
  bool point_backward(Run& run, std::size_t i, float* d_weights, Call& call) const;
  void tell_ready(std::size_t i, std::size_t count, const Trained& trained, const Ready& ready) const;
  void start_gradients(Run& run, const Trained& trained) const;
  std::vector<char> wanted_gradients(const Run& run, const Trained& trained) const;
  void bind_values(Run& run) const;
#if REKUR_TRAINING
  std::vector<layers::TensorSpec> inputs_of(const Node& node) const;
#endif
  void point_at_output(const Run& run, std::size_t k, Call& call) const;
  const float* weights_of(const Node& node) const { return stores_[node.store].weights.data() + node.weights_at; }
  const float* weights_of(const Node& node, const Run& run) const {
    return run.weights_ != nullptr ? run.weights_ + node.weights_begin : weights_of(node);
  }

  std::shared_ptr<const Program> made_program(bool single_row, std::span<const std::string> whole) const;
  std::shared_ptr<const Program> made_program(bool single_row, std::span<const std::string> whole, runtime::Panels& panels) const;

  std::string spec_;
  Memory memory_;
  PackedPanels panels_;
  std::uint64_t panels_version_ = 0;       // of the weights that they are of
  std::shared_ptr<const void> keep_file_;  // what has them, and the weights that are borrowed
  Topology topology_;
  std::vector<TensorInfo> input_infos_, output_infos_;
  std::vector<ParameterInfo> parameter_infos_;
  std::vector<layers::ParamSpec> parameter_specs_;
  Index parameter_count_ = 0;
  std::vector<int> parameter_owner_;
  Stores stores_;
  std::vector<Segment> segments_;
#if REKUR_TRAINING
  mutable runtime::Mutex trained_mutex_;
  std::shared_ptr<const Trained> trained_;
#endif
  std::uint64_t id_;
  std::shared_ptr<ArenaPool> pool_;
  Precision precision_ = Precision::float32;  // of layers that leave it open
  mutable runtime::Mutex plans_mutex_;
  mutable std::vector<std::shared_ptr<const Plan>> plans_;  // the last few used, latest first
  mutable runtime::Mutex programs_mutex_;
  mutable std::vector<std::weak_ptr<const Program>> programs_;
};

}  // namespace rekur::graph
