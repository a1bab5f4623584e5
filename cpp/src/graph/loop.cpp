// What a loop's body may be, what goes in and comes out, and the plans of its runs.
#include "graph/loop.hpp"

#include <algorithm>

#include "graph/loop_pass.hpp"
#include "io/json.hpp"
#include "isa/dispatch.hpp"
#include "layers/registry.hpp"
#include "layers/stream_op.hpp"
#include "runtime/locks.hpp"

namespace rekur::graph {
namespace {

bool agree(Index a, Index b) { return a == kUnknown || b == kUnknown || a == b; }

bool agree(const Shape& a, const Shape& b, std::size_t from) {
  bool same = a.size() == b.size();
  for (std::size_t d = from; same && d < a.size(); ++d) same = agree(a[d], b[d]);
  return same;
}

bool known(const Shape& shape, std::size_t from) {
  return std::find(shape.begin() + static_cast<Index>(from), shape.end(), kUnknown) == shape.end();
}

// A body's (B, 1, …) or (B, F) without the step: what follows the batch, or batch and time.
Shape without_step(const Shape& shape) {
  Shape rest = shape;
  if (rest.size() > 2) rest.erase(rest.begin() + 1);
  return rest;
}

const char* kind(DType dtype) { return dtype == DType::int32 ? "int32" : "float32"; }

}  // namespace

Loop::Loop(const std::string& type, const std::string& name, std::unique_ptr<Graph> body, const Settings& settings)
    : Layer(type, name), body_(std::move(body)), s_(settings), steps_(s_.steps), states_(s_.states), held_(kNone) {
  const std::size_t inputs = body_->inputs().size(), outputs = body_->outputs().size();
  if (inputs < steps_ + states_)
    fail("its body has % inputs, fewer than steps (%) and states (%) together", {inputs, steps_, states_});
  if (outputs < states_ + 1)
    fail("its body has % outputs; expected at least one and the next value of each state (%)", {outputs, states_});
  constants_ = inputs - steps_ - states_;
  outputs_ = outputs - states_;
  for (std::size_t i = steps_; i < steps_ + constants_ && held_ == kNone; ++i)
    if (body_input(i).has_time() && body_input(i).shape[1] == kUnknown) held_ = i;
  check_body();
}

const layers::TensorSpec& Loop::body_input(std::size_t i) const {
  const Topology& t = body_->topology();
  return t.tensors[static_cast<std::size_t>(t.inputs[i])];
}

const layers::TensorSpec& Loop::body_output(std::size_t k) const {
  const Topology& t = body_->topology();
  return t.tensors[static_cast<std::size_t>(t.outputs[k])];
}

void Loop::check_body() const {
  for (const Node& node : body_->topology().nodes) {
    const layers::Layer& layer = *node.layer;
    const auto refuse = [&](const char* why) {
      fail("its body: % '%' %, which a step of a loop cannot do", {layer.type(), layer.name(), why});
    };
    if (node.layer->only_adds()) refuse("adds to the loss");
#if REKUR_TRAINING
    if (node.layer->has_penalty()) refuse("adds to the loss");
    std::vector<layers::TensorSpec> inputs;
    for (const int tensor : node.inputs) inputs.push_back(body_->topology().tensors[static_cast<std::size_t>(tensor)]);
    if (!node.source && node.layer->observed(inputs) > 0) refuse("follows the statistics of batches");
#endif
  }
  for (std::size_t i = 0; i < steps_; ++i) {
    const layers::TensorSpec& x = body_input(i);
    if (x.has_time() && x.shape[1] == 1 && known(x.shape, 2)) continue;
    fail("its body: expected input '%' to be one step, (1, F) of known size or int32 (1), got %",
         {body_->inputs()[i].name, x.shape});
  }
  for (std::size_t s = 0; s < states_; ++s) {
    const std::string& called = body_->inputs()[steps_ + constants_ + s].name;
    const layers::TensorSpec &before = body_input(steps_ + constants_ + s), &after = body_output(outputs_ + s);
    if (before.dtype != DType::float32) fail("its body: state '%' is of int32; states must be float32", {called});
    const bool open = before.shape.size() > 1 && before.shape[1] == kUnknown;
    if (before.shape.size() < 2 || !known(before.shape, open ? 2 : 1))
      fail("its body: state '%' must have a known size, but for the steps of a constant as its first axis, got %",
           {called, before.shape});
    if (open && held_ == kNone)
      fail("its body: state '%' of shape % has the steps of a constant, and there is none that has any", {called, before.shape});
    if (!agree(before.shape, after.shape, 1))
      fail("its body: state '%' has the shape %, and its next value '%' %",
           {called, before.shape, body_->outputs()[outputs_ + s].name, after.shape});
  }
  for (std::size_t k = 0; k < outputs_; ++k) {
    const Shape& y = body_output(k).shape;
    if (y.size() == 2 || (y.size() > 2 && y[1] == 1)) continue;
    fail("its body: expected output '%' to be that of one step, (F) or (1, F), got %", {body_->outputs()[k].name, y});
  }
}

void Loop::check_input(std::size_t i, const layers::TensorSpec& given) const {
  const layers::TensorSpec& own = body_input(i);
  const bool step = i < steps_;
  bool fits = given.dtype == own.dtype && given.shape.size() == own.shape.size();
  for (std::size_t d = step ? 2 : 1; fits && d < own.shape.size(); ++d)
    fits = own.shape[d] == kUnknown || agree(given.shape[d], own.shape[d]);
  if (fits) return;
  Shape wanted = own.shape;
  if (step) wanted[1] = kUnknown;
  fail("expected % '%' of shape %, %, got % of shape %",
       {(step          ? "the steps of"
         : is_state(i) ? "the initial state"
                       : "the constant"),
        body_->inputs()[i].name, wanted, kind(own.dtype), kind(given.dtype), given.shape});
}

std::vector<Shape> Loop::body_shapes(std::span<const layers::TensorSpec> inputs, Index rows) const {
  std::vector<Shape> shapes;
  for (std::size_t i = 0; i < steps_ + constants_ + states_; ++i) {
    Shape shape = body_input(i).shape;
    if (i >= steps_ && i < inputs.size()) shape = inputs[i].shape;
    if (is_state(i) && shape[1] == kUnknown) shape[1] = inputs[held_].shape[1];
    shape[0] = rows;
    shapes.push_back(std::move(shape));
  }
  return shapes;
}

std::vector<layers::TensorSpec> Loop::infer(std::span<const layers::TensorSpec> inputs) const {
  expect_inputs(inputs, steps_ + constants_, steps_ + constants_ + states_);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    check_input(i, inputs[i]);
    if (!agree(inputs[i].shape[0], inputs[0].shape[0]))
      fail("expected inputs of one batch, got % and %", {inputs[0].shape, inputs[i].shape});
    if (i < steps_ && !agree(inputs[i].shape[1], inputs[0].shape[1]))
      fail("expected sequences of as many steps, got % and %", {inputs[0].shape, inputs[i].shape});
    if (is_state(i) && body_input(i).shape[1] == kUnknown && !agree(inputs[i].shape[1], inputs[held_].shape[1]))
      fail("the initial state '%' has the steps of '%': expected % of them, got %",
           {body_->inputs()[i].name, body_->inputs()[held_].name, inputs[held_].shape, inputs[i].shape});
  }
  // Sizes of outputs that follow from those of constants.
  const std::vector<Shape> shapes = body_shapes(inputs, 1);
  std::shared_ptr<const Plan> sized;
  if (std::all_of(shapes.begin(), shapes.end(), [](const Shape& shape) { return known(shape, 0); }))
    sized = make_plan(body_->topology(), shapes, false, false, false);
  const Index B = inputs[0].shape[0], T = inputs[0].shape[1];
  const auto shape_of = [&](std::size_t k) {
    return sized ? sized->tensors[static_cast<std::size_t>(body_->topology().outputs[k])].shape : body_output(k).shape;
  };
  std::vector<layers::TensorSpec> outputs;
  for (std::size_t k = 0; k < outputs_; ++k) {
    layers::TensorSpec output;
    output.shape = without_step(shape_of(k));
    output.shape[0] = B;
    if (s_.return_sequences) {
      output.shape.insert(output.shape.begin() + 1, T);
      output.time_source = inputs[0].time_source;
    } else if (output.has_time()) {
      output.change.own = true;
    }
    outputs.push_back(std::move(output));
  }
  for (std::size_t s = 0; s < states_; ++s) {
    const std::size_t i = steps_ + constants_ + s;
    layers::TensorSpec state;
    state.shape = shapes[i];
    if (shape_of(outputs_ + s).size() != state.shape.size() || !agree(shape_of(outputs_ + s), state.shape, 1))
      fail("its body: state '%' has the shape %, and its next value %",
           {body_->inputs()[i].name, state.shape, shape_of(outputs_ + s)});
    state.shape[0] = B;
    if (state.has_time() && body_input(i).shape[1] == kUnknown)
      state.time_source = inputs[held_].time_source;
    else if (state.has_time())
      state.change.own = true;
    if (s_.return_state) outputs.push_back(std::move(state));
  }
  return outputs;
}

std::vector<layers::ParamSpec> Loop::parameters(std::span<const layers::TensorSpec>) const {
  std::vector<layers::ParamSpec> specs = body_->parameter_specs();
  for (std::size_t i = 0; i < specs.size(); ++i) specs[i].name = body_->parameters()[i].name;
  return specs;
}

void Loop::prepare(const float* weights, std::uint64_t version, bool training) const {
  body_->prepare_lent(weights, version, training);
}

// Ids that come from outside are looked at before anything is computed.
void Loop::check(const layers::Context& run) const {
  const Topology& t = body_->topology();
  for (const Node& node : t.nodes) {
    if (node.source || !node.used || node.inputs.size() != 1) continue;
    const int input = t.input_of[static_cast<std::size_t>(node.inputs[0])];
    if (input < 0 || static_cast<std::size_t>(input) >= run.inputs.size() ||
        body_input(static_cast<std::size_t>(input)).dtype != DType::int32)
      continue;
    layers::Context whole;
    whole.input_specs = run.input_specs.subspan(static_cast<std::size_t>(input), 1);
    whole.inputs = run.inputs.subspan(static_cast<std::size_t>(input), 1);
    node.layer->check(whole);
  }
}

std::shared_ptr<Loop::Plans> Loop::plans(std::span<const layers::TensorSpec> inputs, bool training) const {
  constexpr std::size_t kKept = 4;
  std::vector<Shape> shapes = body_shapes(inputs, inputs[0].shape[0]);
  {
    const runtime::Guard lock(plans_mutex_);
    for (auto it = plans_.begin(); it != plans_.end(); ++it) {
      const Plan& kept = *(*it)->whole;
      if (kept.training != training || kept.epoch != isa::epoch() || kept.input_shapes != shapes) continue;
      std::rotate(plans_.begin(), it, it + 1);
      return plans_.front();
    }
  }
  auto made = std::make_shared<Plans>();
  made->whole = make_lent_plan(body_->topology(), shapes, training);
  const runtime::Guard lock(plans_mutex_);
  plans_.insert(plans_.begin(), made);
  if (plans_.size() > kKept) plans_.pop_back();
  return made;
}

#if REKUR_TRAINING
void Loop::compute_in(Precision precision) {
  body_->compute_in(precision);
  const runtime::Guard lock(plans_mutex_);
  plans_.clear();
}
#endif

}  // namespace rekur::graph

namespace rekur::layers {

std::unique_ptr<Layer> make_loop(json::Reader& spec, const std::string& type, const std::string& name) {
  const auto count = [&](const char* key, Index fallback, Index least, const char* expected) {
    const Index value = spec.integer(key, fallback);
    if (value < least || value > 1000) spec.refuse(key, expected);
    return static_cast<std::size_t>(value);
  };
  graph::Loop::Settings settings;
  settings.steps = count("steps", 1, 1, "how many of the body's inputs are steps: 1 to 1000");
  settings.states = count("states", 0, 0, "how many of the body's inputs are states: 0 to 1000");
  settings.return_sequences = spec.boolean("return_sequences", false);
  settings.return_state = spec.boolean("return_state", false);
  const json::Value& body = spec.get("body");
  if (!body.is_object()) spec.refuse("body", "an object: a model of one step");
  std::unique_ptr<graph::Graph> made;
  try {
    made = std::make_unique<graph::Graph>(json::write(body), graph::Graph::WithoutWeights());
    if (body.object().find("signal") != nullptr) throw_error("'signal' is the whole model's");
  } catch (const OutOfMemory&) {
    throw;
  } catch (const Error& error) {
    spec.fail("its body: %", {error.what()});
  }
  return std::make_unique<graph::Loop>(type, name, std::move(made), settings);
}

}  // namespace rekur::layers
