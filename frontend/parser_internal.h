// The recursive-descent parser, split over parser*.cpp.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "frontend/lexer.h"
#include "frontend/parser.h"

namespace treadle::parsing {

// Thrown at a mistake that has been reported; caught where parsing can go on.
struct Bail {};

class Parser {
 public:
  Parser(SourceFilePtr file, std::vector<Diagnostic>& diagnostics);

  syntax::Module module();
  syntax::ExprPtr only_expression();

 private:
  // Tokens (parser.cpp).
  const Token& peek(std::size_t ahead = 0) const;
  const Token& next();
  bool at(std::string_view symbol) const { return peek().is(symbol); }
  bool at_word(std::string_view word) const { return peek().is_word(word); }
  bool accept(std::string_view symbol);
  bool accept_word(std::string_view word);
  const Token& expect(std::string_view symbol, std::string_view where);
  syntax::Identifier name(std::string_view what);
  SourceRange range_from(std::uint32_t begin) const;
  std::uint32_t begin() const { return peek().range.begin; }
  bool ends_statement() const;
  void end_statement();
  void skip_separators();
  void recover();
  void report(std::string code, SourceRange range, std::string message, std::string hint = {});
  [[noreturn]] void fail(std::string code, std::string message, std::string hint = {});
  std::string found() const;

  // Declarations (parser.cpp).
  void declaration(syntax::Module& module);
  syntax::DimDecl dim_declaration();
  syntax::Definition definition();
  std::vector<syntax::Generic> generics();
  syntax::Parameter parameter();
  syntax::ClauseBlock clause_block();
  syntax::Clause clause();
  syntax::ClauseItem clause_item();
  std::string doc_above(std::uint32_t line) const;

  // Statements and types (parser_statements.cpp).
  std::vector<syntax::Statement> statements();
  syntax::Statement statement();
  syntax::Param param();
  syntax::Assign assignment();
  bool looks_like_assignment() const;
  syntax::Pattern pattern();
  std::vector<syntax::Argument> results();
  syntax::ExprPtr leading_dims();
  syntax::TypePtr type();

  // Expressions (parser_expressions.cpp).
  syntax::ExprPtr expression();
  syntax::ExprPtr expression_list();  // a, b makes a Tuple
  syntax::ExprPtr logical_or();
  syntax::ExprPtr logical_and();
  syntax::ExprPtr logical_not();
  syntax::ExprPtr comparison();
  syntax::ExprPtr additive();
  syntax::ExprPtr multiplicative();
  syntax::ExprPtr unary();
  syntax::ExprPtr power();
  syntax::ExprPtr postfix();
  syntax::ExprPtr postfix_of(syntax::ExprPtr base, std::uint32_t start);
  syntax::ExprPtr primary();
  syntax::ExprPtr parenthesised();
  syntax::ExprPtr scan();
  syntax::ExprPtr stack();
  syntax::Subscript subscript();
  std::vector<syntax::Argument> arguments();
  syntax::Argument argument();
  bool begins_expression(const Token& token) const;
  template <typename T>
  syntax::ExprPtr make(T node, std::uint32_t start);
  syntax::ExprPtr binary(syntax::BinaryOp op, syntax::ExprPtr left, syntax::ExprPtr right,
                         const Token& op_token, std::uint32_t start);

  // Bounds recursion: alive while one level of nesting is parsed.
  class Nesting {
   public:
    explicit Nesting(Parser& parser);
    ~Nesting() { --parser_.depth_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    Parser& parser_;
  };

  SourceFilePtr file_;
  std::vector<Diagnostic>& diagnostics_;
  LexedFile lexed_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace treadle::parsing
