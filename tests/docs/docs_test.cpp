// The programs in the documents: ```treadle blocks are right and laid out as
// `fmt` does, ```treadle-error CODE blocks provoke that code and no other. A
// ```treadle NAME.tdl block is a file that those behind it can import; an error
// block may have a name too.
#include <filesystem>
#include <regex>
#include <set>

#include "frontend/elaborate.h"
#include "frontend/format.h"
#include "frontend/parser.h"
#include "ir/diagnostic.h"
#include "runtime/file.h"
#include "tests/catch.h"
#include "tests/support/programs.h"
#include "tests/support/temporary_folder.h"

using namespace treadle;
using test::codes_of;

TEST_CASE("every program in the documents is what it says it is") {
  const std::filesystem::path root = TREADLE_SOURCE_DIR;
  const std::regex block("```treadle(?:-error (T\\d{4}))?(?: (\\w+\\.tdl))?\n([^`]*)```");
  for (const auto& [name, least] : std::vector<std::pair<std::string, int>>{
           {"README.md", 2}, {"docs/language.md", 7}, {"docs/tutorial.md", 9}}) {
    const std::string text = read_file(root / name);
    const test::TemporaryFolder folder;
    int programs = 0;
    for (std::sregex_iterator i(text.begin(), text.end(), block), end; i != end; ++i) {
      const std::string code = (*i)[1], file = (*i)[2], program = (*i)[3];
      INFO(name << ":\n" << program);
      ++programs;
      const std::filesystem::path path = folder.file(file.empty() ? "block.tdl" : file, program);
      CHECK(codes_of(program, path.string()) ==
            (code.empty() ? std::set<std::string>{} : std::set<std::string>{code}));
      CHECK(format_program(program, "block.tdl") == program);
    }
    CHECK(programs >= least);
  }
}
