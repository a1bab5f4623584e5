// Values of other programs' JSON: what a caller may not rely on is refused with the place at which it stands. Unlike specs these
// objects may have keys that nobody reads.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.hpp"
#include "io/text.hpp"
#include "rekur/tensor.hpp"

namespace rekur::foreign {

inline constexpr Index kWidest = Index{1} << 16;   // features, units, channels of one layer
inline constexpr Index kLongest = Index{1} << 24;  // steps that a convolution looks back

// Null where there is none, and where it is null.
const json::Value* find(const json::Object& object, std::string_view key);

const json::Object& object_of(const json::Value* value, const std::string& what);
const json::Object& object_of(const json::Object& object, const char* key, const std::string& what);
const json::Array& array_of(const json::Object& object, const char* key, const std::string& what);

// A whole number of at least `minimum`; without a fallback it must be there.
Index count(const json::Value* value, const std::string& what, Index minimum = 1);
Index count(const json::Object& object, const char* key, const std::string& what, std::optional<Index> fallback = {},
            Index minimum = 1);
// … of at most kWidest.
Index width(const json::Object& object, const char* key, const std::string& what, std::optional<Index> fallback = {});
bool flag(const json::Object& object, const char* key, const std::string& what, std::optional<bool> fallback = {});
// The nearest float32 of a number.
float number(const json::Value* value, const std::string& what);
// A sample rate under the first of these keys that there is, a number or, as AIDA-X's trainer writes it, its text; 0 where none
// says one, or says it by 0, -1 or "".
double rate(const json::Object& object, std::initializer_list<const char*> keys, const std::string& what);
// Arrays within arrays, of a shape: their numbers one after the other.
std::vector<float> numbers(const json::Value* value, const Shape& shape, const std::string& what);
// Throws where a key says something that is not known here, and that the numbers may depend on.
void expect_known(const json::Object& object, std::initializer_list<std::string_view> keys, const std::string& what);

}  // namespace rekur::foreign
