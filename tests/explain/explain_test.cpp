// Every diagnostic code has a page, every page a code, and the programs of the
// pages do what the pages say.
#include "driver/explain.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <regex>
#include <set>
#include <sstream>

#include "driver/cli.h"
#include "frontend/elaborate.h"
#include "frontend/parser.h"
#include "runtime/file.h"
#include "tests/catch.h"
#include "tests/support/markdown.h"
#include "tests/support/programs.h"
#include "tests/support/temporary_folder.h"

using namespace treadle;
namespace fs = std::filesystem;

using treadle::test::Block;
using treadle::test::blocks_of;

namespace {

const fs::path root(TREADLE_SOURCE_DIR);
constexpr std::ptrdiff_t page_limit = 60;

std::vector<std::string> lines_of(std::string_view text) {
  std::istringstream stream{std::string(text)};
  std::vector<std::string> out;
  for (std::string line; std::getline(stream, line);) out.push_back(line);
  return out;
}

std::set<std::string> matches(const std::string& text, const std::regex& pattern) {
  std::set<std::string> out;
  for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it)
    out.insert((*it)[1]);
  return out;
}

std::set<std::string> codes_in(const std::vector<std::string>& folders, const std::regex& pattern) {
  std::set<std::string> out;
  for (const std::string& folder : folders)
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      if (!entry.is_regular_file()) continue;
      const std::string extension = entry.path().extension().string();
      if (extension != ".cpp" && extension != ".h" && extension != ".tdl") continue;
      out.merge(matches(read_file(entry.path()), pattern));
    }
  return out;
}

const std::vector<std::string> source_folders = {"frontend", "ir",      "passes",
                                                 "backends", "runtime", "driver"};

std::set<std::string> page_codes() {
  std::set<std::string> out;
  for (const ErrorPage& page : error_pages()) out.insert(std::string(page.code));
  return out;
}

// The command line in this process; what it prints, both streams together.
std::string printed_by(const std::vector<std::string>& words, int* status = nullptr) {
  std::vector<const char*> arguments{"treadle"};
  for (const std::string& word : words) arguments.push_back(word.c_str());
  const std::ostringstream captured;
  std::streambuf* out = std::cout.rdbuf(captured.rdbuf());
  std::streambuf* err = std::cerr.rdbuf(captured.rdbuf());
  const int result = run_command_line(static_cast<int>(arguments.size()), arguments.data());
  std::cout.rdbuf(out);
  std::cerr.rdbuf(err);
  if (status != nullptr) *status = result;
  return captured.str();
}

// The codes that a program provokes: where it is checked, else where the first
// step is made, or its tests are run.
std::set<std::string> codes_of_wrong_program(const std::string& text) {
  if (auto out = treadle::test::codes_of(text); !out.empty()) return out;
  const treadle::test::TemporaryFolder folder;
  const std::string path = folder.file("page.tdl", text).string();
  const bool trains = text.find("\ntrain ") != std::string::npos;
  const std::string printed =
      trains ? printed_by({"train", path, "--backend", "reference"}) : printed_by({"test", path});
  return matches(printed, std::regex(R"((?:error|warning)\[([A-Z]\d{4})\])"));
}

}  // namespace

TEST_CASE("every code of the sources has a page, and every page is of a code") {
  const std::set<std::string> pages = page_codes();
  const std::set<std::string> thrown =
      codes_in(source_folders, std::regex(R"re("([A-Z]\d{4})")re"));
  for (const std::string& code : codes_in(source_folders, std::regex(R"(\b([TC]\d{4})\b)"))) {
    INFO(code << " has no page docs/errors/" << code << ".md");
    CHECK(pages.contains(code));
  }
  for (const std::string& code : pages) {
    INFO("nothing provokes " << code);
    CHECK(thrown.contains(code));
  }
}

TEST_CASE("a page has a title, an example and less than sixty lines") {
  for (const ErrorPage& page : error_pages()) {
    INFO(page.code);
    const std::vector<std::string> lines = lines_of(page.text);
    CHECK(std::regex_match(lines[0], std::regex(R"(# T\d{4}: \S.*[^.])")));
    CHECK(lines[0].starts_with("# " + std::string(page.code) + ": "));
    CHECK(lines[1].empty());
    CHECK(static_cast<std::ptrdiff_t>(lines.size()) < page_limit);
    for (const std::string& line : lines) {
      INFO(line);
      CHECK(line.size() <= 100);
    }
    const std::vector<Block> blocks = blocks_of(page.text);
    REQUIRE_FALSE(blocks.empty());
    int wrong = 0, right = 0;
    for (const Block& block : blocks) {
      INFO(block.kind);
      CHECK(std::set<std::string>{"treadle-error", "treadle", "sh", "text"}.contains(block.kind));
      wrong += block.kind == "treadle-error" ? 1 : 0;
      right += block.kind == "treadle" ? 1 : 0;
    }
    CHECK(wrong <= 1);
    if (wrong == 1) CHECK(right >= 1);
  }
}

TEST_CASE("the wrong program of a page provokes its code, and no other") {
  int programs = 0;
  for (const ErrorPage& page : error_pages())
    for (const Block& block : blocks_of(page.text)) {
      if (block.kind != "treadle-error") continue;
      ++programs;
      INFO(page.code << "\n" << block.text);
      CHECK(codes_of_wrong_program(block.text) == std::set<std::string>{std::string(page.code)});
    }
  CHECK(programs >= 80);
}

TEST_CASE("the corrected program of a page is right, without a warning") {
  for (const ErrorPage& page : error_pages())
    for (const Block& block : blocks_of(page.text)) {
      if (block.kind != "treadle") continue;
      INFO(page.code << "\n" << block.text);
      CHECK(treadle::test::codes_of(block.text).empty());
    }
}

TEST_CASE("a code that a test's program provokes is shown by a program") {
  std::set<std::string> shown;
  for (const ErrorPage& page : error_pages())
    for (const Block& block : blocks_of(page.text))
      if (block.kind == "treadle-error") shown.insert(std::string(page.code));
  for (const std::string& code :
       codes_in({"tests/bad"}, std::regex(R"(# expect \d+:\d+ (T\d{4}))"))) {
    INFO(code);
    CHECK(shown.contains(code));
  }
}

TEST_CASE("explain prints a page as it is, lists all, and knows what is near") {
  int status = -1;
  CHECK(printed_by({"explain", "T0312"}, &status) == read_file(root / "docs/errors/T0312.md"));
  CHECK(status == 0);
  CHECK(explain("312").code == "T0312");
  CHECK(explain("t0312").code == "T0312");

  const std::vector<std::string> list = lines_of(printed_by({"explain"}, &status));
  CHECK(status == 0);
  CHECK(list.size() == page_codes().size());
  CHECK(std::is_sorted(list.begin(), list.end()));
  CHECK(std::find(list.begin(), list.end(), "T0312  inner dimensions differ in '@'") != list.end());

  const std::string unknown = printed_by({"explain", "T0304"}, &status);
  CHECK(status == 1);
  CHECK(unknown.find("error[T0849]: there is no diagnostic 'T0304'") != std::string::npos);
  CHECK(unknown.find("T0302, T0303, T0305") != std::string::npos);
  for (const char* word : {"inner", "T", "T99999999999", "-312"}) {
    INFO(word);
    printed_by({"explain", "--", word}, &status);
    CHECK(status == 1);
  }
}
