// Running a graph backward, and what training asks of it besides.
#include <algorithm>
#include <array>
#include <new>

#include "graph/call.hpp"
#include "graph/check.hpp"
#include "graph/graph.hpp"
#include "io/text.hpp"
#include "isa/dispatch.hpp"
#include "layers/activation_spec.hpp"
#include "layers/elementwise.hpp"
#include "rekur/denormals.hpp"
#include "runtime/own_memory.hpp"

namespace rekur::graph {
namespace {

void fill_zero(float* data, Index n) {
  layers::over_elements(n, 1, [=](Index begin, Index end) { std::fill(data + begin, data + end, 0.0f); });
}

}  // namespace

float* Run::output_gradient(std::size_t k) {
  const Index apart = plan_->output_gradient[k];
  if (apart != kNowhere) return output_gradients_[k] = passing_ + apart;
  const auto tensor = static_cast<std::size_t>(topology_->outputs[k]);
  return gradients_[tensor] = passing_ + plan_->gradient[tensor];
}

void Graph::check_backward(const Run& run, std::span<float> d_weights, std::span<const View> d_inputs) const {
  if (run.graph_id_ != id_) throw_error("model: the tape belongs to another model");
  if (!run.training_) throw_error("model: the run was one of inference; only a training run goes backward");
  if (run.consumed_) throw_error("model: the tape was used already; each serves one backward pass");
  if (run.version_ != stores_.version() || run.epoch_ != isa::epoch()) {
    throw_error("model: its parameters or the instruction set were changed after the tape's forward pass");
  }
  if (static_cast<Index>(d_weights.size()) != parameter_count_) {
    throw_error("model: expected room for % weight gradients, got %", {parameter_count_, d_weights.size()});
  }
  if (!d_inputs.empty()) expect_count("input gradient", inputs().size(), d_inputs.size());
  for (std::size_t i = 0; i < d_inputs.size(); ++i) {
    if (d_inputs[i].data == nullptr) continue;
    if (inputs()[i].dtype != DType::float32) throw_error("Input '%': int32 ids have no gradient", {inputs()[i].name});
    expect_view("gradient of input '" + inputs()[i].name + "'", d_inputs[i], run.plan_->input_shapes[i]);
  }
}

void Graph::backward(Run& run, std::span<float> d_weights, std::span<const View> d_inputs, const Trained* trained,
                     const Ready* ready) const {
  const FlushDenormals flush;
  const runtime::MemoryScope scope(&memory_);
  const HeldStores held(stores_);
  check_backward(run, d_weights, d_inputs);
  run.consumed_ = true;
  std::shared_ptr<const Trained> now;
  if (trained == nullptr) {
    trained = (now = this->trained()).get();
    if (!trained->all) fill_zero(d_weights.data(), static_cast<Index>(d_weights.size()));
  }
  try {
    for (std::size_t i = 0; i < d_inputs.size(); ++i) {
      if (d_inputs[i].data == nullptr) continue;
      fill_zero(d_inputs[i].data, element_count(d_inputs[i].shape));
      run.gradients_[static_cast<std::size_t>(topology_.inputs[i])] = d_inputs[i].data;
    }
    start_gradients(run, *trained);
    if (run.batch_size_ > 0)
      run_backward(run, d_weights, *trained, ready);
    else
      fill_zero(d_weights.data(), static_cast<Index>(d_weights.size()));
  } catch (const std::bad_alloc&) {
    run.out_of_memory();
  }
}

// The callers' arrays are there: brings to each output tensor the gradients that were given apart from it.
void Graph::start_gradients(Run& run, const Trained& trained) const {
  run.wanted_ = wanted_gradients(run, trained);
  for (std::size_t k = 0; k < run.output_gradients_.size(); ++k) {
    const auto tensor = static_cast<std::size_t>(topology_.outputs[k]);
    if (run.output_gradients_[k] == nullptr || !run.wanted_[tensor]) continue;
    const Index n = element_count(run.output_shape(k));
    float*& gradient = run.gradients_[tensor];
    if (gradient == nullptr) {
      gradient = run.passing_ + run.plan_->gradient[tensor];
      fill_zero(gradient, n);
    }
    layers::accumulate(run.output_gradients_[k], gradient, n);
  }
}

// Per tensor: whether a parameter that is trained or a wanted input lies behind it.
std::vector<char> Graph::wanted_gradients(const Run& run, const Trained& trained) const {
  std::vector<char> wanted(topology_.tensors.size(), false);
  for (const int input : topology_.inputs)
    wanted[static_cast<std::size_t>(input)] = run.gradients_[static_cast<std::size_t>(input)] != nullptr;
  for (const Node& node : topology_.nodes) {
    if (node.source || !node.used) continue;
    const bool needed =
        (node.weights_size() > 0 && trained.owner[static_cast<std::size_t>(node.owner)]) ||
        std::any_of(node.inputs.begin(), node.inputs.end(), [&](int tensor) { return wanted[static_cast<std::size_t>(tensor)]; });
    for (int k = 0; k < node.output_count; ++k) wanted[static_cast<std::size_t>(node.first_output + k)] = needed;
  }
  return wanted;
}

// Of several calls of a layer the last one writes the gradients of its weights, the others add to them, in order.
void Graph::run_backward(Run& run, std::span<float> d_weights, const Trained& trained, const Ready* ready) const {
  const Plan& plan = *run.plan_;
  std::array<Call, layers::Layer::kMostStacked> calls;
  std::array<layers::LayerCall, layers::Layer::kMostStacked> stack;
  struct Apart {
    const float* from;
    float* to;
    Index size;
  };
  std::array<Apart, layers::Layer::kMostStacked> apart;
  std::size_t n = 0, added = 0;
  for (std::size_t i = topology_.nodes.size(); i-- > 0;) {
    const Node& node = topology_.nodes[i];
    const bool learns = node.weights_size() > 0 && trained.owner[static_cast<std::size_t>(node.owner)];
    float* const own = learns ? d_weights.data() + node.weights_begin : nullptr;
    const bool writes = node.layer->writes_gradients();
    const bool adds = !node.last || plan.lent;
    float* const to = learns && writes && adds ? run.passing_ + plan.gradient_apart[i] : own;
    const bool runs = !node.source && node.used && run.wanted_[static_cast<std::size_t>(node.first_output)] &&
                      point_backward(run, i, to, calls[n]);
    if (learns && !adds && (!runs || !writes)) fill_zero(own, node.weights_size());
    if (node.source || !node.used) continue;
    if (runs) {
      stack[n] = {node.layer.get(), &calls[n].context};
      ++n;
      if (to != own) apart[added++] = {to, own, node.weights_size()};
    }
    if (n == 0 || plan.stack_first[i] < static_cast<Index>(i)) continue;  // the stack goes on
    if (n == 1)
      stack[0].layer->backward(*stack[0].run);
    else
      stack[0].layer->backward_stack(std::span(stack).first(n));
    for (std::size_t k = 0; k < added; ++k) layers::accumulate(apart[k].from, apart[k].to, apart[k].size);
    if (ready != nullptr) tell_ready(i, n, trained, *ready);
    n = added = 0;
  }
}

// Of the `count` nodes from i on, which have gone backward: the weights that no earlier call will add to.
void Graph::tell_ready(std::size_t i, std::size_t count, const Trained& trained, const Ready& ready) const {
  for (std::size_t k = i + count; k-- > i;) {
    const Node& node = topology_.nodes[k];
    if (node.weights_size() > 0 && !node.again && trained.owner[static_cast<std::size_t>(node.owner)])
      ready(node.weights_begin, node.weights_end);
  }
}

// Collects what node i's backward call needs. False if no gradient arrives there.
bool Graph::point_backward(Run& run, std::size_t i, float* d_weights, Call& call) const {
  const Plan& plan = *run.plan_;
  const Node& node = topology_.nodes[i];
  call.d_outputs.clear();
  call.d_inputs.clear();
  bool arrives = run.penalties_ && node.layer->has_penalty();
  for (int k = 0; k < node.output_count; ++k) {
    call.d_outputs.push_back(run.gradients_[static_cast<std::size_t>(node.first_output + k)]);
    arrives = arrives || call.d_outputs.back() != nullptr;
  }
  if (!arrives) return false;
  for (const int input : node.inputs) {
    const auto tensor = static_cast<std::size_t>(input);
    float*& gradient = run.gradients_[tensor];
    if (gradient == nullptr && run.wanted_[tensor]) {  // the first to arrive there
      gradient = run.passing_ + plan.gradient[tensor];
      fill_zero(gradient, element_count(plan.tensors[tensor].shape));
    }
    call.d_inputs.push_back(run.wanted_[tensor] ? gradient : nullptr);
  }
  call.point(i, node, plan, run.values_, run.steps_);
  layers::Context& c = call.context;
  c.d_outputs = call.d_outputs;
  c.d_inputs = call.d_inputs;
  c.weights = weights_of(node, run);
  c.d_weights = d_weights;
  c.tape = run.kept_ + plan.tape[i];
  c.scratch = run.passing_ + plan.scratch[i];
  c.training = true;
  c.raw = run.raw_[i];
  c.penalties = run.penalties_;
  c.whole_rows = run.whole_rows_;
  return true;
}

bool Graph::has_penalties() const {
  return std::any_of(topology_.nodes.begin(), topology_.nodes.end(),
                     [](const Node& node) { return node.used && !node.source && node.layer->has_penalty(); });
}

void Graph::observed(const Run& run, const Trained& trained, std::vector<float>& values) const {
  values.clear();
  for (std::size_t i = 0; i < topology_.nodes.size(); ++i) {
    const Node& node = topology_.nodes[i];
    if (node.source || !node.used || !trained.owner[static_cast<std::size_t>(node.owner)]) continue;
    const Index n = node.layer->observed(inputs_of(node));
    if (n == 0) continue;
    const float* const from = run.arena_.data() + run.plan_->tape[i];
    if (run.batch_size_ > 0)
      values.insert(values.end(), from, from + n);
    else
      values.insert(values.end(), static_cast<std::size_t>(n), 0.0f);
  }
}

std::vector<Graph::Following> Graph::following(const Trained& trained) const {
  std::vector<Following> found;
  for (const Node& node : topology_.nodes) {
    if (node.source || !node.used || !trained.owner[static_cast<std::size_t>(node.owner)]) continue;
    const Index n = node.layer->observed(inputs_of(node));
    if (n > 0) found.push_back({{node.store, node.weights_at, node.weights_begin, node.weights_size()}, node.layer.get(), n});
  }
  return found;
}

Index Graph::observed_size(const Trained& trained) const {
  Index size = 0;
  for (const Following& one : following(trained)) size += one.observed;
  return size;
}

std::vector<layers::TensorSpec> Graph::inputs_of(const Node& node) const {
  std::vector<layers::TensorSpec> inputs;
  for (const int tensor : node.inputs) inputs.push_back(topology_.tensors[static_cast<std::size_t>(tensor)]);
  return inputs;
}

layers::FinalActivation Graph::final_activation(std::size_t k) const {
  const auto tensor = static_cast<std::size_t>(topology_.outputs[k]);
  if (topology_.readers[tensor] != 1) return layers::FinalActivation::none;
  return topology_.nodes[static_cast<std::size_t>(topology_.producer[tensor])].layer->final_activation();
}

// What the layer of output k is shown once more, after the run.
void Graph::point_at_output(const Run& run, std::size_t k, Call& call) const {
  const auto i = static_cast<std::size_t>(topology_.producer[static_cast<std::size_t>(topology_.outputs[k])]);
  call.point(i, topology_.nodes[i], *run.plan_, run.values_, run.steps_);
  call.context.weights = weights_of(topology_.nodes[i]);
  call.context.tape = const_cast<float*>(run.arena_.data()) + run.plan_->tape[i];
  call.context.training = run.training_;
  call.context.raw = true;
}

void Graph::apply_final_activation(const Run& run, std::size_t k, float* out) const {
  const layers::FinalActivation kind = final_activation(k);
  if (kind == layers::FinalActivation::chain) {
    Call call;
    const HeldStores held(stores_);
    point_at_output(run, k, call);
    return topology_.nodes[static_cast<std::size_t>(topology_.producer[static_cast<std::size_t>(topology_.outputs[k])])]
        .layer->finish(call.context, run.output(k), out);
  }
  layers::ActivationSpec activation;
  activation.softmax = kind == layers::FinalActivation::softmax;
  if (kind == layers::FinalActivation::sigmoid) activation.function.kind = ActivationKind::sigmoid;
  const Shape& shape = run.output_shape(k);
  layers::activate(activation, run.output(k), out, layers::rows_of(shape), layers::features_of(shape));
}

double Graph::chain_loss(const Run& run, std::size_t k, const std::int32_t* tags, std::span<const float> weights, float* gradient,
                         double scale) const {
  Call call;
  const HeldStores held(stores_);
  point_at_output(run, k, call);
  return topology_.nodes[static_cast<std::size_t>(topology_.producer[static_cast<std::size_t>(topology_.outputs[k])])]
      .layer->chain_loss(call.context, tags, weights, gradient, scale);
}

}  // namespace rekur::graph
