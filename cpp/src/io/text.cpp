#include "io/text.hpp"

namespace rekur {

void Part::append_to(std::string& text) const {
  if (data_ == nullptr)
    text += std::to_string(number_);
  else if (number_ == kShape)
    text += to_string(*static_cast<const Shape*>(data_));
  else
    text.append(static_cast<const char*>(data_), static_cast<std::size_t>(number_));
}

std::string compose(std::initializer_list<Part> parts) {
  std::string result;
  for (const Part& part : parts) part.append_to(result);
  return result;
}

void throw_error(std::initializer_list<Part> parts) { throw Error(compose(parts)); }
void throw_io_error(std::initializer_list<Part> parts) { throw IoError(compose(parts)); }
void throw_out_of_memory(std::initializer_list<Part> parts) { throw OutOfMemory(compose(parts)); }

}  // namespace rekur
