// status.hpp but for training: each function is the throwing one behind a guard.
#include "rekur/status.hpp"

#include "api/guard.hpp"

namespace rekur {

using api::result_of;
using api::status_of;

Result<Model> try_model(Text spec_json, const ModelOptions& options) noexcept {
  return result_of([&] { return Model(api::to_string(spec_json, "the spec"), options); });
}

Result<Model> try_load(Text path, const ModelOptions& options) noexcept {
  return result_of([&] { return Model::load(api::to_string(path, "the path"), options); });
}

Result<Model> try_load(Text path, Model::Extras& extras, const ModelOptions& options) noexcept {
  return result_of([&] { return Model::load(api::to_string(path, "the path"), extras, options); });
}

Result<Model> try_load(std::span<const std::byte> file, Text source, const ModelOptions& options) noexcept {
  return result_of([&] { return Model::load(file, api::to_string(source, "the source's name"), options); });
}

Result<Model> try_map(Text path, const ModelOptions& options) noexcept {
  return result_of([&] { return Model::map(api::to_string(path, "the path"), options); });
}

Result<Model> try_map(std::span<const std::byte> file, Text source, const ModelOptions& options) noexcept {
  return result_of([&] { return Model::map(file, api::to_string(source, "the source's name"), options); });
}

Status try_set_weights(Model& model, WeightType type, std::span<const std::uint16_t> matrices,
                       std::span<const float> others) noexcept {
  return status_of([&] { model.set_weights(type, matrices, others); });
}

#if REKUR_INT8
Status try_set_weights(Model& model, std::span<const std::int8_t> matrices, std::span<const float> scales,
                       std::span<const float> others) noexcept {
  return status_of([&] { model.set_weights(matrices, scales, others); });
}
#endif

Status try_copy_weights(const Model& model, std::span<float> flat) noexcept {
  return status_of([&] { model.copy_weights(flat); });
}

Status try_round_weights(Model& model, WeightType type) noexcept {
  return status_of([&] { model.round_weights(type); });
}

Status try_set_weights(Model& model, std::span<const float> flat) noexcept {
  return status_of([&] { model.set_weights(flat); });
}

Result<std::vector<Shape>> try_output_shapes(const Model& model, const std::vector<Shape>& inputs) noexcept {
  return result_of([&] { return model.output_shapes(inputs); });
}

Result<std::uint64_t> try_run_memory(const Model& model, const std::vector<Shape>& inputs, bool training, bool remat) noexcept {
  return result_of([&] { return model.run_memory(inputs, training, remat); });
}

Result<std::vector<std::string>> try_layers_across_time(const Model& model) noexcept {
  return result_of([&] { return model.layers_across_time(); });
}

Result<std::vector<std::vector<std::uint8_t>>> try_valid_steps(const Model& model, const Batch& batch) noexcept {
  return result_of([&] { return model.valid_steps(batch); });
}

Status try_predict(const Model& model, const Batch& batch, std::span<const View> outputs) noexcept {
  return status_of([&] { model.predict(batch, outputs); });
}

Result<std::vector<Tensor>> try_predict(const Model& model, const Batch& batch) noexcept {
  return result_of([&] { return model.predict(batch); });
}

Result<std::vector<TensorInfo>> try_infer_layer(Text layer_json, const std::vector<TensorInfo>& inputs) noexcept {
  return result_of([&] { return infer_layer(api::to_string(layer_json, "the layer"), inputs); });
}

Result<std::vector<std::string>> try_layer_types() noexcept {
  return result_of([] { return layer_types(); });
}

Result<std::string> try_to_string(const Shape& shape) noexcept {
  return result_of([&] { return to_string(shape); });
}

Result<Index> try_element_count(const Shape& shape) noexcept {
  return result_of([&] { return element_count(shape); });
}

Result<std::string> try_current_isa() noexcept {
  return result_of([] { return current_isa(); });
}

Result<std::vector<std::string>> try_available_isas() noexcept {
  return result_of([] { return available_isas(); });
}

Status try_set_isa(Text name) noexcept {
  return status_of([&] { set_isa(api::to_string(name, "the instruction set's name")); });
}

Result<int> try_num_threads() noexcept {
  return result_of([] { return num_threads(); });
}

Status try_set_num_threads(int n) noexcept {
  return status_of([&] { set_num_threads(n); });
}

Result<std::string> try_cpu_info() noexcept {
  return result_of([] { return cpu_info(); });
}

}  // namespace rekur
