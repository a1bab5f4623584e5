#include <algorithm>
#include <cmath>
#include <utility>

#include "graph/graph.hpp"
#include "io/json.hpp"
#include "io/suggest.hpp"
#include "io/text.hpp"
#include "rekur/denormals.hpp"
#include "rekur/train.hpp"
#include "runtime/calls.hpp"
#include "runtime/locks.hpp"
#include "train/clipping.hpp"
#include "train/losses.hpp"
#include "train/objectives.hpp"
#include "train/optimizers.hpp"
#include "train/updates.hpp"

namespace rekur {
namespace {

constexpr const char* kSlotPrefix = "optimizer/";
constexpr std::uint64_t kPartSeed = 0x9E3779B97F4A7C15;            // parts draw from seeds far from one another
constexpr std::uint64_t kMostIterations = std::uint64_t{1} << 53;  // what JSON and a double hold; more steps than anybody takes

// The trainer whose step this thread is in, while a loss of the caller's own runs: it has the turn already.
REKUR_THREAD_LOCAL const void* own_loss_of = nullptr;

// A name that no parameter has would be decayed all the same.
void check_excluded(const graph::Graph& graph, const train::Hyperparameters& hyper) {
  std::vector<std::string> names;
  for (const ParameterInfo& parameter : graph.parameters()) names.push_back(parameter.name);
  for (const std::string& name : hyper.not_decayed)
    if (std::find(names.begin(), names.end(), name) == names.end())
      throw_error("optimizer: 'exclude_from_weight_decay': %", {unknown_name("parameter", name, names)});
}

Precision read_precision(json::Reader& config) {
  const std::string name = config.string("precision", "float32");
  if (name != "float32" && name != "bf16") config.refuse("precision", "\"float32\" or \"bf16\"");
#if !REKUR_BF16
  if (name == "bf16") config.fail("precision \"bf16\": this rekur is compact (REKUR_COMPACT), and does without it");
#endif
  return name == "bf16" ? Precision::bf16 : Precision::float32;
}

std::uint64_t read_seed(json::Reader& config) {
  const Index seed = config.integer("seed", 0);
  if (seed < 0) config.refuse("seed", "an integer >= 0");
  return static_cast<std::uint64_t>(seed);
}

}  // namespace

struct Trainer::Impl {
  std::shared_ptr<graph::Graph> graph;  // the model's, whatever becomes of the object
  std::vector<train::Objective> objectives;
  std::uint64_t seed;
  bool remat;
  train::Clipping clipping;
  train::Optimizer optimizer;
  std::vector<float> gradients;  // flat, as the weights
  std::uint64_t iterations;
  train::Updates updates;
  train::Regularizers regularizers;
  std::vector<float> observed = {};  // of the batch of a step
  runtime::Mutex turn = {};          // what a step changes: gradients, optimiser, iterations

  runtime::UniqueLock take_turn() {
    if (own_loss_of == this) throw_error("trainer: it was called by a loss that it is computing");
    return runtime::UniqueLock(turn);
  }

  // Everything about a call that does not take a run to check.
  void check(const Batch& batch, const Targets& targets, std::span<const View> outputs) const {
    if (!batch.inputs.empty() && !batch.inputs[0].shape.empty() && batch.inputs[0].shape[0] == 0) {
      throw_error("empty batch: training and evaluation need at least one row");
    }
    const auto expect = [&](const char* what, std::size_t given) {
      if (given != objectives.size()) {
        throw_error("expected % %, one per output, got %", {objectives.size(), what, given});
      }
    };
    expect("targets", targets.targets.size());
    if (!targets.sample_weights.empty()) expect("sample weights", targets.sample_weights.size());
    if (!outputs.empty()) expect("views for the predictions", outputs.size());
    if (!targets.losses.empty()) expect("losses of the caller's own", targets.losses.size());
    for (std::size_t k = 0; k < objectives.size(); ++k) {
      const bool wanted = objectives[k].loss && objectives[k].loss->kind == train::LossKind::callback;
      const bool given = !targets.losses.empty() && targets.losses[k];
      if (wanted && !given)
        throw_error("output '%': % is a loss of the caller's own, and no function came with the targets",
                    {objectives[k].output, train::name(*objectives[k].loss)});
      if (given && !wanted)
        throw_error("output '%': a function came with the targets, but its loss is none of the caller's own",
                    {objectives[k].output});
    }
  }

  std::unique_ptr<graph::Run> forward(const Batch& batch, bool training, const graph::Trained& trained,
                                      const StepPart* part = nullptr) const {
    graph::RunOptions options;
    options.training = training;
    options.remat = remat;
    options.penalties = true;
    options.trained = &trained;
    if (training) options.seed = seed, options.step = iterations;  // of dropout
    if (part != nullptr) {
      options.whole_rows = part->rows;
      options.seed += part->number * kPartSeed;
    }
    for (const train::Objective& objective : objectives) options.raw.push_back(objective.raw);
    return graph->forward(batch, options);
  }

  train::Rows rows(const graph::Run& run, std::size_t k, const StepPart* part = nullptr) const {
    train::Rows rows = train::rows_of(run.output_shape(k), run.output_steps(k));
    if (part != nullptr) rows.whole = part->counts[k], rows.whole_rows = part->rows;
    return rows;
  }

  void check(const Batch& batch, const StepPart& part, std::span<const float> sums) const {
    if (part.counts.size() != objectives.size())
      throw_error("part: expected % counts, one per output, got %", {objectives.size(), part.counts.size()});
    for (std::size_t k = 0; k < objectives.size(); ++k)
      if (part.counts[k] < 0)
        throw_error("part: output '%': expected a count of at least 0, got %", {objectives[k].output, part.counts[k]});
    const Index rows = batch.inputs.empty() || batch.inputs[0].shape.empty() ? 0 : batch.inputs[0].shape[0];
    if (part.rows < rows) throw_error("part: it has % rows, and the whole batch %", {rows, part.rows});
    if (sums.size() != this->sums_size()) throw_error("part: expected room for % sums, got %", {this->sums_size(), sums.size()});
  }

  std::size_t sums_size() const { return gradients.size() + static_cast<std::size_t>(graph->observed_size(updates.trained())); }

  std::span<const float> sample_weights(const Targets& targets, std::size_t k) const {
    return targets.sample_weights.empty() ? std::span<const float>() : targets.sample_weights[k];
  }

  void check(const graph::Run& run, const Targets& targets, std::span<const View> outputs) const {
    for (std::size_t k = 0; k < objectives.size(); ++k) {
      const train::Objective& objective = objectives[k];
      if (objective.loss) {
        train::check_target(*objective.loss, rows(run, k), targets.targets[k], sample_weights(targets, k), objective.output);
      }
      if (!outputs.empty() && outputs[k].data && outputs[k].shape != run.output_shape(k)) {
        throw_error("output '%': expected an array of shape % for the predictions, got %",
                    {objective.output, run.output_shape(k), outputs[k].shape});
      }
    }
  }

  StepResult losses(graph::Run& run, const Targets& targets, bool want_gradients, const StepPart* part = nullptr) const {
    StepResult result;
    for (std::size_t k = 0; k < objectives.size(); ++k) {
      const train::Objective& objective = objectives[k];
      const train::Rows rows = this->rows(run, k, part);
      const Index valid = rows.valid();
      result.output_losses.push_back(0);
      result.counts.push_back(valid);
      if (!objective.loss) continue;
      if (part != nullptr && part->counts[k] < valid)
        throw_error("part: output '%': it has % rows or steps that count, and the whole batch %",
                    {objective.output, valid, part->counts[k]});
      // With weight 0 a loss is only watched: be it NaN, nothing comes of it.
      const bool counts = objective.weight != 0;
      float* gradient = want_gradients && counts ? run.output_gradient(k) : nullptr;
      if (objective.loss->kind == train::LossKind::callback) {
        result.output_losses[k] = callback(run, rows, targets, k, gradient, want_gradients);
        if (counts) result.loss += objective.weight * result.output_losses[k];
        continue;
      }
      if (objective.loss->kind == train::LossKind::crf) {
        // The mean over rows, whatever their lengths.
        const double share = part == nullptr ? 1 : static_cast<double>(rows.B) / static_cast<double>(part->rows);
        result.output_losses[k] = share * graph->chain_loss(run, k, targets.targets[k].i32(), sample_weights(targets, k), gradient,
                                                            share * objective.weight);
        if (counts) result.loss += objective.weight * result.output_losses[k];
        continue;
      }
      result.output_losses[k] = train::evaluate(*objective.loss, objective.scores, rows, run.output(k), targets.targets[k],
                                                sample_weights(targets, k), gradient, objective.weight);
      if (counts) result.loss += objective.weight * result.output_losses[k];
    }
    return result;
  }

  double callback(const graph::Run& run, const train::Rows& rows, const Targets& targets, std::size_t k, float* gradient,
                  bool in_step) const {
    std::vector<double> values(static_cast<std::size_t>(rows.pairs()));
    const auto size = static_cast<std::size_t>(element_count(run.output_shape(k)));
    if (gradient) std::fill_n(gradient, size, 0.0f);
    struct Inside {
      explicit Inside(const void* trainer) : before(std::exchange(own_loss_of, trainer)) {}
      ~Inside() { own_loss_of = before; }
      const void* before;
    };
    {
      const Inside inside(in_step ? this : own_loss_of);  // an evaluation has no turn
      targets.losses[k]({.output = {run.output(k), run.output_shape(k), DType::float32},
                         .values = values,
                         .gradient = gradient ? std::span<float>(gradient, size) : std::span<float>()});
    }
    return train::evaluate(rows, values, sample_weights(targets, k), gradient, objectives[k].weight);
  }

  void deliver(const graph::Run& run, std::span<const View> outputs) const {
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      if (!outputs[k].data) continue;
      const Index size = element_count(run.output_shape(k));
      if (objectives[k].raw) {
        graph->apply_final_activation(run, k, outputs[k].data);
      } else {
        std::copy_n(run.output(k), size, outputs[k].data);
      }
    }
  }

  const train::Slot* find_slot(const std::string& name) const {
    for (const train::Slot& slot : optimizer.slots())
      if (name == kSlotPrefix + slot.name) return &slot;
    return nullptr;
  }
};

Trainer::Trainer(Model& model, const std::string& config_json) {
  const json::Value parsed = json::parse(config_json);
  json::Reader config(parsed, "training configuration");
  const json::Value& chosen = config.get("optimizer");
  const train::OptimizerKind kind = train::read_optimizer_kind(chosen);
  json::Reader optimizer(chosen, "optimizer '" + train::name(kind) + "'");
  optimizer.string("name");

  graph::Graph& graph = model.graph();
  const Precision precision = read_precision(config);
  const auto size = static_cast<std::size_t>(graph.parameter_count());
  impl_ = std::unique_ptr<Impl>(new Impl{.graph = model.graph_,
                                         .objectives = train::read_objectives(config, graph),
                                         .seed = read_seed(config),
                                         .remat = config.boolean("remat", false),
                                         .clipping = train::read_clipping(optimizer),
                                         .optimizer = train::Optimizer(kind, optimizer),
                                         .gradients = std::vector<float>(size),
                                         .iterations = 0,
                                         .updates = train::Updates(*model.graph_),
                                         .regularizers = train::Regularizers(*model.graph_)});
  optimizer.finish();
  config.finish();
  check_excluded(graph, impl_->optimizer.hyperparameters());
  impl_->updates.follow(impl_->optimizer);
  graph.compute_in(precision);
}

Trainer::~Trainer() = default;
Trainer::Trainer(Trainer&&) noexcept = default;
Trainer& Trainer::operator=(Trainer&&) noexcept = default;

Trainer::Impl& Trainer::self() const {
  if (impl_ == nullptr) throw_error("trainer: it was moved from");
  return *impl_;
}

// Nothing of the model or the trainer changes before the update, the last thing that happens; where that fails it has changed
// nothing.
StepResult Trainer::step(const Batch& batch, const Targets& targets, std::span<const View> outputs) {
  const runtime::Call call;
  const FlushDenormals flush;
  Impl& self = this->self();
  const runtime::UniqueLock turn = self.take_turn();
  self.check(batch, targets, outputs);
  self.updates.follow(self.optimizer);
  const graph::Trained& trained = self.updates.trained();
  const std::unique_ptr<graph::Run> run = self.forward(batch, true, trained);
  self.check(*run, targets, outputs);
  StepResult result = self.losses(*run, targets, true);
  result.loss += run->penalty() + self.regularizers.value(*self.graph, trained);
  self.deliver(*run, outputs);
  self.graph->observed(*run, trained, self.observed);
  self.graph->backward(*run, self.gradients, {}, &trained);
  self.regularizers.add_gradients(*self.graph, trained, self.gradients);
  self.updates.apply(*self.graph, self.optimizer, self.clipping, self.gradients, self.observed, self.iterations + 1, self.seed);
  ++self.iterations;
  return result;
}

std::size_t Trainer::sums_size() const {
  const runtime::Call call;
  Impl& self = this->self();
  const runtime::UniqueLock turn = self.take_turn();
  self.updates.follow(self.optimizer);
  return self.sums_size();
}

StepResult Trainer::add(const Batch& batch, const Targets& targets, const StepPart& part, std::span<float> sums,
                        std::span<const View> outputs) {
  const runtime::Call call;
  const FlushDenormals flush;
  Impl& self = this->self();
  const runtime::UniqueLock turn = self.take_turn();
  self.check(batch, targets, outputs);
  self.updates.follow(self.optimizer);
  self.check(batch, part, sums);
  const graph::Trained& trained = self.updates.trained();
  const std::unique_ptr<graph::Run> run = self.forward(batch, true, trained, &part);
  self.check(*run, targets, outputs);
  StepResult result = self.losses(*run, targets, true, &part);
  result.loss += run->penalty();
  self.deliver(*run, outputs);
  self.graph->observed(*run, trained, self.observed);
  const std::span<float> gradients = sums.first(self.gradients.size());
  if (!trained.all) std::fill(gradients.begin(), gradients.end(), 0.0f);  // what is not trained is nobody's to write
  const auto tell = [&part](Index begin, Index end) { part.ready(begin, end); };
  const graph::Graph::Ready ready(tell);
  self.graph->backward(*run, gradients, {}, &trained, part.ready ? &ready : nullptr);
  float* to = sums.data() + gradients.size();
  const float* from = self.observed.data();
  for (const graph::Graph::Following& one : self.graph->following(trained)) {
    // By its share of the rows, which takes the place of the number of pairs; nothing where nothing was observed.
    const float share = from[one.observed - 1] > 0
                            ? static_cast<float>(static_cast<double>(batch.inputs[0].shape[0]) / static_cast<double>(part.rows))
                            : 0;
    for (Index i = 0; i + 1 < one.observed; ++i) *to++ = share > 0 ? *from++ * share : (++from, 0.0f);
    *to++ = share;
    ++from;
  }
  return result;
}

double Trainer::finish(std::span<const float> sums) {
  const runtime::Call call;
  const FlushDenormals flush;
  Impl& self = this->self();
  const runtime::UniqueLock turn = self.take_turn();
  self.updates.follow(self.optimizer);
  if (sums.size() != self.sums_size()) throw_error("finish: expected % sums, got %", {self.sums_size(), sums.size()});
  const graph::Trained& trained = self.updates.trained();
  std::copy_n(sums.begin(), self.gradients.size(), self.gradients.begin());
  self.observed.assign(sums.begin() + static_cast<std::ptrdiff_t>(self.gradients.size()), sums.end());
  float* values = self.observed.data();
  for (const graph::Graph::Following& one : self.graph->following(trained)) {
    const float share = values[one.observed - 1];
    for (Index i = 0; i + 1 < one.observed && share > 0; ++i) values[i] /= share;
    values += one.observed;
  }
  const double added = self.regularizers.value(*self.graph, trained);
  self.regularizers.add_gradients(*self.graph, trained, self.gradients);
  self.updates.apply(*self.graph, self.optimizer, self.clipping, self.gradients, self.observed, self.iterations + 1, self.seed);
  ++self.iterations;
  return added;
}

void Trainer::apply_gradients(std::span<const float> gradients) {
  const runtime::Call call;
  const FlushDenormals flush;
  Impl& self = this->self();
  const runtime::UniqueLock turn = self.take_turn();
  if (gradients.size() != self.gradients.size())
    throw_error("gradients: expected % values, one per parameter, got %", {self.gradients.size(), gradients.size()});
  self.updates.follow(self.optimizer);
  std::copy(gradients.begin(), gradients.end(), self.gradients.begin());
  self.updates.apply(*self.graph, self.optimizer, self.clipping, self.gradients, {}, self.iterations + 1, self.seed);
  ++self.iterations;
}

StepResult Trainer::evaluate(const Batch& batch, const Targets& targets, std::span<const View> outputs) const {
  const runtime::Call call;
  const FlushDenormals flush;
  const Impl& self = this->self();
  self.check(batch, targets, outputs);
  const std::shared_ptr<const graph::Trained> trained = self.graph->trained();
  const std::unique_ptr<graph::Run> run = self.forward(batch, false, *trained);
  self.check(*run, targets, outputs);
  StepResult result = self.losses(*run, targets, false);
  result.loss += run->penalty() + self.regularizers.value(*self.graph, *trained);
  self.deliver(*run, outputs);
  return result;
}

double Trainer::learning_rate() const noexcept {
  if (impl_ == nullptr) return 0;
  const runtime::QuietCall call;
  const runtime::UniqueLock turn = call && own_loss_of != impl_.get() ? runtime::UniqueLock(impl_->turn) : runtime::UniqueLock();
  return impl_->optimizer.learning_rate();
}

void Trainer::set_optimizer(const std::string& config_json) {
  Impl& self = this->self();
  const json::Value config = json::parse(config_json);
  const train::OptimizerKind kind = train::read_optimizer_kind(config);
  if (kind != self.optimizer.kind()) {
    throw_error("optimizer: expected '%', whose state this trainer holds, got '%'",
                {train::name(self.optimizer.kind()), train::name(kind)});
  }
  json::Reader reader(config, "optimizer '" + train::name(kind) + "'");
  reader.string("name");
  const train::Hyperparameters hyper = train::read_hyperparameters(kind, reader);
  const train::Clipping clipping = train::read_clipping(reader);
  reader.finish();
  check_excluded(*self.graph, hyper);
  const runtime::Call call;
  const runtime::UniqueLock turn = self.take_turn();
  self.optimizer.set_hyperparameters(hyper);
  self.clipping = clipping;
}

void Trainer::set_remat(bool remat) {
  const runtime::Call call;
  const runtime::UniqueLock turn = self().take_turn();
  impl_->remat = remat;
}

void Trainer::finalize() {
  const runtime::Call call;
  Impl& self = this->self();
  const runtime::UniqueLock turn = self.take_turn();
  self.updates.follow(self.optimizer);
  self.updates.finalize(*self.graph, self.optimizer);
}

void Trainer::set_learning_rate(double rate) {
  const runtime::Call call;
  const runtime::UniqueLock turn = self().take_turn();
  impl_->optimizer.set_learning_rate(rate);
}

std::uint64_t Trainer::iterations() const noexcept {
  if (impl_ == nullptr) return 0;
  const runtime::QuietCall call;
  const runtime::UniqueLock turn = call && own_loss_of != impl_.get() ? runtime::UniqueLock(impl_->turn) : runtime::UniqueLock();
  return impl_->iterations;
}

std::map<std::string, Tensor> Trainer::state() const {
  const runtime::Call call;
  const runtime::UniqueLock turn = self().take_turn();
  std::map<std::string, Tensor> state;
  for (const train::Slot& slot : impl_->optimizer.slots()) {
    state[kSlotPrefix + slot.name] = {{impl_->graph->parameter_count()}, impl_->updates.spread(slot.values)};
  }
  return state;
}

void Trainer::set_state(const std::map<std::string, Tensor>& slots, std::uint64_t iterations) {
  const runtime::Call call;
  const runtime::UniqueLock turn = self().take_turn();
  std::vector<train::Slot>& own = impl_->optimizer.slots();
  if (iterations > kMostIterations)
    throw_error("optimizer state: expected iterations up to %, got %", {kMostIterations, std::to_string(iterations)});
  for (const auto& [name, tensor] : slots) {
    if (!impl_->find_slot(name)) throw_error("optimizer state: '%' is not a slot of this optimizer", {name});
  }
  std::vector<char> set(impl_->graph->layers().size(), false);  // by layer: whether the state says anything of it
  for (const train::Slot& slot : own) {
    const std::string name = kSlotPrefix + slot.name;
    const auto found = slots.find(name);
    if (found == slots.end()) throw_error("optimizer state: '%' is missing", {name});
    const Shape expected = {impl_->graph->parameter_count()};
    const Tensor& given = found->second;
    if (given.shape != expected || static_cast<Index>(given.data.size()) != expected[0]) {
      throw_error("optimizer state: expected '%' of shape % (% values), got % (% values)",
                  {name, expected, expected[0], given.shape, given.data.size()});
    }
    impl_->updates.find_set(given.data, set);
  }
  impl_->updates.follow(impl_->optimizer, set);
  for (train::Slot& slot : own) impl_->updates.gather(slots.find(kSlotPrefix + slot.name)->second.data, slot.values);
  impl_->iterations = iterations;
}

}  // namespace rekur
