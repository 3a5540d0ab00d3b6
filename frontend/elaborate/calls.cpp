// Calls of definitions, generics, subscripts.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/elaborate/elaborator.h"
#include "frontend/suggest.h"

namespace treadle::elaboration {

using namespace syntax;

namespace {
constexpr std::size_t deepest_call = 64;
}

Any GraphMaker::resolve_callable(const Expr& expr, Scope& scope) {
  Any value = eval(expr, scope);
  if (value.callable()) return value;
  fail("T0330", expr.range, "a cell, block or function is expected here",
       fmt::format("this is {}", show(value)));
}

std::string GraphMaker::call_path(const Callable& callable, Scope& caller,
                                  const std::string& segment) {
  if (callable.path) return *callable.path;
  std::string name = segment;
  if (name.empty())
    name = callable.kind == Callable::Kind::stack ? "stack"
                                                  : snake_case(callable.definition->name.text);
  const int before = caller.segments[name]++;
  if (before > 0) name += fmt::format("_{}", before + 1);
  return caller.path.empty() ? name : caller.path + "." + name;
}

Any GraphMaker::instantiate(const Index& index, const Callable& callable, Scope& scope,
                            const SourceRange& range) {
  Callable out = callable;
  if (callable.kind == Callable::Kind::stack)
    fail("T0331", range, "a stack takes no arguments in brackets");
  if (callable.kind == Callable::Kind::builtin)
    fail(
        "T0332", range, fmt::format("'{}' takes no arguments in brackets", callable.builtin), {},
        {fmt::format("the arguments of a function stand in parentheses: {}(x)", callable.builtin)});
  for (std::size_t i = 0; i < index.subscripts.size(); ++i) {
    const Subscript& subscript = index.subscripts[i];
    if (subscript.is_slice) fail("T0331", subscript.range, "a range is no generic argument");
    if (callable.kind == Callable::Kind::definition) {
      const auto& generics = callable.definition->generics;
      if (out.generics.size() >= generics.size())
        fail("T0332", subscript.range,
             fmt::format("'{}' takes {} in brackets", callable.definition->name.text,
                         ordinal_plural(generics.size(), "argument")),
             {}, {}, {{callable.definition->header, "declared here"}});
      if (generics[out.generics.size()].kind != Generic::Kind::dim) {
        out.generics.push_back(resolve_callable(*subscript.value, scope));
        continue;
      }
    }
    out.generics.push_back({DimValue{eval_dim(*subscript.value, scope)}});
  }
  return {std::make_shared<const Callable>(std::move(out))};
}

Any GraphMaker::index(const Index& index, const Expr& expr, Scope& scope) {
  const Any base = eval(*index.base, scope);
  if (const Callable* callable = base.callable())
    return instantiate(index, *callable, scope, expr.range);
  if (const auto* tuple = base.as<TupleValue>()) {
    const Dim which =
        index.subscripts[0].is_slice ? Dim(-1) : eval_dim(*index.subscripts[0].value, scope);
    const auto i = which.constant();
    if (!i || *i < 0 || *i >= static_cast<std::int64_t>(tuple->elements.size()))
      fail("T0333", expr.range,
           fmt::format("this tuple has {}", ordinal_plural(tuple->elements.size(), "element")));
    return tuple->elements[static_cast<std::size_t>(*i)];
  }
  TensorValue x = to_tensor(base, options_.real, index.base->range);
  if (index.subscripts.size() > x.type.rank())
    fail("T0317", expr.range,
         fmt::format("{} for {}", ordinal_plural(index.subscripts.size(), "subscript"),
                     ordinal_plural(x.type.rank(), "dimension")),
         fmt::format("{}: {}", source_text(index.base->range), show_type(x)));
  std::size_t axis = 0;
  return guarded(expr.range, [&]() -> Any {
    for (const Subscript& subscript : index.subscripts) {
      const Dim size = x.type.dims[axis];
      const auto at = [&](const Dim& dim) {
        const auto value = dim.constant();
        return value && *value < 0 ? size + dim : dim;
      };
      const auto drop = [&](TensorValue sliced) {
        Dims dims = sliced.type.dims;
        std::vector<Origin> origins = x.origins;
        dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(axis));
        if (origins.size() > axis)
          origins.erase(origins.begin() + static_cast<std::ptrdiff_t>(axis));
        TensorValue out = tensor(b().reshape(use(sliced), dims));
        out.origins = std::move(origins);
        out.classes = x.classes;
        return out;
      };
      const auto cut = [&](const Dim& begin, const Dim& extent) {
        TensorValue out = tensor(b().slice(use(x), static_cast<std::int64_t>(axis), begin, extent));
        out.classes = x.classes;
        out.origins = x.origins;
        if (out.origins.size() > axis) out.origins[axis] = {};
        return out;
      };
      if (subscript.is_slice) {
        const Dim begin = subscript.begin ? at(eval_dim(*subscript.begin, scope)) : Dim(0);
        const Dim end = subscript.end ? at(eval_dim(*subscript.end, scope)) : size;
        x = cut(begin, (end - begin).at_least(0));
        ++axis;
        continue;
      }
      const Any where = eval(*subscript.value, scope);
      if (const auto* dim = where.as<DimValue>()) {
        const auto constant = at(dim->dim).constant();
        if (const auto known = size.constant(); known && constant && *constant >= *known)
          fail("T0318", subscript.range,
               fmt::format("index {} of a dimension of {}", *constant, *known));
        x = drop(cut(at(dim->dim), 1));
        continue;
      }
      const TensorValue rows = to_tensor(where, DType::i32, subscript.range);
      if (!is_integer(rows.type.dtype))
        fail("T0319", subscript.range, "a subscript is an integer, a range or tokens",
             fmt::format("this is {}", show_type(rows)));
      if (axis != 0)
        fail("T0319", subscript.range, "tokens look up rows: they stand in the first place");
      if (rows.classes && *rows.classes != size)
        fail("T0315", subscript.range,
             fmt::format("tokens of {} classes look up a table of {} rows",
                         rows.classes->to_string(), size.to_string()),
             fmt::format("{}: {}   {}: {}", source_text(index.base->range), show_type(x),
                         source_text(subscript.range), show_type(rows)));
      TensorValue out = tensor(b().gather(use(x), use(rows)));
      if (x.origins.size() == x.type.rank() && rows.origins.size() == rows.type.rank()) {
        out.origins = rows.origins;
        out.origins.insert(out.origins.end(), x.origins.begin() + 1, x.origins.end());
      }
      x = out;
      axis += rows.type.rank();
    }
    return {x};
  });
}

Any GraphMaker::call(const Call& call, const Expr& expr, Scope& scope) {
  const Any callee = eval(*call.callee, scope);
  std::vector<ArgumentValue> arguments;
  if (!callee.callable())
    fail("T0330", call.callee->range,
         fmt::format("{} cannot be called", source_text(call.callee->range)),
         fmt::format("this is {}", show(callee)),
         callee.as<FillValue>()
             ? std::vector<std::string>{"it takes its size from where it stands: "
                                        "scan GRU[4, 8] over x from zeros"}
             : std::vector<std::string>{});
  if (callee.callable()->builtin == "remat") return remat(call, expr, scope);
  bool failed = false;
  for (const Argument& argument : call.arguments) {
    Any value = eval_or_poison(*argument.value, scope);
    failed = failed || value.is_poison();
    arguments.push_back(
        {argument.name ? argument.name->text : "", std::move(value), argument.range});
  }
  if (failed) throw Failure{};
  return call_value(*callee.callable(), std::move(arguments), scope, expr.range);
}

Any GraphMaker::call_value(const Callable& callable, std::vector<ArgumentValue> arguments,
                           Scope& caller, const SourceRange& range) {
  if (callable.kind == Callable::Kind::builtin)
    return call_builtin(callable.builtin, std::move(arguments), range);
  const bool cell =
      callable.kind == Callable::Kind::stack || callable.definition->kind == Definition::Kind::cell;
  if (cell && callable.kind == Callable::Kind::stack && !callable.layers.empty()) {
    const Callable* first = callable.layers[0].callable();
    if (first->kind == Callable::Kind::definition &&
        first->definition->kind == Definition::Kind::block) {
      const std::string path = call_path(callable, caller);
      const std::string& passed = first->definition->parameters.empty()
                                      ? std::string()
                                      : first->definition->parameters[0].pattern.name;
      const auto through =
          std::find_if(arguments.begin(), arguments.end(), [&](const ArgumentValue& argument) {
            return argument.name.empty() || argument.name == passed;
          });
      if (through == arguments.end())
        fail("T0334", range, "the first argument of a stack of blocks runs through its layers");
      Any value;
      for (std::size_t i = 0; i < callable.layers.size(); ++i) {
        Callable layer = *callable.layers[i].callable();
        layer.path = fmt::format("{}[{}]", path, i);
        value = call_value(layer, arguments, caller, range);
        if (i + 1 < callable.layers.size()) through->value = value;
      }
      return value;
    }
  }
  if (cell) {
    if (arguments.size() < 2)
      fail("T0334", range, "a cell is called with its inputs and its state", {},
           {"scan CELL over SEQUENCE runs it over a sequence"});
    const ArgumentValue state = arguments.back();
    arguments.pop_back();
    Step out =
        step(callable, std::move(arguments), &state.value, state.range, nullptr, caller, range);
    return {TupleValue{{make_tuple(std::move(out.outputs)), std::move(out.carry)}}};
  }
  Activation activation = activate(callable, std::move(arguments), caller, false, range);
  Results results = run(callable, activation, range);
  for (const Any& value : results.values)
    if (value.is_poison()) throw Failure{};
  return make_tuple(std::move(results.values));
}

GraphMaker::Activation GraphMaker::activate(const Callable& callable,
                                            std::vector<ArgumentValue> arguments, Scope& caller,
                                            bool without_last, const SourceRange& range) {
  const Definition& definition = *callable.definition;
  if (call_sites_.size() >= deepest_call)
    fail("T0205", range,
         fmt::format("'{}' calls itself, or calls are nested too deeply", definition.name.text), {},
         {"recursion has no end here: a scan repeats a cell over time"});
  Activation out;
  out.scope.module = callable.module;
  out.scope.definition = &definition;
  out.scope.path = call_path(callable, caller);
  for (std::size_t i = 0; i < definition.generics.size(); ++i) {
    const Generic& generic = definition.generics[i];
    Binding binding{{Poison{}}, Binding::Kind::generic, generic.name.range, true, true};
    if (i < callable.generics.size()) {
      binding.value = callable.generics[i];
      binding.unbound = false;
    }
    out.scope.names[generic.name.text] = std::move(binding);
  }
  const std::size_t count = definition.parameters.size() - (without_last ? 1 : 0);
  std::vector<const ArgumentValue*> given(count, nullptr);
  std::size_t position = 0;
  for (const ArgumentValue& argument : arguments) {
    std::size_t i = count;
    if (argument.name.empty()) {
      i = position++;
      if (i >= count)
        fail("T0334", argument.range,
             fmt::format("'{}' takes {}, here are {}", definition.name.text,
                         ordinal_plural(count, "argument"), arguments.size()),
             {}, {}, {{definition.header, "declared here"}});
    } else {
      std::vector<std::string> known;
      for (std::size_t k = 0; k < count; ++k) {
        known.push_back(definition.parameters[k].pattern.name);
        if (known.back() == argument.name) i = k;
      }
      if (i == count) {
        const std::string near = closest_word(argument.name, std::span<const std::string>(known));
        std::vector<std::string> hints;
        if (!near.empty()) hints.push_back(fmt::format("did you mean '{}'?", near));
        fail("T0334", argument.range,
             fmt::format("'{}' has no argument '{}'", definition.name.text, argument.name), {},
             std::move(hints));
      }
    }
    given[i] = &argument;
  }
  const auto generic_defaults = [&] {
    for (const Generic& generic : definition.generics) {
      Binding& binding = out.scope.names[generic.name.text];
      if (!binding.unbound || !generic.default_value) continue;
      binding.value = generic.kind == Generic::Kind::dim
                          ? Any{DimValue{eval_dim(*generic.default_value, out.scope)}}
                          : resolve_callable(*generic.default_value, out.scope);
      binding.unbound = false;
    }
  };
  // Values given bind the generics; defaults come after them. A default that is
  // another argument (`memory = x`) is as good as given.
  std::vector<bool> early(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto* other = as<Name>(definition.parameters[i].default_value);
    early[i] = given[i] != nullptr;
    for (std::size_t k = 0; k < i && !early[i]; ++k)
      early[i] = other && early[k] && definition.parameters[k].pattern.name == other->text;
  }
  for (const bool defaults : {false, true}) {
    if (defaults) generic_defaults();
    for (std::size_t i = 0; i < count; ++i) {
      const Parameter& parameter = definition.parameters[i];
      if (early[i] == defaults) continue;
      const bool left_out = given[i] == nullptr;
      if (left_out && !parameter.default_value)
        fail("T0334", range,
             fmt::format("'{}' needs a value for '{}'", definition.name.text,
                         source_text(parameter.pattern.range)),
             {}, {}, {{parameter.range, "declared here"}});
      Any value = left_out ? eval(*parameter.default_value, out.scope) : given[i]->value;
      if (!is_left_out(parameter, value))
        value = meet(*parameter.type, std::move(value), out.scope, out.u,
                     left_out ? range : given[i]->range, parameter.pattern.name);
      bind(parameter.pattern, std::move(value), out.scope, Binding::Kind::argument);
    }
  }
  settle(out.scope, out.u);
  return out;
}

void GraphMaker::check_where(const Callable& callable, Scope& scope, const SourceRange& range) {
  if (!callable.definition->where) return;
  const Expr& condition = *callable.definition->where;
  if (eval_condition(condition, scope)) return;
  std::string sizes;
  visit_names(condition, [&](const Name& name, const Expr&) {
    const auto found = scope.names.find(name.text);
    const auto* dim = found == scope.names.end() ? nullptr : found->second.value.as<DimValue>();
    const std::string size =
        dim ? fmt::format("{} is {}", name.text, dim->dim.to_string()) : std::string();
    if (size.empty() || sizes.find(size) != std::string::npos) return;
    sizes += (sizes.empty() ? "here " : ", ") + size;
  });
  std::vector<std::string> hints;
  if (!sizes.empty()) hints.push_back(std::move(sizes));
  fail("T0321", range,
       fmt::format("'{}' needs {}", callable.definition->name.text, source_text(condition.range)),
       {}, std::move(hints), {{condition.range, "the condition"}});
}

Results GraphMaker::run(const Callable& callable, Activation& activation,
                        const SourceRange& range) {
  check_where(callable, activation.scope, range);
  const CallSiteScope site(call_sites_,
                           {range, callable.definition->name.text, callable.module->is_standard});
  Results results;
  statements(callable.definition->body, activation.scope, results);
  if (results.values.empty())
    fail("T0336", callable.definition->header,
         fmt::format("'{}' gives nothing back", callable.definition->name.text), {},
         {callable.definition->kind == Definition::Kind::cell ? "a cell ends in yield OUTPUT, STATE"
                                                              : "a block ends in return VALUE"});
  for (const Any& value : results.values)
    if (!value.is_poison()) {
      warn_unused(activation.scope);
      break;
    }
  return results;
}

}  // namespace treadle::elaboration
