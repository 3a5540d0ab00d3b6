// Whole models: inputs, body, outputs.
#include <fmt/format.h>

#include "frontend/elaborate/elaborator.h"

namespace treadle::elaboration {

using namespace syntax;

namespace {

// The output that follows a state argument: the one of its name, or "state".
std::string successor_name(const Definition& definition, const std::string& argument) {
  std::string found;
  for (const Statement& statement : definition.body)
    if (const auto* result = std::get_if<Return>(&statement.node))
      for (const Argument& value : result->values)
        if (value.name && (value.name->text == argument || value.name->text == "state"))
          if (found.empty() || value.name->text == argument) found = value.name->text;
  return found;
}

}  // namespace

void GraphMaker::model(const ModuleScope::Definition& model, Scope& scope) {
  const Definition& definition = *model.syntax;
  scope.module = model.module;
  scope.definition = &definition;
  for (const Generic& generic : definition.generics) {
    if (!generic.default_value)
      fail("T0326", generic.name.range, "a model's generic arguments need a default value");
    scope.names[generic.name.text] = {{DimValue{eval_dim(*generic.default_value, scope)}},
                                      Binding::Kind::generic,
                                      generic.name.range,
                                      true,
                                      false};
  }
  for (const Parameter& parameter : definition.parameters) {
    bind_free_symbols(*parameter.type, scope);
    const std::string name = parameter.pattern.name;
    const bool state = std::holds_alternative<StateType>(parameter.type->node);
    const std::string successor = state ? successor_name(definition, name) : std::string();
    const Any value = fresh(*parameter.type, scope,
                            [&](const Type& type, const std::vector<Origin>& origins,
                                const std::optional<Dim>& classes, const std::string& suffix) {
                              Attributes more;
                              if (classes) more.set("classes", Dims{*classes});
                              if (state) {
                                more.set("role", std::string("state"));
                                if (!successor.empty()) more.set("successor", successor + suffix);
                              }
                              TensorValue out =
                                  tensor(b().input(name + suffix, type, std::move(more)));
                              out.origins = origins;
                              out.classes = classes;
                              return out;
                            });
    bind(parameter.pattern, value, scope, Binding::Kind::argument);
  }
  Callable callable;
  callable.definition = &definition;
  callable.module = model.module;
  check_where(callable, scope, definition.header);
  Results results;
  statements(definition.body, scope, results);
  if (results.values.empty())
    fail("T0336", definition.header, fmt::format("'{}' gives nothing back", definition.name.text),
         {}, {"a model ends in return VALUE"});
  warn_unused(scope);
  for (std::size_t i = 0; i < results.values.size(); ++i) {
    const std::string name = !results.names[i].empty()    ? results.names[i]
                             : results.values.size() == 1 ? "output"
                                                          : fmt::format("output.{}", i);
    Any& value = results.values[i];
    if (value.is_poison()) throw Failure{};
    if (!value.as<TupleValue>()) value = {to_tensor(value, options_.real, results.ranges[i])};
    std::size_t leaf_number = 0;
    const bool tuple = value.as<TupleValue>() != nullptr;
    for_each_leaf(value, [&](const TensorValue& leaf) {
      const std::string leaf_name = tuple ? fmt::format("{}.{}", name, leaf_number++) : name;
      if (b().graph().output(leaf_name).valid())
        fail("T0204", results.ranges[i], fmt::format("two results are called '{}'", leaf_name));
      b().output(leaf_name, use(leaf));
    });
    scope.names[name] = {value, Binding::Kind::local, results.ranges[i], true, false};
  }
}

// A cell or block that nothing calls, on arguments of unknown sizes.
void GraphMaker::definition_alone(const ModuleScope::Definition& definition) {
  Scope scope;
  scope.module = definition.module;
  scope.definition = definition.syntax;
  for (const Generic& generic : definition.syntax->generics) {
    const bool dim = generic.kind == Generic::Kind::dim;
    scope.names[generic.name.text] = {
        dim ? Any{DimValue{Dim::symbol(generic.name.text)}} : Any{Poison{}}, Binding::Kind::generic,
        generic.name.range, true, false};
  }
  for (const Parameter& parameter : definition.syntax->parameters) {
    Any value{Poison{}};
    try {
      bind_free_symbols(*parameter.type, scope);
      value = fresh(*parameter.type, scope,
                    [&](const Type& type, const std::vector<Origin>& origins,
                        const std::optional<Dim>& classes, const std::string&) {
                      TensorValue out = tensor(b().input(parameter.pattern.name, type));
                      out.origins = origins;
                      out.classes = classes;
                      return out;
                    });
    } catch (const Failure&) {
      value = {Poison{}};
    }
    bind(parameter.pattern, std::move(value), scope, Binding::Kind::argument);
  }
  Results results;
  statements(definition.syntax->body, scope, results);
}

}  // namespace treadle::elaboration
