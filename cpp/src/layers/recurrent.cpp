#include <algorithm>

#include "io/suggest.hpp"
#include "layers/recurrent_layer.hpp"
#include "layers/recurrent_op.hpp"
#include "layers/registry.hpp"

namespace rekur::layers {

RecurrentLayer::RecurrentLayer(const std::string& type, const std::string& name, RecurrentSettings settings, std::size_t directions,
                               MergeMode mode)
    : Layer(type, name), s_(std::move(settings)), D_(directions), S_(s_.states.size()), mode_(mode) {}

std::vector<TensorSpec> RecurrentLayer::infer(std::span<const TensorSpec> inputs) const {
  const std::size_t N = s_.step_inputs;
  expect_inputs(inputs, 1 + N, 1 + N + D_ * S_);
  const TensorSpec& x = inputs[0];
  expect_features(x);
  if (x.shape.size() != 3) fail("expected a sequence of shape (B, T, F), got %", {x.shape});
  if (D_ == 2 && inputs.size() != 1 + N && inputs.size() != 1 + N + D_ * S_) {
    fail("expected no initial state or all % (forward, then backward), got %", {D_ * S_, inputs.size() - 1 - N});
  }
  if (s_.learn_initial_state && given(inputs.size()) == S_)
    fail("learn_initial_state: every initial state is given, so there is none to learn");
  if (s_.reads_x && features_of(x.shape) != s_.units)
    fail("its cell reads x unit by unit: expected input of % features, as many as units, got %", {s_.units, x.shape});
  for (std::size_t i = 1; i <= N; ++i) check_step_input(x, inputs[i], i);
  if (!inference_.recurrences.empty() && features_of(x.shape) != input_size()) {
    fail("expected input of % features, got % (input shape %)", {input_size(), features_of(x.shape), x.shape});
  }
  for (std::size_t i = 1 + N; i < inputs.size(); ++i) {
    const TensorSpec& given = inputs[i];
    const Index width = s_.state_width((i - 1 - N) % S_);
    if (given.dtype != DType::float32 || given.shape.size() != 2 || given.shape[1] != width) {
      fail("expected initial state % of shape %, got %%",
           {i - N, to_string({kUnknown, width}), (given.dtype == DType::int32 ? "int32 ids of shape " : ""), given.shape});
    }
  }
  TensorSpec y{{x.shape[0], output_features()}, DType::float32, -1};
  if (s_.residual && features_of(x.shape) != output_features())
    fail("residual: expected input of % features, as many as its output has, got %", {output_features(), x.shape});
  if (s_.return_sequences) {
    y.shape.insert(y.shape.begin() + 1, x.shape[1]);
    y.time_source = x.time_source;
  }
  std::vector<TensorSpec> outputs{y};
  for (std::size_t i = 0; s_.return_state && i < D_ * S_; ++i)
    outputs.push_back({{x.shape[0], s_.state_width(i % S_)}, DType::float32, -1});
  return outputs;
}

std::vector<ParamSpec> RecurrentLayer::parameters(std::span<const TensorSpec> inputs) const {
  const Index I = features_of(inputs[0].shape);
  std::vector<ParamSpec> specs;
  add_recurrent_parameters(specs, s_, I, D_ == 1 ? "" : "forward/", given(inputs.size()));
  if (D_ == 2) add_recurrent_parameters(specs, s_, I, "backward/", given(inputs.size()));
  return specs;
}

void RecurrentLayer::build(std::span<const TensorSpec> inputs) {
  for (const ParamSpec& parameter : parameters(inputs)) parameter_size(*this, parameter);  // refuses what no memory holds
  weights_.place(features_of(inputs[0].shape), given(inputs.size()));
  inference_ = form(inputs, false);
#if REKUR_EQUATIONS && REKUR_TRAINING
  if (masks_.in_steps()) training_ = form(inputs, true);
#endif
}

#if REKUR_TRAINING
void RecurrentLayer::compute_in(Precision precision) {
  if (s_.said_precision) return;
  s_.precision = precision;
  for (CellForm* form : {&inference_, &training_})
    for (recurrent::Recurrence& recurrence : form->recurrences) recurrence.set_precision(precision);
  run_recurrences_.clear();
}
#endif

CellForm RecurrentLayer::form(std::span<const TensorSpec> inputs, bool training) const {
  try {
    return make_form(s_, inputs, D_, training);
  } catch (const Error& error) {
    fail("%", {error.what()});
  }
}

std::unique_ptr<const StreamOp> RecurrentLayer::stream(const StreamBuild& build) const {
  if (D_ == 2 || s_.reverse) cannot_stream("it begins at the end of the sequence, which no step but the last knows");
  const Index I = features_of(build.inputs[0].shape);
  auto weights = direction_weights(build.weights, 0);
  std::vector<float> whole;  // those of this moment
  if (assembles_kernel(s_)) {
    whole.resize(static_cast<std::size_t>(recurrent_size()));
    assemble_kernel(s_, weights_.own_kernel(build.weights, 0), weights_.matrices(build.weights, 0), whole.data());
    weights.recurrent_kernel = whole.data();
  }
  std::array<const float*, recurrent::kMostStates> initial{};
  for (std::size_t s = 0; s < S_; ++s)
    if (weights_.learned(s)) initial[s] = weights_.initial(build.weights, 0, s);
  const std::span<const float* const> starts(initial.data(), S_);
#if REKUR_EQUATIONS
  if (inference_.program)
    return std::make_unique<RecurrentOp>(
        recurrent::StreamCell(inference_.program, I, s_.units, s_.state_width(0), weights, s_.precision), s_, starts);
#endif
  return std::make_unique<RecurrentOp>(
      recurrent::StreamCell(*s_.cell, s_.activations, I, s_.units, weights, s_.precision, build.single_row), s_, starts);
}

void RecurrentLayer::check_step_input(const TensorSpec& x, const TensorSpec& given, std::size_t i) const {
  bool fits = given.dtype == DType::float32 && given.shape.size() == 3 && (given.shape[2] == s_.units || given.shape[2] == 1);
  for (std::size_t d = 0; fits && d < 2; ++d)
    fits = given.shape[d] == x.shape[d] || given.shape[d] == kUnknown || x.shape[d] == kUnknown;
  if (!fits)
    fail("expected input % of the step of shape % or one feature, got % (its x: %)",
         {i, to_string({x.shape[0], x.shape[1], s_.units}), given.shape, x.shape});
}

namespace {

MergeMode read_merge_mode(json::Reader& spec) {
  static constexpr std::string_view names[] = {"concat", "sum", "mul", "ave"};
  const std::string name = spec.string("merge_mode", "concat");
  for (std::size_t i = 0; i < std::size(names); ++i) {
    if (name == names[i]) return static_cast<MergeMode>(i);
  }
  spec.fail("%", {unknown_name("merge_mode", name, names)});
}

}  // namespace

std::unique_ptr<Layer> make_recurrent(json::Reader& spec, const std::string& type, const std::string& name) {
  return std::make_unique<RecurrentLayer>(type, name, read_recurrent(spec, type), 1, MergeMode::concat);
}

std::unique_ptr<Layer> make_bidirectional(json::Reader& spec, const std::string& type, const std::string& name) {
  const MergeMode mode = read_merge_mode(spec);
  const bool residual = spec.boolean("residual", false);
  json::Reader inner(spec.get("layer"), compose("%: layer", {spec.context()}));
  RecurrentSettings settings = read_recurrent(inner, inner.string("type"));
  inner.finish();
  if (settings.reverse) inner.refuse("reverse", "false: a bidirectional layer runs both ways");
  if (settings.residual) inner.refuse("residual", "false: a bidirectional layer has an option of its own");
  settings.residual = residual;
  settings.zero_output_for_mask = settings.return_sequences;  // as Keras has it
  return std::make_unique<RecurrentLayer>(type, name, std::move(settings), 2, mode);
}

}  // namespace rekur::layers
