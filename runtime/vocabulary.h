// Maps between tokens (characters or words) and class indices.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace treadle {

// What one token of a text is: a byte, a Unicode character (UTF-8), or a word
// between white space.
enum class TokenUnit : std::uint8_t { byte, character, word };

// The text's tokens, in order. T0930 (with the byte offset) when characters
// are asked of a text that is not UTF-8.
std::vector<std::string_view> tokenise(std::string_view text, TokenUnit unit);

// Tokens that stand for something else than themselves, in a vocabulary of any
// unit: all that it does not hold, the beginning of a sequence, its end.
constexpr std::string_view unknown_token = "<unk>";
constexpr std::string_view begin_token = "<s>";
constexpr std::string_view end_token = "</s>";

struct VocabularyOptions {
  std::int64_t limit = 0;      // how large it may become, marks included; 0: as it comes
  std::int64_t min_count = 1;  // tokens that occur less often are unknown
  bool ends = false;           // it has begin_token and end_token
};

// A fixed list of distinct tokens; a token's index is its class.
class Vocabulary {
 public:
  Vocabulary() = default;
  // T0933 when a token repeats or is neither one `unit` nor a mark.
  Vocabulary(TokenUnit unit, std::vector<std::string> tokens);

  // Every token of the text: bytes and characters by code, words by how often
  // they occur and then by code. Where tokens may be unknown (words, or any with
  // a limit or a min_count) the unknown token has index 0 and the others follow
  // by how often they occur; the marks of `ends` stand in front of what is read.
  static Vocabulary from_text(std::string_view text, TokenUnit unit,
                              const VocabularyOptions& options = {});

  TokenUnit unit() const { return unit_; }
  std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }
  const std::vector<std::string>& tokens() const { return tokens_; }
  // The class of one token or mark, as it is written.
  std::optional<std::int32_t> index(std::string_view token) const;

  // T0932 when the text has a token outside the vocabulary and the vocabulary
  // has no "<unk>".
  std::vector<std::int32_t> encode(std::string_view text) const;
  // Words are joined by one space; marks are written out. Bytes are returned as they are, so a byte
  // vocabulary may give text that is not UTF-8. T0932 for an index outside.
  std::string decode(std::span<const std::int32_t> indices) const;

  // {"unit": "character", "tokens": ["\n", " ", ...]}; a byte is written as its
  // number. T0933 on anything else.
  std::string to_json() const;
  static Vocabulary from_json(std::string_view json, const std::string& name);

  bool operator==(const Vocabulary& other) const {
    return unit_ == other.unit_ && tokens_ == other.tokens_;
  }

 private:
  TokenUnit unit_ = TokenUnit::character;
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::int32_t> index_;
};

}  // namespace treadle
