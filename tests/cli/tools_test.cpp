// What is around the compiler: versions, completions, drawings.
#include <algorithm>
#include <string>

#include "tests/catch.h"
#include "tests/cli/run.h"

using treadle::test::Run;
using treadle::test::run;

namespace {
const std::string examples = std::string(TREADLE_SOURCE_DIR) + "/examples/";

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}
}  // namespace

TEST_CASE("--version names the libraries that do the work") {
  const Run result = run("--version");
  CHECK(result.status == 0);
  CHECK(result.output.starts_with("treadle "));
  CHECK(contains(result.output, "LLVM "));
  CHECK(contains(result.output, "oneDNN 3."));
}

TEST_CASE("completions know every command and its options") {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Run result = run(std::string("completion ") + shell);
    INFO(shell);
    CHECK(result.status == 0);
    for (const char* word : {"check", "dump", "train", "generate", "completion", "resume"})
      CHECK(contains(result.output, word));
  }
  const Run bash = run("completion bash > /dev/null; " + std::string(TREADLE_EXECUTABLE) +
                       " completion bash | bash -c 'source /dev/stdin; COMP_WORDS=(treadle tr); "
                       "COMP_CWORD=1; _treadle; echo ${COMPREPLY[@]}'");
  CHECK(bash.output == "train\n");
  CHECK(run("completion tcsh 2>&1").status == 2);
}

TEST_CASE("dump draws a graph for Graphviz, at every stage") {
  for (const char* stage : {"", " --stage step", " --stage grad", " --after fuse-pointwise"}) {
    const Run result = run("dump " + examples + "char_lm.tdl --format dot" + stage);
    INFO(stage);
    REQUIRE(result.status == 0);
    CHECK(result.output.starts_with("digraph "));
    const auto count = [&](char c) {
      return std::count(result.output.begin(), result.output.end(), c);
    };
    CHECK(count('{') == count('}'));
    CHECK(contains(result.output, "lstm.U\\nf32[256, 1024]"));
    CHECK(contains(result.output, " -> "));
  }
  CHECK(contains(run("dump " + examples + "char_lm.tdl --format dot").output,
                 "subgraph \"cluster_n"));
}
