// Source text to tokens.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "frontend/syntax.h"
#include "ir/diagnostic.h"

namespace treadle {

enum class TokenKind : std::uint8_t { end, newline, identifier, keyword, number, string, symbol };

struct Token {
  TokenKind kind = TokenKind::end;
  SourceRange range;
  std::string_view text;   // the source bytes; for `^` and the like what was meant: "**"
  std::uint32_t line = 1;  // 1-based, of its first byte
  bool first_on_line = false;
  std::string value;      // a string's bytes, escapes resolved
  syntax::Number number;  // a number's value

  bool is(std::string_view symbol_or_keyword) const {
    return (kind == TokenKind::symbol || kind == TokenKind::keyword) && text == symbol_or_keyword;
  }
  bool is_word(std::string_view word) const {
    return kind == TokenKind::identifier && text == word;
  }
};

struct LexedFile {
  std::vector<Token> tokens;  // ends with one `end` token
  std::vector<syntax::Comment> comments;
};

// Splits `file` into tokens. A `newline` token stands where a statement ends:
// not inside ( ) or [ ], nor after a comma or a binary operator. Inside an
// unclosed bracket a line that can only begin a statement ends the bracket, so
// that one missing `)` does not swallow the file. Mistakes go to `diagnostics`
// (T00xx) and lexing goes on with what was probably meant.
LexedFile lex(const SourceFilePtr& file, std::vector<Diagnostic>& diagnostics);

// Words that cannot be names: dim cell block model param let return yield scan
// stack if else and or not true false.
bool is_reserved_word(std::string_view word);

// The text as a literal, quotes and escapes included. It lexes back to the
// same bytes.
std::string quoted(std::string_view bytes);

inline constexpr std::size_t max_source_bytes = 16u << 20;

}  // namespace treadle
