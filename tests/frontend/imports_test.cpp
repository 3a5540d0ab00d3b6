// Programs of several files.
#include "frontend/elaborate.h"
#include "frontend/standard_library.h"
#include "ir/diagnostic.h"
#include "ir/text_printer.h"
#include "tests/catch.h"
#include "tests/support/programs.h"
#include "tests/support/temporary_folder.h"

using namespace treadle;
using test::TemporaryFolder;

namespace {

const std::string cell = R"(dim H = 3

cell Leaky[I, N](x: real[I], h: real[N]) {
  h = 0.9 * h + tanh(dense[N](x) + dense[N](h))
  yield h, h
}

block doubled(x: real[...]) { return x + x }

model Sum(x: real[T, 2]) {
  _, h = scan Leaky[2, H] over doubled(x)
  return y: sum(h)
}
)";

const std::string training = R"(
train Sum {
  data csv("x.csv"), x: columns(1, 2), window 4
  loss squared_error(y, target)
  batch H
}
)";

Experiment load(const std::filesystem::path& file, std::map<std::string, std::int64_t> dims = {}) {
  ElaborateOptions options;
  options.dims = std::move(dims);
  return load_experiment(file.string(), options);
}

// Code and whole text of the mistakes in a file.
struct Mistakes {
  std::vector<std::string> codes;
  std::string text;
};
Mistakes mistakes_of(const std::filesystem::path& file) {
  try {
    load(file);
  } catch (const UserError& error) {
    Mistakes out;
    for (const Diagnostic& diagnostic : error.diagnostics()) out.codes.push_back(diagnostic.code);
    out.text = error.what();
    return out;
  }
  return {};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

using Codes = std::vector<std::string>;

}  // namespace

TEST_CASE("a program in two files is the program in one, down to its graph's text") {
  const TemporaryFolder folder;
  const Experiment whole = load(folder.file("whole.tdl", cell + training));
  folder.file("cells.tdl", cell);
  const Experiment parts = load(folder.file("main.tdl", "import \"cells.tdl\"\n" + training));
  for (const Mode mode : {Mode::train, Mode::eval}) {
    CHECK(print(parts.loss(*parts.find_train(), mode)) ==
          print(whole.loss(*whole.find_train(), mode)));
    CHECK(print(parts.model("Sum", mode)) == print(whole.model("Sum", mode)));
  }
  CHECK(parts.find_train()->batch == 3);
  REQUIRE(parts.models.size() == 1);
  CHECK(parts.models[0].name == "Sum");
}

TEST_CASE("an import brings definitions and dims, of that file alone, and no blocks") {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder.path() / "sub");
  folder.file("sub/base.tdl", "dim K = 2\nblock halved(x: real[...]) { return x / 2 }\n");
  folder.file("sub/cells.tdl",
              "import \"base.tdl\"\ndim N = K * H, H = 2\n"
              "block twice_halved(x: real[N]) { return halved(halved(x)) }\n"
              "model M(x: real[N]) { return y: x }\n"
              "train M { data csv(\"x.csv\"); loss squared_error(sum(y), target) }\n");
  const std::string uses =
      "import \"sub/cells.tdl\"\nmodel P(x: real[N]) { return y: twice_halved(x) }\n";
  const Experiment good = load(folder.file("main.tdl", uses));
  CHECK(good.trains.empty());
  CHECK(to_string(good.model("P", Mode::eval).output_type(0)) == "f32[4]");
  CHECK(to_string(
            load(folder.path() / "main.tdl", {{"K", 5}}).model("P", Mode::eval).output_type(0)) ==
        "f32[10]");
  CHECK(good.dims.contains("N"));
  CHECK_FALSE(good.dims.contains("K"));
  CHECK(mistakes_of(folder.file("over.tdl", uses + "model Q(x: real[4]) { return y: halved(x) }\n"))
            .codes == Codes{"T0201"});
}

TEST_CASE("two ways to one file are one file") {
  const TemporaryFolder folder;
  folder.file("base.tdl", "block halved(x: real[...]) { return x / 2 }\n");
  folder.file("a.tdl", "import \"base.tdl\"\nblock a(x: real[...]) { return halved(x) }\n");
  folder.file("b.tdl", "import \"./base.tdl\"\nblock b(x: real[...]) { return halved(x) }\n");
  const std::string main =
      "import \"a.tdl\"\nimport \"b.tdl\"\nimport \"base.tdl\"\n"
      "model M(x: real[4]) { return y: a(b(halved(x))) }\n";
  CHECK(mistakes_of(folder.file("main.tdl", main)).codes.empty());
}

TEST_CASE("files that import themselves") {
  const TemporaryFolder folder;
  const Mistakes self = mistakes_of(folder.file("self.tdl", "import \"self.tdl\"\n"));
  CHECK(self.codes == Codes{"T0207"});
  CHECK(contains(self.text, "self.tdl:1:8: error[T0207]"));
  folder.file("b.tdl", "import \"c.tdl\"\n");
  folder.file("c.tdl", "dim H = 1\nimport \"a.tdl\"\n");
  const Mistakes round = mistakes_of(folder.file("a.tdl", "import \"b.tdl\"\n"));
  CHECK(round.codes == Codes{"T0207"});
  CHECK(contains(round.text, "c.tdl:2:8: error[T0207]"));
  CHECK(contains(round.text, "a.tdl imports b.tdl imports c.tdl imports a.tdl"));
}

TEST_CASE("a name that two files bring") {
  const TemporaryFolder folder;
  folder.file("a.tdl", "block f(x: real[4]) { return x }\ndim N = 4\n");
  folder.file("b.tdl", "block g(x: real[4]) { return x }\nblock f(x: real[4]) { return 2 * x }\n");
  const Mistakes twice = mistakes_of(folder.file("main.tdl",
                                                 "import \"a.tdl\"\nimport \"b.tdl\"\n"
                                                 "model M(x: real[N]) { return y: f(g(x)) }\n"));
  CHECK(twice.codes == Codes{"T0204"});
  CHECK(contains(twice.text, "main.tdl:2:8: error[T0204]: 'f' is declared twice"));
  CHECK(contains(twice.text, "a.tdl:1:7"));
  CHECK(contains(twice.text, "b.tdl:2:7"));
  const Mistakes own = mistakes_of(folder.file(
      "own.tdl", "import \"a.tdl\"\ndim N = 3\nmodel M(x: real[4]) { return y: f(x) }\n"));
  CHECK(own.codes == Codes{"T0204"});
  CHECK(mistakes_of(folder.file("again.tdl",
                                "import \"a.tdl\"\nimport \"a.tdl\"\n"
                                "model M(x: real[N]) { return y: f(x) }\n"))
            .codes == Codes{"T0204"});
}

TEST_CASE("mistakes of an imported file are shown with its own lines") {
  const TemporaryFolder folder;
  const std::string main = "import \"cells.tdl\"\nmodel M(x: real[4]) { return y: f(x) }\n";
  const Mistakes missing = mistakes_of(folder.file("main.tdl", main));
  CHECK(missing.codes == Codes{"T0910"});
  CHECK(contains(missing.text, "main.tdl:1:8: error[T0910]"));
  CHECK(contains(missing.text, "cells.tdl' cannot be read"));
  folder.file("cells.tdl", "block f(x: real[4]) { return x + }\n");
  const Mistakes syntax = mistakes_of(folder.path() / "main.tdl");
  REQUIRE(syntax.codes.size() == 1);
  CHECK(syntax.codes[0].starts_with("T01"));
  CHECK(contains(syntax.text, "cells.tdl:1:"));
  CHECK(contains(syntax.text, "  1 | block f(x: real[4]) { return x + }"));
  folder.file("cells.tdl", "block f(x: real[4]) {\n  return x @ iota(3)\n}\n");
  const Mistakes dims = mistakes_of(folder.path() / "main.tdl");
  REQUIRE(dims.codes.size() == 1);
  CHECK(contains(dims.text, "cells.tdl:2:"));
  std::filesystem::create_directories(folder.path() / "folder.tdl");
  CHECK(mistakes_of(folder.file("main.tdl", "import \"folder.tdl\"\n")).codes == Codes{"T0910"});
}

TEST_CASE("the names in the library's own files are all known") {
  for (const EmbeddedFile& file : standard_library_files()) {
    INFO(file.name);
    CHECK(test::codes_of(std::string(file.text)).empty());
  }
}
