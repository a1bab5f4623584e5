// What the tape keeps, and where the backward pass leaves the gradients that the large products read.
#include "recurrent/program_builder.hpp"

#include <algorithm>
#include <limits>

#include "io/text.hpp"

namespace rekur::recurrent {

using equations::costly;

namespace {

constexpr int kMostSlots = 256;

}  // namespace

void ProgramBuilder::lay_out() {
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
  add_up_weights();
  choose_saved();
  place_saved();
#endif
  if (slots_ > kMostSlots) fail("its tape would need % numbers a unit and step; at most % are possible", {slots_, kMostSlots});
}

#if REKUR_TRAINING
void ProgramBuilder::add_up_weights() {
  for (const int d : d_weight_) {
    weight_slot_.push_back(gradient_slot(d));
    UnitSum& sum = unit_sum_.emplace_back();
    if (weight_slot_.back() >= 0) continue;
    sum.place = d_.swept++;
    if (full_.extent(d) == Extent::constant) continue;
    const int so_far = full_.input(Extent::feature);
    arrived_.push_back({so_far, {Place::unit_sum, sum.place}});
    sum.value = full_.add(Op::add, so_far, d);
  }
}
#endif

int ProgramBuilder::gradient_slot(int node) const {
  for (std::size_t x = 0; x < d_kernel_.size(); ++x)
    if (d_kernel_[x] == node) return kernel_slot_[x];
  for (std::size_t b = 0; b < d_product_.size(); ++b)
    if (d_product_[b] == node) return product_slot_[b];
  return -1;
}

#if REKUR_TRAINING
bool ProgramBuilder::is_free(int node) const {
  const Node& n = full_.nodes()[at(node)];
  if (n.constant) return true;
  if (node < static_cast<int>(cell_.inputs.size())) {
    const Role::Kind kind = cell_.inputs[at(node)].kind;
    return kind != Role::kernel && kind != Role::product;
  }
  return kept_.find(node) != kept_.end() || numbers_.find(node) != numbers_.end() ||
         std::find(next_.begin(), next_.end(), node) != next_.end();
}

bool ProgramBuilder::recomputable(int node) const {
  if (is_free(node) || saved_.find(node) != saved_.end()) return true;
  const Node& n = full_.nodes()[at(node)];
  if (n.op == Op::none || (costly(n.op) && full_.extent(node) == Extent::feature)) return false;
  for (const int from : n.from)
    if (from >= 0 && !recomputable(from)) return false;
  return true;
}

void ProgramBuilder::ensure(int node, bool only_costly) {
  if (recomputable(node)) return;
  const Node& n = full_.nodes()[at(node)];
  if (full_.extent(node) == Extent::row) {
    numbers_.emplace(node, static_cast<int>(numbers_.size()));
  } else if (n.op == Op::none || costly(n.op) || !only_costly) {
    save(node);
  }
}

void ProgramBuilder::choose_saved() {
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

void ProgramBuilder::place_saved() {
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
void ProgramBuilder::describe() {
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
  for (std::size_t w = 0; w < weight_slot_.size(); ++w)
    if (weight_slot_[w] >= 0)
      d_.unit_weights.push_back({weight_slot_[w], UnitWeight::With::one});
    else
      d_.unit_weights.push_back({unit_sum_[w].place, UnitWeight::With::swept});
  d_.unit_weights.resize(at(cell_.unit_weights), {0, UnitWeight::With::one});
  d_.numbers = static_cast<int>(numbers_.size());
}

}  // namespace rekur::recurrent
