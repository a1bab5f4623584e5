// Messages put together from parts, in one place: a chain of `+` costs its memory management wherever it stands, and messages are
// many.
//
//   throw_error({"expected ", n, " inputs of shape ", shape, ", got '", name, "'"});
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

std::string compose(std::initializer_list<Part> parts);

[[noreturn]] void throw_error(std::initializer_list<Part> parts);
[[noreturn]] void throw_io_error(std::initializer_list<Part> parts);
[[noreturn]] void throw_out_of_memory(std::initializer_list<Part> parts);

}  // namespace rekur
