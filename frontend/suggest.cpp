#include "frontend/suggest.h"

#include <algorithm>
#include <vector>

namespace treadle {

namespace {

constexpr std::size_t longest_word = 64;

// Optimal string alignment distance: edits are insert, delete, replace, and
// swap of two neighbours.
bool same_letters(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), previous(b.size() + 1), current(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) previous[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    current[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      current[j] = std::min({replace, previous[j] + 1, current[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        current[j] = std::min(current[j], before[j - 2] + 1);
      }
    }
    std::swap(before, previous);
    std::swap(previous, current);
  }
  return previous[b.size()];
}

template <typename Word>
std::string closest(std::string_view word, std::span<const Word> candidates) {
  if (word.size() > longest_word) return {};
  std::size_t best = std::max<std::size_t>(1, word.size() / 3) + 1;
  std::string found;
  for (const Word& candidate : candidates) {
    if (candidate.size() > longest_word || candidate == word) continue;
    if (same_letters(word, candidate)) return std::string(candidate);
    const std::size_t edits = distance(word, candidate);
    if (edits >= best || edits >= word.size()) continue;
    best = edits;
    found = candidate;
  }
  return found;
}

}  // namespace

std::string closest_word(std::string_view word, std::span<const std::string_view> candidates) {
  return closest(word, candidates);
}
std::string closest_word(std::string_view word, std::span<const std::string> candidates) {
  return closest(word, candidates);
}

}  // namespace treadle
