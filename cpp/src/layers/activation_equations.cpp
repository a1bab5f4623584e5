#include "layers/activation_equations.hpp"

#include <algorithm>

#include "io/json.hpp"
#include "layers/equations_run.hpp"
#include "layers/equations_spec.hpp"

namespace rekur::layers {

using equations::Extent;

ActivationEquations::ActivationEquations(json::Reader& activation) {
  const equations::Equations f = read_equations(activation, "equations");
  if (f.inputs.size() != 1 || f.outputs.size() != 1)
    activation.fail("an activation is one value of one, got equations of % inputs and % outputs",
                    {f.inputs.size(), f.outputs.size()});
  const Extent extents[] = {Extent::feature};
  equations::Graph graph(f, extents);
  const int value = graph.outputs()[0];
  if (graph.extent(value) != Extent::feature)
    activation.fail("an activation gives a number a feature, these equations % for the whole row",
                    {(graph.extent(value) == Extent::row ? "one number" : "a constant")});
  const equations::Wanted wanted[] = {{.value = value}};
  forward_ = equations::Code(graph, wanted);
#if REKUR_TRAINING
  const int arriving[] = {graph.input(Extent::feature)};
  const int gradient = graph.derive(arriving)[0];
  const equations::Wanted slope[] = {{.value = gradient < 0 ? graph.constant(0) : gradient}};
  backward_ = equations::Code(graph, slope);
#endif
}

void ActivationEquations::forward(const float* x, float* y, Index rows, Index n) const { carry_out(forward_, &x, &y, rows, n); }

#if REKUR_TRAINING
void ActivationEquations::backward(const float* x, const float* dy, float* dx, Index rows, Index n) const {
  const float* const inputs[] = {x, dy};
  carry_out(backward_, inputs, &dx, rows, n);
}
#endif

}  // namespace rekur::layers
