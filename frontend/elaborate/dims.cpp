// Dimensions as expressions.
#include <fmt/format.h>

#include "frontend/elaborate/elaborator.h"

namespace treadle::elaboration {

using namespace syntax;

namespace {

// A name in a dimension that has no value yet; null when there is none.
const Expr* first_unbound(const Expr& expr, const std::function<bool(const std::string&)>& known) {
  if (const auto* name = as<Name>(expr)) return known(name->text) ? nullptr : &expr;
  if (const auto* unary = as<Unary>(expr)) return first_unbound(*unary->operand, known);
  if (const auto* binary = as<Binary>(expr)) {
    const Expr* left = first_unbound(*binary->left, known);
    return left ? left : first_unbound(*binary->right, known);
  }
  if (const auto* call = as<Call>(expr))
    for (const Argument& argument : call->arguments)
      if (const Expr* found = first_unbound(*argument.value, known)) return found;
  return nullptr;
}

}  // namespace

Dim GraphMaker::eval_dim(const Expr& expr, Scope& scope) {
  if (const auto dim = try_dim(expr, scope)) return *dim;
  const auto known = [&](const std::string& name) {
    const auto it = scope.names.find(name);
    return (it != scope.names.end() && !it->second.unbound) || scope.module->dims.contains(name);
  };
  const Expr* unbound = first_unbound(expr, known);
  ensure(unbound, "elaborate", "a dimension without value has no unbound name");
  lookup(as<Name>(*unbound)->text, scope, unbound->range);
  fail("T0302", unbound->range, fmt::format("'{}' is not a dimension", as<Name>(*unbound)->text));
}

std::optional<Dim> GraphMaker::try_dim(const Expr& expr, Scope& scope) {
  if (const auto* number = as<Number>(expr)) {
    if (number->is_integer) return Dim(number->integer);
    fail("T0301", expr.range, fmt::format("a dimension is an integer, not {}", number->spelling));
  }
  if (const auto* name = as<Name>(expr)) {
    if (const auto it = scope.names.find(name->text); it != scope.names.end()) {
      it->second.used = true;
      if (it->second.unbound) return std::nullopt;
      if (it->second.value.is_poison()) throw Failure{};
      if (const auto* dim = it->second.value.as<DimValue>()) return dim->dim;
      fail("T0302", expr.range,
           fmt::format("'{}' is {}, not a dimension", name->text, show(it->second.value)), {}, {},
           {{it->second.range, "declared here"}});
    }
    if (scope.module->dims.contains(name->text))
      return named_dim(name->text, *scope.module, expr.range);
    return std::nullopt;
  }
  if (const auto* unary = as<Unary>(expr); unary && unary->op == UnaryOp::negate) {
    const auto dim = try_dim(*unary->operand, scope);
    if (!dim) return std::nullopt;
    return Dim(0) - *dim;
  }
  if (const auto* call = as<Call>(expr)) {
    const auto* callee = as<Name>(call->callee);
    if (callee && (callee->text == "max" || callee->text == "min") && call->arguments.size() == 2) {
      const auto a = try_dim(*call->arguments[0].value, scope);
      const auto b = try_dim(*call->arguments[1].value, scope);
      if (!a || !b) return std::nullopt;
      if (a->is_constant() && b->is_constant())
        return callee->text == "max" ? std::max(*a->constant(), *b->constant())
                                     : std::min(*a->constant(), *b->constant());
      if (callee->text == "max" && b->is_constant()) return a->at_least(*b->constant());
      if (callee->text == "max" && a->is_constant()) return b->at_least(*a->constant());
    }
    fail("T0301", expr.range, "a dimension is made of integers, dims, + - * / % and max");
  }
  const auto* binary = as<Binary>(expr);
  if (!binary)
    fail("T0301", expr.range, "a dimension is made of integers, dims, + - * / % and max");
  const auto a = try_dim(*binary->left, scope);
  const auto b = try_dim(*binary->right, scope);
  if (!a || !b) return std::nullopt;
  switch (binary->op) {
    case BinaryOp::add: return *a + *b;
    case BinaryOp::subtract: return *a - *b;
    case BinaryOp::multiply: return *a * *b;
    case BinaryOp::power:
      if (const auto n = b->constant(); n && *n >= 0 && *n <= 16) {
        Dim out = 1;
        for (std::int64_t i = 0; i < *n; ++i) out = out * *a;
        return out;
      }
      break;
    case BinaryOp::divide:
    case BinaryOp::modulo: {
      const auto divisor = b->constant();
      if (divisor && *divisor <= 0)
        fail("T0303", expr.range, fmt::format("a dimension cannot be divided by {}", *divisor));
      const auto exact = a->exact_div(*b);
      if (binary->op == BinaryOp::divide) {
        if (exact) return exact;
        if (divisor) return a->floor_div(*divisor);
      } else {
        if (exact) return Dim(0);
        if (divisor) return *a - a->floor_div(*divisor) * Dim(*divisor);
      }
      fail("T0303", expr.range,
           fmt::format("'{}' cannot be divided by '{}': the divisor must be a number",
                       a->to_string(), b->to_string()));
    }
    default: break;
  }
  fail("T0301", expr.range, "a dimension is made of integers, dims, + - * / % and max");
}

namespace {

enum class Truth : std::uint8_t { no, yes, unknown };

Truth compare(BinaryOp op, const Dim& a, const Dim& b) {
  const auto difference = (a - b).constant();
  if (!difference) return Truth::unknown;
  const std::int64_t d = *difference;
  bool holds = false;
  switch (op) {
    case BinaryOp::equal: holds = d == 0; break;
    case BinaryOp::not_equal: holds = d != 0; break;
    case BinaryOp::less: holds = d < 0; break;
    case BinaryOp::less_equal: holds = d <= 0; break;
    case BinaryOp::greater: holds = d > 0; break;
    case BinaryOp::greater_equal: holds = d >= 0; break;
    default: return Truth::unknown;
  }
  return holds ? Truth::yes : Truth::no;
}

}  // namespace

bool GraphMaker::eval_condition(const Expr& expr, Scope& scope) {
  if (const auto* binary = as<Binary>(expr)) {
    if (binary->op == BinaryOp::logical_and)
      return eval_condition(*binary->left, scope) && eval_condition(*binary->right, scope);
    if (binary->op == BinaryOp::logical_or)
      return eval_condition(*binary->left, scope) || eval_condition(*binary->right, scope);
    if (binary->op >= BinaryOp::equal && binary->op <= BinaryOp::greater_equal) {
      const Truth truth =
          compare(binary->op, eval_dim(*binary->left, scope), eval_dim(*binary->right, scope));
      if (truth == Truth::unknown)
        fail("T0322", expr.range,
             fmt::format("whether {} holds depends on a dimension that is not known yet",
                         source_text(expr.range)),
             {}, {"give the dim a value, or pass one with -D NAME=VALUE"});
      return truth == Truth::yes;
    }
  }
  if (const auto* unary = as<Unary>(expr); unary && unary->op == UnaryOp::logical_not)
    return !eval_condition(*unary->operand, scope);
  const Any value = eval(expr, scope);
  if (const auto* condition = value.as<BoolValue>()) return condition->value;
  fail("T0323", expr.range, "this condition must be known before anything runs",
       fmt::format("{} is {}", source_text(expr.range), show(value)));
}

void visit_names(const Expr& expr, const std::function<void(const Name&, const Expr&)>& f) {
  if (const auto* name = as<Name>(expr)) return f(*name, expr);
  if (const auto* unary = as<Unary>(expr)) return visit_names(*unary->operand, f);
  if (const auto* binary = as<Binary>(expr)) {
    visit_names(*binary->left, f);
    visit_names(*binary->right, f);
  }
  if (const auto* call = as<Call>(expr))
    for (const Argument& argument : call->arguments) visit_names(*argument.value, f);
}

}  // namespace treadle::elaboration
