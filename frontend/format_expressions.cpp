#include "frontend/format_expressions.h"

#include <algorithm>
#include <utility>

namespace treadle::formatting {

using namespace syntax;

namespace {

enum class Level { logical_or, logical_and, comparison, sum, product, power };

Level level(BinaryOp op) {
  switch (op) {
    case BinaryOp::logical_or: return Level::logical_or;
    case BinaryOp::logical_and: return Level::logical_and;
    case BinaryOp::add:
    case BinaryOp::subtract: return Level::sum;
    case BinaryOp::multiply:
    case BinaryOp::divide:
    case BinaryOp::modulo:
    case BinaryOp::matmul: return Level::product;
    case BinaryOp::power: return Level::power;
    default: return Level::comparison;
  }
}

bool groups_to_the_left(Level level) { return level != Level::comparison && level != Level::power; }

// Sets a value while it lives.
class Within {
 public:
  Within(bool& flag, bool value) : flag_(flag), before_(std::exchange(flag, value)) {}
  ~Within() { flag_ = before_; }
  Within(const Within&) = delete;
  Within& operator=(const Within&) = delete;

 private:
  bool& flag_;
  bool before_;
};

}  // namespace

// ---- lists ---------------------------------------------------------------

Doc ExpressionPrinter::bracketed(std::string_view open, std::string_view close, std::size_t count,
                                 const Item& item, bool keep_single_comma) {
  Doc out = tokens_.take(open);
  Doc inner;
  inner += count == 0 ? tokens_.comments() : tokens_.softline();
  for (std::size_t i = 0; i < count; ++i) {
    inner += item(i);
    if (!tokens_.at(",")) continue;
    const bool last = i + 1 == count;
    if (!last || (count == 1 && keep_single_comma))
      inner += tokens_.take_first(",");
    else
      tokens_.skip();
    if (!last) inner += tokens_.line();
  }
  inner += tokens_.comments();
  out += nest(std::move(inner));
  if (count > 0) out += softline();
  out += tokens_.take(close);
  return group(std::move(out));
}

Doc ExpressionPrinter::filled(std::size_t count, const Item& item) {
  Doc out, more;
  for (std::size_t i = 0; i < count; ++i) {
    Doc one;
    if (i > 0) {
      more += tokens_.take_first(",");
      one += tokens_.line();
    }
    one += item(i);
    if (i == 0)
      out += std::move(one);
    else
      more += group(std::move(one));
  }
  out += nest(std::move(more));
  return out;
}

Doc ExpressionPrinter::wrapped(std::size_t parentheses, const std::function<Doc()>& inner) {
  if (parentheses == 0) return inner();
  return bracketed("(", ")", 1, [&](std::size_t) { return wrapped(parentheses - 1, inner); });
}

// The tree does not show parentheses that only group: the tokens do.
std::size_t ExpressionPrinter::parentheses_around(const Expr& expr) const {
  std::size_t first = tokens_.index_beginning_at(expr.range.begin);
  std::size_t last = tokens_.index_ending_at(expr.range.end);
  std::size_t count = 0;
  for (; tokens_.token(first).is("(") && tokens_.match(first) == last; ++first, --last) ++count;
  return count;
}

// With or without parentheses; `over (x, y)` keeps its elements only, so their
// number is read off the tokens before the first element.
Doc ExpressionPrinter::tuple_of(const std::vector<ExprPtr>& elements) {
  const std::size_t begin = tokens_.index();
  std::size_t first = begin;
  if (elements.empty())
    while (tokens_.token(first).is("(")) ++first;
  else
    first = tokens_.index_beginning_at(elements[0]->range.begin);
  const Item item = [&](std::size_t i) { return expr(elements[i]); };
  if (first == begin) return filled(elements.size(), item);
  return wrapped(first - begin - 1,
                 [&] { return bracketed("(", ")", elements.size(), item, true); });
}

// ---- expressions ---------------------------------------------------------

Doc ExpressionPrinter::expr(const Expr& expr) {
  if (as<Tuple>(expr)) return unwrapped(expr);
  return wrapped(parentheses_around(expr), [&] { return unwrapped(expr); });
}

Doc ExpressionPrinter::unwrapped(const Expr& expr) {
  return std::visit([&](const auto& node) { return visit(node); }, expr.node);
}

Doc ExpressionPrinter::visit(const Name& name) {
  Doc out = tokens_.take();
  if (name.text.starts_with("...")) {
    for (int i = 0; i < 2; ++i) out += tokens_.take(".");
    if (name.text.size() > 3) out += tokens_.take(name.text.substr(3));
  }
  return out;
}

Doc ExpressionPrinter::argument(const Argument& argument) {
  Doc out;
  if (argument.name) {
    out += tokens_.take(argument.name->text);
    if (tokens_.at("=")) out += space();  // `name = value` in a clause
    out += tokens_.take();
    out += space();
  }
  out += expr(argument.value);
  return out;
}

Doc ExpressionPrinter::call_arguments(const std::vector<Argument>& arguments) {
  const Within normal(in_subscript_, false);
  return bracketed("(", ")", arguments.size(),
                   [&](std::size_t i) { return argument(arguments[i]); });
}

Doc ExpressionPrinter::visit(const Call& call) {
  Doc out = expr(call.callee);
  out += call_arguments(call.arguments);
  return out;
}

Doc ExpressionPrinter::subscript(const Subscript& subscript) {
  if (!subscript.is_slice) return expr(subscript.value);
  Doc out;
  if (subscript.begin) out += expr(subscript.begin);
  out += tokens_.take(":");
  if (subscript.end) out += expr(subscript.end);
  return out;
}

Doc ExpressionPrinter::visit(const Index& index) {
  Doc out = expr(index.base);
  const Within tight(in_subscript_, true);
  out += bracketed("[", "]", index.subscripts.size(),
                   [&](std::size_t i) { return subscript(index.subscripts[i]); });
  return out;
}

Doc ExpressionPrinter::visit(const Member& member) {
  Doc out = expr(member.base);
  out += tokens_.take(".");
  out += tokens_.take(member.name.text);
  return out;
}

Doc ExpressionPrinter::visit(const Unary& unary) {
  Doc out = tokens_.take();
  if (unary.op == UnaryOp::logical_not) out += space();
  out += expr(unary.operand);
  return out;
}

// Between dims: `2*H + 1`, `T-1`. A matrix product keeps its blanks.
bool ExpressionPrinter::is_tight(const Binary& chain,
                                 const std::vector<const Expr*>& operands) const {
  if (!in_subscript_ || chain.op == BinaryOp::matmul) return false;
  const Level here = level(chain.op);
  if (here == Level::product || here == Level::power) return true;
  if (here != Level::sum) return false;
  return std::none_of(operands.begin(), operands.end(), [&](const Expr* operand) {
    const auto* binary = as<Binary>(*operand);
    return binary && level(binary->op) == Level::product && parentheses_around(*operand) == 0;
  });
}

Doc ExpressionPrinter::visit(const Binary& binary) {
  // a + b + c is one chain: broken at each operator or at none.
  std::vector<const Binary*> chain = {&binary};
  const Level here = level(binary.op);
  while (groups_to_the_left(here)) {
    const auto* left = as<Binary>(chain.back()->left);
    if (!left || level(left->op) != here || parentheses_around(*chain.back()->left) > 0) break;
    chain.push_back(left);
  }
  std::reverse(chain.begin(), chain.end());
  std::vector<const Expr*> operands = {chain[0]->left.get()};
  for (const Binary* link : chain) operands.push_back(link->right.get());

  Doc out = expr(*operands[0]);
  Doc more;
  for (const Binary* link : chain) {
    const bool minus_follows = tokens_.token(tokens_.index() + 1).is("-");
    const bool tight = is_tight(*link, operands) && !minus_follows;
    if (!tight) more += space();
    more += tokens_.take_first(to_string(link->op));
    more += tight ? tokens_.softline() : tokens_.line();
    more += expr(link->right);
  }
  out += nest(std::move(more));
  return group(std::move(out));
}

Doc ExpressionPrinter::visit(const Conditional& conditional) {
  Doc out = expr(conditional.then_value);
  out += space();
  out += tokens_.take("if");
  Doc condition = tokens_.line();
  condition += expr(conditional.condition);
  out += group(nest(std::move(condition)));
  out += space();
  out += tokens_.take("else");
  Doc otherwise = tokens_.line();
  otherwise += expr(conditional.else_value);
  out += nest(std::move(otherwise));
  return group(std::move(out));
}

Doc ExpressionPrinter::visit(const Scan& scan) {
  Doc out = tokens_.take("scan");
  const auto word = [&](std::string_view expected) {
    out += space();
    out += tokens_.take(expected);
  };
  if (scan.reverse) word("reverse");
  out += space();
  out += expr(scan.cell);
  word("over");
  out += space();
  const bool one = scan.sequences.size() == 1 &&
                   tokens_.index() == tokens_.index_beginning_at(scan.sequences[0]->range.begin);
  out += one ? expr(scan.sequences[0]) : tuple_of(scan.sequences);
  if (scan.from) {
    word("from");
    out += space();
    out += expr(scan.from);
  }
  if (scan.unroll) word("unroll");
  if (scan.unroll_count) {
    out += space();
    out += expr(scan.unroll_count);
  }
  if (scan.budget) {
    word("remat");
    out += tokens_.take("(");
    out += tokens_.take("budget");
    out += tokens_.take(":");
    out += space();
    out += expr(scan.budget);
    out += tokens_.take(")");
  }
  return out;
}

Doc ExpressionPrinter::visit(const Stack& stack) {
  Doc out = tokens_.take("stack");
  out += space();
  const Item layer = [&](std::size_t i) { return expr(stack.layers[i]); };
  if (!stack.count) {
    out += bracketed("(", ")", stack.layers.size(), layer);
    return out;
  }
  const std::size_t begin = tokens_.index_beginning_at(stack.count->range.begin);
  out += wrapped(begin - tokens_.index(), [&] { return expr(stack.count); });
  out += space();
  out += tokens_.take("of");
  out += space();
  out += layer(0);
  return out;
}

// ---- types and patterns --------------------------------------------------

Doc ExpressionPrinter::type(const TypeExpr& type) {
  return std::visit([&](const auto& node) { return visit(node); }, type.node);
}

Doc ExpressionPrinter::visit(const ElementType& element) {
  Doc out = tokens_.take(element.element.text);
  if (tokens_.at("(")) out += call_arguments(element.arguments);
  if (!tokens_.at("[")) return out;
  const Within tight(in_subscript_, true);
  out += bracketed("[", "]", element.dims.size(),
                   [&](std::size_t i) { return expr(element.dims[i]); });
  return out;
}

Doc ExpressionPrinter::visit(const TupleType& tuple) {
  return bracketed(
      "(", ")", tuple.elements.size(), [&](std::size_t i) { return type(*tuple.elements[i]); },
      true);
}

Doc ExpressionPrinter::visit(const StateType& state) {
  Doc out = tokens_.take("state");
  out += space();
  out += expr(state.of);
  return out;
}

Doc ExpressionPrinter::pattern(const Pattern& pattern) {
  if (!pattern.is_tuple) return tokens_.take(pattern.name);
  // No line may begin inside: `b) = x` at its start would be a statement.
  Doc out = tokens_.take("(");
  for (std::size_t i = 0; i < pattern.elements.size(); ++i) {
    out += this->pattern(pattern.elements[i]);
    if (!tokens_.at(",")) continue;
    const bool last = i + 1 == pattern.elements.size();
    if (!last || i == 0)
      out += tokens_.take_first(",");
    else
      tokens_.skip();
    if (!last) out += space();
  }
  out += tokens_.take(")");
  return out;
}

Doc ExpressionPrinter::generic(const Generic& generic) {
  const Within tight(in_subscript_, true);
  Doc out;
  if (generic.kind != Generic::Kind::dim) {
    out += tokens_.take(generic.kind == Generic::Kind::cell ? "cell" : "block");
    out += space();
  }
  out += tokens_.take(generic.name.text);
  if (!generic.default_value) return out;
  out += space();
  out += tokens_.take("=");
  out += space();
  out += expr(generic.default_value);
  return out;
}

Doc ExpressionPrinter::parameter(const Parameter& parameter) {
  Doc out = pattern(parameter.pattern);
  out += tokens_.take(":");
  out += space();
  out += type(*parameter.type);
  if (!parameter.default_value) return out;
  out += space();
  out += tokens_.take("=");
  out += space();
  out += expr(parameter.default_value);
  return out;
}

}  // namespace treadle::formatting
