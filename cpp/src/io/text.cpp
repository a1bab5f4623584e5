#include "io/text.hpp"

#include "runtime/own_memory.hpp"

namespace rekur {

void Part::append_to(std::string& text) const {
  if (data_ == nullptr)
    text += std::to_string(number_);
  else if (number_ == kShape)
    text += to_string(*static_cast<const Shape*>(data_));
  else
    text.append(static_cast<const char*>(data_), static_cast<std::size_t>(number_));
}

std::string compose(const char* format, Parts parts) {
  std::string result;
  const Part* part = parts.begin();
  for (const char* c = format; *c != '\0'; ++c) {
    if (*c == '%' && part != parts.end())
      (part++)->append_to(result);
    else
      result += *c;
  }
  return result;
}

namespace {

// The message stands in the system's memory: the exception may outlive what was being made.
template <class Exception>
[[noreturn]] void raise(const char* format, Parts parts) {
  const runtime::MemoryScope system(nullptr);
  throw Exception(compose(format, parts));
}

}  // namespace

void throw_error(const char* format, Parts parts) { raise<Error>(format, parts); }
void throw_io_error(const char* format, Parts parts) { raise<IoError>(format, parts); }
void throw_out_of_memory(const char* format, Parts parts) { raise<OutOfMemory>(format, parts); }

void expect_sizes(const std::string& what, const Shape& shape) {
  for (std::size_t d = 0; d < shape.size(); ++d)
    if (shape[d] < 0) throw_error("%: dimension % must not be negative, got %", {what, d, shape[d]});
}

}  // namespace rekur
