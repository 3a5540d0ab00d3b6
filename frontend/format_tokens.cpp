#include "frontend/format_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "ir/diagnostic.h"

namespace treadle::formatting {

namespace {

// Words that begin a declaration and may also be names.
constexpr std::array<std::string_view, 5> declaration_words = {"train", "eval", "generate", "test",
                                                               "import"};

// As it is printed: a number's unit stands one blank behind it.
std::string_view spelling(const Token& token) {
  return token.kind == TokenKind::number ? std::string_view(token.number.spelling) : token.text;
}

bool opens(const Token& token) { return token.is("(") || token.is("[") || token.is("{"); }
bool closes(const Token& token) { return token.is(")") || token.is("]") || token.is("}"); }

}  // namespace

TokenCursor::TokenCursor(LexedFile file) : comments_(std::move(file.comments)) {
  bool separated = false, new_line = false;
  for (Token& token : file.tokens) {
    if (token.kind == TokenKind::newline || token.is(";")) {
      separated = true;
      new_line = new_line || token.kind == TokenKind::newline;
      continue;
    }
    tokens_.push_back(std::move(token));
    separated_.push_back(std::exchange(separated, false));
    new_line_.push_back(std::exchange(new_line, false));
  }
  match_brackets();
  at_.commented = tokens_.size();
}

void TokenCursor::match_brackets() {
  match_.assign(tokens_.size(), tokens_.size());
  std::vector<std::size_t> open;
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    if (opens(tokens_[i])) open.push_back(i);
    if (!closes(tokens_[i])) continue;
    ensure(!open.empty(), "format", "a bracket closes that was not opened");
    match_[open.back()] = i;
    open.pop_back();
  }
  ensure(open.empty(), "format", "a bracket is not closed");
}

const syntax::Comment* TokenCursor::comment_before_token() const {
  if (at_.comment == comments_.size()) return nullptr;
  const syntax::Comment& next = comments_[at_.comment];
  return next.range.begin < peek().range.begin || at_end() ? &next : nullptr;
}

Doc TokenCursor::comments() {
  Doc out;
  while (const syntax::Comment* next = comment_before_token()) {
    out += comment(next->text, next->own_line);
    skip_comment();
    at_.commented = at_.token;
  }
  return out;
}

Doc TokenCursor::take_first(std::string_view expected) {
  const Token& token = peek();
  ensure(token.kind != TokenKind::end && (expected.empty() || token.text == expected), "format",
         fmt::format("expected '{}' at '{}'", expected, token.text));
  Doc out = text(spelling(token));
  // Behind a comment a line begins, so here the lexer took this token's line
  // for no statement: it was alone on it and must stay alone.
  if (at_.commented == at_.token && would_begin_statement(at_.token)) out += newline();
  ++at_.token;
  return out;
}

Doc TokenCursor::take(std::string_view expected) {
  Doc out = comments();
  out += take_first(expected);
  return out;
}

Doc TokenCursor::line() {
  Doc out = comments();
  out += would_begin_statement(at_.token) ? space() : formatting::line();
  return out;
}

Doc TokenCursor::softline() {
  Doc out = comments();
  if (!would_begin_statement(at_.token)) out += formatting::softline();
  return out;
}

// The lexer's rule for `train`, `test`, ... at the start of a line: a word or a
// string behind it makes it a declaration.
bool TokenCursor::would_begin_statement(std::size_t index) const {
  const Token& token = tokens_[index];
  if (token.kind != TokenKind::identifier || index + 1 >= tokens_.size()) return false;
  if (std::find(declaration_words.begin(), declaration_words.end(), token.text) ==
      declaration_words.end())
    return false;
  const TokenKind next = tokens_[index + 1].kind;
  return !separated_[index + 1] &&
         (next == TokenKind::identifier || next == TokenKind::keyword || next == TokenKind::string);
}

std::size_t TokenCursor::index_beginning_at(std::uint32_t offset) const {
  const auto found =
      std::lower_bound(tokens_.begin(), tokens_.end(), offset,
                       [](const Token& token, std::uint32_t at) { return token.range.begin < at; });
  ensure(found != tokens_.end() && found->range.begin == offset, "format",
         "no token begins where a node does");
  return static_cast<std::size_t>(found - tokens_.begin());
}

std::size_t TokenCursor::index_ending_at(std::uint32_t offset) const {
  const auto found =
      std::lower_bound(tokens_.begin(), tokens_.end(), offset,
                       [](const Token& token, std::uint32_t at) { return token.range.end < at; });
  ensure(found != tokens_.end() && found->range.end == offset, "format",
         "no token ends where a node does");
  return static_cast<std::size_t>(found - tokens_.begin());
}

bool TokenCursor::is_written_on_lines(std::size_t index) const {
  const std::size_t close = match_[index];
  for (std::size_t i = index + 1; i <= close; ++i)
    if (new_line_[i]) return true;
  return std::any_of(comments_.begin(), comments_.end(), [&](const syntax::Comment& comment) {
    return comment.range.begin > tokens_[index].range.begin &&
           comment.range.begin < tokens_[close].range.begin;
  });
}

}  // namespace treadle::formatting
