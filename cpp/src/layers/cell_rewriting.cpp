#include "layers/cell_rewriting.hpp"

#if REKUR_EQUATIONS

#include <algorithm>
#include <vector>

#include "layers/cell_writer.hpp"

namespace rekur::layers {
namespace {

using equations::Node;
using equations::Op;
using recurrent::CellProgram;
using recurrent::Role;
using recurrent::Source;

std::size_t at(int index) { return static_cast<std::size_t>(index); }

class Rewriting {
 public:
  Rewriting(const CellProgram& cell, const CellOptions& options, Form form, bool bias, int output_reads)
      : from_(cell), o_(options), training_(form == Form::training), bias_(bias), output_reads_(output_reads), w_(to_) {}

  CellProgram write() {
    to_.name = from_.name;
    to_.states = from_.states;
    to_.kernel_blocks = from_.kernel_blocks;
    to_.step_inputs = from_.step_inputs;
    to_.products = from_.products;
    to_.forget_block = from_.forget_block;
    to_.recurrent_bias = from_.recurrent_bias && !o_.normalize_sums;
    value_.assign(from_.equations.nodes.size(), -1);
    inputs();
    const int count = static_cast<int>(from_.inputs.size());
    for (int v = count; v < static_cast<int>(from_.equations.nodes.size()); ++v) {
      Node node = from_.equations.nodes[at(v)];
      for (int& operand : node.from)
        if (operand >= 0) operand = read(operand);
      value_[at(v)] = w_.append(node);
      if (new_value_of(v) >= 0) finish_state(v);
    }
    outputs();
    sources();
    return std::move(to_);
  }

 private:
  // --- inputs ---

  int weight(const std::string& name) { return w_.input(name, {Role::weight, to_.unit_weights++}); }

  void inputs() {
    std::vector<int> cells_own;
    for (std::size_t i = 0; i < from_.inputs.size(); ++i) {
      value_[i] = w_.input(from_.equations.inputs[i], from_.inputs[i]);
      if (from_.inputs[i].kind == Role::weight) cells_own.push_back(static_cast<int>(i));
    }
    const int X = from_.kernel_blocks, R = static_cast<int>(from_.recurrent.size());
    const auto weights = [&](std::vector<int>& of, const char* name, int blocks) {
      for (int k = 0; k < blocks; ++k) of.push_back(weight(name + std::to_string(k)));
    };
    if (o_.normalize_sums && bias_) {
      weights(kernel_bias_, "bias.", X);
      if (from_.recurrent_bias) weights(recurrent_bias_, "recurrent_bias.", R);
    }
    for (const int input : cells_own) to_.inputs[at(input)].index += to_.unit_weights;
    to_.unit_weights += from_.unit_weights;
    if (o_.normalize_sums) {
      weights(kernel_gamma_, "kernel_gamma.", X);
      weights(recurrent_gamma_, "recurrent_gamma.", R);
    }
    if (o_.normalize_state) {
      state_gamma_ = weight("state_gamma");
      state_beta_ = weight("state_beta");
    }
    if (!training_) return;
    for (int b = 0; b < R && o_.recurrent_dropout > 0; ++b)
      dropped_.push_back(w_.input("recurrent_mask." + std::to_string(b), {Role::sequence_mask, b}));
    for (int k = 0; k < static_cast<int>(from_.states.size()); ++k)
      zoned_.push_back(zoneout(k) > 0 ? w_.input("zoneout_mask." + std::to_string(k), {Role::step_mask, k}) : -1);
  }

  float zoneout(int state) const { return o_.zoneout.empty() ? 0 : o_.zoneout[at(state)]; }

  // --- sums ---

  // What stands for a value where another one reads it.
  int read(int value) {
    if (value >= static_cast<int>(from_.inputs.size()) || !o_.normalize_sums) return value_[at(value)];
    const Role& role = from_.inputs[at(value)];
    const bool sum = role.kind == Role::kernel || role.kind == Role::product;
    if (sum && std::find(normalized_.begin(), normalized_.end(), value) == normalized_.end()) normalize_sums_with(role);
    return value_[at(value)];
  }

  // All blocks of the input's product together; of recurrent products those that multiply the same.
  void normalize_sums_with(const Role& role) {
    std::vector<int> values, gammas, betas;
    for (std::size_t i = 0; i < from_.inputs.size(); ++i) {
      const Role& other = from_.inputs[i];
      if (other.kind != role.kind) continue;
      const bool kernel = role.kind == Role::kernel;
      if (!kernel && !same_source(from_.recurrent[at(other.index)], from_.recurrent[at(role.index)])) continue;
      const std::vector<int>& betas_of = kernel ? kernel_bias_ : recurrent_bias_;
      values.push_back(static_cast<int>(i));
      gammas.push_back((kernel ? kernel_gamma_ : recurrent_gamma_)[at(other.index)]);
      betas.push_back(betas_of.empty() ? -1 : betas_of[at(other.index)]);
    }
    normalized_.insert(normalized_.end(), values.begin(), values.end());
    std::vector<int> of;
    for (const int value : values) of.push_back(value_[at(value)]);
    const std::vector<int> after = normalize(of, gammas, betas);
    for (std::size_t k = 0; k < values.size(); ++k) value_[at(values[k])] = after[k];
  }

  static bool same_source(const Source& a, const Source& b) { return a.state == b.state && a.value == b.value; }

  // γ ⊙ (v − μ) / √(σ² + ε) + β with the mean μ and the variance σ² of all values of a row together.
  std::vector<int> normalize(const std::vector<int>& values, const std::vector<int>& gammas, const std::vector<int>& betas) {
    const auto mean = [&](const std::vector<int>& of) {
      int sum = -1;
      for (const int value : of) {
        const int own = w_.operation(Op::row_mean, value);
        sum = sum < 0 ? own : w_.add(sum, own);
      }
      return of.size() == 1 ? sum : w_.multiply(sum, w_.constant(1.0f / static_cast<float>(of.size())));
    };
    const int middle = mean(values);
    std::vector<int> centred, squares, result;
    for (const int value : values) centred.push_back(w_.subtract(value, middle));
    for (const int value : centred) squares.push_back(w_.multiply(value, value));
    const int deviation = w_.operation(Op::sqrt, w_.add(mean(squares), w_.constant(o_.epsilon)));
    const int inverse = w_.operation(Op::divide, w_.constant(1), deviation);
    for (std::size_t k = 0; k < values.size(); ++k) {
      const int scaled = w_.multiply(w_.multiply(centred[k], inverse), gammas[k]);
      result.push_back(betas[k] < 0 ? scaled : w_.add(scaled, betas[k]));
    }
    return result;
  }

  // --- states ---

  // The first state whose new value this is; -1: none's.
  int new_value_of(int value) const {
    const auto& outputs = from_.equations.outputs;
    const auto found = std::find(outputs.begin(), outputs.end(), value);
    return found == outputs.end() ? -1 : static_cast<int>(found - outputs.begin());
  }

  float limit(int state) const { return o_.state_clip.empty() ? std::numeric_limits<float>::infinity() : o_.state_clip[at(state)]; }

  // What later operations read of a new state: it normalised and clipped. What is carried is the same but for the state that is
  // normalised where the output reads it.
  void finish_state(int value) {
    const int state = new_value_of(value);
    carried_.resize(from_.states.size(), -1);
    int& now = value_[at(value)];
    if (o_.normalize_state && output_reads_ < 0 && state == 0) now = normalize({now}, {state_gamma_}, {state_beta_})[0];
    now = w_.clip(now, limit(state));
    carried_[at(state)] = now;
    if (o_.normalize_state && output_reads_ == state) now = normalize({now}, {state_gamma_}, {state_beta_})[0];
  }

  void outputs() {
    carried_.resize(from_.states.size(), -1);
    for (int k = 0; k < static_cast<int>(from_.states.size()); ++k) {
      const int value = from_.equations.outputs[at(k)];
      const bool computed = value >= static_cast<int>(from_.inputs.size());
      int now = carried_[at(k)];
      if (now < 0 && computed && carried_[at(new_value_of(value))] >= 0) {  // two states have the same new value
        now = w_.clip(carried_[at(new_value_of(value))], limit(k));
      } else if (now < 0) {  // an input, as it is
        now = read(value);
        if (o_.normalize_state && output_reads_ < 0 && k == 0) now = normalize({now}, {state_gamma_}, {state_beta_})[0];
        now = w_.clip(now, limit(k));
      }
      to_.equations.outputs.push_back(zoneout(k) > 0 ? mixed(k, now) : now);
    }
  }

  // Zoneout: some units keep what they were. A mask is 0 where they do.
  int mixed(int state, int now) {
    int before = -1;
    for (std::size_t i = 0; i < from_.inputs.size(); ++i)
      if (from_.inputs[i].kind == Role::state && from_.inputs[i].index == state) before = value_[i];
    if (training_) return w_.operation(Op::select, zoned_[at(state)], now, before);
    const float rate = zoneout(state);
    return w_.add(w_.multiply(w_.constant(rate), before), w_.multiply(w_.constant(1 - rate), now));
  }

  void sources() {
    for (std::size_t b = 0; b < from_.recurrent.size(); ++b) {
      Source source = from_.recurrent[b];
      if (source.state < 0) source.value = read(source.value);
      if (!dropped_.empty()) {
        int value = source.value;
        for (std::size_t i = 0; i < from_.inputs.size() && source.state >= 0; ++i)
          if (from_.inputs[i].kind == Role::state && from_.inputs[i].index == source.state) value = value_[i];
        source = {-1, w_.multiply(value, dropped_[b])};
      }
      to_.recurrent.push_back(source);
    }
  }

  const CellProgram& from_;
  const CellOptions& o_;
  const bool training_, bias_;
  const int output_reads_;
  CellProgram to_;
  CellWriter w_;
  std::vector<int> value_;       // of the cell's values: what they are here, for those that read them
  std::vector<int> carried_;     // by state: its new value before zoneout; -1: not there yet
  std::vector<int> normalized_;  // inputs
  std::vector<int> kernel_bias_, recurrent_bias_, kernel_gamma_, recurrent_gamma_;  // by block
  std::vector<int> dropped_, zoned_;  // masks: by block of the recurrent kernel, by state
  int state_gamma_ = -1, state_beta_ = -1;
};

}  // namespace

bool rewrites(const CellOptions& options, Form form) {
  return options.normalize_sums || options.normalize_state || !options.zoneout.empty() || !options.state_clip.empty() ||
         (form == Form::training && options.recurrent_dropout > 0);
}

CellProgram rewritten(const CellProgram& cell, const CellOptions& options, Form form, bool bias, int output_reads) {
  return Rewriting(cell, options, form, bias, output_reads).write();
}

}  // namespace rekur::layers

#endif
