// What `treadle memory` and `train` say about the memory of a step.
#include <fstream>
#include <regex>

#include "tests/catch.h"
#include "tests/cli/run.h"

using treadle::test::check_fails;
using treadle::test::fresh_folder;
using treadle::test::run;

namespace {

std::string program(const std::string& more) {
  const auto path = fresh_folder("memory") / "long.tdl";
  std::ofstream(path) << "model M(numbers: real[T, 2]) {\n"
                         "  _, (h, _) = scan LSTM[2, 16] over numbers" +
                             more +
                             "\n  return answer: dense[1](h)[0]\n}\n"
                             "train M {\n  data adding(examples: 40), length 100\n"
                             "  loss squared_error(answer, target)\n  batch 8\n}\n";
  return path.string();
}

double mebibytes(const std::string& text, const std::string& what) {
  std::smatch found;
  const std::regex line(what + R"( +([0-9.]+) MiB)");
  return std::regex_search(text, found, line) ? std::stod(found[1]) : -1;
}

// What a step is predicted to take, in MiB, which is what it takes.
double measured_as_predicted(const std::string& options) {
  const auto result = run("memory " + program("") + " -D T=5000 --measure" + options);
  INFO(result.output);
  REQUIRE(result.status == 0);
  const double predicted = mebibytes(result.output, "step, predicted");
  CHECK(predicted > 20);
  CHECK(mebibytes(result.output, "step, measured") == Approx(predicted).epsilon(0.1));
  return predicted;
}

}  // namespace

TEST_CASE("memory says what a step takes, and less with a budget") {
  const double predicted = measured_as_predicted("");
  const auto cut = run("memory " + program(" remat(budget: 1 MiB)") + " -D T=5000");
  INFO(cut.output);
  REQUIRE(cut.status == 0);
  CHECK(mebibytes(cut.output, "step, predicted") < predicted / 8);
  CHECK(cut.output.find("long.tdl:2:15: remat keeps ") != std::string::npos);
  CHECK(cut.output.find(" in chunks of ") != std::string::npos);
  check_fails("memory " + program(""), "T0831", "-D T=");
}

TEST_CASE("what a library keeps for its products is in the prediction") {
  measured_as_predicted(" --backend onednn");
}

TEST_CASE("training says what a budget chose") {
  const auto result = run("train " + program(" remat(budget: 200 KiB)") + " --epochs 1");
  INFO(result.output);
  CHECK(result.status == 0);
  CHECK(result.output.find("remat keeps ") != std::string::npos);
  CHECK(result.output.find("a step's working memory: ") != std::string::npos);
  const auto all = run("train " + program(" remat(budget: 20 MiB)") + " --epochs 1");
  CHECK(all.output.find("remat keeps all ") != std::string::npos);
}

TEST_CASE("a scan over lines of different lengths is not cut") {
  const auto folder = fresh_folder("memory_lines");
  std::ofstream(folder / "words.txt") << "anna\nbo\ncharlotte\ndavid\neve\nfrank\n";
  std::ofstream(folder / "lines.tdl")
      << "model M(text: token(30)[T]) {\n"
         "  hs, _ = scan LSTM[4, 8] over embedding[4, 30](text) remat(budget: 1 KiB)\n"
         "  return logits: dense[30](hs)\n}\n"
         "train M {\n  data lines(\"words.txt\")\n  loss cross_entropy(logits, next)\n"
         "  batch 3\n}\n";
  check_fails("train " + (folder / "lines.tdl").string() + " --data " + folder.string(), "T0378",
              "different lengths");
}
