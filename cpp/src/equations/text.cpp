#include "equations/text.hpp"

#include <algorithm>

#include "equations/equations.hpp"
#include "io/text.hpp"
#include "rekur/detail/compiler.hpp"

namespace rekur::equations {

using simd::Op;

namespace {

class Writer {
 public:
  Writer(const Listing& listing, const std::string& name) : l_(listing) { write(name); }
  std::string text;

 private:
  using Kind = Listing::Kind;

  void line(int indent, const char* format, Parts parts = {}) {
    text.append(static_cast<std::size_t>(2 * indent), ' ').append(compose(format, parts)).append(1, '\n');
  }

  // Where a vector of a group stands: addresses that go through time are those of the group already.
  const char* shift() const { return timed() ? " + u * kWidth" : " + j + u * kWidth"; }
  // Vectors that go together: several where one would wait for itself, as far as that is not much code.
  const char* together(int pass) const {
    const std::size_t operations = l_.computed()[static_cast<std::size_t>(pass)].size();
    return timed() ? (operations <= 24 ? "kTogether" : "2") : operations <= 12 ? "2" : "1";
  }
  bool timed() const { return !l_.carried().empty(); }
  int count() const { return static_cast<int>(l_.values().size()); }
  // The output that carries an input on, and the other way round; -1: none.
  int carries(int input) const {
    for (const Carried& c : l_.carried())
      if (c.input == input) return c.output;
    return -1;
  }
  bool is_carried(int output) const {
    for (const Carried& c : l_.carried())
      if (c.output == output) return true;
    return false;
  }

  std::string expression(const Listing::Value& v) const {
    const auto operand = [&](int i) { return compose("v%", {v.from[i]}); };
    const auto call = [&](const std::string& name, int operands, const std::string& more = "") {
      std::string all = name + "(";
      for (int i = 0; i < operands; ++i) all += (i > 0 ? ", " : "") + operand(i);
      return all + more + ")";
    };
    const auto two = [&](const char* sign) { return operand(0) + " " + sign + " " + operand(1); };
    std::string parameters = ", 0.0f, 0.0f";
    if (has_parameters(v.f)) parameters = compose(", c[%], c[%]", {v.number, v.number + 1});
    switch (v.op) {
      case Op::negative:
        return "-" + operand(0);
      case Op::absolute:
        return call("abs", 1);
      case Op::activate:
        return call(compose("activated<ActivationKind::%>", {name_of(v.f)}), 1, parameters);
      case Op::slope:
        return call(compose("sloped<ActivationKind::%>", {name_of(v.f)}), 2, parameters);
      case Op::add:
        return two("+");
      case Op::subtract:
        return two("-");
      case Op::multiply:
        return two("*");
      case Op::divide:
        return two("/");
      case Op::minimum:
      case Op::maximum:
        return call(name_of(v.op), 2);
      case Op::less:
        return "truth(" + two("<") + ")";
      case Op::less_equal:
        return "truth(" + two("<=") + ")";
      case Op::equal:
        return "truth(" + two("==") + ")";
      case Op::select:
        return compose("select(% != zero(), %, %)", {operand(0), operand(1), operand(2)});
      case Op::row_count:
        return "set1(static_cast<float>(features))";
      default:  // exp, log, log1p, sqrt, sin, cos, erf
        return call(name_of(v.op), 1);
    }
  }

  bool is_read(int v) const {
    for (const Listing::Value& reader : l_.values())
      if (std::find(std::begin(reader.from), std::end(reader.from), v) != std::end(reader.from)) return true;
    return std::find(l_.outputs().begin(), l_.outputs().end(), v) != l_.outputs().end();
  }

  // Inputs and old outputs of a number a row.
  void row_inputs(int indent) {
    for (int v = 0; v < count(); ++v) {
      const Listing::Value& value = l_.value(v);
      if (!value.row || (value.kind != Kind::input && value.kind != Kind::output) || !is_read(v)) continue;
      line(indent, "const Vec v% = set1(*%%);", {v, value.kind == Kind::input ? "i" : "o", value.number});
    }
  }

  // Operations on numbers a row that can be known before a pass.
  void row_values(int indent, int pass) {
    for (int v = 0; v < count(); ++v) {
      const Listing::Value& value = l_.value(v);
      if (value.row && value.kind == Kind::operation && !reduces(value.op) && value.pass == pass)
        line(indent, "const Vec v% = %;", {v, expression(value)});
    }
  }

  // The values of a pass at a vector: its inputs first, since an output may stand where one of them does.
  void values(int indent, int pass) {
    const char* const shift = this->shift();
    const std::vector<int>& needed = l_.computed()[static_cast<std::size_t>(pass)];
    std::vector<bool> here(l_.values().size(), false);
    for (const int v : needed) here[static_cast<std::size_t>(v)] = true;
    for (const int v : needed) {
      const Listing::Value& value = l_.value(v);
      if (value.kind == Kind::input && carries(value.number) >= 0)
        line(indent, "const Vec v% = s%[u];", {v, value.number});
      else if (value.kind == Kind::input || value.kind == Kind::output)
        line(indent, "const Vec v% = get(g, %%%, n);", {v, value.kind == Kind::input ? "i" : "o", value.number, shift});
    }
    for (int v = 0; v < count(); ++v)
      if (l_.kept_in(v) >= 0 && !here[static_cast<std::size_t>(v)] && reads(pass, v))
        line(indent, "const Vec v% = get(g, m%%, n);", {v, l_.kept_in(v), shift});
    for (const int v : needed) {
      const Listing::Value& value = l_.value(v);
      if (value.kind != Kind::operation) continue;
      line(indent, "const Vec v% = %;", {v, expression(value)});
      if (l_.kept_in(v) >= 0) line(indent, "put(g, m%%, v%, n);", {l_.kept_in(v), shift, v});
    }
  }

  // Whether a pass reads a value that an earlier one has kept.
  bool reads(int pass, int v) const {
    for (const int reader : l_.computed()[static_cast<std::size_t>(pass)]) {
      const Listing::Value& value = l_.value(reader);
      if (std::find(std::begin(value.from), std::end(value.from), v) != std::end(value.from)) return true;
    }
    for (const Listing::Value& value : l_.values())
      if (reduces(value.op) && value.pass == pass && value.from[0] == v) return true;
    return pass + 1 == l_.passes() && std::find(l_.outputs().begin(), l_.outputs().end(), v) != l_.outputs().end();
  }

  void outputs(int indent) {
    const char* const shift = this->shift();
    for (std::size_t k = 0; k < l_.outputs().size(); ++k) {
      const int output = static_cast<int>(k);
      if (l_.output_by_row()[k]) continue;
      if (!is_carried(output)) line(indent, "put(g, o%%, v%, n);", {output, shift, l_.outputs()[k]});
    }
    for (const Carried& c : l_.carried()) line(indent, "s%[u] = v%;", {c.input, l_.outputs()[static_cast<std::size_t>(c.output)]});
  }

  bool touches_input(int input) const { return carries(input) >= 0 || is_read(input); }  // inputs are the first values

  // Where a row's operands stand, those of a number a row or the others.
  void addresses(int indent, bool rows) {
    const char* const j = rows || !timed() ? "0" : "j";
    for (std::size_t i = 0; i < l_.input_by_row().size(); ++i)
      if (l_.input_by_row()[i] == rows && touches_input(static_cast<int>(i)))
        line(indent, "const float*% i% = row_of(in[%], r, %);", {timed() ? "" : " const", i, i, j});
    for (std::size_t k = 0; k < l_.output_by_row().size(); ++k)
      if (l_.output_by_row()[k] == rows) line(indent, "float*% o% = row_of(out[%], r, %);", {timed() ? "" : " const", k, k, j});
  }

  void write(const std::string& name) {
    line(
        0,
        "inline void %(const simd::Operand* in, const simd::Operand* out, const float* c, Index rows, Index steps, Index features,",
        {name});
    line(0, "                   float* memory) {");
    line(1, "static_cast<void>(c), static_cast<void>(steps), static_cast<void>(memory), static_cast<void>(in);");
    for (int v = 0; v < count(); ++v)
      if (l_.value(v).kind == Kind::constant) line(1, "const Vec v% = set1(c[%]);", {v, l_.value(v).number});
    if (l_.kept() > 0) line(1, "const Index line = (features + kLine - 1) / kLine * kLine;");
    line(1, "for (Index r = 0; r < rows; ++r) {");
    timed() ? through_time() : passes();
    line(1, "}");
    line(0, "}");
  }

  void passes() {
    for (const bool rows : {true, false}) addresses(2, rows);
    row_inputs(2);
    for (int k = 0; k < l_.kept(); ++k) line(2, "float* const m% = memory + % * line;", {k, k});
    for (int pass = 0; pass < l_.passes(); ++pass) {
      row_values(2, pass);
      for (int v = 0; v < count(); ++v) {
        const Listing::Value& value = l_.value(v);
        if (reduces(value.op) && value.pass == pass)
          line(2, value.op == Op::row_maximum ? "Vec a% = set1(-REKUR_INFINITY);" : "RowSum a%;", {v});
      }
      line(2, "each_group<%>(features, [&](auto g, Index j, Index n) REKUR_INLINED {", {together(pass)});
      line(3, "REKUR_UNROLL for (int u = 0; u < g.count; ++u) {");
      values(4, pass);
      for (int v = 0; v < count(); ++v) {
        const Listing::Value& value = l_.value(v);
        if (!reduces(value.op) || value.pass != pass) continue;
        if (value.op == Op::row_maximum)
          line(4, "a% = maximum(a%, within(g, v%, n, -REKUR_INFINITY));", {v, v, value.from[0]});
        else
          line(4, "a%.s[sum_of(g, j, u)] += within(g, v%, n, 0.0f);", {v, value.from[0]});
      }
      if (pass + 1 == l_.passes()) outputs(4);
      line(3, "}");
      line(2, "});");
      for (int v = 0; v < count(); ++v) {
        const Listing::Value& value = l_.value(v);
        if (!reduces(value.op) || value.pass != pass) continue;
        if (value.op == Op::row_maximum)
          line(2, "const Vec v% = set1(largest_lane(a%));", {v, v});
        else if (value.op == Op::row_mean)
          line(2, "const Vec v% = set1(a%.total() / static_cast<float>(features));", {v, v});
        else
          line(2, "const Vec v% = set1(a%.total());", {v, v});
      }
    }
    row_values(2, l_.passes());
    for (std::size_t k = 0; k < l_.outputs().size(); ++k)
      if (l_.output_by_row()[k]) line(2, "*o% = v%[0];", {k, l_.outputs()[k]});
  }

  void through_time() {
    line(2, "each_group<%>(features, [&](auto g, Index j, Index n) REKUR_INLINED {", {together(0)});
    for (const bool rows : {true, false}) addresses(3, rows);
    for (const Carried& c : l_.carried()) {
      line(3, "Vec s%[g.count];", {c.input});
      line(3, "REKUR_UNROLL for (int u = 0; u < g.count; ++u) s%[u] = get(g, i% + u * kWidth, n);", {c.input, c.input});
    }
    line(3, "for (Index t = 0; t < steps; ++t) {");
    row_inputs(4);
    row_values(4, 0);
    line(4, "REKUR_UNROLL for (int u = 0; u < g.count; ++u) {");
    values(5, 0);
    outputs(5);
    line(4, "}");
    for (std::size_t k = 0; k < l_.outputs().size(); ++k)
      if (l_.output_by_row()[k]) line(4, "*o% = v%[0];", {k, l_.outputs()[k]});
    for (std::size_t i = 0; i < l_.input_by_row().size(); ++i)
      if (carries(static_cast<int>(i)) < 0 && touches_input(static_cast<int>(i))) line(4, "i% += in[%].step;", {i, i});
    for (std::size_t k = 0; k < l_.outputs().size(); ++k)
      if (!is_carried(static_cast<int>(k))) line(4, "o% += out[%].step;", {k, k});
    line(3, "}");
    for (const Carried& c : l_.carried())
      line(3, "REKUR_UNROLL for (int u = 0; u < g.count; ++u) put(g, o% + u * kWidth, s%[u], n);", {c.output, c.input});
    line(2, "});");
  }

  const Listing& l_;
};

}  // namespace

std::string function_text(const Listing& listing, const std::string& name) { return Writer(listing, name).text; }

}  // namespace rekur::equations
