// The tokens of a program in order, each with the comments before it, as the
// formatter walks them along the syntax tree.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "frontend/format_doc.h"
#include "frontend/lexer.h"

namespace treadle::formatting {

// Newlines and `;` are no tokens here: what they say is in `separated`.
class TokenCursor {
 public:
  explicit TokenCursor(LexedFile file);

  struct Mark {
    std::size_t token = 0, comment = 0, commented = 0;
  };
  Mark mark() const { return at_; }
  void reset(const Mark& mark) { at_ = mark; }

  bool at(std::string_view symbol_or_word) const { return peek().text == symbol_or_word; }
  const Token& peek() const { return tokens_[at_.token]; }
  const Token& previous() const { return tokens_[at_.token - 1]; }
  bool at_end() const { return peek().kind == TokenKind::end; }

  // The comments before the next token that have not been taken.
  Doc comments();
  // Those, and the next token; `expected` is checked when it is given.
  Doc take(std::string_view expected = {});
  // The next token alone: its comments go behind it. For `,` and operators.
  Doc take_first(std::string_view expected = {});
  // Passes over the next token; its comments stay due.
  void skip() { ++at_.token; }

  // The comments before the next token, and a place where a line may break in
  // front of it; a blank alone where the lexer would take that line for the
  // beginning of a statement.
  Doc line();
  Doc softline();

  // The next comment when it stands before the next token, else null.
  const syntax::Comment* comment_before_token() const;
  void skip_comment() { ++at_.comment; }

  // Index of the token that begins at, or ends at, this offset.
  std::size_t index_beginning_at(std::uint32_t offset) const;
  std::size_t index_ending_at(std::uint32_t offset) const;
  std::size_t index() const { return at_.token; }
  const Token& token(std::size_t index) const { return tokens_[index]; }
  // The token that closes the bracket at `index`.
  std::size_t match(std::size_t index) const { return match_[index]; }
  // Is there a line's end or a comment behind the opening bracket at `index`
  // and before what closes it? A line's end inside a statement does not count.
  bool is_written_on_lines(std::size_t index) const;

 private:
  void match_brackets();
  bool would_begin_statement(std::size_t index) const;

  std::vector<Token> tokens_;    // the last one is the end
  std::vector<bool> separated_;  // a newline or `;` stands before the token
  std::vector<bool> new_line_;   // a newline token stands before it
  std::vector<std::size_t> match_;
  std::vector<syntax::Comment> comments_;
  Mark at_;
};

}  // namespace treadle::formatting
