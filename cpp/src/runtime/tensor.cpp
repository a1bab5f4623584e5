#include "rekur/tensor.hpp"
#include "io/text.hpp"

#include <limits>

namespace rekur {

std::string to_string(const Shape& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += shape[i] == kUnknown ? "None" : std::to_string(shape[i]);
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

Index element_count(const Shape& shape) {
  bool empty = false;
  for (const Index d : shape) {
    if (d < 0) throw_error("shape % has an unknown or negative dimension", {shape});
    empty = empty || d == 0;
  }
  if (empty) return 0;
  constexpr Index kLargest = std::numeric_limits<Index>::max() / 8;
  Index count = 1;
  for (const Index d : shape) {
    if (d > kLargest / count) throw_error("shape % has more elements than can be addressed", {shape});
    count *= d;
  }
  return count;
}

}  // namespace rekur
