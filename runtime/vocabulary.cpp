#include "runtime/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "ir/diagnostic.h"

namespace treadle {
namespace {

constexpr std::string_view white_space = " \t\r\n\v\f";

// The length of the UTF-8 character at the front of `text`, 0 when it is not
// one (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;
  if (lead == 0xED && byte(1) > 0x9F) return 0;
  if (lead == 0xF0 && byte(1) < 0x90) return 0;
  if (lead == 0xF4 && byte(1) > 0x8F) return 0;
  return length;
}

bool is_mark(std::string_view token) {
  return token == unknown_token || token == begin_token || token == end_token;
}

std::vector<std::string_view> split_words(std::string_view text) {
  std::vector<std::string_view> out;
  std::size_t at = 0;
  while ((at = text.find_first_not_of(white_space, at)) != std::string_view::npos) {
    const std::size_t end = std::min(text.find_first_of(white_space, at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end;
  }
  return out;
}

std::vector<std::string_view> split_characters(std::string_view text) {
  std::vector<std::string_view> out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = utf8_length(text.substr(at));
    if (length == 0)
      throw_user_error("T0930",
                       fmt::format("the text is not UTF-8: byte {} (0x{:02x})", at,
                                   static_cast<unsigned char>(text[at])),
                       "convert the file to UTF-8, or read it as bytes");
    out.push_back(text.substr(at, length));
    at += length;
  }
  return out;
}

std::string printable(std::string_view token) {
  std::string out;
  for (const char c : token) {
    if (c == '\n')
      out += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      out += c;
  }
  return out;
}

constexpr std::string_view unit_names[] = {"byte", "character", "word"};

[[noreturn]] void malformed(const std::string& name, std::string_view why) {
  throw_user_error("T0933", fmt::format("{} is not a vocabulary: {}", name, why));
}

std::string token_from_json(const nlohmann::json& value, TokenUnit unit, const std::string& name) {
  if (unit == TokenUnit::byte && !value.is_string()) {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > 255)
      malformed(name, "a byte token is a number from 0 to 255");
    return std::string(1, static_cast<char>(value.get<std::uint64_t>()));
  }
  if (!value.is_string()) malformed(name, "a token is a string");
  return value.get<std::string>();
}

}  // namespace

std::vector<std::string_view> tokenise(std::string_view text, TokenUnit unit) {
  if (unit == TokenUnit::word) {
    split_characters(text);  // for its errors
    return split_words(text);
  }
  if (unit == TokenUnit::character) return split_characters(text);
  std::vector<std::string_view> out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) out.push_back(text.substr(i, 1));
  return out;
}

Vocabulary::Vocabulary(TokenUnit unit, std::vector<std::string> tokens)
    : unit_(unit), tokens_(std::move(tokens)) {
  for (const std::string& token : tokens_) {
    if (!is_mark(token) && tokenise(token, unit_) != std::vector<std::string_view>{token})
      throw_user_error("T0933", fmt::format("'{}' is not one {}", printable(token),
                                            unit_names[static_cast<int>(unit_)]));
    if (!index_.emplace(token, static_cast<std::int32_t>(index_.size())).second)
      throw_user_error("T0933",
                       fmt::format("the token '{}' is in the vocabulary twice", printable(token)));
  }
}

Vocabulary Vocabulary::from_text(std::string_view text, TokenUnit unit,
                                 const VocabularyOptions& options) {
  std::map<std::string_view, std::int64_t> counts;
  for (const std::string_view token : tokenise(text, unit)) ++counts[token];
  std::erase_if(counts, [](const auto& entry) { return is_mark(entry.first); });
  const bool ranks = unit == TokenUnit::word || options.limit > 0 || options.min_count > 1;
  std::vector<std::string> tokens;
  if (ranks) tokens.emplace_back(unknown_token);
  if (options.ends) tokens.insert(tokens.end(), {std::string(begin_token), std::string(end_token)});
  std::vector<std::pair<std::string_view, std::int64_t>> kept(counts.begin(), counts.end());
  if (ranks)
    std::stable_sort(kept.begin(), kept.end(),
                     [](const auto& a, const auto& b) { return a.second > b.second; });
  for (const auto& [token, count] : kept) {
    if (options.limit > 0 && static_cast<std::int64_t>(tokens.size()) >= options.limit) break;
    if (count >= options.min_count) tokens.emplace_back(token);
  }
  return {unit, std::move(tokens)};
}

std::optional<std::int32_t> Vocabulary::index(std::string_view token) const {
  const auto found = index_.find(std::string(token));
  return found == index_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<std::int32_t> Vocabulary::encode(std::string_view text) const {
  std::vector<std::int32_t> out;
  const auto fallback = index_.find(std::string(unknown_token));
  for (const std::string_view token : tokenise(text, unit_)) {
    auto found = index_.find(std::string(token));
    if (found == index_.end()) found = fallback;
    if (found == index_.end())
      throw_user_error("T0932",
                       fmt::format("'{}' is not in the vocabulary of {} {}s", printable(token),
                                   size(), unit_names[static_cast<int>(unit_)]),
                       "train with a text that holds every token, or remove it from this text; a "
                       "vocabulary with <unk> reads it as unknown");
    out.push_back(found->second);
  }
  return out;
}

std::string Vocabulary::decode(std::span<const std::int32_t> indices) const {
  std::string out;
  for (const std::int32_t index : indices) {
    if (index < 0 || index >= size())
      throw_user_error("T0932",
                       fmt::format("{} is not a class of a vocabulary of {}", index, size()));
    if (unit_ == TokenUnit::word && !out.empty()) out += ' ';
    out += tokens_[static_cast<std::size_t>(index)];
  }
  return out;
}

std::string Vocabulary::to_json() const {
  nlohmann::ordered_json out;
  out["unit"] = unit_names[static_cast<int>(unit_)];
  out["tokens"] = nlohmann::ordered_json::array();
  for (const std::string& token : tokens_) {
    if (unit_ == TokenUnit::byte && !is_mark(token))
      out["tokens"].push_back(static_cast<unsigned char>(token[0]));
    else
      out["tokens"].push_back(token);
  }
  return out.dump();
}

Vocabulary Vocabulary::from_json(std::string_view json, const std::string& name) {
  const nlohmann::json parsed = nlohmann::json::parse(json, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("unit") || !parsed.contains("tokens"))
    malformed(name, "it is not JSON with 'unit' and 'tokens'");
  const auto* found = std::find(std::begin(unit_names), std::end(unit_names), parsed["unit"]);
  if (found == std::end(unit_names)) malformed(name, "its unit is not byte, character or word");
  if (!parsed["tokens"].is_array()) malformed(name, "'tokens' is not a list");
  const auto unit = static_cast<TokenUnit>(found - std::begin(unit_names));
  std::vector<std::string> tokens;
  for (const nlohmann::json& value : parsed["tokens"])
    tokens.push_back(token_from_json(value, unit, name));
  return {unit, std::move(tokens)};
}

}  // namespace treadle
