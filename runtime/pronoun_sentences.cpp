#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <string_view>
#include <utility>

#include "ir/diagnostic.h"
#include "runtime/generators.h"
#include "runtime/random.h"

namespace treadle {
namespace {

using Words = std::vector<std::string_view>;

// What one pronoun can stand for.
struct Kind {
  std::string_view pronoun, verb, article;
  Words nouns;
};

const std::array<Kind, 4>& kinds() {
  static const std::array<Kind, 4> all{{
      {"she", "was", "", {"anna", "ella", "mia", "ruth"}},
      {"he", "was", "", {"ben", "carl", "hugo", "tom"}},
      {"it", "was", "the", {"boat", "book", "kite", "lamp"}},
      {"they", "were", "the", {"birds", "cats", "dogs", "twins"}},
  }};
  return all;
}

class Sentence {
 public:
  explicit Sentence(RandomStream random) : random_(random) {
    std::array<std::size_t, 4> order{0, 1, 2, 3};
    for (std::size_t i = order.size() - 1; i > 0; --i)
      std::swap(order[i], order[random_.next_below(i + 1)]);
    const std::size_t nouns = random_.next_uniform() < 0.5 ? 2 : 3;
    Words chosen;
    for (std::size_t i = 0; i < nouns; ++i) {
      if (i > 0) word(i == 1 ? pick({"saw", "heard", "found", "left"}) : pick({"near", "behind"}));
      chosen.push_back(noun(kinds()[order[i]]));
    }
    const std::size_t meant = random_.next_below(nouns);
    const Kind& kind = kinds()[order[meant]];
    word(pick({"and", "because", "while"}));
    word(kind.pronoun, chosen[meant]);
    word(kind.verb);
    word(pick({"lost", "late", "cold", "quiet"}));
  }

  std::string text() const { return fmt::format("{}", fmt::join(words_, " ")); }
  std::string refers() const { return fmt::format("{}", fmt::join(refers_, " ")); }

 private:
  std::string_view pick(const Words& words) { return words[random_.next_below(words.size())]; }

  void word(std::string_view word) { this->word(word, word); }
  void word(std::string_view word, std::string_view refers) {
    words_.push_back(word);
    refers_.push_back(refers);
  }

  std::string_view noun(const Kind& kind) {
    if (!kind.article.empty()) word(kind.article);
    if (!kind.article.empty() && random_.next_uniform() < 0.4) word(pick({"old", "red", "small"}));
    const std::string_view noun = pick(kind.nouns);
    word(noun);
    return noun;
  }

  RandomStream random_;
  Words words_, refers_;
};

}  // namespace

PronounSentences pronoun_sentences(std::int64_t n, std::uint64_t seed) {
  if (n < 1)
    throw_user_error("T0985", fmt::format("the number of examples is {}, at least 1 is needed", n));
  PronounSentences out;
  for (std::int64_t i = 0; i < n; ++i) {
    const Sentence sentence({seed, mix(hash_text("pronouns"), static_cast<std::uint64_t>(i))});
    out.text.push_back(sentence.text());
    out.refers.push_back(sentence.refers());
  }
  return out;
}

}  // namespace treadle
