// Models written out by `rekur export-cpp --static`, compiled for an instruction set each (CMakeLists.txt), as a consumer compiles
// them: no library, no exceptions, contraction as the compiler has it.
#include "static_model_probe.hpp"
#include "../examples/models/amp_static.hpp"
#include "../examples/models/forecaster_static.hpp"

namespace rekur::test {
namespace {

template <class Model>
void run(const float* x, float* y, int steps) {
  Model model;
  for (int t = 0; t < steps / 2; ++t) model.step(x + t, y + t * Model::outputs);
  float state[Model::state_size];
  model.get_state(state);
  model.reset();
  model.set_state(state);
  model.process(x + steps / 2, y + steps / 2 * Model::outputs, steps - steps / 2);
}

struct Amp : amp_static::Model {
  static constexpr int outputs = size_of_output_output;
};
struct Forecaster : forecaster_static::Model {
  static constexpr int outputs = size_of_output_forecast;
};

}  // namespace

extern const StaticModelProbe REKUR_PROBE;
const StaticModelProbe REKUR_PROBE{REKUR_PROBE_NAME, run<Amp>, run<Forecaster>};

}  // namespace rekur::test
