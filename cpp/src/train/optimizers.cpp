#include "train/optimizers.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

#include "io/suggest.hpp"
#include "io/text.hpp"
#include "isa/dispatch.hpp"
#include "runtime/parallel.hpp"
#include "train/clipping.hpp"

namespace rekur::train {
namespace {

using Kind = OptimizerKind;

constexpr std::array<std::string_view, 11> kOptimizerNames = {"sgd",     "rmsprop",  "adam", "adamw", "nadam", "adamax",
                                                              "adagrad", "adadelta", "ftrl", "lion",  "lamb"};
constexpr Index kUpdateGrain = 4096;
constexpr const char* kAverage = "average";
constexpr const char* kSlow = "slow";
constexpr const char* kAccumulated = "accumulated";

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

double share(json::Reader& config, const char* key, double fallback) {
  const double x = config.number(key, fallback);
  if (!(x >= 0 && x <= 1)) config.refuse(key, "a number in [0, 1]");
  return x;
}

double small_positive(json::Reader& config, const char* key, double fallback) {
  const double x = config.number(key, fallback);
  if (!(is_amount(x) && as_float(x) >= std::numeric_limits<float>::min())) config.refuse(key, "a positive number");
  return x;
}

Index count(json::Reader& config, const char* key, Index least) {
  const Index n = config.integer(key, 0);
  if (n != 0 && n < least) config.refuse(key, least == 1 ? "a whole number from 1" : "a whole number from 2");
  return n;
}

// 1 - β^t for the β that the kernel multiplies by: 0.999 is 0.99900001 there, and m̂ and v̂ are free of bias only if both agree.
float bias_correction(double beta, std::uint64_t t) {
  return as_float(1 - std::pow(double{as_float(beta)}, static_cast<double>(t)));
}

// nadam: what β₁ has grown to at step t.
double nadam_momentum(double beta_1, double t) { return beta_1 * (1 - 0.5 * std::pow(0.96, t)); }

void read_common(json::Reader& config, Hyperparameters& p) {
  p.weight_decay = amount(config, "weight_decay", p.weight_decay);
  if (config.find("exclude_from_weight_decay") != nullptr) {
    for (const json::Value& name : config.array("exclude_from_weight_decay")) {
      if (!name.is_string()) config.refuse("exclude_from_weight_decay", "an array of names of parameters");
      p.not_decayed.push_back(name.string());
    }
  }
  p.accumulation = count(config, "gradient_accumulation_steps", 2);
  p.ema = config.boolean("use_ema", false);
  p.ema_momentum = share(config, "ema_momentum", 0.99);
  p.ema_overwrite = count(config, "ema_overwrite_frequency", 1);
  p.sync_period = count(config, "lookahead_sync_period", 1);
  p.slow_step = share(config, "lookahead_slow_step_size", 0.5);
  p.centralization = config.boolean("gradient_centralization", false);
  p.noise = amount(config, "gradient_noise", 0);
  p.noise_decay = amount(config, "gradient_noise_decay", 0.55);
}

}  // namespace

std::string name(OptimizerKind kind) { return std::string(kOptimizerNames[static_cast<std::size_t>(kind)]); }

OptimizerKind read_optimizer_kind(const json::Value& config) {
  const std::string given = json::Reader(config, "optimizer").string("name");
  const auto found = std::find(kOptimizerNames.begin(), kOptimizerNames.end(), given);
  if (found == kOptimizerNames.end()) throw_error("%", {unknown_name("optimizer", given, kOptimizerNames)});
  return static_cast<OptimizerKind>(found - kOptimizerNames.begin());
}

Hyperparameters read_hyperparameters(OptimizerKind kind, json::Reader& config) {
  Hyperparameters p;
  p.learning_rate = amount(config, "learning_rate", kind == Kind::sgd ? 0.01 : 0.001);
  if (kind == Kind::sgd || kind == Kind::rmsprop) p.momentum = share(config, "momentum", 0.0);
  if (kind == Kind::sgd) p.nesterov = config.boolean("nesterov", false);
  if (kind == Kind::rmsprop || kind == Kind::adadelta) p.rho = decay_rate(config, "rho", kind == Kind::rmsprop ? 0.9 : 0.95);
  if (kind == Kind::rmsprop) p.centered = config.boolean("centered", false);
  const bool as_adam = kind == Kind::adam || kind == Kind::adamw;
  if (as_adam || kind == Kind::nadam || kind == Kind::adamax || kind == Kind::lion || kind == Kind::lamb) {
    p.beta_1 = decay_rate(config, "beta_1", 0.9);
    p.beta_2 = decay_rate(config, "beta_2", kind == Kind::lion ? 0.99 : 0.999);
  }
  if (as_adam) p.amsgrad = config.boolean("amsgrad", false);
  if (kind == Kind::adamw) p.weight_decay = 0.004;
  if (kind != Kind::sgd && kind != Kind::ftrl && kind != Kind::lion) p.epsilon = small_positive(config, "epsilon", 1e-7);
  if (kind == Kind::adagrad || kind == Kind::ftrl) p.initial = amount(config, "initial_accumulator_value", 0.1);
  if (kind == Kind::ftrl) {
    p.power = -config.number("learning_rate_power", -0.5);
    if (!is_amount(p.power)) config.refuse("learning_rate_power", "a number up to 0");
    p.l1 = amount(config, "l1_regularization_strength", 0);
    p.l2 = amount(config, "l2_regularization_strength", 0);
    p.shrinkage = amount(config, "l2_shrinkage_regularization_strength", 0);
    p.beta = amount(config, "beta", 0);
  }
  read_common(config, p);
  return p;
}

std::vector<Slot> Optimizer::wanted() const {
  using Begin = Slot::Begin;
  std::vector<Slot> slots;
  const auto add = [&](std::initializer_list<const char*> names, Begin begin = Begin::zeros) {
    for (const char* name : names) slots.push_back({.name = name, .begin = begin});
  };
  switch (kind_) {
    case Kind::sgd:
      break;
    case Kind::rmsprop:
      add({"square"});
      if (hyper_.centered) add({"mean"});
      break;
    case Kind::adam:
    case Kind::adamw:
      add({"m", "v"});
      if (hyper_.amsgrad) add({"largest"});
      break;
    case Kind::nadam:
    case Kind::lamb:
      add({"m", "v"});
      break;
    case Kind::adamax:
      add({"m", "norm"});
      break;
    case Kind::adagrad:
      add({"accumulator"}, Begin::initial);
      break;
    case Kind::adadelta:
      add({"square", "moved"});
      break;
    case Kind::ftrl:
      add({"accumulator"}, Begin::initial);
      add({"linear"});
      break;
    case Kind::lion:
      add({"m"});
      break;
  }
  if (hyper_.momentum > 0) add({"velocity"});
  if (hyper_.ema) add({kAverage}, Begin::weights);
  if (hyper_.sync_period > 0) add({kSlow}, Begin::weights);
  if (hyper_.accumulation > 0) add({kAccumulated});
  return slots;
}

Optimizer::Optimizer(OptimizerKind kind, json::Reader& config) : kind_(kind), hyper_(read_hyperparameters(kind, config)) {
  slots_ = wanted();
}

void Optimizer::set_hyperparameters(const Hyperparameters& hyper) {
  if (hyper.ema != hyper_.ema || (hyper.sync_period > 0) != (hyper_.sync_period > 0))
    throw_error("optimizer: averages and slow weights begin with the weights, so they cannot be switched on or off later");
  if (hyper.initial != hyper_.initial)
    throw_error("optimizer: accumulators begin with 'initial_accumulator_value', so it cannot change later");
  Hyperparameters before = std::exchange(hyper_, hyper);
  try {
    std::vector<Slot> now = wanted();
    for (Slot& slot : now)
      if (values(slot.name) == nullptr)
        slot.values.assign(size_, slot.begin == Slot::Begin::initial ? as_float(hyper.initial) : 0.0f);
    for (Slot& slot : now)
      for (Slot& old : slots_)
        if (old.name == slot.name && slot.values.empty()) slot.values.swap(old.values);
    slots_.swap(now);
  } catch (...) {
    hyper_ = std::move(before);
    throw;
  }
}

void Optimizer::set_learning_rate(double rate) {
  if (!is_amount(rate)) {
    throw_error("learning rate: expected a number from 0 to 3.4e38, got %", {json::describe(json::Value(rate))});
  }
  hyper_.learning_rate = rate;
}

void Optimizer::resize(Index size, std::span<const Move> moves, std::span<const float> weights) {
  std::vector<std::vector<float>> made;
  for (const Slot& slot : slots_) {
    std::vector<float>& values = made.emplace_back(static_cast<std::size_t>(size));
    if (slot.begin == Slot::Begin::initial) std::fill(values.begin(), values.end(), as_float(hyper_.initial));
    if (slot.begin == Slot::Begin::weights) std::copy(weights.begin(), weights.end(), values.begin());
    for (const Move& move : moves) std::copy_n(slot.values.data() + move.from, move.size, values.data() + move.to);
  }
  for (std::size_t i = 0; i < slots_.size(); ++i) slots_[i].values.swap(made[i]);
  size_ = static_cast<std::size_t>(size);
}

float* Optimizer::values(std::string_view name) {
  for (Slot& slot : slots_)
    if (slot.name == name) return slot.values.data();
  return nullptr;
}

bool Optimizer::updates(std::uint64_t iteration) const {
  return hyper_.accumulation == 0 || iteration % static_cast<std::uint64_t>(hyper_.accumulation) == 0;
}

std::uint64_t Optimizer::update_number(std::uint64_t iteration) const {
  return (iteration - 1) / static_cast<std::uint64_t>(std::max<Index>(hyper_.accumulation, 1)) + 1;
}

void Optimizer::accumulate(const Piece& piece, std::uint64_t iteration) {
  if (hyper_.accumulation == 0) return;
  float* const sum = values(kAccumulated) + piece.slot;
  const float part = as_float(1.0 / static_cast<double>(hyper_.accumulation));
  runtime::parallel_range(piece.size, kUpdateGrain, 3.0 * static_cast<double>(piece.size), [&](Index begin, Index end) {
    if (!updates(iteration)) return isa::kernels().mix(1, sum + begin, 1, piece.gradients + begin, end - begin);
    isa::kernels().mix(part, piece.gradients + begin, part, sum + begin, end - begin);
    std::fill(sum + begin, sum + end, 0.0f);
  });
}

// Π of the momenta up to update t.
double Optimizer::nadam_product(std::uint64_t t) {
  if (product_.beta_1 != hyper_.beta_1 || product_.count > t) product_ = {.beta_1 = hyper_.beta_1};
  for (; product_.count < t && product_.value > 1e-300; ++product_.count)
    product_.value *= nadam_momentum(hyper_.beta_1, static_cast<double>(product_.count + 1));
  product_.count = t;
  return product_.value;
}

void Optimizer::step(const Piece& piece, float scale, std::uint64_t number) {
  const simd::Kernels& kernels = isa::kernels();
  const Hyperparameters& p = hyper_;
  const double rate = p.learning_rate * static_cast<double>(piece.rate);
  const double decay = piece.decayed ? p.weight_decay : 0;
  const float lr = as_float(rate), momentum = as_float(p.momentum), epsilon = as_float(p.epsilon);
  const float c1 = bias_correction(p.beta_1, number), c2 = bias_correction(p.beta_2, number);
  const bool as_adam = kind_ == Kind::adam || kind_ == Kind::adamw;
  simd::OptimizerRule rule = simd::OptimizerRule::adagrad;
  simd::OptimizerNumbers numbers = {
      .lr = lr, .scale = scale, .beta_1 = as_float(p.beta_1), .beta_2 = as_float(p.beta_2), .epsilon = epsilon};
  switch (kind_) {
    case Kind::nadam: {
      const auto t = static_cast<double>(number);
      const double now = nadam_momentum(p.beta_1, t), next = nadam_momentum(p.beta_1, t + 1), product = nadam_product(number);
      rule = simd::OptimizerRule::nadam;
      numbers.p = as_float(next / (1 - product * next));
      numbers.q = as_float((1 - now) / (1 - product));
      numbers.r = 1 / c2;
      break;
    }
    case Kind::adamax:
      rule = simd::OptimizerRule::adamax;
      numbers.p = c1;
      break;
    case Kind::adadelta:
      rule = simd::OptimizerRule::adadelta;
      numbers.beta_2 = as_float(p.rho);
      break;
    case Kind::ftrl:
      if (lr == 0) return;  // it divides by the rate, and where that is 0 nothing moves
      rule = simd::OptimizerRule::ftrl;
      numbers.beta_1 = as_float(p.l1);
      numbers.p = as_float(p.power);
      numbers.q = as_float(2 * p.shrinkage);
      numbers.r = as_float(2 * (p.l2 + p.beta / (2 * rate)));
      break;
    case Kind::lion:
      rule = simd::OptimizerRule::lion;
      break;
    case Kind::lamb:
      rule = simd::OptimizerRule::lamb;
      numbers.p = 1 / c1;
      numbers.r = 1 / c2;
      break;
    default:
      break;
  }
  float* const slots[] = {slots_.empty() ? nullptr : slots_[0].values.data() + piece.slot,
                          slots_.size() < 2 ? nullptr : slots_[1].values.data() + piece.slot};
  const auto named = [&](bool there, const char* name) { return there ? values(name) + piece.slot : nullptr; };
  float* const velocity = named(p.momentum > 0, "velocity");
  float* const mean = named(p.centered, "mean");
  float* const largest = named(p.amsgrad, "largest");
  const bool two = kind_ != Kind::adagrad && kind_ != Kind::lion;
  const auto at = [](float* values, Index begin) { return values == nullptr ? nullptr : values + begin; };

  runtime::parallel_range(piece.size, kUpdateGrain, 12.0 * static_cast<double>(piece.size), [&](Index begin, Index end) {
    float* w = piece.weights + begin;
    float* g = piece.gradients + begin;
    const Index n = end - begin;
    if (decay > 0 && !as_adam) kernels.scale(as_float(1 - rate * decay), w, w, n);
    if (kind_ == Kind::sgd)
      kernels.sgd(w, g, at(velocity, begin), n, lr, momentum, p.nesterov, scale);
    else if (kind_ == Kind::rmsprop)
      kernels.rmsprop(w, g, slots[0] + begin, at(mean, begin), at(velocity, begin), n, lr, as_float(p.rho), momentum, epsilon,
                      scale);
    else if (as_adam)
      kernels.adam(w, g, slots[0] + begin, slots[1] + begin, at(largest, begin), n, lr, numbers.beta_1, numbers.beta_2, epsilon, c1,
                   c2, as_float(decay), scale);
    else
      kernels.optimize(rule, numbers, w, g, slots[0] + begin, two ? slots[1] + begin : nullptr, n);
  });
  if (kind_ != Kind::lamb) return;
  const auto size = static_cast<std::size_t>(piece.size);
  const double weights = norm({piece.weights, size}), direction = norm({piece.gradients, size});
  const double ratio = weights > 0 && direction > 0 ? weights / direction : 1;
  runtime::parallel_range(piece.size, kUpdateGrain, 2.0 * static_cast<double>(piece.size), [&](Index begin, Index end) {
    kernels.axpy(-as_float(ratio * rate), piece.gradients + begin, piece.weights + begin, end - begin);
  });
}

void Optimizer::update(const Piece& piece, float scale, std::uint64_t iteration) {
  const Hyperparameters& p = hyper_;
  float* const w = piece.weights;
  const bool updates = this->updates(iteration);
  const std::uint64_t number = update_number(iteration);
  float* const slow = p.sync_period > 0 ? values(kSlow) + piece.slot : nullptr;
  if (slow != nullptr && iteration == 1) std::copy_n(w, piece.size, slow);  // whatever was set since they were made
  if (updates) step(piece, scale, number);
  const bool sync = slow != nullptr && updates && number % static_cast<std::uint64_t>(p.sync_period) == 0;
  if (!sync && !p.ema) return;
  float* const average = p.ema ? values(kAverage) + piece.slot : nullptr;
  const bool overwrite = p.ema && p.ema_overwrite > 0 && number % static_cast<std::uint64_t>(p.ema_overwrite) == 0;
  const double keep = number == 1 ? 0 : p.ema_momentum;
  runtime::parallel_range(piece.size, kUpdateGrain, 4.0 * static_cast<double>(piece.size), [&](Index begin, Index end) {
    const auto mix = isa::kernels().mix;
    if (sync) {
      mix(as_float(1 - p.slow_step), slow + begin, as_float(p.slow_step), w + begin, end - begin);
      std::copy(slow + begin, slow + end, w + begin);
    }
    if (average != nullptr) mix(as_float(keep), average + begin, as_float(1 - keep), w + begin, end - begin);
    if (overwrite) std::copy(average + begin, average + end, w + begin);
  });
}

void Optimizer::finalize(const Piece& piece) const {
  for (const Slot& slot : slots_)
    if (slot.name == kAverage) std::copy_n(slot.values.data() + piece.slot, piece.size, piece.weights);
}

}  // namespace rekur::train
