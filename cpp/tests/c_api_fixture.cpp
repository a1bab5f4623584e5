// Writes what the C program of c_api.c reads: models, and inputs with the outputs that the C++ interface gives for them.
//   c_api_fixture FOLDER
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "model_file.hpp"
#include "rekur/status.hpp"

namespace {

using namespace rekur;

std::string spec(const std::string& layers, const std::string& inputs, const std::string& outputs) {
  return R"({"format": "rekur", "version": 1, "name": "m", "layers": [)" + layers + R"(], "inputs": [)" + inputs +
         R"(], "outputs": [)" + outputs + "]}";
}

std::vector<float> numbers(Index n, std::uint32_t seed) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(seed >> 8) / (1 << 23) - 1.0f;
  }
  return values;
}

template <class T>
bool write(const std::string& path, const std::vector<T>& values) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(T)));
  return out.good();
}

Status make(const std::string& path, const std::string& spec_json, const Batch& batch) {
  Result<Model> model = try_model(spec_json);
  if (!model) return model.status();
  if (Status set = try_set_weights(*model, numbers(static_cast<Index>(model->weights().size()), 3)); !set) return set;
  const std::string file = test::model_file(*model);
  if (!write(path + ".safetensors", std::vector<char>(file.begin(), file.end()))) return {Code::io, "cannot write"};
  const Result<std::vector<Tensor>> outputs = try_predict(*model, batch);
  if (!outputs) return outputs.status();
  for (std::size_t k = 0; k < outputs->size(); ++k) {
    if (!write(path + ".output" + std::to_string(k), (*outputs)[k].data)) return {Code::io, "cannot write"};
  }
  return {};
}

}  // namespace

int main(int, char** argv) {
  const std::string folder = argv[1];
  const std::vector<float> x = numbers(2 * 6 * 3, 1), side = numbers(2 * 6 * 2, 2);
  const std::vector<std::int32_t> ids{0, 6, 3, 1, 5, 5, 2, 4, 0, 1, 2, 3}, lengths{6, 4};
  Batch one, several;
  one.inputs = {{x.data(), {2, 6, 3}, DType::float32}};
  several.inputs = {{ids.data(), {2, 6}, DType::int32}, {side.data(), {2, 6, 2}, DType::float32}};
  several.lengths = {lengths, lengths};
  const Status statuses[] = {make(folder + "/one",
                                  spec(R"({"type": "Input", "name": "x", "shape": [null, 3]},
                {"type": "LSTM", "name": "lstm", "inputs": ["x"], "units": 3, "return_sequences": true},
                {"type": "Dense", "name": "y", "inputs": ["lstm"], "units": 2, "activation": "tanh"})",
                                       R"("x")", R"("y")"),
                                  one),
                             make(folder + "/several",
                                  spec(R"({"type": "Input", "name": "ids", "shape": [null], "dtype": "int32"},
                {"type": "Input", "name": "side", "shape": [null, 2]},
                {"type": "Embedding", "name": "e", "inputs": ["ids"], "input_dim": 7, "output_dim": 2},
                {"type": "Add", "name": "sum", "inputs": ["e", "side"]},
                {"type": "LSTM", "name": "lstm", "inputs": ["sum"], "units": 3, "return_sequences": true},
                {"type": "Dense", "name": "y", "inputs": ["lstm"], "units": 4, "activation": "softmax"})",
                                       R"("ids", "side")", R"("y", "lstm")"),
                                  several),
                             make(folder + "/backwards",
                                  spec(R"({"type": "Input", "name": "x", "shape": [null, 3]},
                {"type": "Bidirectional", "name": "both", "inputs": ["x"], "layer": {"type": "GRU", "units": 2}})",
                                       R"("x")", R"("both")"),
                                  one)};
  for (const Status& status : statuses) {
    if (!status) return std::fprintf(stderr, "%s\n", status.message), 1;
  }
  const bool written = write(folder + "/one.input0", x) && write(folder + "/several.input0", ids) &&
                       write(folder + "/several.input1", side) && write(folder + "/lengths", lengths);
  return written ? 0 : 1;
}
