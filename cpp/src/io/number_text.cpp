#include "io/number_text.hpp"

#include <charconv>
#include <version>
#if defined(__cpp_lib_to_chars)
#include <algorithm>
#include <cstdint>
#include <limits>
#include <system_error>
#else
#include "io/number_text_exact.hpp"
#endif

namespace rekur::io {

#if defined(__cpp_lib_to_chars)
namespace {

// Whether a valid literal that double cannot hold is at least 1 in magnitude: tells an overflow from an underflow.
bool at_least_one(std::string_view literal) {
  // Beyond these an exponent is stronger than any number of digits that fits into memory, and sums with it stay in range.
  constexpr std::int64_t kMost = std::int64_t{1} << 62;
  const std::size_t e = std::min(literal.find_first_of("eE"), literal.size());
  const std::string_view digits = literal.substr(0, e);
  const std::size_t point = std::min(digits.find('.'), e), leading = digits.find_first_of("123456789");
  if (leading == digits.npos) return false;  // zero, whatever its exponent
  std::int64_t exponent = 0;
  if (e < literal.size()) {
    const char* begin = literal.data() + e + (literal[e + 1] == '+' ? 2 : 1);
    const auto [end, status] = std::from_chars(begin, literal.data() + literal.size(), exponent);
    if (status == std::errc::result_out_of_range) exponent = *begin == '-' ? -kMost : kMost;
    exponent = std::clamp(exponent, -kMost, kMost);
  }
  const auto magnitude = static_cast<std::int64_t>(point) - static_cast<std::int64_t>(leading) - (leading < point ? 1 : 0);
  return magnitude + exponent >= 0;
}

}  // namespace

double read_double(std::string_view text) {
  double result = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), result).ec == std::errc{}) return result;
  result = at_least_one(text) ? std::numeric_limits<double>::infinity() : 0;
  return text.front() == '-' ? -result : result;
}

std::size_t write_double(double value, char (&text)[32]) {
  return static_cast<std::size_t>(std::to_chars(text, text + sizeof text, value).ptr - text);
}
#else
double read_double(std::string_view text) { return exact::read_double(text); }

std::size_t write_double(double value, char (&text)[32]) { return exact::write_double(value, text); }
#endif

}  // namespace rekur::io
