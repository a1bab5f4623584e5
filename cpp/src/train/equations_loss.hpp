// A loss of the user's own: equations of a pair's target and output, traced once (equations/), whose gradient is derived.
//
//   {"name": "equations", "label": "nll", "equations": {"inputs": ["y_true", "m", "v"], "nodes": […], "outputs": [5]},
//    "inputs": ["y_true", {"of": "y_pred", "start": 0, "stop": 1}, {"of": "y_pred", "start": 1, "stop": 2}]}
//
// `inputs` says what each input of the equations is: "y_true" or "y_pred" whole, some of its features (start may be left out: 0;
// stop: the end; negative ones count from the end), or an array of numbers, one a feature. Left out: "y_true", "y_pred". The
// equations see rows of n features: whatever is used has n of them or one, which then goes with all. The value is one number a
// pair, or one a feature, of which the mean is taken.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "equations/code.hpp"
#include "runtime/locks.hpp"
#include "train/pairs.hpp"

namespace rekur::json {
class Reader;
class Value;
}  // namespace rekur::json

namespace rekur::train {

class EquationsLoss {
 public:
  explicit EquationsLoss(json::Reader& config);

  const std::string& label() const { return label_; }

  // Throws Error, beginning with `where`, unless the equations work on an output of so many features. `target`: of so many
  // features; none: of as many as they want.
  void check(Index output, std::optional<Index> target, const std::string& where) const;

  // As train::evaluate, of arguments that check has seen: y [B, T, target].
  double evaluate(const Rows& rows, const float* x, const float* y, Index target, std::span<const float> weights, float* dx,
                  double gradient_scale) const;

 private:
  enum class Source : std::uint8_t { y_true, y_pred, numbers };
  struct Input {
    Source source = Source::y_true;
    Index start = 0;
    std::optional<Index> stop = {};
    std::vector<float> numbers = {};  // one a feature
    bool used = false;                // by an operation, or as the value

    bool whole() const { return source != Source::numbers && start == 0 && !stop; }
  };
  // An input of known width.
  struct Piece {
    Source source;
    Index start, width, of;  // the features [start, start + width) of `of`
    const float* numbers;    // of Source::numbers
    bool used;
    int gradient = -1;  // which result of the code is its gradient; -1: it has none, or nobody wants it
    bool contiguous() const { return source != Source::numbers && width == of; }
  };
  // What is ready to run for outputs and targets of known widths.
  struct Plan {
    Index output, target, features;  // features: of the rows that the equations see
    std::vector<Piece> pieces;
    equations::Code value, both;  // both: the value, then the gradients of the output's pieces; its last input is what arrives
    bool by_row = false;          // the value is one number a pair
    bool direct = false;          // the gradient of the whole output is the only one
  };
  struct Memory;

  void read_input(const json::Value& value, json::Reader& config);
  std::shared_ptr<const Plan> plan(Index output, Index target) const;
  std::shared_ptr<const Plan> make_plan(Index output, std::optional<Index> target, const std::string& where) const;
  double block(const Plan& plan, const Rows& rows, const PairWeights& weight, Index begin, Index count, const float* x,
               const float* y, float* dx, double scale, Memory& memory) const;

  std::string label_;
  equations::Equations f_;
  std::vector<Input> inputs_;
  mutable runtime::Mutex turn_;
  mutable std::shared_ptr<const Plan> latest_;  // most models see targets of one width
};

}  // namespace rekur::train
