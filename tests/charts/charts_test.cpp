// The commands that draw: predictions of a series, gradients through time; and
// what the regularised examples find.
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "driver/data_sets.h"
#include "ir/diagnostic.h"
#include "runtime/checkpoint.h"
#include "runtime/file.h"
#include "runtime/ragged_batches.h"
#include "runtime/random.h"
#include "tests/catch.h"
#include "tests/cli/run.h"

using namespace treadle;
using treadle::test::check_fails;
using treadle::test::example;
using treadle::test::fresh_folder;
using treadle::test::Run;
using treadle::test::run;

namespace {

double number_after(const std::string& text, const std::string& mark) {
  const std::size_t at = text.find(mark);
  REQUIRE(at != std::string::npos);
  return std::stod(text.substr(at + mark.size()));
}

// A solution of the normal equations (X^T X) w = X^T y by elimination.
std::vector<double> least_squares(const std::vector<std::vector<double>>& rows,
                                  const std::vector<double>& y) {
  const std::size_t n = rows[0].size();
  std::vector<std::vector<double>> a(n, std::vector<double>(n + 1));
  for (std::size_t r = 0; r < rows.size(); ++r)
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) a[i][j] += rows[r][i] * rows[r][j];
      a[i][n] += rows[r][i] * y[r];
    }
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t r = 0; r < n; ++r) {
      if (r == i) continue;
      const double by = a[r][i] / a[i][i];
      for (std::size_t j = 0; j <= n; ++j) a[r][j] -= by * a[i][j];
    }
  std::vector<double> out;
  for (std::size_t i = 0; i < n; ++i) out.push_back(a[i][n] / a[i][i]);
  return out;
}

// A noisy cycle of about eight years, in whole numbers.
std::vector<double> cycle(std::size_t years) {
  RandomStream random(1, "cycle");
  std::vector<double> state{0, 0}, out;
  while (out.size() < years) {
    const std::size_t n = state.size();
    state.push_back(1.2 * state[n - 1] - 0.7 * state[n - 2] + random.next_normal());
    out.push_back(std::round(60 + 20 * state.back()));
  }
  return out;
}

std::filesystem::path folder_with_cycle(const std::string& name,
                                        const std::vector<double>& values) {
  const std::filesystem::path folder = fresh_folder(name);
  std::ofstream file(folder / "sunspots.csv");
  file << "\"YEAR\",\"SUNACTIVITY\"\n";
  for (std::size_t t = 0; t < values.size(); ++t) file << 1700 + t << "," << values[t] << "\n";
  return folder;
}

}  // namespace

TEST_CASE("ar_sunspots ends at the least-squares solution") {
  const std::vector<double> values = cycle(309);
  const std::filesystem::path folder = folder_with_cycle("ar", values);
  REQUIRE(run("train " + example("ar_sunspots") + " --data " + folder.string() + " -p f64 -o " +
              (folder / "run").string() + " > " + (folder / "log").string())
              .status == 0);
  std::vector<std::vector<double>> rows;
  std::vector<double> next;
  for (std::size_t i = 0; i + 9 < values.size(); ++i) {
    rows.emplace_back();
    for (std::size_t k = 0; k < 9; ++k) rows.back().push_back(values[i + k] / 100);
    rows.back().push_back(1);
    next.push_back(values[i + 9] / 100);
  }
  const std::vector<double> exact = least_squares(rows, next);
  const Checkpoint saved = load_checkpoint(folder / "run" / "checkpoint.safetensors");
  for (std::int64_t k = 0; k < 9; ++k)
    CHECK(std::abs(saved.parameters.at("w").get(k) - exact[static_cast<std::size_t>(k)]) < 1e-6);
  CHECK(std::abs(saved.parameters.at("b").get(0) - exact[9]) < 1e-6);

  // Its predictions, one and three steps ahead, made again by hand.
  const std::string predict = "predict " + example("ar_sunspots") + " --data " + folder.string() +
                              " -p f64 --run " + (folder / "run").string() + " --horizon 1,3";
  const Run drawn = run(predict + " -x YEAR -o " + (folder / "a.svg").string());
  CHECK(drawn.status == 0);
  for (const int k : {1, 3}) {
    double squares = 0, count = 0;
    for (std::size_t row = 9 + static_cast<std::size_t>(k) - 1; row < values.size(); ++row) {
      std::vector<double> known(values.begin(),
                                values.begin() + static_cast<std::ptrdiff_t>(row) - k + 1);
      for (int step = 0; step < k; ++step) {
        double sum = exact[9] * 100;
        for (std::size_t i = 0; i < 9; ++i) sum += exact[i] * known[known.size() - 9 + i];
        known.push_back(sum);
      }
      squares += std::pow(known.back() - values[row], 2);
      ++count;
    }
    const std::size_t line = drawn.output.find(fmt::format("\n{} step", k));
    REQUIRE(line != std::string::npos);
    CHECK(number_after(drawn.output.substr(line), "root mean square error ") ==
          Approx(std::sqrt(squares / count)).epsilon(1e-4));
  }
  const std::string svg = read_file(folder / "a.svg");
  CHECK(svg.find(">3 steps ahead</text>") != std::string::npos);
  CHECK(svg.find(">1800</text>") != std::string::npos);
  CHECK(run(predict + " -x YEAR -o " + (folder / "b.svg").string()).status == 0);
  CHECK(read_file(folder / "b.svg") == svg);
  const Run printed = run(predict);
  CHECK(printed.output.find("b  1 step ahead") != std::string::npos);
  const Run weights = run("weights " + (folder / "run").string() + " b");
  CHECK(weights.output.starts_with("b: f64[]\n0."));
  check_fails("weights " + (folder / "run").string() + " c", "T0873", "its parameters are b, w");
}

TEST_CASE("the Markov model and the one of the whole prefix predict too") {
  const std::filesystem::path folder = folder_with_cycle("prefix", cycle(120));
  const auto error = [&](const std::string& name, const std::string& more) {
    const std::string out = (folder / (name + std::to_string(more.size()))).string();
    REQUIRE(run("train " + example(name) + " --data " + folder.string() + more +
                " --epochs 300 -o " + out + " > " + (folder / "log").string())
                .status == 0);
    const Run result = run("predict " + example(name) + " --data " + folder.string() + more +
                           " --run " + out + " --all");
    CHECK(result.status == 0);
    return number_after(result.output, "root mean square error ");
  };
  const double nine = error("ar_sunspots", ""), markov = error("ar_sunspots", " -D P=1");
  CHECK(nine < 0.8 * markov);
  CHECK(error("whole_prefix", " -D T=12") < markov);
}

TEST_CASE("predict says what it cannot predict") {
  const std::filesystem::path folder = fresh_folder("no_series");
  REQUIRE(run("train " + example("demo") + " -D H=4 --epochs 1 -o " + folder.string() + " > " +
              (folder / "log").string())
              .status == 0);
  check_fails("predict " + example("demo") + " -D H=4 --run " + folder.string(), "T0871",
              "its data is digits");
  check_fails("predict " + example("demo") + " --model Other --run " + folder.string(), "T0840",
              "of a model 'Other'");
  std::ofstream(folder / "s.csv") << "v\n1\n2\n3\n4\n5\n6\n";
  std::ofstream(folder / "two.tdl")
      << "model M(x: real[2]) {\n  param w: real[2] ~ zeros\n"
         "  return both: x * w, answer: x @ w\n}\n"
         "train M {\n  data csv(\"s.csv\"), window 2, x: column(1), "
         "target: column(1)\n  loss squared_error(answer, target)\n}\n";
  const std::string two = (folder / "two.tdl").string() + " --data " + folder.string();
  REQUIRE(
      run("train " + two + " -o " + (folder / "two").string() + " > " + (folder / "log").string())
          .status == 0);
  check_fails("predict " + two + " --run " + (folder / "two").string(), "T0872", "f32[2]");
}

TEST_CASE("diagnose draws what vanishes, what explodes, what clipping and truncation do") {
  const std::filesystem::path folder = fresh_folder("diagnose");
  const std::string small = " -D H=8 -D L=30 --examples 4";
  const std::string picture = (folder / "v.svg").string();
  const Run vanishing = run("diagnose " + example("vanishing") + small + " -o " + picture);
  CHECK(vanishing.status == 0);
  const std::size_t second = vanishing.output.find("LSTMNet: ");
  REQUIRE(second != std::string::npos);
  const std::string mark = "gradient by the state  ";
  CHECK(number_after(vanishing.output, mark) < 1e-12);
  CHECK(number_after(vanishing.output.substr(second), mark) > 0.01);
  CHECK(number_after(vanishing.output, "gain of a step         ") < 0.26);
  const std::string svg = read_file(picture);
  CHECK(svg.find(">SigmoidRNN</text>") != std::string::npos);
  CHECK(svg.find(">LSTMNet</text>") != std::string::npos);

  const Run exploding = run("diagnose " + example("exploding") + " --examples 4");
  CHECK(exploding.status == 0);
  CHECK(number_after(exploding.output, mark) > 1e12);
  CHECK(exploding.output.find("40 of 60 steps get no gradient") != std::string::npos);
  CHECK(exploding.output.find("b  ReluRNN, tbptt window 20") != std::string::npos);
  CHECK(exploding.output.find("c  ReluRNN, clip_norm 1") != std::string::npos);

  std::ofstream(folder / "flat.tdl")
      << "model M(image: real[16, 16]) { return logits: "
         "dense[10](image[0]) }\ntrain M { data digits(examples: 9)\n"
         "  loss cross_entropy(logits, label) }\n";
  check_fails("diagnose " + (folder / "flat.tdl").string(), "T0874", "no scan");
  std::ofstream(folder / "words.txt") << "it\nwas\nthe\nbest\n";
  std::ofstream(folder / "words.tdl")
      << "model M(text: token(20)[T]) {\n  hs, _ = scan RNN[20, 2] over one_hot(text, 20)\n"
         "  return logits: dense[20](hs)\n}\ntrain M {\n  data lines(\"words.txt\")\n"
         "  loss cross_entropy(logits, next)\n}\n";
  const Run words =
      run("diagnose " + (folder / "words.tdl").string() + " --data " + folder.string());
  INFO(words.output);
  CHECK(words.status == 0);
  CHECK(words.output.find("at step 1, ") != std::string::npos);
  CHECK(words.output.find(" at step 5\n") != std::string::npos);
}

TEST_CASE("L1 finds the weights that are not zero, L2 does not") {
  const std::filesystem::path folder = fresh_folder("sparse");
  const auto weights = [&](const std::string& model) {
    const std::string out = (folder / model).string();
    REQUIRE(run("train " + example("sparse") + " --model " + model + " -o " + out + " > " + out +
                ".log")
                .status == 0);
    return load_checkpoint(folder / model / "checkpoint.safetensors").parameters.at("w");
  };
  const auto nonzero = [](const Tensor& w) {
    int out = 0;
    for (std::int64_t i = 0; i < w.size(); ++i) out += w.get(i) != 0 ? 1 : 0;
    return out;
  };
  CHECK(nonzero(weights("Lasso")) == 8);
  CHECK(nonzero(weights("Ridge")) == 200);
  const auto distance = [&](const std::string& model) {
    const std::string log = read_file(folder / (model + ".log"));
    return std::stod(log.substr(log.rfind("distance ") + 9));
  };
  CHECK(distance("Lasso") < 0.3);
  CHECK(distance("Ridge") > 2);
}

TEST_CASE("sweep: bias falls and variance rises with the size, their sum is the error") {
  const std::filesystem::path folder = fresh_folder("sweep");
  const std::string picture = (folder / "curve.svg").string();
  const Run result =
      run("sweep " + example("bias_variance") + " --over K=1,3,12 --seeds 6 -p f64 -o " + picture);
  CHECK(result.status == 0);
  std::istringstream lines(result.output);
  std::string line;
  std::getline(lines, line);
  std::vector<std::array<double, 6>> rows;
  while (std::getline(lines, line)) {
    std::istringstream cells(line);
    rows.emplace_back();
    for (double& cell : rows.back()) cells >> cell;
  }
  REQUIRE(rows.size() == 3);
  for (const std::array<double, 6>& row : rows) {
    CHECK(row[0] == row[1]);  // K parameters
    CHECK(row[3] == Approx(row[4] + row[5]).margin(2e-5));
  }
  for (const std::size_t i : {1, 2}) {
    CHECK(rows[i][2] < rows[i - 1][2]);  // the error on what was trained on,
    CHECK(rows[i][4] < rows[i - 1][4]);  // bias,
    CHECK(rows[i][5] > rows[i - 1][5]);  // variance
  }
  CHECK(read_file(picture).find(">bias²</text>") != std::string::npos);
  check_fails("sweep " + example("bias_variance") + " --over M=1", "T0875", "no dim 'M'");
  check_fails("sweep " + example("bias_variance") + " --over K=1,x", "T0830", "--over K=1,2,4,8");
  check_fails("sweep " + example("demo") + " --over H=2", "T0850", "no eval block");
  std::ofstream(folder / "two.tdl")
      << "dim K = 2\nmodel M(x: real) {\n  param w: real[K] ~ zeros\n"
         "  return answer: x * w\n}\ntrain M {\n  data wave(examples: "
         "5)\n  loss sum(square(answer - target))\n}\n"
         "eval M { data wave(examples: 5) }\n";
  check_fails("sweep " + (folder / "two.tdl").string() + " --over K=2", "T0876", "one number");
}

TEST_CASE("sweep wants examples of one length") {
  ExampleFields fields;
  fields.ragged.emplace("x", RaggedField{Tensor(DType::f32, {5, 2}), {0, 3, 5}, "T"});
  const auto data = ragged_batches(fields, "T", {2, false, 0});
  try {
    require_one_length(*data, {}, "sweep");
    FAIL("accepted");
  } catch (const UserError& error) {
    CHECK(error.diagnostics().at(0).code == "T0877");
    CHECK(error.diagnostics().at(0).hints.at(0) == "sweep needs examples of one length");
  }
}

TEST_CASE("the new examples' gradients hold, in both orders") {
  const std::string passes = " --after-each-pass";
  for (const std::string& arguments :
       {example("ar_sunspots"), example("latent_ar") + " -D P=4 -D H=2" + passes,
        example("whole_prefix") + " -D T=4", example("vanishing") + " -D H=2 -D T=4",
        example("exploding") + " -D H=2 -D T=4", example("copy") + " -D H=3 -D T=5" + passes,
        example("bias_variance"), example("sparse") + " -D N=5",
        example("adding_long") + " -D H=2 -D T=4"}) {
    INFO(arguments);
    const Run result = run("gradcheck " + arguments + " --order 2");
    CHECK(result.status == 0);
    CHECK(result.output.find("WRONG") == std::string::npos);
  }
}
