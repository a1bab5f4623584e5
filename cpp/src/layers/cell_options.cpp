#include "layers/cell_options.hpp"

#include <algorithm>
#include <limits>

#include "io/suggest.hpp"
#include "layers/activation_spec.hpp"

namespace rekur::layers {

#if REKUR_EQUATIONS

namespace {

// A number for all states, or an object of numbers by the states' names; empty where the key is missing or all are `idle`.
template <class Take>
std::vector<float> by_state(json::Reader& spec, const char* key, const std::vector<std::string>& states, float idle, Take&& take) {
  const json::Value* const value = spec.find(key);
  if (value == nullptr) return {};
  std::vector<float> found(states.size(), idle);
  if (value->is_object()) {
    const json::Object& given = value->object();
    const std::string context = compose("%: %", {spec.context(), key});
    json::Reader reader(*value, context);
    for (std::size_t k = 0; k < states.size(); ++k)
      if (given.find(states[k].c_str()) != nullptr) found[k] = take(reader, states[k].c_str());
    reader.finish();
  } else {
    std::fill(found.begin(), found.end(), take(spec, key));
  }
  const bool asks = std::any_of(found.begin(), found.end(), [&](float number) { return number != idle; });
  return asks ? found : std::vector<float>();
}

float read_bound(json::Reader& spec, const char* key) {
  const double bound = spec.number(key);
  if (!(bound >= std::numeric_limits<float>::min() && bound <= std::numeric_limits<float>::max()))
    spec.refuse(key, "a float32 number above 0");
  return static_cast<float>(bound);
}

void read_normalization(json::Reader& spec, CellOptions& options) {
  if (spec.find("layer_normalization") == nullptr) return;
  static constexpr std::string_view names[] = {"sums", "state", "both"};
  const std::string what = spec.string("layer_normalization");
  if (std::find(std::begin(names), std::end(names), what) == std::end(names))
    spec.fail("%", {unknown_name("layer_normalization", what, names)});
  options.normalize_sums = what != "state";
  options.normalize_state = what != "sums";
  const double epsilon = spec.number("normalization_epsilon", 1e-5);
  if (!(epsilon >= std::numeric_limits<float>::min() && epsilon <= std::numeric_limits<float>::max()))
    spec.refuse("normalization_epsilon", "a float32 number above 0");
  options.epsilon = static_cast<float>(epsilon);
  options.gamma_initializer = read_initializer(spec, "gamma_initializer", "ones");
  if (options.normalize_state) options.beta_initializer = read_initializer(spec, "beta_initializer", "zeros");
}

}  // namespace

#endif

float read_rate(json::Reader& spec, const char* key) {
  const double rate = spec.number(key, 0);
  // As float32 too: a rate that rounds to 1 would scale by infinity.
  if (!(rate >= 0) || !(static_cast<float>(rate) < 1.0f)) spec.refuse(key, "at least 0 and less than 1");
  return static_cast<float>(rate);
}

CellOptions read_cell_options(json::Reader& spec, const std::vector<std::string>& states) {
  CellOptions options;
  options.dropout = read_rate(spec, "dropout");
  options.recurrent_dropout = read_rate(spec, "recurrent_dropout");
#if REKUR_EQUATIONS
  options.zoneout = by_state(spec, "zoneout", states, 0.0f, read_rate);
  options.state_clip = by_state(spec, "state_clip", states, std::numeric_limits<float>::infinity(), read_bound);
  read_normalization(spec, options);
#else
  static_cast<void>(states);
  for (const char* key : {"zoneout", "state_clip", "layer_normalization"})
    if (spec.find(key) != nullptr) spec.fail("'%' needs equations, without which this rekur was built (REKUR_EQUATIONS)", {key});
#if REKUR_TRAINING
  if (options.recurrent_dropout > 0)
    spec.fail("'recurrent_dropout' needs equations, without which this rekur was built (REKUR_EQUATIONS)", {});
#endif
#endif
  return options;
}

}  // namespace rekur::layers
