// Optimisers: one pass over weights, gradients and slots. The rules, with g the gradient and t the number of the step from 1:
//
//   sgd       v = momentum v - lr g, w += v; Nesterov: w += momentum v - lr g
//   rmsprop   a = rho a + (1-rho) g², step lr g / √(a + ε), momentum as sgd          (Tieleman & Hinton, 2012); centred: a less the
//             square of the same mean of g
//   adam      m = β₁ m + (1-β₁) g, v = β₂ v + (1-β₂) g², w -= lr √(1-β₂ᵗ)/(1-β₁ᵗ) m / (√v + ε)
//             (Kingma & Ba, 2015, end of section 2: their "epsilon hat"); AMSGrad: the largest v so far (Reddi et al., 2018)
//   adamw     adam with a weight decay of 0.004 unless another is given              (Loshchilov & Hutter, 2019)
//   nadam     adam with Nesterov's momentum, whose share grows                       (Dozat, 2016)
//   adamax    u = max(β₂ u, |g|), w -= lr m / ((1-β₁ᵗ) (u + ε))                      (Kingma & Ba, 2015, section 7)
//   adagrad   a += g², w -= lr g / √(a + ε)                                          (Duchi et al., 2011)
//   adadelta  steps as long as the steps before are to the gradients before          (Zeiler, 2012)
//   ftrl      follows the regularised leader                                         (McMahan et al., 2013)
//   lion      w -= lr sign(β₁ m + (1-β₁) g), m = β₂ m + (1-β₂) g                     (Chen et al., 2023)
//   lamb      adam without that ε hat, times ‖w‖ / ‖step‖ of each parameter          (You et al., 2020)
//
// Where ε stands is where Keras has it, which matters to small gradients: PyTorch's Adam divides by √v̂ + ε, its RMSprop by √a + ε.
// Weight decay is decoupled from the gradient, w -= lr decay w before the step, as in Keras, and covers every parameter that is not
// excluded.
//
// What every kind can do besides (read_hyperparameters):
//
//   gradient_accumulation_steps k   gradients are added up, and every k-th step updates by their mean; t, and what goes by
//                                   steps below, counts updates
//   use_ema                         an average of the weights, average = momentum average + (1 - momentum) w after every step;
//                                   it takes their place every ema_overwrite_frequency steps, if that is given, and at the end
//   lookahead_sync_period k         slow weights, which after every k updates go a share of the way to w, and w to them (Zhang et
//                                   al., 2019)
//   gradient_centralization         the mean of each output's gradients is taken from them, of parameters of two axes and more
//                                   (Yong et al., 2020)
//   gradient_noise η                normal noise of variance η / t^decay is added to the clipped gradients (Neelakantan et
//                                   al., 2015)
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.hpp"

namespace rekur::train {

enum class OptimizerKind : std::uint8_t { sgd, rmsprop, adam, adamw, nadam, adamax, adagrad, adadelta, ftrl, lion, lamb };

std::string name(OptimizerKind kind);

// Numbers of the kinds that do not use them are left at what does nothing.
struct Hyperparameters {
  double learning_rate = 0;
  double momentum = 0;
  bool nesterov = false;
  bool centered = false;                            // rmsprop
  bool amsgrad = false;                             // adam
  double rho = 0;                                   // rmsprop, adadelta
  double beta_1 = 0, beta_2 = 0;                    // adam and its kin, lion
  double epsilon = 0;                               //
  double initial = 0;                               // adagrad, ftrl: what the accumulator begins with
  double power = 0, l1 = 0, l2 = 0, shrinkage = 0;  // ftrl
  double beta = 0;
  double weight_decay = 0;
  std::vector<std::string> not_decayed = {};  // parameters, by name
  Index accumulation = 0;                     // steps; 0: each is an update
  bool ema = false;
  double ema_momentum = 0;
  Index ema_overwrite = 0;  // steps; 0: never
  Index sync_period = 0;    // updates; 0: no slow weights
  double slow_step = 0;
  bool centralization = false;
  double noise = 0, noise_decay = 0;
};

// A number for each weight that is trained, part of a checkpoint.
struct Slot {
  enum class Begin : std::uint8_t { zeros, initial, weights };

  std::string name;  // "m", "v", "velocity", "square", …
  Begin begin = Begin::zeros;
  std::vector<float> values = {};
};

// The name of an optimiser's configuration: the kind it stands for. Throws Error for an unknown one, with a suggestion.
OptimizerKind read_optimizer_kind(const json::Value& config);

// Keras's names and defaults, from `config`; whoever owns the reader asks for the rest and finishes it. Throws Error for a number
// out of range.
Hyperparameters read_hyperparameters(OptimizerKind kind, json::Reader& config);

// Weights to update, the gradients that belong to them, which the update may use up, and where in the slots their own stand. One
// parameter, or where by_parameter() is false any part of them.
struct Piece {
  float* weights;
  float* gradients;
  Index slot, size;
  float rate;           // what the learning rate is multiplied by
  bool decayed = true;  // by weight decay
};

// What stands in a slot at `from` and comes to `to`.
struct Move {
  Index from, to, size;
};

class Optimizer {
 public:
  // Reads its hyperparameters from `config`, as above. Slots are empty: see resize.
  Optimizer(OptimizerKind kind, json::Reader& config);

  OptimizerKind kind() const { return kind_; }

  // For the next update on, of this kind and in range. Slots stay; a velocity, and whatever else is new, begins with zeros, and
  // what is not wanted any more is dropped. Throws Error where averages or slow weights would come or go, since they begin with the
  // weights, and where accumulators would have begun with another number.
  void set_hyperparameters(const Hyperparameters& hyper);
  const Hyperparameters& hyperparameters() const { return hyper_; }

  double learning_rate() const { return hyper_.learning_rate; }
  void set_learning_rate(double rate);  // 0 <= rate, as a float finite; throws Error otherwise

  std::vector<Slot>& slots() { return slots_; }
  const std::vector<Slot>& slots() const { return slots_; }

  // Whether pieces must be whole parameters.
  bool by_parameter() const { return kind_ == OptimizerKind::lamb || !hyper_.not_decayed.empty(); }

  // Slots of so many floats: what is moved, and what they begin with; for those that begin with the weights that is `weights`, as
  // many. Nothing changes where memory runs out.
  void resize(Index size, std::span<const Move> moves, std::span<const float> weights = {});
  bool begins_with_weights() const { return hyper_.ema || hyper_.sync_period > 0; }

  // Whether step number `iteration` (from 1) updates, or only adds up gradients.
  bool updates(std::uint64_t iteration) const;

  // The number of the update, from 1, that a step makes or adds to.
  std::uint64_t update_number(std::uint64_t iteration) const;

  // Adds up gradients; where the step updates they become the mean of the steps since the last update.
  void accumulate(const Piece& piece, std::uint64_t iteration);

  // Step number `iteration` with the gradients times `scale`, and what follows it: averages and slow weights.
  void update(const Piece& piece, float scale, std::uint64_t iteration);

  // The averages take the place of the weights, if there are averages.
  void finalize(const Piece& piece) const;

 private:
  void step(const Piece& piece, float scale, std::uint64_t number);
  float* values(std::string_view name);  // of a slot; null where there is none
  std::vector<Slot> wanted() const;
  double nadam_product(std::uint64_t t);

  OptimizerKind kind_;
  std::size_t size_ = 0;  // of a slot
  Hyperparameters hyper_;
  std::vector<Slot> slots_;
  // nadam's product of momenta, which follows from the number of updates: of `count`, for such a β₁.
  struct {
    std::uint64_t count = 0;
    double beta_1 = 0, value = 1;
  } product_;
};

}  // namespace rekur::train
