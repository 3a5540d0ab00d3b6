// Expressions and statements.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/elaborate/elaborator.h"
#include "frontend/foreign_words.h"

namespace treadle::elaboration {

using namespace syntax;

Any GraphMaker::eval_or_poison(const Expr& expr, Scope& scope) {
  try {
    return eval(expr, scope);
  } catch (const Failure&) {
    return {Poison{}};
  }
}

TensorValue GraphMaker::eval_tensor(const Expr& expr, Scope& scope) {
  return to_tensor(eval(expr, scope), options_.real, expr.range);
}

Any GraphMaker::eval(const Expr& expr, Scope& scope) {
  if (++steps_ > 100'000) fail("T0211", expr.range, "this program unfolds without end");
  if (const auto* number = as<Number>(expr)) {
    if (number->is_integer) return {DimValue{Dim(number->integer)}};
    return {NumberValue{number->value}};
  }
  if (const auto* string = as<String>(expr)) return {StringValue{string->value}};
  if (const auto* flag = as<Bool>(expr)) return {BoolValue{flag->value}};
  if (const auto* name = as<Name>(expr)) {
    const Any value = lookup(name->text, scope, expr.range);
    if (value.is_poison()) throw Failure{};
    return value;
  }
  if (const auto* call = as<Call>(expr)) return this->call(*call, expr, scope);
  if (const auto* index = as<Index>(expr)) return this->index(*index, expr, scope);
  if (const auto* scan = as<Scan>(expr)) return this->scan(*scan, expr, scope);
  if (const auto* stack = as<Stack>(expr)) return make_stack(*stack, expr, scope);
  if (const auto* tuple = as<Tuple>(expr)) {
    std::vector<Any> elements;
    for (const ExprPtr& element : tuple->elements) elements.push_back(eval(*element, scope));
    return {TupleValue{std::move(elements)}};
  }
  if (const auto* unary = as<Unary>(expr)) {
    const Any value = eval(*unary->operand, scope);
    if (unary->op == UnaryOp::negate) return unary_minus(value, expr.range);
    if (const auto* flag = value.as<BoolValue>()) return {BoolValue{!flag->value}};
    const TensorValue x = to_tensor(value, DType::b1, expr.range);
    return guarded(expr.range, [&]() -> Any { return {pointwise(Op::logical_not, {x})}; });
  }
  if (const auto* binary = as<Binary>(expr)) {
    const Any left = eval_or_poison(*binary->left, scope);
    const Any right = eval_or_poison(*binary->right, scope);
    return this->binary(binary->op, left, right, *binary, expr.range);
  }
  if (const auto* choice = as<Conditional>(expr)) {
    const Any condition = eval(*choice->condition, scope);
    if (const auto* known = condition.as<BoolValue>())
      return eval(known->value ? *choice->then_value : *choice->else_value, scope);
    const Any a = eval(*choice->then_value, scope), c = eval(*choice->else_value, scope);
    const auto [x, y] =
        align(a, c, "if", expr.range, choice->then_value->range, choice->else_value->range);
    TensorValue truth = to_tensor(condition, DType::b1, choice->condition->range);
    if (truth.type.dtype != DType::b1)
      fail("T0323", choice->condition->range, "a condition is expected",
           fmt::format("this is {}", show_type(truth)));
    return guarded(expr.range, [&, x = x, y = y]() -> Any {
      const bool wider = truth.type.rank() > x.type.rank();
      const Dims dims = wider ? truth.type.dims : x.type.dims;
      const auto origins = wider ? truth.origins : x.origins;
      return {
          pointwise(Op::select, {broadcast_to(truth, dims, origins), broadcast_to(x, dims, origins),
                                 broadcast_to(y, dims, origins)})};
    });
  }
  if (const auto* member = as<Member>(expr)) {
    const std::string& name = member->name.text;
    const auto* base = as<Name>(member->base);
    std::vector<std::string> hints;
    if (base && !scope.names.contains(base->text) && !said_here(base->text).empty())
      hints.push_back(said_here(base->text));
    if (is_builtin(name))
      hints.push_back(fmt::format("'{0}' is a function: {0}(x)", name));
    else if (name == "shape" || name == "size")
      hints.push_back("a size is size(x, axis), or the name that the type gives it: x: real[T, N]");
    else if (const std::string here = said_here(name); !here.empty())
      hints.push_back(here);
    fail("T0202", member->name.range, fmt::format("there is no member '{}'", name), {},
         std::move(hints));
  }
  internal_error("elaborate", "an expression of unknown kind");
}

void GraphMaker::bind(const Pattern& pattern, Any value, Scope& scope, Binding::Kind kind) {
  if (pattern.is_tuple) {
    const auto* tuple = value.as<TupleValue>();
    if (!value.is_poison() && (!tuple || tuple->elements.size() != pattern.elements.size()))
      fail("T0343", pattern.range,
           fmt::format("{} values are expected, this is {}", pattern.elements.size(), show(value)));
    for (std::size_t i = 0; i < pattern.elements.size(); ++i)
      bind(pattern.elements[i], tuple ? tuple->elements[i] : Any{Poison{}}, scope, kind);
    return;
  }
  if (pattern.name == "_") return;
  if (const auto found = scope.names.find(pattern.name); found != scope.names.end()) {
    const Binding& before = found->second;
    if (before.kind == Binding::Kind::parameter || before.kind == Binding::Kind::generic ||
        before.kind == Binding::Kind::instance)
      fail("T0203", pattern.range, fmt::format("'{}' cannot be given a new value", pattern.name),
           {}, {"choose another name"}, {{before.range, "declared here"}});
  }
  scope.names[pattern.name] = {std::move(value), kind, pattern.range, false, false};
}

namespace {

void poison(const Pattern& pattern, Scope& scope) {
  for (const Pattern& element : pattern.elements) poison(element, scope);
  if (!pattern.is_tuple && pattern.name != "_")
    scope.names[pattern.name] = {{Poison{}}, Binding::Kind::local, pattern.range, true, false};
}

}  // namespace

void GraphMaker::statements(const std::vector<Statement>& body, Scope& scope, Results& results) {
  const auto param = [&](const Param& p) {
    for (const Identifier& name : p.names) {
      if (scope.names.contains(name.text))
        fail("T0204", name.range, fmt::format("'{}' is declared twice", name.text), {}, {},
             {{scope.names[name.text].range, "first declared here"}});
      const std::string path = scope.path.empty() ? name.text : scope.path + "." + name.text;
      const Any value =
          fresh(*p.type, scope,
                [&](const Type& type, const std::vector<Origin>& origins, const std::optional<Dim>&,
                    const std::string& suffix) {
                  const std::string initialiser =
                      p.initialiser ? this->initialiser(*p.initialiser, type.rank(), path, scope)
                      : type.rank() > 1 ? "xavier"
                                        : "zeros";
                  for (const Dim& dim : type.dims)
                    if (!dim.is_constant())
                      fail("T0325", p.type->range,
                           fmt::format("the parameter '{}' needs dimensions that are "
                                       "known: {} is not",
                                       name.text, dim.to_string()));
                  return parameter(path + suffix, type, origins, initialiser, name.range);
                });
      scope.names[name.text] = {value, Binding::Kind::parameter, name.range, false, false};
    }
  };
  for (const Statement& statement : body) {
    try {
      if (const auto* p = std::get_if<Param>(&statement.node)) {
        try {
          param(*p);
        } catch (const Failure&) {
          for (const Identifier& name : p->names)
            scope.names.try_emplace(
                name.text, Binding{{Poison{}}, Binding::Kind::local, name.range, true, false});
          throw;
        }
      } else if (const auto* assign = std::get_if<Assign>(&statement.node)) {
        try {
          const Any value = eval(*assign->value, scope);
          if (assign->targets.size() == 1) {
            bind(assign->targets[0], value, scope, Binding::Kind::local);
          } else {
            const auto* tuple = value.as<TupleValue>();
            if (!tuple || tuple->elements.size() != assign->targets.size())
              fail("T0343", assign->value->range,
                   fmt::format("{} values are expected, this is {}", assign->targets.size(),
                               show(value)));
            for (std::size_t i = 0; i < assign->targets.size(); ++i)
              bind(assign->targets[i], tuple->elements[i], scope, Binding::Kind::local);
          }
        } catch (const Failure&) {
          for (const Pattern& target : assign->targets) poison(target, scope);
          throw;
        }
      } else if (const auto* let = std::get_if<Let>(&statement.node)) {
        Callable instance;
        try {
          instance = *resolve_callable(*let->value, scope).callable();
        } catch (const Failure&) {
          scope.names.try_emplace(
              let->name.text,
              Binding{{Poison{}}, Binding::Kind::local, let->name.range, true, false});
          throw;
        }
        instance.path = scope.path.empty() ? let->name.text : scope.path + "." + let->name.text;
        scope.names[let->name.text] = {{std::make_shared<const Callable>(std::move(instance))},
                                       Binding::Kind::instance,
                                       let->name.range,
                                       false,
                                       false};
      } else if (const auto* value = std::get_if<ExprStatement>(&statement.node)) {
        eval(*value->value, scope);
      } else {
        const auto* yield = std::get_if<Yield>(&statement.node);
        const auto& values = yield ? yield->values : std::get<Return>(statement.node).values;
        for (const Argument& argument : values) {
          results.names.push_back(argument.name ? argument.name->text : std::string());
          results.values.push_back(eval_or_poison(*argument.value, scope));
          results.ranges.push_back(argument.range);
        }
      }
    } catch (const Failure&) {
      continue;
    }
  }
}

}  // namespace treadle::elaboration
