// Reads the project's own sources: who includes whom, which libraries' headers
// appear where, how long a file is.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/catch.h"

namespace {

namespace fs = std::filesystem;

const std::vector<std::string> source_folders = {"ir",       "frontend", "passes", "runtime",
                                                 "backends", "driver",   "tests"};

// The table of docs/architecture.md: what a folder may include besides itself.
const std::map<std::string, std::set<std::string>> may_include = {
    {"ir", {}},
    {"frontend", {"ir"}},
    {"passes", {"ir"}},
    {"runtime", {"ir"}},
    {"backends", {"ir", "runtime"}},
    {"driver", {"ir", "frontend", "passes", "runtime", "backends"}},
    {"tests", {"ir", "frontend", "passes", "runtime", "backends", "driver"}},
};

constexpr std::size_t max_lines = 600;

struct Include {
  std::string path;
  bool quoted = false;  // "..." against <...>
};

struct SourceText {
  std::string path;  // relative to the repository, with '/'
  std::vector<std::string> lines;

  std::string folder() const { return path.substr(0, path.find('/')); }
  bool is_header() const { return path.ends_with(".h"); }
};

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::vector<SourceText> read_sources() {
  const fs::path root = TREADLE_SOURCE_DIR;
  std::vector<SourceText> sources;
  for (const std::string& folder : source_folders) {
    if (!fs::exists(root / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".cpp" && extension != ".h") continue;
      std::ifstream file(entry.path(), std::ios::binary);
      std::ostringstream text;
      text << file.rdbuf();
      sources.push_back(
          {fs::relative(entry.path(), root).generic_string(), split_lines(text.str())});
    }
  }
  std::sort(sources.begin(), sources.end(),
            [](const SourceText& a, const SourceText& b) { return a.path < b.path; });
  return sources;
}

std::vector<Include> includes_of(const SourceText& source) {
  std::vector<Include> includes;
  for (const std::string& line : source.lines) {
    std::string_view text = trimmed(line);
    if (!text.starts_with('#')) continue;
    text = trimmed(text.substr(1));
    if (!text.starts_with("include")) continue;
    text = trimmed(text.substr(7));
    if (text.size() < 2 || (text[0] != '"' && text[0] != '<')) continue;
    const char close = text[0] == '"' ? '"' : '>';
    const std::size_t end = text.find(close, 1);
    if (end == std::string_view::npos) continue;
    includes.push_back({std::string(text.substr(1, end - 1)), close == '"'});
  }
  return includes;
}

bool is_llvm_header(std::string_view path) {
  return path.starts_with("llvm/") || path.starts_with("llvm-c/");
}

// The backend's source files, the headers that only they include, and the tests
// that build modules by hand.
bool may_include_llvm(std::string_view path) {
  if (path.starts_with("tests/llvm_kernels/")) return true;
  return path.starts_with("backends/llvm/") &&
         (path.ends_with(".cpp") || path.ends_with("_internal.h"));
}

bool is_onednn_header(std::string_view path) {
  return path.starts_with("dnnl") || path.starts_with("oneapi/dnnl/");
}

// One line for each broken rule: "path: what".
std::vector<std::string> violations(const SourceText& source) {
  std::vector<std::string> found;
  const auto report = [&](const std::string& what) { found.push_back(source.path + ": " + what); };
  const std::string folder = source.folder();
  const std::set<std::string>& allowed = may_include.at(folder);
  for (const Include& include : includes_of(source)) {
    const std::string target = include.path.substr(0, include.path.find('/'));
    const bool ours = may_include.contains(target) && include.path.find('/') != std::string::npos;
    if (include.quoted && !ours) {
      report("includes \"" + include.path + "\", which is not a path from the repository's root");
    }
    if (ours && target != folder && !allowed.contains(target)) {
      report(folder + " may not include " + include.path);
    }
    const bool in_cpp = source.path.ends_with(".cpp");
    if (is_llvm_header(include.path) && !may_include_llvm(source.path)) {
      report("LLVM's headers belong in backends/llvm/*.cpp: " + include.path);
    }
    if (is_onednn_header(include.path) &&
        !(in_cpp && source.path.starts_with("backends/onednn/"))) {
      report("oneDNN's headers belong in backends/onednn/*.cpp: " + include.path);
    }
  }
  if (source.lines.size() >= max_lines) {
    report("has " + std::to_string(source.lines.size()) + " lines; a file has fewer than " +
           std::to_string(max_lines));
  }
  if (!source.is_header()) return found;
  for (const std::string& line : source.lines) {
    if (trimmed(line).starts_with("using namespace")) report("`using namespace` in a header");
  }
  if (std::none_of(source.lines.begin(), source.lines.end(),
                   [](const std::string& line) { return trimmed(line) == "#pragma once"; })) {
    report("a header without #pragma once");
  }
  return found;
}

std::size_t violation_count(const std::string& path, const std::string& text) {
  return violations({path, split_lines(text)}).size();
}

}  // namespace

TEST_CASE("every source keeps to the layering and the house rules") {
  const std::vector<SourceText> sources = read_sources();
  CHECK(sources.size() > 5);
  for (const SourceText& source : sources) {
    for (const std::string& violation : violations(source)) FAIL_CHECK(violation);
  }
}

TEST_CASE("the layering check sees each kind of violation") {
  CHECK(violation_count("passes/a.cpp", "#include \"ir/graph.h\"\n") == 0);
  CHECK(violation_count("passes/a.cpp", "#include \"runtime/thread_team.h\"\n") == 1);
  CHECK(violation_count("passes/a.cpp", "#include <backends/llvm/jit.h>\n") == 1);
  CHECK(violation_count("runtime/a.cpp", "  #  include \"passes/batch.h\"\n") == 1);
  CHECK(violation_count("backends/llvm/a.cpp", "#include \"runtime/a.h\"\n") == 0);
  CHECK(violation_count("backends/llvm/a.cpp", "#include \"driver/a.h\"\n") == 1);
  CHECK(violation_count("ir/a.cpp", "#include \"frontend/lexer.h\"\n") == 1);
  CHECK(violation_count("ir/a.cpp", "#include \"graph.h\"\n") == 1);
  CHECK(violation_count("backends/llvm/a.cpp", "#include <llvm/IR/Module.h>\n") == 0);
  CHECK(violation_count("backends/llvm/a.h", "#pragma once\n#include <llvm/IR/Module.h>\n") == 1);
  CHECK(violation_count("backends/llvm/a_internal.h",
                        "#pragma once\n#include <llvm/IR/Module.h>\n") == 0);
  CHECK(violation_count("driver/a.cpp", "#include <llvm/IR/Module.h>\n") == 1);
  CHECK(violation_count("backends/onednn/a.cpp", "#include <oneapi/dnnl/dnnl.hpp>\n") == 0);
  CHECK(violation_count("backends/llvm/a.cpp", "#include <dnnl.hpp>\n") == 1);
  CHECK(violation_count("ir/a.cpp", std::string(599, '\n')) == 0);
  CHECK(violation_count("ir/a.cpp", std::string(600, '\n')) == 1);
  CHECK(violation_count("ir/a.h", "#pragma once\n  using namespace std;\n") == 1);
  CHECK(violation_count("ir/a.h", "namespace treadle {}\n") == 1);
}
