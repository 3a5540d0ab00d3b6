// How values, types and places read in diagnostics.
#include <fmt/format.h>

#include <cctype>

#include "frontend/elaborate/elaborator.h"

namespace treadle::elaboration {

void Reporter::add(Diagnostic diagnostic) {
  const std::string key = fmt::format("{}|{}|{}", diagnostic.code, to_string(diagnostic.range),
                                      diagnostic.range ? "" : diagnostic.message);
  if (!seen_.insert(key).second) return;
  if (diagnostic.severity == Severity::error) ++errors_;
  all_.push_back(std::move(diagnostic));
}

std::string source_text(const SourceRange& range) {
  if (!range) return {};
  return range.file->text.substr(range.begin, range.end - range.begin);
}

std::string snake_case(std::string_view name) {
  std::string out;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const auto c = static_cast<unsigned char>(name[i]);
    const bool after_lower = i > 0 && (std::islower(static_cast<unsigned char>(name[i - 1])) != 0 ||
                                       std::isdigit(static_cast<unsigned char>(name[i - 1])) != 0);
    const bool before_lower = i > 0 && i + 1 < name.size() && name[i - 1] != '_' &&
                              std::islower(static_cast<unsigned char>(name[i + 1])) != 0;
    if (std::isupper(c) != 0 && (after_lower || before_lower)) out += '_';
    out += static_cast<char>(std::tolower(c));
  }
  return out;
}

std::string_view kind_word(syntax::Definition::Kind kind) {
  switch (kind) {
    case syntax::Definition::Kind::cell: return "cell";
    case syntax::Definition::Kind::block: return "block";
    case syntax::Definition::Kind::model: return "model";
  }
  return "definition";
}

std::string ordinal_plural(std::size_t n, std::string_view noun) {
  return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s");
}

Any make_tuple(std::vector<Any> values) {
  if (values.size() == 1) return std::move(values[0]);
  return {TupleValue{std::move(values)}};
}

void for_each_leaf(const Any& value, const std::function<void(const TensorValue&)>& f) {
  if (const auto* tensor = value.as<TensorValue>()) f(*tensor);
  if (const auto* tuple = value.as<TupleValue>())
    for (const Any& element : tuple->elements) for_each_leaf(element, f);
}

void GraphMaker::report(Diagnostic diagnostic) {
  const auto in_standard = [&](const SourceRange& range) {
    return range && module_.standard && range.file->path.starts_with("std/");
  };
  for (std::size_t i = call_sites_.size(); i-- > 0 && in_standard(diagnostic.range);) {
    const CallSite& site = call_sites_[i];
    if (in_standard(site.range)) continue;
    diagnostic.related.push_back({diagnostic.range, fmt::format("inside '{}'", site.name)});
    diagnostic.range = site.range;
    diagnostic.label.clear();
    break;
  }
  reporter_.add(std::move(diagnostic));
}

void GraphMaker::fail(std::string code, const SourceRange& range, std::string message,
                      std::string label, std::vector<std::string> hints,
                      std::vector<RelatedPlace> related) {
  Diagnostic diagnostic;
  diagnostic.code = std::move(code);
  diagnostic.range = range;
  diagnostic.message = std::move(message);
  diagnostic.label = std::move(label);
  diagnostic.hints = std::move(hints);
  diagnostic.related = std::move(related);
  report(std::move(diagnostic));
  throw Failure{};
}

void GraphMaker::warn(std::string code, const SourceRange& range, std::string message,
                      std::vector<std::string> hints) {
  Diagnostic diagnostic;
  diagnostic.severity = Severity::warning;
  diagnostic.code = std::move(code);
  diagnostic.range = range;
  diagnostic.message = std::move(message);
  diagnostic.hints = std::move(hints);
  report(std::move(diagnostic));
}

std::string GraphMaker::show_dtype(DType dtype) const {
  return dtype == options_.real ? "real" : std::string(to_string(dtype));
}

std::string GraphMaker::show_type(const TensorValue& x) const {
  std::string out = x.classes && x.type.dtype == DType::i32
                        ? fmt::format("token({})", x.classes->to_string())
                        : show_dtype(x.type.dtype);
  if (x.type.dims.empty()) return out;
  out += '[';
  for (std::size_t i = 0; i < x.type.dims.size(); ++i) {
    if (i > 0) out += ", ";
    const bool spelled = i < x.origins.size() && !x.origins[i].text.empty();
    out += spelled ? x.origins[i].text : x.type.dims[i].to_string();
  }
  return out + "]";
}

std::string GraphMaker::show(const Any& value) const {
  if (const auto* tensor = value.as<TensorValue>()) return show_type(*tensor);
  if (const auto* number = value.as<NumberValue>())
    return fmt::format("the number {:g}", number->value);
  if (const auto* dim = value.as<DimValue>())
    return fmt::format("the integer {}", dim->dim.to_string());
  if (value.as<BoolValue>()) return "a condition";
  if (value.as<StringValue>()) return "a string";
  if (const auto* fill = value.as<FillValue>()) return fill->value == 0 ? "zeros" : "ones";
  if (value.as<ParametersValue>()) return "all parameters";
  if (value.as<NoneValue>()) return "none";
  if (const auto* tuple = value.as<TupleValue>()) {
    std::string out = "(";
    for (const Any& element : tuple->elements) out += (out.size() > 1 ? ", " : "") + show(element);
    return out + ")";
  }
  if (const Callable* callable = value.callable()) {
    switch (callable->kind) {
      case Callable::Kind::definition:
        return fmt::format("the {} {}", kind_word(callable->definition->kind),
                           callable->definition->name.text);
      case Callable::Kind::stack: return "a stack of layers";
      case Callable::Kind::builtin: return fmt::format("the function {}", callable->builtin);
    }
  }
  return "nothing";
}

std::vector<std::string> GraphMaker::dim_notes(
    const std::vector<const TensorValue*>& tensors) const {
  std::vector<std::string> out;
  std::set<std::string> seen;
  for (const TensorValue* tensor : tensors) {
    for (std::size_t i = 0; i < tensor->origins.size() && i < tensor->type.dims.size(); ++i) {
      const Origin& origin = tensor->origins[i];
      const std::string value = tensor->type.dims[i].to_string();
      if (origin.text.empty() || origin.text == value) continue;
      const bool standard = origin.range && origin.range.file->path.starts_with("std/");
      const std::string place =
          origin.range && !standard
              ? fmt::format(" (line {})", line_column(*origin.range.file, origin.range.begin).line)
              : "";
      std::string note = fmt::format("{} is {}{}", origin.text, value, place);
      if (seen.insert(note).second) out.push_back(std::move(note));
    }
  }
  return out;
}

void GraphMaker::warn_unused(const Scope& scope) {
  // What an error gave up may well be what would have used a name.
  if (scope.module->is_standard || reporter_.has_errors()) return;
  for (const auto& [name, binding] : scope.names) {
    if (binding.used || name.starts_with("_") || !binding.range) continue;
    switch (binding.kind) {
      case Binding::Kind::local:
        warn("T0501", binding.range, fmt::format("the value '{}' is never used", name),
             {"write _ in its place where a value is not wanted"});
        break;
      case Binding::Kind::parameter:
        warn("T0502", binding.range, fmt::format("the parameter '{}' is never used", name));
        break;
      case Binding::Kind::argument:
        warn("T0503", binding.range, fmt::format("the argument '{}' is never used", name),
             {"a name that begins with _ may stay unused"});
        break;
      case Binding::Kind::instance:
        warn("T0504", binding.range, fmt::format("the instance '{}' is never used", name));
        break;
      default: break;
    }
  }
}

}  // namespace treadle::elaboration
