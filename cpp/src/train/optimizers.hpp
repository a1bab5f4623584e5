// Optimisers: one pass over weights, gradients and slots.
//
//   sgd      v = momentum v - lr g, w += v; Nesterov: w += momentum v - lr g
//   rmsprop  a = rho a + (1-rho) g², step lr g / √(a + ε), momentum as sgd          (Tieleman & Hinton, 2012)
//   adam     m = β₁ m + (1-β₁) g, v = β₂ v + (1-β₂) g², w -= lr √(1-β₂ᵗ)/(1-β₁ᵗ) m / (√v + ε)
//                                                     (Kingma & Ba, 2015, end of section 2: their "epsilon hat")
//   adamw    adam, and w -= lr decay w                                              (Loshchilov & Hutter, 2019)
//
// Where ε stands is where Keras has it, which matters to small gradients: PyTorch's Adam divides by √v̂ + ε, its RMSprop by √a + ε.
// Weight decay (sgd, adamw) is decoupled from the gradient and covers every parameter, as in Keras.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/json.hpp"

namespace rekur::train {

enum class OptimizerKind : std::uint8_t { sgd, rmsprop, adam, adamw };

std::string name(OptimizerKind kind);

// Numbers of the kinds that do not use them are left at what does nothing.
struct Hyperparameters {
  double learning_rate = 0;
  double momentum = 0;
  bool nesterov = false;
  double rho = 0;
  double beta_1 = 0, beta_2 = 0;
  double epsilon = 0;
  double weight_decay = 0;
};

// A number for each weight that is trained, part of a checkpoint.
struct Slot {
  std::string name;  // "m", "v", "velocity", "square"
  std::vector<float> values;
};

// The name of an optimiser's configuration: the kind it stands for. Throws Error for an unknown one, with a suggestion.
OptimizerKind read_optimizer_kind(const json::Value& config);

// Keras's names and defaults, from `config`; whoever owns the reader asks for the rest and finishes it. Throws Error for a number
// out of range.
Hyperparameters read_hyperparameters(OptimizerKind kind, json::Reader& config);

// Weights to update, the gradients that belong to them, and where in the slots their own stand.
struct Piece {
  float* weights;
  const float* gradients;
  Index slot, size;
  float rate;  // what the learning rate is multiplied by
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

  // For the next update on, of this kind and in range. Slots stay; a velocity begins with zeros when momentum becomes positive and
  // is dropped when it becomes 0.
  void set_hyperparameters(const Hyperparameters& hyper);

  double learning_rate() const { return hyper_.learning_rate; }
  void set_learning_rate(double rate);  // 0 <= rate, as a float finite; throws Error otherwise

  std::vector<Slot>& slots() { return slots_; }
  const std::vector<Slot>& slots() const { return slots_; }

  // Slots of so many floats: what is moved, and zeros. Nothing changes where memory runs out.
  void resize(Index size, std::span<const Move> moves);

  // Update number `iteration` (from 1) with the gradients times `scale`.
  void update(const Piece& piece, float scale, std::uint64_t iteration);

 private:
  OptimizerKind kind_;
  std::size_t size_ = 0;  // of a slot
  Hyperparameters hyper_;
  std::vector<Slot> slots_;
};

}  // namespace rekur::train
