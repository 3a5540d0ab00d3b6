// Every program of this folder is wrong. Its last lines say where and with what
// code ("# expect 4:11 T0312"); NAME.expected holds the whole message. With
// TREADLE_UPDATE_GOLDEN=1 the messages are written anew.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "frontend/elaborate.h"
#include "frontend/parser.h"
#include "runtime/file.h"
#include "tests/catch.h"

using namespace treadle;

namespace {

std::vector<Diagnostic> diagnostics_of(const std::filesystem::path& path) {
  auto file = std::make_shared<SourceFile>();
  file->path = path.filename().string();
  file->text = read_file(path);
  std::vector<Diagnostic> out;
  auto module = std::make_shared<const syntax::Module>(parse(std::move(file), out));
  if (out.empty()) elaborate(std::move(module), {}, out);
  return out;
}

std::string marks_of(const std::string& text) {
  std::istringstream lines(text);
  std::string out;
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("# expect ")) out += line.substr(9) + "\n";
  return out;
}

}  // namespace

TEST_CASE("every wrong program is answered at its place, with its code and its whole message") {
  const std::filesystem::path folder = std::filesystem::path(TREADLE_SOURCE_DIR) / "tests/bad";
  int programs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".tdl") continue;
    ++programs;
    INFO(entry.path().filename().string());
    std::string marks, messages;
    for (const Diagnostic& d : diagnostics_of(entry.path())) {
      const LineColumn at = line_column(*d.range.file, d.range.begin);
      marks += std::to_string(at.line) + ":" + std::to_string(at.column) + " " + d.code + "\n";
      messages += render(d);
    }
    CHECK(marks == marks_of(read_file(entry.path())));
    std::filesystem::path expected = entry.path();
    expected.replace_extension(".expected");
    if (std::getenv("TREADLE_UPDATE_GOLDEN") != nullptr)
      std::ofstream(expected, std::ios::binary) << messages;
    REQUIRE(std::filesystem::exists(expected));
    CHECK(messages == read_file(expected));
  }
  CHECK(programs >= 80);
}
