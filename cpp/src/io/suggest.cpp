#include "io/suggest.hpp"
#include "io/text.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace rekur {
namespace {

constexpr std::size_t kLongest = 64;  // names beyond this are nobody's typing error

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Damerau-Levenshtein distance (restricted), letter case ignored: insert, delete, replace or swap two neighbours costs 1.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), previous(b.size() + 1), row(b.size() + 1);
  std::iota(previous.begin(), previous.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = lower(a[i - 1]) == lower(b[j - 1]);
      row[j] = std::min({previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1])) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(previous);
    previous.swap(row);
  }
  return previous[b.size()];
}

std::vector<std::string_view> views(const std::vector<std::string>& names) { return {names.begin(), names.end()}; }

}  // namespace

std::string suggest(std::string_view name, std::span<const std::string_view> candidates) {
  if (name.empty() || name.size() > kLongest) return "";
  std::string_view best;
  std::size_t best_distance = 0;
  for (const std::string_view candidate : candidates) {
    if (candidate.empty() || candidate.size() > kLongest) continue;
    const std::size_t distance = edit_distance(name, candidate);
    if (distance * 3 > std::max(name.size(), candidate.size()) + 1) continue;  // about one error in three letters
    if (best.empty() || distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best.empty() ? "" : compose(" (did you mean '%'?)", {best});
}

std::string suggest(std::string_view name, const std::vector<std::string>& candidates) { return suggest(name, views(candidates)); }

std::string unknown_name(std::string_view what, std::string_view name, std::span<const std::string_view> candidates) {
  std::string text = compose("unknown % '%", {what, name.substr(0, kLongest)});
  text += name.size() > kLongest ? "…'" : "'";
  const std::string nearest = suggest(name, candidates);
  if (!nearest.empty() || candidates.empty()) return text + nearest;
  text += " (known: ";
  for (std::size_t i = 0; i < candidates.size(); ++i) text.append(i == 0 ? "" : ", ").append(candidates[i]);
  return text + ")";
}

std::string unknown_name(std::string_view what, std::string_view name, const std::vector<std::string>& candidates) {
  return unknown_name(what, name, views(candidates));
}

}  // namespace rekur
