// "Did you mean ...?"
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace treadle {

// The candidate nearest to `word` (Damerau-Levenshtein distance, at most a
// third of its length and at least one edit; in other letters' case it is near,
// too), or "" when none is near. The first of equally near candidates.
std::string closest_word(std::string_view word, std::span<const std::string_view> candidates);
std::string closest_word(std::string_view word, std::span<const std::string> candidates);

}  // namespace treadle
