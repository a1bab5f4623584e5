#include "layers/compiled_programs.hpp"

#if REKUR_EQUATIONS

#include <string_view>

#include "layers/cell_writer.hpp"

namespace rekur::layers {
namespace {

using recurrent::CellProgram;
using recurrent::Role;

class CompiledCell {
 public:
  CompiledCell(const cells::CellInfo& cell, const cells::Activations& functions) : cell_(cell), f_(functions), w_(p_) {}

  CellProgram write() {
    const std::string_view name = cell_.name;
    p_.name = cell_.name;
    p_.states = {"h"};
    if (cell_.states > 1) p_.states.emplace_back("c");
    p_.recurrent_bias = cell_.recurrent_bias;
    if (name == "simple_rnn")
      simple_rnn();
    else if (name == "gru")
      gru(true);
    else if (name == "gru_reset_before")
      gru(false);
    else
      lstm(cell_.forget_gate < 0);
    return std::move(p_);
  }

 private:
  // The blocks of both kernels by the letters of their gates, the states, and the rows of peepholes.
  void inputs(std::string_view gates, std::string_view peepholes = {}) {
    const auto each = [](std::string_view letters, const auto& take) {
      for (std::size_t k = 0; k < letters.size(); ++k) take(std::string(1, letters[k]), static_cast<int>(k));
    };
    each(gates, [&](const std::string& letter, int k) { in_[k] = w_.input("x." + letter, {Role::kernel, k}); });
    each(gates, [&](const std::string& letter, int k) {
      rec_[k] = w_.input("h." + letter, {Role::product, k});
      p_.products.push_back("h." + letter);
      p_.recurrent.push_back({0, -1});
    });
    h_ = w_.input("h", {Role::state, 0});
    if (cell_.states > 1) c_ = w_.input("c", {Role::state, 1});
    each(peepholes, [&](const std::string& letter, int k) { peephole_[k] = w_.input("p_" + letter, {Role::weight, k}); });
    p_.kernel_blocks = static_cast<int>(gates.size());
    p_.unit_weights = static_cast<int>(peepholes.size());
  }

  int gate(int sum) { return w_.activate(f_.gate, w_.clip(sum, f_.clip)); }
  int candidate(int sum) { return w_.activate(f_.candidate, w_.clip(sum, f_.clip)); }
  int sum(int block) { return w_.add(in_[block], rec_[block]); }

  void simple_rnn() {
    inputs("h");
    p_.equations.outputs = {candidate(sum(0))};
  }

  void gru(bool reset_after) {
    enum { z, r, n };
    inputs("zrn");
    const int update = gate(sum(z)), reset = gate(sum(r));
    int after = rec_[n];
    if (reset_after)
      after = w_.multiply(reset, rec_[n]);
    else
      p_.recurrent[n] = {-1, w_.multiply(reset, h_)};
    const int fresh = candidate(w_.add(in_[n], after));
    p_.equations.outputs = {w_.add(fresh, w_.multiply(update, w_.subtract(h_, fresh)))};
  }

  void lstm(bool coupled) {
    const bool peepholes = cell_.peepholes > 0;
    const int i = 0, f = 1, g = coupled ? 1 : 2, o = g + 1, look_o = coupled ? 1 : 2;
    inputs(coupled ? "igo" : "ifgo", !peepholes ? "" : coupled ? "io" : "ifo");
    if (!coupled) p_.forget_block = f;
    const auto seen = [&](int value, int row, int state) {
      return peepholes ? w_.add(value, w_.multiply(peephole_[row], state)) : value;
    };
    const int enter = gate(seen(sum(i), 0, c_));
    const int keep = coupled ? w_.subtract(w_.constant(1), enter) : gate(seen(sum(f), 1, c_));
    const int fresh = candidate(sum(g));
    const int c = w_.add(w_.multiply(keep, c_), w_.multiply(enter, fresh));
    const int open = gate(seen(sum(o), look_o, c));
    p_.equations.outputs = {w_.multiply(open, w_.activate(f_.output, c)), c};
  }

  const cells::CellInfo& cell_;
  const cells::Activations& f_;
  CellProgram p_;
  CellWriter w_;
  int in_[cells::kMaxGates] = {}, rec_[cells::kMaxGates] = {}, peephole_[cells::kMaxPeepholes] = {}, h_ = -1, c_ = -1;
};

}  // namespace

CellProgram program_of(const cells::CellInfo& cell, const cells::Activations& functions) {
  return CompiledCell(cell, functions).write();
}

}  // namespace rekur::layers

#endif
