#include "frontend/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "frontend/foreign_words.h"
#include "frontend/parser_internal.h"
#include "frontend/suggest.h"

namespace treadle::parsing {

using namespace syntax;

namespace {
constexpr int max_nesting = 100;
constexpr std::array<std::string_view, 9> declaration_words = {
    "dim", "cell", "block", "model", "train", "eval", "generate", "test", "import"};
}  // namespace

Parser::Parser(SourceFilePtr file, std::vector<Diagnostic>& diagnostics)
    : file_(std::move(file)), diagnostics_(diagnostics), lexed_(lex(file_, diagnostics_)) {}

Parser::Nesting::Nesting(Parser& parser) : parser_(parser) {
  if (++parser_.depth_ <= max_nesting) return;
  --parser_.depth_;
  parser_.fail("T0106", fmt::format("this is nested more than {} deep", max_nesting),
               "name a part of it first: y = ...");
}

const Token& Parser::peek(std::size_t ahead) const {
  return lexed_.tokens[std::min(at_ + ahead, lexed_.tokens.size() - 1)];
}

const Token& Parser::next() {
  const Token& token = peek();
  if (at_ + 1 < lexed_.tokens.size()) ++at_;
  return token;
}

bool Parser::accept(std::string_view symbol) {
  if (!at(symbol)) return false;
  next();
  return true;
}

bool Parser::accept_word(std::string_view word) {
  if (!at_word(word)) return false;
  next();
  return true;
}

std::string Parser::found() const {
  const Token& token = peek();
  switch (token.kind) {
    case TokenKind::end: return "the end of the file";
    case TokenKind::newline: return "the end of the line";
    case TokenKind::string: return "a string";
    case TokenKind::number: return fmt::format("the number {}", token.text);
    default: return fmt::format("'{}'", token.text);
  }
}

void Parser::report(std::string code, SourceRange range, std::string message, std::string hint) {
  if (diagnostics_.size() >= max_reported_errors) return;
  Diagnostic diagnostic;
  diagnostic.code = std::move(code);
  diagnostic.range = std::move(range);
  diagnostic.message = std::move(message);
  if (!hint.empty()) diagnostic.hints.push_back(std::move(hint));
  diagnostics_.push_back(std::move(diagnostic));
}

void Parser::fail(std::string code, std::string message, std::string hint) {
  report(std::move(code), peek().range, std::move(message), std::move(hint));
  throw Bail{};
}

const Token& Parser::expect(std::string_view symbol, std::string_view where) {
  if (at(symbol)) return next();
  fail("T0101", fmt::format("expected '{}' {}, found {}", symbol, where, found()));
}

Identifier Parser::name(std::string_view what) {
  const Token& token = peek();
  if (token.kind == TokenKind::identifier) {
    next();
    return {std::string(token.text), token.range};
  }
  fail("T0104", fmt::format("expected {}, found {}", what, found()),
       token.kind == TokenKind::keyword
           ? fmt::format("'{}' is a word of the language and cannot be a name", token.text)
           : "");
}

SourceRange Parser::range_from(std::uint32_t start) const {
  const std::uint32_t end = at_ == 0 ? start : lexed_.tokens[at_ - 1].range.end;
  return {file_, start, std::max(start, end)};
}

bool Parser::ends_statement() const {
  return peek().kind == TokenKind::newline || peek().kind == TokenKind::end || at(";") || at("}");
}

void Parser::end_statement() {
  if (!ends_statement())
    fail("T0102", fmt::format("expected the end of the statement, found {}", found()),
         "a statement ends with its line, or with ';'");
  skip_separators();
}

void Parser::skip_separators() {
  while (peek().kind == TokenKind::newline || at(";")) next();
}

// Goes on behind the statement that failed: at the next line, `;`, or before
// the brace that closes the block.
void Parser::recover() {
  int braces = 0;
  while (peek().kind != TokenKind::end) {
    if (braces == 0 && (peek().kind == TokenKind::newline || at(";") || at("}"))) break;
    if (at("{")) ++braces;
    if (at("}")) --braces;
    next();
  }
  skip_separators();
}

std::string Parser::doc_above(std::uint32_t line) const {
  std::vector<const Comment*> found;
  for (auto it = lexed_.comments.rbegin(); it != lexed_.comments.rend(); ++it) {
    const std::uint32_t at_line = line_column(*file_, it->range.begin).line;
    if (at_line >= line) continue;
    if (!it->doc || !it->own_line || at_line + 1 != line) break;
    found.push_back(&*it);
    line = at_line;
  }
  std::string out;
  for (auto it = found.rbegin(); it != found.rend(); ++it) {
    std::string_view text = (*it)->text;
    text.remove_prefix(std::min(text.find_first_not_of('#'), text.size()));
    if (text.starts_with(' ')) text.remove_prefix(1);
    if (!out.empty()) out += '\n';
    out += text;
  }
  return out;
}

syntax::Module Parser::module() {
  Module out;
  out.file = file_;
  skip_separators();
  while (peek().kind != TokenKind::end) {
    const std::size_t before = at_;
    try {
      declaration(out);
    } catch (const Bail&) {
      recover();
      while (accept("}")) skip_separators();
      if (at_ == before) next();
    }
    skip_separators();
  }
  out.comments = std::move(lexed_.comments);
  return out;
}

syntax::ExprPtr Parser::only_expression() {
  try {
    skip_separators();
    ExprPtr out = expression();
    skip_separators();
    if (peek().kind != TokenKind::end)
      fail("T0102", fmt::format("expected one expression, then found {}", found()));
    return out;
  } catch (const Bail&) {
    return nullptr;
  }
}

void Parser::declaration(Module& module) {
  const std::uint32_t start = begin();
  Declaration out;
  if (peek().first_on_line) out.doc = doc_above(peek().line);
  if (at("dim")) {
    out.node = dim_declaration();
  } else if (at("cell") || at("block") || at("model")) {
    out.node = definition();
  } else if (at_word("train") || at_word("eval") || at_word("generate") || at_word("test")) {
    out.node = clause_block();
  } else if (accept_word("import")) {
    if (peek().kind != TokenKind::string)
      fail("T0101", fmt::format("expected a path in quotes after 'import', found {}", found()));
    const Token& path = next();
    out.node = Import{{path.value, path.range}};
  } else {
    const std::string near = closest_word(peek().text, declaration_words);
    const std::string here = said_here(peek().text);
    fail("T0103", fmt::format("expected a declaration, found {}", found()),
         !here.empty() ? here
         : near.empty()
             ? "a file is made of dim, cell, block, model, train, eval, generate and test"
             : fmt::format("did you mean '{}'?", near));
  }
  out.range = range_from(start);
  module.declarations.push_back(std::move(out));
  if (peek().kind != TokenKind::newline && peek().kind != TokenKind::end && !at(";"))
    fail("T0102", fmt::format("expected the end of the declaration, found {}", found()));
}

DimDecl Parser::dim_declaration() {
  next();
  DimDecl out;
  do {
    DimDecl::Entry entry;
    entry.name = name("the name of a dim");
    if (accept("=")) entry.value = expression();
    out.entries.push_back(std::move(entry));
  } while (accept(","));
  return out;
}

std::vector<Generic> Parser::generics() {
  std::vector<Generic> out;
  if (!accept("[")) return out;
  while (!at("]")) {
    Generic generic;
    if (accept("cell"))
      generic.kind = Generic::Kind::cell;
    else if (accept("block"))
      generic.kind = Generic::Kind::block;
    generic.name = name("the name of a dim");
    if (accept("=")) generic.default_value = expression();
    out.push_back(std::move(generic));
    if (!accept(",")) break;
  }
  expect("]", "after the dims");
  return out;
}

Parameter Parser::parameter() {
  const std::uint32_t start = begin();
  Parameter out;
  out.pattern = pattern();
  expect(":", "and a type after the argument's name");
  out.type = type();
  if (accept("=")) out.default_value = expression();
  out.range = range_from(start);
  return out;
}

Definition Parser::definition() {
  const std::uint32_t start = begin();
  Definition out;
  const Token& keyword = next();
  out.kind = keyword.text == "cell"    ? Definition::Kind::cell
             : keyword.text == "block" ? Definition::Kind::block
                                       : Definition::Kind::model;
  out.name = name(fmt::format("the {}'s name", keyword.text));
  out.generics = generics();
  expect("(", "and the arguments");
  while (!at(")")) {
    out.parameters.push_back(parameter());
    if (!accept(",")) break;
  }
  expect(")", "after the arguments");
  if (accept_word("where")) out.where = expression();
  out.header = range_from(start);
  const Token& open =
      expect("{", fmt::format("and the body of {} {}", keyword.text, out.name.text));
  out.body = statements();
  if (!accept("}")) {
    report("T0109", open.range, "this '{' is never closed");
    throw Bail{};
  }
  return out;
}

ClauseBlock Parser::clause_block() {
  ClauseBlock out;
  const Token& keyword = next();
  out.kind = keyword.text == "train"      ? ClauseBlock::Kind::train
             : keyword.text == "eval"     ? ClauseBlock::Kind::eval
             : keyword.text == "generate" ? ClauseBlock::Kind::generate
                                          : ClauseBlock::Kind::test;
  if (out.kind != ClauseBlock::Kind::test) {
    out.subjects.push_back(postfix());
    while (accept(",")) {
      while (peek().kind == TokenKind::newline) next();
      out.subjects.push_back(postfix());
    }
  }
  if (peek().kind == TokenKind::string) {
    const Token& title = next();
    out.title = Identifier{title.value, title.range};
  } else if (out.kind == ClauseBlock::Kind::test) {
    fail("T0101", fmt::format("expected the test's title in quotes, found {}", found()),
         "test \"gradients\" { ... }");
  }
  const Token& open = expect("{", fmt::format("and the clauses of '{}'", keyword.text));
  skip_separators();
  while (!at("}") && peek().kind != TokenKind::end) {
    try {
      out.clauses.push_back(clause());
      end_statement();
    } catch (const Bail&) {
      recover();
    }
  }
  if (!accept("}")) {
    report("T0109", open.range, "this '{' is never closed");
    throw Bail{};
  }
  return out;
}

Clause Parser::clause() {
  const std::uint32_t start = begin();
  Clause out;
  out.keyword = name("a clause");
  if (at("="))
    fail("T0102", fmt::format("a clause has no '=': '{}'", out.keyword.text),
         fmt::format("write {} and its value", out.keyword.text));
  while (!ends_statement()) {
    out.items.push_back(clause_item());
    if (!accept(",")) break;
    while (peek().kind == TokenKind::newline) next();
  }
  out.range = range_from(start);
  return out;
}

ClauseItem Parser::clause_item() {
  const std::uint32_t start = begin();
  ClauseItem out;
  // A word is bare when a value or another word follows it at once.
  while (peek().kind == TokenKind::identifier && begins_expression(peek(1)) && !peek(1).is("(") &&
         !peek(1).is("-") && !peek(1).is_word("if")) {
    const Token& word = next();
    out.words.push_back({std::string(word.text), word.range});
  }
  const std::uint32_t value_start = begin();
  if (peek().kind == TokenKind::identifier && (peek(1).is(":") || peek(1).is("="))) {
    out.argument.name = name("a name");
    out.name_equals = next().text == "=";
  }
  out.argument.value = expression();
  out.argument.range = range_from(value_start);
  out.range = range_from(start);
  return out;
}

}  // namespace treadle::parsing

namespace treadle {

syntax::Module parse(SourceFilePtr file, std::vector<Diagnostic>& diagnostics) {
  return parsing::Parser(std::move(file), diagnostics).module();
}

syntax::Module parse_or_throw(SourceFilePtr file) {
  std::vector<Diagnostic> diagnostics;
  syntax::Module module = parse(std::move(file), diagnostics);
  if (!diagnostics.empty()) throw UserError(std::move(diagnostics));
  return module;
}

syntax::ExprPtr parse_expression(SourceFilePtr file, std::vector<Diagnostic>& diagnostics) {
  return parsing::Parser(std::move(file), diagnostics).only_expression();
}

}  // namespace treadle
