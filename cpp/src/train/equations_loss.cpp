#include "train/equations_loss.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "io/json.hpp"
#include "io/text.hpp"
#include "isa/dispatch.hpp"
#include "layers/equations_spec.hpp"
#include "runtime/locks.hpp"
#include "runtime/parallel.hpp"
#include "runtime/scratch.hpp"

namespace rekur::train {
namespace {

using equations::Extent;

constexpr double kCost = 4;                    // floating-point operations of an instruction, roughly
constexpr std::size_t kMostNumbers = 1 << 16;  // of an input that is an array
constexpr std::size_t kMostLabel = 255;        // bytes

// The mean over features that ends the equations, or is taken because they give numbers a feature, is cheaper in the interpreter
// for rows of many, and outside it for rows of few.
equations::Equations with_mean(equations::Equations f, Index features) {
  int& value = f.outputs[0];
  if (f.nodes[static_cast<std::size_t>(value)].op == equations::Op::row_mean)
    value = f.nodes[static_cast<std::size_t>(value)].from[0];
  if (features < 32) return f;
  f.nodes.push_back({.op = equations::Op::row_mean, .from = {value, -1, -1}});
  value = static_cast<int>(f.nodes.size()) - 1;
  return f;
}

const char* source_name(bool output) { return output ? "y_pred" : "y_true"; }

}  // namespace

EquationsLoss::EquationsLoss(json::Reader& config)
    : label_(config.string("label", "equations")), f_(layers::read_equations(config, "equations")) {
  if (label_.empty() || label_.size() > kMostLabel) config.refuse("label", "a text of 1 to 255 bytes");
  if (f_.outputs.size() != 1) config.fail("a loss is one value, got % outputs", {f_.outputs.size()});
  if (config.find("inputs") == nullptr) {
    inputs_ = {{.source = Source::y_true}, {.source = Source::y_pred}};
  } else {
    for (const json::Value& value : config.array("inputs")) read_input(value, config);
  }
  if (inputs_.size() != f_.inputs.size())
    config.fail("'inputs': expected % of them, one an input of the equations, got %", {f_.inputs.size(), inputs_.size()});
  const auto use = [&](int value) {
    if (value >= 0 && value < static_cast<int>(inputs_.size())) inputs_[static_cast<std::size_t>(value)].used = true;
  };
  for (const equations::Node& node : f_.nodes)
    for (const int from : node.from) use(from);
  use(f_.outputs[0]);
}

void EquationsLoss::read_input(const json::Value& value, json::Reader& config) {
  const auto source = [&](const std::string& name) {
    if (name != "y_true" && name != "y_pred")
      config.fail("'inputs': expected \"y_true\" or \"y_pred\", got %", {json::describe(value)});
    return name == "y_pred" ? Source::y_pred : Source::y_true;
  };
  Input input;
  if (value.is_string()) {
    input.source = source(value.string());
  } else if (value.is_array()) {
    input.source = Source::numbers;
    if (value.array().empty() || value.array().size() > kMostNumbers)
      config.fail("'inputs': expected 1 to % numbers, got %", {kMostNumbers, value.array().size()});
    for (const json::Value& number : value.array()) {
      if (!number.is_number() || !(std::abs(number.number()) <= static_cast<double>(std::numeric_limits<float>::max())))
        config.fail("'inputs': expected finite float32 numbers, got %", {json::describe(number)});
      input.numbers.push_back(static_cast<float>(number.number()));
    }
  } else {
    json::Reader piece(value, compose("%: inputs", {config.context()}));
    input.source = source(piece.string("of"));
    input.start = piece.integer("start", 0);
    if (const json::Value* stop = piece.find("stop"); stop != nullptr && !stop->is_null()) input.stop = piece.integer("stop");
    piece.finish();
  }
  inputs_.push_back(std::move(input));
}

std::shared_ptr<const EquationsLoss::Plan> EquationsLoss::make_plan(Index output, std::optional<Index> target,
                                                                    const std::string& where) const {
  auto plan = std::make_shared<Plan>();
  plan->output = output;
  plan->target = target.value_or(0);
  plan->features = 1;
  for (const Input& input : inputs_) {
    const bool of_output = input.source == Source::y_pred;
    Piece piece{.source = input.source, .start = 0, .width = 1, .of = 1, .numbers = nullptr, .used = input.used};
    if (input.source == Source::numbers) {
      piece.numbers = input.numbers.data();
      piece.width = piece.of = static_cast<Index>(input.numbers.size());
    } else if (of_output || target) {
      piece.of = of_output ? output : *target;
      const auto from_start = [&](Index place) { return place < 0 ? place + piece.of : place; };
      piece.start = from_start(input.start);
      const Index stop = from_start(input.stop.value_or(piece.of));
      piece.width = stop - piece.start;
      const bool within = piece.start >= 0 && piece.start <= piece.of && stop >= 0 && stop <= piece.of;
      if (!within || piece.width <= 0)
        throw_error("%loss '%': features [%, %) % the % of %",
                    {where, label_, input.start, (input.stop ? compose("%", {*input.stop}) : "end"),
                     (within ? "are none of" : "do not lie within"), piece.of, source_name(of_output)});
    }
    if (piece.used) plan->features = std::max(plan->features, piece.width);
    plan->pieces.push_back(piece);
  }
  const Index n = plan->features;
  std::vector<Extent> extents;
  for (const Piece& piece : plan->pieces) {
    if (piece.used && piece.width != n && piece.width != 1) {
      std::string widths;
      for (const Piece& each : plan->pieces)
        if (each.used)
          widths +=
              compose("%% of %", {(widths.empty() ? "" : ", "), each.width,
                                  (each.source == Source::numbers ? "an array" : source_name(each.source == Source::y_pred))});
      throw_error("%loss '%': what it joins must have equally many features, or one, got %", {where, label_, widths});
    }
    // Of a single feature there is nothing to sum up: everything is a number a row.
    extents.push_back(n > 1 && piece.width == n ? Extent::feature : Extent::row);
  }
  equations::Graph graph(with_mean(f_, n), extents);
  const int value = graph.outputs()[0];
  plan->by_row = graph.extent(value) != Extent::feature;
  std::vector<equations::Wanted> wanted{{.value = value}};
  plan->value = equations::Code(graph, wanted);
  const int arriving[] = {graph.input(plan->by_row ? Extent::row : Extent::feature)};
  const std::vector<int> gradients = graph.derive(arriving);
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    Piece& piece = plan->pieces[i];
    if (piece.source != Source::y_pred || gradients[i] < 0) continue;
    piece.gradient = static_cast<int>(wanted.size());
    plan->direct = piece.contiguous();
    wanted.push_back({.value = gradients[i]});
  }
  if (wanted.size() == 1)
    throw_error("%loss '%' has no gradient: its value does not depend on y_pred, but for comparisons perhaps", {where, label_});
  if (wanted.size() > 2) plan->direct = false;
  plan->both = equations::Code(graph, wanted);
  return plan;
}

void EquationsLoss::check(Index output, std::optional<Index> target, const std::string& where) const {
  const runtime::Guard lock(turn_);
  if (latest_ && target && latest_->output == output && latest_->target == *target) return;
  std::shared_ptr<const Plan> made = make_plan(output, target, where);
  if (target) latest_ = std::move(made);
}

std::shared_ptr<const EquationsLoss::Plan> EquationsLoss::plan(Index output, Index target) const {
  {
    const runtime::Guard lock(turn_);
    if (latest_ && latest_->output == output && latest_->target == target) return latest_;
  }
  return make_plan(output, target, "");
}

// What one thread needs for a block of pairs.
struct EquationsLoss::Memory {
  std::vector<float*> gathered;   // an input that does not stand in one place
  std::vector<float*> gradients;  // of the output's pieces
  float *value, *arriving, *code;
};

// The weighted sum of a block's values.
double EquationsLoss::block(const Plan& plan, const Rows& rows, const PairWeights& weight, Index begin, Index count, const float* x,
                            const float* y, float* dx, double scale, Memory& memory) const {
  const Index n = plan.features, each = plan.by_row ? 1 : n;
  const float* inputs[equations::kMostInputs + 1];
  float* outputs[equations::kMostInputs + 1];
  for (std::size_t i = 0; i < plan.pieces.size(); ++i) {
    const Piece& piece = plan.pieces[i];
    inputs[i] = nullptr;
    if (!piece.used) continue;
    const float* from = (piece.source == Source::y_pred ? x : y) + begin * piece.of;
    if (piece.contiguous()) {
      inputs[i] = from;
    } else {
      if (piece.source != Source::numbers)  // numbers stand there since the memory was taken
        for (Index r = 0; r < count; ++r)
          std::copy_n(from + r * piece.of + piece.start, piece.width, memory.gathered[i] + r * piece.width);
      inputs[i] = memory.gathered[i];
    }
  }
  outputs[0] = memory.value;
  const auto& kernels = isa::kernels();
  if (dx == nullptr) {
    plan.value.run_rows(kernels, inputs, outputs, 0, count, n, memory.code);
  } else {
    const double share = scale / static_cast<double>(rows.divisor() * each);
    for (Index r = 0; r < count; ++r) std::fill_n(memory.arriving + r * each, each, static_cast<float>(share * weight(begin + r)));
    inputs[plan.pieces.size()] = memory.arriving;
    for (std::size_t i = 0; i < plan.pieces.size(); ++i)
      if (const int g = plan.pieces[i].gradient; g >= 0) outputs[g] = plan.direct ? dx + begin * plan.output : memory.gradients[i];
    plan.both.run_rows(kernels, inputs, outputs, 0, count, n, memory.code);
  }

  double sum = 0;
  for (Index r = 0; r < count; ++r) {
    const double w = weight(begin + r);
    float* const gradient = dx == nullptr ? nullptr : dx + (begin + r) * plan.output;
    if (w == 0) {  // not there, whatever came out
      if (gradient != nullptr) std::fill_n(gradient, plan.output, 0.0f);
      continue;
    }
    double value = 0;
    for (Index j = 0; j < each; ++j) value += static_cast<double>(memory.value[r * each + j]);
    sum += w * (value / static_cast<double>(each));
    if (gradient == nullptr || plan.direct) continue;
    std::fill_n(gradient, plan.output, 0.0f);
    for (std::size_t i = 0; i < plan.pieces.size(); ++i) {
      const Piece& piece = plan.pieces[i];
      if (piece.gradient < 0) continue;
      for (Index j = 0; j < piece.width; ++j) gradient[piece.start + j] += memory.gradients[i][r * piece.width + j];
    }
  }
  return sum;
}

double EquationsLoss::evaluate(const Rows& rows, const float* x, const float* y, Index target, std::span<const float> weights,
                               float* dx, double gradient_scale) const {
  const std::shared_ptr<const Plan> plan = this->plan(rows.F, target);
  const Index pairs = rows.pairs(), n = plan->features, N = rows.divisor();
  const PairWeights weight(weights, rows);
  const Index in_block = std::min(pairs, block_pairs(std::max({n, rows.F, target})));
  const Index blocks = (pairs + in_block - 1) / in_block;
  std::vector<double> partial(static_cast<std::size_t>(blocks));
  const equations::Code& code = dx == nullptr ? plan->value : plan->both;
  const double work = kCost * static_cast<double>(code.size() + 1) * static_cast<double>(pairs) * static_cast<double>(n);
  const int threads = runtime::threads_for(work, blocks);

  ScratchUse scratch;
  std::vector<Memory> memories(static_cast<std::size_t>(threads));
  for (Memory& memory : memories) {
    const auto take = [&](Index width) { return scratch->take<float>(element_count({in_block, width})).data(); };
    for (const Piece& piece : plan->pieces) {
      memory.gathered.push_back(piece.used && !piece.contiguous() ? take(piece.width) : nullptr);
      memory.gradients.push_back(piece.gradient >= 0 && !plan->direct ? take(piece.width) : nullptr);
      if (piece.source == Source::numbers && piece.used)
        for (Index r = 0; r < in_block; ++r) std::copy_n(piece.numbers, piece.width, memory.gathered.back() + r * piece.width);
    }
    memory.value = take(plan->by_row ? 1 : n);
    memory.arriving = take(plan->by_row ? 1 : n);
    memory.code = scratch->take<float>(code.memory(code.row_length(n))).data();
  }
  runtime::numbered_tasks(threads, blocks, [&](Index i, int thread) {
    const Index begin = i * in_block;
    partial[static_cast<std::size_t>(i)] = block(*plan, rows, weight, begin, std::min(in_block, pairs - begin), x, y, dx,
                                                 gradient_scale, memories[static_cast<std::size_t>(thread)]);
  });
  double total = 0;
  for (const double sum : partial) total += sum;
  return total / static_cast<double>(N);
}

}  // namespace rekur::train
