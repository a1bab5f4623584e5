// What a spec's "regularizers" and "constraints" say of parameters: what they add to the loss, and what they are held to after
// every step. Names, defaults and numbers are Keras's.
//
//   {"name": "l1_l2", "l1": a, "l2": b}              a Σ |w| + b Σ w²
//   {"name": "orthogonal", "factor": f, "mode": m}   f times the mean of |cosine| of different rows (or columns)
//   {"name": "max_norm", "max_value": v, "axis": a}  norms along a at most v        "non_neg", "unit_norm", "min_max_norm" likewise
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.hpp"

namespace rekur::train {

// Throw Error, beginning with the context, unless the text says a rule that suits a parameter of such a shape.
void check_regularizer(const std::string& text, const Shape& shape, std::string_view context);
void check_constraint(const std::string& text, const Shape& shape, std::string_view context);

// The regularisers of a graph's parameters.
class Regularizers {
 public:
  explicit Regularizers(const graph::Graph& graph);

  // What those of trained layers add to the loss. Between the forward pass and the update.
  double value(const graph::Graph& graph, const graph::Trained& trained) const;
  void add_gradients(const graph::Graph& graph, const graph::Trained& trained, std::span<float> gradients) const;

 private:
  struct One {
    graph::Segment segment;
    Shape shape;
    int owner;
    float l1 = 0, l2 = 0, orthogonal = 0;
    bool columns = false;
  };
  std::vector<One> all_;
};

// Holds a parameter to what its constraint says.
class Constraint {
 public:
  Constraint(const std::string& text, const Shape& shape, std::string_view context);
  void apply(float* weights) const noexcept;

 private:
  enum class Kind : std::uint8_t { non_negative, norm };
  Kind kind_ = Kind::norm;
  double least_ = 0, most_ = 0, rate_ = 1;
  Shape shape_;
  std::vector<char> along_;  // by axis: whether norms are summed along it
};

}  // namespace rekur::train
