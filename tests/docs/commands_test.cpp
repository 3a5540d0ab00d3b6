// The command lines, code and paths in the documents.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "frontend/elaborate/elaborator.h"
#include "runtime/file.h"
#include "runtime/readers/npy.h"
#include "tests/catch.h"
#include "tests/cli/run.h"

using namespace treadle;
using test::Run;

namespace {

const std::filesystem::path root = TREADLE_SOURCE_DIR;
constexpr const char* documents[] = {"README.md", "CONTRIBUTING.md", "docs/language.md",
                                     "docs/tutorial.md"};

// What stands between backticks, in the text and in blocks of shell commands,
// from `first` to the end of the command, each once; comments are cut off.
std::vector<std::string> commands(const std::string& text, const std::string& first) {
  std::vector<std::string> out;
  const std::regex inline_code("`([^`\n]+)`"), block("```\n([^`]*)```");
  const auto add = [&](std::string line) {
    if (line.starts_with("$ ")) line = line.substr(2);
    line = line.substr(0, line.find("  "));
    if (!line.starts_with(first)) return;
    line = line.substr(first.size());
    if (std::find(out.begin(), out.end(), line) == out.end()) out.push_back(line);
  };
  for (std::sregex_iterator i(text.begin(), text.end(), inline_code), end; i != end; ++i)
    add((*i)[1]);
  for (std::sregex_iterator i(text.begin(), text.end(), block), end; i != end; ++i) {
    std::istringstream lines((*i)[1]);
    for (std::string line; std::getline(lines, line);) add(line);
  }
  return out;
}

std::vector<std::string> words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> out;
  for (std::string word; in >> word;) out.push_back(word);
  return out;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

// The examples, so that commands may write beside them, a trained run of one
// and an input for it.
std::filesystem::path place_to_try() {
  const std::filesystem::path folder = test::fresh_folder("documents");
  std::filesystem::copy(root / "examples", folder / "examples");
  REQUIRE(test::shell("cd " + folder.string() + " && " + TREADLE_EXECUTABLE +
                      " train examples/demo.tdl --epochs 1 -o RUN 2>&1")
              .status == 0);
  write_npy(folder / "drawings.npy", Tensor(DType::f32, {2, 16, 16}));
  return folder;
}

}  // namespace

TEST_CASE("the treadle commands in the documents have the options they use, and run") {
  const std::filesystem::path folder = place_to_try();
  int ran = 0;
  for (const char* document : documents) {
    for (const std::string& line : commands(read_file(root / document), "build/treadle ")) {
      INFO(document << ": build/treadle " << line);
      const std::string command = words(line).front();
      if (!command.starts_with("-")) {
        const Run help = test::run(command + " --help");
        REQUIRE(help.status == 0);
        for (const std::string& word : words(line))
          if (word.starts_with("-")) CHECK(contains(help.output, word.substr(0, word.find('='))));
      }
      if (contains(line, "FOLDER") || command == line) continue;  // data; a command's name alone
      const std::string filled = replaced(line, "FILE", "examples/demo.tdl");
      const Run result = test::shell("cd " + folder.string() + " && " + TREADLE_EXECUTABLE + " " +
                                     replaced(filled, "demo.tdl...", "demo.tdl") + " 2>&1");
      INFO(result.output);
      CHECK(result.status == 0);
      ++ran;
    }
  }
  CHECK(ran >= 9);
}

TEST_CASE("the ./dev commands in the documents exist") {
  const std::string help = test::shell("cd " + root.string() + " && ./dev help").output;
  int found = 0;
  for (const char* document : documents) {
    for (const std::string& line : commands(read_file(root / document), "./dev ")) {
      INFO(document << ": ./dev " << line);
      const std::vector<std::string> word = words(line);
      CHECK(contains(help, "\n  " + word[0] + " "));
      if (word.size() == 2 && word[0] != "tidy") CHECK(contains(help, word[1] + " ("));
      for (std::size_t i = 1; i + 1 < word.size(); ++i) {
        if (word[i] != "-R") continue;
        // -R takes a part of a test's name or a pattern of whole ones; each is an area of tests/.
        const std::regex part("[a-z]+");
        for (std::sregex_iterator a(word[i + 1].begin(), word[i + 1].end(), part), end; a != end;
             ++a)
          CHECK(std::filesystem::is_directory(root / "tests" / a->str()));
      }
      ++found;
    }
  }
  CHECK(found >= 9);
}

TEST_CASE("paths in the documents exist") {
  const std::regex path(
      "`((?:ir|frontend|passes|backends|runtime|driver|tests|docs|examples|bench)"
      "/[a-z0-9_/.]*)`|\\]\\(([a-zA-Z0-9_/.]+\\.(?:md|tdl|png|svg)|LICENSE)\\)");
  int found = 0;
  for (const char* document : documents) {
    const std::string text = read_file(root / document);
    for (std::sregex_iterator i(text.begin(), text.end(), path), end; i != end; ++i) {
      const bool is_link = (*i)[2].matched;  // relative to the document
      const std::filesystem::path from = is_link ? (root / document).parent_path() : root;
      const std::string name = (*i)[is_link ? 2 : 1];
      INFO(document << ": " << name);
      CHECK(std::filesystem::exists(from / name));
      ++found;
    }
  }
  CHECK(found >= 30);
}

TEST_CASE("code in CONTRIBUTING.md stands in the sources, word for word") {
  std::string sources;
  for (const char* folder : {"ir", "passes"})
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / folder))
      if (entry.is_regular_file()) sources += read_file(entry.path());
  const std::string text = read_file(root / "CONTRIBUTING.md");
  const std::regex block("```cpp\n([^]*?)```");
  int found = 0;
  for (std::sregex_iterator i(text.begin(), text.end(), block), end; i != end; ++i, ++found) {
    INFO((*i)[1]);
    CHECK(contains(sources, (*i)[1]));
  }
  CHECK(found >= 3);
}

TEST_CASE("the mistake that README shows is answered as it says") {
  const std::string text = read_file(root / "README.md");
  std::smatch shown;
  REQUIRE(std::regex_search(text, shown, std::regex("```\n(test\\.tdl:[^`]*)```")));
  const std::string answer = shown[1];
  std::smatch line;
  REQUIRE(std::regex_search(answer, line, std::regex("\n  1 \\| ([^\n]*)\n")));
  const std::filesystem::path folder = test::fresh_folder("mistake");
  std::ofstream(folder / "test.tdl") << line[1] << "\nmodel M(x: real[T, 3]) {\n"
                                     << "  _, h = scan C[3] over x\n  return y: h\n}\n";
  const Run result =
      test::shell("cd " + folder.string() + " && " + TREADLE_EXECUTABLE + " check test.tdl 2>&1");
  INFO(result.output);
  CHECK(result.status == 1);
  CHECK(contains(result.output, answer));
}

TEST_CASE("docs/language.md names every function of the language") {
  const std::string text = read_file(root / "docs/language.md");
  const std::size_t begin = text.find("\n## Functions"), end = text.find("\n## ", begin + 1);
  REQUIRE(begin != std::string::npos);
  const std::string section = text.substr(begin, end - begin);
  for (const std::string_view name : elaboration::GraphMaker::builtin_names()) {
    INFO(name);
    CHECK(std::regex_search(section, std::regex("`" + std::string(name) + "[`(\\[]")));
  }
}
