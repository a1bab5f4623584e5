// Which product comes when, and the gradients: one graph with the forward pass.
#include "recurrent/program_builder.hpp"

#include <algorithm>

#include "io/text.hpp"
#include "kernels/steps.hpp"

namespace rekur::recurrent {

void ProgramBuilder::build() {
  find_outputs();
  if (cell_.projects) check_projection();
  find_phases();
  find_products();
  forward_nodes_ = static_cast<int>(full_.nodes().size());
  derive();
  lay_out();
  describe();
  forward_parts();
  backward_parts();
  for (const auto* parts : {&p_.inference_, &p_.training_, &p_.backward_})
    for (const Program::Part& part : *parts) p_.whole_rows_ = p_.whole_rows_ || part.reduces;
  p_.place_operands();
}

void ProgramBuilder::fail(const char* format, Parts parts) const {
  throw_error("cell '%': %", {cell_.name, compose(format, parts)});
}

Equations ProgramBuilder::equations(const CellProgram& cell) {
  Equations equations = cell.equations;
  for (const Source& source : cell.recurrent)
    if (source.state < 0) equations.outputs.push_back(source.value);
  return equations;
}

std::vector<Extent> ProgramBuilder::extents(const CellProgram& cell, const std::vector<bool>& step_rows) {
  std::vector<Extent> extents;
  for (const Role& role : cell.inputs)
    extents.push_back(role.kind == Role::step_input && step_rows[at(role.index)] ? Extent::row : Extent::feature);
  return extents;
}

void ProgramBuilder::find_outputs() {
  std::vector<int> outputs = full_.outputs();
  const std::size_t states = cell_.states.size();
  for (std::size_t k = states, b = 0; k < outputs.size(); ++k, ++b) {
    while (cell_.recurrent[b].state >= 0) ++b;
    if (full_.extent(outputs[k]) == Extent::constant) fail("the recurrent product '%' multiplies a constant", {cell_.products[b]});
  }
  for (int& value : outputs) value = full_.expanded(value);
  full_.set_outputs(outputs);
  next_.assign(outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(states));
  std::size_t value = states;
  for (const Source& source : cell_.recurrent) {
    sources_.push_back(source.state < 0 ? outputs[value++] : -1);
  }
}

void ProgramBuilder::check_projection() const {
  const int h = input_node(Role::state, 0);
  const auto reads = [&](int value) { return h >= 0 && value == h; };
  for (const Node& node : full_.nodes())
    if (std::any_of(std::begin(node.from), std::end(node.from), reads))
      fail("its equations read '%' unit by unit, so that it cannot be a projection to another width", {cell_.states[0]});
  for (const int value : next_)
    if (reads(value)) fail("a new state is '%' as it was, which is a projection to another width", {cell_.states[0]});
  if (full_.nodes()[at(next_[0])].op == Op::none)
    fail("its new '%' is an input or a constant, of which there is no projection", {cell_.states[0]});
  for (std::size_t b = 0; b < cell_.recurrent.size(); ++b)
    if (cell_.recurrent[b].state != 0)
      fail("the recurrent product '%' does not multiply '%', whose projection has another width than what it multiplies",
           {cell_.products[b], cell_.states[0]});
}

int ProgramBuilder::input_node(Role::Kind kind, int index) const {
  for (std::size_t i = 0; i < cell_.inputs.size(); ++i)
    if (cell_.inputs[i].kind == kind && cell_.inputs[i].index == index) return static_cast<int>(i);
  return -1;
}

int ProgramBuilder::phase_of(int node) {
  if (node < static_cast<int>(cell_.inputs.size()) && cell_.inputs[at(node)].kind == Role::product)
    return block_phase(cell_.inputs[at(node)].index);
  const auto found = phase_of_.find(node);
  if (found != phase_of_.end()) return found->second;
  int phase = -1;
  for (const int from : full_.nodes()[at(node)].from)
    if (from >= 0) phase = std::max(phase, phase_of(from));
  return phase_of_[node] = phase;
}

int ProgramBuilder::block_phase(int block) {
  int& phase = block_phase_[at(block)];
  if (phase == kUnderWay) fail("the recurrent product '%' depends on itself", {cell_.products[at(block)]});
  if (phase != kNotFound) return phase;
  phase = kUnderWay;
  const int source = sources_[at(block)];
  const int found = source < 0 ? 0 : std::max(phase_of(source), 0) + 1;
  return block_phase_[at(block)] = found;
}

void ProgramBuilder::find_phases() {
  block_phase_.assign(cell_.recurrent.size(), kNotFound);
  int phases = 1;
  for (std::size_t b = 0; b < cell_.recurrent.size(); ++b) phases = std::max(phases, block_phase(static_cast<int>(b)) + 1);
  const int most = kMostPhases + (p_.masks_[0] ? 1 : 0);  // a mask of what is multiplied makes a phase of the first products
  if (phases > most) fail("recurrent products of recurrent products, % deep; at most % are possible", {phases, most});
  phases_ = phases;
  d_.phases = phases + (cell_.projects ? 1 : 0);
}

void ProgramBuilder::find_products() {
  for (int phase = 0; phase < phases_; ++phase) {
    std::vector<bool> done(cell_.recurrent.size(), false);
    for (std::size_t b = 0; b < cell_.recurrent.size(); ++b) {
      if (done[b] || block_phase_[b] != phase) continue;
      const int state = cell_.recurrent[b].state, source = sources_[b];
      bool first = true;
      for (std::size_t other = b; other < cell_.recurrent.size(); ++other) {
        if (cell_.recurrent[other].state != state || sources_[other] != source) continue;
        done[other] = true;
        if (groups_.empty() || first || groups_.back().blocks.size() == kernels::kMostTogether)
          groups_.push_back({phase, state, source, !first, {}});
        first = false;
        groups_.back().blocks.push_back(static_cast<int>(other));
      }
    }
  }
  if (cell_.projects) groups_.push_back({phases_, -1, next_[0], false, {}, true});
}

void ProgramBuilder::derive() {
  d_kernel_.assign(at(cell_.kernel_blocks), -1);
  d_product_.assign(cell_.recurrent.size(), -1);
  d_state_.assign(cell_.states.size(), -1);
  d_weight_.assign(at(cell_.unit_weights), -1);
  d_step_.assign(at(cell_.step_inputs), -1);
#if REKUR_TRAINING
  std::vector<int> outputs(next_.begin() + (cell_.projects ? 1 : 0), next_.end()), arriving;
  for (std::size_t k = cell_.projects ? 1 : 0; k < next_.size(); ++k) {
    const int d = full_.input(Extent::feature);
    arrived_.push_back({d, {Place::d_state, static_cast<int>(k)}});
    if (k > 0) {
      arriving.push_back(d);
      continue;
    }
    const int dy = full_.input(Extent::feature);
    arrived_.push_back({dy, {Place::dy, 0}});
    arriving.push_back(full_.add(Op::add, d, dy));
  }
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (groups_[g].source < 0 || groups_[g].continues) continue;
    const int d = full_.input(Extent::feature);
    arrived_.push_back({d, {Place::d_source, static_cast<int>(g)}});
    outputs.push_back(groups_[g].source);
    arriving.push_back(d);
  }
  full_.set_outputs(outputs);
  const std::vector<int> gradients = full_.derive(arriving);
  for (std::size_t i = 0; i < cell_.inputs.size(); ++i) {
    const Role& role = cell_.inputs[i];
    if (role.kind > Role::step_input) continue;
    std::vector<int>* const of[] = {&d_kernel_, &d_product_, &d_state_, &d_weight_, &d_step_};
    (*of[role.kind])[at(role.index)] = gradients[i];
  }
  for (auto* of : {&d_kernel_, &d_product_, &d_state_, &d_weight_, &d_step_})
    for (int& d : *of)
      if (d < 0) d = full_.constant(0);
#endif
}

Program::Program(const CellProgram& cell, const std::vector<bool>& step_rows) { ProgramBuilder(cell, step_rows, *this).build(); }

}  // namespace rekur::recurrent
