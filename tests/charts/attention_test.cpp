// `treadle run --show attention`: the weights that it draws, against formulas by
// hand and the reference evaluator, and what it says where it cannot.
#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "runtime/file.h"
#include "runtime/readers/npy.h"
#include "tests/catch.h"
#include "tests/cli/run.h"

using namespace treadle;
using treadle::test::check_fails;
using treadle::test::example;
using treadle::test::fresh_folder;
using treadle::test::Run;
using treadle::test::run;

namespace {

// Tokens that are equal have the score 4, others 0.
constexpr const char* look_alike = R"(
model LookAlike(text: token(3)[T]) {
  x = 2 * one_hot(text, 3)
  return y: softmax(x @ transpose(x)) @ x, p: softmax(x)
}
)";

// Each step looks at the source tokens that are equal to its own, score 3.
constexpr const char* look_back = R"(
cell Look[S](x: real[3], (h, keys): (real[3], real[S, 3])) {
  a = softmax(3 * (keys @ x))
  h = sum(spread(a, 3) * keys, axis: 0)
  yield h, (h, keys)
}
model LookBack(source: token(3)[S], target: token(3)[T]) {
  ys, _ = scan Look over one_hot(target, 3) from (zeros, one_hot(source, 3))
  return y: ys
}
)";

std::string write_program(const std::filesystem::path& folder, const std::string& text) {
  std::ofstream(folder / "m.tdl") << text;
  return (folder / "m.tdl").string();
}

// Weights as they are drawn, "row, column: value", in the order of the drawing.
std::vector<std::string> cells(const std::string& svg) {
  std::vector<std::string> out;
  const std::regex title("<title>([^<]*)</title>");
  for (std::sregex_iterator i(svg.begin(), svg.end(), title), end; i != end; ++i)
    out.push_back((*i)[1]);
  return out;
}

// What each row of tokens `from` gives to each of `to`, where equal tokens score so
// much and others 0.
std::vector<std::string> by_hand(const std::vector<int>& from, const std::vector<int>& to,
                                 double score) {
  std::vector<std::string> out;
  for (const int row : from) {
    double sum = 0;
    for (const int column : to) sum += row == column ? std::exp(score) : 1;
    for (const int column : to)
      out.push_back(
          fmt::format("{}, {}: {:.4g}", row, column, (row == column ? std::exp(score) : 1) / sum));
  }
  return out;
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

int count(const std::string& text, const std::string& part) {
  int out = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size())
    ++out;
  return out;
}

}  // namespace

TEST_CASE("the weights of a sentence are drawn, row by row") {
  const std::filesystem::path folder = fresh_folder("look_alike");
  const std::string command = "run " + write_program(folder, look_alike) + " --show attention";
  const std::string picture = (folder / "a.svg").string();
  REQUIRE(run(command + " --text '2 0 2 1' -p f64 -o " + picture).status == 0);
  const std::string svg = read_file(picture);
  CHECK(cells(svg) == by_hand({2, 0, 2, 1}, {2, 0, 2, 1}, 4));
  CHECK(holds(svg, ">0: attention ("));  // of the two softmaxes the one that weighs rows
  CHECK(holds(svg, "m.tdl:4)</text>"));
  CHECK(!holds(svg, ">1: "));
  write_npy(folder / "t.npy", [] {
    Tensor tokens(DType::i32, {2});
    tokens.set_integer(1, 2);
    return tokens;
  }());
  const Run printed = run(command + " --input text=" + (folder / "t.npy").string());
  CHECK(printed.status == 0);
  CHECK(holds(printed.output, "\n0 │██  │ 0 0.98\n2 │  ██│ 2 0.98\n"));
  CHECK(holds(printed.output, "columns as rows, blank is 0, full is 1\n"));
}

TEST_CASE("a scan whose step attends has a row for each step, columns of the other text") {
  const std::filesystem::path folder = fresh_folder("look_back");
  const std::string picture = (folder / "a.svg").string();
  const std::string command = "run " + write_program(folder, look_back) + " --show attention";
  REQUIRE(
      run(command + " --text target='1 1 0' --text source='0 1 2 0' -p f64 -o " + picture).status ==
      0);
  CHECK(cells(read_file(picture)) == by_hand({1, 1, 0}, {0, 1, 2, 0}, 3));
}

TEST_CASE("layers and heads of a transformer are drawn and chosen, as the evaluator has them") {
  const std::filesystem::path folder = fresh_folder("layers");
  const auto drawn = [&](const std::string& more) {
    const std::string picture = (folder / "a.svg").string();
    const Run result = run("run " + example("char_gpt") +
                           " -D V=9 -D M=8 -D L=2 -p f64 --show attention --text '1 5 5 8 0' -o " +
                           picture + more);
    REQUIRE(result.status == 0);
    return read_file(picture);
  };
  const std::string all = drawn("");
  CHECK(holds(all, ">0: encoder.layer[0].attention (std/attention.tdl:"));
  CHECK(holds(all, ">1: encoder.layer[1].attention (std/attention.tdl:"));
  CHECK(count(all, ">head 3</text>") == 2);
  const std::vector<std::string> weights = cells(all);
  REQUIRE(weights.size() == 2 * 4 * 5 * 5);
  CHECK(weights[0] == "1, 1: 1");  // the first row sees itself alone
  CHECK(weights[1] == "1, 5: 0");
  CHECK(cells(drawn(" --backend reference")) == weights);
  const std::vector<std::string> one = cells(drawn(" --attention layer[1] --head 2"));
  CHECK(one == std::vector<std::string>(weights.begin() + 6 * 25, weights.begin() + 7 * 25));
  CHECK(cells(drawn(" --attention 1 --head 2")) == one);
}

TEST_CASE("a trained reader looks from a pronoun at what it stands for") {
  const std::filesystem::path folder = fresh_folder("which_word");
  const std::string out = (folder / "run").string();
  REQUIRE(run("train " + example("which_word") + " -o " + out + " > " + (folder / "log").string())
              .status == 0);
  const std::string show = "run " + example("which_word") + " --run " + out + " --show attention";
  const std::regex looks("\n *(she|he|it|they) │.*│ (\\w+) (0\\.\\d\\d|1\\.00)\n");
  for (const auto& [sentence, noun] : std::map<std::string, std::string>{
           {"the dogs found anna near the red kite and it was cold", "kite"},
           {"the dogs found anna near the red kite and she was cold", "anna"},
           {"the dogs found anna near the red kite and they were cold", "dogs"},
           {"ruth saw tom because he was late", "tom"}}) {
    const Run result = run(show + " --text '" + sentence + "'");
    INFO(result.output);
    REQUIRE(result.status == 0);
    std::smatch row;
    REQUIRE(std::regex_search(result.output, row, looks));
    CHECK(row[2] == noun);
    CHECK(std::stod(row[3]) > 0.7);
  }
  // What it answers there is the noun too.
  const Run answer = run("run " + example("which_word") + " --run " + out +
                         " --text 'ruth saw tom because he was late' --result logits");
  CHECK(answer.status == 0);
  CHECK(holds(answer.output, "logits: f32[7, 40]\n"));
}

TEST_CASE("what cannot be shown is said") {
  const std::filesystem::path folder = fresh_folder("no_attention");
  const std::string file = write_program(folder, look_alike), show = " --show attention";
  check_fails("run " + example("names_classify") + show + " --text '1 2 3'", "T0884",
              "no attention");
  check_fails("run " + file + show + " --text '1 2' --attention 1", "T0885", "0: attention");
  check_fails("run " + file + show + " --text '1 2' --attention cross", "T0885", "0: attention");
  check_fails("run " + file + show + " --text '1 2' --head 1", "T0885", "head 0");
  check_fails("run " + file + show + " --text '1 two'", "T0887", "'two'");
  check_fails("run " + file + show + " --text '1 3'", "T0927", "3");
  check_fails("run " + file + show, "T0854", "--text text=");
  check_fails("run " + file + show + " --text '1' -o a.png", "T0856", ".svg");
  check_fails("run " + file + show + " --text '1' --result y", "T0856", "--attention");
  check_fails("run " + file + " --text '1 2' --text '1'", "T0886", "given twice");
  check_fails("run " + example("mnist_rows") + " --text '1 2'", "T0886", "no text");
  const std::string two = write_program(folder, look_back);
  check_fails("run " + two + show + " --text '1 2'", "T0886", "source, target");
  write_npy(folder / "batch.npy", Tensor(DType::i32, {2, 3}));
  check_fails("run " + write_program(folder, look_alike) + show +
                  " --input text=" + (folder / "batch.npy").string(),
              "T0888", "here are 2");
  CHECK(run("run " + file + " --show weights --text 1 2>/dev/null").status == 2);
}
