// Expressions.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "frontend/parser_internal.h"

namespace treadle::parsing {

using namespace syntax;

namespace {

// The height of the highest child.
class ChildHeight {
 public:
  void operator()(const Number&) {}
  void operator()(const String&) {}
  void operator()(const Bool&) {}
  void operator()(const Name&) {}
  void operator()(const Call& e) {
    see(e.callee);
    for (const Argument& argument : e.arguments) see(argument.value);
  }
  void operator()(const Index& e) {
    see(e.base);
    for (const Subscript& s : e.subscripts) {
      see(s.value);
      see(s.begin);
      see(s.end);
    }
  }
  void operator()(const Member& e) { see(e.base); }
  void operator()(const Unary& e) { see(e.operand); }
  void operator()(const Binary& e) {
    see(e.left);
    see(e.right);
  }
  void operator()(const Conditional& e) {
    see(e.condition);
    see(e.then_value);
    see(e.else_value);
  }
  void operator()(const Tuple& e) {
    for (const ExprPtr& element : e.elements) see(element);
  }
  void operator()(const Scan& e) {
    see(e.cell);
    for (const ExprPtr& sequence : e.sequences) see(sequence);
    see(e.from);
    see(e.unroll_count);
    see(e.budget);
  }
  void operator()(const Stack& e) {
    see(e.count);
    for (const ExprPtr& layer : e.layers) see(layer);
  }
  std::uint32_t height = 0;

 private:
  void see(const ExprPtr& child) {
    if (child) height = std::max(height, child->height);
  }
};

struct Operator {
  std::string_view symbol;
  BinaryOp op;
};
constexpr std::array<Operator, 6> comparisons{{{"==", BinaryOp::equal},
                                               {"!=", BinaryOp::not_equal},
                                               {"<=", BinaryOp::less_equal},
                                               {">=", BinaryOp::greater_equal},
                                               {"<", BinaryOp::less},
                                               {">", BinaryOp::greater}}};
constexpr std::array<Operator, 2> sums{{{"+", BinaryOp::add}, {"-", BinaryOp::subtract}}};
constexpr std::array<Operator, 4> products{{{"*", BinaryOp::multiply},
                                            {"/", BinaryOp::divide},
                                            {"%", BinaryOp::modulo},
                                            {"@", BinaryOp::matmul}}};

template <std::size_t N>
std::optional<BinaryOp> operator_at(const Token& token, const std::array<Operator, N>& table) {
  for (const Operator& entry : table)
    if (token.is(entry.symbol)) return entry.op;
  return std::nullopt;
}

}  // namespace

template <typename T>
ExprPtr Parser::make(T node, std::uint32_t start) {
  auto out = std::make_unique<Expr>();
  ChildHeight children;
  children(node);
  out->height = children.height + 1;
  out->node = std::move(node);
  out->range = range_from(start);
  if (out->height > max_tree_height) {
    report("T0106", out->range,
           fmt::format("this expression is nested more than {} deep", max_tree_height),
           "name a part of it first: y = ...");
    throw Bail{};
  }
  return out;
}

ExprPtr Parser::binary(BinaryOp op, ExprPtr left, ExprPtr right, const Token& op_token,
                       std::uint32_t start) {
  return make(Binary{op, std::move(left), std::move(right), op_token.range}, start);
}

bool Parser::begins_expression(const Token& token) const {
  switch (token.kind) {
    case TokenKind::identifier:
    case TokenKind::number:
    case TokenKind::string: return true;
    case TokenKind::symbol: return token.is("(") || token.is("-");
    case TokenKind::keyword:
      return token.is("true") || token.is("false") || token.is("not") || token.is("scan") ||
             token.is("stack");
    default: return false;
  }
}

ExprPtr Parser::expression_list() {
  const std::uint32_t start = begin();
  ExprPtr first = expression();
  if (!at(",")) return first;
  Tuple tuple;
  tuple.elements.push_back(std::move(first));
  while (accept(",")) tuple.elements.push_back(expression());
  return make(std::move(tuple), start);
}

ExprPtr Parser::expression() {
  const Nesting nesting(*this);
  const std::uint32_t start = begin();
  ExprPtr value = logical_or();
  if (!accept("if")) return value;
  Conditional out;
  out.then_value = std::move(value);
  out.condition = logical_or();
  expect("else", "and the other value after 'a if condition'");
  out.else_value = expression();
  return make(std::move(out), start);
}

ExprPtr Parser::logical_or() {
  const std::uint32_t start = begin();
  ExprPtr left = logical_and();
  while (at("or")) {
    const Token& op = next();
    left = binary(BinaryOp::logical_or, std::move(left), logical_and(), op, start);
  }
  return left;
}

ExprPtr Parser::logical_and() {
  const std::uint32_t start = begin();
  ExprPtr left = logical_not();
  while (at("and")) {
    const Token& op = next();
    left = binary(BinaryOp::logical_and, std::move(left), logical_not(), op, start);
  }
  return left;
}

ExprPtr Parser::logical_not() {
  if (!at("not")) return comparison();
  const Nesting nesting(*this);
  const std::uint32_t start = begin();
  next();
  return make(Unary{UnaryOp::logical_not, logical_not()}, start);
}

ExprPtr Parser::comparison() {
  const std::uint32_t start = begin();
  ExprPtr left = additive();
  const auto op = operator_at(peek(), comparisons);
  if (!op) return left;
  const Token& token = next();
  left = binary(*op, std::move(left), additive(), token, start);
  if (operator_at(peek(), comparisons))
    fail("T0107", "comparisons do not chain", "write a < b and b < c");
  return left;
}

ExprPtr Parser::additive() {
  const std::uint32_t start = begin();
  ExprPtr left = multiplicative();
  while (const auto op = operator_at(peek(), sums)) {
    const Token& token = next();
    left = binary(*op, std::move(left), multiplicative(), token, start);
  }
  return left;
}

ExprPtr Parser::multiplicative() {
  const std::uint32_t start = begin();
  ExprPtr left = unary();
  while (const auto op = operator_at(peek(), products)) {
    const Token& token = next();
    left = binary(*op, std::move(left), unary(), token, start);
  }
  return left;
}

ExprPtr Parser::unary() {
  if (!at("-")) return power();
  const Nesting nesting(*this);
  const std::uint32_t start = begin();
  next();
  return make(Unary{UnaryOp::negate, unary()}, start);
}

ExprPtr Parser::power() {
  const std::uint32_t start = begin();
  ExprPtr base = postfix();
  if (!at("**")) return base;
  const Nesting nesting(*this);
  const Token& op = next();
  return binary(BinaryOp::power, std::move(base), unary(), op, start);
}

ExprPtr Parser::postfix() {
  const std::uint32_t start = begin();
  return postfix_of(primary(), start);
}

ExprPtr Parser::postfix_of(ExprPtr base, std::uint32_t start) {
  for (;;) {
    if (at("(")) {
      Call call;
      call.callee = std::move(base);
      call.arguments = arguments();
      base = make(std::move(call), start);
    } else if (accept("[")) {
      Index index;
      index.base = std::move(base);
      do index.subscripts.push_back(subscript());
      while (accept(",") && !at("]"));
      expect("]", "after the subscripts");
      base = make(std::move(index), start);
    } else if (accept(".")) {
      Member member;
      member.base = std::move(base);
      member.name = name("a name after '.'");
      base = make(std::move(member), start);
    } else {
      return base;
    }
  }
}

Subscript Parser::subscript() {
  const std::uint32_t start = begin();
  Subscript out;
  if (!at(":")) out.value = expression();
  if (accept(":")) {
    out.is_slice = true;
    out.begin = std::move(out.value);
    if (!at(",") && !at("]")) out.end = expression();
  }
  out.range = range_from(start);
  return out;
}

std::vector<Argument> Parser::arguments() {
  std::vector<Argument> out;
  expect("(", "and the arguments");
  while (!at(")")) {
    out.push_back(argument());
    if (!out.back().name && out.size() > 1 && out[out.size() - 2].name)
      report("T0108", out.back().range, "an argument without a name follows one with a name",
             "put the named arguments last");
    if (!accept(",")) break;
  }
  expect(")", "after the arguments");
  return out;
}

Argument Parser::argument() {
  const std::uint32_t start = begin();
  Argument out;
  if (at("dim") && (peek(1).is(":") || peek(1).is("=")))
    fail("T0102", "'dim' is a word of the language and names no argument",
         "the axis of a function is called axis: mean(x, axis: 0)");
  if (peek().kind == TokenKind::identifier && peek(1).is("=")) {
    const Token& word = next();
    fail("T0101", fmt::format("expected ':' after the name of an argument, found {}", found()),
         fmt::format("write {}: and its value", word.text));
  }
  if (peek().kind == TokenKind::identifier && peek(1).is(":")) {
    out.name = name("a name");
    next();
  }
  out.value = expression();
  out.range = range_from(start);
  return out;
}

ExprPtr Parser::primary() {
  const Nesting nesting(*this);
  const std::uint32_t start = begin();
  const Token& token = peek();
  switch (token.kind) {
    case TokenKind::number: next(); return make(Number(token.number), start);
    case TokenKind::string: next(); return make(String{token.value}, start);
    case TokenKind::identifier: next(); return make(Name{std::string(token.text)}, start);
    default: break;
  }
  if (at("true") || at("false")) return make(Bool{next().text == "true"}, start);
  if (at("(")) return parenthesised();
  if (at("scan")) return scan();
  if (at("stack")) return stack();
  fail("T0102", fmt::format("expected an expression, found {}", found()),
       at("if")  ? "a choice is a value: a if condition else b"
       : at("[") ? "there are no lists: concat(x, y) joins values, return a: x, b: y gives several"
                 : "");
}

ExprPtr Parser::parenthesised() {
  const std::uint32_t start = begin();
  next();
  if (accept(")")) return make(Tuple{}, start);
  ExprPtr first = expression();
  if (accept(")")) {
    first->range = range_from(start);
    return first;
  }
  Tuple tuple;
  tuple.elements.push_back(std::move(first));
  while (accept(",") && !at(")")) tuple.elements.push_back(expression());
  expect(")", "after the tuple");
  return make(std::move(tuple), start);
}

ExprPtr Parser::scan() {
  const std::uint32_t start = begin();
  next();
  Scan out;
  out.reverse = accept_word("reverse");
  out.cell = postfix();
  if (!accept_word("over"))
    fail("T0101",
         fmt::format("expected 'over' and a sequence after the scan's cell, found {}", found()),
         "scan LSTM[E, H] over xs from s");
  ExprPtr sequence = logical_or();
  if (auto* tuple = std::get_if<Tuple>(&sequence->node))
    out.sequences = std::move(tuple->elements);
  else
    out.sequences.push_back(std::move(sequence));
  if (accept_word("from")) out.from = logical_or();
  if (accept_word("unroll")) {
    out.unroll = true;
    if (begins_expression(peek())) out.unroll_count = additive();
  }
  if (at_word("remat")) {
    next();
    constexpr std::string_view form = "after 'remat': remat(budget: 64 MiB)";
    expect("(", form);
    if (!accept_word("budget"))
      fail("T0101", fmt::format("expected 'budget' {}, found {}", form, found()));
    expect(":", form);
    out.budget = additive();
    expect(")", form);
  }
  return make(std::move(out), start);
}

ExprPtr Parser::stack() {
  const std::uint32_t start = begin();
  next();
  Stack out;
  if (at("(")) {
    next();
    while (!at(")")) {
      out.layers.push_back(expression());
      if (!accept(",")) break;
    }
    expect(")", "after the layers");
    if (!at_word("of")) return make(std::move(out), start);
    if (out.layers.size() != 1) fail("T0101", "expected one count before 'of'");
    out.count = std::move(out.layers[0]);
    out.layers.clear();
  } else {
    out.count = additive();
  }
  if (!accept_word("of"))
    fail("T0101",
         fmt::format("expected 'of' and a layer after the stack's count, found {}", found()),
         "stack 3 of LSTM[H, H]");
  out.layers.push_back(postfix());
  return make(std::move(out), start);
}

}  // namespace treadle::parsing
