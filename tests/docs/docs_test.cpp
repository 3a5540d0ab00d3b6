// The programs in the documents: ```treadle blocks are right and laid out as
// `fmt` does, ```treadle-error CODE blocks provoke that code and no other.
#include <filesystem>
#include <regex>
#include <set>

#include "frontend/elaborate.h"
#include "frontend/format.h"
#include "frontend/parser.h"
#include "ir/diagnostic.h"
#include "runtime/file.h"
#include "tests/catch.h"

using namespace treadle;

namespace {

std::set<std::string> codes_of(const std::string& text) {
  auto file = std::make_shared<SourceFile>();
  file->path = "block.tdl";
  file->text = text;
  std::vector<Diagnostic> diagnostics;
  auto module = std::make_shared<const syntax::Module>(parse(std::move(file), diagnostics));
  if (diagnostics.empty()) elaborate(std::move(module), {}, diagnostics);
  std::set<std::string> out;
  for (const Diagnostic& diagnostic : diagnostics) out.insert(diagnostic.code);
  return out;
}

}  // namespace

TEST_CASE("every program in the documents is what it says it is") {
  const std::filesystem::path root = TREADLE_SOURCE_DIR;
  const std::regex block("```treadle(-error (T\\d{4}))?\n([^`]*)```");
  for (const auto& [name, least] :
       std::vector<std::pair<std::string, int>>{{"README.md", 2}, {"docs/language.md", 7}}) {
    const std::string text = read_file(root / name);
    int programs = 0;
    for (std::sregex_iterator i(text.begin(), text.end(), block), end; i != end; ++i) {
      const std::string program = (*i)[3], code = (*i)[2];
      INFO(name << ":\n" << program);
      ++programs;
      CHECK(codes_of(program) ==
            (code.empty() ? std::set<std::string>{} : std::set<std::string>{code}));
      CHECK(format_program(program, "block.tdl") == program);
    }
    CHECK(programs >= least);
  }
}
