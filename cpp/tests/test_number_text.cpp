// Doubles and text: by <charconv> where the library has it, and by whole numbers, which must say the same.
#include <charconv>
#include <clocale>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <locale>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <version>

#include <doctest/doctest.h>

#include "io/number_text.hpp"
#include "io/number_text_exact.hpp"

namespace {

using rekur::io::exact::read_double;

// A C locale in which 1.5 is 1,5: one that is installed, or a German one made for as long as this lives.
class CommaLocale {
 public:
  CommaLocale() {
    for (const char* name : {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "German"})
      if (set(name)) return;
#if !defined(_WIN32)
    std::random_device random;
    folder_ = std::filesystem::temp_directory_path() / ("rekur-locale-" + std::to_string(random()));
    if (!std::filesystem::create_directory(folder_)) return;
    const std::string make = "localedef -i de_DE -f UTF-8 '" + (folder_ / "de_DE.UTF-8").string() + "' >/dev/null 2>&1";
    if (std::system(make.c_str()) != 0) return;
    setenv("LOCPATH", folder_.c_str(), 1);
    set("de_DE.UTF-8");
    unsetenv("LOCPATH");
#endif
  }
  ~CommaLocale() {
    std::setlocale(LC_ALL, before_.c_str());
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }
  CommaLocale(const CommaLocale&) = delete;
  CommaLocale& operator=(const CommaLocale&) = delete;

  bool found() const { return found_; }

 private:
  bool set(const char* name) {
    found_ = std::setlocale(LC_ALL, name) != nullptr && std::string_view(std::localeconv()->decimal_point) == ",";
    if (!found_) std::setlocale(LC_ALL, before_.c_str());
    return found_;
  }

  const std::string before_ = std::setlocale(LC_ALL, nullptr);
  std::filesystem::path folder_;
  bool found_ = false;
};

std::uint64_t bits(double value) { return std::bit_cast<std::uint64_t>(value); }

std::string written(double value) {
  char text[32];
  return std::string(text, rekur::io::exact::write_double(value, text));
}

void check(double value) {
  char text[32];
  const std::string own = written(value), used(text, rekur::io::write_double(value, text));
  if (own != used) FAIL("written as ", own, " and ", used);
  if (bits(read_double(own)) != bits(value)) FAIL("read back as another number: ", own);
  if (bits(rekur::io::read_double(own)) != bits(value)) FAIL("read back as another number: ", own);
}

// Every kind of double: any, denormal, a power of two, a whole number.
double drawn(std::mt19937_64& random, int kind) {
  std::uint64_t pattern = random();
  if (kind == 1) pattern &= 0x800FFFFFFFFFFFFFu;
  if (kind == 2) pattern &= 0xFFF0000000000000u;
  if (kind == 3) return static_cast<double>(static_cast<std::int64_t>(pattern) >> (pattern & 63));
  return std::bit_cast<double>(pattern);
}

// The digits of (a + b) / 2 for neighbours a, b > 0, all of them: by a sum of whole numbers and halves of their last bit.
std::string middle_of(double a) {
  int power = 0;
  const auto mantissa = static_cast<std::uint64_t>(std::ldexp(std::frexp(a, &power), 53));
  power -= 54;  // (2 mantissa + 1) * 2^power
  std::string digits = std::to_string(2 * mantissa + 1);
  const auto times = [&digits](int factor) {
    int carry = 0;
    for (std::size_t i = digits.size(); i-- > 0;) {
      carry += (digits[i] - '0') * factor;
      digits[i] = static_cast<char>('0' + carry % 10);
      carry /= 10;
    }
    if (carry != 0) digits.insert(0, std::to_string(carry));
  };
  for (int i = 0; i < power; ++i) times(2);
  for (int i = power; i < 0; ++i) times(5);  // and a decimal place
  return digits + "e" + std::to_string(std::min(power, 0));
}

}  // namespace

TEST_SUITE("numbers as text") {
  TEST_CASE("numbers as text: the shortest that is read back, as <charconv> writes it") {
    std::mt19937_64 random(11);
#if defined(REKUR_TEST_SANITIZED)
    const int count = 20000;
#else
    const int count = 300000;
#endif
    for (int i = 0; i < count; ++i)
      if (const double value = drawn(random, i % 4); std::isfinite(value)) check(value);
    for (int power = -1074; power < 1024; ++power) {
      const double value = std::ldexp(1.0, power);
      check(value);
      check(-std::nextafter(value, 0.0));
      check(std::nextafter(value, 1e308));
    }
    for (int power = -320; power < 309; ++power)
      for (const char* digits : {"1", "9007199254740993", "123456789012345678", "5"})
        if (const double value = read_double(digits + ("e" + std::to_string(power))); std::isfinite(value)) check(value);
    CHECK(written(0.1) == "0.1");
    CHECK(written(-0.0) == "-0");
    CHECK(written(100000) == "1e+05");
    CHECK(written(1e22) == "1e+22");
    CHECK(written(5e-324) == "5e-324");
    CHECK(written(123456789012345683968.0) == "123456789012345683968");
    CHECK(written(std::numeric_limits<double>::max()) == "1.7976931348623157e+308");
  }

  TEST_CASE("numbers as text: in the middle of two doubles the even one, next to it the nearer") {
    std::mt19937_64 random(12);
    for (int i = 0; i < 2000; ++i) {
      double a = std::abs(drawn(random, i % 3 == 0 ? 0 : 3));
      if (i % 50 == 0) a = std::bit_cast<double>(static_cast<std::uint64_t>(i) << 42 | 1);
      if (!std::isnormal(a) || a > 1e300) continue;
      const double b = std::nextafter(a, 1.7e308), even = bits(a) % 2 == 0 ? a : b;
      const std::string text = middle_of(a);
      const std::size_t e = text.find('e');
      std::string above = text, below = text;
      above.replace(e, 1, "0000000001e");
      above.replace(above.find('e') + 1, above.npos, std::to_string(std::stoi(text.substr(e + 1)) - 10));
      below.replace(e, 1, "e");
      std::size_t last = e - 1;  // one less
      for (; below[last] == '0'; --last) below[last] = '9';
      --below[last];
      for (const auto read : {&rekur::io::exact::read_double, &rekur::io::read_double}) {
        if (read(text) != even) FAIL("not the even one: ", text);
        if (read(above) != b) FAIL("not the upper one: ", above);
        if (read(below) != a) FAIL("not the lower one: ", below);
      }
    }
  }

  TEST_CASE("numbers as text: beyond the greatest and below the least") {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    for (const auto read : {&rekur::io::exact::read_double, &rekur::io::read_double}) {
      CHECK(read("1e400") == kInfinity);
      CHECK(read("-1e400") == -kInfinity);
      CHECK(read("1.7976931348623158e308") == std::numeric_limits<double>::max());
      CHECK(read("1.7976931348623159e308") == kInfinity);
      CHECK(read("1e99999999999999999999999") == kInfinity);
      CHECK(read("0.000000e99999999999999999999999") == 0);
      CHECK(bits(read("-1e-99999999999999999999999")) == bits(-0.0));
      CHECK(read("2.4703282292062327e-324") == 0);
      CHECK(read("2.4703282292062328e-324") == 5e-324);
      CHECK(bits(read("-0.0")) == bits(-0.0));
      CHECK(read("0"
                 "." +
                 std::string(5000, '0') + "125e5000") == 0.125);
      CHECK(read("125" + std::string(5000, '0') + "e-5003") == 0.125);
      CHECK(read("0.1" + std::string(5000, '0') + "1") == 0.1);
    }
  }

  TEST_CASE("numbers as text: a program's locale is none of their business") {
    const CommaLocale locale;
    if (!locale.found()) MESSAGE("left out: there is no C locale with a decimal comma, nor a localedef to make one");
    const auto same = [] {
      CHECK(rekur::io::read_double("1.5") == 1.5);
      CHECK(read_double("1.5") == 1.5);
      CHECK(written(1.5) == "1.5");
      check(1.5);
    };
    same();
    struct Comma : std::numpunct<char> {
      char do_decimal_point() const override { return ','; }
      char do_thousands_sep() const override { return '.'; }
      std::string do_grouping() const override { return "\3"; }
    };
    const std::locale before = std::locale::global(std::locale(std::locale(), new Comma));
    same();
    std::locale::global(before);
  }
}
