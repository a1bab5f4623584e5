#include "equations/listing.hpp"

#include <algorithm>
#include <map>

#include "equations/equations.hpp"
#include "io/text.hpp"

namespace rekur::equations {

using simd::Op;

namespace {

constexpr int kFewOperations = 2;  // at most so many are done again rather than kept

std::size_t at(int index) { return static_cast<std::size_t>(index); }

}  // namespace

const char* name_of(Op op) {
  static constexpr const char* kNames[] = {
      "copy",     "negative",     "absolute", "exp",      "log",      "log1p",       "sqrt",      "sin",   "cos",        "erf",
      "activate", "add",          "subtract", "multiply", "divide",   "minimum",     "maximum",   "less",  "less_equal", "equal",
      "select",   "activate_sum", "expand",   "row_sum",  "row_mean", "row_maximum", "row_count", "slope", "none"};
  static_assert(std::size(kNames) == static_cast<std::size_t>(Op::none) + 1);
  return kNames[static_cast<std::size_t>(op)];
}

const char* name_of(ActivationKind kind) {
  static constexpr const char* kNames[] = {"linear",      "tanh",     "sigmoid",      "relu",   "leaky_relu",
                                           "elu",         "softsign", "hard_sigmoid", "affine", "thresholded_relu",
                                           "scaled_tanh", "softplus"};
  static_assert(std::size(kNames) == static_cast<std::size_t>(ActivationKind::softplus) + 1);
  return kNames[static_cast<std::size_t>(kind)];
}

bool has_parameters(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::leaky_relu:
    case ActivationKind::elu:
    case ActivationKind::hard_sigmoid:
    case ActivationKind::affine:
    case ActivationKind::thresholded_relu:
    case ActivationKind::scaled_tanh:
      return true;
    default:
      return false;
  }
}

Listing::Listing(std::span<const simd::Instruction> code, const std::vector<bool>& input_by_row,
                 const std::vector<bool>& output_by_row, std::vector<float>& constants, std::span<const Carried> carried)
    : input_by_row_(input_by_row), output_by_row_(output_by_row), carried_(carried.begin(), carried.end()) {
  const int inputs = static_cast<int>(input_by_row.size()), outputs = static_cast<int>(output_by_row.size());
  const int given = inputs + outputs + static_cast<int>(constants.size());
  std::map<int, int> current;  // by operand: the value that stands there
  const auto append = [&](const Value& value) {
    values_.push_back(value);
    return static_cast<int>(values_.size()) - 1;
  };
  for (int i = 0; i < inputs; ++i) current[i] = append({.kind = Kind::input, .number = i, .row = input_by_row[at(i)]});
  const auto read = [&](int operand) {
    const auto found = current.find(operand);
    if (found != current.end()) return found->second;
    if (operand < inputs + outputs)
      return current[operand] =
                 append({.kind = Kind::output, .number = operand - inputs, .row = output_by_row[at(operand - inputs)]});
    if (operand >= given) throw Error("equations: an instruction reads what is not there");
    return current[operand] = append({.kind = Kind::constant, .number = operand - inputs - outputs});
  };
  const auto apply = [&](Op op, ActivationKind f, int number, bool row, std::initializer_list<int> from) {
    Value value{.number = number, .op = op, .f = f, .row = row};
    std::copy(from.begin(), from.end(), value.from);
    return append(value);
  };
  for (const simd::Instruction& i : code) {
    int parameters = 0;
    if ((i.op == Op::activate || i.op == Op::activate_sum || i.op == Op::slope) && has_parameters(i.f.kind)) {
      parameters = static_cast<int>(constants.size());
      constants.insert(constants.end(), {i.f.alpha, i.f.beta});
    }
    const int a = read(i.from[0]);
    const bool row = i.by_row || reduces(i.op) || i.op == Op::row_count;
    int result = -1;
    switch (i.op) {
      case Op::copy:
      case Op::expand:
        result = a;
        break;
      case Op::activate_sum:
        result = apply(Op::activate, i.f.kind, parameters, row, {apply(Op::add, {}, 0, row, {a, read(i.from[1])})});
        break;
      case Op::select: {
        const int b = read(i.from[1]), c = read(i.from[2]);
        result = apply(i.op, {}, 0, row, {a, b, c});
        break;
      }
      case Op::row_count:
        result = apply(i.op, {}, 0, row, {});
        break;
      default:
        result = i.op == Op::slope || (i.op >= Op::add && i.op <= Op::equal)
                     ? apply(i.op, i.f.kind, parameters, row, {a, read(i.from[1])})
                     : apply(i.op, i.f.kind, parameters, row, {a});
    }
    current[i.to] = result;
  }
  for (int k = 0; k < outputs; ++k) outputs_.push_back(read(inputs + k));
  // What looks at rows as a whole, or leaves a number a row, goes row by row, not through time.
  if (std::any_of(values_.begin(), values_.end(), [](const Value& v) { return reduces(v.op); }) ||
      std::find(output_by_row_.begin(), output_by_row_.end(), true) != output_by_row_.end())
    carried_.clear();
  find_passes();
}

bool Listing::costly(int v) const { return value(v).op == Op::slope || equations::costly(value(v).op); }

void Listing::find_passes() {
  int last = 0;
  for (Value& v : values_) {
    for (const int from : v.from)
      if (from >= 0) v.pass = std::max(v.pass, value(from).pass + (reduces(value(from).op) ? 1 : 0));
    if (reduces(v.op)) last = std::max(last, v.pass);
  }
  for (std::size_t k = 0; k < outputs_.size(); ++k)
    if (!output_by_row_[k]) {
      const Value& v = value(outputs_[k]);
      last = std::max(last, v.pass + (reduces(v.op) ? 1 : 0));
    }
  passes_ = last + 1;
  computed_.resize(at(passes_));
  kept_in_.assign(values_.size(), -1);
  std::vector<int> done(values_.size(), -1);  // the pass that computes it first
  // How many operations a value takes from what a pass finds anyway.
  const auto operations = [&](auto&& self, int v) -> int {
    const Value& value = this->value(v);
    if (value.kind != Kind::operation || value.row || kept_in(v) >= 0) return 0;
    if (costly(v)) return kFewOperations + 1;
    int count = 1;
    for (const int from : value.from)
      if (from >= 0 && count <= kFewOperations) count += self(self, from);
    return count;
  };
  for (int pass = 0; pass < passes_; ++pass) {
    std::vector<bool> seen(values_.size(), false);
    const auto need = [&](auto&& self, int v) -> void {
      const Value& value = this->value(v);
      if (value.row || seen[at(v)]) return;
      seen[at(v)] = true;
      if (value.kind == Kind::operation && done[at(v)] >= 0 && done[at(v)] < pass) {
        if (kept_in(v) >= 0) return;
        if (operations(operations, v) > kFewOperations) {
          kept_in_[at(v)] = kept_++;
          return;
        }
      }
      for (const int from : value.from)
        if (from >= 0) self(self, from);
      computed_[at(pass)].push_back(v);
      if (done[at(v)] < 0) done[at(v)] = pass;
    };
    for (const Value& v : values_)
      if (reduces(v.op) && v.pass == pass) need(need, v.from[0]);
    if (pass == last)
      for (std::size_t k = 0; k < outputs_.size(); ++k)
        if (!output_by_row_[k]) need(need, outputs_[k]);
  }
}

std::string Listing::signature() const {
  std::string text;
  const auto extents = [&](const std::vector<bool>& by_row) {
    for (const bool row : by_row) text += row ? 'r' : 'f';
  };
  extents(input_by_row_);
  text += '>';
  extents(output_by_row_);
  for (const Carried& c : carried_) text += compose(" %~%", {c.output, c.input});
  for (std::size_t v = at(static_cast<int>(input_by_row_.size())); v < values_.size(); ++v) {
    const Value& value = values_[v];
    text += ' ';
    if (value.row) text += '|';
    if (value.kind == Kind::output) text += compose("old%", {value.number});
    if (value.kind == Kind::constant) text += compose("c%", {value.number});
    if (value.kind != Kind::operation) continue;
    const bool function = value.op == Op::activate || value.op == Op::slope;
    text += name_of(value.op);
    if (function) text.append(1, '.').append(name_of(value.f));
    if (function && has_parameters(value.f)) text += compose(".c%", {value.number});
    char before = '(';
    for (const int from : value.from)
      if (from >= 0) {
        text += compose("%%", {std::string(1, before), from});
        before = ',';
      }
    if (before == ',') text += ')';
  }
  text += " =";
  for (const int v : outputs_) text += compose(" %", {v});
  return text;
}

}  // namespace rekur::equations
