// Strict JSON (RFC 8259): a value, its parser and writer, and a reader for objects whose every key must be known.
//
//   json::Reader r(value, "LSTM 'lstm'");
//   const Index units = r.positive_integer("units");   // "LSTM 'lstm': 'units' must be a positive integer, got "5""
//   const bool use_bias = r.boolean("use_bias", true);
//   r.finish();                                         // "LSTM 'lstm': unknown key 'use_bais' (did you mean 'use_bias'?)"
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "io/text.hpp"
#include "rekur/tensor.hpp"

namespace rekur::json {

class Value;
struct Member;
using Array = std::vector<Value>;

// Members in the order they were written; keys are unique.
class Object {
 public:
  Object();
  Object(std::initializer_list<std::pair<std::string_view, Value>> members);
  Object(const Object&);
  Object(Object&&) noexcept;
  Object& operator=(const Object&);
  Object& operator=(Object&&) noexcept;
  ~Object();

  const Value* find(std::string_view key) const;  // null when there is none; a linear search
  Value& set(std::string_view key, Value value);  // replaces the value of an existing key, else appends

  std::size_t size() const;
  bool empty() const { return size() == 0; }
  const Member* begin() const;
  const Member* end() const;

  bool operator==(const Object& other) const;  // the order of members does not matter

 private:
  friend class Parser;
  std::vector<Member> members_;
};

// An integer literal (no point, no exponent) stays an integer; everything else numeric is a double.
class Value {
 public:
  Value() = default;
  Value(std::nullptr_t) {}
  Value(bool value) : data_(value) {}
  Value(int value) : data_(std::int64_t{value}) {}
  Value(std::int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(std::string value) : data_(std::move(value)) {}
  Value(std::string_view value) : data_(std::string(value)) {}
  Value(const char* value) : data_(std::string(value)) {}
  Value(Array value) : data_(std::move(value)) {}
  Value(Object value) : data_(std::move(value)) {}

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(data_); }
  bool is_boolean() const { return std::holds_alternative<bool>(data_); }
  bool is_integer() const { return std::holds_alternative<std::int64_t>(data_); }
  bool is_double() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_integer() || is_double(); }
  bool is_string() const { return std::holds_alternative<std::string>(data_); }
  bool is_array() const { return std::holds_alternative<Array>(data_); }
  bool is_object() const { return std::holds_alternative<Object>(data_); }

  // Each throws Error ("expected a string, got 5") when the value is of another kind. number() takes integers too.
  bool boolean() const;
  std::int64_t integer() const;
  double number() const;
  const std::string& string() const;
  const Array& array() const;
  Array& array();
  const Object& object() const;
  Object& object();

  bool operator==(const Value& other) const = default;

 private:
  std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, Array, Object> data_;
};

struct Member {
  std::string key;
  Value value;

  bool operator==(const Member&) const = default;
};

inline constexpr int kMaxDepth = 64;  // of arrays and objects inside each other, read or written

// Throws Error with the offset of the fault: "JSON: expected ',' or '}' at offset 17". Refused besides what the RFC refuses:
// invalid UTF-8, lone surrogates, duplicate keys, integers beyond 64 bits, numbers beyond double, depth beyond kMaxDepth.
Value parse(std::string_view text);

// Without white space; doubles in the fewest digits that read back to the same bits, always with a point or an exponent.
// Throws Error for what parse would refuse: a NaN or an infinity, a string that is not UTF-8.
std::string write(const Value& value);

// A value as an error message shows it: `"5"`, `[1,2]`, `an object`; long strings are cut. Never throws for what it shows.
std::string describe(const Value& value);

bool is_utf8(std::string_view text);

// Reads the keys of one object. Errors begin with the context and name the key, what was expected and what came.
// The value must outlive the reader.
class Reader {
 public:
  Reader(const Value& value, std::string context);

  const std::string& context() const { return context_; }
  const Value* find(const char* key);  // null when there is none
  const Value& get(const char* key);   // throws Error when there is none

  bool boolean(const char* key);
  bool boolean(const char* key, bool fallback);
  Index integer(const char* key);
  Index integer(const char* key, Index fallback);
  Index positive_integer(const char* key);  // a number of units: 1 … 2^31 - 1
  Index positive_integer(const char* key, Index fallback);
  double number(const char* key);
  double number(const char* key, double fallback);
  std::string string(const char* key);
  std::string string(const char* key, const char* fallback);
  const Array& array(const char* key);
  const Object& object(const char* key);

  // Call when every key was asked for: throws Error if the object has one that never was.
  void finish() const;

  // "context: message"; "context: 'key' must be <expected>, got <value>".
  [[noreturn]] void fail(const char* format, Parts parts = {}) const;
  [[noreturn]] void refuse(const char* key, const char* expected) const;

 private:
  std::string unknown_key(std::string_view key) const;

  const Object* object_;
  std::string context_;
  std::vector<std::string> asked_;
};

}  // namespace rekur::json
