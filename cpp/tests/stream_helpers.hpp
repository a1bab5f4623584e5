// A stream beside the model it was made of: step by step it must give what predict gives for the sequence so far.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "model_helpers.hpp"
#include "rekur/model.hpp"
#include "rekur/runtime.hpp"
#include "rekur/stream.hpp"

namespace rekur::test {

// Weights in (-scale, scale), the same on every machine.
inline Model random_model(const std::string& spec_json, float scale = 0.7f) {
  Model model(spec_json);
  std::vector<float> weights = numbers(static_cast<Index>(model.weights().size()), 3);
  for (float& w : weights) w *= scale;
  model.set_weights(weights);
  return model;
}

inline std::string input(const std::string& name, const std::string& shape, const std::string& dtype = "float32") {
  return R"({"type": "Input", "name": ")" + name + R"(", "shape": )" + shape + R"(, "dtype": ")" + dtype + R"("})";
}

inline std::string layer(const std::string& type, const std::string& name, const std::string& inputs, const std::string& options) {
  return R"({"type": ")" + type + R"(", "name": ")" + name + R"(", "inputs": [)" + inputs + "]" +
         (options.empty() ? "" : ", " + options) + "}";
}

// Data for `steps` time steps of a model, sequences cut into steps where they have a time axis.
class Sequences {
 public:
  Sequences(const Model& model, Index batch, Index steps, Index ids = 5) : infos_(model.inputs()), batch_(batch), steps_(steps) {
    for (std::size_t i = 0; i < infos_.size(); ++i) {
      values_.push_back(numbers(batch * steps * features(i), 50 + static_cast<std::uint32_t>(i)));
      ids_.emplace_back();
      for (const float value : values_[i])
        ids_[i].push_back(static_cast<std::int32_t>((value * 0.5f + 0.5f) * static_cast<float>(ids)));
    }
  }

  bool timed(std::size_t i) const { return infos_[i].shape.size() >= (is_ids(i) ? 2u : 3u); }
  bool is_ids(std::size_t i) const { return infos_[i].dtype == DType::int32; }
  std::size_t index(const std::string& name) const {
    for (std::size_t i = 0; i < infos_.size(); ++i)
      if (infos_[i].name == name) return i;
    FAIL("no input ", name);
    return 0;
  }
  std::vector<float>& values(std::size_t i) { return values_[i]; }

  // The first `count` steps.
  Data first(Index count) const {
    Data data;
    for (std::size_t i = 0; i < infos_.size(); ++i) {
      Shape shape{batch_};
      const Index taken = timed(i) ? count : 1;
      if (timed(i)) shape.push_back(taken);
      if (!is_ids(i)) shape.insert(shape.end(), infos_[i].shape.begin() + (timed(i) ? 2 : 1), infos_[i].shape.end());
      std::vector<float> floats;
      std::vector<std::int32_t> ids;
      for (Index b = 0; b < batch_; ++b)
        for (Index k = 0; k < taken * features(i); ++k) {
          const auto at = static_cast<std::size_t>(b * steps_ * features(i) + k);
          floats.push_back(values_[i][at]);
          ids.push_back(ids_[i][at]);
        }
      if (is_ids(i))
        data.add_ids(shape, ids);
      else
        data.add(shape, floats);
    }
    return data;
  }

  // One step of input `name`, [batch, F] or ids [batch].
  struct Step {
    std::vector<float> floats;
    std::vector<std::int32_t> ids;
  };
  Step step(const std::string& name, Index t) const {
    const std::size_t i = index(name);
    Step step;
    for (Index b = 0; b < batch_; ++b)
      for (Index f = 0; f < features(i); ++f) {
        const auto at = static_cast<std::size_t>((b * steps_ + (timed(i) ? t : 0)) * features(i) + f);
        step.floats.push_back(values_[i][at]);
        step.ids.push_back(ids_[i][at]);
      }
    return step;
  }

 private:
  // Numbers of a step.
  Index features(std::size_t i) const {
    const Shape& shape = infos_[i].shape;
    return is_ids(i) ? 1 : element_count({shape.begin() + (timed(i) ? 2 : 1), shape.end()});
  }

  std::vector<TensorInfo> infos_;
  Index batch_, steps_;
  std::vector<std::vector<float>> values_;
  std::vector<std::vector<std::int32_t>> ids_;
};

// One step; the outputs.
inline std::vector<std::vector<float>> step(Stream& stream, const Sequences& data, Index t) {
  std::vector<Sequences::Step> x;
  std::vector<const void*> inputs;
  for (const TensorInfo& info : stream.inputs()) x.push_back(data.step(info.name, t));
  for (std::size_t i = 0; i < x.size(); ++i)
    inputs.push_back(stream.inputs()[i].dtype == DType::int32 ? static_cast<const void*>(x[i].ids.data()) : x[i].floats.data());
  std::vector<std::vector<float>> y;
  std::vector<float*> outputs;
  for (const TensorInfo& info : stream.outputs()) y.emplace_back(static_cast<std::size_t>(element_count(info.shape)) + 1, 777.0f);
  for (auto& values : y) outputs.push_back(values.data());
  REQUIRE(stream.step(inputs, outputs));
  for (auto& values : y) {
    CHECK(values.back() == 777.0f);  // nothing beyond
    values.pop_back();
  }
  return y;
}

// Steps [begin, end) at once; the outputs, of each step after step.
inline std::vector<std::vector<float>> process(Stream& stream, const Sequences& data, Index begin, Index end) {
  std::vector<Sequences::Step> x;
  std::vector<const void*> inputs;
  for (const TensorInfo& info : stream.inputs()) {
    Sequences::Step& all = x.emplace_back();
    for (Index t = begin; t < end; ++t) {
      const Sequences::Step one = data.step(info.name, t);
      all.floats.insert(all.floats.end(), one.floats.begin(), one.floats.end());
      all.ids.insert(all.ids.end(), one.ids.begin(), one.ids.end());
    }
  }
  for (std::size_t i = 0; i < x.size(); ++i)
    inputs.push_back(stream.inputs()[i].dtype == DType::int32 ? static_cast<const void*>(x[i].ids.data()) : x[i].floats.data());
  std::vector<std::vector<float>> y;
  std::vector<float*> outputs;
  for (const TensorInfo& info : stream.outputs())
    y.emplace_back(static_cast<std::size_t>((end - begin) * element_count(info.shape)) + 1, 777.0f);
  for (auto& values : y) outputs.push_back(values.data());
  REQUIRE(stream.process(inputs, outputs, end - begin));
  for (auto& values : y) {
    CHECK(values.back() == 777.0f);  // nothing beyond
    values.pop_back();
  }
  return y;
}

// What the model has at step t: of outputs with a time axis that step, of others what the sequence up to there gives.
inline std::vector<std::vector<float>> expected_step(const Model& model, const Sequences& data, Index t) {
  std::vector<std::vector<float>> y;
  for (const Tensor& tensor : model.predict(data.first(t + 1).batch())) {
    y.emplace_back();
    if (tensor.shape.size() < 3) {
      y.back() = tensor.data;
      continue;
    }
    const Index steps = tensor.shape[1], n = element_count({tensor.shape.begin() + 2, tensor.shape.end()});
    for (Index b = 0; b < tensor.shape[0]; ++b) {
      const float* row = tensor.data.data() + (b * steps + steps - 1) * n;
      y.back().insert(y.back().end(), row, row + n);
    }
  }
  return y;
}

// State name -> the model's input that holds its initial value; other states begin with zeros.
using InitialStates = std::map<std::string, std::string>;

inline void start(Stream& stream, const Sequences& data, const InitialStates& initial) {
  std::vector<float> state;
  for (const TensorInfo& info : stream.states()) {
    const auto found = initial.find(info.name);
    std::vector<float> values(static_cast<std::size_t>(element_count(info.shape)), 0.0f);
    if (found != initial.end()) values = data.step(found->second, 0).floats;
    REQUIRE(static_cast<Index>(values.size()) == element_count(info.shape));
    state.insert(state.end(), values.begin(), values.end());
  }
  REQUIRE(state.size() == stream.state_size());
  REQUIRE(stream.set_state(state));
}

inline std::vector<float> state_of(const Stream& stream) {
  std::vector<float> state(stream.state_size());
  REQUIRE(stream.get_state(state));
  return state;
}

// To the bit, on the instruction set in use; one by one and together.
inline void check_steps_of(const Model& model, const Sequences& data, Index batch, const InitialStates& initial, Index steps) {
  INFO("batch ", batch, " isa ", current_isa(), " spec ", model.spec());
  Stream stream(model, {.batch = batch});
  if (!initial.empty()) start(stream, data, initial);
  std::vector<std::vector<float>> all(stream.outputs().size());
  for (Index t = 0; t < steps; ++t) {
    INFO("step ", t);
    const auto y = step(stream, data, t), expected = expected_step(model, data, t);
    REQUIRE(y.size() == expected.size());
    for (std::size_t k = 0; k < y.size(); ++k) {
      CHECK(same(y[k], expected[k]));
      all[k].insert(all[k].end(), y[k].begin(), y[k].end());
    }
  }
  const std::vector<float> after = state_of(stream);
  for (const Index size : {steps, Index{3}}) {
    INFO("together: ", size);
    Stream together(model, {.batch = batch});
    if (!initial.empty()) start(together, data, initial);
    std::vector<std::vector<float>> y(all.size());
    for (Index t = 0; t < steps; t += size) {
      const auto some = process(together, data, t, std::min(t + size, steps));
      for (std::size_t k = 0; k < y.size(); ++k) y[k].insert(y[k].end(), some[k].begin(), some[k].end());
    }
    for (std::size_t k = 0; k < y.size(); ++k) CHECK(same(y[k], all[k]));
    CHECK(same(state_of(together), after));
  }
}

inline void check_steps(const Model& model, Index batch, const InitialStates& initial = {}, Index steps = 5) {
  check_steps_of(model, Sequences(model, batch, steps), batch, initial, steps);
}

// On every instruction set, with batches of several sizes.
inline void check_stream(const std::string& spec_json, const InitialStates& initial = {}, float scale = 0.7f) {
  const std::string before = current_isa();
  const Model model = random_model(spec_json, scale);
  for (const std::string& isa : available_isas()) {
    set_isa(isa);
    for (const Index batch : {1, 2, 3, 5, 17}) check_steps(model, batch, initial);
  }
  set_isa(before);
}

}  // namespace rekur::test
