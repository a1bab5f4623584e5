// Running a graph forward.
#include <algorithm>
#include <array>
#include <new>

#include "graph/call.hpp"
#include "graph/graph.hpp"
#include "io/text.hpp"
#include "isa/dispatch.hpp"
#include "layers/elementwise.hpp"
#include "rekur/denormals.hpp"
#include "runtime/own_memory.hpp"

namespace rekur::graph {

Run::~Run() {
  if (pool_ == nullptr) return;  // refused before it began
  const runtime::QuietCall call;
  if (!call) return;
  try {
    pool_->give(std::move(arena_));
  } catch (...) {  // the pool's list could not grow: the block is freed instead
  }
}

const float* Run::output(std::size_t k) const {
  return static_cast<const float*>(values_[static_cast<std::size_t>(topology_->outputs[k])]);
}

const Shape& Run::output_shape(std::size_t k) const {
  return plan_->tensors[static_cast<std::size_t>(topology_->outputs[k])].shape;
}

layers::RowSteps Run::output_steps(std::size_t k) const {
  const layers::TensorSpec& output = plan_->tensors[static_cast<std::size_t>(topology_->outputs[k])];
  if (output.has_time() && steps_.any()) return steps_.of(output.time_source);
  return {.T = output.has_time() ? output.shape[1] : 1};
}

void Run::out_of_memory() const { throw_out_of_memory("not enough memory for a run of % rows", {batch_size_}); }

std::unique_ptr<Run> Graph::forward(const Batch& batch, const RunOptions& options) const {
  const runtime::Call call;
  const FlushDenormals flush;
  const std::vector<Shape> shapes = check(batch);
  const runtime::MemoryScope scope(&memory_);
  std::unique_ptr<Run> run(new Run());
  run->batch_size_ = shapes[0][0];
  try {
    run->topology_ = &topology_;
    const HeldStores held(stores_);  // before the plan, which goes by what layers compute in
    run->plan_ = plan(shapes, options.training, options.training && options.remat);
    begin_steps(batch, *run);
    check_options(options, *run->plan_);
    run->pool_ = pool_;
    run->arena_ = pool_->take(run->plan_->arena_size);
    run->kept_ = run->passing_ = run->arena_.data();
    bind(*run, batch, options);
#if REKUR_TRAINING
    const std::shared_ptr<const Trained> now = options.training && options.trained == nullptr ? trained() : nullptr;
    run_forward(*run, now != nullptr ? now.get() : options.trained);
#else
    run_forward(*run, nullptr);
#endif
  } catch (const std::bad_alloc&) {
    run->out_of_memory();
  }
  for (std::size_t k = 0; k < options.outputs.size(); ++k) {
    const Index n = element_count(run->output_shape(k));
    if (run->output(k) != options.outputs[k].data) layers::copy(run->output(k), options.outputs[k].data, n);
  }
  return run;
}

// Nodes that a mask is made of: what stands before a layer that makes one.
std::vector<char> Graph::behind_masks() const {
  std::vector<char> wanted(topology_.nodes.size(), false);
  for (std::size_t i = topology_.nodes.size(); i-- > 0;) {
    const Node& node = topology_.nodes[i];
    if (!node.used || node.source || (!wanted[i] && !node.layer->makes_mask())) continue;
    const std::size_t reads = wanted[i] ? node.inputs.size() : 1;
    for (std::size_t k = 0; k < reads; ++k)
      wanted[static_cast<std::size_t>(topology_.producer[static_cast<std::size_t>(node.inputs[k])])] = true;
  }
  return wanted;
}

std::vector<std::vector<std::uint8_t>> Graph::valid_steps(const Batch& batch) const {
  const runtime::Call call;
  const FlushDenormals flush;
  const std::vector<Shape> shapes = check(batch);
  std::vector<std::vector<std::uint8_t>> valid(outputs().size());
  const runtime::MemoryScope scope(&memory_);
  Run run;
  run.batch_size_ = shapes[0][0];
  try {
    run.topology_ = &topology_;
    const HeldStores held(stores_);
    run.plan_ = plan(shapes, false);
    begin_steps(batch, run);
    const bool masks = std::any_of(topology_.nodes.begin(), topology_.nodes.end(),
                                   [](const Node& node) { return node.used && !node.source && node.layer->makes_mask(); });
    if (!masks && !run.steps_.any()) return valid;
    const std::vector<char> wanted = behind_masks();
    run.pool_ = pool_;
    run.arena_ = pool_->take(run.plan_->arena_size);
    run.kept_ = run.passing_ = run.arena_.data();
    bind(run, batch, {});
    run_forward(run, nullptr, &wanted);
    const runtime::MemoryScope system(nullptr);  // what is made now is the caller's
    for (std::size_t k = 0; k < valid.size(); ++k) {
      const layers::RowSteps steps = run.output_steps(k);
      if (steps.lengths == nullptr) continue;
      const Index B = run.output_shape(k)[0];
      for (Index row = 0; row < B; ++row)
        for (Index t = 0; t < steps.T; ++t) valid[k].push_back(steps.is_valid(row, t));
    }
  } catch (const std::bad_alloc&) {
    run.out_of_memory();
  }
  return valid;
}

void Graph::bind(Run& run, const Batch& batch, const RunOptions& options) const {
  const Topology& t = topology_;
  run.graph_id_ = id_;
  run.version_ = stores_.version();
  run.epoch_ = isa::epoch();
  run.seed_ = options.seed;
  run.step_ = options.step;
  run.training_ = options.training;
  run.penalties_ = options.penalties;
  run.whole_rows_ = options.whole_rows;
  run.raw_.assign(t.nodes.size(), false);
  for (std::size_t k = 0; k < options.raw.size(); ++k) {
    const int node = t.producer[static_cast<std::size_t>(t.outputs[k])];
    if (options.raw[k]) run.raw_[static_cast<std::size_t>(node)] = true;
  }
  run.values_.assign(t.tensors.size(), nullptr);
  if (options.training) {
    run.gradients_.assign(t.tensors.size(), nullptr);
    run.output_gradients_.assign(t.outputs.size(), nullptr);
  }
  for (std::size_t i = 0; i < t.inputs.size(); ++i) run.values_[static_cast<std::size_t>(t.inputs[i])] = batch.inputs[i].data;
  // In inference outputs are computed where the caller wants them; a tape must not depend on what the caller does there.
  for (std::size_t k = 0; k < options.outputs.size() && !options.training; ++k) {
    const void*& value = run.values_[static_cast<std::size_t>(t.outputs[k])];
    if (value == nullptr) value = options.outputs[k].data;
  }
  bind_values(run);
}

// What is not the caller's stands in the arena.
void Graph::bind_values(Run& run) const {
  const Plan& plan = *run.plan_;
  for (std::size_t tensor = 0; tensor < run.values_.size(); ++tensor) {
    const void*& value = run.values_[tensor];
    if (value == nullptr && plan.value[tensor] != kNowhere) value = run.kept_ + plan.value[tensor];
    if (value == nullptr) value = run.values_[static_cast<std::size_t>(plan.root[tensor])];
  }
}

void Graph::run_forward(Run& run, [[maybe_unused]] const Trained* trained, const std::vector<char>* only) const {
  const Plan& plan = *run.plan_;
  std::array<Call, layers::Layer::kMostStacked> calls;
  const auto point = [&](std::size_t i, Call& call) {
    const Node& node = topology_.nodes[i];
    call.point(i, node, plan, run.values_, run.steps_);
    layers::Context& c = call.context;
    c.weights = weights_of(node, run);
    c.tape = plan.tape[i] == kNowhere ? nullptr : run.kept_ + plan.tape[i];
    c.training = run.training_;
#if REKUR_TRAINING
    c.frozen = run.training_ && !trained->owner[static_cast<std::size_t>(node.owner)];
#endif
    c.raw = run.raw_[i];
    c.seed = run.seed_;
    c.step = run.step_;
    c.stream = run.stream_ + static_cast<std::uint32_t>(i);
    c.time = run.time_;
    c.whole_rows = run.whole_rows_;
  };
  const auto skipped = [&](const Node& node) { return node.source || !node.used || (node.for_penalty && !run.penalties_); };
  for (std::size_t i = 0; i < topology_.nodes.size(); ++i) {
    const Node& node = topology_.nodes[i];
    if (skipped(node)) continue;
    point(i, calls[0]);
    node.layer->check(calls[0].context);
  }
  if (run.batch_size_ == 0) return;
  std::array<layers::LayerCall, layers::Layer::kMostStacked> stack;
  std::size_t n = 0;
  for (std::size_t i = 0; i < topology_.nodes.size(); ++i) {
    const Node& node = topology_.nodes[i];
    if (skipped(node)) continue;
    run.steps_.check_resets(static_cast<int>(i));
    run.steps_.begin_node(static_cast<int>(i), [&](std::uint8_t* valid) {
      point(i, calls[n]);
      node.layer->mask(calls[n].context, valid);
    });
    if (only != nullptr && !(*only)[i]) continue;
    if (plan.root[static_cast<std::size_t>(node.first_output)] != node.first_output) continue;  // passes through
    if (run.weights_ == nullptr) node.layer->prepare(weights_of(node), stores_[node.store].version, run.training_);
    point(i, calls[n]);
    stack[n] = {node.layer.get(), &calls[n].context};
    ++n;
    if (plan.stack_last[i] > static_cast<Index>(i) && only == nullptr) continue;  // the stack goes on
    if (n == 1)
      node.layer->forward(calls[0].context);
    else
      stack[0].layer->forward_stack(std::span(stack).first(n));
#if REKUR_TRAINING
    if (run.penalties_ && n == 1 && node.layer->has_penalty()) run.penalty_ += node.layer->penalty(calls[0].context);
#endif
    n = 0;
  }
}

}  // namespace rekur::graph
