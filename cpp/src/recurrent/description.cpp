#include "recurrent/description.hpp"

namespace rekur::recurrent {

Description describe(const cells::CellInfo& cell) {
  Description d;
  d.kernel_blocks = d.recurrent_blocks = cell.gates;
  d.recurrent_bias = cell.recurrent_bias;
  d.states = cell.states;
  d.slots = cell.slots;
  d.x_first = cell.x_first;
  d.x_count = cell.x_count;
  d.phases = cell.phases;
  d.state_slot = {-1};
  if (cell.states > 1) d.state_slot.push_back(cell.state_slot);
  d.kernel_block.assign(static_cast<std::size_t>(cell.slots), -1);
  d.recurrent_block = d.kernel_block;
  const auto blocks = [&](std::vector<int>& of_slot, int first, int count) {
    for (int slot = first; slot < first + count; ++slot) of_slot[static_cast<std::size_t>(slot)] = cell.kernel_block[slot];
  };
  blocks(d.kernel_block, cell.x_first, cell.x_count);
  for (int p = 0; p < cell.phases; ++p) {
    const cells::Phase& phase = cell.phase[p];
    d.products.push_back({p, phase.first, phase.count, phase.input_slot < 0 ? 0 : -1, phase.input_slot});
    blocks(d.recurrent_block, phase.first, phase.count);
  }
  for (int k = 0; k < cell.peepholes; ++k)
    d.unit_weights.push_back(
        {cell.peephole[k].slot, cell.peephole[k].new_c ? UnitWeight::With::next : UnitWeight::With::previous, 1});
  return d;
}

}  // namespace rekur::recurrent
