#include "train/optimizers.hpp"
#include "io/text.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

#include "io/suggest.hpp"
#include "isa/dispatch.hpp"
#include "runtime/parallel.hpp"

namespace rekur::train {
namespace {

constexpr std::array<std::string_view, 4> kNames = {"sgd", "rmsprop", "adam", "adamw"};
constexpr const char* kVelocity = "velocity";  // the last slot, there as long as momentum is positive
constexpr Index kGrain = 4096;

// The kernels compute in float32: what counts is the number that they get.
float as_float(double x) { return static_cast<float>(x); }

bool is_amount(double x) { return x >= 0 && x <= std::numeric_limits<float>::max(); }

double amount(json::Reader& config, const char* key, double fallback) {
  const double x = config.number(key, fallback);
  if (!is_amount(x)) config.refuse(key, "a number from 0 to 3.4e38");
  return x;
}

double decay_rate(json::Reader& config, const char* key, double fallback) {
  const double x = config.number(key, fallback);
  if (!(x >= 0 && as_float(x) < 1)) config.refuse(key, "a number in [0, 1)");
  return x;
}

double momentum_rate(json::Reader& config) {
  const double x = config.number("momentum", 0.0);
  if (!(x >= 0 && x <= 1)) config.refuse("momentum", "a number in [0, 1]");
  return x;
}

double small_positive(json::Reader& config, const char* key, double fallback) {
  const double x = config.number(key, fallback);
  if (!(is_amount(x) && as_float(x) >= std::numeric_limits<float>::min())) config.refuse(key, "a positive number");
  return x;
}

// 1 - β^t for the β that the kernel multiplies by: 0.999 is 0.99900001 there, and m̂ and v̂ are free of bias only if both agree.
float bias_correction(double beta, std::uint64_t t) {
  return as_float(1 - std::pow(double{as_float(beta)}, static_cast<double>(t)));
}

}  // namespace

std::string name(OptimizerKind kind) { return std::string(kNames[static_cast<std::size_t>(kind)]); }

OptimizerKind read_optimizer_kind(const json::Value& config) {
  const std::string given = json::Reader(config, "optimizer").string("name");
  const auto found = std::find(kNames.begin(), kNames.end(), given);
  if (found == kNames.end()) throw_error("%", {unknown_name("optimizer", given, kNames)});
  return static_cast<OptimizerKind>(found - kNames.begin());
}

Hyperparameters read_hyperparameters(OptimizerKind kind, json::Reader& config) {
  Hyperparameters p;
  p.learning_rate = amount(config, "learning_rate", kind == OptimizerKind::sgd ? 0.01 : 0.001);
  switch (kind) {
    case OptimizerKind::sgd:
      p.momentum = momentum_rate(config);
      p.nesterov = config.boolean("nesterov", false);
      p.weight_decay = amount(config, "weight_decay", 0);
      break;
    case OptimizerKind::rmsprop:
      p.rho = decay_rate(config, "rho", 0.9);
      p.momentum = momentum_rate(config);
      p.epsilon = small_positive(config, "epsilon", 1e-7);
      break;
    case OptimizerKind::adam:
    case OptimizerKind::adamw:
      p.beta_1 = decay_rate(config, "beta_1", 0.9);
      p.beta_2 = decay_rate(config, "beta_2", 0.999);
      p.epsilon = small_positive(config, "epsilon", 1e-7);
      if (kind == OptimizerKind::adamw) p.weight_decay = amount(config, "weight_decay", 0.004);
      break;
  }
  return p;
}

Optimizer::Optimizer(OptimizerKind kind, json::Reader& config) : kind_(kind) {
  const auto slot = [&](const char* name) { slots_.push_back({name, {}}); };
  switch (kind) {
    case OptimizerKind::sgd:
      break;
    case OptimizerKind::rmsprop:
      slot("square");
      break;
    case OptimizerKind::adam:
    case OptimizerKind::adamw:
      slot("m");
      slot("v");
      break;
  }
  set_hyperparameters(read_hyperparameters(kind, config));
}

void Optimizer::set_hyperparameters(const Hyperparameters& hyper) {
  const bool has_velocity = !slots_.empty() && slots_.back().name == kVelocity;
  if (hyper.momentum > 0 && !has_velocity) slots_.push_back({kVelocity, std::vector<float>(size_)});
  if (!(hyper.momentum > 0) && has_velocity) slots_.pop_back();
  hyper_ = hyper;
}

void Optimizer::set_learning_rate(double rate) {
  if (!is_amount(rate)) {
    throw_error("learning rate: expected a number from 0 to 3.4e38, got %", {json::describe(json::Value(rate))});
  }
  hyper_.learning_rate = rate;
}

void Optimizer::resize(Index size, std::span<const Move> moves) {
  std::vector<std::vector<float>> made;
  for (const Slot& slot : slots_) {
    std::vector<float>& values = made.emplace_back(static_cast<std::size_t>(size));
    for (const Move& move : moves) std::copy_n(slot.values.data() + move.from, move.size, values.data() + move.to);
  }
  for (std::size_t i = 0; i < slots_.size(); ++i) slots_[i].values.swap(made[i]);
  size_ = static_cast<std::size_t>(size);
}

void Optimizer::update(const Piece& piece, float scale, std::uint64_t iteration) {
  const simd::Kernels& kernels = isa::kernels();
  const Hyperparameters& p = hyper_;
  const double rate = p.learning_rate * static_cast<double>(piece.rate);
  const float lr = as_float(rate), momentum = as_float(p.momentum), epsilon = as_float(p.epsilon);
  const float decay = as_float(p.weight_decay), keep = as_float(1 - rate * p.weight_decay);
  const float c1 = bias_correction(p.beta_1, iteration), c2 = bias_correction(p.beta_2, iteration);
  const auto slot = [&](std::size_t i, Index at) {
    return i < slots_.size() ? slots_[i].values.data() + piece.slot + at : nullptr;
  };
  const Index size = piece.size;

  runtime::parallel_range(size, kGrain, 12.0 * static_cast<double>(size), [&](Index begin, Index end) {
    float* w = piece.weights + begin;
    const float* g = piece.gradients + begin;
    const Index n = end - begin;
    switch (kind_) {
      case OptimizerKind::sgd:
        if (p.weight_decay > 0) kernels.scale(keep, w, w, n);
        kernels.sgd(w, g, slot(0, begin), n, lr, momentum, p.nesterov, scale);
        break;
      case OptimizerKind::rmsprop:
        kernels.rmsprop(w, g, slot(0, begin), slot(1, begin), n, lr, as_float(p.rho), momentum, epsilon, scale);
        break;
      case OptimizerKind::adam:
      case OptimizerKind::adamw:
        kernels.adam(w, g, slot(0, begin), slot(1, begin), n, lr, as_float(p.beta_1), as_float(p.beta_2), epsilon, c1, c2, decay,
                     scale);
        break;
    }
  });
}

}  // namespace rekur::train
