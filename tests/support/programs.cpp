#include "tests/support/programs.h"

#include "frontend/parser.h"

namespace treadle::test {

std::shared_ptr<const syntax::Module> module_of(const std::string& text) {
  auto file = std::make_shared<SourceFile>();
  file->path = "test.tdl";
  file->text = text;
  return std::make_shared<const syntax::Module>(parse_or_throw(std::move(file)));
}

Experiment program(const std::string& text, DType real) {
  ElaborateOptions options;
  options.real = real;
  return elaborate_or_throw(module_of(text), options);
}

}  // namespace treadle::test
