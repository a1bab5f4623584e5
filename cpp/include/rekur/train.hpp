// Training: losses, optimisers and clipping around a Model.
//
//   rekur::Trainer trainer(model, R"({"optimizer": {"name": "adam"}, "losses": [{"name": "mean_squared_error"}]})");
//   rekur::StepResult r = trainer.step(batch, targets);
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "rekur/model.hpp"

#if !REKUR_TRAINING
#error "this rekur was built for inference only (REKUR_TRAINING=OFF)"
#endif

namespace rekur {

struct StepResult {
  double loss = 0;                    // what was minimised: Σ loss_weight · loss, and what layers and regularizers add to it
  std::vector<double> output_losses;  // per output, unweighted
  std::vector<Index> counts;          // per output: rows, or valid steps, that its loss is a mean over
};

// What a loss of the caller's own is asked in the middle of a call: one whose name in the configuration is "callback". Lengths and
// sample weights are the trainer's: it takes the mean, and drops what is padding or has weight 0.
struct LossCall {
  ConstView output;          // float32 (B, F) or (B, T, F)
  std::span<double> values;  // to fill: the loss of each row (B) or step (B·T); 0 so far
  std::span<float>
      gradient;  // to fill: the derivatives of each value by its own features, like output, 0 so far; empty: not wanted
};
using LossFunction = std::function<void(const LossCall&)>;

// What the outputs should have been. targets follow Model::outputs(); the last dimension may be left out where it is 1. Class
// indices (sparse_categorical_crossentropy) are int32.
// sample_weights[i]: empty, or one float per row (B), or one per step (B·T) for outputs with a time axis.
// What has weight 0 is not there: its target is never read and may be NaN or a class that does not exist.
struct Targets {
  std::vector<ConstView> targets;
  std::vector<std::span<const float>> sample_weights;
  // losses[i]: what computes the loss of output i where that is {"name": "callback"}; its target may be missing. Empty: there is
  // none. It runs on the calling thread and must not call the same trainer. What it throws comes out of step or evaluate, and
  // nothing has changed.
  std::vector<LossFunction> losses = {};
};

// Some rows of a batch whose other rows are computed elsewhere or later: a part of a training step. What the parts give adds up to
// the step, and who adds it up, in which order and by which transport, is the caller's affair (docs/distributed.md).
struct StepPart {
  std::vector<Index> counts;  // by output: of the whole batch, the rows or valid steps that its loss is a mean over
  Index rows = 0;             // of the whole batch
  std::uint64_t number = 0;   // which part this is: noise, such as dropout, is drawn by it
  // Told on the calling thread, while the part goes backward, which of the sums are what they will be: [begin, end), a layer after
  // the other, the last layers first; may be missing. It must not call the same trainer. What is never told is so at the end.
  std::function<void(Index begin, Index end)> ready = {};
};

// Calls from several threads take turns; evaluations go on side by side. One that was moved from throws Error.
class REKUR_API Trainer {
 public:
#if REKUR_THROWS
  // config (JSON): "optimizer": {"name", …hyperparameters}, "losses": [one per output: {"name", …} or null], "loss_weights": [..]
  // (optional), "seed": integer (optional, for dropout), "remat": boolean (optional, see set_remat),
  // "precision": "float32" or "bf16" (optional; docs/precision.md): what layers whose spec does not say it compute their products
  // in from now on, in this trainer and wherever else the model runs; no run of it may be under way. A loss of the user's own is
  // {"name": "equations", …} (docs/losses.md) or
  // {"name": "callback"} (LossCall). Throws Error for unknown names, with a suggestion. What is trained is
  // what the model is now: it may be moved or destroyed; assigned to, it is another model, which this trainer does not touch.
  Trainer(Model& model, const std::string& config_json);
#endif
  ~Trainer();
  Trainer(Trainer&&) noexcept;
  Trainer& operator=(Trainer&&) noexcept;

#if REKUR_THROWS
  // Forward, loss, backward, clipping, update. `outputs` may be empty, or one View per output to receive the predictions made on
  // the way. A target out of range, a shape that does not fit, … throws Error before any weight changes.
  StepResult step(const Batch& batch, const Targets& targets, std::span<const View> outputs = {});

  // An update by the caller's own gradients: flat, as Model::parameters() has them, such as Model::backward gave them. Clipping,
  // the optimiser and constraints act as in a step; what regularizers would add is the caller's to add. Those of what is not
  // trained are not read. Throws Error for another number of them, and nothing has changed.
  void apply_gradients(std::span<const float> gradients);

  // A step in parts. `add` computes one: its share of the loss (of each output's, too) and of the gradients, without clipping and
  // without what regularizers add; `sums` has sums_size() floats, overwritten: the gradients, flat as Model::parameters() has them,
  // then what layers such as BatchNormalization observed of these rows. Nothing of the model or the trainer changes.
  // `finish` makes the update by the sums over all parts, and gives what regularizers add to the loss. A layer that normalises by
  // the batch goes by the rows of its part. Of one part that is the whole batch, both together are `step`, to the bit. They throw
  // Error, and nothing has changed, for what does not fit.
  std::size_t sums_size() const;
  StepResult add(const Batch& batch, const Targets& targets, const StepPart& part, std::span<float> sums,
                 std::span<const View> outputs = {});
  double finish(std::span<const float> sums);

  // Loss without dropout and without an update.
  StepResult evaluate(const Batch& batch, const Targets& targets, std::span<const View> outputs = {}) const;

  void set_learning_rate(double rate);

  // For the next step on: recurrent layers keep of a batch the states between windows of some steps, and compute the rest of each
  // window again when they go backward. That takes a fraction of the memory (Model::run_memory tells how much) and a third more
  // time; the numbers are the same to the bit.
  void set_remat(bool remat);

  // Other hyperparameters and clipping for the next step on: the "optimizer" of the configuration, whole, of the same name. Its
  // state stays; a velocity begins with zeros when momentum becomes positive and is dropped when it becomes 0. Throws Error and
  // changes nothing for what the constructor would refuse.
  void set_optimizer(const std::string& config_json);

  // With "use_ema" the averages of the weights take their place, as Keras does at the end of fit. Without it nothing happens.
  void finalize();

  // What a checkpoint needs to go on as if it had never stopped: slot buffers by name ("optimizer/m", …) and the iteration count.
  std::map<std::string, Tensor> state() const;
  void set_state(const std::map<std::string, Tensor>& slots, std::uint64_t iterations);
#endif

  double learning_rate() const noexcept;
  std::uint64_t iterations() const noexcept;

 private:
  struct Impl;
  REKUR_HIDDEN Impl& self() const;  // throws Error where it was moved from

  std::unique_ptr<Impl> impl_;
};

}  // namespace rekur
