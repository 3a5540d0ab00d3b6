// Maps between tokens (characters or words) and class indices.
#pragma once
#include <cstdint>
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

// A fixed list of distinct tokens; a token's index is its class.
class Vocabulary {
 public:
  Vocabulary() = default;
  // T0933 when a token repeats or is not one `unit`.
  Vocabulary(TokenUnit unit, std::vector<std::string> tokens);

  // Every token of the text: bytes and characters by code, words by how often
  // they occur and then by code. Of words the `limit` most frequent are kept
  // (0: all), behind the unknown word "<unk>", which has index 0.
  static Vocabulary from_text(std::string_view text, TokenUnit unit, std::size_t limit = 0);

  TokenUnit unit() const { return unit_; }
  std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }
  const std::vector<std::string>& tokens() const { return tokens_; }

  // T0932 when the text has a token outside the vocabulary and the vocabulary
  // has no "<unk>".
  std::vector<std::int32_t> encode(std::string_view text) const;
  // Words are joined by one space. Bytes are returned as they are, so a byte
  // vocabulary may give text that is not UTF-8. T0932 for an index outside.
  std::string decode(std::span<const std::int32_t> indices) const;

  // {"unit": "character", "tokens": ["\n", " ", ...]}; a byte token is written
  // as its number. T0933 on anything else.
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
