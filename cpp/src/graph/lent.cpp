// Runs of a graph within a layer's run: what they read, write and keep is the layer's.
#include "graph/call.hpp"
#include "graph/graph.hpp"

namespace rekur::graph {

void Graph::prepare_lent(const float* weights, std::uint64_t version, bool training) const {
  for (const Node& node : topology_.nodes)
    if (node.used && !node.source) node.layer->prepare(weights + node.weights_begin, version, training);
}

std::unique_ptr<Run> Graph::lent_run() const {
  std::unique_ptr<Run> run(new Run());
  run->topology_ = &topology_;
  return run;
}

void Graph::lend(Run& run, const Lent& lent) const {
  const Topology& t = topology_;
  const layers::Context& within = *lent.within;
  run.plan_ = lent.plan;
  run.weights_ = lent.weights;
  run.kept_ = lent.kept;
  run.passing_ = lent.passing;
  run.seed_ = within.seed;
  run.step_ = within.step;
  run.stream_ = lent.stream;
  run.time_ = lent.time;
  run.training_ = within.training;
  run.batch_size_ = lent.plan->input_shapes[0][0];
  run.raw_.assign(t.nodes.size(), false);
  run.values_.assign(t.tensors.size(), nullptr);
  if (run.training_) {
    run.gradients_.assign(t.tensors.size(), nullptr);
    run.output_gradients_.assign(t.outputs.size(), nullptr);
  }
  for (std::size_t i = 0; i < t.inputs.size(); ++i) run.values_[static_cast<std::size_t>(t.inputs[i])] = lent.inputs[i];
  for (std::size_t k = 0; k < lent.outputs.size(); ++k) {
    const void*& value = run.values_[static_cast<std::size_t>(t.outputs[k])];
    if (value == nullptr) value = lent.outputs[k];
  }
  bind_values(run);
  run.steps_.begin(t, *run.plan_);
  for (std::size_t i = 0; i < lent.steps.size(); ++i) run.steps_.set_input(static_cast<int>(i), lent.steps[i]);
}

void Graph::forward_lent(Run& run) const {
#if REKUR_TRAINING
  const std::shared_ptr<const Trained> trained = run.training_ ? trained_ : nullptr;
  run_forward(run, trained.get());
#else
  run_forward(run, nullptr);
#endif
}

#if REKUR_TRAINING
void Graph::backward_lent(Run& run, float* d_weights, std::span<float* const> d_inputs) const {
  Call call;
  for (std::size_t i = 0; i < topology_.nodes.size(); ++i) {  // time axes that begin on the way
    const Node& node = topology_.nodes[i];
    if (node.source || !node.used) continue;
    run.steps_.begin_node(static_cast<int>(i), [&](std::uint8_t* valid) {
      call.point(i, node, *run.plan_, run.values_, run.steps_);
      node.layer->mask(call.context, valid);
    });
  }
  for (std::size_t i = 0; i < d_inputs.size(); ++i) run.gradients_[static_cast<std::size_t>(topology_.inputs[i])] = d_inputs[i];
  const std::size_t owners = topology_.owners.size();
  Trained none{.owner = std::vector<char>(owners, false), .rate = {}, .all = false};
  const Trained& trained = d_weights == nullptr ? none : *trained_;
  start_gradients(run, trained);
  run_backward(run, {d_weights, d_weights == nullptr ? 0 : static_cast<std::size_t>(parameter_count_)}, trained);
}
#endif

}  // namespace rekur::graph
