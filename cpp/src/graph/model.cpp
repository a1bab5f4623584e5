// Model: the public face of a graph.
#include "rekur/model.hpp"
#include "io/text.hpp"

#include <algorithm>
#include <cstring>

#include "graph/graph.hpp"
#include "graph/packed_file.hpp"
#include "graph/rounding.hpp"
#include "io/json.hpp"
#include "io/mapped_file.hpp"
#include "io/safetensors.hpp"
#include "isa/dispatch.hpp"
#include "layers/registry.hpp"
#include "runtime/parallel.hpp"
#if REKUR_TRAINING
#include "train/initializers.hpp"
#endif

namespace rekur {
namespace {

// Whoever never draws weights takes any initialiser for granted.
void check_initializer(const layers::ParamSpec& parameter, const std::string& context) {
#if REKUR_TRAINING
  train::check_initializer(json::parse(parameter.initializer), context);
#else
  static_cast<void>(parameter), static_cast<void>(context);
#endif
}

#if REKUR_INT8
// A matrix that a file has in eight bits, and its scales, which are taken from the file.
void read_int8(safetensors::Contents& file, const ParameterInfo& info, float* to) {
  const std::string name = compose("%.scale", {info.name});
  const auto scales = file.tensors.find(name);
  if (scales == file.tensors.end()) throw_io_error("parameter '%' is of eight bits, and '%' is missing", {info.name, name});
  const Shape expected{graph::columns_of(info.shape)};
  if (scales->second.shape != expected) throw_io_error("'%': expected shape %, got %", {name, expected, scales->second.shape});
  const std::span<const std::byte> bytes = file.tensors.at(info.name).bytes;
  graph::widen({reinterpret_cast<const std::int8_t*>(bytes.data()), bytes.size()}, safetensors::values<float>(scales->second, name),
               info.name, to);
  file.tensors.erase(scales);
}
#endif

// Of a model that was moved from.
const std::string kNoSpec;
const std::vector<TensorInfo> kNoTensors;
const std::vector<ParameterInfo> kNoParameters;

}  // namespace

Model::Model(const std::string& spec_json, const ModelOptions& options) : Model(spec_json, options, WithoutWeights{}) {
  graph_->take_weights(graph_->arena_of(graph_->parameter_count(), "the parameters"));
}

Model::Model(const std::string& spec_json, const ModelOptions& options, WithoutWeights) {
  const runtime::OwnMemory own(options.memory);
  graph_ = std::make_shared<graph::Graph>(spec_json, graph::Graph::WithoutWeights{});
  graph_->keep_memory(options.memory);
  for (const layers::ParamSpec& parameter : graph_->parameter_specs()) check_initializer(parameter, parameter.context);
}
Model::~Model() = default;
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;

graph::Graph& Model::graph() const {
  if (graph_ == nullptr) throw_error("model: it was moved from");
  return *graph_;
}

const std::string& Model::spec() const noexcept { return graph_ ? graph_->spec() : kNoSpec; }
Signal Model::signal() const noexcept { return graph_ ? graph_->signal() : Signal(); }
const std::vector<TensorInfo>& Model::inputs() const noexcept { return graph_ ? graph_->inputs() : kNoTensors; }
const std::vector<TensorInfo>& Model::outputs() const noexcept { return graph_ ? graph_->outputs() : kNoTensors; }
const std::vector<ParameterInfo>& Model::parameters() const noexcept { return graph_ ? graph_->parameters() : kNoParameters; }

std::span<const float> Model::weights() const noexcept { return graph_ ? graph_->weights() : std::span<const float>(); }

void Model::set_weights(std::span<const float> flat) {
  if (static_cast<Index>(flat.size()) != graph().parameter_count()) {
    throw_error("model: expected % weights, got %", {graph().parameter_count(), flat.size()});
  }
  graph().set_weights(flat);
}

void Model::set_weights(WeightType type, std::span<const std::uint16_t> matrices, std::span<const float> others) {
  Index counts[2] = {0, 0};
  for (const ParameterInfo& info : parameters()) counts[info.matrix ? 1 : 0] += element_count(info.shape);
  if (type != WeightType::bf16 && type != WeightType::fp16)
    throw_error("model: expected weights of bf16 or fp16, got %", {graph::name_of(type)});
  if (static_cast<Index>(matrices.size()) != counts[1] || static_cast<Index>(others.size()) != counts[0])
    throw_error("model: expected % weights of matrices and % others, got % and %",
                {counts[1], counts[0], matrices.size(), others.size()});
  std::vector<float> flat(static_cast<std::size_t>(graph().parameter_count()));
  const std::uint16_t* half = matrices.data();
  const float* other = others.data();
  for (const ParameterInfo& info : parameters())
    for (Index i = info.offset; i < info.offset + element_count(info.shape); ++i)
      flat[static_cast<std::size_t>(i)] = info.matrix ? graph::widened(type, *half++) : *other++;
  graph().set_weights(flat);
}

#if REKUR_INT8
void Model::set_weights(std::span<const std::int8_t> matrices, std::span<const float> scales, std::span<const float> others) {
  Index counts[3] = {0, 0, 0};
  graph::expect_any(WeightType::int8, parameters());
  for (const ParameterInfo& info : parameters()) {
    counts[info.int8 ? 0 : 2] += element_count(info.shape);
    if (info.int8) counts[1] += graph::columns_of(info.shape);
  }
  if (static_cast<Index>(matrices.size()) != counts[0] || static_cast<Index>(scales.size()) != counts[1] ||
      static_cast<Index>(others.size()) != counts[2])
    throw_error("model: expected % weights of eight bits, % scales and % others, got %, % and %",
                {counts[0], counts[1], counts[2], matrices.size(), scales.size(), others.size()});
  std::vector<float> flat(static_cast<std::size_t>(graph().parameter_count()));
  for (const ParameterInfo& info : parameters()) {
    const auto size = static_cast<std::size_t>(element_count(info.shape));
    float* const to = flat.data() + info.offset;
    if (!info.int8) {
      std::copy_n(others.data(), size, to);
      others = others.subspan(size);
      continue;
    }
    const auto columns = static_cast<std::size_t>(graph::columns_of(info.shape));
    graph::widen(matrices.first(size), scales.first(columns), info.name, to);
    matrices = matrices.subspan(size);
    scales = scales.subspan(columns);
  }
  graph().set_weights(flat);
}
#endif

void Model::copy_weights(std::span<float> flat) const {
  if (static_cast<Index>(flat.size()) != graph().parameter_count()) {
    throw_error("model: expected room for % weights, got %", {graph().parameter_count(), flat.size()});
  }
  const auto hold = graph().hold_weights();
  for (const graph::Segment& s : graph().segments()) std::copy_n(graph().data(s), s.size, flat.data() + s.flat);
}

void Model::copy_weights(std::span<float> flat, WeightType type) const {
  graph::expect_any(type, parameters());
  copy_weights(flat);
  for (const ParameterInfo& info : parameters())
    if (graph::takes(type, info))
      graph::round_weights(
          type, flat.subspan(static_cast<std::size_t>(info.offset), static_cast<std::size_t>(element_count(info.shape))), info);
}

void Model::round_weights(WeightType type) {
  if (type == WeightType::float32) return;
  std::vector<float> rounded(static_cast<std::size_t>(graph().parameter_count()));
  copy_weights(rounded, type);
  graph().set_weights(rounded);
}

std::size_t Model::weight_count() const noexcept { return graph_ ? static_cast<std::size_t>(graph_->parameter_count()) : 0; }

std::vector<std::string> Model::layers_across_time() const { return graph().layers_across_time(); }

std::uint64_t Model::run_memory(const std::vector<Shape>& inputs, bool training, bool remat) const {
  return static_cast<std::uint64_t>(graph().arena_size(inputs, training, training && remat)) * sizeof(float);
}

std::vector<Shape> Model::output_shapes(const std::vector<Shape>& inputs) const { return graph().output_shapes(inputs); }

std::vector<std::vector<std::uint8_t>> Model::valid_steps(const Batch& batch) const { return graph().valid_steps(batch); }

void Model::predict(const Batch& batch, std::span<const View> outputs) const {
  if (outputs.size() != graph().outputs().size()) {
    throw_error("model: expected % output arrays, got %", {graph().outputs().size(), outputs.size()});
  }
  graph().forward(batch, {.outputs = outputs});
}

std::vector<Tensor> Model::predict(const Batch& batch) const {
  const std::unique_ptr<graph::Run> run = graph().forward(batch, {});
  std::vector<Tensor> outputs;
  for (std::size_t k = 0; k < graph().outputs().size(); ++k) {
    const float* data = run->output(k);
    const Shape& shape = run->output_shape(k);
    outputs.push_back({shape, std::vector<float>(data, data + element_count(shape))});
  }
  return outputs;
}

Model Model::load(const std::string& path, const ModelOptions& options) { return load_from(path, nullptr, options); }

Model Model::load(const std::string& path, Extras& extras, const ModelOptions& options) {
  return load_from(path, &extras, options);
}

Model Model::load_from(const std::string& path, Extras* extras, const ModelOptions& options) {
  const runtime::MemoryScope system(nullptr);  // where the file is read to
  safetensors::File file = safetensors::read(path);
  safetensors::Views tensors = safetensors::views(file);
  return from({std::move(file.metadata), std::move(tensors)}, path, extras, options);
}

Model Model::load(std::span<const std::byte> file, const std::string& source, const ModelOptions& options) {
  const runtime::OwnMemory own(options.memory);
  return from(safetensors::parse_in_place(file, source), source, nullptr, options);
}

Model Model::map(const std::string& path, const ModelOptions& options) {
  if (!io::can_map_files()) return load(path, options);
  const runtime::OwnMemory own(options.memory);
  const std::shared_ptr<const std::span<const std::byte>> file = [&] {
    const runtime::MemoryScope system(nullptr);
    return io::map_file(path);
  }();
  const std::shared_ptr<const void> keep = file;
  return from(safetensors::parse_in_place(*file, compose("'%'", {path})), path, nullptr, options, &keep);
}

Model Model::map(std::span<const std::byte> file, const std::string& source, const ModelOptions& options) {
  const runtime::OwnMemory own(options.memory);
  const std::shared_ptr<const void> keep;  // the caller has promised to
  return from(safetensors::parse_in_place(file, source), source, nullptr, options, &keep);
}

// extras: null where nobody asks for them.
Model Model::from(safetensors::Contents file, const std::string& source, Extras* extras, const ModelOptions& options,
                  const std::shared_ptr<const void>* mapped) {
  const auto spec = file.metadata.find(graph::kSpecKey);
  if (spec == file.metadata.end()) throw_io_error("%: not a rekur model: its metadata has no '%'", {source, graph::kSpecKey});
  isa::table();  // what there is none for is no fault of the file
  try {
    Model model(spec->second, options, WithoutWeights{});
    const float* const in_place = mapped != nullptr ? graph::flat_in_place(model.parameters(), file.tensors) : nullptr;
    model.read_weights(file, in_place, in_place != nullptr ? *mapped : nullptr);
    if (mapped != nullptr) model.graph_->take_panels(graph::panels_of(file, model.weights()), *mapped);
    const auto trained = file.metadata.find(graph::kTrainedKey);
    if (trained != file.metadata.end()) {
#if REKUR_TRAINING
      model.graph_->set_trained(trained->second);
#endif
      file.metadata.erase(trained);
    }
    if (extras == nullptr) return model;
    graph::drop_panels(file);
    Extras read;
    for (const auto& [name, array] : file.tensors) read.tensors[name] = {array.shape, safetensors::values<float>(array, name)};
    file.metadata.erase(spec);
    read.metadata = std::move(file.metadata);
    *extras = std::move(read);
    return model;
  } catch (const OutOfMemory&) {
    throw;
  } catch (const Error& error) {
    throw_io_error("%: %", {source, error.what()});
  }
}

// Takes the parameters out of the file, or uses them where they stand. Nobody else has the model yet: what fails leaves nothing
// half read.
void Model::read_weights(safetensors::Contents& file, const float* in_place, std::shared_ptr<const void> keep) {
  const Index size = graph_->parameter_count();
  graph::Arena weights =
      in_place != nullptr ? graph::Arena::borrowed(in_place, size, std::move(keep)) : graph_->arena_of(size, "the parameters");
  for (const ParameterInfo& info : parameters()) {
    const auto found = file.tensors.find(info.name);
    if (found == file.tensors.end()) throw_io_error("parameter '%' is missing", {info.name});
    if (found->second.shape != info.shape) {
      throw_io_error("parameter '%': expected shape %, got %", {info.name, info.shape, found->second.shape});
    }
    if (in_place == nullptr) {
#if REKUR_INT8
      if (info.matrix && found->second.type == safetensors::Type::i8)
        read_int8(file, info, weights.data() + info.offset);
      else
#endif
        safetensors::widen(found->second, info.name, weights.data() + info.offset);
    }
    file.tensors.erase(info.name);
  }
  graph_->take_weights(std::move(weights));
}

std::size_t Model::mapped_bytes() const noexcept {
  try {
    return graph_ && graph_->weights_are_borrowed() ? weight_count() * sizeof(float) : 0;
  } catch (const Error&) {  // of a process that was forked in the middle of a call
    return 0;
  }
}

std::vector<TensorInfo> infer_layer(const std::string& layer_json, const std::vector<TensorInfo>& inputs) {
  const json::Value value = json::parse(layer_json);
  const std::unique_ptr<layers::Layer> layer = layers::parse_layer(value, 0).layer;
  std::vector<layers::TensorSpec> specs;
  for (const TensorInfo& input : inputs) {
    Shape sizes = input.shape;
    std::replace(sizes.begin(), sizes.end(), kUnknown, Index{0});
    expect_sizes(compose("% '%': input % (None is -1)", {layer->type(), layer->name(), specs.size()}), sizes);
    specs.push_back({input.shape, input.dtype, -1});
  }
  const std::vector<layers::TensorSpec> outputs = layer->infer(specs);
  for (const layers::ParamSpec& parameter : layer->parameters(specs)) {
    layers::parameter_size(*layer, parameter);
    check_initializer(parameter, compose("% '%': initializer of %", {layer->type(), layer->name(), parameter.name}));
  }
  std::vector<TensorInfo> infos;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    std::string name = k == 0 ? layer->name() : compose("%:%", {layer->name(), k});
    infos.push_back({std::move(name), outputs[k].shape, outputs[k].dtype});
  }
  return infos;
}

std::vector<std::string> layer_types() { return layers::type_names(); }

}  // namespace rekur
