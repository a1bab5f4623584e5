// Models written out as types against streams of the same models: the same bits, on every instruction set there is.
#include <algorithm>
#include <string>
#include <vector>

#include "each_isa.hpp"
#include "model_helpers.hpp"
#include "rekur/stream.hpp"
#include "static_model_probe.hpp"

namespace rekur::test {

extern const StaticModelProbe model_probe_plain;
#if defined(__x86_64__)
extern const StaticModelProbe model_probe_avx2, model_probe_avx512;
#endif

namespace {

const StaticModelProbe* const kProbes[] = {
    &model_probe_plain,
#if defined(__x86_64__)
    &model_probe_avx2,
    &model_probe_avx512,
#endif
};

void compare(const std::string& name, void (*run)(const float*, float*, int)) {
  constexpr int kSteps = 300;
  const Model model = Model::load(std::string(REKUR_TEST_MODELS) + "/" + name + ".safetensors");
  Stream stream(model);
  const std::vector<float> x = numbers(kSteps, 7);
  const std::size_t features = static_cast<std::size_t>(stream.outputs()[0].shape.back());
  std::vector<float> expected(kSteps * features), got(expected.size());
  for (std::size_t t = 0; t < kSteps; ++t) REQUIRE(stream.step(&x[t], &expected[t * features]));
  run(x.data(), got.data(), kSteps);
  CHECK(same(got, expected));
}

}  // namespace

TEST_CASE("models written out give the bits of their streams") {
  const std::string before = current_isa();
  for (const StaticModelProbe* const probe : kProbes) {
    const std::vector<std::string> available = available_isas();
    if (std::find(available.begin(), available.end(), probe->isa) == available.end()) continue;
    CAPTURE(probe->isa);
    set_isa(probe->isa);
    compare("amp", probe->amp);
    compare("forecaster", probe->forecaster);
  }
  set_isa(before);
}

}  // namespace rekur::test
