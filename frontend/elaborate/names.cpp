// What a name means: locals and generics, the file's dims and definitions,
// imports, the standard library, built-ins.
#include <fmt/format.h>

#include <limits>

#include "frontend/elaborate/elaborator.h"
#include "frontend/foreign_words.h"
#include "frontend/suggest.h"

namespace treadle::elaboration {

namespace {

const ModuleScope::Definition* find_definition(const ModuleScope& module, const std::string& name) {
  if (const auto it = module.definitions.find(name); it != module.definitions.end())
    return &it->second;
  return module.standard ? find_definition(*module.standard, name) : nullptr;
}

void collect_names(const ModuleScope& module, std::vector<std::string>& into) {
  for (const auto& [name, dim] : module.dims) into.push_back(name);
  for (const auto& [name, definition] : module.definitions) into.push_back(name);
  if (module.standard) collect_names(*module.standard, into);
}

}  // namespace

Any GraphMaker::lookup(const std::string& name, Scope& scope, const SourceRange& range) {
  if (const auto it = scope.names.find(name); it != scope.names.end()) {
    it->second.used = true;
    if (it->second.unbound)
      fail("T0320", range, fmt::format("the value of '{}' cannot be told from the arguments", name),
           {}, {fmt::format("give it in brackets at the call")},
           {{it->second.range, "declared here"}});
    return it->second.value;
  }
  const ModuleScope& module = *scope.module;
  if (module.dims.contains(name)) return {DimValue{named_dim(name, module, range)}};
  if (const auto* definition = find_definition(module, name)) {
    Callable callable;
    callable.definition = definition->syntax;
    callable.module = definition->module;
    return {std::make_shared<const Callable>(std::move(callable))};
  }
  if (name == "zeros") return {FillValue{0}};
  if (name == "ones") return {FillValue{1}};
  if (name == "params") return {ParametersValue{}};
  if (name == "training") return {BoolValue{options_.mode == Mode::train}};
  if (name == "none") return {NoneValue{}};
  if (name == "infinity") return {NumberValue{std::numeric_limits<double>::infinity()}};
  if (name == "pi") return {NumberValue{3.14159265358979323846}};
  if (is_builtin(name)) {
    Callable callable;
    callable.kind = Callable::Kind::builtin;
    callable.builtin = name;
    return {std::make_shared<const Callable>(std::move(callable))};
  }
  unknown_name(name, scope, range);
}

void GraphMaker::unknown_name(const std::string& name, Scope& scope, const SourceRange& range) {
  std::vector<std::string> known;
  for (const auto& [local, binding] : scope.names) known.push_back(local);
  collect_names(*scope.module, known);
  for (const std::string_view builtin : builtin_names()) known.emplace_back(builtin);
  for (const char* word : {"zeros", "ones", "params", "training", "pi", "none", "infinity"})
    known.emplace_back(word);
  const std::string near = closest_word(name, std::span<const std::string>(known));
  const std::string here = said_here(name);
  std::vector<std::string> hints;
  if (!here.empty())
    hints.push_back(here);
  else if (!near.empty())
    hints.push_back(fmt::format("did you mean '{}'?", near));
  else if (std::string locals; !scope.names.empty() && scope.names.size() <= 8) {
    for (const auto& [local, binding] : scope.names) locals += (locals.empty() ? "" : ", ") + local;
    hints.push_back("here are " + locals);
  }
  fail("T0201", range, fmt::format("nothing here is called '{}'", name), {}, std::move(hints));
}

Dim GraphMaker::named_dim(const std::string& name, const ModuleScope& module,
                          const SourceRange& at) {
  const ModuleScope::NamedDim& entry = module.dims.at(name);
  if (entry.module != &module) return named_dim(name, *entry.module, at);
  if (const auto it = options_.dims.find(name); it != options_.dims.end()) return it->second;
  if (!entry.value) return Dim::symbol(name);
  const std::string key = fmt::format("{}:{}", static_cast<const void*>(&module), name);
  if (const auto it = dim_values_.find(key); it != dim_values_.end()) return it->second;
  if (!dims_in_progress_.insert(key).second)
    fail("T0305", entry.range, fmt::format("the dim '{}' is defined by itself", name), {}, {},
         {{at, "used here"}});
  Scope scope;
  scope.module = &module;
  Dim value;
  try {
    value = eval_dim(*entry.value, scope);
  } catch (const Failure&) {
    dim_values_.emplace(key, Dim::symbol(name));
    throw;
  }
  if (const auto constant = value.constant(); constant && *constant < 0)
    fail("T0306", entry.value->range, fmt::format("the dim '{}' is negative: {}", name, *constant));
  dims_in_progress_.erase(key);
  dim_values_.emplace(key, value);
  return value;
}

}  // namespace treadle::elaboration
