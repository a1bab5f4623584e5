#include "layers/cell_options.hpp"

namespace rekur::layers {

float read_rate(json::Reader& spec, const char* key) {
  const double rate = spec.number(key, 0);
  // As float32 too: a rate that rounds to 1 would scale by infinity.
  if (!(rate >= 0) || !(static_cast<float>(rate) < 1.0f)) spec.refuse(key, "at least 0 and less than 1");
  return static_cast<float>(rate);
}

CellOptions read_cell_options(json::Reader& spec, const std::vector<std::string>& /*states*/) {
  CellOptions options;
  options.dropout = read_rate(spec, "dropout");
  return options;
}

}  // namespace rekur::layers
