// What a graph checks before it runs, and the plans it keeps.
#include "graph/graph.hpp"

#include <algorithm>

#include "isa/dispatch.hpp"
#include "layers/activation_spec.hpp"

namespace rekur::graph {
namespace {

const char* name(DType dtype) { return dtype == DType::int32 ? "int32" : "float32"; }

bool is_empty(const Shape& shape) { return std::find(shape.begin(), shape.end(), 0) != shape.end(); }

std::string count_of(std::size_t n, const char* what) { return std::to_string(n) + " " + what + (n == 1 ? "" : "s"); }

// A caller's list of one thing for each input or output.
void expect_count(const char* what, std::size_t expected, std::size_t given) {
  if (given != expected) throw Error("model: expected " + count_of(expected, what) + ", got " + std::to_string(given));
}

// A caller's array that is written.
void expect_view(const std::string& what, const View& view, const Shape& expected) {
  if (view.shape != expected)
    throw Error(what + ": expected an array of shape " + to_string(expected) + ", got " + to_string(view.shape));
  if (view.data == nullptr && !is_empty(expected)) throw Error(what + ": its data pointer is null");
}

}  // namespace

// Types, shapes and batch sizes. Returns the shapes.
std::vector<Shape> Graph::check(const Batch& batch) const {
  expect_count("input", inputs().size(), batch.inputs.size());
  if (!batch.lengths.empty()) expect_count("lengths array (one an input, possibly empty)", inputs().size(), batch.lengths.size());
  std::vector<Shape> shapes;
  for (std::size_t i = 0; i < batch.inputs.size(); ++i) {
    const TensorInfo& info = inputs()[i];
    const ConstView& given = batch.inputs[i];
    const std::string where = "Input '" + info.name + "': ";
    if (given.dtype != info.dtype) throw Error(where + "expected " + name(info.dtype) + ", got " + name(given.dtype));
    if (given.shape.size() != info.shape.size()) {
      throw Error(where + "expected an array of shape " + to_string(info.shape) + ", got " + to_string(given.shape));
    }
    if (!shapes.empty() && given.shape[0] != shapes[0][0]) {
      throw Error(where + "expected as many rows as input '" + inputs()[0].name + "' has (" + std::to_string(shapes[0][0]) +
                  "), got " + std::to_string(given.shape[0]) + " (input shape " + to_string(given.shape) + ")");
    }
    if (given.data == nullptr && !is_empty(given.shape)) throw Error(where + "its data pointer is null");
    shapes.push_back(given.shape);
  }
  return shapes;
}

// Keeps the lengths that say anything: those of inputs where some row is not full.
void Graph::check_lengths(const Batch& batch, Run& run) const {
  run.lengths_.assign(inputs().size(), {});
  for (std::size_t i = 0; i < batch.lengths.size(); ++i) {
    const std::span<const std::int32_t> lengths = batch.lengths[i];
    if (lengths.empty()) continue;
    const layers::TensorSpec& input = run.plan_->tensors[static_cast<std::size_t>(topology_.inputs[i])];
    const std::string where = "Input '" + inputs()[i].name + "': ";
    if (!input.has_time())
      throw Error(where + "has no time axis that lengths could belong to (shape " + to_string(inputs()[i].shape) + ")");
    if (static_cast<Index>(lengths.size()) != run.batch_size_) {
      throw Error(where + "expected " + count_of(static_cast<std::size_t>(run.batch_size_), "length") + ", one a row, got " +
                  std::to_string(lengths.size()));
    }
    const Index T = input.shape[1];
    for (std::size_t row = 0; row < lengths.size(); ++row) {
      if (lengths[row] >= 0 && lengths[row] <= T) continue;
      throw Error(where + "length " + std::to_string(lengths[row]) + " of row " + std::to_string(row) + " is not in [0, " +
                  std::to_string(T) + "], the steps there are");
    }
    if (std::any_of(lengths.begin(), lengths.end(), [T](std::int32_t l) { return l != T; })) run.lengths_[i] = lengths;
  }
}

// Layers that join time axes need the same lengths on all of them.
void Graph::check_joins(const Run& run) const {
  for (const Node& node : topology_.nodes) {
    if (!node.used) continue;
    int first = -1;
    for (const int tensor : node.inputs) {
      const int source = run.plan_->tensors[static_cast<std::size_t>(tensor)].time_source;
      if (source < 0 || source == first) continue;
      if (first < 0) {
        first = source;
        continue;
      }
      const auto& a = run.lengths_[static_cast<std::size_t>(first)];
      const auto& b = run.lengths_[static_cast<std::size_t>(source)];
      if (!std::equal(a.begin(), a.end(), b.begin(), b.end())) {
        node.layer->fail("joins sequences of different lengths, those of input '" + inputs()[static_cast<std::size_t>(first)].name +
                         "' and of input '" + inputs()[static_cast<std::size_t>(source)].name + "'");
      }
    }
  }
}

void Graph::check_options(const RunOptions& options, const Plan& plan) const {
  if (!options.outputs.empty()) expect_count("output array", outputs().size(), options.outputs.size());
  if (!options.raw.empty()) expect_count("flag for raw outputs", outputs().size(), options.raw.size());
  for (std::size_t k = 0; k < options.outputs.size(); ++k) {
    expect_view("output '" + outputs()[k].name + "'", options.outputs[k],
                plan.tensors[static_cast<std::size_t>(topology_.outputs[k])].shape);
  }
  for (std::size_t k = 0; k < options.raw.size(); ++k) {
    if (options.raw[k] && final_activation(k) == layers::FinalActivation::none) {
      throw Error("output '" + outputs()[k].name + "' has no activation of its own that could be left out");
    }
  }
}

void Graph::check_backward(const Run& run, std::span<float> d_weights, std::span<const View> d_inputs) const {
  if (run.graph_id_ != id_) throw Error("model: the tape belongs to another model");
  if (!run.training_) throw Error("model: the run was one of inference; only a training run goes backward");
  if (run.consumed_) throw Error("model: the tape was used already; each serves one backward pass");
  if (run.version_ != version_ || run.epoch_ != isa::epoch()) {
    throw Error("model: its parameters or the instruction set were changed after the tape's forward pass");
  }
  if (static_cast<Index>(d_weights.size()) != parameter_count_) {
    throw Error("model: expected room for " + std::to_string(parameter_count_) + " weight gradients, got " +
                std::to_string(d_weights.size()));
  }
  if (!d_inputs.empty()) expect_count("input gradient", inputs().size(), d_inputs.size());
  for (std::size_t i = 0; i < d_inputs.size(); ++i) {
    if (d_inputs[i].data == nullptr) continue;
    if (inputs()[i].dtype != DType::float32) throw Error("Input '" + inputs()[i].name + "': int32 ids have no gradient");
    expect_view("gradient of input '" + inputs()[i].name + "'", d_inputs[i], run.plan_->input_shapes[i]);
  }
}

std::shared_ptr<const Plan> Graph::plan(const std::vector<Shape>& inputs, bool training) const {
  constexpr std::size_t kKept = 8;
  {
    const std::lock_guard lock(plans_mutex_);
    for (auto it = plans_.begin(); it != plans_.end(); ++it) {
      if ((*it)->training != training || (*it)->epoch != isa::epoch() || (*it)->input_shapes != inputs) continue;
      std::rotate(plans_.begin(), it, it + 1);
      return plans_.front();
    }
  }
  std::shared_ptr<const Plan> made = make_plan(topology_, inputs, training);
  const std::lock_guard lock(plans_mutex_);
  plans_.insert(plans_.begin(), made);
  if (plans_.size() > kKept) plans_.pop_back();
  return made;
}

std::vector<Shape> Graph::output_shapes(const std::vector<Shape>& shapes) const {
  expect_count("input shape", inputs().size(), shapes.size());
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const TensorInfo& info = inputs()[i];
    if (shapes[i].size() != info.shape.size()) {
      throw Error("Input '" + info.name + "': expected an array of shape " + to_string(info.shape) + ", got " +
                  to_string(shapes[i]));
    }
    if (shapes[i].empty() || shapes[i][0] != shapes[0][0]) {
      throw Error("Input '" + inputs()[i].name + "': expected a shape with the same batch size as the others, got " +
                  to_string(shapes[i]));
    }
  }
  const std::shared_ptr<const Plan> plan = make_plan(topology_, shapes, false, false);
  std::vector<Shape> result;
  for (const int tensor : topology_.outputs) result.push_back(plan->tensors[static_cast<std::size_t>(tensor)].shape);
  return result;
}

layers::FinalActivation Graph::final_activation(std::size_t k) const {
  const auto tensor = static_cast<std::size_t>(topology_.outputs[k]);
  if (topology_.readers[tensor] != 1) return layers::FinalActivation::none;
  return topology_.nodes[static_cast<std::size_t>(topology_.producer[tensor])].layer->final_activation();
}

void Graph::apply_final_activation(std::size_t k, const float* raw, float* out, Index rows) const {
  layers::ActivationSpec activation;
  const layers::FinalActivation kind = final_activation(k);
  activation.softmax = kind == layers::FinalActivation::softmax;
  if (kind == layers::FinalActivation::sigmoid) activation.function.kind = ActivationKind::sigmoid;
  layers::activate(activation, raw, out, rows, layers::features_of(outputs()[k].shape));
}

}  // namespace rekur::graph
