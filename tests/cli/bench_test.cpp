// `treadle bench`: what it counts is exact, what it times is only there.
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
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

TEST_CASE("a profile has every kernel of the step, and parts that make the whole") {
  const std::string file = program();
  for (const std::string threads : {"1", "2"}) {
    const auto made =
        run("bench " + file + " -D T=10 --profile --json --rounds 5 --threads " + threads);
    INFO(made.output);
    REQUIRE(made.status == 0);
    const auto numbers = nlohmann::json::parse(made.output);
    const auto& profile = numbers["profile"];
    const double whole = profile["milliseconds"];
    CHECK(whole > 0);
    // Of each thread, and of the kernels as means over the threads.
    double kernels = 0, waiting = 0, others = 0;
    for (const auto& kernel : profile["kernels"]) {
      kernels += kernel["milliseconds"].get<double>();
      CHECK(kernel["calls"] >= 1);
    }
    REQUIRE(profile["threads"].size() == std::stoul(threads));
    for (const auto& thread : profile["threads"]) {
      const double own = thread["kernel_milliseconds"], waits = thread["waiting_milliseconds"],
                   other = thread["other_milliseconds"];
      CHECK(own + waits + other == Approx(whole));
      waiting += waits / std::stod(threads);
      others += other / std::stod(threads);
    }
    CHECK(kernels < whole);
    CHECK(kernels + waiting + others == Approx(whole));
    // The same kernels as `dump` lists, each with its calls and flops.
    const auto dumped = run("dump " + file + " --stage kernels -D T=10");
    std::istringstream lines(dumped.output);
    std::string line;
    std::getline(lines, line);
    std::size_t listed = 0;
    while (std::getline(lines, line) && !line.starts_with("a step:")) {
      INFO(line);
      const std::size_t number = std::stoul(line);
      ++listed;
      bool found = false;
      for (const auto& kernel : profile["kernels"])
        if (kernel["number"] == number)
          found = line.find(" " + kernel["kind"].get<std::string>() + " " +
                            kernel["description"].get<std::string>() + " ") != std::string::npos;
      CHECK(found);
    }
    CHECK(listed > 10);
    CHECK(listed == profile["kernels"].size());
    // All flops that bench counts are some kernel's.
    double flops = 0;
    for (const auto& kernel : profile["kernels"]) flops += kernel["flops"].get<double>();
    CHECK(flops == numbers["product_flops"].get<double>() + numbers["other_flops"].get<double>());
  }
}

TEST_CASE("a profile shares all kernels' time and flops out among the lines of the source") {
  const std::string file = program();
  const auto made = run("bench " + file + " -D T=10 --profile --json --rounds 5");
  INFO(made.output);
  REQUIRE(made.status == 0);
  const auto profile = nlohmann::json::parse(made.output)["profile"];
  double kernels = 0, lines = 0, last = 1e300;
  for (const auto& kernel : profile["kernels"]) kernels += kernel["milliseconds"].get<double>();
  std::set<std::string> texts;
  for (const auto& line : profile["lines"]) {
    const double own = line["milliseconds"];
    CHECK(own <= last);
    last = own;
    lines += own;
    if (line["file"] == "lstm.tdl") texts.insert(line["text"]);
    // The cell is the library's.
    if (line["file"] == "recurrent.tdl") texts.insert("recurrent");
  }
  CHECK(lines == Approx(kernels));
  CHECK(texts.contains("loss mean(square(y))"));
  CHECK(texts.contains("recurrent"));
}

TEST_CASE("a trace has a track for each thread, with events inside the step that do not overlap") {
  const auto folder = fresh_folder("bench_trace");
  const std::string file = program();
  for (const std::size_t threads : {1, 2}) {
    const auto path = folder / ("trace" + std::to_string(threads) + ".json");
    const auto made = run("bench " + file + " -D T=10 --rounds 2 --trace " + path.string() +
                          " --threads " + std::to_string(threads));
    INFO(made.output);
    REQUIRE(made.status == 0);
    CHECK(made.output.find("profile: ") == std::string::npos);
    std::ifstream stream(path);
    const auto trace = nlohmann::json::parse(stream);
    struct Track {
      std::string name;
      std::int64_t step = 0, last = 0, kernels = 0, turns = 0;
    };
    std::map<int, Track> tracks;
    for (const auto& event : trace["traceEvents"]) {
      Track& track = tracks[event["tid"]];
      if (event["ph"] == "M") {
        track.name = event["args"]["name"];
        continue;
      }
      CHECK(event["ph"] == "X");
      const auto nanoseconds = [&](const char* key) {
        return std::llround(event[key].get<double>() * 1000);
      };
      const std::int64_t begin = nanoseconds("ts"), end = begin + nanoseconds("dur");
      CHECK(end >= begin);
      if (event["cat"] == "step") {  // comes first, and everything else is in it
        CHECK(track.step == 0);
        CHECK(begin == 0);
        track.step = end;
        continue;
      }
      CHECK(begin >= track.last);
      CHECK(end <= track.step);
      track.last = end;
      if (event["cat"] != "kernel") {
        CHECK(event["name"] == "barrier");
        continue;
      }
      ++track.kernels;
      if (event["name"].get<std::string>().starts_with("matmul [B, 16] @ [16, 64]")) ++track.turns;
    }
    REQUIRE(tracks.size() == threads);
    for (const auto& [thread, track] : tracks) {
      CHECK(track.name == "thread " + std::to_string(thread));
      CHECK(track.step > 0);
      CHECK(track.kernels == tracks[0].kernels);
      CHECK(track.turns == 10);  // one event a turn of the loop
    }
  }
  CHECK(run("bench " + file + " -D T=10 --serve --trace t.json 2>&1").status != 0);
  check_fails(
      "bench " + file + " -D T=10 --rounds 1 --trace " + (folder / "no/where.json").string(),
      "T0960", "where.json");
}

TEST_CASE("the table of a profile begins with what takes longest") {
  const auto path = fresh_folder("bench_profile") / "product.tdl";
  std::ofstream(path) << "model M(x: real[512, 512], w: real[512, 512]) {\n"
                         "  small = tanh(x[0])\n  return y: x @ w + small\n}\n";
  const auto made =
      run("bench " + path.string() + " --part forward --profile --rounds 4 --threads 1");
  INFO(made.output);
  REQUIRE(made.status == 0);
  std::istringstream lines(made.output.substr(made.output.find("\nprofile: ") + 1));
  std::string line;
  std::getline(lines, line);
  CHECK(line.ends_with(" ms, mean of the middle half of 4 runs"));
  std::getline(lines, line);
  CHECK(line.starts_with("ms "));
  std::getline(lines, line);
  CHECK(line.find(" matmul B x [512, 512] @ [512, 512]") != std::string::npos);
  CHECK(line.ends_with("product.tdl:3"));
  CHECK(line.find(" 268 M ") != std::string::npos);
  CHECK(made.output.find("\nthread 0: ") != std::string::npos);
  check_fails("bench " + path.string() + " --part forward --profile --backend reference --rounds 1",
              "T0926", "no kernels to time");
  CHECK(run("bench " + path.string() + " --profile --serve 2>&1").status != 0);
}

TEST_CASE("a profile of a model alone says how many kernels ran once, before") {
  const auto path = fresh_folder("bench_once") / "layers.tdl";
  std::ofstream(path) << "model M(x: real[T, 8]) {\n  y, _ = scan RNN[8, 12] over x\n"
                         "  return y: dense[5](y)\n}\n"
                         "train M {\n  data npy(\"x.npy\")\n  loss mean(square(y))\n"
                         "  optimizer sgd(lr: constant(0.1))\n  epochs 1\n}\n";
  const auto made = [&](const std::string& part) {
    return run("bench " + path.string() + " -D T=6 --profile --rounds 4 --backend llvm --part " +
               part)
        .output;
  };
  const std::string forward = made("forward"), step = made("step");
  INFO(forward << step);
  // The weights of the layer's input, of its state and of the dense layer.
  CHECK(forward.find("\nand 3 kernels that ran once, before: what follows from parameters alone") !=
        std::string::npos);
  CHECK(forward.find(" pack ") == std::string::npos);
  CHECK(forward.find(" matmul ") != std::string::npos);
  CHECK(step.find(" ran once, before") == std::string::npos);
  CHECK(step.find(" pack ") != std::string::npos);
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
