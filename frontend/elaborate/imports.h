// The files of a program and the names that each of them sees.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "frontend/elaborate/elaborator.h"

namespace treadle::elaboration {

// Reads each imported file once. `import "cells.tdl"` is relative to the file
// that says it; it brings the cells, blocks, models and dims of that file, not
// what that file imports, nor its train, eval, generate and test blocks.
//
// Mistakes go to the reporter: T0204 a name declared twice, T0207 a file that
// imports itself, T0910 a file that cannot be read, and the mistakes of the
// imported files' syntax.
class SourceFiles {
 public:
  // The scopes of imported files go into `scopes`.
  SourceFiles(const ModuleScope& standard, std::vector<std::unique_ptr<ModuleScope>>& scopes,
              Reporter& reporter)
      : standard_(standard), scopes_(scopes), reporter_(reporter) {}

  // The names of a program, those of its imports included. False when a file is
  // missing from them or holds mistakes: what uses it would seem wrong too.
  bool declare_program(ModuleScope& scope, std::shared_ptr<const syntax::Module> module);
  // A file of the standard library; several share one scope.
  void declare_standard(ModuleScope& scope, const syntax::Module& module);

 private:
  using Places = std::map<std::string, SourceRange>;
  struct File {
    std::filesystem::path path;  // canonical
    bool open = true;            // its own imports are still being followed
    ModuleScope* scope = nullptr;
  };

  void declare_own(ModuleScope& scope, const syntax::Module& module, Places& places);
  void declare_all(ModuleScope& scope, const syntax::Module& module);
  void import(ModuleScope& scope, const syntax::Module& module, const syntax::Import& import,
              Places& places);
  const ModuleScope* imported(const syntax::Module& module, const syntax::Import& import);
  bool declare(const std::string& name, const SourceRange& range, const SourceRange& import,
               Places& places);

  const ModuleScope& standard_;
  std::vector<std::unique_ptr<ModuleScope>>& scopes_;
  Reporter& reporter_;
  std::vector<File> files_;
  bool complete_ = true;
};

}  // namespace treadle::elaboration
