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
#include "tests/support/programs.h"

using namespace treadle;
using test::codes_of;

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
