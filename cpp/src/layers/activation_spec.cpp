#include "layers/activation_spec.hpp"

#include <cmath>
#include <limits>

#include "io/suggest.hpp"
#include "layers/activation_equations.hpp"
#include "layers/elementwise.hpp"

namespace rekur::layers {
namespace {

struct Named {
  const char* name;
  ActivationKind kind;
  bool has_alpha, has_beta;
  double alpha, beta;             // defaults (Keras 3; scaled_tanh: LeCun et al., 1998)
  bool negative_allowed = false;  // alpha may be below 0
};

constexpr Named kActivations[] = {
    {"linear", ActivationKind::linear, false, false, 0, 0},
    {"tanh", ActivationKind::tanh, false, false, 0, 0},
    {"sigmoid", ActivationKind::sigmoid, false, false, 0, 0},
    {"relu", ActivationKind::relu, false, false, 0, 0},
    {"leaky_relu", ActivationKind::leaky_relu, true, false, 0.2, 0},
    {"elu", ActivationKind::elu, true, false, 1, 0},
    {"softsign", ActivationKind::softsign, false, false, 0, 0},
    {"hard_sigmoid", ActivationKind::hard_sigmoid, true, true, 1.0 / 6.0, 0.5},
    {"affine", ActivationKind::affine, true, true, 1, 0, true},
    {"thresholded_relu", ActivationKind::thresholded_relu, true, false, 1, 0, true},
    {"scaled_tanh", ActivationKind::scaled_tanh, true, true, 1.7159, 2.0 / 3.0, true},
    {"softplus", ActivationKind::softplus, false, false, 0, 0},
};

constexpr std::size_t kMostName = 255;
constexpr double kActivationCost = 20;  // floating-point operations an element, roughly

// A parameter as float: rounding must not make an infinity of it.
float read_parameter(json::Reader& reader, const char* key, bool present, double fallback, bool negative_allowed) {
  if (!present) return static_cast<float>(fallback);
  const double value = reader.number(key, fallback);
  if (!(std::abs(value) <= std::numeric_limits<float>::max())) reader.refuse(key, "a float32 number");
  if (!negative_allowed && value < 0) reader.refuse(key, "at least 0");
  return static_cast<float>(value);
}

ActivationSpec find(json::Reader& reader, const std::string& name, bool by_row, json::Reader* parameters) {
  if (by_row && name == "softmax") return {.softmax = true};
  for (const Named& known : kActivations) {
    if (name != known.name) continue;
    ActivationSpec spec;
    spec.function.kind = known.kind;
    if (parameters != nullptr) {
      spec.function.alpha = read_parameter(*parameters, "alpha", known.has_alpha, known.alpha, known.negative_allowed);
      spec.function.beta = read_parameter(*parameters, "beta", known.has_beta, known.beta, true);
    } else {
      spec.function.alpha = static_cast<float>(known.alpha);
      spec.function.beta = static_cast<float>(known.beta);
    }
    return spec;
  }
  if (name == "softmax") reader.fail("activation 'softmax' works over whole rows and is for Dense and Activation layers only");
  std::vector<std::string_view> names = activation_names();
  if (by_row) names.emplace_back("softmax");
  reader.fail("%", {unknown_name("activation", name, names)});
}

// Of the user's own; the name is for people alone.
ActivationSpec read_own(json::Reader& activation, const std::string& name, bool by_row) {
  if (name.empty() || name.size() > kMostName) activation.refuse("name", "a text of 1 to 255 bytes");
  if (!by_row) activation.fail("equations are for Dense and Activation layers only");
#if REKUR_EQUATIONS
  return {.equations = std::make_shared<const ActivationEquations>(activation)};
#else
  activation.fail("this rekur was built without equations (REKUR_EQUATIONS=OFF)");
#endif
}

}  // namespace

json::Value activation_value(Activation function) {
  const Named& known = kActivations[static_cast<std::size_t>(function.kind)];
  if (!known.has_alpha) return known.name;
  json::Object object{{"name", known.name}, {"alpha", static_cast<double>(function.alpha)}};
  if (known.has_beta) object.set("beta", static_cast<double>(function.beta));
  return object;
}

std::vector<std::string_view> activation_names() {
  std::vector<std::string_view> names;
  for (const Named& known : kActivations) names.emplace_back(known.name);
  return names;
}

FinalActivation ActivationSpec::final_activation() const {
  if (softmax) return FinalActivation::softmax;
  return function.kind == ActivationKind::sigmoid ? FinalActivation::sigmoid : FinalActivation::none;
}

ActivationSpec read_activation(json::Reader& reader, const char* key, const char* fallback, bool by_row) {
  const json::Value* value = fallback == nullptr ? &reader.get(key) : reader.find(key);
  if (value == nullptr) return find(reader, fallback, by_row, nullptr);
  if (value->is_string()) return find(reader, value->string(), by_row, nullptr);
  if (!value->is_object()) reader.refuse(key, "a name or an object with a name");
  json::Reader parameters(*value, compose("%: %", {reader.context(), key}));
  const std::string name = parameters.string("name");
  const ActivationSpec spec =
      parameters.find("equations") != nullptr ? read_own(parameters, name, by_row) : find(reader, name, by_row, &parameters);
  parameters.finish();
  return spec;
}

void activate(const ActivationSpec& f, const float* x, float* y, Index rows, Index n) {
  const auto& k = isa::kernels();
#if REKUR_EQUATIONS
  if (f.equations) return f.equations->forward(x, y, rows, n);
#endif
  if (f.softmax) {
    over_rows(rows, n, kActivationCost, [&](Index begin, Index end) { k.softmax(x + begin * n, y + begin * n, end - begin, n); });
  } else if (!f.is_linear() || x != y) {
    over_elements(rows * n, kActivationCost,
                  [&](Index begin, Index end) { k.activate(f.function, x + begin, y + begin, end - begin); });
  }
}

Index activate_memory([[maybe_unused]] const ActivationSpec& f, [[maybe_unused]] Index n) {
#if REKUR_EQUATIONS
  if (f.equations) return f.equations->memory(n);
#endif
  return 0;
}

void activate(const simd::Kernels& kernels, const ActivationSpec& f, const float* x, float* y, Index rows, Index n,
              [[maybe_unused]] float* memory) noexcept {
#if REKUR_EQUATIONS
  if (f.equations) return f.equations->step(kernels, x, y, rows, n, memory);
#endif
  if (f.softmax) {
    kernels.softmax(x, y, rows, n);
  } else if (!f.is_linear() || x != y) {
    kernels.activate(f.function, x, y, rows * n);
  }
}

#if REKUR_TRAINING
void activate_backward(const ActivationSpec& f, [[maybe_unused]] const float* x, const float* y, const float* dy, float* dx,
                       Index rows, Index n) {
#if REKUR_EQUATIONS
  if (f.equations) return f.equations->backward(x, dy, dx, rows, n);
#endif
  const auto& k = isa::kernels();
  if (f.softmax) {
    over_rows(rows, n, 4,
              [&](Index begin, Index end) { k.softmax_backward(y + begin * n, dy + begin * n, dx + begin * n, end - begin, n); });
  } else if (!f.is_linear() || dx != dy) {
    over_elements(rows * n, 4,
                  [&](Index begin, Index end) { k.activate_backward(f.function, y + begin, dy + begin, dx + begin, end - begin); });
  }
}
#endif

std::string read_initializer(json::Reader& reader, const char* key, const char* fallback) {
  const json::Value* value = reader.find(key);
  if (value == nullptr) return json::write(json::Value(fallback));
  if (!value->is_string() && !value->is_object()) reader.refuse(key, "a name or an object with a name");
  return json::write(*value);
}

std::optional<Precision> read_precision(json::Reader& reader, bool bf16) {
  static constexpr std::string_view names[] = {"float32", "bf16", "int8"};
  if (reader.find("precision") == nullptr) return std::nullopt;
  const std::string name = reader.string("precision", "float32");
  if (name == names[0]) return Precision::float32;
  if (name == names[1]) {
#if !REKUR_BF16
    reader.fail(
        "precision \"bf16\": this rekur was built without it, as it is without training and where it is compact (REKUR_TRAINING, "
        "REKUR_COMPACT)");
#endif
    if (!bf16)
      reader.fail("precision: expected \"float32\" or \"int8\", got \"bf16\", which are products of recurrent layers and Dense");
    return Precision::bf16;
  }
  if (name != names[2]) reader.fail("%", {unknown_name("precision", name, names)});
#if !REKUR_INT8
  reader.fail("precision \"int8\": this rekur was built without products of eight bits (REKUR_INT8=OFF)");
#endif
  return Precision::int8;
}

}  // namespace rekur::layers
