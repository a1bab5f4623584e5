// Small models for tests: specs in a few words, arrays of reproducible numbers, gradients by central differences.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "layers/time.hpp"
#include "rekur/model.hpp"
#include "rekur/runtime.hpp"

namespace rekur::test {

inline std::string spec(const std::string& layers, const std::string& inputs, const std::string& outputs) {
  return R"({"format": "rekur", "version": 1, "name": "m", "layers": [)" + layers + R"(], "inputs": [)" + inputs +
         R"(], "outputs": [)" + outputs + "]}";
}

// The message of the Error that `action` throws; "" if it throws none.
template <class Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  INFO("message: ", text);
  const bool found = text.find(part) != std::string::npos;
  CHECK_MESSAGE(found, "expected to read: ", part);
  return found;
}

// The steps of rows of these lengths; none given: all of them.
inline layers::RowSteps given_steps(const std::vector<std::int32_t>& lengths, Index T = 0) {
  return {.lengths = lengths.empty() ? nullptr : lengths.data(), .T = T};
}

// Numbers in (-1, 1), the same on every machine.
inline std::vector<float> numbers(Index n, std::uint32_t seed) {
  std::vector<float> values(static_cast<std::size_t>(n));
  std::uint64_t state = seed * 2654435761u + 12345u;
  for (float& value : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = static_cast<float>(static_cast<double>(state >> 40) / (1 << 23) - 1.0);
  }
  return values;
}

// A batch that owns its arrays.
struct Data {
  std::vector<Shape> shapes;
  std::vector<std::vector<float>> floats;          // per input, empty for ids
  std::vector<std::vector<std::int32_t>> ids;      // per input, empty for floats
  std::vector<std::vector<std::int32_t>> lengths;  // per input

  Data& add(Shape shape, std::vector<float> values, std::vector<std::int32_t> row_lengths = {}) {
    shapes.push_back(std::move(shape));
    floats.push_back(std::move(values));
    ids.emplace_back();
    lengths.push_back(std::move(row_lengths));
    return *this;
  }
  Data& add_random(const Shape& shape, std::vector<std::int32_t> row_lengths = {}) {
    return add(shape, numbers(element_count(shape), 7 + static_cast<std::uint32_t>(shapes.size())), std::move(row_lengths));
  }
  Data& add_ids(Shape shape, std::vector<std::int32_t> values, std::vector<std::int32_t> row_lengths = {}) {
    shapes.push_back(std::move(shape));
    floats.emplace_back();
    ids.push_back(std::move(values));
    lengths.push_back(std::move(row_lengths));
    return *this;
  }
  bool is_ids(std::size_t i) const { return !ids[i].empty(); }

  Batch batch() const {
    Batch b;
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      if (is_ids(i)) {
        b.inputs.push_back({ids[i].data(), shapes[i], DType::int32});
      } else {
        b.inputs.push_back({floats[i].data(), shapes[i], DType::float32});
      }
      b.lengths.emplace_back(lengths[i]);
    }
    return b;
  }
};

struct Gradients {
  std::vector<Tensor> outputs;
  std::vector<float> weights;
  std::vector<std::vector<float>> inputs;
};

#if REKUR_TRAINING
// Output k's gradient is numbers(…, 100 + k): the loss is Σ_k Σ numbers ⊙ output k.
inline Gradients gradients(const Model& model, const Data& data, std::uint64_t seed = 0, std::uint64_t step = 0) {
  Gradients g;
  std::vector<View> outputs;
  for (const Shape& shape : model.output_shapes(data.shapes)) {
    g.outputs.push_back({shape, std::vector<float>(static_cast<std::size_t>(element_count(shape)))});
  }
  for (Tensor& tensor : g.outputs) outputs.push_back({tensor.data.data(), tensor.shape});
  Tape tape = model.forward(data.batch(), outputs, seed, step);
  std::vector<std::vector<float>> upstream;
  std::vector<ConstView> upstream_views;
  for (std::size_t k = 0; k < g.outputs.size(); ++k) {
    upstream.push_back(numbers(element_count(g.outputs[k].shape), 100 + static_cast<std::uint32_t>(k)));
    upstream_views.push_back({upstream[k].data(), g.outputs[k].shape, DType::float32});
  }
  g.weights.assign(model.weights().size(), 777.0f);
  std::vector<View> input_views;
  for (std::size_t i = 0; i < data.shapes.size(); ++i) g.inputs.emplace_back(data.floats[i].size(), 777.0f);
  for (std::size_t i = 0; i < data.shapes.size(); ++i) {
    input_views.push_back({data.is_ids(i) ? nullptr : g.inputs[i].data(), data.shapes[i]});
  }
  model.backward(std::move(tape), upstream_views, g.weights, input_views);
  return g;
}
#endif

inline double loss(const Model& model, const Data& data) {
  double sum = 0;
  const std::vector<Tensor> outputs = model.predict(data.batch());
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    const std::vector<float> c = numbers(static_cast<Index>(outputs[k].data.size()), 100 + static_cast<std::uint32_t>(k));
    for (std::size_t i = 0; i < c.size(); ++i) sum += static_cast<double>(c[i]) * outputs[k].data[i];
  }
  return sum;
}

inline bool near(double a, double b, double tolerance = 1e-2) { return std::abs(a - b) <= tolerance * (0.3 + std::abs(b)); }

inline bool same(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0) return false;
  }
  return true;
}

#if REKUR_TRAINING
// Gradients of all weights and float inputs against central differences of the loss, on every instruction set; outputs of a
// training pass equal those of inference to the bit; and the gradients do not depend on the number of threads.
inline void check_gradients(const std::string& spec_json, Data data) {
  const std::string before = current_isa();
  const int threads = num_threads();
  Model model(spec_json);
  std::vector<float> weights = numbers(static_cast<Index>(model.weights().size()), 3);
  for (float& w : weights) w *= 0.7f;
  for (const std::string& name : available_isas()) {
    set_isa(name);
    model.set_weights(weights);
    INFO("isa ", name, " spec ", spec_json);
    const Gradients g = gradients(model, data);
    const std::vector<Tensor> inference = model.predict(data.batch());
    for (std::size_t k = 0; k < inference.size(); ++k) CHECK(same(inference[k].data, g.outputs[k].data));
    for (const int n : {1, 3}) {
      set_num_threads(n);
      const Gradients again = gradients(model, data);
      CHECK(same(again.weights, g.weights));
      for (std::size_t i = 0; i < g.inputs.size(); ++i) CHECK(same(again.inputs[i], g.inputs[i]));
    }
    set_num_threads(threads);

    constexpr float kStep = 1e-2f;
    const auto difference = [&](float& place, const auto& changed) {
      const float value = place;
      place = value + kStep;
      changed();
      const double up = loss(model, data);
      place = value - kStep;
      changed();
      const double down = loss(model, data);
      place = value;
      changed();
      return (up - down) / (2.0 * kStep);
    };
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const double expected = difference(weights[i], [&] { model.set_weights(weights); });
      CHECK_MESSAGE(near(g.weights[i], expected), "weight ", i, ": ", g.weights[i], " expected ", expected);
    }
    for (std::size_t input = 0; input < data.shapes.size(); ++input) {
      for (std::size_t i = 0; i < data.floats[input].size(); ++i) {
        const double expected = difference(data.floats[input][i], [] {});
        CHECK_MESSAGE(near(g.inputs[input][i], expected), "input ", input, " element ", i, ": ", g.inputs[input][i], " expected ",
                      expected);
      }
    }
  }
  set_isa(before);
}
#endif

}  // namespace rekur::test
