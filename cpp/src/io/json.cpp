#include "io/json.hpp"
#include "io/text.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "io/number_text.hpp"
#include "io/suggest.hpp"
#include "runtime/sort.hpp"

namespace rekur::json {

Object::Object() = default;
Object::Object(const Object&) = default;
Object::Object(Object&&) noexcept = default;
Object& Object::operator=(const Object&) = default;
Object& Object::operator=(Object&&) noexcept = default;
Object::~Object() = default;

Object::Object(std::initializer_list<std::pair<std::string_view, Value>> members) {
  for (const auto& [key, value] : members) set(key, value);
}

const Value* Object::find(std::string_view key) const {
  for (const Member& member : members_) {
    if (member.key == key) return &member.value;
  }
  return nullptr;
}

Value& Object::set(std::string_view key, Value value) {
  for (Member& member : members_) {
    if (member.key == key) return member.value = std::move(value);
  }
  return members_.emplace_back(Member{std::string(key), std::move(value)}).value;
}

std::size_t Object::size() const { return members_.size(); }
const Member* Object::begin() const { return members_.data(); }
const Member* Object::end() const { return members_.data() + members_.size(); }

bool Object::operator==(const Object& other) const {
  return size() == other.size() && std::all_of(begin(), end(), [&](const Member& member) {
           const Value* value = other.find(member.key);
           return value != nullptr && *value == member.value;
         });
}

namespace {

template <class T, class Data>
auto& as(Data& data, const Value& value, const char* kind) {
  auto* held = std::get_if<T>(&data);
  if (held == nullptr) throw_error("expected %, got %", {kind, describe(value)});
  return *held;
}

}  // namespace

bool Value::boolean() const { return as<bool>(data_, *this, "true or false"); }
std::int64_t Value::integer() const { return as<std::int64_t>(data_, *this, "an integer"); }
const std::string& Value::string() const { return as<std::string>(data_, *this, "a string"); }
const Array& Value::array() const { return as<Array>(data_, *this, "an array"); }
Array& Value::array() { return as<Array>(data_, *this, "an array"); }
const Object& Value::object() const { return as<Object>(data_, *this, "an object"); }
Object& Value::object() { return as<Object>(data_, *this, "an object"); }

double Value::number() const {
  if (is_integer()) return static_cast<double>(integer());
  return as<double>(data_, *this, "a number");
}

namespace {

// Length in bytes of the UTF-8 character at text[at], 0 when there is none: overlong forms, surrogates and anything beyond U+10FFFF
// included.
std::size_t utf8_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xC2 && first <= 0xDF   ? 2
                             : first >= 0xE0 && first <= 0xEF ? 3
                             : first >= 0xF0 && first <= 0xF4 ? 4
                                                              : 0;
  if (length == 0 || text.size() - at < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const unsigned char second = byte(1);
  const bool bad = (first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) || (first == 0xF0 && second < 0x90) ||
                   (first == 0xF4 && second > 0x8F);
  return bad ? 0 : length;
}

void append_utf8(std::string& out, std::uint32_t code) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | (code >> 6));
    tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | (code >> 12));
    tail(6), tail(0);
  } else {
    out += static_cast<char>(0xF0 | (code >> 18));
    tail(12), tail(6), tail(0);
  }
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Value document() {
    Value result = value(0);
    skip_space();
    if (at_ != text_.size()) fail("unexpected text after the value", at_);
    return result;
  }

 private:
  [[noreturn]] static void fail(const std::string& message, std::size_t offset) {
    throw_error("JSON: % at offset %", {message, offset});
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) ++at_;
  }
  bool accept(char c) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  Value value(int depth) {
    skip_space();
    if (at_ == text_.size()) fail("unexpected end of the text", at_);
    switch (text_[at_]) {
      case '{':
        return object(depth + 1);
      case '[':
        return array(depth + 1);
      case '"':
        return string();
      case 't':
        return word("true", true);
      case 'f':
        return word("false", false);
      case 'n':
        return word("null", nullptr);
      default:
        return number();
    }
  }

  Value word(std::string_view expected, Value result) {
    if (text_.substr(at_, expected.size()) != expected) fail("expected a value", at_);
    at_ += expected.size();
    return result;
  }

  void enter(int depth) {
    if (depth > kMaxDepth) fail(compose("more than % levels of nesting", {kMaxDepth}), at_);
    ++at_;
  }

  Value array(int depth) {
    enter(depth);
    Array result;
    if (accept(']')) return result;
    do {
      result.push_back(value(depth));
    } while (accept(','));
    if (!accept(']')) fail("expected ',' or ']'", at_);
    return result;
  }

  Value object(int depth) {
    enter(depth);
    Object result;
    const std::size_t start = at_;
    if (accept('}')) return result;
    do {
      skip_space();
      if (peek() != '"') fail("expected a key in quotes", at_);
      std::string key = string();
      if (!accept(':')) fail("expected ':'", at_);
      result.members_.push_back({std::move(key), value(depth)});
    } while (accept(','));
    if (!accept('}')) fail("expected ',' or '}'", at_);
    refuse_duplicates(result, start);
    return result;
  }

  // By sorting, once the object is read: a hostile text of a million keys costs no quadratic time.
  static void refuse_duplicates(const Object& object, std::size_t start) {
    const auto key = [members = object.begin()](Index i) -> const std::string& { return members[i].key; };
    const std::vector<Index> order = sorted(object.size(), [&](Index a, Index b) { return key(a) < key(b); });
    for (std::size_t i = 1; i < order.size(); ++i) {
      if (key(order[i]) == key(order[i - 1]))
        fail(compose("duplicate key % in the object", {describe(Value(key(order[i])))}), start - 1);
    }
  }

  std::string string() {
    std::string result;
    const std::size_t start = at_++;
    while (true) {
      if (at_ == text_.size()) fail("string without an end", start);
      const auto c = static_cast<unsigned char>(text_[at_]);
      if (c == '"') break;
      if (c < 0x20) fail("control character in a string", at_);
      if (c == '\\') {
        escape(result);
        continue;
      }
      const std::size_t length = utf8_length(text_, at_);
      if (length == 0) fail("invalid UTF-8", at_);
      result.append(text_, at_, length);
      at_ += length;
    }
    ++at_;
    return result;
  }

  void escape(std::string& out) {
    const std::size_t start = at_++;
    static constexpr std::string_view kNames = "\"\\/bfnrt", kMeant = "\"\\/\b\f\n\r\t";
    if (const std::size_t i = kNames.find(peek()); peek() != '\0' && i != kNames.npos) {
      out += kMeant[i];
      ++at_;
      return;
    }
    if (peek() != 'u') fail("unknown escape", start);
    std::uint32_t code = hex4(start);
    if (code >= 0xD800 && code <= 0xDFFF) {
      if (code >= 0xDC00 || text_.substr(at_, 2) != "\\u") fail("lone surrogate", start);
      ++at_;
      const std::uint32_t low = hex4(start);
      if (low < 0xDC00 || low > 0xDFFF) fail("lone surrogate", start);
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    append_utf8(out, code);
  }

  // at_ stands on the 'u'.
  std::uint32_t hex4(std::size_t start) {
    std::uint32_t code = 0;
    ++at_;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = peek(), letter = static_cast<char>(c | 0x20);
      if (!is_digit(c) && !(letter >= 'a' && letter <= 'f')) fail("expected four hex digits", start);
      code = 16 * code + static_cast<std::uint32_t>(is_digit(c) ? c - '0' : letter - 'a' + 10);
    }
    return code;
  }

  void digits() {
    if (!is_digit(peek())) fail("expected a digit", at_);
    while (is_digit(peek())) ++at_;
  }

  Value number() {
    const std::size_t start = at_;
    if (peek() != '-' && !is_digit(peek())) fail("expected a value", at_);
    if (peek() == '-') ++at_;
    if (peek() == '0' && at_ + 1 < text_.size() && is_digit(text_[at_ + 1])) fail("number with a leading zero", start);
    digits();
    bool integer = true;
    if (peek() == '.') {
      integer = false;
      ++at_;
      digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      integer = false;
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      digits();
    }
    const std::string_view literal = text_.substr(start, at_ - start);
    if (integer && literal != "-0") {  // which is no integer: its sign would be lost
      std::int64_t result = 0;
      if (std::from_chars(literal.data(), literal.data() + literal.size(), result).ec != std::errc{})
        fail("integer beyond 64 bits", start);
      return result;
    }
    const double result = io::read_double(literal);
    if (std::isinf(result)) fail("number beyond the range of double", start);
    return result;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

Value parse(std::string_view text) { return Parser(text).document(); }

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = utf8_length(text, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

namespace {

void write_string(std::string& out, std::string_view text) {
  if (!is_utf8(text)) throw_error("JSON: a string to write is not UTF-8");
  static constexpr std::string_view kNames = "\"\\bfnrt", kMeant = "\"\\\b\f\n\r\t";
  out += '"';
  for (const char c : text) {
    if (const std::size_t i = kMeant.find(c); i != kMeant.npos) {
      out += '\\';
      out += kNames[i];
    } else if (static_cast<unsigned char>(c) < 0x20) {
      static constexpr char kHex[] = "0123456789abcdef";
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

void write_double(std::string& out, double value) {
  if (!std::isfinite(value)) throw_error("JSON: NaN and infinity cannot be written");
  char digits[32];
  const std::string_view text(digits, io::write_double(value, digits));
  out += text;
  if (text.find_first_of(".e") == text.npos) out += ".0";
}

void write_value(std::string& out, const Value& value, int depth) {
  if (depth == kMaxDepth && (value.is_array() || value.is_object())) {
    throw_error("JSON: more than % levels of nesting to write", {kMaxDepth});
  }
  if (value.is_null()) {
    out += "null";
  } else if (value.is_boolean()) {
    out += value.boolean() ? "true" : "false";
  } else if (value.is_integer()) {
    Part(value.integer()).append_to(out);
  } else if (value.is_double()) {
    write_double(out, value.number());
  } else if (value.is_string()) {
    write_string(out, value.string());
  } else if (value.is_array()) {
    char separator = '[';
    for (const Value& element : value.array()) {
      out += separator;
      write_value(out, element, depth + 1);
      separator = ',';
    }
    out += value.array().empty() ? "[]" : "]";
  } else {
    char separator = '{';
    for (const Member& member : value.object()) {
      out += separator;
      write_string(out, member.key);
      out += ':';
      write_value(out, member.value, depth + 1);
      separator = ',';
    }
    out += value.object().empty() ? "{}" : "}";
  }
}

}  // namespace

std::string write(const Value& value) {
  std::string out;
  write_value(out, value, 0);
  return out;
}

}  // namespace rekur::json
