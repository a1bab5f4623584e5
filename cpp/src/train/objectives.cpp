#include "train/objectives.hpp"

#include <algorithm>

#include "graph/graph.hpp"
#include "io/text.hpp"

namespace rekur::train {

std::vector<Objective> read_objectives(json::Reader& config, const graph::Graph& graph) {
  const std::vector<TensorInfo>& outputs = graph.outputs();
  const auto expect_one_per_output = [&](const char* key, std::size_t given) {
    if (given == outputs.size()) return;
    config.fail("expected % '%', one per output, got %", {outputs.size(), key, given});
  };
  const json::Array& losses = config.array("losses");
  expect_one_per_output("losses", losses.size());
  const json::Value* weights = config.find("loss_weights");
  if (weights && !weights->is_array()) config.refuse("loss_weights", "an array of numbers");
  if (weights) expect_one_per_output("loss_weights", weights->array().size());

  std::vector<Objective> objectives(outputs.size());
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    Objective& objective = objectives[k];
    objective.output = outputs[k].name;
    if (weights) {
      const json::Value& weight = weights->array()[k];
      if (!weight.is_number()) config.refuse("loss_weights", "an array of numbers");
      objective.weight = weight.number();
    }
    if (losses[k].is_null()) continue;
    if (outputs[k].dtype != DType::float32) throw_error("output '%': a loss needs a float32 output, got int32", {objective.output});
    objective.loss = read_loss(losses[k]);
    check_output(*objective.loss, outputs[k].shape.back(), objective.output);
    const layers::FinalActivation fused = fused_activation(*objective.loss);
    const bool activated = fused != layers::FinalActivation::none && graph.final_activation(k) == fused;
    if (activated && objective.loss->from_logits) {
      throw_error("output '%': % expected logits (from_logits is true), but the output ends in %",
                  {objective.output, name(*objective.loss), (fused == layers::FinalActivation::sigmoid ? "sigmoid" : "softmax")});
    }
    if (objective.loss->kind == LossKind::crf && !activated)
      throw_error("output '%': % is a loss of the output of a CRF layer that nothing else reads",
                  {objective.output, name(*objective.loss)});
    objective.raw = activated;
    if (activated || objective.loss->from_logits) objective.scores = Scores::logits;
  }
  if (!graph.has_penalties() &&
      std::none_of(objectives.begin(), objectives.end(), [](const Objective& o) { return o.loss.has_value(); })) {
    config.fail("no output has a loss");
  }
  return objectives;
}

}  // namespace rekur::train
