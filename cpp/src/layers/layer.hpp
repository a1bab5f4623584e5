// A layer: one node of the graph. It knows its shapes, its parameters and how to run forward and backward on arrays that the graph
// hands to it. It owns no parameter and no activation; what it caches are packed weights.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/text.hpp"
#include "layers/time.hpp"
#include "rekur/tensor.hpp"
#include "simd/kernels.hpp"

namespace rekur::layers {

// What flows along an edge of the graph: a dense, batch-major array (B, F), (B, T, F) or with further axes between T and F, or of
// ids, which have no F. While a model is built shape[0] is kUnknown (and often the time); in a run every dimension is known.
struct TensorSpec {
  Shape shape;
  DType dtype = DType::float32;
  int time_source = -1;    // which of the graph's time axes axis 1 is (graph/time_axes.hpp); -1: there is no time axis
  TimeChange change = {};  // of a layer's output: what it makes of the axis that time_source says

  bool has_time() const { return shape.size() >= (dtype == DType::int32 ? 2 : 3); }
};

inline constexpr std::size_t kMostAxes = 5;

// A parameter as the layer wants it. `name` is relative to the layer: "kernel", "forward/bias".
struct ParamSpec {
  std::string name;
  Shape shape;
  std::string initializer;   // JSON text: a name in quotes or an object
  Index units = 0;           // of the layer: what "rnn_uniform" and "unit_forget" go by
  Index forget = -1;         // of a bias: its element where the forget gate's `units` begin; -1: it has none
  bool trainable = true;     // false: training leaves it as it is
  bool matrix = false;       // ParameterInfo::matrix
  bool int8 = false;         // ParameterInfo::int8
  std::string context = {};  // set by the graph: whose initialiser it is, for errors
#if REKUR_TRAINING
  std::string regularizer = {}, constraint = {};  // set by the graph: the layer's rules for it, JSON text or empty
#endif
};

#if REKUR_TRAINING
// What a spec says under "regularizers" and "constraints" of one of a layer's parameters.
struct ParamRule {
  std::string parameter;  // its name without a direction in front: "kernel" is that of "forward/kernel" too
  std::string rule;       // JSON text: an object with a name
};
#endif

// One layer's share of a run. Gradients are added to what is there (the graph has zeroed them, but see writes_gradients()); a null
// gradient pointer means "none arrives" among d_outputs and "not wanted" among d_inputs.
struct Context {
  std::span<const TensorSpec> input_specs, output_specs;
  std::span<const void* const> inputs;  // float or std::int32_t
  std::span<float* const> outputs;
  std::span<float* const> d_outputs;  // the layer is their last reader and may overwrite them
  std::span<float* const> d_inputs;
  const float* weights = nullptr;  // the layer's parameters, one after the other
  float* d_weights = nullptr;
  float* tape = nullptr;                  // tape_size() floats, 64-byte aligned; in training they last until backward
  float* scratch = nullptr;               // backward_scratch() floats
  const std::int32_t* lengths = nullptr;  // [B], of the first input's time axis; null: all rows are full
  const RowSteps* axes = nullptr;         // by time axis; null: all rows of all inputs are full
  int common_axis = -1;                   // the one that the inputs have in common (Layer::joins_time), if they are several
  bool training = false;
  bool remat = false;                // of a training run: the tape is remat_tape_size() floats
  bool frozen = false;               // the layer is not trained, its statistics least of all
  bool penalties = false;            // backward adds the gradient of penalty()
  Index whole_rows = 0;              // of a larger batch that this one is a part of: what penalty() is a mean over; 0: batch()
  bool raw = false;                  // leave out the final activation, forward and backward (final_activation() layers only)
  std::uint64_t seed = 0, step = 0;  // of dropout
  std::uint32_t stream = 0;          // the layer's own
  std::uint32_t time = 0;            // within a loop (graph/loop.hpp): which of its steps this is

  const float* input(std::size_t i = 0) const { return static_cast<const float*>(inputs[i]); }
  const std::int32_t* ids(std::size_t i = 0) const { return static_cast<const std::int32_t*>(inputs[i]); }
  Index batch() const { return input_specs[0].shape[0]; }
  Index rows_of_whole() const { return whole_rows > 0 ? whole_rows : batch(); }
  // In place of `step` for what is drawn anew at each step of a loop; masks that are one a sequence go by `step` alone.
  std::uint64_t drawn_step() const { return step ^ (std::uint64_t{time} << 32); }
  // The valid steps of an input's time axis, and of output 0's.
  RowSteps steps(std::size_t i = 0) const { return steps_of(input_specs[i], common_axis); }
  RowSteps output_steps() const { return steps_of(output_specs[0], -1); }

 private:
  RowSteps steps_of(const TensorSpec& spec, int axis) const {
    if (axes == nullptr || !spec.has_time()) return {.T = spec.has_time() ? spec.shape[1] : 1};
    return axes[axis < 0 ? spec.time_source : axis];
  }
};

class Layer;
class StreamOp;

// What a layer is told when it is to go one time step at a time (layers/stream_op.hpp).
struct StreamBuild {
  std::span<const TensorSpec> inputs, outputs;  // of one step: shapes (B) or (B, F), the batch unknown; time_source: of a sequence
  const float* weights = nullptr;               // the layer's parameters, only during the call
  bool single_row = false;                      // the batch will be 1
  std::uint32_t whole = 0;                      // by bit: inputs with a time axis that do not step; of a whole sequence's shape
  bool constant = false;                        // input 0 is the same at every step
  bool lasting = false;                         // the parameters stay where they are as long as the op lives

  bool is_whole(std::size_t input) const { return input < 32 && (whole >> input & 1u) != 0; }
};

// A layer and its share of a run.
struct LayerCall {
  const Layer* layer;
  const Context* run;
};

// How a layer goes through time, if it can do so in a stack.
enum class Walk : std::uint8_t { none, onwards, backwards };

// What a stream makes of steps of more axes than (B, F) for a layer: refuses, takes the rows of a step as so many of the batch, or
// leaves them to the layer.
enum class StepAxes : std::uint8_t { refused, rows, own };

// What a layer does in a stream for rows that a mask leaves out at a step: as for all others; nothing, so that its states stay and
// its output is its first state, the last one that it gave, or zeros; or it cannot leave rows out.
enum class MaskedStep : std::uint8_t { computed, first_state, last_output, zeros, refused };

// What a layer ends in that a loss can take over; `chain`: tags of which the layer's weights say what goes together (chain_loss).
enum class FinalActivation : std::uint8_t { none, sigmoid, softmax, chain };

class Layer {
 public:
  virtual ~Layer();
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  const std::string& type() const { return type_; }
  const std::string& name() const { return name_; }
#if REKUR_TRAINING
  // What training adds to the loss for parameters, and what it holds them to after each step.
  const std::vector<ParamRule>& regularizers() const { return regularizers_; }
  const std::vector<ParamRule>& constraints() const { return constraints_; }
  void set_rules(std::vector<ParamRule> regularizers, std::vector<ParamRule> constraints) {
    regularizers_ = std::move(regularizers);
    constraints_ = std::move(constraints);
  }
#endif

  // Outputs for such inputs; throws Error where they do not fit. Answers for the shapes of a spec and for those of a run alike.
  virtual std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const = 0;
#if REKUR_TRAINING
  // Where the spec leaves the precision open: what products are computed in from now on. Not during a run.
  virtual void compute_in(Precision /*precision*/) {}
#endif
  // In the order they stand in the flat buffer.
  virtual std::vector<ParamSpec> parameters(std::span<const TensorSpec> /*inputs*/) const { return {}; }
  // Called once, with the inputs the layer will have, before anything below.
  virtual void build(std::span<const TensorSpec> /*inputs*/) {}

  // Packs the weights unless that was done for this version. Several threads may call it at once with the same version.
  virtual void prepare(const float* /*weights*/, std::uint64_t /*version*/, bool /*training*/) const {}

  // Floats the layer wants besides its inputs and outputs; backward_scratch: while it goes backward. For fewer rows, all else being
  // equal, never more: a loop whose rows are done one by one (graph/loop.hpp) has room for the first step's.
  virtual Index tape_size(std::span<const TensorSpec> /*inputs*/, bool /*training*/) const { return 0; }
#if REKUR_TRAINING
  // The tape of a training run that is to keep little and rather computes again (Context::remat).
  virtual Index remat_tape_size(std::span<const TensorSpec> inputs) const { return tape_size(inputs, true); }
#endif

  // Whether the inputs that have a time axis have the same one: merged, or read together step by step. Otherwise the layer says
  // itself which one its outputs have.
  virtual bool joins_time() const { return true; }
  // Whether output 0's valid steps are those of the input that the layer finds to be so: mask() says which.
  virtual bool makes_mask() const { return false; }
  // Whether output 0's axis, its own, has those of the inputs' axes: mask() says which; it reads steps alone.
  virtual bool joins_masks() const { return false; }
  // Writes 0 to valid [B][T] where a step of output 0 is none; the rest is left alone. Called before forward.
  virtual void mask(const Context& /*run*/, std::uint8_t* /*valid*/) const {}

  // Whether an output of a step depends on other steps in a way that cannot begin anew within a row (Batch::resets).
  virtual bool crosses_resets() const { return false; }

  // Whether the layer is there for its penalty alone: nothing can read its output.
  virtual bool only_adds() const { return false; }

  // Looks at values that could lead the arithmetic astray (ids); throws Error.
  virtual void check(const Context&) const {}
  virtual void forward(const Context& run) const = 0;

#if REKUR_TRAINING
  virtual void backward(const Context& run) const = 0;
  virtual Index backward_scratch(std::span<const TensorSpec> /*inputs*/) const { return 0; }
  // Whether backward writes every element of d_weights instead of adding to what the graph has zeroed.
  virtual bool writes_gradients() const { return false; }
  // Whether the layer ends in an activation that a loss can take over (Context::raw).
  virtual FinalActivation final_activation() const { return FinalActivation::none; }
  // Of a layer that ends in a chain, after a raw run, output 0 being there: the mean over rows, each times its weight (none: all
  // 1), of what the tags [B][T] cost. d_output, unless null, becomes its gradient times `scale`; that of the weights waits in the
  // tape.
  virtual double chain_loss(const Context& /*run*/, const std::int32_t* /*tags*/, std::span<const float> /*weights*/,
                            float* /*d_output*/, double /*scale*/) const {
    return 0;
  }
  // … and what output 0 would have been.
  virtual void finish(const Context& /*run*/, const float* /*raw*/, float* /*out*/) const {}

  // What the layer's outputs add to the loss of a step or an evaluation: input and output 0 are there. Where has_penalty() says so,
  // backward runs even if no gradient arrives, and adds the gradient of the penalty where Context::penalties asks for it.
  virtual bool has_penalty() const { return false; }
  virtual double penalty(const Context& /*run*/) const { return 0; }

  // Statistics of a batch that the layer's weights follow once a training step has succeeded. A training forward pass leaves them
  // at the beginning of the tape, so many floats.
  virtual Index observed(std::span<const TensorSpec> /*inputs*/) const { return 0; }
  virtual void follow(const float* /*observed*/, float* /*weights*/) const {}
#endif

  // Layers that walk through time alike can run as a stack, each a little behind the one whose output 0 is its input 0, so that few
  // rows keep several threads busy. The calls go to the first layer of the list: the lowest forward, the highest backward.
  static constexpr std::size_t kMostStacked = 8;
  virtual Walk walk(bool /*training*/) const { return Walk::none; }
  virtual void forward_stack(std::span<const LayerCall> /*upwards*/) const {}
#if REKUR_TRAINING
  virtual void backward_stack(std::span<const LayerCall> /*downwards*/) const {}
#endif

  // Whether output 0 is input 0, unchanged, in inference (dropout).
  virtual bool passes_through(bool /*training*/) const { return false; }

  // The layer one time step at a time, for streams (layers/stream_op.hpp). Null: output 0 is input 0, unchanged. Throws Error with
  // the reason (cannot_stream) where a step at a time is not enough, which is also what a layer does that does not say how.
  virtual std::unique_ptr<const StreamOp> stream(const StreamBuild& build) const;
  virtual StepAxes step_axes() const { return StepAxes::refused; }
  // Whether that input may be there as a whole while others step (StreamOp::take_whole).
  virtual bool takes_whole(std::size_t /*input*/) const { return false; }
  virtual MaskedStep masked_step() const { return MaskedStep::computed; }
  // Whether that output has input 0 of the last step that the row had added: the residual connection of a last output.
  virtual bool adds_last_input() const { return false; }
  // The first of its inputs that is an initial state: a stream keeps that itself.
  static constexpr std::size_t kNoInitialState = static_cast<std::size_t>(-1);
  virtual std::size_t first_initial_state() const { return kNoInitialState; }
  // Throws Error "TYPE 'name': cannot go one step at a time: reason".
  [[noreturn]] void cannot_stream(const char* format, Parts parts = {}) const;

  // Throws Error "TYPE 'name': message".
  [[noreturn]] void fail(const char* format, Parts parts = {}) const;

 protected:
  Layer(const std::string& type, const std::string& name);

  // Throws unless there are `least` to `most` inputs.
  void expect_inputs(std::span<const TensorSpec> inputs, std::size_t least, std::size_t most) const;
  // Throws unless it is float32 of shape (B, F), (B, T, F) or with up to two axes more between, F known.
  void expect_features(const TensorSpec& input) const;
#if REKUR_SEQUENCE
  // Says what the layer makes of the time axis of `output`, whose shape is the input's so far.
  void change_time(TensorSpec& output, const TimeChange& change) const;
#endif
  // For layers with one such input, whose output looks like it.
  std::vector<TensorSpec> infer_like_input(std::span<const TensorSpec> inputs) const;

 private:
  std::string type_, name_;
#if REKUR_TRAINING
  std::vector<ParamRule> regularizers_, constraints_;
#endif
};

// The outputs of a layer that has one.
std::vector<TensorSpec> one(TensorSpec output);

// Adds a parameter; its name begins with `prefix`. It is a matrix if it is called some kernel, convolution or embeddings.
void add_parameter(std::vector<ParamSpec>& specs, std::string_view prefix, const char* name, std::initializer_list<Index> shape,
                   std::string_view initializer, Index units);

// Elements of a parameter; throws Error naming the layer where that overflows.
Index parameter_size(const Layer& layer, const ParamSpec& parameter);

// Rows of a (B, F) or (B, T, F) array and their length.
Index rows_of(const Shape& shape);
inline Index features_of(const Shape& shape) { return shape.back(); }

}  // namespace rekur::layers
