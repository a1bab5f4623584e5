// A model's file, written here by hand: a library for inference only reads such files and writes none.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

#include "rekur/model.hpp"

namespace rekur::test {

inline std::string model_file(const Model& model) {
  std::string spec;
  for (const char c : model.spec()) {
    if (c == '"' || c == '\\') spec += '\\';
    spec += c == '\n' ? ' ' : c;  // between tokens
  }
  std::string header = R"({"__metadata__":{"rekur":")" + spec + "\"}";
  for (const ParameterInfo& parameter : model.parameters()) {
    Index count = 1;
    std::string shape;
    for (const Index d : parameter.shape) {
      count *= d;
      shape += (shape.empty() ? "" : ",") + std::to_string(d);
    }
    header += ",\"" + parameter.name + R"(":{"dtype":"F32","shape":[)" + shape + R"(],"data_offsets":[)" +
              std::to_string(4 * parameter.offset) + "," + std::to_string(4 * (parameter.offset + count)) + "]}";
  }
  header += "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  const std::uint64_t size = header.size();
  const std::span<const float> weights = model.weights();
  std::string file(sizeof size + header.size() + weights.size_bytes(), '\0');
  std::memcpy(file.data(), &size, sizeof size);
  header.copy(file.data() + sizeof size, header.size());
  std::memcpy(file.data() + sizeof size + header.size(), weights.data(), weights.size_bytes());
  return file;
}

}  // namespace rekur::test
