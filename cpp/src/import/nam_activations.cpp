// Neural Amp Modeler's activations; those that rekur has no name for are equations.
#include <algorithm>
#include <cmath>

#include "import/nam_network.hpp"
#include "import/values.hpp"

namespace rekur::foreign {
namespace {

constexpr float kSlope = 0.01F;  // of LeakyReLU, PReLU and LeakyHardtanh

json::Value equations(const char* name, const std::string& nodes, int output) {
  return json::parse(compose(R"({"name":"%","equations":{"inputs":["x"],"nodes":[%],"outputs":[%]}})", {name, nodes, output}));
}

std::string text(double value) { return json::write(json::Value(value)); }

// x (a + a |x| + (b + c |x|) x²) / (d + (d + x²) |x + e x |x||), which stands for tanh within 8.7e-4.
constexpr double kA = 2.45550750702956F, kB = 0.893229853513558F, kC = 0.821226666969744F, kD = 2.44506634652299F,
                 kE = 0.814642734961073F;

json::Value fast_tanh() {
  const std::string nodes =
      compose(R"(["absolute",0],["multiply",0,0],["constant",%],["multiply",3,1],["add",3,4],)"
              R"(["constant",%],["multiply",6,1],["constant",%],["add",8,7],["multiply",9,2],["add",5,10],["multiply",0,11],)"
              R"(["constant",%],["add",13,2],["constant",%],["multiply",15,0],["multiply",16,1],["add",0,17],["absolute",18],)"
              R"(["multiply",14,19],["add",13,20],["divide",12,21])",
              {text(kA), text(kC), text(kB), text(kD), text(kE)});
  return equations("fast_tanh", nodes, 22);
}

json::Value leaky_hard_tanh(double low, double high, double below, double above) {
  const std::string nodes = compose(R"(["constant",%],["less",0,1],["subtract",0,1],["constant",%],["multiply",3,4],["add",5,1],)"
                                    R"(["constant",%],["less",7,0],["subtract",0,7],["constant",%],["multiply",9,10],["add",11,7],)"
                                    R"(["where",8,12,0],["where",2,6,13])",
                                    {text(low), text(below), text(high), text(above)});
  return equations("leaky_hard_tanh", nodes, 14);
}

double leaky(double v, double slope) { return v > 0 ? v : slope * v; }

using Function = double (*)(double);
struct Named {
  const char* name;
  json::Value (*activation)();
  Function function;
};

const Named kNamed[] = {
    {"Tanh", [] { return json::Value("tanh"); }, [](double v) { return std::tanh(v); }},
    {"ReLU", [] { return json::Value("relu"); }, [](double v) { return std::max(v, 0.0); }},
    {"Sigmoid", [] { return json::Value("sigmoid"); }, [](double v) { return 1 / (1 + std::exp(-v)); }},
    {"SiLU", [] { return equations("silu", R"(["sigmoid",0],["multiply",0,1])", 2); },
     [](double v) { return v / (1 + std::exp(-v)); }},
    {"Hardtanh", [] { return equations("hard_tanh", R"(["constant",-1.0],["maximum",0,1],["constant",1.0],["minimum",2,3])", 4); },
     [](double v) { return std::clamp(v, -1.0, 1.0); }},
    {"Hardswish", [] { return equations("hard_silu", R"(["hard_sigmoid",0],["multiply",0,1])", 2); },
     [](double v) { return v * std::clamp(v / 6 + 0.5, 0.0, 1.0); }},
    {"Softsign", [] { return json::Value("softsign"); }, [](double v) { return v / (1 + std::abs(v)); }},
    {"Fasttanh", fast_tanh,
     [](double v) {
       const double a = std::abs(v), x2 = v * v;
       return v * (kA + kA * a + (kB + kC * a) * x2) / (kD + (kD + x2) * std::abs(v + kE * v * a));
     }},
};

void expect_parameters(const json::Object& object, std::initializer_list<std::string_view> keys, const std::string& what) {
  for (const auto& [key, value] : object)
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) throw_error("%: it has no parameter '%'", {what, key});
}

}  // namespace

NamActivation nam_activation(const json::Value* given, Index channels, const std::string& what) {
  const json::Object plain;
  const json::Object& object = given != nullptr && given->is_object() ? given->object() : plain;
  const json::Value* const type = given != nullptr && given->is_object() ? find(object, "type") : given;
  const std::string kind = type != nullptr && type->is_string() ? type->string() : "";
  const auto parameter = [&](const char* key, float fallback) -> double {
    const json::Value* const value = object.find(key);
    return value == nullptr ? fallback : number(value, compose("%: %", {what, key}));
  };
  for (const Named& named : kNamed) {
    if (kind != named.name) continue;
    expect_parameters(object, {"type"}, what);
    return {named.activation(), {}, [function = named.function](double v, std::size_t) { return function(v); }};
  }
  if (kind == "LeakyHardtanh" || kind == "LeakyHardTanh") {
    expect_parameters(object, {"type", "min_val", "max_val", "min_slope", "max_slope"}, what);
    const double low = parameter("min_val", -1), high = parameter("max_val", 1), below = parameter("min_slope", kSlope),
                 above = parameter("max_slope", kSlope);
    if (low > high) throw_error("%: min_val is above max_val", {what});
    return {leaky_hard_tanh(low, high, below, above), {}, [=](double v, std::size_t) {
              return v < low ? (v - low) * below + low : v > high ? (v - high) * above + high : v;
            }};
  }
  if (kind != "LeakyReLU" && kind != "PReLU")
    throw_error("%: there is no such activation here: %", {what, type == nullptr ? "none" : json::describe(*type)});
  const bool several = kind == "PReLU";
  if (several) expect_parameters(object, {"type", "negative_slope", "negative_slopes"}, what);
  if (!several) expect_parameters(object, {"type", "negative_slope"}, what);
  NamActivation found;
  if (several && object.find("negative_slope") == nullptr && object.find("negative_slopes") != nullptr) {
    found.slopes = numbers(object.find("negative_slopes"), {channels}, compose("%: negative_slopes", {what}));
    found.function = [slopes = found.slopes](double v, std::size_t i) { return leaky(v, slopes[i]); };
    return found;
  }
  const double slope = parameter("negative_slope", kSlope);
  found.function = [slope](double v, std::size_t) { return leaky(v, slope); };
  if (slope < 0) {
    found.slopes.assign(static_cast<std::size_t>(channels), static_cast<float>(slope));
  } else {
    found.activation = json::Object{{"name", "leaky_relu"}, {"alpha", slope}};
  }
  return found;
}

}  // namespace rekur::foreign
