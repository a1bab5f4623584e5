// The parts that carry a step out: equations for what is wanted, from what is given.
#include "recurrent/program_builder.hpp"

#include <algorithm>

namespace rekur::recurrent {

using equations::reduces;

Program::Part ProgramBuilder::make(const std::vector<Given>& given, const std::vector<Wanted>& wanted) const {
  std::map<int, Stand> known;
  for (const Given& g : given) known.emplace(g.node, g.stand);
  std::vector<bool> reached(full_.nodes().size(), false);
  std::vector<int> open;
  const auto visit = [&](int node) {
    if (node < 0 || reached[at(node)]) return;
    reached[at(node)] = true;
    if (known.find(node) == known.end()) open.push_back(node);
  };
  for (const Wanted& w : wanted) visit(w.node);
  while (!open.empty()) {
    const Node& node = full_.nodes()[at(open.back())];
    open.pop_back();
    if (node.op == Op::none && !node.constant) throw Error("a cell's equations read what is not there");
    for (const int from : node.from) visit(from);
  }
  Program::Part part;
  Graph graph({}, {});
  std::vector<int> number(full_.nodes().size(), -1);
  for (std::size_t n = 0; n < reached.size(); ++n) {
    if (!reached[n]) continue;
    const Node& node = full_.nodes()[n];
    const auto found = known.find(static_cast<int>(n));
    if (found != known.end() && !node.constant) {
      number[n] = graph.input(full_.extent(static_cast<int>(n)));
      part.inputs.push_back(found->second);
    } else if (node.constant) {
      number[n] = graph.constant(node.value);
    } else {
      const auto operand = [&](std::size_t i) { return node.from[i] < 0 ? -1 : number[at(node.from[i])]; };
      number[n] = graph.add(node.op, operand(0), operand(1), operand(2), node.f);
      part.reduces = part.reduces || reduces(node.op);
    }
  }
  std::vector<equations::Wanted> results;
  for (const Wanted& w : wanted) {
    const auto same = std::find(part.inputs.begin(), part.inputs.end(), w.stand);
    results.push_back(
        {.value = number[at(w.node)], .over = same == part.inputs.end() ? -1 : static_cast<int>(same - part.inputs.begin())});
    part.outputs.push_back(w.stand);
  }
  part.code = equations::Code(graph, results, carried(part));
  return part;
}

std::vector<equations::Carried> ProgramBuilder::carried(const Program::Part& part) const {
  std::vector<equations::Carried> found;
  if (!groups_.empty() || cell_.projects) return found;
  for (std::size_t k = 0; k < part.outputs.size(); ++k)
    for (std::size_t i = 0; i < part.inputs.size(); ++i) {
      const Stand &to = part.outputs[k], &from = part.inputs[i];
      const bool forward = to.place == Place::after && from.place == Place::before;
      const bool backward = to.place == from.place && (to.place == Place::d_state || to.place == Place::unit_sum);
      if ((forward || backward) && to.index == from.index) found.push_back({static_cast<int>(k), static_cast<int>(i)});
    }
  return found;
}

std::vector<ProgramBuilder::Given> ProgramBuilder::inputs_of(bool backward) const {
  std::vector<Given> given;
  for (std::size_t i = 0; i < cell_.inputs.size(); ++i) {
    const Role& role = cell_.inputs[i];
    const int node = static_cast<int>(i);
    switch (role.kind) {
      case Role::kernel:
        if (!backward) given.push_back({node, {Place::input, kernel_slot_[at(role.index)] - d_.x_first}});
        break;
      case Role::product:
        if (!backward) given.push_back({node, {Place::product, position_[at(role.index)]}});
        break;
      case Role::state:
        given.push_back({node, {backward ? Place::previous : Place::before, role.index}});
        break;
      case Role::weight:
        given.push_back({node, {Place::weight, role.index}});
        break;
      case Role::step_input:
        given.push_back({node, {Place::step, role.index}});
        break;
      case Role::sequence_mask:
        given.push_back({node, {Place::sequence_mask, role.index}});
        break;
      case Role::step_mask:
        given.push_back({node, {Place::step_mask, role.index}});
        break;
    }
  }
  return given;
}

void ProgramBuilder::forward_parts() {
  for (const bool training : {false, true}) {
#if !REKUR_TRAINING
    if (training) break;
#endif
    std::vector<Given> given = inputs_of(false);
    for (int phase = 0; phase < phases_; ++phase) {
      std::vector<Wanted> wanted;
      const auto keep = [&](int node, int slot) {
        const auto known = std::find_if(given.begin(), given.end(), [&](const Given& g) { return g.node == node; });
        if (known != given.end() && known->stand.place == Place::slot) return;
        wanted.push_back({node, {Place::slot, slot}});
      };
      const bool last = phase + 1 == phases_;
      for (const auto& [node, slot] : kept_)
        if (last ? training || (cell_.projects && node == next_[0]) : std::max(phase_of(node), 0) == phase) keep(node, slot);
      for (const auto& [node, slot] : saved_)
        if (training && (last || std::max(phase_of(node), 0) == phase)) keep(node, slot);
      for (const auto& [node, place] : numbers_)
        if (training && std::max(phase_of(node), 0) == phase) wanted.push_back({node, {Place::number, place}});
      if (last) {
        for (std::size_t k = 0; k < next_.size(); ++k) {
          const int state = static_cast<int>(k);
          if (k == 0 && cell_.projects) continue;
          wanted.push_back({next_[k], {Place::after, state}});
          if (k == 0) wanted.push_back({next_[k], {Place::y, 0}});
          if (k > 0 && training) wanted.push_back({next_[k], {Place::slot, d_.state_slot[k]}});
        }
      }
      (training ? p_.training_ : p_.inference_).push_back(make(given, wanted));
      for (const Wanted& w : wanted)
        if ((w.stand.place == Place::slot || w.stand.place == Place::number) && full_.nodes()[at(w.node)].op != Op::none)
          given.insert(given.begin(), {w.node, w.stand});
    }
  }
}

std::vector<ProgramBuilder::Wanted> ProgramBuilder::gradients_of(int phase) const {
  std::vector<Wanted> wanted;
  std::vector<bool> done(at(gradient_slots_), false);
  const auto leave = [&](int node, int slot, bool now) {
    if (!done[at(slot)] && now) wanted.push_back({node, {Place::slot, slot}});
    done[at(slot)] = true;
  };
  for (int p = phases_ - 1; p >= phase; --p)
    for (const Group& group : groups_)
      if (group.phase == p)
        for (const int block : group.blocks) leave(d_product_[at(block)], product_slot_[at(block)], p == phase);
  if (phase > 0) return wanted;
  for (std::size_t x = 0; x < d_kernel_.size(); ++x) leave(d_kernel_[x], kernel_slot_[x], true);
  std::sort(wanted.begin(), wanted.end(), [](const Wanted& a, const Wanted& b) { return a.node < b.node; });
  for (const UnitSum& sum : unit_sum_)
    if (sum.value >= 0) wanted.push_back({sum.value, {Place::unit_sum, sum.place}});
  for (std::size_t k = cell_.projects ? 1 : 0; k < d_state_.size(); ++k)
    wanted.push_back({d_state_[k], {Place::d_state, static_cast<int>(k)}});
  for (std::size_t i = 0; i < d_step_.size(); ++i) {
    if (full_.extent(d_step_[i]) != Extent::constant) wanted.push_back({d_step_[i], {Place::d_step, static_cast<int>(i)}});
  }
  return wanted;
}

void ProgramBuilder::backward_parts() {
#if REKUR_TRAINING
  std::vector<Given> given = inputs_of(true);
  const auto compute = [&](int node) { return full_.nodes()[at(node)].op != Op::none; };
  for (std::size_t k = cell_.projects ? 1 : 0; k < next_.size(); ++k)
    if (compute(next_[k])) given.push_back({next_[k], k == 0 ? Stand{Place::h, 0} : Stand{Place::slot, d_.state_slot[k]}});
  for (const auto& [node, slot] : kept_) given.push_back({node, {Place::slot, slot}});
  for (const auto& [node, slot] : saved_) given.push_back({node, {Place::slot, slot}});
  for (const auto& [node, place] : numbers_) given.push_back({node, {Place::number, place}});
  given.insert(given.end(), arrived_.begin(), arrived_.end());
  p_.backward_.resize(at(phases_));
  for (int phase = phases_ - 1; phase >= 0; --phase) {
    const std::vector<Wanted> wanted = gradients_of(phase);
    p_.backward_[at(phase)] = make(given, wanted);
    for (const Wanted& w : wanted)
      if (w.stand.place == Place::slot && compute(w.node)) given.push_back({w.node, w.stand});
  }
#endif
}

}  // namespace rekur::recurrent
