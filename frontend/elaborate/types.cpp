// Declared types: meeting values, fresh values.
#include <fmt/format.h>

#include "frontend/elaborate/elaborator.h"
#include "frontend/foreign_words.h"
#include "frontend/suggest.h"

namespace treadle::elaboration {

using namespace syntax;

namespace {

// `...`, or `...NAME` where a type has its own leading dimensions.
bool is_ellipsis(const ExprPtr& expr) {
  const auto* name = as<Name>(expr);
  return name && name->text.starts_with("...");
}

std::string named(const std::string& name) {
  return name.empty() ? "this value" : fmt::format("'{}'", name);
}

}  // namespace

std::optional<DType> GraphMaker::element_type(const std::string& word) const {
  if (word == "real") return options_.real;
  if (word == "token") return DType::i32;
  if (word == "mask") return DType::b1;
  return dtype_from_string(word);
}

namespace {
constexpr std::string_view element_words[] = {"real", "token", "mask", "f32",  "f64",
                                              "bf16", "i32",   "i64",  "bool", "number"};
}

// Binds or checks one dimension; false: it does not fit.
static bool unify_dim(GraphMaker& maker, const Expr& expr, const Dim& found, Scope& scope,
                      bool& undecided) {
  undecided = false;
  if (const auto* name = as<Name>(expr)) {
    const auto it = scope.names.find(name->text);
    const bool unknown = it == scope.names.end() && !scope.module->dims.contains(name->text);
    if (unknown || (it != scope.names.end() && it->second.unbound)) {
      scope.names[name->text] = {
          {DimValue{found}}, Binding::Kind::generic, expr.range, true, false};
      return true;
    }
  }
  const auto expected = maker.try_dim(expr, scope);
  if (!expected) {
    undecided = true;
    return true;
  }
  return *expected == found;
}

Any GraphMaker::meet(const TypeExpr& type, Any value, Scope& scope, Unification& u,
                     const SourceRange& range, const std::string& name) {
  if (value.is_poison()) throw Failure{};
  if (const auto* tuple = std::get_if<TupleType>(&type.node)) {
    std::vector<Any> elements;
    if (value.as<FillValue>()) {
      for (const TypePtr& element : tuple->elements)
        elements.push_back(meet(*element, value, scope, u, range, name));
      return {TupleValue{std::move(elements)}};
    }
    const auto* found = value.as<TupleValue>();
    if (!found || found->elements.size() != tuple->elements.size())
      fail("T0343", range,
           fmt::format("{} is {}, expected a tuple of {}", named(name), show(value),
                       tuple->elements.size()),
           {}, {}, {{type.range, "the declared type"}});
    for (std::size_t i = 0; i < tuple->elements.size(); ++i)
      elements.push_back(meet(*tuple->elements[i], found->elements[i], scope, u, range,
                              fmt::format("{}.{}", name, i)));
    return {TupleValue{std::move(elements)}};
  }
  if (const auto* state = std::get_if<StateType>(&type.node)) {
    const Any of = resolve_callable(*state->of, scope);
    std::vector<const TensorValue*> found;
    const bool fill = value.as<FillValue>() != nullptr;
    std::vector<TensorValue> leaves;
    for_each_leaf(value, [&](const TensorValue& leaf) { leaves.push_back(leaf); });
    std::size_t next = 0;
    const double filling = fill ? value.as<FillValue>()->value : 0;
    return fresh_state(
        *of.callable(), scope,
        [&](const Type& expected, const std::vector<Origin>& origins, const std::optional<Dim>&,
            const std::string&) {
          if (fill) return constant(expected, filling);
          if (next >= leaves.size() || leaves[next].type != expected)
            fail("T0344", range,
                 fmt::format("{} is {}, which is not the state of {}", named(name), show(value),
                             source_text(state->of->range)),
                 {}, {}, {{type.range, "the declared type"}});
          TensorValue out = leaves[next++];
          out.origins = origins;
          return out;
        },
        {}, range);
  }
  const auto& element = std::get<ElementType>(type.node);
  const std::string& word = element.element.text;
  if (word == "number") {
    if (value.as<NumberValue>()) return value;
    if (const auto* dim = value.as<DimValue>(); dim && dim->dim.is_constant())
      return value;  // an integer stays one: it may count or index
    fail("T0340", range, fmt::format("{} is {}, expected a number", named(name), show(value)), {},
         {}, {{type.range, "the declared type"}});
  }
  const auto dtype = element_type(word);
  if (!dtype) {
    const std::string near = closest_word(word, std::span<const std::string_view>(element_words));
    std::vector<std::string> hints;
    if (!near.empty()) hints.push_back(fmt::format("did you mean '{}'?", near));
    if (const std::string here = said_here(word); !here.empty()) hints = {here};
    fail("T0341", element.element.range, fmt::format("'{}' is no element type", word), {},
         std::move(hints));
  }
  bool surplus = false;
  const auto wrong = [&](std::string code, const std::string& what) {
    std::vector<std::string> hints;
    if (const auto* tensor = value.as<TensorValue>()) hints = dim_notes({tensor});
    if (value.as<TupleValue>()) hints.push_back("a tuple is taken apart by names: (h, c) = state");
    std::string bound;
    std::vector<const Expr*> shown;
    for (const Argument& argument : element.arguments) shown.push_back(argument.value.get());
    for (const ExprPtr& dim : element.dims)
      if (!is_ellipsis(dim)) shown.push_back(dim.get());
    for (const Expr* dim : shown) {
      try {
        const auto expected = try_dim(*dim, scope);
        const std::string text = source_text(dim->range);
        if (expected && expected->to_string() != text)
          bound +=
              fmt::format("{}{} is {}", bound.empty() ? "" : ", ", text, expected->to_string());
      } catch (const Failure&) {
        continue;
      }
    }
    if (!bound.empty()) hints.push_back(fmt::format("in the declared type, {}", bound));
    if (surplus)
      hints.push_back(
          "models are written for one example: where the first dimension is the batch, "
          "leave it out");
    fail(std::move(code), range,
         fmt::format("{} is {}, expected {}{}", named(name), show(value), source_text(type.range),
                     what),
         {}, std::move(hints), {{type.range, "the declared type"}});
  };
  const auto* tensor = value.as<TensorValue>();
  if (!tensor) {
    const bool number = value.as<NumberValue>() || value.as<DimValue>();
    const bool fill = value.as<FillValue>() != nullptr;
    // What is known stays known, so that the body may choose by it.
    if (value.as<BoolValue>() && *dtype == DType::b1 && element.dims.empty()) return value;
    if (!fill && !(number && element.dims.empty())) wrong("T0342", "");
    Type expected{*dtype, {}};
    for (const ExprPtr& dim : element.dims) {
      if (is_ellipsis(dim)) {
        const auto it = u.leading.find(as<Name>(dim)->text);
        if (it == u.leading.end()) wrong("T0320", "; its size cannot be told");
        expected.dims.insert(expected.dims.end(), it->second.begin(), it->second.end());
      } else {
        expected.dims.push_back(eval_dim(*dim, scope));
      }
    }
    if (fill) return {constant(expected, value.as<FillValue>()->value)};
    return {to_tensor(value, *dtype, range)};
  }
  if (tensor->type.dtype != *dtype &&
      !(is_integer(*dtype) && word == "token" && is_integer(tensor->type.dtype)))
    wrong("T0342", "");

  TensorValue out = *tensor;
  const std::size_t declared = element.dims.size();
  const std::size_t rank = tensor->type.rank();
  std::size_t ellipsis = declared;
  for (std::size_t i = 0; i < declared; ++i)
    if (is_ellipsis(element.dims[i])) ellipsis = i;
  const bool any_rank = ellipsis < declared;
  if (!any_rank && rank == declared + 1) surplus = true;
  if (any_rank ? rank + 1 < declared : rank != declared)
    wrong("T0310", fmt::format(": {} where {}{} expected", ordinal_plural(rank, "dimension"),
                               any_rank ? fmt::format("at least {}", declared - 1)
                                        : std::to_string(declared),
                               declared == 1 && !any_rank ? " is" : " are"));
  const std::size_t skipped = any_rank ? rank + 1 - declared : 0;
  out.origins.resize(rank);
  for (std::size_t i = 0, axis = 0; i < declared; ++i) {
    if (i == ellipsis) {
      const auto first = tensor->type.dims.begin() + static_cast<std::ptrdiff_t>(axis);
      const Dims leading(first, first + static_cast<std::ptrdiff_t>(skipped));
      const auto [it, fresh_entry] = u.leading.emplace(as<Name>(element.dims[i])->text, leading);
      if (!fresh_entry && it->second != leading)
        wrong("T0314", fmt::format(", where {} is [{}]", it->first, to_string(it->second)));
      axis += skipped;
      continue;
    }
    const Expr& dim = *element.dims[i];
    bool undecided = false;
    if (!unify_dim(*this, dim, tensor->type.dims[axis], scope, undecided)) wrong("T0314", "");
    if (undecided) u.pending.push_back({&dim, tensor->type.dims[axis], value, &type, range, name});
    out.origins[axis] = {source_text(dim.range), dim.range};
    ++axis;
  }
  if (word == "token" && !element.arguments.empty()) {
    const Expr& classes = *element.arguments[0].value;
    bool undecided = false;
    if (tensor->classes && !unify_dim(*this, classes, *tensor->classes, scope, undecided))
      wrong("T0315", "");
    if (!tensor->classes) out.classes = try_dim(classes, scope);
  }
  return {std::move(out)};
}

void GraphMaker::settle(Scope& scope, Unification& u) {
  bool progress = true;
  while (progress && !u.pending.empty()) {
    progress = false;
    std::vector<Unification::Pending> left;
    for (Unification::Pending& p : u.pending) {
      auto expected = try_dim(*p.expr, scope);
      if (!expected) {
        // k * N with N unknown: N is the exact quotient.
        if (const auto* product = as<Binary>(*p.expr);
            product && product->op == BinaryOp::multiply) {
          for (const bool left_known : {true, false}) {
            const Expr& unknown = left_known ? *product->right : *product->left;
            const auto factor = try_dim(left_known ? *product->left : *product->right, scope);
            const auto* name = as<Name>(unknown);
            if (!factor || !name) continue;
            if (const auto quotient = p.found.exact_div(*factor)) {
              bool undecided = false;
              unify_dim(*this, unknown, *quotient, scope, undecided);
              expected = try_dim(*p.expr, scope);
            }
            break;
          }
        }
      }
      if (!expected) {
        left.push_back(std::move(p));
        continue;
      }
      progress = true;
      if (*expected != p.found)
        fail("T0314", p.range,
             fmt::format("{} is {}, expected {}, where {} is {}", named(p.name), show(p.value),
                         source_text(p.type->range), source_text(p.expr->range),
                         expected->to_string()),
             {}, {}, {{p.type->range, "the declared type"}});
    }
    u.pending = std::move(left);
  }
}

Any GraphMaker::fresh(const TypeExpr& type, Scope& scope, const MakeLeaf& leaf,
                      const std::string& suffix) {
  if (const auto* tuple = std::get_if<TupleType>(&type.node)) {
    std::vector<Any> elements;
    for (std::size_t i = 0; i < tuple->elements.size(); ++i)
      elements.push_back(fresh(*tuple->elements[i], scope, leaf, fmt::format("{}.{}", suffix, i)));
    return {TupleValue{std::move(elements)}};
  }
  if (const auto* state = std::get_if<StateType>(&type.node)) {
    const Any of = resolve_callable(*state->of, scope);
    return fresh_state(*of.callable(), scope, leaf, suffix, type.range);
  }
  const auto& element = std::get<ElementType>(type.node);
  const auto dtype = element_type(element.element.text);
  if (!dtype) {
    const std::string near =
        closest_word(element.element.text, std::span<const std::string_view>(element_words));
    std::vector<std::string> hints;
    if (!near.empty()) hints.push_back(fmt::format("did you mean '{}'?", near));
    if (const std::string here = said_here(element.element.text); !here.empty()) hints = {here};
    fail("T0341", element.element.range,
         fmt::format("'{}' is no element type", element.element.text), {}, std::move(hints));
  }
  Type out{*dtype, {}};
  std::vector<Origin> origins;
  for (const ExprPtr& dim : element.dims) {
    if (is_ellipsis(dim))
      fail("T0324", dim->range, "'...' stands for dimensions of an argument; here they are needed");
    out.dims.push_back(eval_dim(*dim, scope));
    if (const auto constant = out.dims.back().constant(); constant && *constant < 0)
      fail("T0306", dim->range, fmt::format("this dimension is negative: {}", *constant));
    origins.push_back({source_text(dim->range), dim->range});
  }
  std::optional<Dim> classes;
  if (element.element.text == "token") {
    if (element.arguments.size() != 1)
      fail("T0345", element.element.range, "a token's type names how many there are: token(V)");
    classes = eval_dim(*element.arguments[0].value, scope);
  } else if (!element.arguments.empty()) {
    fail("T0345", element.arguments[0].range,
         fmt::format("'{}' takes no argument", element.element.text));
  }
  return {leaf(out, origins, classes, suffix)};
}

Any GraphMaker::fresh_state(const Callable& callable, Scope& scope, const MakeLeaf& leaf,
                            const std::string& suffix, const SourceRange& range) {
  if (callable.kind == Callable::Kind::stack) {
    std::vector<Any> elements;
    for (std::size_t i = 0; i < callable.layers.size(); ++i)
      elements.push_back(fresh_state(*callable.layers[i].callable(), scope, leaf,
                                     fmt::format("{}.{}", suffix, i), range));
    return {TupleValue{std::move(elements)}};
  }
  if (callable.kind != Callable::Kind::definition ||
      callable.definition->kind != Definition::Kind::cell)
    fail("T0335", range,
         fmt::format("{} carries no state", show({std::make_shared<const Callable>(callable)})), {},
         {"a state belongs to a cell, or to a stack of cells"});
  // Only the generics matter to the state's type.
  Scope inner;
  inner.module = callable.module;
  inner.definition = callable.definition;
  const auto& generics = callable.definition->generics;
  for (std::size_t i = 0; i < generics.size(); ++i) {
    Binding binding{{Poison{}}, Binding::Kind::generic, generics[i].name.range, true, true};
    if (i < callable.generics.size()) {
      binding.value = callable.generics[i];
      binding.unbound = false;
    } else if (generics[i].default_value && generics[i].kind == Generic::Kind::dim) {
      binding.value = {DimValue{eval_dim(*generics[i].default_value, inner)}};
      binding.unbound = false;
    }
    inner.names[generics[i].name.text] = std::move(binding);
  }
  return fresh(*callable.definition->parameters.back().type, inner, leaf, suffix);
}

bool GraphMaker::is_left_out(const Parameter& parameter, const Any& value) {
  const auto* otherwise = as<Name>(parameter.default_value);
  return value.as<NoneValue>() && otherwise && otherwise->text == "none";
}

void GraphMaker::bind_free_symbols(const TypeExpr& type, Scope& scope) {
  if (const auto* tuple = std::get_if<TupleType>(&type.node)) {
    for (const TypePtr& element : tuple->elements) bind_free_symbols(*element, scope);
    return;
  }
  const auto* element = std::get_if<ElementType>(&type.node);
  if (!element) return;
  const auto bind_name = [&](const Name& name, const Expr& expr) {
    const auto it = scope.names.find(name.text);
    const bool unbound = it != scope.names.end() && it->second.unbound;
    if (name.text.starts_with("...") || (it != scope.names.end() && !unbound) ||
        scope.module->dims.contains(name.text))
      return;
    const auto given = options_.dims.find(name.text);
    const Dim dim = given == options_.dims.end() ? Dim::symbol(name.text) : Dim(given->second);
    scope.names[name.text] = {{DimValue{dim}}, Binding::Kind::generic, expr.range, true, false};
  };
  for (const ExprPtr& dim : element->dims) visit_names(*dim, bind_name);
  for (const Argument& argument : element->arguments) visit_names(*argument.value, bind_name);
}

}  // namespace treadle::elaboration
