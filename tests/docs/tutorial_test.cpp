// docs/tutorial.md, followed from top to bottom in an empty folder: its programs
// are written, its shell blocks run, its commands print what it says.
//
// What they print is compared word by word: words and whole numbers as they are,
// numbers with a fraction to two parts in a hundred, since training ends on other
// last digits on another processor. Pictures (what is not ASCII) are left out.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <regex>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/file.h"
#include "tests/catch.h"
#include "tests/cli/run.h"
#include "tests/support/markdown.h"

using namespace treadle;
using test::Run;

using treadle::test::Block;
using treadle::test::blocks_of;

namespace {

const std::filesystem::path root = TREADLE_SOURCE_DIR;

struct Command {
  std::string line;
  std::vector<std::string> output;  // "..." stands for any lines
};

std::vector<Command> commands_of(const std::string& text) {
  std::vector<Command> out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("$ "))
      out.push_back({line.substr(2), {}});
    else if (!out.empty())
      out.back().output.push_back(line);
  }
  return out;
}

std::vector<std::string> words_of(const std::string& line) {
  std::vector<std::string> out;
  std::istringstream in(line);
  for (std::string word; in >> word;) {
    bool picture = false;
    for (const char c : word) picture = picture || static_cast<unsigned char>(c) >= 0x80;
    if (!picture) out.push_back(word);
  }
  return out;
}

std::optional<double> fraction(const std::string& word) {
  if (word.find('.') == std::string::npos) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(word.c_str(), &end);
  return *end == 0 ? std::optional(value) : std::nullopt;
}

bool same_word(const std::string& said, const std::string& printed) {
  const auto a = fraction(said), b = fraction(printed);
  return a && b ? std::abs(*a - *b) <= 0.02 * std::max(1.0, std::abs(*a)) : said == printed;
}

bool same_line(const std::string& said, const std::string& printed) {
  const std::vector<std::string> a = words_of(said), b = words_of(printed);
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!same_word(a[i], b[i])) return false;
  return true;
}

// The first line that does not fit; nothing when all do.
std::optional<std::string> difference(const std::vector<std::string>& said,
                                      const std::vector<std::string>& printed) {
  std::size_t at = 0;
  bool skips = false;
  for (const std::string& line : said) {
    if (line == "...") {
      skips = true;
      continue;
    }
    while (skips && at < printed.size() && !same_line(line, printed[at])) ++at;
    if (at == printed.size() || !same_line(line, printed[at])) return line;
    ++at;
    skips = false;
  }
  if (!skips && at < printed.size()) return "and no more, but then comes: " + printed[at];
  return std::nullopt;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(line);
  while (!out.empty() && out.back().empty()) out.pop_back();
  return out;
}

bool shows(const Command& command, std::string_view text) {
  return std::any_of(command.output.begin(), command.output.end(),
                     [&](const std::string& line) { return line.find(text) != std::string::npos; });
}

// Vectors of sixteen numbers, as AVX-512 has them, or two of them side by side.
bool shows_wide_vectors(const Command& command) {
  return shows(command, "zmm") || shows(command, "<32 x");
}

// LLVM orders instructions and chooses registers by the processor: of code only what it is made
// of is compared, the instructions' names.
std::vector<std::string> instructions_of(std::vector<std::string> lines) {
  for (std::string& line : lines) {
    const std::vector<std::string> words = words_of(line);
    line = words.empty() ? "" : words[0];
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

// Weights are packed in panels as wide as the vectors, so that a step's memory, and what
// `remat` can keep in a budget, is what the tutorial says with AVX-512 only.
std::vector<std::string> without_step_memory(std::vector<std::string> lines) {
  std::erase_if(lines, [](const std::string& line) {
    return line.starts_with("step, predicted") || line.find("remat keeps") != std::string::npos;
  });
  return lines;
}

bool has_wide_vectors() {
  std::ifstream information("/proc/cpuinfo");
  std::stringstream text;
  text << information.rdbuf();
  return text.str().find("avx512f") != std::string::npos;
}

}  // namespace

TEST_CASE("the tutorial, from an empty folder") {
  const std::filesystem::path folder = test::fresh_folder("tutorial");
  const std::string bin = std::filesystem::path(TREADLE_EXECUTABLE).parent_path().string();
  const auto run = [&](const std::string& script) {
    std::ofstream(folder / ".script") << script << "\n";
    return test::shell("cd " + folder.string() + " && PATH=" + bin + ":$PATH sh .script 2>&1");
  };
  int programs = 0, commands = 0;
  for (const Block& block : blocks_of(read_file(root / "docs/tutorial.md"))) {
    const std::size_t space = block.kind.rfind(' ');
    if (block.kind.starts_with("treadle") && space != std::string::npos) {
      std::ofstream(folder / block.kind.substr(space + 1)) << block.text;
      ++programs;
    } else if (block.kind == "sh") {
      const Run result = run(block.text);
      INFO(block.text << result.output);
      CHECK(result.status == 0);
    } else if (block.kind == "console") {
      for (const Command& command : commands_of(block.text)) {
        const Run result = run(command.line);
        INFO("$ " << command.line << "\n" << result.output);
        const bool fails =
            !command.output.empty() && command.output[0].find("error[") != std::string::npos;
        CHECK(result.status == (fails ? 1 : 0));
        ++commands;
        if (shows_wide_vectors(command) && !has_wide_vectors()) continue;
        std::string expected;
        for (const std::string& line : command.output) expected += line + "\n";
        std::vector<std::string> said = lines_of(expected), printed = lines_of(result.output);
        if (!has_wide_vectors()) {
          said = without_step_memory(said);
          printed = without_step_memory(printed);
        }
        if (shows(command, "zmm")) {
          said = instructions_of(said);
          printed = instructions_of(printed);
        }
        const auto differs = difference(said, printed);
        CHECK(differs.value_or("") == "");
      }
    }
  }
  CHECK(programs >= 9);
  CHECK(commands >= 25);
}
