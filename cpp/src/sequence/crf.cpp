// CRF: the most probable tags, or the probabilities of tags, of a linear chain over the steps of emissions (crf_chain.hpp).
// Lafferty, McCallum & Pereira, ICML 2001.
//
//   x [B][T][K] emissions -> y [B][T][K]: 1 where the best tag sequence has the tag, else 0; or p(tag at the step | x)
//
// Both have 0 at steps that are not there. In a raw run y is x, and the loss of tags asks the layer (chain_loss): its transitions
// take part in it, and their gradient waits in the tape for the backward pass.
#include <algorithm>
#include <cmath>
#include <limits>

#include "layers/activation_spec.hpp"
#include "layers/elementwise.hpp"
#include "layers/registry.hpp"
#include "sequence/crf_chain.hpp"

namespace rekur::layers {
namespace {

struct CrfSettings {
  Index units;
  bool marginals, boundary;
  std::string transitions, ends;  // initialisers
};

class Crf final : public Layer {
 public:
  Crf(const std::string& type, const std::string& name, CrfSettings settings) : Layer(type, name), s_(std::move(settings)) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    std::vector<TensorSpec> outputs = infer_like_input(inputs);
    const Shape& shape = inputs[0].shape;
    if (shape.size() != 3) fail("expected emissions of shape (B, T, %), got %", {s_.units, shape});
    if (shape[2] != s_.units)
      fail("expected emissions of shape (B, T, %), one a tag, got %: put Dense(%) before it", {s_.units, shape, s_.units});
    return outputs;
  }

  std::vector<ParamSpec> parameters(std::span<const TensorSpec>) const override {
    std::vector<ParamSpec> specs;
    add_parameter(specs, "", "transitions", {s_.units, s_.units}, s_.transitions, s_.units);
    if (!s_.boundary) return specs;
    add_parameter(specs, "", "start_transitions", {s_.units}, s_.ends, s_.units);
    add_parameter(specs, "", "end_transitions", {s_.units}, s_.ends, s_.units);
    return specs;
  }

  bool crosses_resets() const override { return true; }

  void forward(const Context& run) const override {
    if (run.raw)
      copy(run.input(), run.outputs[0], element_count(run.input_specs[0].shape));
    else
      decode(run, run.input(), run.outputs[0]);
  }

#if REKUR_TRAINING
  FinalActivation final_activation() const override { return FinalActivation::chain; }
  Index tape_size(std::span<const TensorSpec>, bool training) const override { return training ? size() : 0; }

  void finish(const Context& run, const float* raw, float* out) const override { decode(run, raw, out); }

  double chain_loss(const Context& run, const std::int32_t* tags, std::span<const float> weights, float* d_emissions,
                    double scale) const override {
    const sequence::ChainBatch batch = this->batch(run, run.outputs[0]);
    const auto B = static_cast<std::size_t>(batch.B);
    std::vector<double> w(B, 1), values(B);
    for (std::size_t b = 0; b < weights.size(); ++b) w[b] = static_cast<double>(weights[b]);
    std::vector<double> scaled(w);
    if (d_emissions != nullptr)
      for (double& each : scaled) each *= scale / static_cast<double>(batch.B);
    std::vector<double> d_chain(d_emissions == nullptr ? 0 : static_cast<std::size_t>(sequence::chain_size(s_.units)));
    sequence::chain_loss(chain(run), batch, tags, scaled.data(), values.data(), d_emissions,
                         d_emissions == nullptr ? nullptr : d_chain.data());
    if (d_emissions != nullptr)
      for (Index i = 0; i < size(); ++i) run.tape[i] = static_cast<float>(d_chain[static_cast<std::size_t>(i)]);
    double sum = 0;
    for (std::size_t b = 0; b < B; ++b)
      if (w[b] != 0) sum += w[b] * values[b];
    return sum / static_cast<double>(batch.B);
  }

  // The best tags change nowhere but where they jump: their gradient is 0.
  void backward(const Context& run) const override {
    const float* const dy = run.d_outputs[0];
    if (dy == nullptr) return;
    float* const dx = run.d_inputs[0];
    const Index n = element_count(run.input_specs[0].shape);
    if (run.raw) {
      if (dx != nullptr) accumulate(dy, dx, n);
      if (run.d_weights != nullptr) accumulate(run.tape, run.d_weights, size());
      return;
    }
    if (!s_.marginals) return;
    std::vector<double> d_chain(run.d_weights == nullptr ? 0 : static_cast<std::size_t>(sequence::chain_size(s_.units)));
    sequence::chain_marginals_backward(chain(run), batch(run, run.input()), dy, dx,
                                       run.d_weights == nullptr ? nullptr : d_chain.data());
    if (run.d_weights == nullptr) return;
    for (Index i = 0; i < size(); ++i) run.d_weights[i] += static_cast<float>(d_chain[static_cast<std::size_t>(i)]);
  }
#endif

  std::unique_ptr<const StreamOp> stream(const StreamBuild&) const override {
    cannot_stream("tags depend on the steps that are still to come; a stream of its input, the emissions, is decoded at the end");
  }

 private:
  Index size() const { return s_.units * s_.units + (s_.boundary ? 2 * s_.units : 0); }

  sequence::Chain chain(const Context& run) const {
    const float* const ends = s_.boundary ? run.weights + s_.units * s_.units : nullptr;
    return {s_.units, run.weights, ends, ends == nullptr ? nullptr : ends + s_.units};
  }
  static sequence::ChainBatch batch(const Context& run, const float* emissions) {
    return {run.batch(), run.input_specs[0].shape[1], emissions, run.steps()};
  }

  void decode(const Context& run, const float* emissions, float* y) const {
    const sequence::ChainBatch batch = this->batch(run, emissions);
    if (s_.marginals) return sequence::chain_marginals(chain(run), batch, y);
    std::vector<std::int32_t> tags(static_cast<std::size_t>(batch.B * batch.T));
    std::vector<double> scores(static_cast<std::size_t>(batch.B));
    sequence::chain_viterbi(chain(run), batch, 1, tags.data(), scores.data());
    std::fill_n(y, batch.B * batch.T * s_.units, 0.0f);
    for (Index i = 0; i < batch.B * batch.T; ++i) {
      const std::int32_t tag = tags[static_cast<std::size_t>(i)];
      if (tag < 0) continue;
      if (std::isnan(scores[static_cast<std::size_t>(i / batch.T)]))
        std::fill_n(y + i * s_.units, s_.units, std::numeric_limits<float>::quiet_NaN());
      else
        y[i * s_.units + tag] = 1;
    }
  }

  CrfSettings s_;
};

}  // namespace

std::unique_ptr<Layer> make_crf(json::Reader& spec, const std::string& type, const std::string& name) {
  CrfSettings settings;
  settings.units = spec.positive_integer("units");
  if (settings.units > (1 << 15)) spec.refuse("units", "at most 32768 tags");
  const std::string output = spec.string("output_mode", "tags");
  if (output != "tags" && output != "marginals") spec.refuse("output_mode", "\"tags\" or \"marginals\"");
  settings.marginals = output == "marginals";
  settings.boundary = spec.boolean("use_boundary", true);
  settings.transitions = read_initializer(spec, "transition_initializer", "zeros");
  if (settings.boundary) settings.ends = read_initializer(spec, "boundary_initializer", "zeros");
  return std::make_unique<Crf>(type, name, std::move(settings));
}

}  // namespace rekur::layers
