#include "frontend/elaborate/imports.h"

#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "frontend/parser.h"

namespace treadle::elaboration {

using namespace syntax;

namespace {

std::optional<std::string> text_of(const std::filesystem::path& path) {
  std::error_code ignored;
  std::ifstream stream(path, std::ios::binary);
  if (!stream || std::filesystem::is_directory(path, ignored)) return std::nullopt;
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

std::filesystem::path real_path(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path out = std::filesystem::weakly_canonical(path, error);
  return error ? path : out;
}

}  // namespace

bool SourceFiles::declare(const std::string& name, const SourceRange& range,
                          const SourceRange& import, Places& places) {
  const auto [before, fresh] = places.emplace(name, range);
  if (fresh) return true;
  Diagnostic twice;
  twice.code = "T0204";
  twice.range = import ? import : range;
  twice.message = fmt::format("'{}' is declared twice", name);
  twice.related.push_back({before->second, "first declared here"});
  if (import) twice.related.push_back({range, "and imported from here"});
  reporter_.add(std::move(twice));
  return false;
}

void SourceFiles::declare_own(ModuleScope& scope, const Module& module, Places& places) {
  for (const Declaration& declaration : module.declarations) {
    if (const auto* dims = std::get_if<DimDecl>(&declaration.node)) {
      for (const DimDecl::Entry& entry : dims->entries) {
        if (!declare(entry.name.text, entry.name.range, {}, places)) continue;
        scope.dim_order.push_back(entry.name.text);
        scope.dims[entry.name.text] = {entry.name.range, entry.value.get(), &scope};
      }
    } else if (const auto* definition = std::get_if<Definition>(&declaration.node)) {
      if (declare(definition->name.text, definition->name.range, {}, places))
        scope.definitions[definition->name.text] = {definition, &scope};
    }
  }
}

void SourceFiles::declare_all(ModuleScope& scope, const Module& module) {
  Places places;
  declare_own(scope, module, places);
  for (const Declaration& declaration : module.declarations)
    if (const auto* found = std::get_if<Import>(&declaration.node))
      import(scope, module, *found, places);
}

void SourceFiles::import(ModuleScope& scope, const Module& module, const Import& import,
                         Places& places) {
  const ModuleScope* from = imported(module, import);
  if (from == nullptr) return;
  for (const auto& [name, definition] : from->definitions)
    if (definition.module == from &&
        declare(name, definition.syntax->name.range, import.path.range, places))
      scope.definitions[name] = definition;
  for (const std::string& name : from->dim_order) {
    const ModuleScope::NamedDim& dim = from->dims.at(name);
    if (dim.module != from || !declare(name, dim.range, import.path.range, places)) continue;
    scope.dim_order.push_back(name);
    scope.dims[name] = dim;
  }
}

// Null when the file cannot be had; that was reported.
const ModuleScope* SourceFiles::imported(const Module& module, const Import& import) {
  const std::filesystem::path here(module.file->path);
  const std::filesystem::path shown = (here.parent_path() / import.path.text).lexically_normal();
  const std::filesystem::path path = real_path(shown);
  const auto fail = [&](std::string code, std::string message, std::string hint) {
    Diagnostic out;
    out.code = std::move(code);
    out.range = import.path.range;
    out.message = std::move(message);
    if (!hint.empty()) out.hints.push_back(std::move(hint));
    reporter_.add(std::move(out));
    complete_ = false;
    return nullptr;
  };
  for (std::size_t i = 0; i < files_.size(); ++i) {
    if (files_[i].path != path) continue;
    if (!files_[i].open) return files_[i].scope;
    std::string round;
    for (std::size_t k = i; k < files_.size(); ++k)
      if (files_[k].open) round += files_[k].path.filename().string() + " imports ";
    return fail("T0207", fmt::format("'{}' imports itself", shown.string()),
                round + path.filename().string());
  }
  const auto text = text_of(path);
  if (!text)
    return fail("T0910", fmt::format("'{}' cannot be read", shown.string()),
                "an import is relative to the file that says it");
  auto file = std::make_shared<SourceFile>();
  file->path = shown.string();
  file->text = *text;
  std::vector<Diagnostic> mistakes;
  const std::size_t index = files_.size();
  ModuleScope& scope = *scopes_.emplace_back(std::make_unique<ModuleScope>());
  files_.push_back({path, true, &scope});
  scope.syntax = std::make_shared<const Module>(parse(std::move(file), mistakes));
  scope.standard = &standard_;
  complete_ = complete_ && mistakes.empty();
  for (Diagnostic& mistake : mistakes) reporter_.add(std::move(mistake));
  declare_all(scope, *scope.syntax);
  files_[index].open = false;
  return &scope;
}

bool SourceFiles::declare_program(ModuleScope& scope, std::shared_ptr<const Module> module) {
  scope.syntax = std::move(module);
  scope.standard = &standard_;
  files_.push_back({real_path(scope.syntax->file->path), true, &scope});
  declare_all(scope, *scope.syntax);
  files_.front().open = false;
  return complete_;
}

void SourceFiles::declare_standard(ModuleScope& scope, const Module& module) {
  Places places;
  declare_own(scope, module, places);
}

}  // namespace treadle::elaboration
