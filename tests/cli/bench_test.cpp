// `treadle bench`: what it counts is exact, what it times is only there.
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "runtime/safetensors.h"
#include "tests/catch.h"
#include "tests/cli/run.h"

using treadle::test::check_fails;
using treadle::test::fresh_folder;
using treadle::test::run;
using treadle::test::shell;

namespace {

std::string program() {
  const auto path = fresh_folder("bench") / "lstm.tdl";
  std::ofstream(path) << "model M(x: real[T, 8]) {\n  hs, _ = scan LSTM[8, 16] over x\n"
                         "  return y: hs\n}\n"
                         "train M {\n  data npy(\"x.npy\")\n  loss mean(square(y))\n  batch 4\n}\n";
  return path.string();
}

}  // namespace

TEST_CASE("bench counts the flops of products as the formula does") {
  const auto forward =
      run("bench " + program() + " --part forward -D T=10 -D B=3 --json --rounds 3");
  INFO(forward.output);
  REQUIRE(forward.status == 0);
  const auto numbers = nlohmann::json::parse(forward.output);
  // two products of each step's row: [8] with [8, 64], [16] with [16, 64]
  CHECK(numbers["product_flops"].get<double>() == 10 * 3 * 2 * 64 * (8 + 16));
  CHECK(numbers["milliseconds"]["low"].get<double>() <= numbers["milliseconds"]["median"]);
  CHECK(numbers["milliseconds"]["median"].get<double>() > 0);
  const auto gradient = run("bench " + program() + " --part gradient -D T=10 --json --rounds 3");
  // and for the gradient: by the state, but that of x is not asked for; by both weights
  CHECK(nlohmann::json::parse(gradient.output)["product_flops"].get<double>() ==
        10 * 4 * 2 * 64 * ((8 + 16) + 16 + (8 + 16)));
  const auto table = run("bench " + program() + " -D T=10 --rounds 3");
  CHECK(table.output.find("step of ") == 0);
  CHECK(table.output.find("B = 4, T = 10") != std::string::npos);
}

TEST_CASE("bench counts the products of attention and of its gradient") {
  const auto path = fresh_folder("bench_attention") / "attention.tdl";
  std::ofstream(path) << "model M(q: real[T, D], k: real[T, D], v: real[T, D], w: real[T, D]) {\n"
                         "  y = attention(q, k, v)\n"
                         "  dq, dk, dv = grad(sum(y * w), (q, k, v))\n"
                         "  return y: y, dq: dq, dk: dk, dv: dv\n}\n";
  const auto made =
      run("bench " + path.string() + " --part forward -D B=3 -D T=32 -D D=16 --json --rounds 1");
  INFO(made.output);
  REQUIRE(made.status == 0);
  const auto numbers = nlohmann::json::parse(made.output);
  // two products; and of the gradient five, one of them computed again
  CHECK(numbers["product_flops"].get<double>() == 3 * 32 * 32 * 2 * 16 * (2 + 5));
  // at least scaling the scores and the weights' gradients
  CHECK(numbers["other_flops"].get<double>() >= 2 * 3 * 32 * 32);
}

TEST_CASE("bench writes what it read and computed") {
  const auto file = fresh_folder("bench_tensors") / "out.safetensors";
  const auto made =
      run("bench " + program() + " --part forward -D T=5 --rounds 1 --tensors " + file.string());
  INFO(made.output);
  REQUIRE(made.status == 0);
  const treadle::NamedTensors tensors = treadle::read_safetensors(file);
  REQUIRE(tensors.find("input:x") != nullptr);
  CHECK(tensors.find("input:x")->shape() == treadle::Shape{4, 5, 8});
  REQUIRE(tensors.find("output:y") != nullptr);
  CHECK(tensors.find("output:y")->shape() == treadle::Shape{4, 5, 16});
  CHECK(tensors.find("output:y")->get(7) != 0);
}

TEST_CASE("bench answers requests") {
  const auto served = shell("printf 'run 3\\npeak\\n' | " + std::string(TREADLE_EXECUTABLE) +
                            " bench " + program() + " -D T=5 --serve");
  INFO(served.output);
  CHECK(served.status == 0);
  std::istringstream lines(served.output);
  std::string line;
  REQUIRE(std::getline(lines, line));
  CHECK(nlohmann::json::parse(line)["part"] == "step");
  REQUIRE(std::getline(lines, line));
  CHECK(nlohmann::json::parse(line).size() == 3);
  REQUIRE(std::getline(lines, line));
  CHECK(nlohmann::json::parse(line).get<double>() >= 0);
}

TEST_CASE("bench says what it needs") {
  check_fails("bench " + program(), "T0831", "'T'");
  const auto path = fresh_folder("bench_model") / "m.tdl";
  std::ofstream(path) << "model M(x: real[4]) {\n  return y: sum(x)\n}\n";
  check_fails("bench " + path.string(), "T0840", "no train block");
  const auto wrong = shell("echo walk | " + std::string(TREADLE_EXECUTABLE) + " bench " +
                           path.string() + " --part forward --serve 2>&1");
  CHECK(wrong.status == 1);
  CHECK(wrong.output.find("T0900") != std::string::npos);
}
