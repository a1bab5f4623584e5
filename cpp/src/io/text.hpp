// Messages put together from a format and parts, in one place: a chain of `+` costs its memory management wherever it stands, and
// messages are many.
//
//   throw_error("expected % inputs of shape %, got '%'", {n, shape, name});
#pragma once

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

#include "rekur/tensor.hpp"

namespace rekur {

// A string, an integer or a shape. Refers to what it was made from.
class Part {
 public:
  Part(const char* text) : Part(std::string_view(text)) {}
  Part(std::string_view text) : data_(text.data() ? text.data() : ""), number_(static_cast<Index>(text.size())) {}
  Part(const std::string& text) : Part(std::string_view(text)) {}
  Part(std::integral auto number) : data_(nullptr), number_(static_cast<Index>(number)) {}
  Part(const Shape& shape) : data_(&shape), number_(kShape) {}

  void append_to(std::string& text) const;

 private:
  static constexpr Index kShape = -1;

  const void* data_;  // characters or a Shape; null: a number
  Index number_;      // or how many characters
};

using Parts = std::initializer_list<Part>;

// Each % of the format stands for a part.
std::string compose(const char* format, Parts parts);

[[noreturn]] void throw_error(const char* format, Parts parts = {});
[[noreturn]] void throw_io_error(const char* format, Parts parts = {});
[[noreturn]] void throw_out_of_memory(const char* format, Parts parts = {});

// Throws Error, which begins with `what`, where a dimension of an array's shape is negative.
void expect_sizes(const std::string& what, const Shape& shape);

}  // namespace rekur
