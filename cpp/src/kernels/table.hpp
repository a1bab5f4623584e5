// The step kernels of every cell of this build, as an ISA unit has compiled them. Included only by the ISA units.
#pragma once

#include "kernels/backward.hpp"
#include "kernels/forward.hpp"
#include "kernels/functions.hpp"
#include "kernels/single_row.hpp"
#include "kernels/single_row_int8.hpp"
#include "rekur/detail/cells/list.hpp"

namespace rekur {
namespace {

template <class Cell, class F, class Slopes>
constexpr kernels::CellSteps cell_kernels() {
  kernels::CellSteps k{};
  k.forward[0] = forward_step<Cell, 0, F>;
  if constexpr (Cell::info.phases > 1) k.forward[1] = forward_step<Cell, 1, F>;
#if REKUR_TRAINING
  k.backward[0] = backward_step<Cell, 0, Slopes>;
  if constexpr (Cell::info.phases > 1) k.backward[1] = backward_step<Cell, 1, Slopes>;
#endif
  return k;
}

template <class Cell>
constexpr kernels::CellSteps standard_kernels() {
  if constexpr (requires { Cell::rare; })
    return cell_kernels<Cell, GivenFunctions, GivenSlopes>();
  else
    return cell_kernels<Cell, StandardFunctions, StandardFunctions>();
}

template <class... Cells>
constexpr kernels::Steps steps_of(cells::List<Cells...>) {
  return {{{standard_kernels<Cells>(), cell_kernels<Cells, GivenFunctions, GivenSlopes>()}...},
#if REKUR_EQUATIONS
          {step_product<1>, step_product<2>, step_product<3>, step_product<4>}
#endif
  };
}

constexpr kernels::Steps make_steps() { return steps_of(cells::All{}); }

template <class... Cells>
constexpr kernels::SingleRowTable single_row_steps_of(cells::List<Cells...>) {
  return {{single_row_kernel<Cells>()...},
#if REKUR_INT8
          {single_row_int8_kernel<Cells>()...}
#endif
  };
}

constexpr kernels::SingleRowTable make_single_row_steps() { return single_row_steps_of(cells::All{}); }

}  // namespace
}  // namespace rekur
