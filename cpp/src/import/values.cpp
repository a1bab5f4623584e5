#include "import/values.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "io/number_text.hpp"

namespace rekur::foreign {
namespace {

[[noreturn]] void refuse(const std::string& what, std::string_view expected, const json::Value* came) {
  throw_error("%: expected %, got %", {what, expected, came == nullptr ? std::string("none") : json::describe(*came)});
}

void append(const json::Value& value, const Shape& shape, std::size_t axis, const std::string& what, std::vector<float>& to) {
  if (axis == shape.size()) {
    to.push_back(number(&value, what));
    return;
  }
  if (!value.is_array() || static_cast<Index>(value.array().size()) != shape[axis])
    refuse(what, compose("an array of shape %", {shape}), &value);
  for (const json::Value& element : value.array()) append(element, shape, axis + 1, what, to);
}

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Digits, with a point within or without.
bool is_decimal(std::string_view text) {
  const std::size_t whole = text.find_first_not_of("0123456789");
  if (whole == text.npos) return !text.empty();
  const std::string_view rest = text.substr(whole + 1);
  return whole > 0 && text[whole] == '.' && !rest.empty() && rest.find_first_not_of("0123456789") == rest.npos;
}

}  // namespace

const json::Value* find(const json::Object& object, std::string_view key) {
  const json::Value* const value = object.find(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

const json::Object& object_of(const json::Value* value, const std::string& what) {
  if (value == nullptr || !value->is_object()) refuse(what, "an object", value);
  return value->object();
}

const json::Object& object_of(const json::Object& object, const char* key, const std::string& what) {
  return object_of(find(object, key), compose("%: %", {what, key}));
}

const json::Array& array_of(const json::Object& object, const char* key, const std::string& what) {
  const json::Value* const value = find(object, key);
  if (value == nullptr || !value->is_array() || value->array().empty())
    refuse(compose("%: %", {what, key}), "an array of at least one", value);
  return value->array();
}

Index count(const json::Value* value, const std::string& what, Index minimum) {
  if (value == nullptr || !value->is_integer() || value->integer() < minimum)
    refuse(what, compose("a whole number of at least %", {minimum}), value);
  return value->integer();
}

Index count(const json::Object& object, const char* key, const std::string& what, std::optional<Index> fallback, Index minimum) {
  const json::Value* const value = object.find(key);
  return value == nullptr && fallback ? *fallback : count(value, compose("%: %", {what, key}), minimum);
}

Index width(const json::Object& object, const char* key, const std::string& what, std::optional<Index> fallback) {
  const Index found = count(object, key, what, fallback);
  if (found > kWidest) throw_error("%: %: expected at most %, got %", {what, key, kWidest, found});
  return found;
}

bool flag(const json::Object& object, const char* key, const std::string& what, std::optional<bool> fallback) {
  const json::Value* const value = object.find(key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_boolean()) refuse(compose("%: %", {what, key}), "true or false", value);
  return value->boolean();
}

float number(const json::Value* value, const std::string& what) {
  constexpr double kLargest = 3.4028235677973366e38;  // half a step beyond float's largest, which rounds to infinity
  if (value == nullptr || !value->is_number()) refuse(what, "a number", value);
  const double found = value->number();
  if (!(std::abs(found) < kLargest)) refuse(what, "a number that float32 can hold", value);
  return static_cast<float>(found);
}

double rate(const json::Object& object, std::initializer_list<const char*> keys, const std::string& what) {
  for (const char* const key : keys) {
    const json::Value* const value = find(object, key);
    if (value == nullptr || (value->is_string() && value->string().empty())) continue;
    const bool text = value->is_string() && is_decimal(value->string());
    const double found = text ? io::read_double(value->string()) : value->is_number() ? value->number() : -kInfinity;
    if (!std::isfinite(found)) refuse(compose("%: %", {what, key}), "a number of Hz", value);
    return std::max(found, 0.0);
  }
  return 0;
}

std::vector<float> numbers(const json::Value* value, const Shape& shape, const std::string& what) {
  std::vector<float> found;
  if (value == nullptr) refuse(what, compose("an array of shape %", {shape}), value);
  append(*value, shape, 0, what, found);
  return found;
}

void expect_known(const json::Object& object, std::initializer_list<std::string_view> keys, const std::string& what) {
  for (const auto& [key, value] : object) {
    if (value.is_null() || (value.is_boolean() && !value.boolean())) continue;
    if (std::find(keys.begin(), keys.end(), key) == keys.end())
      throw_error("%: '%' is not known here, and what it says is not carried", {what, key});
  }
}

}  // namespace rekur::foreign
