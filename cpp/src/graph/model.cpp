// Model: the public face of a graph.
#include "rekur/model.hpp"

#include <algorithm>
#include <cstring>

#include "graph/graph.hpp"
#include "io/json.hpp"
#include "io/safetensors.hpp"
#include "layers/registry.hpp"
#include "train/initializers.hpp"

namespace rekur {
namespace {

constexpr const char* kSpecKey = "rekur";

}  // namespace

Tape::Tape() noexcept = default;
Tape::~Tape() = default;
Tape::Tape(Tape&&) noexcept = default;
Tape& Tape::operator=(Tape&&) noexcept = default;

Model::Model(const std::string& spec_json) : graph_(std::make_unique<graph::Graph>(spec_json)) {
  for (const layers::ParamSpec& parameter : graph_->parameter_specs()) {
    train::check_initializer(json::parse(parameter.initializer), parameter.context);
  }
}
Model::~Model() = default;
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;

const std::string& Model::spec() const noexcept { return graph_->spec(); }
const std::vector<TensorInfo>& Model::inputs() const noexcept { return graph_->inputs(); }
const std::vector<TensorInfo>& Model::outputs() const noexcept { return graph_->outputs(); }
const std::vector<ParameterInfo>& Model::parameters() const noexcept { return graph_->parameters(); }

void Model::initialize(std::uint64_t seed) {
  const std::vector<layers::ParamSpec>& specs = graph_->parameter_specs();
  // Drawn apart: where one cannot be, none is changed.
  std::vector<float> drawn(graph_->weights().size());
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const ParameterInfo& info = parameters()[i];
    const auto out =
        std::span(drawn).subspan(static_cast<std::size_t>(info.offset), static_cast<std::size_t>(element_count(info.shape)));
    train::initialize(json::parse(specs[i].initializer), info.shape, specs[i].context, seed, static_cast<std::uint32_t>(i),
                      specs[i].units, out);
  }
  set_weights(drawn);
}

std::span<const float> Model::weights() const noexcept { return graph_->weights(); }

void Model::set_weights(std::span<const float> flat) {
  const std::span<const float> own = graph_->weights();
  if (flat.size() != own.size()) {
    throw Error("model: expected " + std::to_string(own.size()) + " weights, got " + std::to_string(flat.size()));
  }
  graph_->change_weights([&](std::span<float> weights) {
    if (!weights.empty()) std::memmove(weights.data(), flat.data(), weights.size_bytes());
  });
}

std::vector<Shape> Model::output_shapes(const std::vector<Shape>& inputs) const { return graph_->output_shapes(inputs); }

void Model::predict(const Batch& batch, std::span<const View> outputs) const {
  if (outputs.size() != graph_->outputs().size()) {
    throw Error("model: expected " + std::to_string(graph_->outputs().size()) + " output arrays, got " +
                std::to_string(outputs.size()));
  }
  graph_->forward(batch, {.outputs = outputs});
}

std::vector<Tensor> Model::predict(const Batch& batch) const {
  const std::unique_ptr<graph::Run> run = graph_->forward(batch, {});
  std::vector<Tensor> outputs;
  for (std::size_t k = 0; k < graph_->outputs().size(); ++k) {
    const float* data = run->output(k);
    const Shape& shape = run->output_shape(k);
    outputs.push_back({shape, std::vector<float>(data, data + element_count(shape))});
  }
  return outputs;
}

Tape Model::forward(const Batch& batch, std::span<const View> outputs, std::uint64_t seed, std::uint64_t step) const {
  Tape tape;
  tape.run_ = graph_->forward(batch, {.training = true, .seed = seed, .step = step, .outputs = outputs});
  return tape;
}

void Model::backward(Tape tape, std::span<const ConstView> output_gradients, std::span<float> weight_gradients,
                     std::span<const View> input_gradients) const {
  if (tape.run_ == nullptr) throw Error("model: the tape is empty or was used already");
  graph::Run& run = *tape.run_;
  graph_->check_backward(run, weight_gradients, input_gradients);
  if (output_gradients.size() != outputs().size()) {
    throw Error("model: expected " + std::to_string(outputs().size()) + " output gradients, got " +
                std::to_string(output_gradients.size()));
  }
  for (std::size_t k = 0; k < output_gradients.size(); ++k) {
    const ConstView& given = output_gradients[k];
    if (given.data == nullptr) continue;
    if (given.dtype != DType::float32 || given.shape != run.output_shape(k)) {
      throw Error("gradient of output '" + outputs()[k].name + "': expected float32 of shape " + to_string(run.output_shape(k)) +
                  ", got " + (given.dtype == DType::int32 ? "int32" : "float32") + " of shape " + to_string(given.shape));
    }
  }
  for (std::size_t k = 0; k < output_gradients.size(); ++k) {
    const ConstView& given = output_gradients[k];
    if (given.data != nullptr) std::copy_n(given.f32(), element_count(given.shape), run.output_gradient(k));
  }
  graph_->backward(run, weight_gradients, input_gradients);
}

void Model::save(const std::string& path) const { save(path, {}); }

void Model::save(const std::string& path, const Extras& extras) const {
  std::map<std::string, std::string> metadata = extras.metadata;
  if (!metadata.emplace(kSpecKey, spec()).second) throw Error("metadata '" + std::string(kSpecKey) + "' is the model's own");
  const auto hold = graph_->hold_weights();
  safetensors::Views tensors;
  for (const ParameterInfo& info : parameters()) {
    const auto count = static_cast<std::size_t>(element_count(info.shape));
    tensors.emplace(info.name, safetensors::view(info.shape, weights().subspan(static_cast<std::size_t>(info.offset), count)));
  }
  for (const auto& [name, tensor] : extras.tensors) {
    if (static_cast<Index>(tensor.data.size()) != element_count(tensor.shape)) {
      throw Error("tensor '" + name + "': expected data of shape " + to_string(tensor.shape) + ", got " +
                  std::to_string(tensor.data.size()) + " values");
    }
    if (!tensors.emplace(name, safetensors::view(tensor.shape, std::span<const float>(tensor.data))).second) {
      throw Error("tensor '" + name + "' has the name of a parameter");
    }
  }
  safetensors::write(path, metadata, tensors);
}

Model Model::load(const std::string& path) {
  Extras extras;
  return load(path, extras);
}

Model Model::load(const std::string& path, Extras& extras) { return from(safetensors::read(path), path, extras); }

Model Model::load(std::span<const std::byte> file, const std::string& source) {
  Extras extras;
  return from(safetensors::parse(file, source), source, extras);
}

Model Model::from(safetensors::File file, const std::string& source, Extras& extras) {
  const auto spec = file.metadata.find(kSpecKey);
  if (spec == file.metadata.end()) throw IoError(source + ": not a rekur model: its metadata has no '" + kSpecKey + "'");
  try {
    Model model(spec->second);
    model.graph_->change_weights([&](std::span<float> weights) {
      for (const ParameterInfo& info : model.parameters()) {
        const auto found = file.tensors.find(info.name);
        if (found == file.tensors.end()) throw IoError("parameter '" + info.name + "' is missing");
        if (found->second.shape != info.shape) {
          throw IoError("parameter '" + info.name + "': expected shape " + to_string(info.shape) + ", got " +
                        to_string(found->second.shape));
        }
        const std::vector<float> values = safetensors::values<float>(found->second, info.name);
        std::copy(values.begin(), values.end(), weights.begin() + info.offset);
        file.tensors.erase(found);
      }
    });
    Extras read;
    for (const auto& [name, array] : file.tensors) read.tensors[name] = {array.shape, safetensors::values<float>(array, name)};
    file.metadata.erase(spec);
    read.metadata = std::move(file.metadata);
    extras = std::move(read);
    return model;
  } catch (const OutOfMemory&) {
    throw;
  } catch (const Error& error) {
    throw IoError(source + ": " + error.what());
  }
}

std::vector<TensorInfo> infer_layer(const std::string& layer_json, const std::vector<TensorInfo>& inputs) {
  const json::Value value = json::parse(layer_json);
  const std::unique_ptr<layers::Layer> layer = layers::parse_layer(value, 0).layer;
  std::vector<layers::TensorSpec> specs;
  for (const TensorInfo& input : inputs) specs.push_back({input.shape, input.dtype, -1});
  const std::vector<layers::TensorSpec> outputs = layer->infer(specs);
  for (const layers::ParamSpec& parameter : layer->parameters(specs)) {
    layers::parameter_size(*layer, parameter);
    train::check_initializer(json::parse(parameter.initializer),
                             layer->type() + " '" + layer->name() + "': initializer of " + parameter.name);
  }
  std::vector<TensorInfo> infos;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    std::string name = layer->name();
    if (k > 0) name.append(":").append(std::to_string(k));
    infos.push_back({std::move(name), outputs[k].shape, outputs[k].dtype});
  }
  return infos;
}

std::vector<std::string> layer_types() { return layers::type_names(); }

}  // namespace rekur
