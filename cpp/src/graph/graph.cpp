// What a graph checks before it runs, and the plans it keeps.
#include "graph/graph.hpp"
#include "io/text.hpp"

#include <algorithm>

#include "graph/check.hpp"
#include "isa/dispatch.hpp"
#include "runtime/locks.hpp"

namespace rekur::graph {
namespace {

const char* name(DType dtype) {
  return dtype == DType::int32 ? "int32" : dtype == DType::float32 ? "float32" : "a value that is no DType";
}

bool is_empty(const Shape& shape) { return std::find(shape.begin(), shape.end(), 0) != shape.end(); }

}  // namespace

std::string count_of(std::size_t n, const char* what) { return compose("% %%", {n, what, (n == 1 ? "" : "s")}); }

void expect_count(const char* what, std::size_t expected, std::size_t given) {
  if (given != expected) throw_error("model: expected %, got %", {count_of(expected, what), given});
}

void expect_view(const std::string& what, const View& view, const Shape& expected) {
  if (view.shape != expected) throw_error("%: expected an array of shape %, got %", {what, expected, view.shape});
  if (view.data == nullptr && !is_empty(expected)) throw_error("%: its data pointer is null", {what});
}

// Types, shapes and batch sizes. Returns the shapes.
std::vector<Shape> Graph::check(const Batch& batch) const {
  expect_count("input", inputs().size(), batch.inputs.size());
  if (!batch.lengths.empty()) expect_count("lengths array (one an input, possibly empty)", inputs().size(), batch.lengths.size());
  if (!batch.masks.empty()) expect_count("mask (one an input, possibly empty)", inputs().size(), batch.masks.size());
  if (!batch.resets.empty()) expect_count("resets (one an input, possibly empty)", inputs().size(), batch.resets.size());
  std::vector<Shape> shapes;
  for (std::size_t i = 0; i < batch.inputs.size(); ++i) {
    const TensorInfo& info = inputs()[i];
    const ConstView& given = batch.inputs[i];
    const auto where = [&] { return compose("Input '%': ", {info.name}); };  // called where it is wanted alone
    if (given.dtype != info.dtype) throw_error("%expected %, got %", {where(), name(info.dtype), name(given.dtype)});
    if (given.shape.size() != info.shape.size()) {
      throw_error("%expected an array of shape %, got %", {where(), info.shape, given.shape});
    }
    if (!shapes.empty() && given.shape[0] != shapes[0][0]) {
      throw_error("%expected as many rows as input '%' has (%), got % (input shape %)",
                  {where(), inputs()[0].name, shapes[0][0], given.shape[0], given.shape});
    }
    if (given.data == nullptr && !is_empty(given.shape)) throw_error("%its data pointer is null", {where()});
    shapes.push_back(given.shape);
  }
  return shapes;
}

// The lengths and masks of the inputs.
void Graph::begin_steps(const Batch& batch, Run& run) const {
  run.steps_.begin(topology_, *run.plan_);
  const auto lengths_of = [&](std::size_t i) {
    return i < batch.lengths.size() ? batch.lengths[i] : std::span<const std::int32_t>();
  };
  const auto flags_of = [](const auto& all, std::size_t i) { return i < all.size() ? all[i] : std::span<const std::uint8_t>(); };
  for (std::size_t i = 0; i < inputs().size(); ++i) {
    const std::span<const std::int32_t> lengths = lengths_of(i);
    const std::span<const std::uint8_t> mask = flags_of(batch.masks, i), resets = flags_of(batch.resets, i);
    if (lengths.empty() && mask.empty() && resets.empty()) continue;
    const layers::TensorSpec& input = run.plan_->tensors[static_cast<std::size_t>(topology_.inputs[i])];
    const std::string where = compose("Input '%': ", {inputs()[i].name});
    if (!input.has_time())
      throw_error("%has no time axis that % could belong to (shape %)", {where,
                                                                         (!lengths.empty() ? "lengths"
                                                                          : mask.empty()   ? "resets"
                                                                                           : "a mask"),
                                                                         inputs()[i].shape});
    const Index B = run.batch_size_, T = input.shape[1];
    if (!lengths.empty() && static_cast<Index>(lengths.size()) != B)
      throw_error("%expected %, one a row, got %", {where, count_of(static_cast<std::size_t>(B), "length"), lengths.size()});
    for (std::size_t row = 0; row < lengths.size(); ++row) {
      if (lengths[row] >= 0 && lengths[row] <= T) continue;
      throw_error("%length % of row % is not in [0, %], the steps there are", {where, lengths[row], row, T});
    }
    const auto check_flags = [&](const char* what, std::span<const std::uint8_t> flags) {
      if (flags.empty() || static_cast<Index>(flags.size()) == B * T) return;
      throw_error("%expected % of % rows and % steps, got % flags", {where, what, B, T, flags.size()});
    };
    check_flags("a mask", mask);
    check_flags("resets", resets);
    run.steps_.set_input(static_cast<int>(i), lengths, mask, resets);
  }
}

void Graph::check_options(const RunOptions& options, const Plan& plan) const {
  if (!options.outputs.empty()) expect_count("output array", outputs().size(), options.outputs.size());
  if (!options.raw.empty()) expect_count("flag for raw outputs", outputs().size(), options.raw.size());
  for (std::size_t k = 0; k < options.outputs.size(); ++k) {
    const Shape& expected = plan.tensors[static_cast<std::size_t>(topology_.outputs[k])].shape;
    if (options.outputs[k].data != nullptr && options.outputs[k].shape == expected) continue;
    expect_view(compose("output '%'", {outputs()[k].name}), options.outputs[k], expected);
  }
#if REKUR_TRAINING
  for (std::size_t k = 0; k < options.raw.size(); ++k) {
    if (options.raw[k] && final_activation(k) == layers::FinalActivation::none) {
      throw_error("output '%' has no activation of its own that could be left out", {outputs()[k].name});
    }
  }
#endif
}

// What Model::predict is about to ask for, too: shapes that a plan has been made for are not inferred again.
std::shared_ptr<const Plan> Graph::any_plan(const std::vector<Shape>& inputs) const {
  {
    const runtime::Guard lock(plans_mutex_);
    for (const std::shared_ptr<const Plan>& plan : plans_)
      if (plan->input_shapes == inputs) return plan;
  }
  return make_plan(topology_, inputs, false, false, false);
}

std::shared_ptr<const Plan> Graph::plan(const std::vector<Shape>& inputs, bool training, bool remat) const {
  constexpr std::size_t kKept = 8;
  {
    const runtime::Guard lock(plans_mutex_);
    for (auto it = plans_.begin(); it != plans_.end(); ++it) {
      const Plan& kept = **it;
      if (kept.training != training || kept.remat != remat || kept.epoch != isa::epoch() || kept.input_shapes != inputs) continue;
      std::rotate(plans_.begin(), it, it + 1);
      return plans_.front();
    }
  }
  std::shared_ptr<const Plan> made = make_plan(topology_, inputs, training, remat);
  const runtime::Guard lock(plans_mutex_);
  plans_.insert(plans_.begin(), made);
  if (plans_.size() > kKept) plans_.pop_back();
  return made;
}

std::vector<std::string> Graph::layers_across_time() const {
  const std::vector<TimeAxis>& axes = topology_.axes.all;
  std::vector<char> cut(axes.size());  // axes made of an input's; others, such as those within a step, stay whole
  for (std::size_t i = 0; i < axes.size(); ++i) {
    cut[i] = axes[i].kind == TimeAxis::Kind::input;
    for (const int from : {axes[i].source, axes[i].other}) cut[i] = cut[i] || (from >= 0 && cut[static_cast<std::size_t>(from)]);
  }
  std::vector<std::string> found;
  for (const Node& node : topology_.nodes) {
    if (node.source || !node.used) continue;
    bool crosses = false;
    std::vector<int> read;  // their axes
    for (const int tensor : node.inputs) {
      const layers::TensorSpec& input = topology_.tensors[static_cast<std::size_t>(tensor)];
      if (!input.has_time()) continue;
      read.push_back(input.time_source);
      crosses = crosses || (node.layer->crosses_resets() && cut[static_cast<std::size_t>(input.time_source)]);
    }
    for (int k = 0; k < node.output_count; ++k) {
      const layers::TensorSpec& output = topology_.tensors[static_cast<std::size_t>(node.first_output + k)];
      if (!output.has_time() || std::find(read.begin(), read.end(), output.time_source) != read.end()) continue;
      const auto axis = static_cast<std::size_t>(output.time_source);
      crosses = crosses || (axes[axis].kind == TimeAxis::Kind::changed && cut[axis]);
    }
    if (crosses) found.push_back(topology_.owners[static_cast<std::size_t>(node.owner)]);
  }
  return found;
}

Index Graph::arena_size(const std::vector<Shape>& shapes, bool training, bool remat) const {
  check_shapes(shapes);
  return make_plan(topology_, shapes, training, remat)->arena_size;
}

std::vector<Shape> Graph::output_shapes(const std::vector<Shape>& shapes) const {
  check_shapes(shapes);
  const std::shared_ptr<const Plan> plan = any_plan(shapes);
  std::vector<Shape> result;
  for (const int tensor : topology_.outputs) result.push_back(plan->tensors[static_cast<std::size_t>(tensor)].shape);
  return result;
}

void Graph::check_shapes(const std::vector<Shape>& shapes) const {
  expect_count("input shape", inputs().size(), shapes.size());
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const TensorInfo& info = inputs()[i];
    if (shapes[i].size() != info.shape.size()) {
      throw_error("Input '%': expected an array of shape %, got %", {info.name, info.shape, shapes[i]});
    }
    if (shapes[i].empty() || shapes[i][0] != shapes[0][0]) {
      throw_error("Input '%': expected a shape with the same batch size as the others, got %", {inputs()[i].name, shapes[i]});
    }
  }
}

}  // namespace rekur::graph
