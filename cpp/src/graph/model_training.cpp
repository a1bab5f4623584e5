// Model: what only training asks of it.
#include <algorithm>
#include <deque>

#include "graph/graph.hpp"
#include "graph/packed_file.hpp"
#include "graph/rounding.hpp"
#include "io/json.hpp"
#include "io/safetensors.hpp"
#include "io/text.hpp"
#include "layers/elementwise.hpp"
#include "rekur/runtime.hpp"
#include "runtime/interrupt.hpp"
#include "train/initializers.hpp"
#include "train/rules.hpp"

namespace rekur {

Tape::Tape() noexcept = default;
Tape::~Tape() = default;
Tape::Tape(Tape&&) noexcept = default;
Tape& Tape::operator=(Tape&&) noexcept = default;

Model::Model(const std::string& spec_json, std::span<const SharedLayer> shared) {
  std::vector<graph::SharedLayer> with;
  for (const SharedLayer& layer : shared) {
    if (layer.of == nullptr) throw_error("model: layer '%' is to share the weights of no model", {layer.layer});
    with.push_back({layer.layer, (layer.of->graph(), layer.of->graph_), layer.theirs});
  }
  graph_ = std::make_shared<graph::Graph>(spec_json, with);
  for (const layers::ParamSpec& parameter : graph_->parameter_specs()) {
    train::check_initializer(json::parse(parameter.initializer), parameter.context);
    const std::string rule = compose("% (its rule)", {parameter.context});
    if (!parameter.regularizer.empty()) train::check_regularizer(parameter.regularizer, parameter.shape, rule);
    if (!parameter.constraint.empty()) train::check_constraint(parameter.constraint, parameter.shape, rule);
  }
}

void Model::initialize(std::uint64_t seed) { initialize(seed, {}); }

void Model::initialize(std::uint64_t seed, std::span<const std::string> keep) {
  const runtime::Call call;
  const std::vector<layers::ParamSpec>& specs = graph().parameter_specs();
  for (const std::string& name : keep) {
    const bool known = std::any_of(parameters().begin(), parameters().end(), [&](const auto& info) { return info.name == name; });
    if (!known) throw_error("initialize: the model has no parameter '%' to keep", {name});
  }
  // Drawn apart: where one cannot be, or the caller ends it, none is changed.
  std::vector<float> drawn(weight_count());
  std::vector<char> changed(graph().layers().size(), false);
  copy_weights(drawn);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const ParameterInfo& info = parameters()[i];
    if (std::find(keep.begin(), keep.end(), info.name) != keep.end()) continue;
    runtime::check_interrupt();
    changed[static_cast<std::size_t>(graph().owner_of(i))] = true;
    const auto out =
        std::span(drawn).subspan(static_cast<std::size_t>(info.offset), static_cast<std::size_t>(element_count(info.shape)));
    train::initialize(json::parse(specs[i].initializer), info.shape, specs[i].context, seed, static_cast<std::uint32_t>(i),
                      specs[i].units, specs[i].forget, out);
  }
  graph().change_weights(graph().segments_of(changed), [&](const graph::Segment& segment, std::span<float> weights) {
    std::copy_n(drawn.data() + segment.flat, segment.size, weights.data());
  });
}

void Model::set_trained(const std::string& layer, bool trained, float learning_rate_scale) {
  graph().set_trained(layer, trained, learning_rate_scale);
}

void Model::set_signal(const Signal& signal) { graph().set_signal(signal); }

std::vector<LayerTraining> Model::training() const {
  const std::shared_ptr<const graph::Trained> now = graph().trained();
  std::vector<LayerTraining> found;
  for (std::size_t i = 0; i < now->owner.size(); ++i) found.push_back({graph().layers()[i], now->owner[i] != 0, now->rate[i]});
  return found;
}

Tape Model::forward(const Batch& batch, std::span<const View> outputs, std::uint64_t seed, std::uint64_t step) const {
  Tape tape;
  tape.run_ = graph().forward(batch, {.training = true, .seed = seed, .step = step, .outputs = outputs});
  return tape;
}

void Model::backward(Tape tape, std::span<const ConstView> output_gradients, std::span<float> weight_gradients,
                     std::span<const View> input_gradients) const {
  if (tape.run_ == nullptr) throw_error("model: the tape is empty or was used already");
  graph::Run& run = *tape.run_;
  graph().check_backward(run, weight_gradients, input_gradients);
  if (output_gradients.size() != outputs().size()) {
    throw_error("model: expected % output gradients, got %", {outputs().size(), output_gradients.size()});
  }
  for (std::size_t k = 0; k < output_gradients.size(); ++k) {
    const ConstView& given = output_gradients[k];
    if (given.data == nullptr) continue;
    if (given.dtype != DType::float32 || given.shape != run.output_shape(k)) {
      throw_error("gradient of output '%': expected float32 of shape %, got % of shape %",
                  {outputs()[k].name, run.output_shape(k), (given.dtype == DType::int32 ? "int32" : "float32"), given.shape});
    }
  }
  for (std::size_t k = 0; k < output_gradients.size(); ++k) {
    const ConstView& given = output_gradients[k];
    if (given.data != nullptr) layers::copy(given.f32(), run.output_gradient(k), element_count(given.shape));
  }
  graph().backward(run, weight_gradients, input_gradients);
}

namespace {

// The instruction set in use, as it was before.
class KeepIsa {
 public:
  ~KeepIsa() {
    if (current_isa() != before_) set_isa(before_);
  }

 private:
  const std::string before_ = current_isa();
};

}  // namespace

void Model::save(const std::string& path) const { save(path, {}); }

void Model::save(const std::string& path, const Extras& extras, WeightType type) const { write(path, extras, type, {}); }

void Model::pack(const std::string& path, const PackOptions& options, const Extras& extras) const {
  std::deque<std::vector<float>> numbers;
  std::vector<std::pair<std::string, std::span<const float>>> panels;
  const KeepIsa keep;
  for (auto isa = options.isas.begin(); isa != options.isas.end(); ++isa)
    if (std::find(options.isas.begin(), isa, *isa) != isa) throw_error("pack: instruction set '%' is named twice", {*isa});
  for (const std::string& isa : options.isas.empty() ? std::vector{current_isa()} : options.isas) {
    if (isa != current_isa()) set_isa(isa);
    for (const bool single_row : {true, false}) {
      if (!(single_row ? options.one_row : options.more_rows)) continue;
      graph().make_panels(single_row, [&](std::span<const runtime::Panel> made) {
        for (std::size_t i = 0; i < made.size(); ++i) {
          std::vector<float>& panel = numbers.emplace_back(made[i].data, made[i].data + made[i].size);
          panel.resize(static_cast<std::size_t>(aligned(made[i].size)));
          panels.emplace_back(graph::panel_name(isa, single_row, i, made[i].layout), panel);
        }
      });
    }
  }
  write(path, extras, WeightType::float32, panels);
}

// The parameters come first in the model's order, so that they are its flat buffer where the file is mapped, then the panels.
void Model::write(const std::string& path, const Extras& extras, WeightType type,
                  std::span<const std::pair<std::string, std::span<const float>>> panels) const {
  std::map<std::string, std::string> metadata = extras.metadata;
  if (!metadata.emplace(graph::kSpecKey, spec()).second) throw_error("metadata '%' is the model's own", {graph::kSpecKey});
  if (const std::string trained = graph().trained_text(); !trained.empty() && !metadata.emplace(graph::kTrainedKey, trained).second)
    throw_error("metadata '%' is the model's own", {graph::kTrainedKey});
  if (metadata.contains(graph::kPanelsKey)) throw_error("metadata '%' is the model's own", {graph::kPanelsKey});
  for (const auto& [name, tensor] : extras.tensors)
    if (name.starts_with(graph::kPanelPrefix) || name == graph::kPadding)
      throw_error("tensor '%' has a name of the file's own", {name});
  const auto hold = graph().hold_weights();
  safetensors::Views tensors;
  const auto add = [&](const std::string& name, safetensors::ArrayView tensor) {
    if (!tensors.emplace(name, std::move(tensor)).second) throw_error("tensor '%' has the name of a parameter", {name});
  };
  graph::expect_any(type, parameters());
  std::deque<std::vector<std::uint16_t>> rounded;  // what those views of them refer to
#if REKUR_INT8
  std::deque<graph::Int8Matrix> integers;
#endif
  std::size_t i = 0;
  for (const graph::Segment& segment : graph().segments()) {
    for (; i < parameters().size() && parameters()[i].offset < segment.flat + segment.size; ++i) {
      const ParameterInfo& info = parameters()[i];
      const std::span data(graph().data(segment) + (info.offset - segment.flat),
                           static_cast<std::size_t>(element_count(info.shape)));
      if (type == WeightType::float32 || !graph::takes(type, info)) {
        add(info.name, safetensors::view(info.shape, data));
        continue;
      }
#if REKUR_INT8
      if (type == WeightType::int8) {
        const graph::Int8Matrix& matrix = integers.emplace_back(graph::int8_matrix(data, info));
        add(info.name, {safetensors::Type::i8, info.shape, std::as_bytes(std::span(matrix.numbers))});
        add(compose("%.scale", {info.name}), safetensors::view({graph::columns_of(info.shape)}, std::span(matrix.scales)));
        continue;
      }
#endif
      const auto stored = type == WeightType::bf16 ? safetensors::Type::bf16 : safetensors::Type::f16;
      rounded.push_back(graph::halves(type, data, info.name));
      add(info.name, {stored, info.shape, std::as_bytes(std::span(rounded.back()))});
    }
  }
  for (const auto& [name, tensor] : extras.tensors) {
    expect_sizes(compose("tensor '%'", {name}), tensor.shape);
    if (static_cast<Index>(tensor.data.size()) != element_count(tensor.shape)) {
      throw_error("tensor '%': expected data of shape %, got % values", {name, tensor.shape, tensor.data.size()});
    }
    add(name, safetensors::view(tensor.shape, std::span<const float>(tensor.data)));
  }
  std::vector<std::string> first;
  if (type == WeightType::float32)
    for (const ParameterInfo& info : parameters()) first.push_back(info.name);
  const std::vector<std::byte> padding(static_cast<std::size_t>(aligned(graph().parameter_count()) - graph().parameter_count()) *
                                       sizeof(float));
  if (!panels.empty()) {
    std::vector<float> flat(weight_count());
    for (const graph::Segment& s : graph().segments()) std::copy_n(graph().data(s), s.size, flat.data() + s.flat);
    if (!metadata.emplace(graph::kPanelsKey, graph::sample_of(flat)).second)
      throw_error("metadata '%' is the model's own", {graph::kPanelsKey});
    if (!padding.empty()) {
      add(first.emplace_back(graph::kPadding), {safetensors::Type::u8, {static_cast<Index>(padding.size())}, padding});
    }
    for (const auto& [name, numbers] : panels)
      add(first.emplace_back(name), safetensors::view({static_cast<Index>(numbers.size())}, numbers));
  }
  safetensors::write(path, metadata, tensors, first);
}

}  // namespace rekur
