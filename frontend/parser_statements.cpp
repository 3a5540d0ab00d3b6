// Statements and types.
#include <fmt/format.h>

#include "frontend/parser_internal.h"

namespace treadle::parsing {

using namespace syntax;

std::vector<Statement> Parser::statements() {
  std::vector<Statement> out;
  skip_separators();
  while (!at("}") && peek().kind != TokenKind::end) {
    try {
      out.push_back(statement());
      end_statement();
    } catch (const Bail&) {
      recover();
    }
  }
  return out;
}

Statement Parser::statement() {
  const std::uint32_t start = begin();
  Statement out;
  if (at("param")) {
    out.node = param();
  } else if (accept("let")) {
    Let let;
    let.name = name("a name after 'let'");
    expect("=", "after the name");
    let.value = expression();
    out.node = std::move(let);
  } else if (accept("return")) {
    out.node = Return{results()};
  } else if (accept("yield")) {
    out.node = Yield{results()};
  } else if (at("dim") || at("cell") || at("block") || at("model")) {
    fail("T0103", fmt::format("'{}' cannot stand inside a definition", peek().text),
         "is a '}' missing above?");
  } else if ((at_word("for") || at_word("while")) && peek(1).kind != TokenKind::symbol) {
    fail("T0103", fmt::format("there are no loops: '{}'", peek().text),
         "a scan repeats a cell over time: hs, h = scan GRU[8, 16] over xs");
  } else if (looks_like_assignment()) {
    out.node = assignment();
  } else {
    out.node = ExprStatement{expression_list()};
  }
  out.range = range_from(start);
  return out;
}

Param Parser::param() {
  next();
  Param out;
  do out.names.push_back(name("the parameter's name"));
  while (accept(","));
  if (!at(":"))
    fail("T0101",
         fmt::format("expected ':' and a type after the parameter's name, found {}", found()),
         "a parameter reads param W: real[4, 8] ~ xavier");
  next();
  out.type = type();
  if (accept("~")) out.initialiser = postfix();
  return out;
}

// An `=` on the statement's own level.
bool Parser::looks_like_assignment() const {
  int depth = 0;
  for (std::size_t i = 0;; ++i) {
    const Token& token = peek(i);
    if (token.kind == TokenKind::end || token.kind == TokenKind::newline) return false;
    if (token.is("(") || token.is("[")) ++depth;
    if (token.is(")") || token.is("]")) --depth;
    if (token.is("{") || token.is("}") || token.is(";")) return false;
    if (depth == 0 && token.is("=")) return true;
  }
}

Assign Parser::assignment() {
  Assign out;
  do out.targets.push_back(pattern());
  while (accept(","));
  expect("=", "after what is assigned");
  out.value = expression_list();
  return out;
}

Pattern Parser::pattern() {
  const Nesting nesting(*this);
  const std::uint32_t start = begin();
  Pattern out;
  if (accept("(")) {
    out.is_tuple = true;
    while (!at(")")) {
      out.elements.push_back(pattern());
      if (!accept(",")) break;
    }
    expect(")", "after the names");
  } else {
    out.name = name("a name").text;
  }
  out.range = range_from(start);
  return out;
}

std::vector<Argument> Parser::results() {
  std::vector<Argument> out;
  if (ends_statement()) return out;
  do out.push_back(argument());
  while (accept(","));
  return out;
}

// `...` in a type: any leading dimensions; `...A`: those of this name. Kept as
// the Name "..." or "...A".
ExprPtr Parser::leading_dims() {
  const std::uint32_t start = begin();
  for (int i = 0; i < 3; ++i) expect(".", "'...' stands for any leading dimensions");
  auto out = std::make_unique<Expr>();
  std::string text = "...";
  if (peek().kind == TokenKind::identifier) text += name("a name of leading dimensions").text;
  out->node = Name{std::move(text)};
  out->range = range_from(start);
  return out;
}

TypePtr Parser::type() {
  const Nesting nesting(*this);
  const std::uint32_t start = begin();
  auto out = std::make_unique<TypeExpr>();
  if (accept("(")) {
    TupleType tuple;
    while (!at(")")) {
      tuple.elements.push_back(type());
      if (!accept(",")) break;
    }
    expect(")", "after the types");
    out->node = std::move(tuple);
  } else if (at_word("state") && peek(1).kind != TokenKind::symbol) {
    next();
    out->node = StateType{postfix()};
  } else {
    ElementType element;
    if (peek().kind != TokenKind::identifier)
      fail("T0105", fmt::format("expected a type, found {}", found()),
           "types read real[T, H], token(V)[T], (real[H], real[H])");
    element.element = name("a type");
    if (at("(")) element.arguments = arguments();
    if (accept("[")) {
      while (!at("]")) {
        element.dims.push_back(at(".") ? leading_dims() : expression());
        if (!accept(",")) break;
      }
      expect("]", "after the dimensions");
    }
    out->node = std::move(element);
  }
  out->range = range_from(start);
  return out;
}

}  // namespace treadle::parsing
