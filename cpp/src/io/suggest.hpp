// "Did you mean 'adam'?": the nearest known name to one that is unknown.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rekur {

// " (did you mean 'adam'?)" when a candidate is near enough to be what was meant, else "".
std::string suggest(std::string_view name, std::span<const std::string_view> candidates);
std::string suggest(std::string_view name, const std::vector<std::string>& candidates);

// "unknown optimizer 'adm' (did you mean 'adam'?)", or "unknown optimizer 'x' (known: adam, rmsprop, sgd)" when none is near.
std::string unknown_name(std::string_view what, std::string_view name, std::span<const std::string_view> candidates);
std::string unknown_name(std::string_view what, std::string_view name, const std::vector<std::string>& candidates);

}  // namespace rekur
