// A model: a graph of layers built from one JSON spec, all its parameters in one flat buffer.
//
//   rekur::Model model = rekur::Model::load("forecaster.safetensors");
//   std::vector<rekur::Tensor> y = model.predict({x});
//
// A model is immutable while it runs; what a run needs is its own object. So one Model serves any number of threads at once. A
// change of its parameters (initialize, set_weights, a trainer's update) waits for the runs under way, and the runs that come after
// for it.
//
// Where a program is compiled without exceptions, or the library with REKUR_EXCEPTIONS=OFF, the functions that throw are not
// declared: rekur/status.hpp has the same ones as functions that return a Status. A model that was moved from has
// no tensors and no weights, and whatever else is asked of it throws Error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "rekur/memory.hpp"
#include "rekur/tensor.hpp"

namespace rekur {

namespace graph {
class Graph;
class Run;
}  // namespace graph
namespace safetensors {
struct Contents;
}  // namespace safetensors

// A tensor of a model's interface: shape[0] is the batch (-1).
struct TensorInfo {
  std::string name;
  Shape shape;
  DType dtype = DType::float32;
};

// A named view into the flat parameter buffer: elements [offset, offset + element_count(shape)).
struct ParameterInfo {
  std::string name;  // "layer/kernel", "layer/forward/kernel", …
  Shape shape;
  Index offset = 0;
  bool matrix = false;  // what a WeightType rounds: kernels and embeddings, and no bias, gain or weight a unit
  bool int8 = false;    // a matrix that a layer of precision int8 reads as integers; those that are small it reads as they are
};

struct Tensor {
  Shape shape;
  std::vector<float> data;
};

// What a run is given. inputs, lengths and masks follow Model::inputs(); lengths[i] belongs to the time axis of input i and may be
// empty (all rows full). masks[i]: B·T flags, 0 for a step that is none, wherever it stands; empty: all are. A recurrent layer
// gives zeros past a length; where a mask leaves a step out it repeats its last output, as Keras does. resets[i]: B·T flags, not 0
// where another sequence begins within a row: the states of recurrent layers begin anew there, with zeros or learned ones;
// empty: nowhere.
struct Batch {
  std::vector<ConstView> inputs;
  std::vector<std::span<const std::int32_t>> lengths;
  std::vector<std::span<const std::uint8_t>> masks = {};
  std::vector<std::span<const std::uint8_t>> resets = {};
};

#if REKUR_TRAINING
// What one training forward pass keeps. Consumed by Model::backward. Movable; several may be alive.
class REKUR_API Tape {
 public:
  Tape() noexcept;
  ~Tape();
  Tape(Tape&&) noexcept;
  Tape& operator=(Tape&&) noexcept;

 private:
  friend class Model;
  friend class Trainer;
  std::unique_ptr<graph::Run> run_;
};
#endif

class Model;

// Layer `layer` of a model that is made has the weights of layer `theirs` of model `of`.
struct SharedLayer {
  std::string layer;
  const Model* of = nullptr;
  std::string theirs;
};

// Whether a layer is trained, and what the learning rate is multiplied by for it.
struct LayerTraining {
  std::string layer;
  bool trained = true;
  float learning_rate_scale = 1;
};

// What the steps of a model's sequences are, where they are samples of a signal.
struct Signal {
  double sample_rate = 0;  // in Hz; 0: nobody has said
  Index latency = 0;       // samples at that rate by which the output is behind the input
};

struct ModelOptions {
  // Where the model takes its memory from: weights, what is packed for runs, and runs themselves, of which a Tape is a part. Their
  // outputs are the caller's own vectors, as ever.
  Memory memory = {};
};

#if REKUR_TRAINING
// Of which streams a packed file has the panels; those of others are packed when the stream is made.
struct PackOptions {
  std::vector<std::string> isas = {};  // instruction sets, by their names; empty: the one in use
  bool one_row = true;                 // streams of a batch of 1
  bool more_rows = false;              // streams of a larger batch
};
#endif

class REKUR_API Model {
 public:
#if REKUR_THROWS
  // Builds the graph of a spec (docs/spec.md). Parameters start at zero: call initialize or set them.
  // Throws Error naming the layer at fault.
  explicit Model(const std::string& spec_json, const ModelOptions& options = {});
#if REKUR_TRAINING
  // The same with layers that have the weights of another model's layers for their own, whichever of the two is trained or set.
  // Both keep them: the other may be moved or destroyed. Throws Error where their shapes differ.
  Model(const std::string& spec_json, std::span<const SharedLayer> shared);
#endif
#endif
  ~Model();
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;

  const std::string& spec() const noexcept;
  Signal signal() const noexcept;  // as the spec says
  const std::vector<TensorInfo>& inputs() const noexcept;
  const std::vector<TensorInfo>& outputs() const noexcept;
  const std::vector<ParameterInfo>& parameters() const noexcept;

  // The flat buffer, weight_count() floats; empty where the model shares layers with others: copy_weights has them all.
  std::span<const float> weights() const noexcept;
  std::size_t weight_count() const noexcept;
  // Bytes of weights that are a file's where they lie (`map`); 0 where the model has a copy of them.
  std::size_t mapped_bytes() const noexcept;

  // What may ride along in a file: names of tensors must not collide with parameters', the metadata "rekur" is taken.
  struct Extras {
    std::map<std::string, Tensor> tensors;
    std::map<std::string, std::string> metadata;
  };

#if REKUR_THROWS
#if REKUR_TRAINING
  // Draws every parameter by its layer's initialiser from a counter-based generator: the same seed, the same weights, on every
  // machine.
  void initialize(std::uint64_t seed);
  // The same but for the parameters of these names, which stay. Throws Error for a name that the model does not have.
  void initialize(std::uint64_t seed, std::span<const std::string> keep);
#endif

  // Both of weight_count() floats; they throw Error otherwise.
  void set_weights(std::span<const float> flat);
  void copy_weights(std::span<float> flat) const;

  // All of them, the matrices in bf16 or fp16: one after the other, and likewise the others. Throws Error for another number.
  void set_weights(WeightType type, std::span<const std::uint16_t> matrices, std::span<const float> others);

#if REKUR_INT8
  // … or those of eight bits (ParameterInfo::int8) as integers of -127 to 127, and their scales, one for each number of the last
  // axis, likewise. Throws Error too for a scale that is negative or not finite.
  void set_weights(std::span<const std::int8_t> matrices, std::span<const float> scales, std::span<const float> others);
#endif

  // Every matrix becomes the nearest one of this type, or is copied as such; for int8 those that ParameterInfo::int8 says. Throws
  // Error naming the first weight that is too large for the type, or for int8 not finite, and where the model has no matrix of
  // eight bits; nothing is changed then.
  void round_weights(WeightType type);
  void copy_weights(std::span<float> flat, WeightType type) const;

#if REKUR_TRAINING
  // From the next step of any trainer on: whether a layer is trained, and what the learning rate is multiplied by for it. Below the
  // lowest layer that is trained nothing goes backward. Part of a file. Throws Error for a name that no layer has.
  void set_trained(const std::string& layer, bool trained, float learning_rate_scale = 1);
  // By layer, in the order of the spec.
  std::vector<LayerTraining> training() const;
#endif

#if REKUR_TRAINING
  // The sample rate and the latency from now on: the spec says so, and with it a file. spec() refers to another text then, so
  // nobody may be reading it; streams keep what they were made with. Throws Error for a rate that is not 0 or a finite number above
  // it, and for a latency that is not 0 to 2^31 - 1.
  void set_signal(const Signal& signal);
#endif

  // Shapes of the outputs for a batch of these input shapes. Throws Error if they do not fit.
  std::vector<Shape> output_shapes(const std::vector<Shape>& inputs) const;

  // Bytes that a run on inputs of these shapes takes beside the arrays of the caller: predictions, or a training step with or
  // without Trainer::set_remat. What threads keep for themselves comes on top: some hundred KB. Throws Error if the shapes do not
  // fit.
  std::uint64_t run_memory(const std::vector<Shape>& inputs, bool training = false, bool remat = false) const;

  // Layers whose output at a step depends on other steps in a way that no state carries on: a sequence cannot be cut there.
  std::vector<std::string> layers_across_time() const;

  // By output: B·T flags of its steps, 0 where one is past a length or left out by a mask; empty where all are there, and for
  // outputs without a time axis.
  std::vector<std::vector<std::uint8_t>> valid_steps(const Batch& batch) const;

  // Inference. Outputs are written to `outputs`, in the order of outputs(), each of the shape output_shapes says; they must not
  // overlap one another or an input.
  void predict(const Batch& batch, std::span<const View> outputs) const;
  std::vector<Tensor> predict(const Batch& batch) const;

#if REKUR_TRAINING
  // Training mode: dropout active, drawn from (seed, step). Outputs as above; the tape keeps what backward needs, copies of nothing
  // the caller owns: the batch's arrays must stay valid and unchanged until backward has consumed the tape.
  Tape forward(const Batch& batch, std::span<const View> outputs, std::uint64_t seed = 0, std::uint64_t step = 0) const;

  // output_gradients follow outputs(); a null data pointer means zero. weight_gradients is a flat buffer of
  // weight_count() floats, overwritten: zeros for layers that are not trained. input_gradients follow inputs(), overwritten; a null
  // data pointer means not wanted; int32 inputs have none.
  void backward(Tape tape, std::span<const ConstView> output_gradients, std::span<float> weight_gradients,
                std::span<const View> input_gradients) const;
#endif

  // One .safetensors file: parameters by name, the matrices in `weights`, rounded where they are not of that type (of int8 with
  // their scales as NAME.scale; what is no matrix of eight bits is float32 there), the spec in the metadata; `extra` tensors and
  // metadata may ride along (optimiser state). save: written to a temporary file, synced, renamed, so that the path holds the old
  // file or the new one, never a piece. A save that is killed leaves `.NAME.rekur-….tmp` beside it, which the next save to the path
  // removes. load reads what rides along where `extras` asks for it, and passes over it otherwise. Both throw IoError.
#if REKUR_TRAINING
  // A file for `map`, which `load` reads as well: with panels, the weights in the order in which the kernels of streams read them.
  // Sets instruction sets in turn, so no other call may be under way. Throws Error for one that this machine lacks, and naming the
  // layer that cannot go one step at a time.
  void pack(const std::string& path, const PackOptions& options = {}, const Extras& extras = {}) const;
  void save(const std::string& path) const;
  void save(const std::string& path, const Extras& extras, WeightType weights = WeightType::float32) const;
#endif
  static Model load(const std::string& path, const ModelOptions& options = {});
  static Model load(const std::string& path, Extras& extras, const ModelOptions& options = {});
  // The same where the file lies, whose weights and panels (`pack`) are used there, as far as they stand there as the model has
  // them: no copy of them is made, and the system reads the file's pages when they are first looked at. The file stays mapped as
  // long as the model or a stream of it lives; replacing it (as `save` and `pack` do) changes nothing, but whoever writes into it
  // or makes it shorter changes, or ends, the program. A change of the weights makes a copy of them first. Where files cannot be
  // mapped this is `load`.
  static Model map(const std::string& path, const ModelOptions& options = {});
  // In memory that is never written, such as a microcontroller's flash, and must be there as long as the model and streams of it.
  // At a multiple of 64 bytes all is used that can be.
  static Model map(std::span<const std::byte> file, const std::string& source = "model in memory",
                   const ModelOptions& options = {});
  // The same from memory, e.g. a file compiled into the program; nothing of `file` is kept. `source` names it in messages.
  static Model load(std::span<const std::byte> file, const std::string& source = "model in memory",
                    const ModelOptions& options = {});
#endif

 private:
  friend class Decoder;
  friend class Generator;
  friend class Stream;
  friend class Trainer;
#if REKUR_THROWS
  REKUR_HIDDEN static Model load_from(const std::string& path, Extras* extras, const ModelOptions& options);
  REKUR_HIDDEN static Model from(safetensors::Contents file, const std::string& source, Extras* extras, const ModelOptions& options,
                                 const std::shared_ptr<const void>* mapped = nullptr);
  REKUR_HIDDEN void read_weights(safetensors::Contents& file, const float* in_place, std::shared_ptr<const void> keep);
#if REKUR_TRAINING
  REKUR_HIDDEN void write(const std::string& path, const Extras& extras, WeightType weights,
                          std::span<const std::pair<std::string, std::span<const float>>> panels) const;
#endif
  struct WithoutWeights {};
  REKUR_HIDDEN Model(const std::string& spec_json, const ModelOptions& options, WithoutWeights);
#endif
  // Throws Error where the model was moved from.
  REKUR_HIDDEN graph::Graph& graph() const;

  std::shared_ptr<graph::Graph> graph_;  // a Trainer has it, too
};

#if REKUR_THROWS
// Shape inference for one layer, given by its JSON object ("inputs" is not read): what its outputs are for such inputs.
// Throws Error naming the layer. This is what a description language on top (Python) asks while it builds a model.
REKUR_API std::vector<TensorInfo> infer_layer(const std::string& layer_json, const std::vector<TensorInfo>& inputs);

// Names of the layer types there are ("LSTM", "Dense", …), sorted.
REKUR_API std::vector<std::string> layer_types();
#endif

}  // namespace rekur
