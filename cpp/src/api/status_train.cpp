// The part of status.hpp that trains.
#include "api/guard.hpp"

#if REKUR_TRAINING

namespace rekur {

using api::result_of;
using api::status_of;

Status try_save(const Model& model, Text path) noexcept {
  return status_of([&] { model.save(api::to_string(path, "the path")); });
}

Status try_save(const Model& model, Text path, const Model::Extras& extras, WeightType weights) noexcept {
  return status_of([&] { model.save(api::to_string(path, "the path"), extras, weights); });
}

Status try_pack(const Model& model, Text path, const PackOptions& options, const Model::Extras& extras) noexcept {
  return status_of([&] { model.pack(api::to_string(path, "the path"), options, extras); });
}

Status try_initialize(Model& model, std::uint64_t seed) noexcept {
  return status_of([&] { model.initialize(seed); });
}

Result<Model> try_model(Text spec_json, std::span<const SharedLayer> shared) noexcept {
  return result_of([&] { return Model(api::to_string(spec_json, "the spec"), shared); });
}

Status try_set_signal(Model& model, const Signal& signal) noexcept {
  return status_of([&] { model.set_signal(signal); });
}

Status try_set_trained(Model& model, Text layer, bool trained, float learning_rate_scale) noexcept {
  return status_of([&] { model.set_trained(api::to_string(layer, "the layer"), trained, learning_rate_scale); });
}

Result<std::vector<LayerTraining>> try_training(const Model& model) noexcept {
  return result_of([&] { return model.training(); });
}

Result<Tape> try_forward(const Model& model, const Batch& batch, std::span<const View> outputs, std::uint64_t seed,
                         std::uint64_t step) noexcept {
  return result_of([&] { return model.forward(batch, outputs, seed, step); });
}

Status try_backward(const Model& model, Tape tape, std::span<const ConstView> output_gradients, std::span<float> weight_gradients,
                    std::span<const View> input_gradients) noexcept {
  return status_of([&] { model.backward(std::move(tape), output_gradients, weight_gradients, input_gradients); });
}

Result<Trainer> try_trainer(Model& model, Text config_json) noexcept {
  return result_of([&] { return Trainer(model, api::to_string(config_json, "the training configuration")); });
}

Result<StepResult> try_step(Trainer& trainer, const Batch& batch, const Targets& targets, std::span<const View> outputs) noexcept {
  return result_of([&] { return trainer.step(batch, targets, outputs); });
}

Result<std::size_t> try_sums_size(const Trainer& trainer) noexcept {
  return result_of([&] { return trainer.sums_size(); });
}

Result<StepResult> try_add(Trainer& trainer, const Batch& batch, const Targets& targets, const StepPart& part,
                           std::span<float> sums, std::span<const View> outputs) noexcept {
  return result_of([&] { return trainer.add(batch, targets, part, sums, outputs); });
}

Result<double> try_finish(Trainer& trainer, std::span<const float> sums) noexcept {
  return result_of([&] { return trainer.finish(sums); });
}

Result<StepResult> try_evaluate(const Trainer& trainer, const Batch& batch, const Targets& targets,
                                std::span<const View> outputs) noexcept {
  return result_of([&] { return trainer.evaluate(batch, targets, outputs); });
}

Status try_apply_gradients(Trainer& trainer, std::span<const float> gradients) noexcept {
  return status_of([&] { trainer.apply_gradients(gradients); });
}

Status try_set_learning_rate(Trainer& trainer, double rate) noexcept {
  return status_of([&] { trainer.set_learning_rate(rate); });
}

Status try_set_remat(Trainer& trainer, bool remat) noexcept {
  return status_of([&] { trainer.set_remat(remat); });
}

Status try_finalize(Trainer& trainer) noexcept {
  return status_of([&] { trainer.finalize(); });
}

Status try_set_optimizer(Trainer& trainer, Text config_json) noexcept {
  return status_of([&] { trainer.set_optimizer(api::to_string(config_json, "the optimizer's configuration")); });
}

Result<std::map<std::string, Tensor>> try_state(const Trainer& trainer) noexcept {
  return result_of([&] { return trainer.state(); });
}

Status try_set_state(Trainer& trainer, const std::map<std::string, Tensor>& slots, std::uint64_t iterations) noexcept {
  return status_of([&] { trainer.set_state(slots, iterations); });
}

}  // namespace rekur

#endif
