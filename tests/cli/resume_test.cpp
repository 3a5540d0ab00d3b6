// A run that was killed goes on with the same bits.
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "runtime/file.h"
#include "tests/catch.h"
#include "tests/cli/run.h"

using treadle::test::fresh_folder;

namespace {

std::string command(const std::filesystem::path& folder, const std::string& more) {
  return std::string(TREADLE_EXECUTABLE) + " train " + TREADLE_SOURCE_DIR +
         "/examples/demo.tdl --epochs 6 --checkpoint-every 5 -o " + folder.string() + more +
         " > /dev/null";
}

int status_of(const std::string& line) {
  const int status = std::system(line.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Starts a run and kills it after some milliseconds.
void kill_after(const std::filesystem::path& folder, const std::string& more, int milliseconds) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const std::string line = "exec " + command(folder, more);
    execl("/bin/sh", "sh", "-c", line.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
}

}  // namespace

TEST_CASE("killed at random moments and resumed, a run ends with the same bits") {
  const std::filesystem::path whole = fresh_folder("whole");
  const auto begin = std::chrono::steady_clock::now();
  REQUIRE(status_of(command(whole, "")) == 0);
  const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - begin;
  const std::string expected = treadle::read_file(whole / "checkpoint.safetensors");
  const std::uint32_t seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> moment(0.1 * taken.count(), taken.count());
  int resumed = 0;
  for (int run = 0; run < 5; ++run) {
    const std::filesystem::path folder = fresh_folder("killed");
    // Some are killed again while they go on.
    for (int kills = 0; kills <= run % 3; ++kills) {
      const bool started = std::filesystem::exists(folder / "checkpoint.safetensors");
      const auto milliseconds = static_cast<int>(moment(engine));
      INFO("killed after " << milliseconds << " ms");
      kill_after(folder, started ? " --resume" : "", milliseconds);
    }
    const bool started = std::filesystem::exists(folder / "checkpoint.safetensors");
    resumed += started ? 1 : 0;
    REQUIRE(status_of(command(folder, started ? " --resume" : "")) == 0);
    CHECK(treadle::read_file(folder / "checkpoint.safetensors") == expected);
  }
  WARN(resumed << " of 5 runs had a checkpoint when they were killed; seed " << seed);
}

TEST_CASE("1, 2 and 3 threads end with the same bits") {
  std::string expected;
  for (const char* threads : {"1", "2", "3"}) {
    const std::filesystem::path folder = fresh_folder("threads");
    REQUIRE(status_of(command(folder, " --threads " + std::string(threads))) == 0);
    const std::string found = treadle::read_file(folder / "checkpoint.safetensors");
    if (expected.empty()) expected = found;
    CHECK(found == expected);
  }
}

TEST_CASE("a checkpoint of another model or of other settings is refused") {
  const std::filesystem::path folder = fresh_folder("other");
  REQUIRE(status_of(command(folder, " -D H=8")) == 0);
  const std::string before = treadle::read_file(folder / "checkpoint.safetensors");
  const std::filesystem::path errors = folder / "errors";
  CHECK(status_of(command(folder, " --resume 2> " + errors.string())) == 1);
  const std::string text = treadle::read_file(errors);
  CHECK(text.find("T0973") != std::string::npos);
  CHECK(text.find("lstm.W") != std::string::npos);
  const auto refused = [&](const std::string& more, const std::string& words) {
    CHECK(status_of(command(folder, " -D H=8 " + more + " --resume 2> " + errors.string())) == 1);
    CHECK(treadle::read_file(errors).find("T0977") != std::string::npos);
    CHECK(treadle::read_file(errors).find(words) != std::string::npos);
  };
  refused("--seed 5", "seed was 0, is 5");
  refused("--batch 31", "batch was 32, is 31");
  refused("--learning-rate 0.5", "learning_rate was 0.01, is 0.5");
  CHECK(treadle::read_file(folder / "checkpoint.safetensors") == before);
}

TEST_CASE("a run does not go on with another optimizer") {
  const std::filesystem::path folder = fresh_folder("optimizer");
  const auto train = [&](const std::string& optimizer, const std::string& more) {
    std::ofstream(folder / "program.tdl")
        << "model M(numbers: real[T, 2]) {\n"
           "  return answer: sum(dense[1](sum(numbers, axis: 0)))\n"
           "}\n"
           "train M {\n"
           "  data adding(examples: 20)\n"
           "  loss squared_error(answer, target)\n"
           "  optimizer "
        << optimizer << "\n  epochs 2\n}\n";
    return std::string(TREADLE_EXECUTABLE) + " train " + (folder / "program.tdl").string() +
           " -o " + (folder / "run").string() + more + " > /dev/null 2> " +
           (folder / "errors").string();
  };
  REQUIRE(status_of(train("adamw(lr: 0.01, weight_decay: 0.1)", "")) == 0);
  CHECK(status_of(train("adamw(weight_decay: 0.1, lr: 1e-2)", " --resume")) == 0);
  const auto refused = [&](const std::string& optimizer, const std::string& words) {
    INFO(optimizer);
    CHECK(status_of(train(optimizer, " --resume")) == 1);
    const std::string text = treadle::read_file(folder / "errors");
    CHECK(text.find("T0977") != std::string::npos);
    CHECK(text.find(words) != std::string::npos);
  };
  refused("adamw(lr: 0.01, weight_decay: 0.2)", "weight_decay was 0.1, is 0.2");
  refused("adam(lr: 0.01, weight_decay: 0.1)", "optimizer was adamw, is adam");
  refused("adamw(lr: 0.01, weight_decay: 0.1, beta2: 0.9)", "beta2 was 0.999, is 0.9");
  refused("adamw(lr: 0.01, weight_decay: 0.1, decay: matrices)", "decay was all, is matrices");
  refused("adamw(lr: 0.01, weight_decay: 0.1), clip_norm 1.0", "clip_norm was none, is 1");
  refused("adamw(lr: 0.01, weight_decay: 0.1), proximal l1(0.5)", "proximal_l1 was 0.0, is 0.5");
}

TEST_CASE("a text is learned and continued, the same for the same seed") {
  const std::filesystem::path folder = fresh_folder("text");
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "over and under and over\n";
  std::ofstream(folder / "input.txt") << text;
  const std::string model =
      std::string(TREADLE_SOURCE_DIR) + "/examples/char_lm.tdl -D H=32 -D E=8";
  REQUIRE(status_of(std::string(TREADLE_EXECUTABLE) + " train " + model + " --data " +
                    folder.string() + " --epochs 50 --learning-rate 0.02 -o " +
                    (folder / "run").string() + " > /dev/null") == 0);
  const std::string generate = std::string(TREADLE_EXECUTABLE) + " generate " + model + " --run " +
                               (folder / "run").string() + " --greedy --max 48 > ";
  REQUIRE(status_of(generate + (folder / "a").string()) == 0);
  REQUIRE(status_of(generate + (folder / "b").string()) == 0);
  const std::string found = treadle::read_file(folder / "a");
  CHECK(found == treadle::read_file(folder / "b"));
  CHECK(found == "\nover and under and over\nover and under and over\n\n");
}

TEST_CASE("a run goes on after its cell has moved to a file of its own") {
  const std::filesystem::path folder = fresh_folder("moved");
  const std::string cell =
      "cell Slow[I, H](x: real[I], h: real[H]) {\n"
      "  h = 0.5 * h + 0.5 * tanh(dense[H](x) + dense[H](h))\n"
      "  yield h, h\n"
      "}\n";
  const std::string rest =
      "model M(image: real[16, 16]) {\n"
      "  _, h = scan Slow[16, 4] over image\n"
      "  return logits: dense[10](h)\n"
      "}\n"
      "train M {\n"
      "  data digits(examples: 64)\n"
      "  loss cross_entropy(logits, label)\n"
      "  epochs 2\n"
      "}\n";
  const auto train = [&](const std::string& output, const std::string& more) {
    return status_of(std::string(TREADLE_EXECUTABLE) + " train " + (folder / "m.tdl").string() +
                     " --checkpoint-every 1 -o " + (folder / output).string() + more +
                     " > /dev/null");
  };
  std::ofstream(folder / "m.tdl") << cell << rest;
  REQUIRE(train("whole", "") == 0);
  std::filesystem::create_directories(folder / "moved");
  std::filesystem::copy(folder / "whole" / "checkpoint.safetensors", folder / "moved");
  std::ofstream(folder / "cells.tdl") << "# the cell\n" << cell;
  std::ofstream(folder / "m.tdl") << "import \"cells.tdl\"\n" << rest;
  CHECK(train("moved", " --resume") == 0);
  REQUIRE(train("again", "") == 0);
  CHECK(treadle::read_file(folder / "again" / "checkpoint.safetensors") ==
        treadle::read_file(folder / "whole" / "checkpoint.safetensors"));
}
