// GuitarML's files, of Proteus and NeuralPi: recurrent layers and a head, trained in PyTorch, whose names and orders they have.
#include <map>
#include <string_view>

#include "import/chain.hpp"
#include "import/formats.hpp"
#include "import/values.hpp"

namespace rekur::foreign {
namespace {

struct Kind {
  const char *theirs, *ours;
  Index blocks;
};
constexpr Kind kKinds[] = {{"LSTM", "LSTM", 4}, {"GRU", "GRU", 3}, {"RNN", "SimpleRNN", 1}};

// torch's r, z, n among the columns of a matrix or a vector become z, r, n.
void swap_gates(Floats& values, Index units) {
  for (std::size_t row = 0; row < values.size(); row += static_cast<std::size_t>(3 * units))
    for (Index i = 0; i < units; ++i)
      std::swap(values[row + static_cast<std::size_t>(i)], values[row + static_cast<std::size_t>(units + i)]);
}

class State {
 public:
  explicit State(const json::Object& object) {
    for (const auto& [key, value] : object) members_.emplace(key, &value);
  }

  bool has(const std::string& name) const { return find(name) != nullptr; }
  Floats take(const std::string& name, const Shape& shape) {
    ++taken_;
    return numbers(find(name), shape, compose("state_dict: %", {name}));
  }
  // Rows and columns of a matrix.
  std::pair<Index, Index> size(const std::string& name) const {
    const json::Value* const value = find(name);
    if (value == nullptr || !value->is_array() || value->array().empty() || !value->array().front().is_array())
      throw_error("state_dict: %: expected a matrix, got %", {name, value == nullptr ? "none" : json::describe(*value)});
    const auto rows = static_cast<Index>(value->array().size()),
               columns = static_cast<Index>(value->array().front().array().size());
    if (rows > 4 * kWidest || columns > kWidest || columns == 0)
      throw_error("state_dict: %: it has % × % numbers", {name, rows, columns});
    return {rows, columns};
  }
  // Throws where there are tensors that nobody took.
  void finish() const {
    if (taken_ != members_.size())
      throw_error("state_dict: expected the tensors of rec and lin, % in all, got %", {taken_, members_.size()});
  }

 private:
  const json::Value* find(const std::string& name) const {
    const auto at = members_.find(name);
    return at == members_.end() ? nullptr : at->second;
  }

  std::map<std::string_view, const json::Value*> members_;  // by name: a file may have a million of them
  std::size_t taken_ = 0;
};

Recurrent take_recurrent(State& state, const Kind& kind, Index layer, Index inputs) {
  const auto name = [&](const char* part) { return compose("rec.%_l%", {part, layer}); };
  const auto [rows, units] = state.size(name("weight_hh"));
  if (rows != kind.blocks * units)
    throw_error("state_dict: %: expected the (% H, H) of %, got (%, %)",
                {name("weight_hh"), kind.blocks, kind.theirs, rows, units});
  Recurrent found{kind.ours,
                  units,
                  transposed(state.take(name("weight_ih"), {rows, inputs}), rows, inputs),
                  transposed(state.take(name("weight_hh"), {rows, units}), rows, units),
                  {}};
  const bool gru = kind.blocks == 3;
  if (gru) {
    swap_gates(found.kernel, units);
    swap_gates(found.recurrent_kernel, units);
  }
  if (!state.has("rec.bias_ih_l0") && !state.has("rec.bias_hh_l0")) return found;
  Floats bias = state.take(name("bias_ih"), {rows}), second = state.take(name("bias_hh"), {rows});
  if (gru) {  // two rows, which stay apart
    bias.insert(bias.end(), second.begin(), second.end());
    swap_gates(bias, units);
  } else {
    for (std::size_t i = 0; i < bias.size(); ++i) bias[i] += second[i];
  }
  found.bias = std::move(bias);
  return found;
}

}  // namespace

bool is_guitarml(const json::Object& file) { return file.find("model_data") != nullptr && file.find("state_dict") != nullptr; }

Model guitarml(const json::Object& file) {
  const json::Object& data = object_of(file, "model_data", "GuitarML");
  State state(object_of(file, "state_dict", "GuitarML"));
  const auto word = [&](const char* key, const char* fallback) -> std::string {
    const json::Value* const value = data.find(key);
    return value == nullptr ? fallback : value->is_string() ? value->string() : json::describe(*value);
  };
  const std::string model = word("model", "SimpleRNN"), type = word("unit_type", "LSTM");
  const Kind* kind = nullptr;
  for (const Kind& one : kKinds)
    if (type == one.theirs) kind = &one;
  if (model != "SimpleRNN" || kind == nullptr)
    throw_error("model_data: it is a % of %; SimpleRNN of LSTM, GRU or RNN is read", {model, type});
  const Index features = state.size("rec.weight_ih_l0").second;
  if (data.find("input_size") != nullptr && count(data, "input_size", "model_data") != features)
    throw_error("model_data says another input_size than its weights, which have %", {features});
  Builder builder;
  const double said = rate(data, {"samplerate", "sample_rate"}, "model_data");
  builder.set_sample_rate(said > 0 ? said : rate(file, {"samplerate", "sample_rate"}, "GuitarML"));
  const Around around(builder, features, count(data, "skip", "model_data", 0, 0));
  Sequence x = around.input();
  const bool several = state.has("rec.weight_hh_l1");
  for (Index layer = 0; state.has(compose("rec.weight_hh_l%", {layer})); ++layer)
    x = builder.recurrent(x, several ? compose("rec_l%", {layer}) : "rec", take_recurrent(state, *kind, layer, x.features));
  const Index units = x.features;
  if (data.find("hidden_size") != nullptr && count(data, "hidden_size", "model_data") != units)
    throw_error("model_data says another hidden_size than its weights, which have %", {units});
  const Index outputs = state.size("lin.weight").first;
  if (outputs > kWidest) throw_error("state_dict: lin.weight: expected at most % outputs, got %", {kWidest, outputs});
  Floats kernel = transposed(state.take("lin.weight", {outputs, units}), outputs, units);
  std::optional<Floats> bias;
  if (state.has("lin.bias")) bias = state.take("lin.bias", {outputs});
  x = builder.dense(x, "lin", "linear", outputs, std::move(kernel), std::move(bias));
  state.finish();
  return around.model(x);
}

}  // namespace rekur::foreign
