// From the equations of a step to the parts that carry it out: which product comes when, what the tape keeps, and where the
// backward pass leaves the gradients that the large products read.
#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "io/text.hpp"
#include "kernels/steps.hpp"
#include "recurrent/program.hpp"

namespace rekur::recurrent {

using equations::costly;
using equations::Equations;
using equations::Extent;
using equations::Graph;
using equations::Node;
using equations::Op;
using equations::reduces;

namespace {

constexpr int kMostSlots = 256;

std::size_t at(int index) { return static_cast<std::size_t>(index); }

}  // namespace

class ProgramBuilder {
 public:
  ProgramBuilder(const CellProgram& cell, const std::vector<bool>& step_rows, Program& program)
      : cell_(cell), p_(program), d_(program.description_), full_(equations(cell), extents(cell, step_rows)) {
    p_.step_rows_ = step_rows;
    p_.masks_.assign(kMostMasks, false);
    for (const Role& role : cell.inputs) {
      if (role.kind == Role::sequence_mask) p_.masks_[0] = true;
      if (role.kind == Role::step_mask) p_.masks_[at(1 + role.index)] = true;
    }
  }

  void build() {
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
  }

 private:
  using Place = Program::Place;
  using Stand = Program::Stand;

  struct Given {
    int node;
    Stand stand;
  };

  [[noreturn]] void fail(const char* format, Parts parts) const {
    throw_error("cell '%': %", {cell_.name, compose(format, parts)});
  }

  // The cell's equations with the values that are multiplied as further outputs.
  static Equations equations(const CellProgram& cell) {
    Equations equations = cell.equations;
    for (const Source& source : cell.recurrent)
      if (source.state < 0) equations.outputs.push_back(source.value);
    return equations;
  }

  static std::vector<Extent> extents(const CellProgram& cell, const std::vector<bool>& step_rows) {
    std::vector<Extent> extents;
    for (const Role& role : cell.inputs)
      extents.push_back(role.kind == Role::step_input && step_rows[at(role.index)] ? Extent::row : Extent::feature);
    return extents;
  }

  // --- what there is ---

  void find_outputs() {
    std::vector<int> outputs = full_.outputs();
    const std::size_t states = cell_.states.size();
    for (std::size_t k = states, b = 0; k < outputs.size(); ++k, ++b) {
      while (cell_.recurrent[b].state >= 0) ++b;
      if (full_.extent(outputs[k]) == Extent::constant)
        fail("the recurrent product '%' multiplies a constant", {cell_.products[b]});
    }
    for (int& value : outputs) value = full_.expanded(value);
    full_.set_outputs(outputs);
    next_.assign(outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(states));
    std::size_t value = states;
    for (const Source& source : cell_.recurrent) {
      sources_.push_back(source.state < 0 ? outputs[value++] : -1);
    }
  }

  // Whose width is another can only be multiplied.
  void check_projection() const {
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

  int input_node(Role::Kind kind, int index) const {
    for (std::size_t i = 0; i < cell_.inputs.size(); ++i)
      if (cell_.inputs[i].kind == kind && cell_.inputs[i].index == index) return static_cast<int>(i);
    return -1;
  }

  // The last phase whose recurrent products a value depends on; -1: on none.
  int phase_of(int node) {
    if (node < static_cast<int>(cell_.inputs.size()) && cell_.inputs[at(node)].kind == Role::product)
      return block_phase(cell_.inputs[at(node)].index);
    const auto found = phase_of_.find(node);
    if (found != phase_of_.end()) return found->second;
    int phase = -1;
    for (const int from : full_.nodes()[at(node)].from)
      if (from >= 0) phase = std::max(phase, phase_of(from));
    return phase_of_[node] = phase;
  }

  int block_phase(int block) {
    int& phase = block_phase_[at(block)];
    if (phase == kUnderWay) fail("the recurrent product '%' depends on itself", {cell_.products[at(block)]});
    if (phase != kNotFound) return phase;
    phase = kUnderWay;
    const int source = sources_[at(block)];
    const int found = source < 0 ? 0 : std::max(phase_of(source), 0) + 1;
    return block_phase_[at(block)] = found;
  }

  void find_phases() {
    block_phase_.assign(cell_.recurrent.size(), kNotFound);
    int phases = 1;
    for (std::size_t b = 0; b < cell_.recurrent.size(); ++b) phases = std::max(phases, block_phase(static_cast<int>(b)) + 1);
    const int most = kMostPhases + (p_.masks_[0] ? 1 : 0);  // a mask of what is multiplied makes a phase of the first products
    if (phases > most) fail("recurrent products of recurrent products, % deep; at most % are possible", {phases, most});
    phases_ = phases;
    d_.phases = phases + (cell_.projects ? 1 : 0);
  }

  // Blocks with the same source, together as far as the kernels take them.
  void find_products() {
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

  // --- gradients ---

  // The values that are multiplied, each once, and the first product that multiplies each.
  void derive() {
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

  // --- the record ---

  // The input's blocks, then those that a product shares with it and its other ones; on their other side those of a second product.
  // The blocks of a product, and those of the input, stand side by side. Everything else has slots of its own.
  void lay_out() {
    kernel_slot_.assign(at(cell_.kernel_blocks), -1);
    product_slot_.assign(cell_.recurrent.size(), -1);
    const auto shared_with = [&](const Group& group) {
      std::vector<std::pair<int, int>> pairs;  // blocks of the product and of the input with the same gradient
      std::vector<bool> taken(at(cell_.kernel_blocks), false);
      for (const int block : group.blocks)
        for (int x = 0; x < cell_.kernel_blocks; ++x)
          if (d_product_[at(block)] >= 0 && !taken[at(x)] && d_product_[at(block)] == d_kernel_[at(x)]) {
            taken[at(x)] = true;
            pairs.emplace_back(block, x);
            break;
          }
      return pairs;
    };
    std::size_t right = groups_.size(), left = groups_.size();
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      const std::size_t shared = shared_with(groups_[g]).size();
      if (shared == 0) continue;
      if (right == groups_.size() || shared > shared_with(groups_[right]).size())
        left = right, right = g;
      else if (left == groups_.size() || shared > shared_with(groups_[left]).size())
        left = g;
    }
    const auto place = [&](int& slot) { slot = slots_++; };
    std::vector<std::pair<int, int>> beside_right, beside_left;
    if (right < groups_.size()) beside_right = shared_with(groups_[right]);
    if (left < groups_.size()) beside_left = shared_with(groups_[left]);
    const auto among = [](const auto& pairs, int x, bool input) {
      return std::any_of(pairs.begin(), pairs.end(), [&](const auto& pair) { return (input ? pair.second : pair.first) == x; });
    };
    std::erase_if(beside_left, [&](const auto& pair) { return among(beside_right, pair.second, true); });
    if (left < groups_.size())
      for (const int block : groups_[left].blocks)
        if (!among(beside_left, block, false)) place(product_slot_[at(block)]);
    d_.x_first = slots_;
    d_.x_count = cell_.kernel_blocks;
    const auto share = [&](const std::vector<std::pair<int, int>>& pairs) {
      for (int x = 0; x < cell_.kernel_blocks; ++x)
        for (const auto& [block, shared] : pairs)
          if (shared == x) {
            place(kernel_slot_[at(x)]);
            product_slot_[at(block)] = kernel_slot_[at(x)];
          }
    };
    share(beside_left);
    for (int x = 0; x < cell_.kernel_blocks; ++x)
      if (!among(beside_left, x, true) && !among(beside_right, x, true)) place(kernel_slot_[at(x)]);
    share(beside_right);
    for (std::size_t pass = 0; pass < 2; ++pass)  // the product beside the input, then all others
      for (std::size_t g = 0; g < groups_.size(); ++g)
        if ((g == right) == (pass == 0))
          for (const int block : groups_[g].blocks)
            if (product_slot_[at(block)] < 0) place(product_slot_[at(block)]);
    gradient_slots_ = slots_;
    for (std::size_t k = 0; k < cell_.states.size(); ++k) d_.state_slot.push_back(k == 0 ? -1 : slots_++);
    for (const Group& group : groups_)
      if (group.source >= 0 && kept_.find(group.source) == kept_.end()) kept_[group.source] = slots_++;
    if (cell_.projects) projection_slot_ = slots_++;
#if REKUR_TRAINING
    for (const int d : d_weight_) weight_slot_.push_back(gradient_slot(d) >= 0 ? gradient_slot(d) : slots_++);
    choose_saved();
    place_saved();
#endif
    if (slots_ > kMostSlots) fail("its tape would need % numbers a unit and step; at most % are possible", {slots_, kMostSlots});
  }

  // The slot of the input's or a product's blocks where a gradient is left; -1: none.
  int gradient_slot(int node) const {
    for (std::size_t x = 0; x < d_kernel_.size(); ++x)
      if (d_kernel_[x] == node) return kernel_slot_[x];
    for (std::size_t b = 0; b < d_product_.size(); ++b)
      if (d_product_[b] == node) return product_slot_[b];
    return -1;
  }

#if REKUR_TRAINING
  // What the backward pass finds without its being kept for that.
  bool is_free(int node) const {
    const Node& n = full_.nodes()[at(node)];
    if (n.constant) return true;
    if (node < static_cast<int>(cell_.inputs.size())) {
      const Role::Kind kind = cell_.inputs[at(node)].kind;
      return kind != Role::kernel && kind != Role::product;
    }
    return kept_.find(node) != kept_.end() || std::find(next_.begin(), next_.end(), node) != next_.end();
  }

  bool recomputable(int node) const {
    if (is_free(node) || saved_.find(node) != saved_.end()) return true;
    const Node& n = full_.nodes()[at(node)];
    if (n.op == Op::none || (costly(n.op) && full_.extent(node) == Extent::feature)) return false;
    for (const int from : n.from)
      if (from >= 0 && !recomputable(from)) return false;
    return true;
  }

  void save(int node) { saved_.emplace(node, -1); }

  // What must be there for a value that the backward pass reads.
  void ensure(int node, bool only_costly) {
    if (recomputable(node)) return;
    const Node& n = full_.nodes()[at(node)];
    if (full_.extent(node) == Extent::row) {  // a slot is for numbers a feature
      for (const int from : n.from)
        if (from >= 0) ensure(from, only_costly);
    } else if (n.op == Op::none || costly(n.op) || !only_costly) {
      save(node);
    }
  }

  // What the gradients read of the forward pass: what is costly to compute first, then what cannot be computed from that.
  void choose_saved() {
    std::vector<bool> seen(full_.nodes().size(), false);
    std::vector<int> read, open;
    const auto visit = [&](int node) {
      if (node < 0 || seen[at(node)]) return;
      seen[at(node)] = true;
      (node < forward_nodes_ ? read : open).push_back(node);
    };
    for (const auto* of : {&d_kernel_, &d_product_, &d_state_, &d_weight_, &d_step_})
      for (const int d : *of) visit(d);
    while (!open.empty()) {
      const int node = open.back();
      open.pop_back();
      for (const int from : full_.nodes()[at(node)].from) visit(from);
    }
    std::sort(read.begin(), read.end());
    for (const bool only_costly : {true, false})
      for (const int node : read) ensure(node, only_costly);
  }

  // A value that is kept takes the place of a gradient that is left once nobody reads the value any more. Parts run from the last
  // phase to the first.
  void place_saved() {
    struct Use {
      int part = std::numeric_limits<int>::max(), last = -1;
    };
    std::map<int, Use> uses;
    for (const auto& [node, slot] : saved_) uses[node] = {};
    std::vector<std::pair<int, int>> left;  // gradients by part, and where they are made
    for (int phase = phases_ - 1; phase >= 0; --phase) {
      std::vector<bool> seen(full_.nodes().size(), false);
      std::vector<int> open;
      const auto visit = [&](int node, int reader) {
        const auto use = uses.find(node);
        if (use != uses.end()) {
          if (use->second.part > phase) use->second = {phase, -1};
          use->second.last = std::max(use->second.last, reader);
          return;
        }
        if (seen[at(node)]) return;
        seen[at(node)] = true;
        open.push_back(node);
      };
      for (const Wanted& wanted : gradients_of(phase)) visit(wanted.node, std::numeric_limits<int>::max() - 1);
      while (!open.empty()) {
        const int node = open.back();
        open.pop_back();
        if (is_free(node)) continue;
        for (const int from : full_.nodes()[at(node)].from)
          if (from >= 0) visit(from, node);
      }
    }
    std::vector<bool> taken(at(gradient_slots_), false);
    for (int phase = phases_ - 1; phase >= 0; --phase) {
      for (const Wanted& wanted : gradients_of(phase)) {
        if (wanted.stand.place != Place::slot || wanted.stand.index >= gradient_slots_ || taken[at(wanted.stand.index)]) continue;
        std::map<int, Use>::iterator best = uses.end();
        const auto better = [&](const Use& a, const Use& b) {  // ended before the gradient is made, and then late
          const bool a_ended = a.last <= wanted.node, b_ended = b.last <= wanted.node;
          return a_ended != b_ended ? a_ended : a_ended ? a.last > b.last : a.last < b.last;
        };
        for (auto use = uses.begin(); use != uses.end(); ++use)
          if (use->second.part >= phase && (best == uses.end() || better(use->second, best->second))) best = use;
        if (best == uses.end()) continue;
        taken[at(wanted.stand.index)] = true;
        saved_[best->first] = wanted.stand.index;
        uses.erase(best);
      }
    }
    for (const auto& [node, use] : uses) saved_[node] = slots_++;
  }
#endif

  void describe() {
    d_.kernel_blocks = cell_.kernel_blocks;
    d_.recurrent_blocks = static_cast<int>(cell_.recurrent.size());
    d_.recurrent_bias = cell_.recurrent_bias && d_.recurrent_blocks > 0;
    d_.states = static_cast<int>(cell_.states.size());
    d_.projects = cell_.projects;
    d_.slots = std::max(slots_, 1);
    d_.kernel_block.assign(at(d_.slots), -1);
    d_.recurrent_block = d_.kernel_block;
    for (int x = 0; x < cell_.kernel_blocks; ++x) d_.kernel_block[at(kernel_slot_[at(x)])] = x;
    int position = 0;
    position_.assign(cell_.recurrent.size(), 0);
    for (const Group& group : groups_) {
      if (group.projects) {
        d_.products.push_back({group.phase, projection_slot_, 1, -1, kept_.at(group.source), false, true});
        continue;
      }
      int first = std::numeric_limits<int>::max();
      for (const int block : group.blocks) {
        d_.recurrent_block[at(product_slot_[at(block)])] = block;
        first = std::min(first, product_slot_[at(block)]);
      }
      for (const int block : group.blocks) position_[at(block)] = position + product_slot_[at(block)] - first;
      const int count = static_cast<int>(group.blocks.size());
      position += count;
      d_.products.push_back({group.phase, first, count, group.source < 0 ? group.state : -1,
                             group.source < 0 ? -1 : kept_.at(group.source), group.continues});
    }
    p_.product_blocks_ = position;
    for (const int slot : weight_slot_) d_.unit_weights.push_back({slot, UnitWeight::With::one});
    d_.unit_weights.resize(at(cell_.unit_weights), {0, UnitWeight::With::one});
  }

  // --- the parts ---

  struct Wanted {
    int node;
    Stand stand;
  };

  // Equations for what is wanted, from what is given.
  Program::Part make(const std::vector<Given>& given, const std::vector<Wanted>& wanted) const {
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

  // States that a step hands to the next one, where no product stands between the two.
  std::vector<equations::Carried> carried(const Program::Part& part) const {
    std::vector<equations::Carried> found;
    if (!groups_.empty() || cell_.projects) return found;
    for (std::size_t k = 0; k < part.outputs.size(); ++k)
      for (std::size_t i = 0; i < part.inputs.size(); ++i) {
        const Stand &to = part.outputs[k], &from = part.inputs[i];
        const bool forward = to.place == Place::after && from.place == Place::before;
        const bool backward = to.place == Place::d_state && from.place == Place::d_state;
        if ((forward || backward) && to.index == from.index) found.push_back({static_cast<int>(k), static_cast<int>(i)});
      }
    return found;
  }

  std::vector<Given> inputs_of(bool backward) const {
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

  void forward_parts() {
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
          if (w.stand.place == Place::slot && full_.nodes()[at(w.node)].op != Op::none)
            given.insert(given.begin(), {w.node, w.stand});
      }
    }
  }

  // What the backward part of a phase leaves. The same gradient may be wanted in several slots.
  std::vector<Wanted> gradients_of(int phase) const {
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
    for (std::size_t w = 0; w < weight_slot_.size(); ++w)
      if (weight_slot_[w] >= gradient_slots_) wanted.push_back({d_weight_[w], {Place::slot, weight_slot_[w]}});
    for (std::size_t k = cell_.projects ? 1 : 0; k < d_state_.size(); ++k)
      wanted.push_back({d_state_[k], {Place::d_state, static_cast<int>(k)}});
    for (std::size_t i = 0; i < d_step_.size(); ++i) {
      if (full_.extent(d_step_[i]) != Extent::constant) wanted.push_back({d_step_[i], {Place::d_step, static_cast<int>(i)}});
    }
    return wanted;
  }

  void backward_parts() {
#if REKUR_TRAINING
    std::vector<Given> given = inputs_of(true);
    const auto compute = [&](int node) { return full_.nodes()[at(node)].op != Op::none; };
    for (std::size_t k = cell_.projects ? 1 : 0; k < next_.size(); ++k)
      if (compute(next_[k])) given.push_back({next_[k], k == 0 ? Stand{Place::h, 0} : Stand{Place::slot, d_.state_slot[k]}});
    for (const auto& [node, slot] : kept_) given.push_back({node, {Place::slot, slot}});
    for (const auto& [node, slot] : saved_) given.push_back({node, {Place::slot, slot}});
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

  static constexpr int kNotFound = -1, kUnderWay = -2;

  struct Group {
    int phase, state, source;  // source: a value, or -1
    bool continues;
    std::vector<int> blocks;  // of the recurrent kernel
    bool projects = false;    // its weights are the projection instead
  };

  const CellProgram& cell_;
  Program& p_;
  Description& d_;
  Graph full_;
  int phases_ = 1;  // that have equations
  int forward_nodes_ = 0, slots_ = 0, gradient_slots_ = 0, projection_slot_ = -1;
  std::vector<int> next_, sources_;  // values: of the new states; by block of the recurrent kernel, what it multiplies, or -1
  std::map<int, int> phase_of_;
  std::vector<int> block_phase_, position_;
  std::vector<Group> groups_;
  std::vector<Given> arrived_;
  std::vector<int> d_kernel_, d_product_, d_state_, d_weight_, d_step_;  // gradients, as values
  std::vector<int> kernel_slot_, product_slot_, weight_slot_;
  std::map<int, int> kept_, saved_;  // slots: of values that are multiplied, and of those that the backward pass reads
};

Program::Program(const CellProgram& cell, const std::vector<bool>& step_rows) { ProgramBuilder(cell, step_rows, *this).build(); }

}  // namespace rekur::recurrent
