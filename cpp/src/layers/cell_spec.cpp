#include "layers/cell_spec.hpp"

#include <algorithm>

#include "layers/activation_spec.hpp"
#include "layers/equations_spec.hpp"

namespace rekur::layers {

#if REKUR_EQUATIONS

namespace {

using recurrent::CellProgram;
using recurrent::Role;
using recurrent::Source;

bool is_cell_name(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
  });
}

class CellReader {
 public:
  CellReader(json::Reader& layer, RecurrentSettings& settings)
      : cell_(layer.get("cell"), compose("%: cell", {layer.context()})), s_(settings) {}

  std::shared_ptr<const CellProgram> read() {
    p_.name = cell_.string("name");
    if (!is_cell_name(p_.name)) cell_.refuse("name", "letters, digits, '_', '.' and '-'");
    p_.states = names("states", 1, recurrent::kMostStates);
    const std::vector<std::string> kernel = names("kernel", 0, recurrent::kMostBlocks);
    p_.kernel_blocks = static_cast<int>(kernel.size());
    read_matrices();
    read_recurrent_blocks();
    read_heads();
    p_.recurrent_bias = cell_.boolean("recurrent_bias", false);
    read_weights();
    const std::vector<std::string> step_inputs =
        cell_.find("step_inputs") != nullptr ? names("step_inputs", 0, recurrent::kMostStepInputs - 1) : std::vector<std::string>();
    s_.step_inputs = step_inputs.size();
    for (std::size_t k = 0; k < kernel.size(); ++k) give(kernel[k], Role::kernel, k);
    for (std::size_t k = 0; k < recurrent_.size(); ++k) give(recurrent_[k], Role::product, k);
    for (std::size_t k = 0; k < p_.states.size(); ++k) give(p_.states[k], Role::state, k);
    for (std::size_t k = 0; k < s_.unit_weights.size(); ++k) give(s_.unit_weights[k].name, Role::weight, k);
    for (std::size_t k = 0; k < step_inputs.size(); ++k) give(step_inputs[k], Role::step_input, k);
    p_.unit_weights = static_cast<int>(s_.unit_weights.size());
    if (cell_.find("forget") != nullptr) {
      const std::string forget = cell_.string("forget");
      const auto found = std::find(kernel.begin(), kernel.end(), forget);
      if (found == kernel.end()) cell_.refuse("forget", "one of 'kernel'");
      p_.forget_block = static_cast<int>(found - kernel.begin());
    }
    read_equations_of_the_step();
    check_fixed();
    cell_.finish();

    p_.products = recurrent_;
    s_.states = p_.states;
    s_.kernel_blocks = p_.kernel_blocks;
    s_.recurrent_blocks = static_cast<Index>(p_.recurrent.size());
    s_.recurrent_bias = p_.recurrent_bias && !p_.recurrent.empty();
    s_.forget_block = p_.forget_block;
    return std::make_shared<const CellProgram>(std::move(p_));
  }

 private:
  std::vector<std::string> names(const char* key, std::size_t fewest, std::size_t most) {
    std::vector<std::string> names;
    for (const json::Value& value : cell_.array(key)) {
      if (!value.is_string() || !is_cell_name(value.string()))
        cell_.refuse(key, "an array of names of letters, digits, '_', '.' and '-'");
      names.push_back(value.string());
    }
    if (names.size() < fewest || names.size() > most)
      cell_.fail("'%' must be % to % names, got %", {key, fewest, most, names.size()});
    return names;
  }

  // Each name is one thing.
  void give(const std::string& name, Role::Kind kind, std::size_t index) {
    if (name == "x" || std::find(known_.begin(), known_.end(), name) != known_.end())
      cell_.fail("two things are named '%'", {name});
    known_.push_back(name);
    roles_.push_back({kind, static_cast<int>(index)});
  }

  void read_recurrent_blocks() {
    const json::Array& blocks = cell_.array("recurrent");
    if (blocks.size() > recurrent::kMostBlocks)
      cell_.fail("'recurrent' must be at most % products, got %", {recurrent::kMostBlocks, blocks.size()});
    for (const json::Value& value : blocks) {
      if (!value.is_array() || value.array().size() < 2 || value.array().size() > 3 || !value.array()[0].is_string() ||
          !is_cell_name(value.array()[0].string()))
        cell_.refuse("recurrent", "an array of [name, source] or [name, source, matrix]");
      recurrent_.push_back(value.array()[0].string());
      const json::Value& source = value.array()[1];
      if (source.is_string()) {
        const auto state = std::find(p_.states.begin(), p_.states.end(), source.string());
        if (state == p_.states.end()) cell_.fail("'%' multiplies '%', which is no state", {recurrent_.back(), source.string()});
        p_.recurrent.push_back({static_cast<int>(state - p_.states.begin()), -1});
      } else if (source.is_integer() && source.integer() >= 0 && source.integer() < kMostValues) {
        p_.recurrent.push_back({-1, static_cast<int>(source.integer())});
      } else {
        cell_.fail("'%' must multiply a state or a value of the equations, got %", {recurrent_.back(), json::describe(source)});
      }
      if (value.array().size() == 3) {
        const json::Value& matrix = value.array()[2];
        const auto found = std::find_if(s_.matrices.begin(), s_.matrices.end(),
                                        [&](const CellMatrix& m) { return matrix.is_string() && m.name == matrix.string(); });
        if (found == s_.matrices.end())
          cell_.fail("'%' is a product by %, which is none of 'matrices'", {recurrent_.back(), json::describe(matrix)});
        s_.block_matrix.push_back(static_cast<int>(found - s_.matrices.begin()));
      } else {
        s_.block_matrix.push_back(-1);
      }
    }
  }

  void read_matrices() {
    if (cell_.find("matrices") == nullptr) return;
    for (const json::Value& value : cell_.array("matrices")) {
      json::Reader matrix(value, compose("%: matrices", {cell_.context()}));
      const std::string name = parameter_name(matrix);
      for (const CellMatrix& other : s_.matrices)
        if (other.name == name) matrix.fail("two matrices are named '%'", {name});
      s_.matrices.push_back({name, read_initializer(matrix, "initializer", "orthogonal")});
      matrix.finish();
    }
    if (s_.matrices.size() > recurrent::kMostBlocks)
      cell_.fail("'matrices' must be at most %, got %", {recurrent::kMostBlocks, s_.matrices.size()});
  }

  std::string parameter_name(json::Reader& reader) {
    static constexpr std::string_view taken[] = {"kernel", "recurrent_kernel", "bias", "recurrent_bias"};
    const std::string name = reader.string("name");
    if (!is_cell_name(name) || std::find(std::begin(taken), std::end(taken), name) != std::end(taken))
      reader.refuse("name", "letters, digits, '_', '.' and '-', and no other parameter's name");
    return name;
  }

  void read_heads() {
    s_.heads = cell_.positive_integer("heads", 1);
    if (s_.heads > 1 && s_.units % s_.heads != 0)
      cell_.fail("heads: % units are not % heads of as many units each", {s_.units, s_.heads});
    if (s_.heads > 1 && std::find(s_.block_matrix.begin(), s_.block_matrix.end(), -1) == s_.block_matrix.end())
      cell_.fail("heads: it has no recurrent kernel that could have them");
    if (cell_.find("fixed") == nullptr) return;
    s_.fixed = names("fixed", 1, kMostFixed);
  }

  // Every name is that of a parameter of such cells.
  void check_fixed() {
    for (const std::string& name : s_.fixed) {
      const auto is = [&](const auto& parameter) { return parameter.name == name; };
      const bool recurrent = std::find(s_.block_matrix.begin(), s_.block_matrix.end(), -1) != s_.block_matrix.end();
      if ((name == "kernel" || name == "bias") && p_.kernel_blocks > 0) continue;
      if (name == "recurrent_kernel" && recurrent) continue;
      if (name == "recurrent_bias" && p_.recurrent_bias && !p_.recurrent.empty()) continue;
      if (std::any_of(s_.unit_weights.begin(), s_.unit_weights.end(), is)) continue;
      if (std::any_of(s_.matrices.begin(), s_.matrices.end(), is)) continue;
      cell_.fail("fixed: the cell has no parameter '%'", {name});
    }
  }

  void read_weights() {
    if (cell_.find("weights") == nullptr) return;
    for (const json::Value& value : cell_.array("weights")) {
      json::Reader weight(value, compose("%: weights", {cell_.context()}));
      const std::string name = parameter_name(weight);
      for (const CellMatrix& other : s_.matrices)
        if (other.name == name) weight.fail("a weight and a matrix are named '%'", {name});
      s_.unit_weights.push_back({name, read_initializer(weight, "initializer", "zeros"), 0});
      weight.finish();
    }
    if (s_.unit_weights.size() > recurrent::kMostBlocks)
      cell_.fail("'weights' must be at most %, got %", {recurrent::kMostBlocks, s_.unit_weights.size()});
  }

  void read_equations_of_the_step() {
    p_.equations = read_equations(cell_, "equations");
    const std::vector<std::string>& inputs = p_.equations.inputs;
    for (const std::string& name : inputs) {
      const auto found = std::find(known_.begin(), known_.end(), name);
      if (found != known_.end()) {
        p_.inputs.push_back(roles_[static_cast<std::size_t>(found - known_.begin())]);
      } else if (name == "x") {
        s_.reads_x = true;
        p_.inputs.push_back({Role::step_input, static_cast<int>(s_.step_inputs)});
      } else {
        cell_.fail("equations: the input '%' is neither a product, a state, a weight nor an input of the step", {name});
      }
    }
    for (const std::string& name : known_)
      if (std::find(inputs.begin(), inputs.end(), name) == inputs.end()) cell_.fail("equations: the inputs lack '%'", {name});
    p_.step_inputs = static_cast<int>(s_.step_inputs) + (s_.reads_x ? 1 : 0);
    if (p_.equations.outputs.size() != p_.states.size())
      cell_.fail("equations: expected an output for each of % states, got %", {p_.states.size(), p_.equations.outputs.size()});
    for (std::size_t b = 0; b < p_.recurrent.size(); ++b) {
      const int value = p_.recurrent[b].value;
      if (p_.recurrent[b].state < 0 && static_cast<std::size_t>(value) >= p_.equations.nodes.size())
        cell_.fail("'%' multiplies value %, but there are %", {recurrent_[b], value, p_.equations.nodes.size()});
    }
  }

  static constexpr std::size_t kMostFixed = 64;
  static constexpr Index kMostValues = equations::kMostNodes + equations::kMostInputs;

  json::Reader cell_;
  RecurrentSettings& s_;
  CellProgram p_;
  std::vector<std::string> recurrent_, known_;  // names: of the recurrent blocks, of all
  std::vector<Role> roles_;                     // of those known
};

}  // namespace

void read_cell(json::Reader& spec, RecurrentSettings& settings) { settings.program = CellReader(spec, settings).read(); }

#else

void read_cell(json::Reader& spec, RecurrentSettings&) {
  spec.fail("it has a cell of its own, and this rekur was built without equations (REKUR_EQUATIONS)");
}

#endif

}  // namespace rekur::layers
