// Doubles from text and to text, whatever the program's locale is.
#pragma once

#include <cstddef>
#include <string_view>

namespace rekur::io {

// A number as JSON writes it: the nearest double. ±infinity where it is beyond the greatest one, ±0 where it is below the least.
double read_double(std::string_view text);

// The shortest text that is read back as this finite number; of several the nearest. Returns how many characters there are.
std::size_t write_double(double value, char (&text)[32]);

}  // namespace rekur::io
