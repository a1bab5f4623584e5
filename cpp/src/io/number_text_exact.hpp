// Doubles from text and to text by whole numbers of any size: right to the last bit, slow, and the same everywhere, whatever locale
// a program has set. For standard libraries whose <charconv> knows no double (libc++ before 20), and for the tests.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>

namespace rekur::io::exact {

// A whole number from 0 to 2^5120 - 1, which is more than anything below needs.
class Whole {
 public:
  explicit Whole(std::uint64_t value) {
    for (; value != 0; value >>= 32) words_[size_++] = static_cast<std::uint32_t>(value);
  }

  int bits() const { return size_ == 0 ? 0 : 32 * (size_ - 1) + static_cast<int>(std::bit_width(words_[at(size_ - 1)])); }

  // this * factor + more
  void multiply(std::uint32_t factor, std::uint32_t more = 0) {
    std::uint64_t carry = more;
    for (int i = 0; i < size_; ++i) {
      carry += std::uint64_t{words_[at(i)]} * factor;
      words_[at(i)] = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
    if (carry != 0) words_[at(size_++)] = static_cast<std::uint32_t>(carry);
  }

  void multiply_by_power_of_ten(int power) {
    for (; power >= 9; power -= 9) multiply(1'000'000'000);
    for (; power > 0; --power) multiply(10);
  }

  void shift(int bits) {
    const int whole = bits / 32, rest = bits % 32;
    if (size_ == 0) return;
    if (rest != 0) multiply(std::uint32_t{1} << rest);
    if (whole == 0) return;
    for (int i = size_; i-- > 0;) words_[at(i + whole)] = words_[at(i)];
    std::fill_n(words_.begin(), whole, 0u);
    size_ += whole;
  }

  void add(const Whole& other) {
    std::uint64_t carry = 0;
    size_ = std::max(size_, other.size_);
    for (int i = 0; i < size_; ++i) {
      carry += std::uint64_t{words_[at(i)]} + other.words_[at(i)];
      words_[at(i)] = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
    if (carry != 0) words_[at(size_++)] = static_cast<std::uint32_t>(carry);
  }

  // Of a smaller number or an equal one.
  void subtract(const Whole& other) {
    std::uint64_t borrow = 0;
    for (int i = 0; i < size_; ++i) {
      const std::uint64_t difference = std::uint64_t{words_[at(i)]} - other.words_[at(i)] - borrow;
      words_[at(i)] = static_cast<std::uint32_t>(difference);
      borrow = difference >> 63;
    }
    while (size_ > 0 && words_[at(size_ - 1)] == 0) --size_;
  }

  // Below 0, 0 or above it, as this is smaller than the other, equal or greater.
  int compare(const Whole& other) const {
    if (size_ != other.size_) return size_ < other.size_ ? -1 : 1;
    for (int i = size_; i-- > 0;)
      if (words_[at(i)] != other.words_[at(i)]) return words_[at(i)] < other.words_[at(i)] ? -1 : 1;
    return 0;
  }

  // The next digit of this / of, which is below 10: this becomes the remainder.
  int digit(const Whole& of) {
    int result = 0;
    for (; compare(of) >= 0; ++result) subtract(of);
    return result;
  }

 private:
  static constexpr std::size_t at(int i) { return static_cast<std::size_t>(i); }

  int size_ = 0;  // words; those beyond are zero
  std::array<std::uint32_t, 160> words_{};
};

inline int sum_of_signs(const Whole& a, const Whole& b, const Whole& c) {  // compares a + b with c
  Whole sum = a;
  sum.add(b);
  return sum.compare(c);
}

// A number as JSON writes it, -?digits[.digits][e[+-]digits]: the nearest double, of two the one whose last bit is zero. ±infinity
// where that is beyond the greatest, ±0 where it is below the least.
inline double read_double(std::string_view text) {
  // 768 digits can stand before the middle of two doubles is told from what is next to it; the rest is zero or more than that.
  constexpr int kDigits = 800;
  constexpr std::int64_t kFar = std::int64_t{1} << 58;
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  Whole above(0);
  int digits = 0;
  bool more = false, fraction = false;
  std::int64_t exponent = 0;
  std::size_t i = 0;
  for (; i < text.size() && text[i] != 'e' && text[i] != 'E'; ++i) {
    if (text[i] == '.') {
      fraction = true;
      continue;
    }
    const auto digit = static_cast<std::uint32_t>(text[i] - '0');
    if (fraction) --exponent;
    if (digits == 0 && digit == 0) continue;
    if (digits < kDigits) {
      above.multiply(10, digit);
      ++digits;
    } else {
      more |= digit != 0;
      ++exponent;
    }
  }
  if (i < text.size()) {
    ++i;
    const bool below = text[i] == '-';
    if (below || text[i] == '+') ++i;
    std::int64_t given = 0;
    for (; i < text.size(); ++i) given = std::min(kFar, given * 10 + (text[i] - '0'));
    exponent += below ? -given : given;
  }
  const auto signed_ = [negative](double value) { return negative ? -value : value; };
  if (digits == 0 || exponent + digits < -330) return signed_(0);
  if (exponent + digits > 310) return signed_(std::numeric_limits<double>::infinity());
  if (more) {
    above.multiply(10, 1);
    --exponent;
  }
  Whole below(1);
  if (exponent >= 0)
    above.multiply_by_power_of_ten(static_cast<int>(exponent));
  else
    below.multiply_by_power_of_ten(static_cast<int>(-exponent));

  // 2^power <= above / below < 2^(power + 1)
  int power = above.bits() - below.bits();
  {
    Whole left = above, right = below;
    left.shift(std::max(-power, 0));
    right.shift(std::max(power, 0));
    if (left.compare(right) < 0) --power;
  }
  const int last = std::max(power - 52, -1074);  // the power of the last bit
  const int bits = power - last + 1;
  if (bits < 0) return signed_(0);
  above.shift(std::max(-last, 0));
  below.shift(std::max(last, 0) + bits);
  std::uint64_t quotient = 0;
  for (int bit = 0; bit < bits; ++bit) {
    above.multiply(2);
    quotient *= 2;
    if (above.compare(below) >= 0) {
      above.subtract(below);
      quotient += 1;
    }
  }
  above.multiply(2);
  const int half = above.compare(below);
  if (half > 0 || (half == 0 && quotient % 2 != 0)) ++quotient;
  return signed_(std::ldexp(static_cast<double>(quotient), last));
}

// The shortest text that read_double reads back as this finite number, of several the nearest, as std::to_chars writes it; returns
// how many characters.
inline std::size_t write_double(double value, char (&text)[32]) {
  char* out = text;
  const auto pattern = std::bit_cast<std::uint64_t>(value);
  if (pattern >> 63 != 0) *out++ = '-';
  const auto stored = static_cast<int>(pattern >> 52 & 0x7FF);
  const std::uint64_t fraction = pattern & ((std::uint64_t{1} << 52) - 1);
  const std::uint64_t mantissa = stored == 0 ? fraction : fraction | std::uint64_t{1} << 52;
  const int power = std::max(stored, 1) - 1075;
  if (mantissa == 0) {
    *out++ = '0';
    return static_cast<std::size_t>(out - text);
  }

  // value = rest / unit; what is read back as value lies between (rest - low) / unit and (rest + high) / unit.
  const bool narrow = fraction == 0 && stored > 1;  // the next smaller double is half as far as the next greater one
  Whole rest(mantissa), unit(1), low(1), high(1);
  rest.shift((narrow ? 2 : 1) + std::max(power, 0));
  unit.shift((narrow ? 2 : 1) + std::max(-power, 0));
  low.shift(std::max(power, 0));
  high.shift((narrow ? 1 : 0) + std::max(power, 0));
  const bool bounds = mantissa % 2 == 0;  // they are read back as value, too
  const auto reaches = [&] { return sum_of_signs(rest, high, unit) >= (bounds ? 0 : 1); };

  // The decimal point stands behind `point` digits: (rest + high) / unit <= 10^point, by an estimate that is at most one too small.
  int point = static_cast<int>(std::ceil((power + static_cast<int>(std::bit_width(mantissa)) - 1) * 0.30102999566398114 - 1e-10));
  if (point >= 0) {
    unit.multiply_by_power_of_ten(point);
  } else {
    rest.multiply_by_power_of_ten(-point);
    low.multiply_by_power_of_ten(-point);
    high.multiply_by_power_of_ten(-point);
  }
  if (reaches()) {
    ++point;
    unit.multiply(10);
  }
  Whole whole = rest;  // for the digits of a whole number of which the shortest ones are not all

  char digits[20];
  int count = 0;
  for (bool ends = false; !ends;) {
    rest.multiply(10);
    low.multiply(10);
    high.multiply(10);
    int digit = rest.digit(unit);
    const bool down = rest.compare(low) < (bounds ? 1 : 0), up = reaches();
    ends = down || up;
    if (up && down) {
      Whole twice = rest;
      twice.multiply(2);
      const int half = twice.compare(unit);
      if (half > 0 || (half == 0 && digit % 2 != 0)) ++digit;
    } else if (up) {
      ++digit;
    }
    digits[count++] = static_cast<char>('0' + digit);
  }

  const int last = point - count;  // the power of ten of the last digit
  const int least = -(count + 3) + (count == 1 ? 1 : 0), most = 5 - (count == 1 ? 1 : 0);
  if (last < least || last > most) {  // shorter with an exponent
    *out++ = digits[0];
    if (count > 1) *out++ = '.';
    out = std::copy(digits + 1, digits + count, out);
    int exponent = point - 1;
    *out++ = 'e';
    *out++ = exponent < 0 ? '-' : '+';
    exponent = std::abs(exponent);
    if (exponent >= 100) *out++ = static_cast<char>('0' + exponent / 100);
    *out++ = static_cast<char>('0' + exponent / 10 % 10);
    *out++ = static_cast<char>('0' + exponent % 10);
  } else if (last >= 0) {
    for (int i = 0; i < point; ++i) {
      whole.multiply(10);
      *out++ = static_cast<char>('0' + whole.digit(unit));
    }
  } else if (point > 0) {
    out = std::copy(digits, digits + point, out);
    *out++ = '.';
    out = std::copy(digits + point, digits + count, out);
  } else {
    *out++ = '0';
    *out++ = '.';
    out = std::fill_n(out, -point, '0');
    out = std::copy(digits, digits + count, out);
  }
  return static_cast<std::size_t>(out - text);
}

}  // namespace rekur::io::exact
