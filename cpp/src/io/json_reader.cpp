// json::Reader and json::describe: what turns a wrong document into an error message that helps.
#include <algorithm>
#include <cmath>
#include <limits>

#include "io/json.hpp"
#include "io/suggest.hpp"
#include "io/text.hpp"

namespace rekur::json {
namespace {

std::string describe_string(const std::string& text) {
  constexpr std::size_t kLongest = 60;
  if (!is_utf8(text)) return "a string that is not UTF-8";
  if (text.size() <= kLongest) return write(text);
  std::size_t end = kLongest;
  while ((static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // never cut inside a character
  return write(compose("%…", {std::string_view(text).substr(0, end)}));
}

}  // namespace

std::string describe(const Value& value) {
  if (value.is_string()) return describe_string(value.string());
  if (value.is_double() && !std::isfinite(value.number())) return "a number that is not finite";
  if (value.is_object()) return "an object";
  if (!value.is_array()) return write(value);
  const Array& array = value.array();
  const bool plain = array.size() <= 8 && std::all_of(array.begin(), array.end(), [](const Value& element) {
                       return element.is_integer() || element.is_null() || element.is_boolean();
                     });
  return plain ? write(value) : compose("an array of %", {array.size()});
}

Reader::Reader(const Value& value, std::string context) : object_(nullptr), context_(std::move(context)) {
  if (!value.is_object()) fail("expected an object, got %", {describe(value)});
  object_ = &value.object();
}

void Reader::fail(const char* format, Parts parts) const { throw_error("%: %", {context_, compose(format, parts)}); }

void Reader::refuse(const char* key, const char* expected) const {
  const Value* value = object_->find(key);
  fail("'%' must be %, got %", {key, expected, (value ? describe(*value) : "nothing")});
}

const Value* Reader::find(const char* key) {
  if (std::find(asked_.begin(), asked_.end(), key) == asked_.end()) asked_.emplace_back(key);
  return object_->find(key);
}

const Value& Reader::get(const char* key) {
  if (const Value* value = find(key)) return *value;
  for (const Member& member : *object_) {  // a misspelt key says more than a missing one
    const bool asked = std::find(asked_.begin(), asked_.end(), member.key) != asked_.end();
    if (!asked && !suggest(member.key, std::vector{std::string(key)}).empty()) fail("%", {unknown_key(member.key)});
  }
  fail("missing key '%'", {key});
}

bool Reader::boolean(const char* key) {
  const Value& value = get(key);
  if (!value.is_boolean()) refuse(key, "true or false");
  return value.boolean();
}

Index Reader::integer(const char* key) {
  const Value& value = get(key);
  if (!value.is_integer()) refuse(key, "an integer");
  return value.integer();
}

Index Reader::positive_integer(const char* key) {
  const Value& value = get(key);
  if (!value.is_integer() || value.integer() < 1) refuse(key, "a positive integer");
  if (value.integer() > std::numeric_limits<std::int32_t>::max()) refuse(key, "at most 2147483647");
  return value.integer();
}

double Reader::number(const char* key) {
  const Value& value = get(key);
  if (!value.is_number()) refuse(key, "a number");
  return value.number();
}

std::string Reader::string(const char* key) {
  const Value& value = get(key);
  if (!value.is_string()) refuse(key, "a string");
  return value.string();
}

const Array& Reader::array(const char* key) {
  const Value& value = get(key);
  if (!value.is_array()) refuse(key, "an array");
  return value.array();
}

const Object& Reader::object(const char* key) {
  const Value& value = get(key);
  if (!value.is_object()) refuse(key, "an object");
  return value.object();
}

bool Reader::boolean(const char* key, bool fallback) { return find(key) ? boolean(key) : fallback; }
Index Reader::integer(const char* key, Index fallback) { return find(key) ? integer(key) : fallback; }
Index Reader::positive_integer(const char* key, Index fallback) { return find(key) ? positive_integer(key) : fallback; }
double Reader::number(const char* key, double fallback) { return find(key) ? number(key) : fallback; }
std::string Reader::string(const char* key, const char* fallback) { return find(key) ? string(key) : std::string(fallback); }

void Reader::finish() const {
  for (const Member& member : *object_) {
    if (std::find(asked_.begin(), asked_.end(), member.key) == asked_.end()) fail("%", {unknown_key(member.key)});
  }
}

// Only keys the object lacks are worth suggesting.
std::string Reader::unknown_key(std::string_view key) const {
  std::vector<std::string> lacking;
  for (const std::string& asked : asked_) {
    if (object_->find(asked) == nullptr) lacking.push_back(asked);
  }
  const std::string nearest = suggest(key, lacking);
  return nearest.empty() ? unknown_name("key", key, asked_) : compose("unknown key '%'%", {key, nearest});
}

}  // namespace rekur::json
